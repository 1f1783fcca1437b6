"""`ttt doctor` of this machine: whether it fails, and what it found, as it writes it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gpu import figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = figures.options(parser, arguments)
    return figures.run(figures.Section("doctor", options), examine, bound=False)


def examine(section: figures.Section) -> None:
    """Run the command and keep its findings.

    Raises:
        AssertionError: A check failed.
    """
    figures.need("hydra", "omegaconf", "mlperf_logging")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "doctor.json")
        device = f"device={section.device.type}"
        command = [sys.executable, "-m", "ttt", "doctor", "--json", str(file), device]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        assert file.is_file(), done.stderr.strip()[-300:]
        found = json.loads(file.read_text())
    for finding in found["findings"]:
        section.add(finding["name"], finding["level"], why=finding["text"])
    assert done.returncode == 0, f"exit code {done.returncode}"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
