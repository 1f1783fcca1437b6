"""Starting a program and staying responsible for it until it is gone."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

import ttt
from ttt.signals import Interrupted, catches, for_a_child, preemption_requested, raising, shield
from ttt.supervise.failure import LAUNCHED_BY_TTT, read, write_by_launcher

# What torchrun and the workers get to end by themselves before they are killed.
_GRACE_SECONDS = 20.0
_GRACE_OF_CTRL_C_SECONDS = 1.2  # a worker ends itself sooner, see ttt.signals
# And after a rank has reported why it failed: peers know within a second or two, but one that is
# stopped does not hear torchrun's SIGTERM.
_AFTER_FAILURE_SECONDS = 7.0
_LOOK_SECONDS = 0.25
_NAP_SECONDS = 0.02


def worker_environment(processes: int) -> dict[str, str]:
    """Variables for the workers of this node; what the user has set in his own wins.

    Each gets its share of the cores. Idle compute threads sleep instead of spinning, because they
    share the cores with decoding threads. A spinning thread can keep the one it waits for from
    running: that made a step 20 times slower on two cores.

    Args:
        processes: How many workers this node will run.
    """
    share = max(1, len(os.sched_getaffinity(0)) // processes)
    ours = {"OMP_NUM_THREADS": str(share), "OMP_WAIT_POLICY": "passive", LAUNCHED_BY_TTT: "1"}
    ours |= {"PYTHONSAFEPATH": "1"} | _findable()
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def _findable() -> dict[str, str]:
    """Where ttt is, if it is found only because it is here: workers do not look here first."""
    root = str(Path(ttt.__file__).resolve().parent.parent)
    return {"PYTHONPATH": root} if root == os.getcwd() else {}


def supervise(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stderr: Path | None = None,
    own_session: bool = False,
    logs: Path | None = None,
    look: Callable[[], None] | None = None,
) -> int:
    """Run a program to its end, passing on the signals we get.

    A request to make room goes only to the workers, as soon as they can answer: torchrun would die.

    Args:
        command: Program and arguments.
        environment: Variables to set on top of ours.
        stderr: File its error output is appended to; None shares ours.
        own_session: Keep it away from the terminal, so that Ctrl-C reaches it through us alone.
        logs: Where ranks that fail leave word; what still lives some seconds later is killed.
        look: Called a few times a second, and once after its end.

    Returns:
        Its exit code, negative if a signal ended it.

    Raises:
        Interrupted: We were asked to stop; the program is gone by then.
        OSError: It could not be started.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ttt-", ignore_cleanup_errors=True)
        )
        stack.enter_context(raising())
        errors = stack.enter_context(stderr.open("ab")) if stderr else None
        process = subprocess.Popen(
            command,
            env={**os.environ, **for_a_child(), "TMPDIR": folder, **(environment or {})},
            stdin=subprocess.DEVNULL if own_session else None,
            stderr=errors,
            start_new_session=own_session,
            preexec_fn=shield,  # noqa: PLW1509  no threads here, and no library's locks
        )
        try:
            return _wait(process, logs, look)
        except Interrupted as stop:
            _end(process, stop.number)
            if logs:
                write_by_launcher(str(stop), logs, primary=False)
            raise
        finally:
            if own_session:  # what is left of its group
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _wait(
    process: subprocess.Popen[bytes], logs: Path | None, look: Callable[[], None] | None
) -> int:
    """Wait for it, not much longer than until a rank has reported why it failed."""
    asked: set[int] = set()  # processes that got the request to make room
    over = False
    while not over:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            over = True
        if look:
            look()
        if room := preemption_requested():
            for worker in filter(_is_worker, _family(process)):
                if worker.pid not in asked and catches(worker.pid, room):
                    asked.add(worker.pid)
                    _send(worker, room)
        if logs and any(failure.primary for failure in read(logs)):
            return _end_within(process, _AFTER_FAILURE_SECONDS, _family(process))
    return process.returncode


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    """Pass on a signal that asks to stop; what has no answer to it yet ends at once."""
    family = _family(process)
    for member in family:
        if member.pid == process.pid or _is_worker(member):
            _send(member, number if catches(member.pid, number) else signal.SIGTERM)
    seconds = _GRACE_OF_CTRL_C_SECONDS if number == signal.SIGINT else _GRACE_SECONDS
    _end_within(process, seconds, family)


def _end_within(
    process: subprocess.Popen[bytes], seconds: float, family: Sequence[psutil.Process]
) -> int:
    """Let it end by itself; after a while kill it, and all that it has started.

    Args:
        process: The program.
        seconds: How long it may take, with its family.
        family: All processes as they were: if torchrun is gone first, its workers cannot be found.
    """
    workers = list(filter(_is_worker, family))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None and not any(map(_lives, workers)):
            return process.wait()
        time.sleep(_NAP_SECONDS)
    for member in {*workers, *_family(process)}:
        _send(member, signal.SIGKILL)
    return process.wait()


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A program and all that it has started; torchrun gives workers their own sessions."""
    try:
        started = psutil.Process(process.pid)
        return [started, *started.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        words = [word for word in process.cmdline() if word != "-u"]
    except psutil.Error:
        return False
    return words[1:3] == ["-m", "ttt.worker"]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
