"""The tests marked `gpu`; what needs an absent package is skipped, and counted by its name."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu import figures

_WANTED = ("pytest", "hypothesis", "pytest_timeout")  # what pyproject.toml's options ask for
_TESTS = Path(__file__).resolve().parents[2] / "tests"


class Ran:
    """A plugin of pytest that counts the tests that were not skipped."""

    count = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test that is skipped in its set-up is not called."""
        self.count += report.failed or (report.when == "call" and report.passed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="default: all in tests/ that have such tests")
    options = figures.options(parser, arguments)
    if options.device == "cpu":
        print("needs an NVIDIA GPU")
        return figures.SKIPPED
    if missing := figures.absent(*_WANTED):
        print(f"needs {', '.join(missing)}, not installed")
        return figures.SKIPPED
    import pytest

    # At the limit of the section pytest is to end as by Ctrl-C, which prints and counts what ran.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    files = options.files or [
        str(file) for file in sorted(_TESTS.rglob("test_*.py")) if "mark.gpu" in file.read_text()
    ]
    given = ["-m", "gpu", "-p", "gpu.absent", "-p", "no:cacheprovider", "--timeout=60", "-q"]
    ran = Ran()
    code = int(pytest.main([*given, "-rfE", "--durations=10", "--tb=short", *files], [ran]))
    if code == 0 and not ran.count:
        print("every test was skipped; the reasons are below")
        return figures.SKIPPED
    return code


if __name__ == "__main__":
    sys.exit(main())
