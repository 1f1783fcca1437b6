"""Reads events.jsonl, the record of a run of ttt: when what happened, and its last sign of life.

A killed run may have cut the last line; what cannot be read is left out. May not know what else is
in a run folder, except the configuration in the record itself.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ttt import foreign
from ttt.foreign import ForeignError
from ttt.report.read.progress import number
from ttt.report.run import Block, Evaluation

_MOST = 500_000  # events that are kept; a run has some for each evaluation
_TAIL = 1 << 16  # bytes; many times the longest event
_YEAR_10000 = 253402300800  # seconds since the epoch, where datetime ends


@dataclass(slots=True)
class History:
    """The course of one run; seconds are those since RUN_START.

    Attributes:
        started: RUN_START in seconds since the epoch; None if there was none.
        stopped: RUN_STOP in seconds since the epoch.
        evaluations: Every value of the metric.
        blocks: Training between evaluations.
        config: What the run recorded of itself when it began.
        problem: Why nothing, or not all, could be read; None where there is no record.
    """

    started: float | None = None
    stopped: float | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def history(events: Path) -> History:
    """What happened, line by line; empty where there is no record."""
    found = History()
    if not os.path.lexists(events):
        return found
    try:
        _read(events, found)
    except ForeignError as error:
        found.problem = error.sentence
    return found


def _read(events: Path, found: History) -> None:
    block: tuple[float, float | None] | None = None  # begin, samples by then
    blocks: list[tuple[float | None, Block]] = []  # samples by its end
    for kind, time, data in _events(events):
        if kind == "config" and not found.config:
            found.config = data
        if kind == "run_start" and found.started is None:
            found.started = time
        if (started := found.started) is None:
            continue
        match kind:
            case "block_start":
                block = time, number(data.get("samples"))
            case "block_stop" if block is not None:
                begin, before = block
                after = number(data.get("samples"))
                samples = None if before is None or after is None else after - before
                blocks.append((after, Block(begin - started, time - begin, samples)))
                block = None
            case "resumed" if (saved := number(data.get("samples"))) is not None:
                # What came after the checkpoint is done again, and then recorded again.
                while blocks and (blocks[-1][0] or 0) > saved:
                    blocks.pop()
                while found.evaluations and (found.evaluations[-1].samples or 0) > saved:
                    found.evaluations.pop()
            case "quality" if (value := number(data.get("value"))) is not None:
                epochs, samples = number(data.get("epoch")), number(data.get("samples"))
                found.evaluations.append(Evaluation(time - started, value, epochs, samples))
            case "run_stop":
                found.stopped = time
    found.blocks = [each for _, each in blocks]


def _events(events: Path) -> Iterator[tuple[str, float, dict[str, Any]]]:
    left = _MOST
    for line in foreign.lines(events, inside=events.parent):
        if b'"progress"' in line:  # most of the file, and nothing of what is asked
            continue
        left -= 1
        if left < 0:
            raise ForeignError(events, f"has over {_MOST:,} events, as many are allowed")
        if (event := _event(line)) is not None:
            yield event


def _event(line: bytes) -> tuple[str, float, dict[str, Any]] | None:
    try:
        event = foreign.parsed_json(line)
    except ValueError:
        return None
    match event:
        case {"kind": str(kind), "time": int() | float() as time} if 0 <= time < _YEAR_10000:
            data = event.get("data")
            return kind, float(time), data if isinstance(data, dict) else {}
    return None


def last_sign(events: Path) -> dict[str, str]:
    """Status and last whole event of a run without a summary."""
    status = "died"
    try:
        foreign.demand_inside(events, events.parent)
        with open(events, "rb", opener=foreign.regular) as file:
            status = "running" if _locked(file.fileno()) else "died"
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).splitlines()
    except (OSError, ForeignError):
        lines = []
    for line in reversed(lines):
        if (event := _event(line)) is None:
            continue
        kind, time, data = event
        when = datetime.fromtimestamp(time, UTC).isoformat(" ", "seconds")
        if status == "died" and kind == "suspended":
            why = data.get("reason")
            known = f"{why}; suspended at {when}" if why else f"suspended at {when}"
            return {"status": kind, "reason": known}
        return {"status": status, "reason": f"no summary; last event {kind} at {when}"}
    return {"status": status, "reason": "no events"}


def _locked(file: int) -> bool:
    """Whether a living process keeps the record to itself, here or where the folder is shared."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
