"""Judges the files of one result together, as MLCommons' package_checker does. Pure.

One run of a result (of unet3d four) may fail: it is scored as the slowest, which is dropped
(training_rules.adoc, "Benchmark Results"). Like package_checker this counts all that fail, for
any reason. It leaves out reference convergence points. May not read a file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.compliance import (
    SEEDS_CHECKED,
    SEEDS_RULED,
    Verdict,
    at_least,
    official_ids,
    runs_needed,
)
from ttt.report.analyze.score import dropped
from ttt.report.read.results import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A result, and what is wrong with it as a whole.

    Attributes:
        path: Its folder.
        benchmark: An official id.
        runs: How many files it has.
        excused: Those that are not scored and need not be.
        allowed: How many these may be.
        problems: Why it would be refused.
        remarks: What a person should know all the same.
    """

    path: Path
    benchmark: str
    runs: int
    excused: tuple[Path, ...]
    allowed: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether it can be scored and accepted, as far as its logs can show."""
        return not self.problems


def judge_whole(folder: Folder, verdicts: Sequence[Verdict]) -> Whole | None:
    """Judge the files of one folder together.

    Args:
        folder: Where they lie.
        verdicts: That of each file.

    Returns:
        None where they are single runs: they are of no official benchmark, or of several, or
        there are too few or too many and they lie in no submission.
    """
    logged = {verdict.benchmark for verdict in verdicts} - {None}
    benchmark = folder.path.resolve().name if folder.submitted else next(iter(logged), "")
    if benchmark not in official_ids() or (len(logged) != 1 and not folder.submitted):
        return None
    runs, needed, allowed = len(verdicts), runs_needed(benchmark), dropped(benchmark)
    complete = needed is None or (runs >= needed if folder.weak else runs == needed)
    if not (complete or folder.submitted):
        return None
    unscored = [one for one in verdicts if not (one.passed and one.converged)]
    problems = list(_of_others(benchmark, verdicts))
    if not complete:
        least = "at least" if folder.weak else "exactly"
        problems.append(f"{runs} result files; allowed: {least} {needed}")
    if len(unscored) > allowed:
        problems.append(f"{len(unscored)} of {runs} runs cannot be scored; allowed: {allowed}")
    wrong, remarks = _seeds(verdicts)
    return Whole(
        path=folder.path,
        benchmark=benchmark,
        runs=runs,
        excused=() if len(unscored) > allowed else tuple(one.path for one in unscored),
        allowed=allowed,
        problems=(*problems, *wrong),
        remarks=tuple(remarks),
    )


def _of_others(benchmark: str, verdicts: Iterable[Verdict]) -> Iterator[str]:
    for one in verdicts:
        if one.benchmark != benchmark:
            yield f"{one.path.name} is a log of {one.benchmark}; allowed: of {benchmark}"


def _seeds(verdicts: Sequence[Verdict]) -> tuple[list[str], list[str]]:
    """What is wrong with the seeds, and what is worth a remark.

    package_checker looks at them from ruleset 1.0.0 on, in the closed division. The rules want one
    in the log of every run from v4.1 on (training_rules.adoc, "Random numbers"); results of rounds
    before were published without.
    """
    if not all(
        one.division == "closed" and one.ruleset and at_least(one.ruleset, SEEDS_CHECKED)
        for one in verdicts
    ):
        return [], []
    first: dict[tuple[str, str, int], Path] = {}
    again: dict[int, str] = {}
    for one in verdicts:
        for seed in one.seeds:
            if (other := first.setdefault(seed, one.path)) is not one.path:
                again[seed[2]] = f"{one.path.name} has seed {seed[2]} of {other.name}"
    wrong = [f"{text}; allowed: another one in every run" for text in again.values()]
    if not (without := sum(not one.seeds for one in verdicts)):
        return wrong, []
    text = f"{without} of {len(verdicts)} runs log no seed"
    if all(at_least(one.ruleset or "", SEEDS_RULED) for one in verdicts):
        return [*wrong, f"{text}; the closed division wants one in every run since v4.1"], []
    return wrong, [
        f"{text}; the rules want one since v4.1, package_checker refuses it for any round"
    ]
