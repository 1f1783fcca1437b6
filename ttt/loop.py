"""The loop: train to a target, evaluate on the way, stop the clock. Read this page first.

It knows no workload, no device and no launcher; those are in the parts it is given. Events go out,
nothing comes back in. All ranks go through it in step and leave a heartbeat at every turn, by which
a watchdog finds the rank that does not get on. Only this page ends a run: by its verdict in `run`,
or by `abort`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ttt.clock import Clock
from ttt.errors import DataError
from ttt.events import EventLog, Kind
from ttt.protocols import Batch, Data, Learner, Saver, Task, World
from ttt.telemetry.timing import Meter
from ttt.watcher import RUNNING, Status, Target, Verdict, epoch_number, judge, judge_health

if TYPE_CHECKING:
    from ttt.supervise.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """What earlier processes did of this run, before they were preempted or lost.

    Attributes:
        started: RUN_START, in seconds since the epoch.
        accounted: Up to when the time is in `totals`, or was counted as lost when they went on.
        step: Updates that were saved; 0 if none were.
        totals: Seconds in each span, as far as they were saved.
        moved: What is other than before, of the processes and the parts of the model that they
            have; see `ttt.supervise.moving`.
    """

    started: float
    accounted: float
    step: int
    totals: Mapping[str, float]
    moved: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is made of, built and warm."""

    task: Task
    learner: Learner
    data: Data
    target: Target
    world: World
    clock: Clock
    log: EventLog
    meter: Meter
    heartbeat: Heartbeat
    seed: int
    check_every: int  # steps between checks of the loss, the time limit and preemption
    preemption_requested: Callable[[], bool]  # whether a scheduler asked this process to stop
    saver: Saver | None = None  # of a run that is saved at intervals
    example: Batch = None  # tensors of the shapes of a training batch, without values
    spare: Batch = None  # a made-up one to evaluate where another process has a real one more

    def position(self, step: int) -> dict[str, float]:
        """How far training is after this many steps."""
        samples, before = (self.data.samples_after(count) for count in (step, max(step - 1, 0)))
        epoch = epoch_number(samples, before, self.data.train_samples)
        return {"epoch": epoch, "samples": samples}

    def reached(self) -> tuple[int, dict[str, float]]:
        """The step and position of a run that ends at once, without reading the data set.

        Where only the data set knows how many samples a step takes, they are those of the last
        event with progress, at most `check_every` steps ago.
        """
        step, reached = self.learner.steps, self.log.reached
        if self.data.steps_per_epoch is not None:
            return step, self.position(step)
        if reached is None:
            return 0, {"epoch": 0.0, "samples": 0}
        return reached.step, {name: reached.data[name] for name in ("epoch", "samples")}


def run(parts: Parts, past: ResumePoint | None = None) -> Verdict:
    """Train until the target is reached or given up; the clock stops where the verdict exists.

    Where preemption is requested, it returns with the clock running, and another process goes on
    with the run. `past` says where this one goes on.
    """
    step, data = begin(parts, past)
    batches, verdict, moment = parts.meter.waiting(data), RUNNING, 0.0
    for stop in parts.target.evaluation_steps(parts.data.train_samples, parts.data.steps_to):
        if stop < step:
            continue
        if step < stop:  # else it was suspended right before an evaluation
            step, verdict, moment = block(parts, batches, step, stop)
        if not verdict.final:
            verdict, moment = evaluate(parts, step)
        if verdict.final:
            break
    if verdict.status is not Status.SUSPENDED:
        _stop(parts, verdict, moment, step, parts.position(step))
    return verdict


def abort(parts: Parts, reason: str, *, goes_on: bool = False) -> None:
    """End a run from outside the loop, where it was last seen; the data set is not asked again.

    Args:
        parts: Of a run whose clock is running.
        reason: Why, for the record.
        goes_on: Whether other processes go on with it: then it is suspended, and its clock runs on.
    """
    step, position = parts.reached()
    if goes_on:
        parts.log.emit(Kind.SUSPENDED, step, reason=reason, **position)
    else:
        _stop(parts, Verdict(Status.ABORTED, reason), parts.clock.now(), step, position)


def _stop(
    parts: Parts, verdict: Verdict, moment: float, step: int, position: Mapping[str, float]
) -> None:
    """Stop the clock at the moment of the verdict."""
    parts.clock.stop(moment)
    status, reason = verdict.status.value, verdict.reason
    parts.log.emit(Kind.RUN_STOP, step, time=moment, status=status, reason=reason, **position)


def begin(parts: Parts, past: ResumePoint | None) -> tuple[int, Iterator[Batch]]:
    """Start the clock: no process reads data before RUN_START, and all are ready by then.

    Returns:
        The updates done already, and the batches from there on. A run that goes on has had its
        RUN_START long ago, and its data set may need the seed to say what a step is.
    """
    step = past.step if past else 0
    train = partial(parts.data.train, parts.world.data, parts.seed, start=step)
    gc.collect()
    gc.freeze()  # what was built lives to the end; collecting it again would only cost time
    parts.world.barrier()
    if past:
        data = train()
        position = parts.position(past.step)  # may fail, and what has not gone on is not aborted
        lost = parts.clock.now() - past.accounted
        parts.clock.resume(past.started, past.totals)
        moved: Any = past.moved
        facts = {"started": past.started, "lost_s": lost, "moved": moved}
        parts.log.emit(Kind.RESUMED, past.step, **facts, **position)
    else:
        parts.clock.start(parts.log.emit(Kind.RUN_START).time)
    parts.world.barrier()
    return step, data if past else train()


def block(
    parts: Parts, batches: Iterator[Batch], step: int, stop: int
) -> tuple[int, Verdict, float]:
    """Train to the next evaluation: the step reached, a verdict, and when it was there."""
    since, until = parts.position(step), parts.position(stop)
    parts.log.emit(Kind.BLOCK_START, step, **since, until=until)
    with parts.clock.span("train"):
        step, verdict = train(parts, batches, step, stop)
        moment = parts.clock.now()
    parts.meter.collect()
    parts.log.emit(Kind.BLOCK_STOP, step, **parts.position(step), since=since)
    return step, verdict, moment


def train(parts: Parts, batches: Iterator[Batch], step: int, stop: int) -> tuple[int, Verdict]:
    """Update until `stop`, unless on any rank the loss breaks, time is up or preemption is asked.

    Ranks exchange what they saw every few steps and read the answer one exchange later, so that no
    rank waits for it. At the end of the block they do wait: the device is drained there anyway.
    """
    answer, verdict = None, RUNNING
    parts.meter.mark()
    while step < stop and not verdict.final:
        parts.heartbeat.beat("waiting for data", step)
        batch = next(batches)
        parts.heartbeat.beat("training", step)
        parts.learner.step(batch)
        parts.heartbeat.steady = True  # nothing takes as long any more as the first step may
        step += 1
        parts.meter.mark()
        if step % parts.check_every == 0 or step == stop:
            if answer:  # first: it raises if a process is gone, and the device may wait for that
                verdict = _judged(parts, step, answer())
            bad, loss = parts.learner.health(wait=step == stop)
            answer = parts.world.minimum_later(_seen(parts, bad))
            parts.log.emit(Kind.PROGRESS, step, loss=loss, **parts.position(step))
    if answer and not verdict.final:
        verdict = _judged(parts, step, answer())
    return step, verdict


def _seen(parts: Parts, bad: int) -> list[int]:
    """What this rank saw: its first bad step, its time on the clock, a request to preempt it."""
    seen = [bad, -round(1000 * parts.clock.elapsed), -int(parts.preemption_requested())]
    return seen + parts.saver.signs() if parts.saver else seen


def _judged(parts: Parts, step: int, worst: list[int]) -> Verdict:
    """The verdict on the worst that any rank saw; a run that goes on may be saved here."""
    bad, elapsed, preempted, *signs = worst
    seconds = -elapsed / 1000
    verdict = judge_health(parts.target, bad, seconds, suspend=preempted < 0)
    if parts.saver and not verdict.final:
        parts.saver.heed(step, seconds, signs)
    return verdict


def evaluate(parts: Parts, step: int) -> tuple[Verdict, float]:
    """Measure the quality over the whole evaluation set and judge it.

    Returns:
        The verdict, the same on every rank, and the moment at which it existed.

    Raises:
        DataError: Not every evaluation sample was seen exactly once.
    """
    log, position = parts.log, parts.position(step)
    log.emit(Kind.EVAL_START, step, **position)
    parts.heartbeat.beat("evaluating", step)
    with parts.clock.span("eval"):
        quality, seen = measure(parts)
        ready = parts.clock.now()
    if seen != parts.data.eval_samples:
        raise DataError(
            f"evaluation saw {seen} samples and data.eval_samples={parts.data.eval_samples};"
            f" data.eval_samples={seen} if that is the whole set"
        )
    epochs = parts.data.samples_after(step) / parts.data.train_samples
    verdict = judge(parts.target, quality, epochs, parts.clock.elapsed)
    quality, verdict, moment = parts.world.agree((quality, verdict, parts.clock.now()))
    log.emit(Kind.EVAL_STOP, step, time=ready, **position)
    log.emit(
        Kind.QUALITY,
        step,
        time=moment,
        value=quality,
        metric=parts.target.metric,
        target=parts.target.threshold,
        **position,
    )
    return verdict, moment


def measure(parts: Parts) -> tuple[float, int]:
    """The metric over the evaluation set, the same on every rank, and how many samples it saw."""
    metric = parts.task.metric()
    with parts.learner.eval_mode() as model:
        own = parts.data.eval(parts.world.data)
        for batch, counts in parts.learner.in_step(own, parts.spare):
            parts.heartbeat.beat("evaluating", parts.learner.steps)
            prediction = parts.task.predict(model, batch)
            if counts:
                metric.update(prediction, batch)
    return metric.compute(parts.world)
