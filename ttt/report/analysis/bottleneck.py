"""Which of three efficiencies costs a size most, and what is known of why, in words. Pure."""

import math
from collections.abc import Mapping

from ttt.report.analysis.size import Size, unit
from ttt.report.analysis.words import percent

_WORTH_TELLING = 0.95  # of ideal: above, there is no bottleneck to speak of
_ALSO = 0.2  # of the whole loss: what the second cause has to have to be told
_EXPLAINS = 0.5  # of a loss: a cause that explains as much of it is called the cause


def bottleneck(base: Size, size: Size, efficiency: Mapping[str, float | None]) -> str | None:
    """The first thing that keeps a size from its ideal time, and the next if it matters.

    Efficiencies multiply, so their logarithms are the parts of the loss.

    Args:
        base: The smallest size of the sweep.
        size: Another.
        efficiency: "throughput", "statistical" and "overhead" of `size` against `base`.

    Returns:
        As "batch size: 1.96 times the epochs at 12.6 times the batch leave 51% of the speed-up";
        None if less than 5% is lost, or nothing is known of the parts.
    """
    costs = {name: -math.log(part) for name, part in efficiency.items() if part is not None}
    total = math.log((size.workers / base.workers) / (base.seconds / size.seconds))
    if total < -math.log(_WORTH_TELLING):
        return None
    names = [name for name in costs if costs[name] > _ALSO * total]
    names.sort(key=lambda name: -costs[name])
    causes = [_cause(name, math.exp(-costs[name]), base, size) for name in names[:2]]
    return "; next ".join(causes) or None


def _cause(name: str, part: float, base: Size, size: Size) -> str:
    explain = {"throughput": _throughput, "statistical": _statistical, "overhead": _overhead}
    return explain[name](part, base, size)


def _statistical(part: float, base: Size, size: Size) -> str:
    more = f"{1 / part:.2f} times the {'samples' if size.epochs is None else 'epochs'}"
    left = f"leave {percent(part)} of the speed-up"
    if not size.global_batch or not base.global_batch:
        return f"convergence: {more} {left}"
    if size.global_batch == base.global_batch:
        return f"convergence: {more} at the same batch {left}"
    return (
        f"batch size: {more} at {size.global_batch / base.global_batch:.3g} times the batch {left}"
    )


def _throughput(part: float, base: Size, size: Size) -> str:
    one = unit(size.group)
    left = f"each {one} does {percent(part)} of the samples a second it does {_among(base)}"
    waits = _explained(part, base.waiting, size.waiting)
    exchanges = _explained(part, base.communication, size.communication)
    if waits >= max(_EXPLAINS, exchanges):
        growth = _growth(base.waiting, size.waiting, base)
        return f"input pipeline: batches are waited for in {growth}, and {left}"
    if exchanges >= _EXPLAINS:
        growth = _growth(base.communication, size.communication, base)
        return f"network: nothing hides the exchange of gradients in {growth}, and {left}"
    if not size.global_batch or not base.global_batch:
        return f"network, or too little work for each {one}: {left}"
    each, before = size.global_batch / size.workers, base.global_batch / base.workers
    if math.isclose(each, before, rel_tol=0.01):  # as much work as ever
        return f"network, or what workers of a machine share: {left}, with {_amount(each)} a step"
    return (
        f"network, or too little work for each {one}: {left},"
        f" with {_amount(each)} a step instead of {_amount(before)}"
    )


def _explained(part: float, before: float | None, now: float | None) -> float:
    """How much of a loss of throughput, in logarithms, a share of time that is lost explains."""
    if before is None or now is None or max(before, now) >= 1 or part >= 1:
        return 0.0
    return math.log((1 - now) / (1 - before)) / math.log(part)


def _overhead(part: float, base: Size, size: Size) -> str:
    shares = {
        "evaluation": (base.evaluation, size.evaluation),
        "start-up: the cold first block": (base.cold, size.cold),
        "time between training and evaluation": (base.outside, size.outside),
    }
    grown = {
        name: now - before
        for name, (before, now) in shares.items()
        if before is not None and now is not None
    }
    worst = max(grown, key=lambda name: grown[name], default=None)
    if worst is None or grown[worst] < (1 - part) / 4:
        return f"overhead: {percent(1 - part)} is lost outside of steady training"
    return f"{worst} takes {_growth(*shares[worst], base)}"


def _growth(before: float | None, now: float | None, base: Size) -> str:
    """How a share grew from the smallest size."""
    return f"{percent(now)} of the time ({percent(before)} {_among(base)})"


def _among(base: Size) -> str:
    return "alone" if base.workers == 1 else f"among {base.workers:,}"


def _amount(samples: float) -> str:
    return f"{samples:,.0f}" if samples >= 100 else f"{samples:.3g}"
