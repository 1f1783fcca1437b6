"""The watcher: decides, from numbers alone, when a run is over. Pure; no clock, no ranks, no I/O.

One comparison in float64 decides. Reaching the threshold exactly counts as reached, as in the
MLPerf reference implementations. Rank 0's verdict is then agreed on by all (`World.agree`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

NEVER = 2**62  # a step no run takes


class Status(StrEnum):
    """How a run stands. MLPerf's `status` of run_stop knows the last two.

    SUSPENDED ends the processes, not the run: the clock goes on until it is resumed and finished.
    """

    RUNNING = "running"
    SUSPENDED = "suspended"
    SUCCESS = "success"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Target:
    """The quality to reach, how often to look, and when to give up.

    Attributes:
        metric: Name of the quality, e.g. "top1"; a fraction where it is one, never a percentage.
        threshold: The value to reach.
        higher_is_better: False for error rates and losses.
        eval_every_samples: Training samples between evaluations.
        first_eval_samples: Training samples before the first evaluation.
        max_epochs: Give up after this many passes over the training set.
        max_seconds: Give up after this long on the clock; None for no limit.
    """

    metric: str
    threshold: float
    higher_is_better: bool
    eval_every_samples: int
    first_eval_samples: int
    max_epochs: float
    max_seconds: float | None

    def reached_by(self, quality: float) -> bool:
        """Whether this quality is good enough; NaN never is."""
        if self.higher_is_better:
            return quality >= self.threshold
        return quality <= self.threshold

    def evaluation_steps(self, train_samples: int, steps_to: Callable[[int], int]) -> Iterator[int]:
        """The steps after which to evaluate; the last is where `max_epochs` ends.

        A point that falls within a batch moves to that batch's end, as the MLPerf rules allow
        ("may be rounded up to the nearest batch size").

        Args:
            train_samples: Samples in one epoch.
            steps_to: Updates it takes to train on this many samples, rounded up.
        """
        end = math.ceil(self.max_epochs * train_samples)
        samples, previous = self.first_eval_samples, 0
        while samples < end:
            step = steps_to(samples)
            if step > previous:
                yield step
            samples, previous = samples + self.eval_every_samples, step
        if (last := steps_to(end)) > previous:
            yield last


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the sentence that explains it."""

    status: Status
    reason: str = ""

    @property
    def final(self) -> bool:
        """Whether these processes are done training."""
        return self.status is not Status.RUNNING


RUNNING = Verdict(Status.RUNNING)
SUSPENDED = Verdict(Status.SUSPENDED)


def judge(target: Target, quality: float, epochs: float, seconds: float) -> Verdict:
    """Decide after an evaluation.

    Args:
        target: What was asked for.
        quality: The metric, computed over the whole evaluation set.
        epochs: Passes over the training set so far.
        seconds: Time on the clock when the quality became known.
    """
    sign = ">=" if target.higher_is_better else "<="
    if target.reached_by(quality):
        return Verdict(
            Status.SUCCESS, f"{target.metric} {quality:.5g} {sign} {target.threshold:.5g}"
        )
    if epochs >= target.max_epochs:
        limit = f"target.max_epochs={target.max_epochs:g}"
    elif target.max_seconds is not None and seconds >= target.max_seconds:
        limit = f"target.max_seconds={target.max_seconds:g}"
    else:
        return RUNNING
    return Verdict(
        Status.ABORTED,
        f"{limit} passed at {target.metric} {quality:.5g}, not {sign} {target.threshold:.5g}",
    )


def judge_health(
    target: Target, first_bad_step: int, seconds: float, *, suspend: bool = False
) -> Verdict:
    """Decide between evaluations, from what can be known without one.

    Args:
        target: What was asked for.
        first_bad_step: First step with a loss that is not finite on any rank; NEVER if none.
        seconds: Time on the clock.
        suspend: Whether any rank was asked to make room.
    """
    if first_bad_step < NEVER:
        return Verdict(Status.ABORTED, f"the loss was not finite at step {first_bad_step}")
    if target.max_seconds is not None and seconds >= target.max_seconds:
        return Verdict(Status.ABORTED, f"target.max_seconds={target.max_seconds:g} passed")
    return SUSPENDED if suspend else RUNNING


def epoch_number(samples: int, before: int, train_samples: int) -> float:
    """Epochs as a log reports them: whole where an epoch ended within the last batch.

    Args:
        samples: Trained on so far.
        before: The same without the last batch.
        train_samples: Samples in one epoch.
    """
    whole = samples // train_samples
    return whole if whole > before // train_samples else samples / train_samples
