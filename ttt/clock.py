"""The clock: named spans of time, their totals, and the moment a run started and stopped.

Two totals are kept apart. MLPerf's time-to-train runs from RUN_START to RUN_STOP, evaluation
included, never paused (MLCommons training_rules.adoc). The `train` span alone is what AlgoPerf and
the speedruns count. Time is injected, so that nothing here knows a device or sleeps in a test.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


def steady_wall_clock() -> Callable[[], float]:
    """Seconds since the epoch that never jump: read once, then carried on by a monotonic clock.

    A time server that steps the system clock in the middle of a run must not change its result.
    """
    offset = time.time() - time.perf_counter()
    return lambda: offset + time.perf_counter()


class Clock:
    """Measures spans with the device idle at both ends.

    Attributes:
        handed_on: Whether other processes go on with the run.

    Args:
        now: Seconds, on any monotonic scale; the same scale as the event log's.
        sync: Waits until the device has finished what was queued; called at both ends of a span
            that no exception ends.
    """

    def __init__(self, now: Callable[[], float], sync: Callable[[], None] = lambda: None) -> None:
        self.now = now
        self._sync = sync
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._open: dict[str, float] = {}  # spans that were entered and not left: when
        self._started: float | None = None
        self._stopped: float | None = None
        self.handed_on = False

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Add the time between entry and exit to the total of `name`, exceptions included.

        After an exception nothing waits for the device, which may itself wait for a process that
        is gone; the total then ends where the host was.
        """
        self._sync()
        begin = self._open[name] = self.now()
        try:
            yield
            self._sync()
        finally:
            del self._open[name]
            self._totals[name] += self.now() - begin

    def total(self, name: str) -> float:
        """Seconds spent in spans of this name so far."""
        return self._totals[name]

    def start(self, moment: float) -> None:
        """The run starts at `moment` (RUN_START)."""
        if self._started is not None:
            raise RuntimeError("the clock was started before and may not be started again")
        self._started = moment

    def resume(self, moment: float, totals: Mapping[str, float]) -> None:
        """Go on with a run that started at `moment`, in a process that is gone.

        Everything since counts, the time in which nothing ran included: the clock is never paused.

        Args:
            moment: RUN_START, as it was.
            totals: Seconds in each span, as far as they were saved.
        """
        self.start(moment)
        self._totals.update(totals)

    @property
    def totals(self) -> dict[str, float]:
        """Seconds spent in every span so far, by name; in one that goes on, up to now."""
        now = self.now()
        going_on = {name: self._totals[name] + now - begin for name, begin in self._open.items()}
        return dict(self._totals) | going_on

    @property
    def started(self) -> float:
        """RUN_START, on the scale of `now`; only while running or after."""
        assert self._started is not None
        return self._started

    def stop(self, moment: float) -> None:
        """The run stops at `moment` (RUN_STOP), once and for all."""
        if self._started is None or self._stopped is not None:
            raise RuntimeError("the clock is not running")
        self._stopped = moment

    def hand_on(self) -> None:
        """Other processes go on with the run, and with its clock: this one may not end it."""
        self.handed_on = True

    @property
    def over(self) -> bool:
        """Whether nothing that happens to this process changes the run any more."""
        return self.handed_on or self._stopped is not None

    @property
    def running(self) -> bool:
        """Between start and stop."""
        return self._started is not None and self._stopped is None

    @property
    def elapsed(self) -> float:
        """Seconds since the run started, up to now or to where it stopped; 0 before."""
        if self._started is None:
            return 0.0
        return (self.now() if self._stopped is None else self._stopped) - self._started
