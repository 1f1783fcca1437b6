"""The tests that are marked `gpu`, of the files named; what needs an absent package is skipped."""

from __future__ import annotations

import sys

from gpu import figures

_WANTED = ("pytest", "hypothesis", "pytest_timeout")  # what pyproject.toml's options ask for


def main(files: list[str]) -> int:
    """Run them; returns the exit code."""
    if missing := figures.absent(*_WANTED):
        print(f"needs {', '.join(missing)}, not installed")
        return figures.SKIPPED
    import pytest

    options = ["-m", "gpu", "-p", "gpu.absent", "-p", "no:cacheprovider", "--timeout=60", "-q"]
    return int(pytest.main([*options, "--durations=10", "--tb=short", *files]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
