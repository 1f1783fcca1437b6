"""What is known of one run, ours or another's: the words all of ttt.report shares. No logic.

A run is read from a run folder of ttt or from any MLPerf log; None is unknown, never a guess.
May not know files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ttt.measurements import Measurements

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Measurements):
    """One run, finished or not.

    It has the fields of summary.json and of its `compliance`. A run folder without that file has
    what its configuration says, and its last sign of life as reason. Its status is "running" while
    its rank 0 keeps the record locked, and "suspended" when it was left to go on later. It is "not
    started" where there never was a sign, as when it waits in a scheduler's queue, and "died" else.
    One whose summary.json cannot be used is "unreadable": how it ended is unknown. An MLPerf log
    has the status of its run_stop, and "died" without that or run_start.

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
        eval_beside_s: Seconds of evaluations that took no time: beside training, or after RUN_STOP.
        steady_samples_per_s: Median rate of the blocks but the first.
        tracked_samples_per_s: What the submitter's own code, or ttt's worker, measured.
        samples_certain: Whether what a sample is stands on more than what the log alone says.
        energy_source: What measured it.
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
    eval_beside_s: float | None = None
    steady_samples_per_s: float | None = None
    tracked_samples_per_s: float | None = None
    samples_certain: bool = True
    energy_source: str | None = None
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
