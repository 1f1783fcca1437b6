"""How time-to-train changes with the number of accelerators, and what stops it from falling. Pure.

time-to-train efficiency = throughput efficiency x statistical efficiency x overhead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ttt.report.score import Group

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
        epochs: Mean of the runs that count.
        speed_up: Against the smallest point.
        mode: Against the smallest point: strong, the same batch; weak, a batch that grew with the
            workers; mixed, anything between.
        efficiency: Why the speed-up is what it is.
        bottleneck: The first thing that holds it back, as a sentence; None for the smallest.
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
        law: "Amdahl" (of times, a fixed problem) or "Gustafson" (of rates, a growing one).
        serial: The share that more workers do not help, 0 to 1.
        error: Largest relative distance of a point from the law.
    """

    law: Literal["Amdahl", "Gustafson"]
    serial: float
    error: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """Points that differ in size, of one benchmark to one target on one kind of accelerator.

    Attributes:
        benchmark: What was trained.
        submitter: Who ran it.
        accelerator: Name; None for CPUs.
        unit: What workers are, in the singular.
        points: Two or more, from the smallest.
        mode: Of all points together.
        fits: One for each law that makes sense for the mode; empty where nothing fits.
    """

    benchmark: str
    submitter: str | None
    accelerator: str | None
    unit: Literal["accelerator", "process"]
    points: tuple[Point, ...]
    mode: Mode
    fits: tuple[Fit, ...]


def sweeps(groups: Sequence[Group]) -> list[Sweep]:
    """Every sweep that is among these groups, in the order of the first of each."""
    raise NotImplementedError
