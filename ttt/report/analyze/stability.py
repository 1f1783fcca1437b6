"""How equally runs converged, and what a reader of their score should know. Pure."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from ttt.errors import counted
from ttt.report.analyze.experiment import Experiment, Stability
from ttt.report.analyze.format import duration, percent
from ttt.report.analyze.progress import Measure, measure_of, to_target, unit_of, written
from ttt.report.analyze.significance import ENOUGH

_WIDE = 0.05  # standard deviation over mean from which a spread is worth a word
_COARSE, _FINE = 0.05, 0.02  # of the score: evaluation intervals that hide much, and nothing


def stability(of: Experiment, among: Sequence[Experiment] | None = None) -> Stability:
    """The stability of one experiment.

    Args:
        of: Its runs.
        among: All experiments it is shown with, whose times have one unit and whose progress
            in one measure; None if it is shown alone.
    """
    among = [of] if among is None else among
    progress = to_target(of.converged, measure_of(among))
    part = None
    if of.resolution is not None and of.score.seconds:
        part = of.resolution / of.score.seconds
    return Stability(
        tuple(progress),
        tuple(_warnings(of, progress, unit_of(among), measure_of(among))),
        part if part is not None and part >= _COARSE else None,
    )


def _warnings(
    of: Experiment, progress: Sequence[float], unit: str, measure: Measure
) -> Iterator[str]:
    if of.score.seconds is None:
        return
    times = of.trusted_times
    if len(times) < ENOUGH:
        yield (
            f"{counted(len(times), 'run')} with a time cannot tell how far seeds scatter: it takes"
            f" {ENOUGH} or more"
        )
    elif statistics.stdev(times) > _WIDE * statistics.fmean(times):
        wide = percent(statistics.stdev(times) / statistics.fmean(times))
        extremes = f"from {duration(min(times), unit)} to {duration(max(times), unit)}"
        yield f"the times scatter widely: standard deviation {wide} of the mean, {extremes}"
    elif outliers := _outliers(progress, measure):
        yield outliers
    if of.resolution is not None and len(progress) >= ENOUGH and len(set(progress)) == 1:
        part = of.resolution / of.score.seconds
        if _FINE <= part < _COARSE:
            yield (
                f"all {len(progress)} runs stopped at the same evaluation, and evaluations are"
                f" {duration(of.resolution, unit)} apart, {percent(part)} of the score: how far"
                " seeds scatter below that is not seen"
            )


def _outliers(progress: Sequence[float], measure: Measure) -> str | None:
    """That most runs took as long as each other, and some longer or shorter."""
    taken = Counter(written(each, measure) for each in progress)
    if len(taken) < 2:
        return None
    (usual, count), *rest = taken.most_common()
    if 2 * count <= taken.total():
        return None
    others = ", ".join(f"{many} took {each}" for each, many in rest)
    return f"{count} of {taken.total()} runs took {usual} {measure}, {others}"
