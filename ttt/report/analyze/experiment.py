"""An experiment and everything known of it: what each analysis says, and what its runs agree on.

`grouping` makes one of its runs, `study` adds what it takes the other experiments for. Pure.
"""

from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from ttt.report.analyze.diagnosis import Finding
from ttt.report.analyze.efficiency import Efficiency
from ttt.report.analyze.rcp import Rcp
from ttt.report.analyze.score import Score, Spread, agreed
from ttt.report.analyze.utilization import Used
from ttt.report.analyze.weak import Weak
from ttt.report.run import Run

T = TypeVar("T")
Unit = Literal["accelerator", "process", "node"]
Mode = Literal["strong", "weak", "mixed", "unknown"]


class Goal(NamedTuple):
    """What has to be the same for times to compare.

    Attributes:
        benchmark: What was trained.
        metric: Of its quality; None of official benchmarks, whose logs need not name it.
        target: Its threshold.
        ruleset: From one to the next the rules of a benchmark change.
        division: The open one lets a submitter change what is trained.
    """

    benchmark: str | None
    metric: str | None
    target: float | None
    ruleset: str | None
    division: str | None


@dataclass(frozen=True, slots=True)
class Stability:
    """How stable the convergence of an experiment is.

    Attributes:
        progress: Epochs to the target of each run that counts, ascending; samples in a task whose
            progress is in samples.
        warnings: What a reader of the score should know, a sentence each.
        coarse: One evaluation interval as a share of the score, where it is large enough to hide
            what a reader may want to see; else None.
    """

    progress: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    coarse: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """The place of an experiment in a sweep.

    Attributes:
        experiment: Its runs.
        workers: How many there are.
        global_batch: Samples per update.
        time_to_train_s: The score.
        resolution_s: One evaluation interval: the score is not known better.
        samples_per_s: Rate over all workers while training; on the clock where that is not sure.
        epochs: Mean of the runs whose mean the score is.
        speed_up: Against the smallest point.
        mode: Against the smallest point: strong, the same batch; weak, a batch that grew with the
            workers; mixed, anything else. The smallest has that of the sweep.
        efficiency: Why the speed-up is what it is.
        bottleneck: The first thing that holds it back, in words; None for the smallest, and where
            less than 5% of the ideal is lost.
        step_ms: Milliseconds of an update, where two witnesses agree on the rate.
        remarks: Why a factor is withheld, or above what can be expected.
    """

    experiment: "Experiment"
    workers: int
    global_batch: int | None
    time_to_train_s: float
    resolution_s: float | None
    samples_per_s: float | None
    epochs: float | None
    speed_up: float
    mode: Mode
    efficiency: Efficiency
    bottleneck: str | None
    step_ms: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The system of an experiment and what it costs; None is unknown.

    Attributes:
        system: Its name.
        processor: Model name of the host's.
        memory: Of one accelerator, of the host where there is none, as text with its unit.
        accelerator_hours: The score times the accelerators.
        samples_per_s: Samples over the time on the clock, median of the runs with a time.
        samples_per_j: Median of these.
        cost: Of one of these, mean; in the currency of the price. None if they have several prices.
        used: Which share of it the model's FLOPs were.
        features: What stands out: interconnect, network, framework, precision.
    """

    system: str | None = None
    processor: str | None = None
    memory: str | None = None
    accelerator_hours: float | None = None
    samples_per_s: float | None = None
    samples_per_j: float | None = None
    cost: float | None = None
    used: Used = field(default_factory=Used)
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One finding, in as many runs of an experiment as have it.

    Attributes:
        finding: That of the run which it cost most.
        runs: All that have it.
    """

    finding: Finding
    runs: tuple[Run, ...]


class _Agreed(Generic[T]):
    """What all runs say of a field that say anything; None where they differ."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, experiment: "Experiment", owner: type) -> T | None:
        return agreed(getattr(run, self._name) for run in experiment.runs)


@dataclass(slots=True, eq=False)
class Experiment:
    """Runs with everything equal but the seed, and all that is known of them.

    What all runs agree on has the name that it has of a run: whose it is, on what, by which rules;
    None where they do not agree. Two experiments are equal only if they are one object.

    Attributes:
        runs: All of them, in the order they were found.
        times: Time-to-train in seconds of each; None for a run without a valid one.
        counting: The runs whose mean the score is, the fastest first; of models trained side by
            side all with a time, where there is no score none.
        score: Over all runs.
        interval: Seconds between which the score lies with 95 % confidence; None with too few runs.
        time: Spread of the valid times, in seconds, by clocks to be trusted; None without any.
        epochs: Spread of the epochs of the same runs; None without any.
        resolution: Seconds between the last two evaluations, median of the runs whose clock can be
            trusted: no time is known better than this. None if unknown.
        problems: Why MLCommons would not take this as a result; empty too where nothing official
            was tried.
        rcp: The verdict on its convergence; None where there is none to be had.
        remarks: What is worth a word and refuses nothing.
        scaling: What the score is multiplied with, 1 if the reference convergence points were met
            and demand nothing; None where neither they nor scaling.json say anything.
        scaling_source: Who says so.
        scaled_seconds: The score with its scaling; None where none is to be had.
        energy_j: Mean energy of the runs whose mean the score is, scaled as this.
        weak: The throughput of models trained side by side, which have no score.
        name: Tells it from the other experiments of its task, in every table and figure.
        apart: As much of its name as is not its machine.
        stability: How equally its runs converged.
        point: Its place in a sweep; None where it is in none.
        row: Its line of the hardware table.
        seen: What its runs lost time to, the most expensive first.
    """

    runs: tuple[Run, ...]
    times: tuple[float | None, ...]
    counting: tuple[Run, ...]
    score: Score
    interval: tuple[float, float] | None
    time: Spread | None
    epochs: Spread | None
    resolution: float | None
    problems: tuple[str, ...]
    rcp: Rcp | None
    remarks: tuple[str, ...]
    scaling: float | None
    scaling_source: str | None
    scaled_seconds: float | None
    energy_j: float | None
    weak: Weak | None
    name: str = ""
    apart: str = ""
    stability: Stability = Stability()
    point: Point | None = None
    row: Row = Row()
    seen: tuple[Observation, ...] = ()

    submitter = _Agreed[str]()
    system = _Agreed[str]()
    benchmark = _Agreed[str]()
    official = _Agreed[bool]()
    ruleset = _Agreed[str]()
    ruleset_reason = _Agreed[str]()
    division = _Agreed[str]()
    metric = _Agreed[str]()
    target = _Agreed[float]()
    accelerators = _Agreed[int]()
    accelerator_name = _Agreed[str]()
    accelerator_memory_bytes = _Agreed[int]()
    nodes = _Agreed[int]()
    world_size = _Agreed[int]()
    replicas = _Agreed[int]()
    global_batch = _Agreed[int]()
    precision = _Agreed[str]()
    sequence_length = _Agreed[int]()
    trained = _Agreed[str]()
    price_per_hour = _Agreed[float]()
    energy_source = _Agreed[str]()
    energy_reason = _Agreed[str]()

    def described(self, field: str) -> str | None:
        """A field of the systems file as text; some write numbers, and an empty one is unknown."""
        return agreed(str(run.description.get(field) or "").strip() or None for run in self.runs)

    @property
    def goal(self) -> Goal:
        """What its runs had to do, by those that are not damaged."""
        metric = None if self.official else self.metric
        return Goal(self.benchmark, metric, self.target, self.ruleset, self.division)

    @property
    def unit(self) -> Unit:
        """What its workers are.

        Nodes where the description of a system says that it has no accelerators, and no log says
        how many processes ran. Nothing else then says how large a machine of CPUs is.
        """
        if any(run.accelerators for run in self.runs):
            return "accelerator"
        processes = any(run.world_size is not None for run in self.runs)
        return "node" if self.accelerators == 0 and not processes else "process"

    @property
    def workers(self) -> int | None:
        """How many there are."""
        counts = {"accelerator": self.accelerators, "process": self.world_size, "node": self.nodes}
        return counts[self.unit]

    @property
    def owner(self) -> str | None:
        """Whose it is: of a joint submission, as "NVIDIA+CoreWeave", the first it names."""
        return None if self.submitter is None else self.submitter.split("+")[0].strip()

    @property
    def part(self) -> str | None:
        """What computes: the accelerator, the host's processor where there is none."""
        if self.unit == "accelerator":
            return self.accelerator_name
        return self.described("host_processor_model_name")

    @property
    def timed(self) -> list[tuple[Run, float]]:
        """The runs with a valid time, and this."""
        both = zip(self.runs, self.times, strict=True)
        return [(run, time) for run, time in both if time is not None]

    @property
    def converged(self) -> list[Run]:
        """The runs with a valid time."""
        return [run for run, _ in self.timed]

    @property
    def failed(self) -> list[Run]:
        """The others."""
        both = zip(self.runs, self.times, strict=True)
        return [run for run, time in both if time is None]

    @property
    def trusted_times(self) -> list[float]:
        """The valid times of clocks that do not contradict themselves: fit for statistics."""
        return [time for run, time in self.timed if run.clock_trusted]

    @property
    def official_s(self) -> float | None:
        """The score as MLCommons publishes it: scaled where its reference demands it."""
        return self.score.seconds if self.scaled_seconds is None else self.scaled_seconds

    @property
    def scaled_minutes(self) -> float | None:
        """The scaled score in minutes, with the digits of result_summarizer."""
        if self.scaling is None or self.score.minutes is None:
            return None
        return self.score.minutes * self.scaling

    @property
    def never_began(self) -> bool:
        """Whether no clock of its runs ever started, as where a setting was wrong."""
        return all(run.began is False and run.status == "died" for run in self.runs)

    @property
    def verdict(self) -> str:
        """Whether the result would stand: "yes" or "no" where rules say; else "unofficial".

        A log that failed its check is no obstacle by itself: it counts as the one run that may
        fail.
        """
        if self.score.seconds is None and self.weak is None:
            return "no"
        if self.official:
            return "no" if self.problems else "yes"
        unknown = any(run.passed is None for run in self.converged)
        return "not checked" if unknown else "unofficial"
