"""Has MLCommons' rcp_checker judge how fast an experiment converged.

Who needs fewer epochs than the reference did something else than the benchmark, or was lucky. The
checker compares the logs of an experiment with reference convergence points, and says by what the
score must be multiplied (training_rules.adoc, "Reference Convergence Points"). It speaks in log
messages and wants a folder of logs, so it is given both here, and writes nothing anywhere.

May not know how runs are grouped or scored.
"""

import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ttt import run_folder
from ttt.compliance import at_least, usage_of
from ttt.compliance.records import LONGEST, TOKEN, lines
from ttt.report.analyze.score import agreed, dropped
from ttt.report.run import Run
from ttt.run_folder import RunFolder

_FIRST = "1.0.0"  # ruleset, before which there were no reference points
_SAME = ("benchmark", "ruleset")

# The words by which the checker tells which lines to look at, wherever on a line they are.
_READ = (
    "global_batch_size",
    "submission_benchmark",
    "eval_accuracy",
    "eval_error",
    "train_samples",
    "run_stop",
)


@dataclass(frozen=True, slots=True)
class Rcp:
    """What MLCommons' reference convergence points say of an experiment's epochs (or samples).

    Attributes:
        verdict: "failed" if it converged faster than can be believed, "missing" if there is no
            reference for so large a batch; None if it could not be judged.
        reason: The checker's own words.
        mean_epochs: Olympic mean of the runs, in what the checker counts for this benchmark.
        min_epochs: The least that is accepted.
        reference_epochs: Mean of the reference.
        scaling: What the score is multiplied with for having converged faster than the reference.
    """

    verdict: Literal["passed", "failed", "missing"] | None
    reason: str
    mean_epochs: float | None = None
    min_epochs: float | None = None
    reference_epochs: float | None = None
    scaling: float = 1.0


def judge(runs: Sequence[Run]) -> Rcp | None:
    """The verdict on the runs of one experiment.

    Returns:
        None unless all are of one official benchmark, in the closed division and by a ruleset that
        has reference points for it, and enough for an olympic mean.
    """
    benchmark, ruleset = (agreed(getattr(run, name) for run in runs) for name in _SAME)
    official = agreed(run.official for run in runs)
    closed = official and agreed(run.division for run in runs) == "closed"
    logs = [log for log in map(_log, runs) if log is not None]
    if not (closed and benchmark and ruleset and at_least(ruleset, _FIRST)):
        return None
    if len(logs) <= 2 * dropped(benchmark):
        return None
    from mlperf_logging.rcp_checker import rcp_checker  # noqa: PLC0415  with scipy, a second

    usage = usage_of(benchmark)
    points = Path(rcp_checker.__file__).parent / f"{usage}_{ruleset}" / f"rcps_{benchmark}.json"
    if not points.is_file() or benchmark not in rcp_checker.submission_runs[usage]:
        return None
    with tempfile.TemporaryDirectory(prefix="ttt-") as folder, _heard(rcp_checker) as report:
        try:
            for number, log in enumerate(logs):
                _copy(log, Path(folder) / run_folder.result(number))
            passed, message, scaling = rcp_checker.check_directory(
                folder, usage, ruleset, False, False, rcp_pass="pruned_rcps", set_scaling=False
            )
        except Exception as error:  # by a damaged log; the command line ends in this traceback
            return Rcp(None, f"the checker cannot read the logs: {error!r:.200}")
    if report.mean is not None and not (report.mean > 0 and math.isfinite(report.mean)):
        return Rcp(None, f"the runs took {report.mean} epochs, says a log")
    return _rcp(passed, message, float(scaling), report)


def _log(run: Run) -> Path | None:
    if run.path.is_dir():
        return next(iter(RunFolder(run.path).results()), None)
    return run.path


def _copy(log: Path, copy: Path) -> None:
    """Copy the lines that the checker looks at; it takes its time for each, and more for long."""
    with copy.open("w", encoding="latin-1") as file:
        for _, line, length in lines(log):
            if length <= LONGEST and TOKEN in line and any(word in line for word in _READ):
                file.write(line[line.rfind(TOKEN) :])


def _rcp(passed: bool, message: str, scaling: float, report: "_Report") -> Rcp:
    if "Missing RCP" in message and not passed:
        return Rcp("missing", message)
    if report.mean is None or report.point is None:
        return Rcp("passed" if passed else "failed", message)
    reference = float(report.point["RCP Mean"])
    least = reference / float(report.point["Max Speedup"])
    if not passed:
        message += f", but {report.mean:.6g} on average are fewer than the {least:.6g} it takes"
    # The checker scales only what has passed.
    factor = scaling if passed else 1.0
    return Rcp("passed" if passed else "failed", message, report.mean, least, reference, factor)


class _Report:
    """Takes the place of the module `logging` in the checker, and keeps the figures it tells of."""

    def __init__(self) -> None:
        self.point: dict[str, Any] | None = None
        self.mean: float | None = None

    def info(self, message: str, *values: Any) -> None:
        """Keep the reference point and the mean, which the checker gives no other way."""
        if "RCP Record" in message:
            self.point = values[0]
        elif "Submission mean epochs:" in message:
            self.mean = float(values[0])

    def warning(self, message: str, *values: Any) -> None:
        """Say nothing: what matters is in the verdict."""


@contextmanager
def _heard(checker: Any) -> Iterator[_Report]:
    logging, checker.logging = checker.logging, _Report()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, of epochs that cannot be
            yield checker.logging
    finally:
        checker.logging = logging
