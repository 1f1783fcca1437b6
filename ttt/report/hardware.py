"""What buyers ask: which system, how fast, for how much; and over several benchmarks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ttt.report.score import Group


@dataclass(frozen=True, slots=True)
class Row:
    """One system on one benchmark; None is unknown.

    Attributes:
        group: Its runs.
        submitter: Who ran it.
        system: Its name.
        nodes: Machines.
        accelerators: Of all nodes.
        accelerator: Model name; None for CPUs.
        processor: Model name of the host's.
        memory: Of one accelerator, of the host where there is none, as text with its unit.
        seconds: The score.
        samples_per_s: Median of the runs while training.
        samples_per_j: Median of the runs.
        cost: Of one run, mean; in the currency of the price.
        features: What stands out: interconnect, network, framework, precision.
    """

    group: Group
    submitter: str | None
    system: str | None
    nodes: int | None
    accelerators: int | None
    accelerator: str | None
    processor: str | None
    memory: str | None
    seconds: float | None
    samples_per_s: float | None
    samples_per_j: float | None
    cost: float | None
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """How often a system is within a factor of the fastest, over benchmarks (AlgoPerf's score).

    Attributes:
        system: Its name.
        ratios: Score over the best score, by benchmark; None where it has none.
        factors: The tau of the curve, ascending from 1.
        shares: Share of benchmarks within each factor.
        score: Area under the curve from 1 to 4, over the width: 1 is fastest everywhere.
    """

    system: str
    ratios: dict[str, float | None]
    factors: tuple[float, ...]
    shares: tuple[float, ...]
    score: float


def hardware(groups: Sequence[Group]) -> list[Row]:
    """A row for each group, fastest first within a benchmark."""
    raise NotImplementedError


def profiles(groups: Sequence[Group]) -> list[Profile]:
    """A profile of each system that ran one of two or more benchmarks; the best first."""
    raise NotImplementedError
