"""The clock of one MLPerf log: when a run began and ended, and whether its records agree on that.

The rules check no time (a published log has a run_start that was typed in by hand), so the official
summarizer accepts any. So does this, and it reports where a log contradicts itself: other
measurements on such a clock are not used. Knows keys and times, no file.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_DAYS_30 = 30 * 24 * 3600.0
_YEARS_100 = 100 * 365 * 24 * 3600.0
_TOGETHER = 1.0  # seconds; clocks of two processes that write one log may differ by this
_FIRST = ("cache_clear", "init_stop")  # come before run_start, by the rules
_COURSE = tuple(f"{what}_{end}" for what in ("epoch", "block", "eval") for end in ("start", "stop"))


@dataclass(slots=True)
class Clock:
    """The moments of a run, in milliseconds since the epoch; None if not logged.

    Attributes:
        cache_clear: The earliest of those before run_stop in the file.
        init_start: The first.
        init_stop: The first.
        run_start: As the official summarizer chooses.
        run_stop: The same.
    """

    cache_clear: float | None = None
    init_start: float | None = None
    init_stop: float | None = None
    run_start: float | None = None
    run_stop: float | None = None
    _latest: tuple[str, float] | None = None
    _back: tuple[float, str, str] | None = None  # milliseconds, from which key, to which

    def take(self, key: str, time_ms: float) -> None:
        """Note a moment, with the official summarizer's choice among several.

        It takes what it saw last of either run_start or run_stop when it has seen both; so the
        caller passes nothing that comes after.
        """
        match key:
            case "cache_clear":
                self.cache_clear = min(time_ms, self.cache_clear or time_ms)
            case "init_start":
                self.init_start = time_ms if self.init_start is None else self.init_start
            case "init_stop":
                self.init_stop = time_ms if self.init_stop is None else self.init_stop
            case "run_start":
                self.run_start, self._latest, self._back = time_ms, (key, time_ms), None
            case "run_stop":
                self.run_stop = time_ms
            case _ if key in _COURSE and self._latest is not None:
                self._order(key, time_ms)

    def _order(self, key: str, time_ms: float) -> None:
        assert self._latest is not None
        before, latest = self._latest
        if time_ms >= latest:
            self._latest = key, time_ms
        elif self._back is None or latest - time_ms > self._back[0]:
            self._back = latest - time_ms, before, key

    @property
    def ended(self) -> bool:
        """Whether both ends of the run are known."""
        return self.run_start is not None and self.run_stop is not None

    @property
    def elapsed_ms(self) -> float | None:
        """From start to stop; None if unknown or impossible.

        A clock in doubt has one, too: the published tables print it.
        """
        if self.run_start is None or self.run_stop is None:
            return None
        elapsed = self.run_stop - self.run_start
        return elapsed if 0 < elapsed < _YEARS_100 * 1000 else None

    def caveats(self) -> Iterator[str]:
        """What the records contradict each other in, a sentence each; nothing of a good clock.

        A run_stop before the last record is none: of what is evaluated after training it is the
        time of the checkpoint that passed (training_rules, "Run Results"). Neither are parameters,
        which some write to their logs afterwards.
        """
        start, elapsed = self.run_start, self.elapsed_ms
        if start is None:
            return
        if self.run_stop is not None and elapsed is None:
            seconds = (self.run_stop - start) / 1000
            yield f"run_stop is {seconds:g} s after run_start, which no clock can say"
        if elapsed is not None and elapsed > _DAYS_30 * 1000:
            yield f"run_stop is {elapsed / 86_400_000:,.0f} days after run_start"
        early, key = max((((getattr(self, key) or start) - start) / 1000, key) for key in _FIRST)
        if early > _TOGETHER:
            yield f"run_start says it was {early:g} s before {key}, which comes first"
        if self._back is not None and self._back[0] > _TOGETHER * 1000:
            back, before, key = self._back
            yield f"time runs backwards: {key} says it was {back / 1000:g} s before {before}"
