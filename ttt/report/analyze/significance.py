"""What times of few runs tell: the interval of a score, and whether two differ. Pure statistics."""

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence

ENOUGH = 3  # runs: with two, Student's t is 12.7 standard errors wide
MANY = 1000  # runs; more are not practical
_POWER = 0.8
_SURE = 100.0  # standard errors


def confidence(times: Sequence[float], failed: int, drop: int) -> tuple[float, float] | None:
    """Seconds between which a score lies with 95 % confidence.

    The score is a trimmed mean, so its interval is that of one. It follows from the winsorized
    variance, which counts what is trimmed as the nearest time that is not (Tukey and McLaughlin,
    "Less vulnerable confidence and significance procedures for location based on a single sample",
    Sankhya A 25, 1963). Where fewer than three runs are left it is Student's, of the mean of all
    that converged.

    Args:
        times: Seconds of each run that converged, by a clock to be trusted.
        failed: How many did not.
        drop: How many the score drops at either end.

    Returns:
        None with fewer than three times.
    """
    if len(times) < ENOUGH:
        return None
    times = sorted(times)
    count = len(times) + failed
    if failed <= drop and count - 2 * drop >= ENOUGH:
        kept = times[drop : count - drop]
        near = [min(max(time, kept[0]), kept[-1]) for time in [*times, *[math.inf] * failed]]
        error = statistics.stdev(near) / (1 - 2 * drop / count) / math.sqrt(count)
    else:
        kept, error = times, statistics.stdev(times) / math.sqrt(len(times))
    half = _t_quantile(len(kept) - 1) * error
    mean = statistics.fmean(kept)
    return max(0.0, mean - half), mean + half


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value of equal means, without assuming equal variances.

    Welch, "The generalization of 'Student's' problem when several different population variances
    are involved", Biometrika 34, 1947, with Satterthwaite's degrees of freedom.

    Returns:
        None with fewer than two values of either, or if neither varies.
    """
    if min(len(first), len(second)) < 2:
        return None
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    if not sum(parts):
        return None
    t = (statistics.fmean(first) - statistics.fmean(second)) / math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
    )
    return 2 * _t_below(-abs(t), freedom)


def runs_needed(first: Sequence[float], second: Sequence[float]) -> int | None:
    """Runs of each with which Welch's test finds the difference of these means.

    With 5 % error, in 80 % of cases: the least n for which the noncentral t distribution leaves
    that much beyond the test's limit. It takes these means and variances for the true ones.

    Returns:
        2 to MANY, which is as many or more; None with fewer than three values of either, equal
        means, or where nothing varies.
    """
    if min(len(first), len(second)) < ENOUGH:
        return None
    distance = abs(statistics.fmean(first) - statistics.fmean(second))
    variances = [statistics.variance(values) for values in (first, second)]
    if not distance or not sum(variances):
        return None
    return bisect_left(
        range(MANY), _POWER, lo=2, key=lambda runs: _power(runs, distance, variances)
    )


def _power(runs: int, distance: float, variances: Sequence[float]) -> float:
    """How often Welch's test tells two apart with so many runs of each."""
    from scipy.special import nctdtr  # noqa: PLC0415  as below

    freedom = (runs - 1) * sum(variances) ** 2 / sum(each**2 for each in variances)
    effect = distance * math.sqrt(runs / sum(variances))
    if effect > _SURE:  # where nctdtr gives up
        return 1.0
    limit = _t_quantile(freedom)
    return float(1 - nctdtr(freedom, effect, limit) + nctdtr(freedom, effect, -limit))


def _t_quantile(freedom: float) -> float:
    """The value a t-distributed one exceeds in 2.5% of cases."""
    from scipy.special import stdtrit  # noqa: PLC0415  a login node pays for it only in a report

    return float(stdtrit(freedom, 0.975))


def _t_below(t: float, freedom: float) -> float:
    """How often a t-distributed value is below this one."""
    from scipy.special import stdtr  # noqa: PLC0415  as above

    return float(stdtr(freedom, t))
