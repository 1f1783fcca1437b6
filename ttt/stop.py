"""Being told to stop or to make room: signals, where every `finally` and log can see them.

To stop is an exception. A process that cannot react, because it waits inside a library for a peer
that is gone, ends itself a few seconds later. A process whose parent died is told, too, so that no
run outlives its launcher. To make room is a flag, which the loop exchanges between ranks, so that
all of them stop after the same step.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from types import FrameType

GRACE_SECONDS = 5.0  # to log `aborted` and close files
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MAKE_ROOM = (signal.SIGUSR1, signal.SIGUSR2)  # what schedulers are asked to send before a limit
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None)
_told: list[signal.Signals] = []


class Interrupted(BaseException):
    """Somebody asked this process to stop. Not an Exception: no handler may swallow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")

    @property
    def exit_code(self) -> int:
        """As shells count it."""
        return 128 + self.number


def install() -> None:
    """Raise Interrupted in the main thread on SIGTERM, SIGINT and SIGHUP, and if orphaned.

    SIGUSR1 and SIGUSR2 are remembered; see `room_wanted`.
    """
    for number in heard():
        signal.signal(number, interrupt)
    for number in MAKE_ROOM:
        signal.signal(number, lambda number, _: _told.append(signal.Signals(number)))
    # The C handler writes a byte for each signal, whatever the main thread is doing: a handler of
    # Python's would wait for it to come back from the library it is in.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_late, args=(reader,), name="last resort", daemon=True).start()
    end_with_parent()


def heard() -> list[signal.Signals]:
    """The signals that ask to stop, without those that were ignored when this process started.

    `nohup` ignores SIGHUP, a shell without job control SIGINT for what it puts in the background:
    that stays so.
    """
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def end_with_parent() -> None:
    """Be told to stop when the process that started this one is gone."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def go_deaf() -> None:
    """Nothing is left to be stopped; a quicker rank may make torchrun or mpirun end the others."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def room_wanted() -> signal.Signals | None:
    """The signal that asked this process to make room; None if none did."""
    return _told[0] if _told else None


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise Interrupted, and ignore the signals that may follow the first."""
    go_deaf()
    raise Interrupted(number)


def _end_late(reader: int) -> None:
    """Wait for a signal that asks to stop, and some time later for nothing any more."""
    while (number := os.read(reader, 1)[0]) not in SIGNALS:
        pass
    time.sleep(GRACE_SECONDS)
    os._exit(128 + number)
