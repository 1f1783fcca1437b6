"""The table at the end of bench/gpu.sh, and the lines that say how each section ended.

    python3 -m gpu.summary --record FIGURES SECTION SECONDS CODE LOG
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
_SKIPPED, _OUT_OF_TIME = 77, (124, 137)

Line = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write a line of a section, or print the table."""
    if arguments[:1] == ["--record"]:
        record(*arguments[1:])
    else:
        print("\n".join(table(Path(arguments[0]))))
    return 0


def record(figures: str, section: str, seconds: str, code: str, log: str) -> None:
    """How a section ended: ok, failed or skipped, with the last line it printed as the reason."""
    text = Path(log).read_text(errors="replace").strip() if Path(log).is_file() else ""
    last = text.splitlines()[-1][:300] if text else ""
    number = int(code)
    outcome = {0: "ok", _SKIPPED: "skipped"}.get(number, "failed")
    if number in _OUT_OF_TIME:
        last = f"stopped after {seconds} s; {last}"
    line: Line = {"section": section, "name": "outcome", "value": outcome, "unit": ""}
    if outcome != "ok":
        line["why"] = last
    time: Line = {"section": section, "name": "seconds", "value": int(seconds), "unit": "s"}
    with open(figures, "a") as file:
        file.writelines(json.dumps(each) + "\n" for each in (line, time))


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
            cells[what][column] = _shown(line["value"])
            units[column] = line["unit"]
        elif line.get("why"):
            rest.append(line)
    yield f"  {'':<24}" + "".join(f"{name:>11}" for name in _COLUMNS)
    yield f"  {'':<24}" + "".join(f"{units.get(name, ''):>11}" for name in _COLUMNS)
    for what, found in cells.items():
        yield f"  {what:<24}" + "".join(f"{found.get(name, '-'):>11}" for name in _COLUMNS)
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
