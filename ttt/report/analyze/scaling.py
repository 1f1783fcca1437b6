"""How time-to-train changes with the number of accelerators, and what stops it from falling. Pure.

time-to-train efficiency = throughput efficiency x statistical efficiency x overhead.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttt.report.analyze.bottleneck import bottleneck
from ttt.report.analyze.efficiency import Efficiency
from ttt.report.analyze.experiment import Experiment, Mode, Point, Unit
from ttt.report.analyze.laws import amdahl, gustafson
from ttt.report.analyze.rates import alike
from ttt.report.analyze.size import Size, measure

_ABSURD = 1e12

_USUAL = 1.15  # a factor above it nearly always means that the base or the log was misread
_ENOUGH = 3  # points through which a law says something
_FITS = 0.1  # largest relative distance of a point from a law that is worth telling

Law = Literal["Amdahl", "Gustafson"]


@dataclass(frozen=True, slots=True)
class Fit:
    """A law of scaling put through the points.

    Attributes:
        law: "Amdahl" (of times, the same batch) or "Gustafson" (of rates, a batch that grew).
        serial: The share that more workers do not help, 0 to 1.
        error: Largest relative distance of a point from the law.
        sizes: Workers of the points, three or more: any two lie on some law.
    """

    law: Law
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
        mode: Of all points together.
        fits: One for each law that makes sense for the mode and that the points obey within 10 %.
        points: Two or more, from the smallest.
    """

    benchmark: str
    submitter: str | None
    accelerator: str | None
    unit: Unit
    mode: Mode
    fits: tuple[Fit, ...]
    points: tuple[Point, ...]


def sweeps(experiments: Sequence[Experiment]) -> list[Sweep]:
    """Every sweep that is among these experiments, in the order of the first of each.

    Those belong together that share benchmark, target, rules, division, submitter, precision, what
    was trained, and accelerator (the host's processor where there is none); their configurations
    differ, as batch and launcher have to. Of several of one size the fastest is the point, as that
    size can do it: the first of equals. Only the smallest size, where its batches differ, is the
    one with the batch of the most other points: what more workers do is best seen on the same work.
    """
    families: dict[tuple[object, ...], list[Size]] = {}
    for each in experiments:
        size = measure(each)
        if size is not None and each.benchmark is not None:
            family = (each.goal, each.official, each.precision, each.trained, each.owner, each.part)
            families.setdefault(family, []).append(size)
    chosen = [_chosen(sizes) for sizes in families.values()]
    return [_sweep(sizes) for sizes in chosen if len(sizes) > 1]


def _chosen(sizes: Sequence[Size]) -> list[Size]:
    """One size for each number of workers, ascending."""
    least, *more = sorted({size.workers for size in sizes})
    others = [
        min((size for size in sizes if size.workers == count), key=lambda size: size.seconds)
        for count in more
    ]

    def rank(size: Size) -> tuple[int, float]:
        return -sum(_mode(size, other) == "strong" for other in others), size.seconds

    return [min((size for size in sizes if size.workers == least), key=rank), *others]


def _sweep(sizes: Sequence[Size]) -> Sweep:
    base = sizes[0]
    modes = [_mode(base, size) for size in sizes[1:]]
    of_all: Mode = modes[0] if len(set(modes)) == 1 else "mixed"
    if "unknown" in modes:
        of_all = "unknown"
    points = tuple(
        _point(size, sizes, mode) for size, mode in zip(sizes, [of_all, *modes], strict=True)
    )
    return Sweep(
        benchmark=str(base.experiment.benchmark),
        submitter=base.experiment.owner,
        accelerator=base.experiment.part,
        unit=base.experiment.unit,
        mode=of_all,
        fits=tuple(_fits(points)),
        points=points,
    )


def _mode(base: Size, size: Size) -> Mode:
    if not base.global_batch or not size.global_batch:
        return "unknown"
    if size.global_batch == base.global_batch:
        return "strong"
    grown = size.global_batch / base.global_batch
    return "weak" if math.isclose(grown, size.workers / base.workers, rel_tol=0.01) else "mixed"


def _point(size: Size, sizes: Sequence[Size], mode: Mode) -> Point:
    base = sizes[0]
    growth, speed_up = size.workers / base.workers, base.seconds / size.seconds
    efficiency, remarks = _efficiency(size, base)
    split = base.confirmed and size.confirmed
    return Point(
        experiment=size.experiment,
        workers=size.workers,
        global_batch=size.global_batch,
        time_to_train_s=size.seconds,
        resolution_s=size.experiment.resolution,
        samples_per_s=size.training if split else size.on_clock,
        epochs=size.epochs,
        speed_up=speed_up,
        mode=mode,
        efficiency=replace(efficiency, time_to_train=speed_up / growth),
        bottleneck=None if size is base else bottleneck(sizes, size, efficiency),
        step_ms=size.step_ms,
        remarks=tuple(remarks),
    )


def _efficiency(size: Size, base: Size) -> tuple[Efficiency, list[str]]:
    """The factors that are believed, and a sentence for each that is not or is beyond the usual."""
    growth, remarks = size.workers / base.workers, list[str]()
    total = base.seconds / size.seconds / growth
    statistical = _ratio(base.epochs, size.epochs) or _ratio(base.samples, size.samples)
    if statistical is not None and statistical > _USUAL:
        remarks.append(_fewer(size, base, statistical))

    def factors(rate: float | None, other: float | None) -> tuple[float | None, float | None]:
        faster = _ratio(rate, other)
        throughput = None if faster is None else faster / growth
        return throughput, total / (
            throughput * statistical
        ) if throughput and statistical else None

    both = base.confirmed and size.confirmed
    throughput, overhead = factors(size.training, base.training) if both else (None, None)
    if both and max(throughput or 0, overhead or 0) > _USUAL:
        again = factors(size.tracked, base.tracked)
        pairs = zip((throughput, overhead), again, strict=True)
        if not all(one is None or alike(one, other) for one, other in pairs):
            known = {"throughput": throughput or 0.0, "overhead": overhead or 0.0}
            name = max(known, key=lambda each: known[each])
            remarks.append(f"{name} {known[name]:.0%} is withheld: a second witness disagrees")
            both = False
    if not both:
        throughput, overhead = factors(size.on_clock, base.on_clock)[0], None
        if throughput is not None and throughput > _USUAL:
            remarks.append(f"throughput {throughput:.0%} is withheld: no witness confirms it")
            throughput = None
    return Efficiency(throughput, statistical, overhead), remarks


def _fewer(size: Size, base: Size, statistical: float) -> str:
    """What the evaluation interval has to do with fewer epochs than the smallest point took."""
    now, before, noun = size.progress(base)
    apart = size.spacing or base.spacing
    every = f", seen every {apart:.4g} {noun}" if apart else ""
    return f"statistical {statistical:.0%}: {now:.4g} {noun} instead of {before:.4g}{every}"


def _ratio(first: float | None, second: float | None) -> float | None:
    """None too if it is one that no two measurements can have, but damaged records do."""
    if not first or not second:
        return None
    ratio = first / second
    return ratio if 1 / _ABSURD < ratio < _ABSURD else None


def _fits(points: Sequence[Point]) -> Iterator[Fit]:
    """Amdahl where the batch stayed, Gustafson where the work of each worker did; from three sizes.

    With two, any law fits; where the work of a worker changed neither law speaks of what was
    measured.
    """
    base, *others = points
    times = [
        (point.workers, point.time_to_train_s)
        for point in [base, *(point for point in others if point.mode == "strong")]
    ]
    rates = [
        (point.workers, point.samples_per_s)
        for point in [base, *(point for point in others if point.mode == "weak")]
        if point.samples_per_s is not None and point.efficiency.throughput is not None
    ]
    if len(times) >= _ENOUGH:
        yield from _good("Amdahl", amdahl(times), times)
    if len(rates) >= _ENOUGH:
        yield from _good("Gustafson", gustafson(rates), rates)


def _good(law: Law, fit: tuple[float, float], points: Sequence[tuple[int, float]]) -> Iterator[Fit]:
    serial, error = fit
    if error <= _FITS:
        yield Fit(law, serial, error, tuple(size for size, _ in points))
