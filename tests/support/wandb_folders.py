"""What W&B wrote, by its own reader."""

import json
import subprocess
import sys
from pathlib import Path


def inspect(found: Path) -> tuple[dict, list[dict]]:
    """What W&B's own reader finds in one of its folders: a summary, and every record."""
    summary, records = (
        subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(found)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for options in (["--summary"], [])
    )
    return json.loads(summary), [json.loads(line) for line in records.splitlines()]
