"""Ends this process after some time, whatever its threads do then.

A thread of Python's is not enough: a library that hangs may hold Python's lock (the GIL), as
torch's dump of NCCL's flight record does: `_dump_nccl_trace` in
torch/csrc/distributed/c10d/init.cpp. So the C library's timer ends the process.
"""

import ctypes
import os
import threading
import time

_SIGEV_THREAD = 2  # asm-generic/siginfo.h: the timer calls a function, in a thread of its own


class _Event(ctypes.Structure):
    """struct sigevent of glibc on a 64-bit machine."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("rest", ctypes.c_char * 40),
    )


class _Times(ctypes.Structure):
    """struct itimerspec: an interval, here 0 for once, and the time until the first end."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "s", "ns"))


def end_within(seconds: float, code: int) -> None:
    """End this process by `_exit` when so many seconds have passed. Temporary files stay.

    Args:
        seconds: From now.
        code: The exit code.
    """
    if not _start_timer(seconds, code):
        timer = threading.Timer(seconds, os._exit, (code,))
        timer.daemon = True
        timer.start()


def _start_timer(seconds: float, code: int) -> bool:
    """Start a timer that calls `_exit(code)`; False where the C library has none."""
    try:
        libc = ctypes.CDLL(None)
        # Before glibc 2.34 they are in a library of their own.
        timers = libc if hasattr(libc, "timer_create") else ctypes.CDLL("librt.so.1")
        create, start = timers.timer_create, timers.timer_settime
        leave = ctypes.cast(libc._exit, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return False
    event, timer = _Event(code, 0, _SIGEV_THREAD, leave), ctypes.c_void_p()
    if create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        return False
    whole = int(seconds)
    times = _Times(0, 0, whole, int((seconds - whole) * 1e9) + 1)  # 0 would start no timer
    return bool(start(timer, 0, ctypes.byref(times), None) == 0)
