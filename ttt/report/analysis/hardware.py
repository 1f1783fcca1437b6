"""What buyers ask: which system, how fast, for how much; and over several benchmarks. Pure."""

import itertools
import math
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ttt.report.analysis.score import Group, agreed
from ttt.report.analysis.size import Goal, goal, unit, workers
from ttt.report.analysis.words import counted

_WORST = 4.0  # factor behind the fastest at which a system earns nothing


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
        samples_per_s: Median of the runs with a time, while training.
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


@dataclass(frozen=True, slots=True)
class Profile:
    """How often a system is within a factor of the fastest, over benchmarks (AlgoPerf's score).

    Attributes:
        system: Its name.
        ratios: Score over the best score, by benchmark; None where it has none.
        factors: The tau at which the curve steps, ascending from 1 to 4.
        shares: Share of benchmarks within each factor; it holds to the next.
        score: Area under the curve from 1 to 4, over the width: 1 is fastest everywhere.
    """

    system: str
    ratios: dict[str, float | None]
    factors: tuple[float, ...]
    shares: tuple[float, ...]
    score: float


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
        samples_per_s=_middle(run.samples_per_s for run in timed),
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


def profiles(groups: Sequence[Group]) -> list[Profile]:
    """A profile of each system that competes in two or more benchmarks; the best first.

    The performance profile of Dolan and More, "Benchmarking optimization software with performance
    profiles", Math. Programming 91, 2002, scored as in Dahl et al., "Benchmarking Neural Network
    Training Algorithms", arXiv:2306.07179, 2023: with r the score over the best one of a benchmark
    and rho(tau) the share of benchmarks where r <= tau, the integral of rho from 1 to 4, over 3. A
    benchmark that a system tried and has no score for is never within any factor. Only systems that
    tried the same benchmarks are in it: nobody is judged by what others did not try.
    """
    tried: dict[str, dict[Goal, float]] = {}
    for group in groups:
        if goal(group).benchmark is not None and group.weak is None:
            of = tried.setdefault(_system(group), {})
            seconds = math.inf if group.score.seconds is None else group.score.seconds
            of[goal(group)] = min(seconds, of.get(goal(group), math.inf))
    shared = _shared(tried)
    rivals = [name for name, of in tried.items() if shared and of.keys() >= set(shared)]
    times = {_title(each, shared): {name: tried[name][each] for name in rivals} for each in shared}
    return sorted((_profile(name, times) for name in rivals), key=lambda each: -each.score)


def _shared(tried: Mapping[str, Mapping[Goal, float]]) -> Sequence[Goal]:
    """The two or more benchmarks that make the largest table without a gap; empty if none do."""
    choices = [
        frozenset(one.keys() & other.keys())
        for one, other in itertools.combinations(tried.values(), 2)
    ]

    def cells(goals: frozenset[Goal]) -> int:
        return len(goals) * sum(goals <= of.keys() for of in tried.values())

    best = max((each for each in choices if len(each) > 1), key=cells, default=frozenset())
    found = dict.fromkeys(each for of in tried.values() for each in of)
    return [each for each in found if each in best]


def _title(of: Goal, tasks: Collection[Goal]) -> str:
    """A benchmark's name, with what else tells it apart from others of that name."""
    same = [each for each in tasks if each.benchmark == of.benchmark]
    parts = [str(of.benchmark)]
    if len({(each.metric, each.target) for each in same}) > 1 and of.target is not None:
        parts.append(f"to {of.metric or ''} {of.target:g}")
    if len({each.ruleset for each in same}) > 1 and of.ruleset is not None:
        parts.append(f"({of.ruleset})")
    if len({each.division for each in same}) > 1 and of.division is not None:
        parts.append(f"({of.division})")
    return " ".join(" ".join(parts).split())


def _system(group: Group) -> str:
    """A name that tells systems apart: a machine of another size is another system.

    Vendors have a systems file for each framework; the name of the system in it is the same.
    """
    submitter = agreed(run.submitter for run in group.runs)
    names = [_field(group, "system_name"), agreed(run.system for run in group.runs)]
    accelerator = agreed(run.accelerator_name for run in group.runs)
    name = next(filter(None, [*names, accelerator]), "unknown system")
    one, count = unit(group), workers(group)
    size = counted(count, one, "processes" if one == "process" else None) if count else None
    return ", ".join(filter(None, (submitter, name, size)))


def _profile(system: str, times: Mapping[str, Mapping[str, float]]) -> Profile:
    ratios: dict[str, float | None] = {}
    for benchmark, of in times.items():
        best = min(of.values())
        ratios[benchmark] = of[system] / best if of[system] < math.inf else None
    near = [ratio for ratio in ratios.values() if ratio is not None and ratio <= _WORST]
    factors = sorted({1.0, *near, _WORST})
    shares = [sum(ratio <= factor for ratio in near) / len(ratios) for factor in factors]
    area = math.fsum(_WORST - ratio for ratio in near) / (_WORST - 1) / len(ratios)
    return Profile(system, ratios, tuple(factors), tuple(shares), area)
