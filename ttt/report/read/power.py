"""The power logs of a submission: what one run spent, in joules.

They lie in `power/<name of the log>/`: node_<k>.txt with readings of each node, and sw_<k>.txt with
an estimate of each switch. The energy is `sum(reading * time since the reading before)` of every
node, plus the estimates over the whole run (MLCommons power_measurement.adoc, "Scoring"). As
result_summarizer has it, that of a node is brought from the time of its measurement to that of the
run. What it only warns of is unknown here: a log without its end may have lost half of it. So is
what it does not ask: whether the readings are of this run, and could be watts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttt.compliance.log import Log
from ttt.compliance.records import Record
from ttt.report.read.progress import number
from ttt.run_folder import POWER

SOURCE = "power logs of the submission"
_START, _STOP, _READING = "power_measurement_start", "power_measurement_stop", "power_reading"
_ESTIMATE, _EFFICIENCY = "interconnect_power_est", "conversion_eff"
_MOST = 500_000  # records of a node; five days of one a second
_COVERED = 0.9  # share of the run, and of the measurement, that the other has to cover
_LEAST_W, _MOST_W = 10, 200_000  # mean of a node: below is kW or one part, above is mW


class _UnusableError(Exception):
    """Power logs without a usable energy, and why."""


@dataclass(frozen=True)
class Span:
    """From run_start to run_stop, in milliseconds since the epoch."""

    start: float
    stop: float

    @property
    def elapsed_ms(self) -> float:
        """How long it took."""
        return self.stop - self.start

    def shared(self, begin: float, end: float) -> float:
        """The share of the longer of the two that both have."""
        both = min(self.stop, end) - max(self.start, begin)
        return both / max(self.elapsed_ms, end - begin)


def energy_of(log: Path, run: Span | None, nodes: int | None) -> dict[str, Any]:
    """The energy of a run, as fields of `Run`; empty where there are no power logs.

    Args:
        log: Of the run.
        run: When it ran; None if unknown.
        nodes: How many there are, all of which have to be measured; None if unknown.
    """
    power = log.parent / POWER
    if not power.is_dir():
        return {}
    folder = power / log.stem
    try:
        energy_j = _energy(folder, run, nodes)
    except _UnusableError as error:
        return {"energy_reason": f"{POWER}/{log.stem}: {error}"}
    return {"energy_j": energy_j, "energy_source": SOURCE}


def _energy(folder: Path, run: Span | None, nodes: int | None) -> float:
    if run is None:
        raise _UnusableError("how long the run took is unknown")
    measured, estimated = (_numbered(folder, what) for what in ("node", "sw"))
    if not measured:
        raise _UnusableError("there is no node_0.txt")
    if nodes is not None and len(measured) < nodes:
        raise _UnusableError(f"{len(measured)} of {nodes} nodes have a log; all are to be measured")
    total = 0.0
    for file in measured:
        total += _of_node(_read(file), file.name, run)
    for file in estimated:
        total += _of_switch(_read(file), run.elapsed_ms)
    return total


def _numbered(folder: Path, what: str) -> list[Path]:
    """`<what>_0.txt` and those that follow; package_checker refuses a gap, too."""
    named = {
        int(match[1]): file
        for file in folder.glob(f"{what}_*.txt")
        if (match := re.fullmatch(rf"{what}_([0-9]{{1,9}})\.txt", file.name)) and file.is_file()
    }
    if set(named) != set(range(len(named))):
        missing = min(set(range(len(named))) - set(named))
        raise _UnusableError(f"there is no {what}_{missing}.txt, but later ones")
    return [named[place] for place in sorted(named)]


def _read(file: Path) -> Sequence[Record]:
    try:
        log = Log.read(file, _MOST)
    except OSError as error:
        raise _UnusableError(f"{file.name} cannot be read: {error.strerror}") from error
    if log.damage:
        raise _UnusableError(f"{file.name}: {log.damage[0]:.200}")
    if not log.records:
        raise _UnusableError(f"{file.name} has no :::MLLOG record")
    return log.records


def _of_node(found: Iterable[Record], name: str, run: Span) -> float:
    """Joules of a node for the time of the run."""
    begin = end = None
    efficiency, spent, before = 1.0, 0.0, 0.0
    seen = 0
    for key, value, time_ms in sorted(map(_parts, found), key=lambda each: each[2]):
        if key == _START and begin is None:
            begin = before = time_ms
        elif key == _STOP and end is None:
            end = time_ms
        elif key == _EFFICIENCY:
            efficiency = _efficiency(value)
        elif key == _READING and begin is not None and end is None:
            spent += _watts(key, value) * (time_ms - before)
            before, seen = time_ms, seen + 1
    if begin is None or end is None:
        raise _UnusableError(f"there is no {_START if begin is None else _STOP}")
    if not seen or end <= begin:
        raise _UnusableError(f"there is no {_READING} between start and stop")
    _believe(name, run, (begin, before, end), efficiency * spent / (end - begin))
    return efficiency * spent * run.elapsed_ms / (end - begin) / 1000


def _believe(name: str, run: Span, moments: tuple[float, float, float], watts: float) -> None:
    """Refuse readings that are not those of the whole run, or no power of a node in watts."""
    begin, last, end = moments
    if (seen := (last - begin) / (end - begin)) < _COVERED:
        raise _UnusableError(f"{name}: the readings end after {seen:.0%} of the measurement")
    if (shared := run.shared(begin, end)) < _COVERED:
        raise _UnusableError(
            f"{name}: the measurement took {(end - begin) / 1000:.1f} s and the run"
            f" {run.elapsed_ms / 1000:.1f} s, of which they share {max(0, shared):.0%}"
        )
    if not _LEAST_W <= watts <= _MOST_W:
        raise _UnusableError(f"{name}: a mean of {watts:.3g} W is no power of a node in watts")


def _of_switch(found: Iterable[Record], elapsed_ms: float) -> float:
    """Joules of a switch at its greatest power."""
    efficiency = 1.0
    for key, value, _ in map(_parts, found):
        if key == _EFFICIENCY:
            efficiency = _efficiency(value)
        elif key == _ESTIMATE:
            return efficiency * _watts(key, value) * elapsed_ms / 1000
    raise _UnusableError(f"there is no {_ESTIMATE} of a switch")


def _parts(record: Record) -> tuple[Any, Any, float]:
    time_ms = number(record.time_ms)
    if time_ms is None:
        raise _UnusableError(f"line {record.line}: time_ms is {record.time_ms:g}")
    return record.key, record.value, time_ms


def _watts(key: str, value: Any) -> float:
    watts = number(value)
    if watts is None or watts < 0:
        raise _UnusableError(f"{key} is {value!r:.40}, no power in watts")
    return watts


def _efficiency(value: Any) -> float:
    efficiency = number(value)
    if efficiency is None or not 0 < efficiency <= 1:
        raise _UnusableError(f"{_EFFICIENCY} is {value!r:.40}; allowed: more than 0, at most 1")
    return efficiency
