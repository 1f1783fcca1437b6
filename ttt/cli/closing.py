"""What `ttt run` says after the last run of a launch: the table over all, and what to type next."""

import math
import re
import shlex
import sys
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from ttt import redact, streams
from ttt.launch.job import Job, Launcher, suspended
from ttt.report.read.find import find
from ttt.report.render import table
from ttt.report.run import Run
from ttt.schema.closed import DEFINITIONS
from ttt.terminal import Terminal

_LIMIT = re.compile(r"(target\.max_(?:epochs|seconds))=(\S+) passed")  # as `ttt.watcher` says it
_INTERVALS = ("first_eval_epochs", "first_eval_samples", "eval_every_epochs", "eval_every_samples")


def show(job: Job, arguments: list[str], launcher: Launcher) -> None:
    """Print it.

    Args:
        job: The launch, which is over.
        arguments: What was typed after `ttt run`.
        launcher: Of the launch.
    """
    console = Terminal()
    folder = job.runs[0].parent if len(job.runs) > 1 else job.runs[0]
    if len(job.runs) > 1:
        table.closing(list(job.runs), console)
    quoted = shlex.quote(str(folder))
    lines = [f"next:  ttt report {quoted}    ttt check {quoted}"]
    if waiting := suspended(job.runs):
        to_report = lines[0].replace("next:", "     ", 1)
        lines = [f"next:  {redact.text(launcher.to_go_on(waiting))}", to_report]
    if len(job.runs) == 1:
        found = find(job.runs).runs
        run = found[0] if found else None
        lines = [*(coarse(run) if run else []), *lines, *again(run, arguments)]
    for line in lines:
        console.say(line, "dim")
    if error := streams.failure():
        # The run is over and recorded: a closed stdout does not change its result.
        streams.forgive()
        print(f"ttt: {streams.UnwritableError(error)}; the run is in {folder}", file=sys.stderr)


def again(run: Run | None, arguments: list[str]) -> list[str]:
    """The commands that make sense after a run, a line each.

    Args:
        run: None: it cannot be read.
        arguments: What was typed after `ttt run`.
    """
    if run is None or run.status == "success":
        return [_typed(arguments, "runs", 5, "for a score over five seeds")]
    limit = _LIMIT.match(run.reason or "") if run.status == "aborted" else None
    if limit is None:
        return []
    lines = []
    lower = None if run.benchmark in DEFINITIONS else _within_reach(run)
    if lower is not None:
        lines.append(_typed(arguments, "target.threshold", lower, "for what it reached"))
    more = "for more epochs" if limit[1].endswith("epochs") else "for more time"
    return [*lines, _typed(arguments, limit[1], f"{2 * float(limit[2]):g}", more)]


def coarse(run: Run) -> list[str]:
    """A line where the first evaluation reached the target: the time is that of one interval."""
    if run.status != "success" or len(run.evaluations) != 1 or run.benchmark in DEFINITIONS:
        return []
    given = ((name, run.settings.get(f"target.{name}")) for name in _INTERVALS)
    name, value = next(((name, value) for name, value in given if value), ("", None))
    if not isinstance(value, int | float):
        return []
    finer = f"{value / 2:g}" if name.endswith("epochs") else str(max(1, int(value // 2)))
    stricter = "lower" if run.higher_is_better is False else "raise"
    return [
        f"reached at the first evaluation: the time says little; {stricter} target.threshold (it"
        f" was {run.target:g}) or evaluate more often: target.{name}={finer}"
    ]


def _within_reach(run: Run) -> Decimal | None:
    """The best quality in two digits, rounded so that the run did reach it."""
    higher = run.higher_is_better is not False
    known = [one.quality for one in run.evaluations if math.isfinite(one.quality)]
    best = Decimal(str((max if higher else min)(known, default=0.0)))
    if not best or (higher and best < 0):
        return None
    digit = Decimal(1).scaleb(best.adjusted() - 1)
    return best.quantize(digit, ROUND_FLOOR if higher else ROUND_CEILING)


def _typed(arguments: list[str], name: str, value: Any, why: str) -> str:
    kept = [word for word in arguments if not word.startswith(f"{name}=")]
    return f"       {redact.typed(['ttt', 'run', *kept, f'{name}={value}'])}   {why}"
