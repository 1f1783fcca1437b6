"""One process of one run: read the config, join the world, build, warm up, run, close.

Started as `python -m ttt.worker RUN_DIR`, by whatever launcher. Only rank 0 needs the run folder; a
process elsewhere may be given "-" and gets the configuration from rank 0. Started again on a folder
whose run was suspended, or lost with its node, it goes on with that run.
"""

import gc

from ttt import signals

if __name__ == "__main__":
    signals.begin()  # before torch, which takes seconds to load
    # What is imported and built lives to the end: `build` collects what does not, once, and turns
    # this on again before the warm-up.
    gc.disable()

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ttt import config, keep, modes, redact, scratch, streams, trusted
from ttt.build import build
from ttt.clock import Clock, steady_wall_clock
from ttt.data import manifest
from ttt.data.guard import guarded
from ttt.distributed import mpi
from ttt.distributed import world as dist_world
from ttt.distributed.device import finish_queue
from ttt.distributed.rank import JOIN_VARIABLE, Placement, from_environment, gpu_index
from ttt.distributed.rendezvous import JOIN_SECONDS
from ttt.errors import NOT_REACHED, OK, SUSPENDED, ConfigError
from ttt.events import EventLog, Kind
from ttt.loop import Parts, ResumePoint, run
from ttt.machine import description, environment
from ttt.machine.binding import bind_cpus
from ttt.protocols import World
from ttt.schema.run import RunConfig
from ttt.sinks.open import open_sinks
from ttt.statistics import check, skipped_sentence, spent, statistics
from ttt.supervise import demands, resume, saver
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
    placement = from_environment()
    folder = None if arguments[0] == "-" else Path(arguments[0])
    guard = Guard(placement, folder)
    signals.install(guard.last_words)
    try:
        verdict = dist_world.recorded(partial(work, placement), guard)
    except BaseException as error:
        return guard.fail(error)
    guard.leave(suspended=verdict.status is Status.SUSPENDED)
    return _EXIT_CODES[verdict.status]


def work(placement: Placement | None, guard: Guard) -> Verdict:
    """Join the world, run, and leave it together."""
    text, frozen, seconds = None, "", float(os.environ.get(JOIN_VARIABLE, JOIN_SECONDS))
    file = guard.folder / "config.yaml" if guard.folder else None
    refused: Sequence[str] = ()
    if file and (guard.rank == 0 or file.is_file()):
        try:
            frozen = frozen_config(file, whole=guard.rank == 0)
        except ConfigError as error:
            refused, guard.folder = error.problems, None  # so this process writes nothing there
        else:
            seconds = config.load(frozen).timeout.join_seconds
    if guard.rank == 0 and refused:
        text = json.dumps({"refused": refused})
    elif guard.rank == 0:  # it always has the folder, and what it says counts
        assert guard.folder is not None
        guard.own(guard.folder)
        stands = resume.as_message(resume.past(guard.folder))
        folder = str(guard.folder.absolute())
        text = json.dumps({"folder": folder, "config": frozen, "past": stands})
    choose = partial(choose_or_refuse, guard, refused)
    meeting = dist_world.join(placement, text, choose, seconds=seconds, show=guard.show)
    with meeting as (world, text):
        message = json.loads(text)
        run_config = config.load(message["config"])
        guard.folder = guard.folder or Path(message["folder"])
        guard.joined = True
        demands.world_size(run_config, world)
        demands.claim_kept(run_config, world)
        if world.size > 1:
            guard.redirect()
        else:
            guard.hush()
        bind_cpus(run_config.binding, world)
        past = ResumePoint(**message["past"]) if message["past"] else None
        with guard.watched(world, run_config.timeout):
            verdict = conduct(run_config, world, guard, past)
            guard.heartbeat.leaving = True  # after the barrier the others may end at any moment
            world.barrier()  # rank 0 is still writing results when the others are done
            signals.ignore_signals()
        guard.parts = None  # what communicates goes before that by which it does
    return verdict


def frozen_config(file: Path, *, whole: bool) -> str:
    """The configuration in a run folder that only its user has written.

    Args:
        file: The folder's config.yaml.
        whole: Look at all of the folder; else only at what every process touches.

    Raises:
        ConfigError: Others could have written there.
    """
    if found := trusted.problems(file.parent, whole=whole):
        raise ConfigError(found)
    return trusted.read(file).decode()


def choose_or_refuse(
    guard: Guard, refused: Sequence[str], text: str, local_rank: int
) -> torch.device:
    """The device of this process. If one process refuses the run folder, all end together.

    Args:
        guard: Of this process.
        refused: Why this process refuses the folder.
        text: What rank 0 says: the configuration, or why it refuses.
        local_rank: This process, on its node.

    Raises:
        ConfigError: The folder is refused, or `choose_device` says so.
    """
    if "refused" in json.loads(text):
        guard.folder = None
        if guard.rank:  # all end with rank 0's words
            return torch.device("cpu")
    if refused:
        raise ConfigError(refused)
    return choose_device(text, local_rank)


def choose_device(text: str, local_rank: int) -> torch.device:
    """The device of this process: one GPU each where there are GPUs.

    Raises:
        ConfigError: There are more processes than GPUs.
    """
    wanted = config.load(json.loads(text)["config"]).device
    gpus = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return torch.device("cpu")
    index = gpu_index(local_rank, gpus)
    if index is None:
        raise ConfigError(
            [
                f"local rank {local_rank} has no GPU, {gpus} are visible here; allowed: as many"
                f" processes as GPUs; --nproc-per-node {max(1, gpus)}, srun --gpus-per-node"
                " --gpu-bind=none in place of --gpus-per-task, or device=cpu"
            ]
        )
    return torch.device("cuda", index)


def conduct(run_config: RunConfig, world: World, guard: Guard, past: ResumePoint | None) -> Verdict:
    """Everything between joining and leaving the world."""
    assert guard.folder is not None
    now = steady_wall_clock()
    clock = Clock(now, partial(finish_queue, world.device))
    recalled = resume.recall(guard.folder) if past and world.rank == 0 else []
    sinks = (
        open_sinks(run_config, guard.folder, guard.screen(), recalled) if world.rank == 0 else []
    )
    log = guard.log = EventLog(now, sinks, recalled)
    try:
        demands.data_on_every_node(run_config, world)
        if not past:
            demands.clear_cache(run_config, world, log)
        with guarded(run_config.data.root):
            parts = build(run_config, world, clock, log, guard.heartbeat)
            keep.demand(run_config.keep, parts)
            every = run_config.checkpoint_every_seconds
            parts, past = resume.prepare(parts, past, guard.folder, every)
            guard.parts = parts
        describe(run_config, world, guard.folder)
        counted = power.open_meter(run_config.system.energy, world, now, past=past is not None)
        mpi.leave()
        log.emit(Kind.INIT_STOP)
        with counted:
            verdict = run(parts, past)
        finish(run_config, parts, verdict, guard.folder, counted)
        return verdict
    except BaseException as error:
        guard.abort(error)
        raise
    finally:
        log.close()


def finish(
    run_config: RunConfig, parts: Parts, verdict: Verdict, folder: Path, counted: power.PowerMeter
) -> None:
    """Off the clock: what was measured and what the rules say of it; or save what is unfinished."""
    parts.heartbeat.steady = False
    parts.heartbeat.beat("finishing", parts.learner.steps)
    log, step = parts.log, parts.learner.steps
    if verdict.status is Status.SUSPENDED:
        resume.suspend(parts, folder)
        parts.data.close()
        return
    if parts.saver:
        parts.saver.finish()
    measured = statistics(parts)
    log.emit(Kind.STATISTICS, step, **measured, **spent(parts, counted, folder))
    if measured["skipped_samples"]:
        log.emit(Kind.WARNING, step, message=skipped_sentence(measured))
    if parts.world.rank == 0:
        log.emit(Kind.COMPLIANCE, **check(run_config, folder))
        manifest.keep(run_config.data.root, folder)
        saver.forget(folder)
    if run_config.keep:
        keep.leave(run_config.keep, parts, folder)
    parts.data.close()


def describe(run_config: RunConfig, world: World, folder: Path) -> None:
    """What the machines are: environment.json, where each tells of itself, and system.json."""
    machine = None
    if world.local_rank == 0:
        machine = environment.environment(world.device, run_config.command)
    nodes = world.gather_nodes(machine)
    if world.rank == 0 and machine:
        text = json.dumps(machine | {"nodes": nodes}, indent=2)
        private = redact.holds(config.plain(run_config))  # so is config.yaml
        modes.write(folder / "environment.json", text + "\n", private=private)
        described = redact.settings(description.system(run_config, world))
        text = json.dumps(described, indent=2)
        (folder / "system.json").write_text(text + "\n")


if __name__ == "__main__":
    scratch.take()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and closed. What the interpreter would do now, taking the threads of torch,
    # DALI and NCCL apart in whatever order, takes time and can deadlock: no finished run may hang.
    scratch.end(code)
