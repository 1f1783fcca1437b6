"""One process of one run: join, build, warm up, run, finish.

Any launcher starts it as `python -m ttt.worker RUN_DIR`. Only rank 0 needs the run folder; another
process may be given "-". Started again on a folder whose run was suspended, or lost with its node,
it goes on with that run; behind the folder may then be `parallel=...` and `processes=N`.
"""

import gc

from ttt import signals

if __name__ == "__main__":
    signals.begin()  # before torch, which takes seconds to load
    # What is imported and built lives to the end: `build` collects what does not, once, and turns
    # this on again before the warm-up.
    gc.disable()

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ttt import keep, scratch, streams, trusted
from ttt.build import build
from ttt.clock import Clock, steady_wall_clock
from ttt.data.guard import guarded
from ttt.distributed import mpi
from ttt.distributed.device import finish_queue
from ttt.distributed.rank import from_environment
from ttt.distributed.world import recorded
from ttt.errors import NOT_REACHED, OK, SUSPENDED
from ttt.events import EventLog, Kind
from ttt.finish import finish
from ttt.loop import run
from ttt.machine import description, environment
from ttt.machine.binding import bind_cpus
from ttt.sinks.open import open_sinks
from ttt.supervise import demands, resume
from ttt.supervise.admission import Admitted, join
from ttt.supervise.guard import Guard
from ttt.telemetry import power
from ttt.watcher import Status, Verdict

_EXIT_CODES = {
    Status.SUCCESS: OK,
    Status.ABORTED: NOT_REACHED,
    Status.SUSPENDED: SUSPENDED,
}


def main(arguments: list[str]) -> int:
    """Run one process of a run; returns its exit code."""
    streams.prepare(visible=False)
    trusted.keep_others_out()
    # A user's own modules are found, but last: one called like a module of Python's or of a library
    # must not take its place. Launchers keep Python from putting this folder first.
    sys.path.append(os.getcwd())
    guard = Guard(from_environment(), None if arguments[0] == "-" else Path(arguments[0]))
    signals.install(guard.last_words)
    try:
        verdict = recorded(partial(work, words=arguments[1:]), guard)
    except BaseException as error:
        return guard.fail(error)
    guard.leave(suspended=verdict.status is Status.SUSPENDED)
    return _EXIT_CODES[verdict.status]


def work(guard: Guard, words: Sequence[str]) -> Verdict:
    """Join the other processes of the run, run with them, and leave with them."""
    with join(guard, words) as admitted:
        guard.redirect(alone=admitted.world.size == 1)
        bind_cpus(admitted.config.binding, admitted.world)
        with guard.watched(admitted.world, admitted.config.timeout):
            return conduct(admitted, guard)


def conduct(admitted: Admitted, guard: Guard) -> Verdict:
    """Build, warm up, run, finish; the record is open from the first to the last."""
    world, run_config, folder, past = admitted
    now, recalled, sinks = steady_wall_clock(), [], []
    if world.rank == 0:
        recalled = resume.recall(folder) if past else []
        sinks = open_sinks(run_config, folder, guard.terminal(), recalled)
    clock = Clock(now, partial(finish_queue, world.device))
    with guard.recording(EventLog(now, sinks, recalled)) as log:
        demands.data_on_every_node(run_config, world)
        if not past:
            demands.clear_cache(run_config, world, log)
        with guarded(run_config.data.root):
            parts = build(run_config, world, clock, log, guard.heartbeat)
            keep.demand(run_config.keep, parts)
            parts, past = resume.prepare(parts, past, folder, run_config.checkpoint_every_seconds)
        guard.protect(parts)
        environment.write(run_config, world, folder)
        description.write(run_config, world, folder)
        counted = power.open_meter(run_config.system.energy, world, now, past=past is not None)
        mpi.leave()
        log.emit(Kind.INIT_STOP)
        with counted:
            verdict = run(parts, past)
        finish(run_config, parts, verdict, folder, counted)
    return verdict


if __name__ == "__main__":
    scratch.take()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and closed. The interpreter would now end the threads of torch, DALI and NCCL
    # in any order. That takes time and can deadlock, and no finished run may hang.
    scratch.end(code)
