"""What buyers ask: which system, how fast, for how much. Pure.

Nothing is combined over benchmarks: MLCommons prescribes no combination and endorses none
(MLPerf Results Messaging Guidelines, section 8).
"""

import math
import statistics
from collections.abc import Iterator, Sequence

from ttt.report.analyze.experiment import Experiment, Goal, Row
from ttt.report.analyze.rates import clock_rate
from ttt.report.analyze.score import average
from ttt.report.analyze.utilization import Used, used


def in_order(experiments: Sequence[Experiment]) -> list[Experiment]:
    """The fastest first within a benchmark, those without a score last."""
    order: dict[Goal, int] = {}
    for each in experiments:
        order.setdefault(each.goal, len(order))

    def rank(of: Experiment) -> tuple[int, float]:
        return order[of.goal], math.inf if of.score.seconds is None else of.score.seconds

    return sorted(experiments, key=rank)


def row(of: Experiment) -> Row:
    """The line of an experiment in the hardware table."""
    runs, seconds, count = of.converged, of.score.seconds, of.accelerators
    one_price = len({run.price_per_hour for run in runs}) == 1
    memory = _field(of, "accelerator_memory_capacity") or _gibibytes(of.accelerator_memory_bytes)
    return Row(
        system=of.system or _field(of, "system_name"),
        processor=_field(of, "host_processor_model_name"),
        memory=_field(of, "host_memory_capacity") if of.accelerator_name is None else memory,
        accelerator_hours=seconds * count / 3600 if seconds is not None and count else None,
        # Of models side by side it would be the rate of one.
        samples_per_s=None if of.weak else average(statistics.median, map(clock_rate, runs)),
        samples_per_j=average(statistics.median, (run.samples_per_j for run in runs)),
        cost=average(statistics.fmean, (run.cost for run in runs)) if one_price else None,
        used=Used() if of.weak else used(of.counting),
        features=tuple(_features(of)),
    )


def _field(of: Experiment, name: str) -> str | None:
    """A field of the systems file in one line."""
    text = of.described(name)
    return text if text is None else " ".join(text.split())


def _gibibytes(size: int | None) -> str | None:
    return None if size is None else f"{size / 2**30:.3g} GiB"


def _features(of: Experiment) -> Iterator[str]:
    """Interconnect, network where there are several nodes, framework, precision."""
    network = ["host_networking"] if of.nodes is None or of.nodes > 1 else []
    fields = ["accelerator_interconnect", *network, "framework"]
    yield from filter(None, [_field(of, name) for name in fields])
    if of.precision is not None:
        yield of.precision
