"""What all readers need of a file system: the order of names, a JSON file. Knows no run."""

import json
import re
from pathlib import Path
from typing import Any

from ttt.errors import writing


def natural(path: str | Path) -> list[str | int]:
    """A sort key that puts seed_10/result_9 after seed_9/result_10."""
    parts = re.split("([0-9]+)", str(path))  # text and digits in turn, text first
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write strict JSON.

    Raises:
        ConfigError: The file cannot be written.
    """
    text = json.dumps(content, indent=2, allow_nan=False)
    with writing("--json", path):
        Path(path).write_text(text + "\n", encoding="utf-8")
