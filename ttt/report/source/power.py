"""The power logs of a submission: what one run spent, in joules.

They lie in `power/<name of the log>/`: node_<k>.txt with readings of each node, and sw_<k>.txt with
an estimate of each switch. The energy is `sum(reading * time since the reading before)` of every
node, plus the estimates over the whole run (MLCommons power_measurement.adoc, "Scoring"). As
result_summarizer has it, that of a node is brought from the time of its measurement to that of the
run. What it only warns of is unknown here: a log without its end may have lost half of it.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ttt.compliance.records import Record, records
from ttt.report.source.progress import number

SOURCE = "power logs of the submission"
_START, _STOP, _READING = "power_measurement_start", "power_measurement_stop", "power_reading"
_ESTIMATE, _EFFICIENCY = "interconnect_power_est", "conversion_eff"


class _UnusableError(Exception):
    """Power logs that tell no energy, and why."""


def energy_of(log: Path, elapsed_ms: float | None, nodes: int | None) -> dict[str, Any]:
    """The energy of a run, as fields of `Run`; empty where nobody measured any.

    Args:
        log: Of the run.
        elapsed_ms: From run_start to run_stop.
        nodes: How many there are, all of which have to be measured; None if unknown.
    """
    if not (log.parent / "power").is_dir():
        return {}
    folder = log.parent / "power" / log.stem
    try:
        energy_j = _energy(folder, elapsed_ms, nodes)
    except _UnusableError as error:
        return {"energy_reason": f"power/{log.stem}: {error}"}
    return {"energy_j": energy_j, "energy_source": SOURCE}


def _energy(folder: Path, elapsed_ms: float | None, nodes: int | None) -> float:
    if elapsed_ms is None:
        raise _UnusableError("how long the run took is unknown")
    measured, estimated = (_numbered(folder, what) for what in ("node", "sw"))
    if not measured:
        raise _UnusableError("there is no node_0.txt")
    if nodes is not None and len(measured) < nodes:
        raise _UnusableError(f"{len(measured)} of {nodes} nodes have a log; all are to be measured")
    total = 0.0
    for file in measured:
        total += _of_node(_read(file), elapsed_ms)
    for file in estimated:
        total += _of_switch(_read(file), elapsed_ms)
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


def _read(file: Path) -> list[Record]:
    try:
        found = list(records(file))
    except OSError as error:
        raise _UnusableError(f"{file.name} cannot be read: {error.strerror}") from error
    if damaged := next((record.damage for record in found if record.damage), None):
        raise _UnusableError(f"{file.name}: {damaged:.200}")
    if not found:
        raise _UnusableError(f"{file.name} has no :::MLLOG record")
    return found


def _of_node(found: Iterable[Record], elapsed_ms: float) -> float:
    """Joules of a node for the time of the run."""
    begin = end = None
    efficiency, spent, before = 1.0, 0.0, 0.0
    seen = 0
    for key, value, time_ms in sorted(map(_said, found), key=lambda each: each[2]):
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
    return efficiency * spent * elapsed_ms / (end - begin) / 1000


def _of_switch(found: Iterable[Record], elapsed_ms: float) -> float:
    """Joules of a switch at its greatest power."""
    efficiency = 1.0
    for key, value, _ in map(_said, found):
        if key == _EFFICIENCY:
            efficiency = _efficiency(value)
        elif key == _ESTIMATE:
            return efficiency * _watts(key, value) * elapsed_ms / 1000
    raise _UnusableError(f"there is no {_ESTIMATE} of a switch")


def _said(record: Record) -> tuple[Any, Any, float]:
    assert record.fields is not None
    time_ms = number(record.time_ms)
    if time_ms is None:
        raise _UnusableError(f"line {record.line}: time_ms is {record.time_ms:g}")
    return record.fields["key"], record.fields["value"], time_ms


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
