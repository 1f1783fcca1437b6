"""Signals that stop or preempt a process, so that every `finally` runs and every log has its end.

A stop signal raises an exception. Python drops an exception that a signal handler raises inside a
finalizer or a callback; then it is raised again a moment later. A process that cannot react,
because it waits inside a library for a peer that is gone, ends itself some time later. A process
whose parent died gets a signal, too, so that no run outlives its launcher. A preemption signal sets
a flag. The loop exchanges it between ranks, so that all of them stop after the same step.
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
PREEMPTION = (signal.SIGUSR1, signal.SIGUSR2)  # schedulers can send these before they stop a job
# Names of the signals that a worker of ttt obeys. Ctrl-C comes to every process of a terminal at
# once; the launcher makes a new worker ignore it, and passes it on when the worker can react.
HEARD = "TTT_HEARD"
_GRACE_SECONDS = 5.0  # to log `aborted` and close files
_GRACE_OF_CTRL_C_SECONDS = 0.6  # a user waits for it
_LAST_WORDS_SECONDS = 0.3
_AGAIN_SECONDS = 0.05
# slurm/job.sbatch sets it where the job may go back to its queue: then a run that loses its
# processes is not over.
REQUEUE = "TTT_REQUEUE"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None)
_preempted: list[signal.Signals] = []
_ending: list[bool] = []  # whether an end is being written down; see `ending`
_stopped: list[int] = []  # the signal that asked to stop: libraries may lose an exception


class Interrupted(BaseException):
    """A signal asked this process to stop. Not an Exception: no handler may swallow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")

    @property
    def exit_code(self) -> int:
        """As shells write it."""
        return 128 + self.number


def begin() -> None:
    """While a process loads its libraries, which takes seconds: end at once on a stop signal.

    There is nothing to close yet, and the traceback of a library would explain nothing. A request
    to preempt it is remembered already.
    """
    for number in heard():
        signal.signal(number, signal.SIG_DFL)
    remember_preemption()
    _end_with_parent()


def install(last_words: Callable[[int], None] = lambda number: None) -> None:
    """Raise Interrupted in the main thread on SIGTERM, SIGINT and SIGHUP, and if orphaned.

    SIGUSR1 and SIGUSR2 are remembered; see `preemption_requested`.

    Args:
        last_words: Called in another thread with the signal's number, before the process ends,
            where the main thread does not come back from a library.
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
            _stopped.clear()
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
    """The variable from which a process started with `shield` knows the signals that it obeys."""
    return {HEARD: " ".join(number.name for number in heard())}


def shield() -> None:
    """In a child before its program begins: ignore Ctrl-C, and end with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()


def catches(process: int, number: int) -> bool:
    """Whether a process handles a signal itself; otherwise the signal ends it or is lost."""
    try:
        with open(f"/proc/{process}/status") as file:
            masks = dict(line.split(":\t", 1) for line in file if line.startswith("Sig"))
    except OSError:  # it is gone, or this is no Linux
        return not os.path.exists("/proc/self/status")
    return bool(int(masks["SigCgt"], 16) >> (number - 1) & 1)


def remember_preemption() -> None:
    """Remember SIGUSR1 and SIGUSR2, see `preemption_requested`; by default they end a process."""
    for number in PREEMPTION:
        signal.signal(number, lambda number, _: _preempted.append(signal.Signals(number)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PREEMPTION)


def hold_preemption() -> None:
    """Before exec: block the signals of a preemption until the new program handles them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, PREEMPTION)
    for number in _preempted[:1]:
        signal.raise_signal(number)


def preemption_requested() -> signal.Signals | None:
    """The signal that asked to preempt this process; None if none did."""
    return _preempted[0] if _preempted else None


def ended_from_outside(error: BaseException, *, lost_peer: bool) -> bool:
    """Whether a run that may be requeued goes on after this: nothing is wrong with it.

    Args:
        error: What ended this process.
        lost_peer: Whether it only means that another process is gone.
    """
    stopped = isinstance(error, Interrupted) and error.number == signal.SIGTERM
    return REQUEUE in os.environ and (stopped or lost_peer)


def ignore_signals() -> None:
    """Ignore stop signals when nothing is left to stop: torchrun and mpirun may still send one."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise Interrupted, and ignore the signals that may follow the first."""
    ignore_signals()
    _stopped.append(number)
    if not _ending:
        raise Interrupted(number)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Within it, the reason of an end is written down, and a stop signal does not cut it off.

    A launcher sends one as soon as it knows that another process has failed. If what is written
    does not come to its end, `last_words` follow, as everywhere.
    """
    _ending.append(True)
    try:
        yield
    finally:
        _ending.pop()


def obey() -> None:
    """Obey a stop signal that was lost; called before an error is shown or a long step begins.

    Raises:
        Interrupted: This process was asked to stop.
    """
    for number in _stopped:
        raise Interrupted(number)


def cause(error: BaseException) -> BaseException:
    """The cause of this process's end: a stop signal if there was one, not a library's error."""
    return Interrupted(_stopped[0]) if _stopped else error


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
    """Wait for a stop signal, leave time to react, and end the process all the same."""
    while (number := os.read(reader, 1)[0]) not in SIGNALS:
        pass
    time.sleep(_GRACE_OF_CTRL_C_SECONDS if number == signal.SIGINT else _GRACE_SECONDS)
    words = threading.Thread(target=last_words, args=(number,), daemon=True)
    words.start()
    words.join(_LAST_WORDS_SECONDS)
    scratch.end(128 + number)
