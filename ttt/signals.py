"""Signals to stop or to make room, raised or recorded so that every `finally` and log sees them.

To stop is an exception. Python drops an exception that a signal handler raises inside a finalizer
or a callback; then it is raised again a moment later. A process that cannot react, because it waits
inside a library for a peer that is gone, ends itself some time later. A process whose parent died
gets a signal, too, so that no run outlives its launcher. To make room is a flag, which the loop
exchanges between ranks, so that all of them stop after the same step.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from ttt import scratch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MAKE_ROOM = (signal.SIGUSR1, signal.SIGUSR2)  # what schedulers are asked to send before a limit
# Names of the signals that a worker of ttt obeys. Ctrl-C comes to every process of a terminal at
# once; the launcher makes a new worker ignore it, and passes it on when the worker can answer.
HEARD = "TTT_HEARD"
_GRACE_SECONDS = 5.0  # to log `aborted` and close files
_GRACE_OF_CTRL_C_SECONDS = 0.6  # a user waits for it
_LAST_WORDS_SECONDS = 0.3
_AGAIN_SECONDS = 0.05
# Set by slurm/job.sbatch where the job may go back to its queue: a run that loses its processes is
# not over then.
REQUEUE = "TTT_REQUEUE"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None)
_told: list[signal.Signals] = []
_asked: list[int] = []  # the signal that asked to stop: libraries may lose an exception


class Interrupted(BaseException):
    """A signal asked this process to stop. Not an Exception: no handler may swallow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")

    @property
    def exit_code(self) -> int:
        """As shells count it."""
        return 128 + self.number


def begin() -> None:
    """While a process loads its libraries, which takes seconds: end at once on a stop signal.

    There is nothing to close yet, and no traceback of a library says anything. What asks for room
    is remembered already.
    """
    for number in heard():
        signal.signal(number, signal.SIG_DFL)
    remember_preemption()
    _end_with_parent()


def install(last_words: Callable[[int], None] = lambda number: None) -> None:
    """Raise Interrupted in the main thread on SIGTERM, SIGINT and SIGHUP, and if orphaned.

    SIGUSR1 and SIGUSR2 are remembered; see `preemption_requested`.

    Args:
        last_words: Called with the signal's number, beside a main thread that does not come back
            from a library, before the process ends.
    """
    for number in heard():
        signal.signal(number, interrupt)
    remember_preemption()
    sys.unraisablehook = _raise_again
    # The C handler writes a byte for each signal, also while the main thread is busy: a handler of
    # Python's would wait for it to come back from the library it is in.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    arguments = (reader, last_words)
    threading.Thread(target=_end_late, args=arguments, name="last resort", daemon=True).start()
    _end_with_parent()


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Within it, the signals that ask this process to stop raise Interrupted.

    After such a signal Interrupted leaves this block, also if a library swallowed it or turned it
    into another error.
    """
    obey()
    before = {number: signal.signal(number, interrupt) for number in heard()}
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        yield
        obey()
    except BaseException:
        obey()
        raise
    finally:
        if before and interrupt not in before.values():  # else it is within another
            _asked.clear()
        sys.unraisablehook = hook
        for number, old in before.items():
            signal.signal(number, old)


def heard() -> list[signal.Signals]:
    """The signals that ask to stop, without those that were ignored when this process started.

    `nohup` ignores SIGHUP, a shell without job control SIGINT for what it puts in the background:
    that stays so.
    """
    names = os.environ.get(HEARD)
    if names is not None:
        return [number for number in SIGNALS if number.name in names.split()]
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def for_a_child() -> dict[str, str]:
    """The variable by which a process started with `shield` knows what it is to hear."""
    return {HEARD: " ".join(number.name for number in heard())}


def shield() -> None:
    """In a child before its program begins: ignore Ctrl-C, and end with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


def catches(process: int, number: int) -> bool:
    """Whether a process has an answer of its own to a signal, which else ends it or is lost."""
    try:
        with open(f"/proc/{process}/status") as file:
            masks = dict(line.split(":\t", 1) for line in file if line.startswith("Sig"))
    except OSError:  # it is gone, or this is no Linux
        return not os.path.exists("/proc/self/status")
    return bool(int(masks["SigCgt"], 16) >> (number - 1) & 1)


def remember_preemption() -> None:
    """Remember SIGUSR1 and SIGUSR2, see `preemption_requested`; by default they end a process."""
    for number in MAKE_ROOM:
        signal.signal(number, lambda number, _: _told.append(signal.Signals(number)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, MAKE_ROOM)


def hold_room() -> None:
    """Before exec: block the signals that ask for room, until the new program handles them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, MAKE_ROOM)
    for number in _told[:1]:
        signal.raise_signal(number)


def preemption_requested() -> signal.Signals | None:
    """The signal that asked this process to make room; None if none did."""
    return _told[0] if _told else None


def ended_from_outside(error: BaseException, *, lost_peer: bool) -> bool:
    """Whether a run that may be requeued goes on after this: nothing is wrong with it.

    Args:
        error: What ended this process.
        lost_peer: Whether it only says that another process is gone.
    """
    stopped = isinstance(error, Interrupted) and error.number == signal.SIGTERM
    return REQUEUE in os.environ and (stopped or lost_peer)


def ignore_signals() -> None:
    """Nothing is left to be stopped; a quicker rank may make torchrun or mpirun end the others."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise Interrupted, and ignore the signals that may follow the first."""
    ignore_signals()
    _asked.append(number)
    raise Interrupted(number)


def obey() -> None:
    """Obey a stop signal that was lost; called before an error is shown or a long step begins.

    Raises:
        Interrupted: This process was asked to stop.
    """
    for number in _asked:
        raise Interrupted(number)


def cause(error: BaseException) -> BaseException:
    """The cause of this process's end: a stop signal if there was one, not a library's error."""
    return Interrupted(_asked[0]) if _asked else error


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started this one is gone."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Python is about to drop an exception; one that stops this process comes again instead."""
    stop = lost.exc_value
    if not isinstance(stop, Interrupted):
        sys.__unraisablehook__(lost)
        return

    def again(number: int, frame: FrameType | None) -> None:
        raise Interrupted(stop.number)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


def _end_late(reader: int, last_words: Callable[[int], None]) -> None:
    """Wait for a signal that asks to stop, and some time later for nothing any more."""
    while (number := os.read(reader, 1)[0]) not in SIGNALS:
        pass
    time.sleep(_GRACE_OF_CTRL_C_SECONDS if number == signal.SIGINT else _GRACE_SECONDS)
    words = threading.Thread(target=last_words, args=(number,), daemon=True)
    words.start()
    words.join(_LAST_WORDS_SECONDS)
    scratch.end(128 + number)
