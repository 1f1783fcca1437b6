"""The files of the page on writing a benchmark, as a reader would write them."""

import re
from pathlib import Path

from ground import PROJECT

PAGE = (PROJECT / "docs" / "new_benchmark.md").read_text()


def write_out(folder: Path) -> None:
    """Every file of the page: its name in backticks, then its text in a fence."""
    files = re.findall(r"`([\w/]+\.(?:py|yaml))`\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert len(files) == 5
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
