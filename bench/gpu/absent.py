"""A plugin of pytest: what needs a package that is not installed is skipped, by the package's name.

    PYTHONPATH=bench python3 -m pytest -p gpu.absent -m gpu tests/...

The suite itself has all packages, and there an import that fails is a failure.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gpu import figures
from ttt.errors import MissingExtra


def reason(error: BaseException | None) -> str | None:
    """Why a test cannot run here, if an optional package is what it lacks."""
    while error is not None:
        if isinstance(error, MissingExtra):
            return str(error)[str(error).find("needs ") :]  # the package, without its purpose
        if isinstance(error, ModuleNotFoundError) and error.name:
            for module, package in figures.OPTIONAL.items():
                if f"{error.name}.".startswith(f"{module}."):
                    return f"needs {package}, not installed"
        error = error.__cause__ or error.__context__
    return None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """A file that imports such a package is skipped as a whole."""
    report: Any = yield
    if report.outcome == "failed" and report.call and (why := reason(report.call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, f"Skipped: {why}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test, or a fixture, that imports one is skipped."""
    report: Any = yield
    if report.outcome == "failed" and call.excinfo and (why := reason(call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {why}")
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Figures: the counts, each failed test with its reason, each reason to skip with its count.

    A file that cannot be imported for want of a package counts as one test.
    """
    if not (name := os.environ.get("TTT_BENCH_FIGURES")):
        return
    stats, lines = terminalreporter.stats, []
    for outcome in ("passed", "failed", "skipped", "error"):
        lines.append({"name": outcome, "value": len(stats.get(outcome, ())), "unit": "tests"})
    for outcome in ("failed", "error"):
        for report in stats.get(outcome, ()):
            line = {"name": report.nodeid, "value": outcome, "unit": "", "why": _why(report)}
            lines.append(line)
    skipped = Counter(_why(report) for report in stats.get("skipped", ()))
    for why, count in skipped.most_common():
        lines.append({"name": f"skipped: {why}", "value": count, "unit": "tests"})
    with open(name, "a") as file:
        file.writelines(json.dumps({"section": "tests"} | line) + "\n" for line in lines)


def _why(report: Any) -> str:
    if isinstance(report.longrepr, tuple):  # of a skipped test
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return " ".join((crash.message if crash else str(report.longrepr)).split())[:300]
