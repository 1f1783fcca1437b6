"""What a reader knows of one run, whoever made it: the words all of ttt.report shares. No logic.

A run is read from a run folder of ttt or from anybody's MLPerf log; None is unknown, never a guess.
May not know files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LARGEST = 1e15  # of any measured number; what is beyond was damaged, and would overflow later


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One value of the metric, at `seconds` on the clock."""

    seconds: float
    quality: float
    epochs: float | None = None
    samples: float | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Training between two evaluations, or an epoch where a log tells of every one.

    Attributes:
        begin: Seconds on the clock.
        seconds: How long it took.
        samples: Training samples in it.
    """

    begin: float
    seconds: float
    samples: float | None = None


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
class Run:
    """One run, finished or not.

    The fields are those of summary.json and its `compliance`. A run folder without that file has
    what its configuration says, its last sign of life as reason, and the status "running" while its
    rank 0 keeps the record locked, "suspended" when it was left to go on later, "not started" where
    there never was a sign, as when it waits in a scheduler's queue, and "died" else. One whose
    summary.json cannot be used is "unreadable": how it ended is unknown. An MLPerf log has the
    status of its run_stop, and "died" without that or run_start.

    Attributes:
        path: Its folder, or its log.
        source: What it was read from.
        digest: Stands for what makes runs repetitions of each other: the configuration without its
            seed, or the folder of a log; None if there is none.
        submitter: Who says so.
        system: Name of the systems file, or what a machine was called.
        description: The fields of MLPerf's systems file, as far as known.
        trained: Stands for the model and its task in the configuration; None of a log.
        settings: What makes the digest of a configuration, by dotted names; empty of a log.
        loader: What reads the images; None where there are none.
        global_batch: What an update takes, samples or tokens, as the configuration has it.
        step_samples: Samples of an update; None where a batch is filled with tokens, or unknown.
        sequence_length: Tokens of a sample, where all have the same number.
        replicas: Copies of the model that train side by side; None where that is not disclosed.
        stopped: RUN_STOP in seconds since the epoch.
        began: Whether its clock ever started; None of a log.
        eval_s: Seconds on the clock in which it was evaluated and nothing was trained.
        eval_beside_s: Seconds of evaluations that took no time: beside training, or after RUN_STOP.
        epochs: Where it ended; None of a log that counts samples and does not tell how many an
            epoch has.
        samples_per_s: While training, over all of it.
        steady_samples_per_s: Median rate of the blocks but the first.
        tracked_samples_per_s: What the submitter's own code, or ttt's worker, measured.
        samples_certain: Whether what a sample is stands on more than what the log alone says.
        communication_fraction: Share of forward, backward and exchange of gradients in which
            nothing was computed, worst rank.
        recompiles: Compilations after RUN_START.
        skipped_samples: Unreadable samples that were replaced, each counted once.
        energy_source: What measured it.
        energy_reason: Why there is no energy.
        peak_memory_bytes: Of the process that held most; see `Rank`. The next two likewise.
        price_per_hour: Of one node.
        lost_s: Seconds on the clock that came to nothing: from what was saved of a run to where it
            went on.
        checkpoints: How often it was saved while it trained.
        checkpoint_s: Seconds on the clock that this took.
        checkpoint_bytes: Of one of them, over all ranks.
        passed: The compliance verdict.
        problems: What the checker or a reader found wrong.
        doubts: What a log says that cannot be, and what was taken in its place.
        official: Whether it was by the rules of an official MLPerf benchmark.
        clock_trusted: Whether the records of its log agree on when it began and ended. Else its
            time stands, as in the published tables, and nothing else from its clock.
        instance_scale: Accelerators that trained this one of several models, by its log.
        scaling_factor: What scaling.json beside a published log says.
        scaling_problem: Why that file says nothing.
        ruleset_reason: Why a log was judged by this ruleset.
    """

    path: Path
    source: Literal["run folder", "MLPerf log"] = "run folder"
    digest: str | None
    submitter: str | None = None
    system: str | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    benchmark: str | None = None
    seed: int | None = None
    status: str | None = None
    reason: str | None = None
    metric: str | None = None
    target: float | None = None
    higher_is_better: bool | None = None
    quality: float | None = None
    precision: str | None = None
    trained: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    loader: str | None = None
    global_batch: int | None = None
    step_samples: float | None = None
    train_samples: int | None = None
    sequence_length: int | None = None
    replicas: int | None = None
    stopped: float | None = None
    began: bool | None = None
    time_to_train_s: float | None = None
    elapsed_s: float | None = None
    train_s: float | None = None
    eval_s: float | None = None
    eval_beside_s: float | None = None
    init_s: float | None = None
    eval_interval_s: float | None = None
    epochs: float | None = None
    samples: float | None = None
    steps: int | None = None
    samples_per_s: float | None = None
    steady_samples_per_s: float | None = None
    tracked_samples_per_s: float | None = None
    samples_certain: bool = True
    step_ms_p50: float | None = None
    step_ms_p90: float | None = None
    step_ms_p99: float | None = None
    data_wait_fraction: float | None = None
    eval_fraction: float | None = None
    communication_fraction: float | None = None
    recompiles: int | None = None
    skipped_samples: int | None = None
    energy_j: float | None = None
    energy_source: str | None = None
    energy_reason: str | None = None
    samples_per_j: float | None = None
    peak_memory_bytes: int | None = None
    peak_memory_reserved_bytes: int | None = None
    device_memory_used_bytes: int | None = None
    accelerator_memory_bytes: int | None = None
    price_per_hour: float | None = None
    cost: float | None = None
    lost_s: float | None = None
    checkpoints: int | None = None
    checkpoint_s: float | None = None
    checkpoint_bytes: int | None = None
    world_size: int | None = None
    nodes: int | None = None
    accelerators: int | None = None
    accelerator_name: str | None = None
    passed: bool | None = None
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    official: bool | None = None
    clock_trusted: bool = True
    instance_scale: int | None = None
    scaling_factor: float | None = None
    scaling_problem: str | None = None
    ruleset: str | None = None
    ruleset_reason: str | None = None
    division: str | None = None
    evaluations: tuple[Evaluation, ...] = ()
    blocks: tuple[Block, ...] = ()
    ranks: tuple[Rank, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A path that could not be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a set of paths holds, in the order of the paths."""

    runs: tuple[Run, ...]
    rejected: tuple[Rejected, ...]
