"""What `ttt run` says at its end: what to type next, and when a time says little."""

import pytest

from ttt.cli.closing import again, coarse
from ttt.report.run import Evaluation, Run
from ttt.watcher import Target, judge, judge_health

TYPED = ["benchmark=mine", "target.max_epochs=6"]
COMMAND = "       ttt run benchmark=mine "


def run(tmp_path, *qualities, **changes):
    evaluations = tuple(Evaluation(float(at), one) for at, one in enumerate(qualities))
    values = {"benchmark": "mine", "metric": "auc", "target": 0.7, "higher_is_better": True}
    values |= {"digest": None, "trained": None, "status": "success"}
    return Run(path=tmp_path, evaluations=evaluations, **values | changes)


def given_up(**limits):
    target = Target("auc", 0.7, True, 10, 10, **({"max_epochs": 6, "max_seconds": None} | limits))
    return judge(target, 0.6, 6.0, 30.0).reason


@pytest.mark.parametrize(
    ("qualities", "changes", "threshold"),
    [
        ((0.6249, 0.6), {}, "0.62"),
        ((0.004, 0.0047), {}, "0.0047"),
        ((2.0, 1.234), {"higher_is_better": False}, "1.3"),
        ((0.0,), {}, None),
        ((), {}, None),
        ((0.6249,), {"benchmark": "resnet"}, None),
    ],
)
def test_after_a_target_that_was_not_reached_another_or_more_epochs_are_offered(
    qualities, changes, threshold, tmp_path
):
    ended = run(tmp_path, *qualities, status="aborted", reason=given_up(), **changes)
    *lower, more = again(ended, TYPED)
    assert more == f"{COMMAND}target.max_epochs=12   for more epochs"
    kept = f"{COMMAND}target.max_epochs=6 target.threshold={threshold}   for what it reached"
    assert lower == ([] if threshold is None else [kept])


@pytest.mark.parametrize(
    ("qualities", "higher", "words"),
    [
        ((5.0, 4.6, 4.8), False, "auc was best, 4.6, at evaluation 2 of 3 and got worse"),
        ((5.0, 4.8, 4.6), False, None),
        ((float("nan"), 4.6, 4.6), False, "auc was best, 4.6, at evaluation 1 of 2 and got worse"),
        ((0.5, 0.6, 0.55), True, None),  # accuracies jump
        ((0.6, 0.5, 0.55), True, "auc was best, 0.6, at evaluation 1 of 3 and got worse"),
    ],
)
@pytest.mark.parametrize("limits", [{}, {"max_epochs": 9, "max_seconds": 2.5}])
def test_more_epochs_are_not_offered_where_the_quality_got_worse(
    qualities, higher, words, limits, tmp_path
):
    ended = run(
        tmp_path, *qualities, status="aborted", reason=given_up(**limits), higher_is_better=higher
    )
    more = "more time" if limits else "more epochs"
    last = again(ended, TYPED)[-1]
    if words is None:
        assert last.endswith(f"for {more}")
    else:
        assert last == f"       {words}: {more} would hardly help; more data or a smaller model may"


def test_a_limit_in_seconds_is_doubled_and_five_seeds_follow_a_success_only(tmp_path):
    late = given_up(max_epochs=9, max_seconds=2.5)
    between = judge_health(Target("auc", 0.7, True, 10, 10, 9, 2.5), 2**62, 3.0).reason
    for reason in (late, between):
        [line] = again(run(tmp_path, status="aborted", reason=reason), ["a=b"])
        assert line == "       ttt run a=b target.max_seconds=5   for more time"
    assert (
        again(run(tmp_path, status="aborted", reason="the loss was not finite at step 3"), []) == []
    )
    for one in (run(tmp_path), None):
        [line] = again(one, ["runs=1"])
        assert line == "       ttt run runs=5   for a score over five seeds"


@pytest.mark.parametrize(
    ("qualities", "settings", "changes", "typed"),
    [
        ((0.9,), {"eval_every_epochs": 1}, {}, "target.eval_every_epochs=0.5"),
        ((0.9,), {"eval_every_epochs": None, "eval_every_samples": 90}, {}, "samples=45"),
        ((0.9,), {"eval_every_epochs": 1, "first_eval_epochs": 3}, {}, "first_eval_epochs=1.5"),
        ((0.9,), {"eval_every_samples": 9, "first_eval_samples": 90}, {}, "first_eval_samples=45"),
        ((0.9,), {"eval_every_samples": 72}, {"step_samples": 36}, "eval_every_samples=36"),
        ((0.9,), {"eval_every_samples": 72}, {"step_samples": 72}, "after the first update"),
        ((0.9,), {"eval_every_samples": 1}, {}, "after the first update"),
        (
            (0.9,),
            {"eval_every_epochs": 0.05},
            {"step_samples": 72, "train_samples": 1437},
            "after the first update",
        ),
        (
            (0.9,),
            {"eval_every_epochs": 0.1},
            {"step_samples": 72, "train_samples": 1437},
            "target.eval_every_epochs=0.05",
        ),
        ((0.6, 0.9), {"eval_every_epochs": 1}, {}, None),
        ((0.6,), {"eval_every_epochs": 1}, {"status": "aborted"}, None),
        ((0.9,), {"eval_every_epochs": 1}, {"benchmark": "resnet"}, None),
        ((0.9,), {}, {}, None),
    ],
)
def test_a_target_reached_at_the_first_evaluation_is_called_coarse(
    qualities, settings, changes, typed, tmp_path
):
    named = {f"target.{name}": value for name, value in settings.items()}
    lines = coarse(run(tmp_path, *qualities, settings=named, **changes))
    if typed is None:
        assert lines == []
    else:
        [line] = lines
        assert "raise target.threshold (it was 0.7)" in line
        assert line.endswith(typed)


def test_a_target_below_which_a_quality_must_fall_is_lowered(tmp_path):
    named = {"target.eval_every_epochs": 1}
    [line] = coarse(run(tmp_path, 0.6, settings=named, higher_is_better=False))
    assert "lower target.threshold (it was 0.7)" in line
