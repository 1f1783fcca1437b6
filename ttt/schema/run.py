"""A whole run: the claim, the target, the parts, and how often."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ttt.errors import fault
from ttt.schema import bounds
from ttt.schema.choices import Binding, CausalFlops, ClearCache, Device, Division, Keep, Precision
from ttt.schema.logged import RESERVED, Spread
from ttt.schema.parallel import ParallelConfig
from ttt.schema.points import of_epochs
from ttt.schema.rules import mismatched, not_one_line, not_positive, unknown
from ttt.schema.system import SystemConfig
from ttt.watcher import Target

_MANY_RUNS = 1000  # each has a folder before the first begins


@dataclass
class BenchmarkConfig:
    """What is being claimed.

    Attributes:
        id: An official MLPerf id, or a name of our own that no ruleset knows.
        summary: One line for `ttt run --help`.
        division: MLPerf division; only an official benchmark can be in the closed one.
        ruleset: MLPerf ruleset to check against; null is the newest that has the benchmark.
        causal_flops: Whether utilization counts half of causal attention or all of it.
    """

    id: str = ""
    summary: str = ""
    division: Division = Division.open
    ruleset: str | None = None
    causal_flops: CausalFlops = CausalFlops.halved


@dataclass
class TargetConfig:
    """The quality to reach; see `ttt.watcher.Target`."""

    metric: str = ""
    threshold: float = 0.0
    higher_is_better: bool = True
    range: list[float] = field(default_factory=lambda: [0.0, 1.0])  # of the metric
    eval_every_epochs: float | None = 1.0  # null: eval_every_samples says it
    eval_every_samples: int | None = None  # instead of eval_every_epochs
    first_eval_epochs: float | None = None  # null: after the first interval
    first_eval_samples: int | None = None  # instead of first_eval_epochs
    max_epochs: float = 1.0
    max_seconds: float | None = None
    check_every_steps: int = 20  # how often ranks exchange loss and time limits

    def target(self, train_samples: int) -> Target:
        """The watcher's form of this, for a training set of this size."""
        every = self.eval_every_samples or of_epochs(self.eval_every_epochs or 1, train_samples)
        every = max(1, every)  # less than a sample: after each update
        first = self.first_eval_samples
        if self.first_eval_epochs is not None:
            first = of_epochs(self.first_eval_epochs, train_samples)
        return Target(
            metric=self.metric,
            threshold=self.threshold,
            higher_is_better=self.higher_is_better,
            eval_every_samples=every,
            first_eval_samples=every if first is None else first,
            max_epochs=self.max_epochs,
            max_seconds=self.max_seconds,
        )

    def problems(self) -> Iterator[str]:
        """What is wrong with the target."""
        if len(self.range) != 2 or not self.range[0] < self.range[1]:
            allowed = "two numbers, the lower first"
            why = "is not a range"
            yield fault("target.range", self.range, why, allowed=allowed, typed="[0,1]")
            return
        low, high = self.range
        if not low < self.threshold <= high:
            fraction = high <= 1
            percent = self.threshold / 100
            meant = next((one for one in (percent, 0.75) if low < one <= high), high)
            why = f"is outside the range of {self.metric}, above {low:g} and at most {high:g}"
            typed = "target.threshold=N"
            if fraction:
                typed = f"type a fraction, as in target.threshold={meant:g},"
                typed += " or the metric's own target.range=[0,20]"
            yield fault("target.threshold", float(self.threshold), why, typed=typed)
        if (self.eval_every_epochs is None) == (self.eval_every_samples is None):
            yield (
                f"target.eval_every_epochs={self.eval_every_epochs} and target.eval_every_samples="
                f"{self.eval_every_samples}: set exactly one, the other null"
            )
        if None not in (self.first_eval_epochs, self.first_eval_samples):
            yield (
                f"target.first_eval_epochs={self.first_eval_epochs:g} and target.first_eval_samples"
                f"={self.first_eval_samples}: set at most one, the other null"
            )
        names = "eval_every_epochs eval_every_samples first_eval_epochs first_eval_samples"
        yield from not_positive("target", self, f"{names} max_epochs max_seconds check_every_steps")


@dataclass
class TimeoutConfig:
    """When processes that do not answer are given up; every rank then says where it stands."""

    join_seconds: float = 60.0  # for all ranks to be there, once rank 0 is
    init_seconds: float | None = 1800.0  # without a sign of life, until the first step is done
    step_seconds: float | None = 300.0  # without a sign of life, from then on; null: for ever

    def problems(self) -> Iterator[str]:
        """What is wrong with the limits."""
        yield from not_positive("timeout", self, "join_seconds init_seconds step_seconds")


@dataclass
class SubmissionConfig:
    """Who submits the result; fields of the MLPerf log."""

    org: str = "unspecified"  # submission_org of the log
    platform: str = "unspecified"  # submission_platform of the log
    status: str = "research"  # whether one can buy or rent the machine


@dataclass
class RunConfig:
    """One launch: everything needed to run it again."""

    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    data: Any = None
    model: Any = None
    task: Any = None
    optim: Any = None
    schedule: Any = None
    launcher: Any = None
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    seed: int | None = None  # of the first run; null: 1, in the closed division drawn at launch
    runs: int = 1  # one after the other, each with a seed of its own
    run: int = 0  # which of them; filled in at launch
    run_root: str = "runs"  # folder for run folders
    precision: Precision = Precision.fp32
    device: Device = Device.auto
    channels_last: bool = False  # how images and weights of convolutions lie in memory
    compile: bool = False  # the model, by torch.compile
    accumulate: int = 1  # forward and backward passes per update
    clip_norm: float | None = None  # largest norm of all gradients together
    clear_cache: ClearCache = ClearCache.auto
    checkpoint_every_seconds: float | None = None  # null: saved only when a signal asks for it
    binding: Binding = Binding.auto
    keep: list[Keep] = field(default_factory=list)  # what a run leaves beside its measurements
    timeout: TimeoutConfig = field(default_factory=TimeoutConfig)
    submission: SubmissionConfig = field(default_factory=SubmissionConfig)
    tracking: Any = None
    system: SystemConfig = field(default_factory=SystemConfig)
    mlperf: dict[str, Any] = field(default_factory=dict)  # key of the MLPerf log: its value
    processes: int = 0  # of one run, over all nodes; filled in at launch
    command: list[str] = field(default_factory=list)  # what was typed; filled in at launch

    def claim(self, spread: Spread) -> dict[str, Any]:
        """What the log says is being run, as far as the configuration knows it.

        Args:
            spread: How the processes share the work.
        """
        disclosed = spread.disclosed(self.precision, self.data.global_batch, self.accumulate)
        return {
            "benchmark": self.benchmark.id,
            "division": self.benchmark.division,
            "seed": self.seed,
            "run": self.run,
            "metric": self.target.metric,
            "target": self.target.threshold,
            "higher_is_better": self.target.higher_is_better,
            "train_samples": self.data.train_samples,
            "eval_samples": self.data.eval_samples,
            "global_batch": self.data.global_batch,
            "micro_batch": disclosed["micro_batch_size"],
            "accumulate": self.accumulate,
            "precision": self.precision,
            "disclosed": disclosed,
            "submission": asdict(self.submission),
            "mlperf": self.mlperf,
        }

    def problems(self, processes: int) -> list[str]:
        """Everything wrong with this launch on this many processes, a sentence each."""
        if found := [*bounds.too_large(self)]:
            return found
        typed = vars(self.launcher) if self.launcher else {}
        named = {f"launcher.{name}": value for name, value in typed.items()}
        if found := [*not_one_line({"benchmark.id": self.benchmark.id} | named)]:
            return found
        found = [*unknown("", self), *self.target.problems(), *self.timeout.problems()]
        uneven = [*self.parallel.problems(processes, self.precision)]
        found += uneven or self.parallel.cut_problems(self.model, processes)
        if hasattr(self.data, "problems"):  # a user's own data set may come without rules
            found += self.data.problems(self.parallel.mesh(processes), max(1, self.accumulate))
        for part in (self.model, self.optim, self.schedule, self.tracking):
            if hasattr(part, "problems"):
                found += part.problems()
        found += mismatched(self.model, self.data)
        if hasattr(self.model, "problems_with"):
            found += self.model.problems_with(self.precision, self.clip_norm)
        found += self.system.problems(self.submission.status)
        found += self._rate_problems()
        found += self._following_problems()
        found += not_positive("", self, "runs accumulate clip_norm checkpoint_every_seconds")
        found += self._log_problems()
        if self.runs > _MANY_RUNS:
            found.append(fault("runs", self.runs, allowed=f"up to {_MANY_RUNS}", typed="5"))
        last = 2**31 - 1 - self.runs
        if self.seed is not None and not 0 <= self.seed <= last:
            found.append(fault("seed", self.seed, allowed=f"0 to {last}", typed="1"))
        reported = {sentence.partition("=")[0] for sentence in found}
        if "optim.lr" in reported:  # the end of a schedule may follow from it
            reported.add("schedule.end_lr")
        found += [sentence for name, sentence in bounds.outside(self) if name not in reported]
        return found

    def _following_problems(self) -> Iterator[str]:
        """A setting of data sets that is no choice: the learner and the data must agree on it."""
        own = getattr(self.data, "accumulate", self.accumulate)
        if own != self.accumulate:
            why = f"is not accumulate={self.accumulate}, which it follows"
            typed = f"accumulate={max(1, own)}, and leave data.accumulate= out"
            yield fault("data.accumulate", own, why, typed=typed)

    def _rate_problems(self) -> Iterator[str]:
        """A learning rate that cannot be, or that would rise at the end."""
        peak, end = getattr(self.optim, "lr", None), getattr(self.schedule, "end_lr", None)
        if isinstance(peak, int | float):  # a user's own optimizer may have another name for it
            yield from not_positive("optim", self.optim, "lr")
        if isinstance(peak, int | float) and isinstance(end, int | float) and 0 < peak < end:
            why, allowed = "is above the peak", f"0 to optim.lr={peak:g}"
            yield fault("schedule.end_lr", float(end), why, allowed=allowed, typed="0")

    def _log_problems(self) -> Iterator[str]:
        """What the log would say that is not so."""
        computes = metric_of(self.task)
        if computes is not None and self.target.metric != computes:
            why, metric = "is not what the task computes", self.target.metric
            yield fault("target.metric", metric, why, allowed=computes, typed=computes)
        better = getattr(type(self.task), "higher_is_better", True)
        if computes is not None and self.target.higher_is_better != better:
            # A target in the wrong direction is reached at once, and the log would say success.
            why, right = f"is not so of {computes}", str(better).lower()
            given = str(self.target.higher_is_better).lower()
            yield fault("target.higher_is_better", given, why, allowed=right, typed=right)
        for key, value in self.mlperf.items():
            if isinstance(value, Mapping) and "value" not in value:  # else the rest is metadata
                why, allowed = "has no value", "a value, or {value: VALUE, ...} with metadata"
                yield fault(f"mlperf.{key}", value, why, allowed=allowed, typed="VALUE")
        for key in sorted(RESERVED & set(self.mlperf)):
            yield (
                f"mlperf.{key}={self.mlperf[key]} is what a run logs by itself; remove"
                f" +mlperf.{key}={self.mlperf[key]}"
            )


def metric_of(task: Any) -> str | None:
    """The metric that a task of ttt computes, from its schema.

    Returns:
        None for a user's own class: the worker asks it, before the first step.
    """
    schema = type(task)
    own = getattr(task, "_target_", None) != getattr(schema, "_target_", None)
    return None if own else getattr(schema, "metric", None)
