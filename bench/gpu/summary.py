"""The table at the end of bench/gpu.sh, and the lines that say how each section ended.

    python3 -m gpu.summary --record FIGURES SECTION SECONDS LIMIT SHARE CODE LOG
    python3 -m gpu.summary FIGURES

Needs Python alone, so that there is a table also where torch cannot be imported.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_LONGEST = 11_000  # characters of the whole; more is in the figures
_COLUMNS = ("step", "rate", "host", "waits", "allocated", "reserved")
_TABLES = ("steps", "compiled")
_SKIPPED, _OUT_OF_TIME, _KILLED = 77, (124, 137), 137  # as `timeout` has them
_LEGEND = (
    "  step: of one update, many queued one after the other; rate: samples of one GPU or process",
    "  host: to queue one update; waits: times in an update that the host waits for the device",
    "  -: not measured; on a CPU there are only step and rate",
)

Line = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write how a section ended, or print the table; returns 1 if the section failed."""
    if arguments[:1] == ["--record"]:
        figures, section, seconds, limit, share, code, log = arguments[1:]
        return record(Path(figures), section, int(seconds), int(limit), int(share), int(code), log)
    print("\n".join(table(Path(arguments[0]))))
    return 0


def record(
    figures: Path, section: str, seconds: int, limit: int, share: int, code: int, log: str
) -> int:
    """How a section ended: ok, failed, skipped or cut, with the reason; returns 1 if it failed.

    Args:
        figures: File to add two lines to.
        section: Its name.
        seconds: That it took.
        limit: Seconds after which it was to be stopped; 0 if it did not begin.
        share: Seconds that it gets of the usual BUDGET. With fewer, it is cut and has not failed.
        code: The exit code of `timeout`.
        log: What it printed; its last line is the reason, where time is not.
    """
    text = Path(log).read_text(errors="replace").strip()
    why = text.splitlines()[-1][:300] if text else ""
    outcome = {0: "ok", _SKIPPED: "skipped"}.get(code, "failed")
    if code in _OUT_OF_TIME and seconds >= limit - 1:
        stopped = f"stopped at its limit of {limit} s; the last line it printed: {why}"
        outcome, why = ("cut", _cut(limit)) if limit < share else ("failed", stopped)
        if outcome == "cut" and (failed := _failed(figures, section)):
            outcome, why = "failed", f"{failed}; {why}"
    elif code == _KILLED:
        why = f"killed by SIGKILL, as Linux does when memory is used up; {why}"
    line: Line = {"section": section, "name": "outcome", "value": outcome, "unit": ""}
    if outcome != "ok":
        line["why"] = why
    time: Line = {"section": section, "name": "seconds", "value": seconds, "unit": "s"}
    with figures.open("a") as file:
        file.writelines(json.dumps(each) + "\n" for each in (line, time))
    return int(outcome == "failed")


def _cut(limit: int) -> str:
    if not limit:
        return "BUDGET reached before it began"
    return f"BUDGET reached after its {limit} s; what it measured until then counts"


def _failed(figures: Path, section: str) -> str:
    """What failed in a section before it was stopped."""
    lines = (
        [json.loads(text) for text in figures.read_text().splitlines()] if figures.exists() else []
    )
    own = [line for line in lines if line["section"] == section and line["name"] == "failed"]
    return "; ".join(
        line.get("why") or f"{line['value']} tests" for line in own if line["value"] != 0
    )


def table(figures: Path) -> Iterator[str]:
    """How each section ended, and then its figures, as far as there is room."""
    sections: dict[str, list[Line]] = defaultdict(list)
    for text in figures.read_text().splitlines():
        line = json.loads(text)
        sections[line["section"]].append(line)
    head = [f"{'section':<13}{'':<9}{'seconds':>7}  reason"]
    for name, lines in sections.items():
        by_name = {line["name"]: line for line in lines}
        ended = by_name.get("outcome", {"value": "unfinished"})
        seconds = by_name.get("seconds", {"value": ""})["value"]
        head.append(f"{name:<13}{ended['value']:<9}{seconds:>7}  {ended.get('why', '')}".rstrip())
    yield from head
    left = _LONGEST - sum(len(line) + 1 for line in head)
    for name, lines in sections.items():
        own = [line for line in lines if line["name"] not in ("outcome", "seconds")]
        shown = list(grid(own) if name in _TABLES else row(own))
        size = sum(len(line) + 1 for line in shown) + len(name) + 2
        if not own:
            continue
        if size > left:
            yield f"\n{name}: see {figures.name}"
            continue
        left -= size
        yield f"\n{name}"
        yield from shown


def row(lines: Sequence[Line]) -> Iterator[str]:
    """One figure a line."""
    for line in lines:
        why = f" ({' '.join(line['why'].split())})" if line.get("why") else ""
        yield f"  {line['name']}: {_shown(line['value'])} {line['unit']}".rstrip() + why


def grid(lines: Sequence[Line]) -> Iterator[str]:
    """A row for each benchmark and precision; what has no column comes after them."""
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    rest, units = [], {}
    for line in lines:
        what, _, column = line["name"].rpartition(" ")
        if column in _COLUMNS:
            cells[what][column] = "-" if line["value"] is None else _shown(line["value"])
            units[column] = line["unit"]
        elif line.get("why"):
            rest.append(line)
    yield f"  {'':<24}" + "".join(f"{name:>11}" for name in _COLUMNS)
    yield f"  {'':<24}" + "".join(f"{units.get(name, ''):>11}" for name in _COLUMNS)
    for what, found in cells.items():
        yield f"  {what:<24}" + "".join(f"{found.get(name, '-'):>11}" for name in _COLUMNS)
    yield from _LEGEND
    yield from row(rest)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "null" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
