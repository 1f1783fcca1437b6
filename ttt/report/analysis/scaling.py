"""How time-to-train changes with the number of accelerators, and what stops it from falling. Pure.

time-to-train efficiency = throughput efficiency x statistical efficiency x overhead.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ttt.report.analysis.bottleneck import bottleneck
from ttt.report.analysis.laws import amdahl, gustafson
from ttt.report.analysis.score import Group, agreed
from ttt.report.analysis.size import Size, Unit, goal, measure, unit

_ABSURD = 1e12

Mode = Literal["strong", "weak", "mixed", "unknown"]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of the ideal, against the smallest point of a sweep, which has 1 everywhere.

    Attributes:
        throughput: Samples a second for each worker.
        statistical: Epochs of the smallest point over epochs of this one.
        overhead: What is left: evaluation, start-up, the cold first block.
        time_to_train: The product: speed-up over growth.
    """

    throughput: float | None = None
    statistical: float | None = None
    overhead: float | None = None
    time_to_train: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One size of a sweep.

    Attributes:
        group: Its runs.
        workers: Accelerators; processes where there are none.
        global_batch: Samples per update.
        seconds: The score.
        resolution: One evaluation interval in seconds: the score is not known better.
        samples_per_s: Steady rate over all workers, median of the runs.
        epochs: Mean of the runs whose mean the score is.
        speed_up: Against the smallest point.
        mode: Against the smallest point: strong, the same batch; weak, a batch that grew with the
            workers; mixed, anything else. The smallest has that of the sweep.
        efficiency: Why the speed-up is what it is.
        bottleneck: The first thing that holds it back, in words; None for the smallest, and where
            less than 5% of the ideal is lost.
    """

    group: Group
    workers: int
    global_batch: int | None
    seconds: float
    resolution: float | None
    samples_per_s: float | None
    epochs: float | None
    speed_up: float
    mode: Mode
    efficiency: Efficiency
    bottleneck: str | None


@dataclass(frozen=True, slots=True)
class Fit:
    """A law of scaling put through the points.

    Attributes:
        law: "Amdahl" (of times, the same batch) or "Gustafson" (of rates, a batch that grew).
        serial: The share that more workers do not help, 0 to 1.
        error: Largest relative distance of a point from the law.
        sizes: Workers of the points; any two lie on some law, which proves nothing.
    """

    law: Literal["Amdahl", "Gustafson"]
    serial: float
    error: float
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Points that differ in size, of one benchmark to one target on one kind of accelerator.

    Attributes:
        benchmark: What was trained.
        submitter: Who ran it.
        accelerator: Its name, the host processor's where there is none; None if unknown.
        unit: What workers are, in the singular.
        points: Two or more, from the smallest.
        mode: Of all points together.
        fits: One for each law that makes sense for the mode; empty where nothing fits.
    """

    benchmark: str
    submitter: str | None
    accelerator: str | None
    unit: Unit
    points: tuple[Point, ...]
    mode: Mode
    fits: tuple[Fit, ...]


def sweeps(groups: Sequence[Group]) -> list[Sweep]:
    """Every sweep that is among these groups, in the order of the first of each.

    Groups belong together that share benchmark, target, rules, division, submitter, precision, what
    was trained, and accelerator (the host's processor where there is none); their configurations
    differ, as batch and launcher have to. A joint submission, as "NVIDIA+CoreWeave", belongs to the
    first it names. Of several groups of one size the fastest is the point, as that size can do it:
    the first of equals.
    """
    families: dict[tuple[object, ...], list[Size]] = {}
    for group in groups:
        size = measure(group)
        if size is not None and goal(group).benchmark is not None:
            families.setdefault(_family(group), []).append(size)
    fastest = [list(_fastest(sizes)) for sizes in families.values()]
    return [_sweep(sizes) for sizes in fastest if len(sizes) > 1]


def _family(group: Group) -> tuple[object, ...]:
    alike = (
        agreed(run.official for run in group.runs),
        agreed(run.precision for run in group.runs),
        agreed(run.trained for run in group.runs),
    )
    return (goal(group), *alike, _whose(group), _accelerator(group))


def _whose(group: Group) -> str | None:
    submitter = agreed(run.submitter for run in group.runs)
    return None if submitter is None else submitter.split("+")[0].strip()


def _accelerator(group: Group) -> str | None:
    if unit(group) == "process":
        return agreed(
            run.description.get("host_processor_model_name") or None for run in group.runs
        )
    return agreed(run.accelerator_name for run in group.runs)


def _fastest(sizes: Sequence[Size]) -> Iterator[Size]:
    """One size for each number of workers, ascending."""
    for count in sorted({size.workers for size in sizes}):
        yield min((size for size in sizes if size.workers == count), key=lambda size: size.seconds)


def _sweep(sizes: Sequence[Size]) -> Sweep:
    base = sizes[0]
    modes = [_mode(base, size) for size in sizes[1:]]
    of_all: Mode = modes[0] if len(set(modes)) == 1 else "mixed"
    if "unknown" in modes:
        of_all = "unknown"
    # Rates with and without the first block do not compare.
    rates = [size.steady for size in sizes]
    if None in rates:
        rates = [size.overall for size in sizes]
    points = tuple(
        _point(size, rate, base, rates[0], mode)
        for size, rate, mode in zip(sizes, rates, [of_all, *modes], strict=True)
    )
    return Sweep(
        benchmark=str(goal(base.group).benchmark),
        submitter=_whose(base.group),
        accelerator=_accelerator(base.group),
        unit=unit(base.group),
        points=points,
        mode=of_all,
        fits=tuple(_fits(points)),
    )


def _mode(base: Size, size: Size) -> Mode:
    if not base.global_batch or not size.global_batch:
        return "unknown"
    if size.global_batch == base.global_batch:
        return "strong"
    grown = size.global_batch / base.global_batch
    return "weak" if math.isclose(grown, size.workers / base.workers, rel_tol=0.01) else "mixed"


def _point(
    size: Size, rate: float | None, base: Size, base_rate: float | None, mode: Mode
) -> Point:
    growth, speed_up = size.workers / base.workers, base.seconds / size.seconds
    total = speed_up / growth
    faster = _ratio(rate, base_rate)
    throughput = None if faster is None else faster / growth
    statistical = _ratio(base.epochs, size.epochs) or _ratio(base.samples, size.samples)
    overhead = total / (throughput * statistical) if throughput and statistical else None
    efficiency = Efficiency(throughput, statistical, overhead, total)
    parts = {"throughput": throughput, "statistical": statistical, "overhead": overhead}
    return Point(
        group=size.group,
        workers=size.workers,
        global_batch=size.global_batch,
        seconds=size.seconds,
        resolution=size.group.resolution,
        samples_per_s=rate,
        epochs=size.epochs,
        speed_up=speed_up,
        mode=mode,
        efficiency=efficiency,
        bottleneck=None if size is base else bottleneck(base, size, parts),
    )


def _ratio(first: float | None, second: float | None) -> float | None:
    """None too if it is one that no two measurements can have, but damaged records do."""
    if not first or not second:
        return None
    ratio = first / second
    return ratio if 1 / _ABSURD < ratio < _ABSURD else None


def _fits(points: Sequence[Point]) -> Iterator[Fit]:
    """Amdahl of what kept its batch, Gustafson of what did not, each with the smallest point."""
    base, *others = points
    same = [point for point in others if point.mode == "strong"]
    if same:
        times = [(point.workers, point.seconds) for point in [base, *same]]
        yield Fit("Amdahl", *amdahl(times), tuple(size for size, _ in times))
    rates = [
        (point.workers, point.samples_per_s)
        for point in [base, *(point for point in others if point.mode in ("weak", "mixed"))]
        if point.samples_per_s is not None and point.efficiency.throughput is not None
    ]
    if len(rates) > 1:
        yield Fit("Gustafson", *gustafson(rates), tuple(size for size, _ in rates))
