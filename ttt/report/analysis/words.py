"""Figures and names for a reader: how a time, a share, a group of runs is written. Pure.

May not know any form: the terminal, the page and the charts say the same in the same words.
"""

import math
from collections.abc import Callable, Sequence

from ttt.report.analysis.score import Group, Spread, agreed

UNKNOWN = "-"
_MINUTES_FROM = 300.0  # seconds; MLPerf speaks in minutes, a bench of ours takes seconds


def printable(text: str) -> str:
    """Text from a stranger's log without what would steer a terminal or break a document."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def number(value: float | None, form: str = "") -> str:
    """A number in the given format, or the sign for unknown."""
    return UNKNOWN if value is None else format(value, form)


def seconds(value: float | None, resolution: float | None) -> str:
    """A time no finer than its resolution is known: two digits of that, at most to the ms."""
    return duration(value, resolution, "s")


def unit_for(times: Sequence[float | None]) -> str:
    """The unit a table or an axis of such times, in seconds, is best read in: "s" or "min"."""
    longest = max((time for time in times if time is not None), default=0.0)
    return "min" if longest >= _MINUTES_FROM else "s"


def in_unit(value: float, unit: str) -> float:
    """Seconds in one of the units of `unit_for`."""
    return value / 60 if unit == "min" else value


def duration(value: float | None, resolution: float | None, unit: str) -> str:
    """A time with its resolution, both given in seconds, in one of the units of `unit_for`."""
    return UNKNOWN if value is None else f"{measured(value, resolution, unit)} {unit}"


def measured(value: float | None, resolution: float | None, unit: str) -> str:
    """The same without the unit, for a column that has it in its title."""
    if value is None:
        return UNKNOWN
    value = in_unit(value, unit)
    if not resolution:
        return f"{value:.2f}" if unit == "s" else f"{value:.4g}"
    resolution = in_unit(resolution, unit)
    digits = min(3, max(0, 1 - math.floor(math.log10(resolution))))
    return f"{value:.{digits}f} ± {resolution:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in whole percent; in tenths below two."""
    if share is None:
        return UNKNOWN
    return f"{share:.0%}" if share >= 0.02 else f"{share:.1%}"


def spread(of: Spread) -> str:
    """Mean, standard deviation and range."""
    std = "" if of.std is None else f", standard deviation {of.std:.3g}"
    return f"mean {of.mean:.4g}{std}, from {of.min:.4g} to {of.max:.4g}"


def counted(count: int, what: str, many: str | None = None) -> str:
    """Such as "1 run" or "2,048 processes"."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def size(group: Group) -> str:
    """Such as "8 accelerators" or "2 processes"; empty if unknown."""
    if count := agreed(run.accelerators for run in group.runs):
        return counted(count, "accelerator")
    processes = agreed(run.world_size for run in group.runs)
    return "" if processes is None else counted(processes, "process", "processes")


def machine(group: Group) -> str:
    """Such as "8 x NVIDIA H100"; as `size` where the model is not known."""
    count = agreed(run.accelerators for run in group.runs)
    name = agreed(run.accelerator_name for run in group.runs)
    return printable(f"{count:,} x {name}") if count and name else size(group)


def names(groups: Sequence[Group]) -> list[str]:
    """A name for each group that tells it from the others here, no longer than that takes."""
    told: list[tuple[str, ...]] = [(size(each),) for each in groups]
    machines: list[tuple[str, ...]] = [(machine(each),) for each in groups]
    if len(set(machines)) > len(set(told)):
        told = machines
    for ask in _DIFFERENCES:
        if len(set(told)) == len(groups):
            break
        more = [(*known, ask(each)) for known, each in zip(told, groups, strict=True)]
        if len(set(more)) > len(set(told)):
            told = more
    said = [", ".join(filter(None, known)) or "this experiment" for known in told]
    return [
        f"{name} ({said[: place + 1].count(name)})" if said.count(name) > 1 else name
        for place, name in enumerate(said)
    ]


def _batch(group: Group) -> str:
    batch = agreed(run.global_batch for run in group.runs)
    return "" if batch is None else f"batch {batch:,}"


# What may tell two groups of the same size apart, in the order a reader would ask.
_DIFFERENCES: tuple[Callable[[Group], str], ...] = (
    lambda group: printable(agreed(run.submitter for run in group.runs) or ""),
    lambda group: printable(agreed(run.ruleset for run in group.runs) or ""),
    _batch,
    lambda group: printable(agreed(run.precision for run in group.runs) or ""),
    lambda group: printable(agreed(run.system for run in group.runs) or ""),
    lambda group: printable(group.runs[0].path.parent.name),
)
