"""Starting a program and staying responsible for it until it is gone."""

import contextlib
import getpass
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

import ttt
from ttt.failure import LAUNCHED_BY_TTT, read
from ttt.stop import MAKE_ROOM, Interrupted, end_with_parent, heard, interrupt

# What torchrun and the workers get to end by themselves before they are killed.
GRACE_SECONDS = 20.0
# And after a rank has said why it failed: its peers know within a second or two, but one that is
# stopped does not hear torchrun's SIGTERM.
_AFTER_FAILURE_SECONDS = 7.0
_LOOK_SECONDS = 0.25


def worker_environment(processes: int) -> dict[str, str]:
    """Variables for the workers of this node; what the user has set in his own wins.

    Each gets its share of the cores. Idle compute threads sleep instead of spinning: they share the
    cores with decoding threads, and a spinning thread that keeps the one it waits for from running
    made a step 20 times slower on two cores.

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
) -> int:
    """Run a program to its end, passing on the signals we get.

    Args:
        command: Program and arguments.
        environment: Variables to set on top of ours.
        stderr: File its error output is appended to; None shares ours.
        own_session: Keep it away from the terminal, so that Ctrl-C reaches it through us alone.
        logs: Where ranks that fail leave word; what still lives some seconds later is killed.

    Returns:
        Its exit code, negative if a signal ended it.

    Raises:
        Interrupted: We were asked to stop; the program is gone by then.
        OSError: It could not be started.
    """
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ttt-", ignore_cleanup_errors=True)
        )
        stack.enter_context(raising())
        errors = stack.enter_context(stderr.open("ab")) if stderr else None
        process = subprocess.Popen(
            command,
            env={**os.environ, **_scratch(scratch), **(environment or {})},
            stdin=subprocess.DEVNULL if own_session else None,
            stderr=errors,
            start_new_session=own_session,
            preexec_fn=end_with_parent,  # noqa: PLW1509  no threads here, and no library's locks
        )
        stack.enter_context(_passing_on(process))
        try:
            return process.wait() if logs is None else _wait(process, logs)
        except Interrupted as stop:
            process.send_signal(stop.number)
            _end_within(process, GRACE_SECONDS)
            raise
        finally:
            if own_session:  # whatever is left of its group
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _scratch(folder: str) -> dict[str, str]:
    """Temporary files go there, and with it when all is over: workers end without cleaning up.

    What torch has compiled is kept where it always is.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # one without a name, as in some containers
        user = str(os.getuid())
    compiled = Path(tempfile.gettempdir()) / f"torchinductor_{user}"
    return {"TMPDIR": folder, name: os.environ.get(name, str(compiled))}


@contextlib.contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Within it, a signal that asks for room goes on to the workers, who have an answer to it."""

    def tell(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid)
            for member in (started, *started.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    words = [word for word in member.cmdline() if word != "-u"]
                    if words[1:3] == ["-m", "ttt.worker"]:  # torchrun would die of it
                        member.send_signal(number)

    before = {number: signal.signal(number, tell) for number in MAKE_ROOM}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _wait(process: subprocess.Popen[bytes], logs: Path) -> int:
    """Wait for it, not much longer than until a rank has said why it failed."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_SECONDS)
        if any(failure.primary for failure in read(logs)):
            return _end_within(process, _AFTER_FAILURE_SECONDS)


def _end_within(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Let it end by itself; after a while kill it, and all that it has started."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)  # torchrun gives workers their own sessions
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        return process.wait()


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Within it, the signals that ask us to stop raise Interrupted."""
    before = {number: signal.signal(number, interrupt) for number in heard()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
