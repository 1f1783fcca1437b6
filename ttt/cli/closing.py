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
from ttt.schema.points import of_epochs
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
    what = "more epochs" if limit[1].endswith("epochs") else "more time"
    if worse := _worsened(run):
        advice = f"{what} would hardly help; more data or a smaller model may"
        return [*lines, f"       {worse}: {advice}"]
    return [*lines, _typed(arguments, limit[1], f"{2 * float(limit[2]):g}", f"for {what}")]


def coarse(run: Run) -> list[str]:
    """A line where the first evaluation reached the target: the time is that of one interval."""
    if run.status != "success" or len(run.evaluations) != 1 or run.benchmark in DEFINITIONS:
        return []
    given = ((name, run.settings.get(f"target.{name}")) for name in _INTERVALS)
    name, value = next(((name, value) for name, value in given if value), ("", None))
    if not isinstance(value, int | float):
        return []
    stricter = "lower" if run.higher_is_better is False else "raise"
    line = (
        f"reached at the first evaluation: the time says little; {stricter} target.threshold (it"
        f" was {run.target:g})"
    )
    if _after_one_update(run, name, value):
        return [f"{line} or make data.global_batch smaller: it was reached after the first update"]
    finer = f"{value / 2:g}" if name.endswith("epochs") else str(int(value // 2))
    return [f"{line} or evaluate more often: target.{name}={finer}"]


def _after_one_update(run: Run, name: str, value: float) -> bool:
    """Whether an evaluation comes after every update already: points move to the end of a batch."""
    if name.endswith("epochs"):
        if run.train_samples is None:
            return False
        value = of_epochs(value, run.train_samples)
    return value <= (run.step_samples or 1)


def _worsened(run: Run) -> str:
    """How the quality got worse at the end, as the beginning of a sentence; empty if it did not.

    A loss that rises once has turned. A score of answers, as accuracy, jumps: it must stay below
    its best for two evaluations.
    """
    higher = run.higher_is_better is not False
    known = [one.quality for one in run.evaluations if math.isfinite(one.quality)]
    best = (max if higher else min)(known, default=0.0)
    after = len(known) - 1 - known.index(best) if known else 0
    if after < (2 if higher else 1):
        return ""
    place = len(known) - after
    return f"{run.metric} was best, {best:.5g}, at evaluation {place} of {len(known)} and got worse"


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
