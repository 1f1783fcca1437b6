"""The report: a line or two for each finding as it is made, a sum, and the same for a program."""

import json
import textwrap
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.text import Text

from ttt.doctor.findings import Finding, Level
from ttt.errors import writing

_COLOURS = {Level.ok: "green", Level.warning: "yellow", Level.failure: "bold red"}
_LEVEL_WIDTH, _NAME_WIDTH = 8, 17
_INDENT = _LEVEL_WIDTH + _NAME_WIDTH


def line(finding: Finding, width: int) -> Text:
    """One finding: level and name in columns of their own, what to do below.

    Args:
        finding: What to show.
        width: Columns there are.
    """
    columns = max(20, width - _INDENT)
    lines = _wrapped(finding.text, columns)
    text = Text(f"{finding.level:<{_LEVEL_WIDTH}}", _COLOURS[finding.level])
    text.append(f"{finding.name:<{_NAME_WIDTH}}{lines[0]}", "default")
    for more in lines[1:]:
        text.append(f"\n{'':{_INDENT}}{more}", "default")
    if finding.advice:
        for number, more in enumerate(_wrapped(finding.advice, columns - 3)):
            text.append(f"\n{'':{_INDENT}}{'   ' if number else '-> '}{more}", "cyan")
    return text


def _wrapped(text: str, width: int) -> list[str]:
    """Lines; those that are there stay, such as the rows of a small table."""
    wrap = textwrap.TextWrapper(
        width, break_long_words=False, break_on_hyphens=False, subsequent_indent="  "
    )
    # A row of a table keeps its inner blanks, which TextWrapper does for a line that fits.
    return [part for row in text.split("\n") for part in wrap.wrap(row) or [""]]


def closing(findings: list[Finding]) -> Text:
    """How many of each."""
    count = Counter(finding.level for finding in findings)
    worst = next(level for level in (Level.failure, Level.warning, Level.ok) if count[level])
    counts = [
        f"{number} {name}{'s' if number != 1 and name != 'ok' else ''}"
        for name, number in ((level.value, count[level]) for level in Level)
    ]
    return Text(", ".join(counts), _COLOURS[worst])


def healthy(findings: list[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.level is not Level.failure for finding in findings)


def plain(finding: Finding) -> dict[str, Any]:
    """One finding for a program."""
    # Not dataclasses.asdict, which before Python 3.12 cannot copy a Counter or a defaultdict.
    return {field.name: getattr(finding, field.name) for field in fields(finding)}


def write(path: str, host: str, ranks: int, nodes: int | None, findings: list[Finding]) -> None:
    """Write the report for a program.

    Raises:
        ConfigError: The file cannot be written.
    """
    report: dict[str, Any] = {
        "host": host,
        "ranks": ranks,
        "nodes": nodes,
        "ok": healthy(findings),
        "findings": [plain(finding) for finding in findings],
    }
    with writing("--json", path):
        Path(path).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
