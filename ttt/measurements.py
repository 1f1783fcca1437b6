"""Every number that a run yields, declared once: its name, type, unit and meaning. No logic.

A name ends in its unit: seconds `_s`, milliseconds `_ms`, joules `_j`, `_bytes`, samples `_per_s`,
`_per_j`, FLOPs `_per_sample`, and the price `_per_hour`. A `_fraction` is a share of 1. All others
are words and counts.

`ttt.statistics` measures, the STATISTICS event carries it, `ttt.sinks.summary` writes summary.json
in the order of `Measurements`, `ttt.sinks.console` shows what has a `Shown`, and the report's `Run`
has all fields of `Measurements`. So a new measurement is a field here and a value where it is
measured. What was not measured is None, never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Source(StrEnum):
    """Where `ttt.sinks.summary` takes a value from."""

    CONFIG = "config"  # the event of this kind, under the same name
    STATISTICS = "statistics"  # likewise
    EVENTS = "events"  # computed from the times and data of several events


@dataclass(frozen=True, slots=True)
class Shown:
    """How the console shows a value among the results; values with the same row share a line.

    Attributes:
        row: The name of the row.
        form: The format of the number.
        after: What follows the number.
        scale: What the number is multiplied by.
    """

    row: str
    form: str
    after: str
    scale: float = 1.0

    def text(self, value: float) -> str:
        """The number in words."""
        return f"{value * self.scale:{self.form}}{self.after}"


def _value(source: Source, about: str, shown: Shown | None = None) -> Any:
    return field(default=None, metadata={"source": source, "about": about, "shown": shown})


def _configured(about: str) -> Any:
    return _value(Source.CONFIG, about)


def _measured(about: str, shown: Shown | None = None) -> Any:
    return _value(Source.STATISTICS, about, shown)


def _from_events(about: str) -> Any:
    return _value(Source.EVENTS, about)


@dataclass(frozen=True, slots=True)
class Rank:
    """What one process measured of itself, from RUN_START to RUN_STOP.

    Attributes:
        rank: Its number.
        host: The machine it was on.
        data_wait_s: Seconds in which it waited for batches.
        step_ms_p50: Median step; nearly the same on all ranks, who wait for each other.
        compute_ms: Median forward and backward of its own, without waiting for others.
        communication_ms: Median time in which gradients were exchanged, late peers included.
        exposed_ms: As much of that as no computation went on beside.
        peak_memory_bytes: Most memory it held: on a GPU in tensors after the warm-up, on a CPU
            resident since it started.
        peak_memory_reserved_bytes: Most that torch's allocator took from the GPU.
        device_memory_used_bytes: What of the GPU was in use at the end, torch's or not.
    """

    rank: int
    host: str | None = None
    data_wait_s: float | None = None
    step_ms_p50: float | None = None
    compute_ms: float | None = None
    communication_ms: float | None = None
    exposed_ms: float | None = None
    peak_memory_bytes: int | None = None
    peak_memory_reserved_bytes: int | None = None
    device_memory_used_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The keys of summary.json in its order, but for the last, `compliance`."""

    benchmark: str | None = _configured("what ran")
    seed: int | None = _configured("of this run")
    run: int | None = _configured("which of the launch, from 0")
    status: str | None = _from_events("how it ended: success or aborted")
    reason: str | None = _from_events("why it ended")
    metric: str | None = _configured("what quality is measured by")
    quality: float | None = _from_events("the last one")
    target: float | None = _configured("the quality to reach")
    higher_is_better: bool | None = _configured("of quality")
    time_to_train_s: float | None = _from_events("from RUN_START to RUN_STOP, if it succeeded")
    elapsed_s: float | None = _from_events("the same, also if it did not")
    train_s: float | None = _measured("on the clock: training")
    eval_s: float | None = _measured("on the clock: evaluation while nothing was trained")
    init_s: float | None = _from_events("off the clock: from start to RUN_START")
    epochs: float | None = _from_events("where it ended; a log may only count samples")
    samples: float | None = _from_events("where it ended")
    steps: int | None = _from_events("where it ended")
    world_size: int | None = _configured("processes")
    nodes: int | None = _configured("machines")
    accelerators: int | None = _configured("GPUs; 0 on CPUs")
    accelerator_name: str | None = _configured("of the GPUs")
    samples_per_s: float | None = _measured(
        "while training, over all of it", Shown("throughput", ",.0f", " samples/s while training")
    )
    tokens_per_s: float | None = _measured(
        "likewise, where all samples have as many", Shown("throughput", ",.0f", " tokens/s")
    )
    step_ms_p50: float | None = _measured(
        "end of a step to end of the next, on rank 0", Shown("step time", ".1f", " ms median")
    )
    step_ms_p90: float | None = _measured("likewise")
    step_ms_p99: float | None = _measured("likewise", Shown("step time", ".1f", " ms p99"))
    data_wait_fraction: float | None = _measured(
        "of train_s, waiting for batches, worst rank",
        Shown("waiting for data", ".1f", " % of training", 100),
    )
    eval_fraction: float | None = _measured(
        "of elapsed_s, in evaluations", Shown("evaluation", ".1f", " % of the time", 100)
    )
    eval_interval_s: float | None = _from_events("between the last two evaluations")
    communication_fraction: float | None = _measured(
        "of forward, backward and exchange, in which nothing was computed, worst rank"
    )
    flop_per_sample: float | None = _measured(
        "tensor FLOPs of the model, to train one sample forward and backward; see `ttt.flops`"
    )
    peak_flop_per_s: float | None = _measured(
        "dense, in the precision of the run; of one accelerator, or of one node of CPUs"
    )
    utilization_fraction: float | None = _from_events(
        "of the peak of all, over elapsed_s (MLCommons' training_rules.adoc, Utilization)"
    )
    utilization_reason: str | None = _from_events("why there is no utilization")
    recompiles: int | None = _measured("compilations after RUN_START")
    energy_j: float | None = _measured("of all nodes")
    energy_reason: str | None = _measured("why there is no energy")
    energy: Mapping[str, Any] | None = _measured("gpu_j, cpu_j and the scope of energy_j")
    samples_per_j: float | None = _measured("of energy_j")
    peak_memory_bytes: int | None = _measured(
        "of the process that held most; see Rank",
        Shown("peak memory", ",.0f", " MB in one process", 1e-6),
    )
    peak_memory_reserved_bytes: int | None = _measured(
        "likewise", Shown("peak memory", ",.0f", " MB reserved", 1e-6)
    )
    device_memory_used_bytes: int | None = _measured(
        "likewise", Shown("peak memory", ",.0f", " MB of its GPU in use at the end", 1e-6)
    )
    accelerator_memory_bytes: int | None = _measured("all there is; on CPUs the machine's")
    skipped_samples: int | None = _measured("unreadable and replaced, each counted once")
    price_per_hour: float | None = _configured("of one node")
    cost: float | None = _from_events("of all nodes for the time on the clock")
    checkpoints: int | None = _from_events("how often it was saved while it trained")
    checkpoint_s: float | None = _from_events("on the clock, in which it was copied to be saved")
    checkpoint_bytes: int | None = _from_events("of the largest, over all ranks")
    resumed: int | None = _from_events("how often")
    lost_s: float | None = _from_events("on the clock, from what was saved to where it went on")
    moved: str | None = _from_events(
        "other processes, or parts of the model on them, with which it went on"
    )
    data: Mapping[str, Any] | None = _measured("what the loader says of its batches")
    ranks: tuple[Rank, ...] = field(
        default=(), metadata={"source": Source.STATISTICS, "about": "of each process"}
    )
    kept: Mapping[str, Any] | None = _from_events("the files that keep= wrote, and their quality")


NAMES = tuple(each.name for each in fields(Measurements))
SHOWN: Mapping[str, Shown] = {
    each.name: shown for each in fields(Measurements) if (shown := each.metadata.get("shown"))
}


def taken_from(source: Source) -> list[str]:
    """The names of all values with this source."""
    return [each.name for each in fields(Measurements) if each.metadata["source"] is source]
