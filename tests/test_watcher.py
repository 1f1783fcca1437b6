import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt.watcher import NEVER, Status, Target, epoch_number, judge, judge_health

TARGET = Target(
    metric="top1",
    threshold=0.75,
    higher_is_better=True,
    eval_every_samples=100,
    first_eval_samples=100,
    max_epochs=10,
    max_seconds=None,
)
ERROR = replace(TARGET, metric="error", threshold=0.25, higher_is_better=False)


@pytest.mark.parametrize(
    ("target", "quality", "status"),
    [
        (TARGET, 0.75, Status.SUCCESS),
        (TARGET, math.nextafter(0.75, 0), Status.RUNNING),
        (TARGET, math.nan, Status.RUNNING),
        (ERROR, 0.25, Status.SUCCESS),
        (ERROR, math.nextafter(0.25, 1), Status.RUNNING),
        (ERROR, math.nan, Status.RUNNING),
        (ERROR, -math.inf, Status.SUCCESS),
    ],
)
def test_equality_counts_as_reached_and_the_next_float_does_not(target, quality, status):
    assert judge(target, quality, epochs=1, seconds=1).status is status


@given(st.floats(), st.floats(0, 20), st.floats(0, 1e6))
def test_a_reached_target_is_a_success_whatever_the_limits(quality, epochs, seconds):
    verdict = judge(replace(TARGET, max_seconds=10.0), quality, epochs, seconds)
    assert (verdict.status is Status.SUCCESS) == (quality >= 0.75)
    if verdict.status is Status.ABORTED:
        assert epochs >= 10 or seconds >= 10


def test_limits_abort_and_name_themselves():
    assert "target.max_epochs=10" in judge(TARGET, 0.5, 10, 1).reason
    timed = replace(TARGET, max_seconds=5)
    verdict = judge(timed, 0.5, 1, 5)
    assert verdict.status is Status.ABORTED
    assert "target.max_seconds=5" in verdict.reason
    assert "0.5" in verdict.reason


def test_health_aborts_with_the_step_or_the_limit():
    assert judge_health(TARGET, NEVER, 1e9).status is Status.RUNNING
    broken = judge_health(TARGET, 17, 0)
    assert broken.status is Status.ABORTED
    assert broken.reason == "the loss was not finite at step 17"
    assert judge_health(replace(TARGET, max_seconds=5), NEVER, 5).status is Status.ABORTED


@given(
    samples=st.integers(1, 10_000),
    batch=st.integers(1, 500),
    every=st.integers(1, 5000),
    epochs=st.floats(0.1, 5),
)
def test_evaluation_points_are_the_first_steps_that_cover_their_samples(
    samples, batch, every, epochs
):
    target = replace(TARGET, eval_every_samples=every, first_eval_samples=every, max_epochs=epochs)
    steps = list(target.evaluation_steps(samples, lambda count: math.ceil(count / batch)))
    last = math.ceil(math.ceil(epochs * samples) / batch)
    assert steps[-1] == last
    assert steps == sorted(set(steps))
    due = {math.ceil(k * every / batch) for k in range(1, math.ceil(last * batch / every) + 1)}
    assert set(steps) == {step for step in due if step < last} | {last}


def test_a_first_evaluation_may_come_at_another_time():
    target = replace(TARGET, first_eval_samples=250, eval_every_samples=400, max_epochs=10)
    assert list(target.evaluation_steps(100, lambda count: math.ceil(count / 50))) == [5, 13, 20]


def test_epochs_are_whole_where_one_ended_within_the_last_batch():
    assert epoch_number(1472, 1408, 1437) == 1
    assert epoch_number(1437, 1373, 1437) == 1
    assert epoch_number(718, 654, 1436) == 0.5
    assert epoch_number(1501, 1437, 1437) > 1
    assert epoch_number(0, 0, 1437) == 0
