"""Which of three efficiencies costs a size most, and what is known of why, in words. Pure."""

import math
from collections.abc import Sequence

from ttt.report.analyze.efficiency import Efficiency
from ttt.report.analyze.format import percent
from ttt.report.analyze.size import Size

_WORTH_TELLING = 0.95  # of ideal: above, there is no bottleneck to speak of
_ALSO = 0.2  # of the whole loss: what the second cause has to have to be named
_SAME = 0.05  # relative difference of step times below which the network makes none
_EXPLAINS = 0.5  # of a loss: a cause that explains as much of it is called the cause


def bottleneck(sizes: Sequence[Size], size: Size, efficiency: Efficiency) -> str | None:
    """The first thing that keeps a size from its ideal time, and the next if it matters.

    Efficiencies multiply, so their logarithms are the parts of the loss.

    Args:
        sizes: Those of the sweep, the smallest first.
        size: Another than the first.
        efficiency: Of `size` against the first.

    Returns:
        As "batch size: 1.96 times the epochs at 12.6 times the batch leave 51% of the speed-up";
        None if less than 5% is lost, or nothing is known of the parts.
    """
    base = sizes[0]
    costs = {name: -math.log(part) for name, part in efficiency.factors.items()}
    total = math.log((size.workers / base.workers) / (base.seconds / size.seconds))
    if total < -math.log(_WORTH_TELLING):
        return None
    names = [name for name in costs if costs[name] > _ALSO * total]
    names.sort(key=lambda name: -costs[name])
    causes = []
    for name in names[:2]:
        part = math.exp(-costs[name])
        match name:
            case "throughput":
                causes.append(_throughput(part, sizes, size))
            case "statistical":
                causes.append(_statistical(part, base, size))
            case _:
                causes.append(_overhead(part, base, size))
    return "; next ".join(causes) or None


def _statistical(part: float, base: Size, size: Size) -> str:
    left = f"leave {percent(part)} of the speed-up"
    now, before, noun = size.progress(base)
    more = f"{1 / part:.2f} times the {noun}"
    apart = size.spacing or base.spacing
    if apart and 0 < now - before <= 1.05 * apart:  # chance may have done it
        return (
            f"convergence: the target was seen no more than one evaluation later, at {now:.4g}"
            f" {noun} instead of {before:.4g}, which {left.replace('leave', 'leaves')}"
        )
    if not size.global_batch or not base.global_batch:
        return f"convergence: {more} {left}"
    if size.global_batch == base.global_batch:
        return f"convergence: {more} at the same batch {left}"
    return (
        f"batch size: {more} at {size.global_batch / base.global_batch:.3g} times the batch {left}"
    )


def _throughput(part: float, sizes: Sequence[Size], size: Size) -> str:
    base, one = sizes[0], size.experiment.unit
    left = f"each {one} does {percent(part)} of the samples a second it does {_among(base)}"
    waits = _explained(part, base.waiting, size.waiting)
    exchanges = _explained(part, base.communication, size.communication)
    if waits >= max(_EXPLAINS, exchanges):
        growth = _growth(base.waiting, size.waiting, base)
        return f"input pipeline: batches are waited for in {growth}, and {left}"
    if exchanges >= _EXPLAINS:
        growth = _growth(base.communication, size.communication, base)
        what = "communication" if size.experiment.nodes == 1 else "network"
        return f"{what}: nothing hides the exchange of gradients in {growth}, and {left}"
    return f"{_network_or_work(sizes, size)}: {left}{_steps(base, size)}"


def _network_or_work(sizes: Sequence[Size], size: Size) -> str:
    """Decided by another size whose workers have as much to do in a step, if there is one.

    Steps that take as long among more workers are not slowed down by the network.
    """
    one, base = size.experiment.unit, sizes[0]
    if all(each.experiment.nodes == 1 for each in sizes):
        return f"too little work for each {one}, or what they share of their machine"
    mine, step = _share_of_batch(size), size.step_ms
    alike = [
        other
        for other in sizes
        if other is not size
        and mine is not None
        and math.isclose(_share_of_batch(other) or 0.0, mine, rel_tol=0.01)
        and other.step_ms is not None
    ]
    if base in alike:
        return "network, or what workers of a machine share"
    if not alike or step is None:
        return f"network, or too little work for each {one}"
    other = max(alike, key=lambda each: abs(math.log(each.workers / size.workers)))
    other_step = other.step_ms or step
    few, many = (step, other_step) if size.workers < other.workers else (other_step, step)
    if many <= (1 + _SAME) * few:
        return (
            f"too little work for each {one}, not the network (a step takes {_ms(other_step)} among"
            f" {other.workers:,} with as much work each)"
        )
    return (
        f"network (with as much work each a step takes {_ms(other_step)} among {other.workers:,})"
    )


def _steps(base: Size, size: Size) -> str:
    """What a step took in both sizes, and what each worker had to do in it."""
    step, before = size.step_ms, base.step_ms
    if step is None or before is None:
        return ""
    now, then = (_work(each) for each in (size, base))
    return f"; a step of {now} takes {_ms(step)}, one of {then} {_ms(before)} {_among(base)}"


def _share_of_batch(size: Size) -> float | None:
    """Samples of each worker in a step: of each copy of the model, where it is cut.

    None where more workers than samples show that it is cut, and the log does not say how.
    """
    if not size.step_samples:
        return None
    share = size.step_samples / (size.experiment.replicas or size.workers)
    return share if share >= 1 else None


def _work(size: Size) -> str:
    share = _share_of_batch(size)
    if share is None:
        return f"{_amount(size.step_samples or 0)} samples over all"
    each = (
        "in each copy of the model"
        if size.experiment.replicas not in (None, size.workers)
        else "each"
    )
    return f"{_amount(share)} {'sample' if share == 1 else 'samples'} {each}"


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


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
