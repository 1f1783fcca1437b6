"""What buyers ask: which system, how fast, for how much. Pure.

Nothing is combined over benchmarks: MLCommons prescribes no combination and endorses none
(MLPerf Results Messaging Guidelines, section 8).
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from ttt.report.analyze.rates import clock_rate
from ttt.report.analyze.score import Group, agreed
from ttt.report.analyze.size import goal


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
        accelerator_hours: The score times the accelerators.
        samples_per_s: Samples over the time on the clock, median of the runs with a time.
        samples_per_j: Median of these.
        cost: Of one of these, mean; in the currency of the price. None if they have several prices.
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
    accelerator_hours: float | None
    samples_per_s: float | None
    samples_per_j: float | None
    cost: float | None
    features: tuple[str, ...]


def hardware(groups: Sequence[Group]) -> list[Row]:
    """A row for each group, fastest first within a benchmark; those without a score last."""
    order = {goal(group): place for place, group in reversed(list(enumerate(groups)))}

    def rank(row: Row) -> tuple[int, float]:
        return order[goal(row.group)], math.inf if row.seconds is None else row.seconds

    return sorted(map(_row, groups), key=rank)


def _row(group: Group) -> Row:
    runs, field = group.runs, partial(_field, group)
    timed = [run for run, time in zip(runs, group.times, strict=True) if time is not None]
    one_price = len({run.price_per_hour for run in timed}) == 1
    accelerator = agreed(run.accelerator_name for run in runs)
    memory = field("accelerator_memory_capacity") or _gibibytes(group)
    return Row(
        group=group,
        submitter=agreed(run.submitter for run in runs),
        system=agreed(run.system for run in runs) or field("system_name"),
        nodes=agreed(run.nodes for run in runs),
        accelerators=agreed(run.accelerators for run in runs),
        accelerator=accelerator,
        processor=field("host_processor_model_name"),
        memory=field("host_memory_capacity") if accelerator is None else memory,
        seconds=group.score.seconds,
        accelerator_hours=_hours(group),
        # Of models side by side it would be the rate of one.
        samples_per_s=None if group.weak is not None else _middle(map(clock_rate, timed)),
        samples_per_j=_middle(run.samples_per_j for run in timed),
        cost=_known(statistics.fmean, (run.cost for run in timed)) if one_price else None,
        features=tuple(_features(group)),
    )


def _field(group: Group, name: str) -> str | None:
    """A field of the systems file as text; some write numbers, and an empty one is unknown."""
    told = agreed(str(run.description.get(name) or "").strip() or None for run in group.runs)
    return told if told is None else " ".join(told.split())


def _hours(group: Group) -> float | None:
    seconds, count = group.score.seconds, agreed(run.accelerators for run in group.runs)
    return seconds * count / 3600 if seconds is not None and count else None


def _gibibytes(group: Group) -> str | None:
    size = agreed(run.accelerator_memory_bytes for run in group.runs)
    return None if size is None else f"{size / 2**30:.3g} GiB"


def _features(group: Group) -> Iterator[str]:
    """Interconnect, network where there are several nodes, framework, precision."""
    nodes = agreed(run.nodes for run in group.runs)
    network = "host_networking" if nodes is None or nodes > 1 else None
    names = ("accelerator_interconnect", network, "framework")
    told = (_field(group, name) for name in names if name is not None)
    yield from filter(None, told)
    precision = agreed(run.precision for run in group.runs)
    if precision is not None:
        yield precision


def _middle(values: Iterable[float | None]) -> float | None:
    return _known(statistics.median, values)


def _known(average: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return average(known) if known else None
