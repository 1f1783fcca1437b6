import pytest

from fakes import FakeData, FakeLearner, FakeTask, FakeTime, Recorder
from ttt.clock import Clock
from ttt.distributed.world import Solo
from ttt.errors import DataError
from ttt.events import EventLog, Kind
from ttt.loop import Parts, ResumePoint, run
from ttt.supervise.heartbeat import Heartbeat
from ttt.telemetry.timing import Meter
from ttt.watcher import Status, Target

import torch  # isort: skip

CPU = torch.device("cpu")


class World(Solo):
    """A single process that notes when the others would have been waited for."""

    def __init__(self, record):
        super().__init__(CPU)
        self.record = record

    def barrier(self):
        self.record.barriers.append(self.record.kinds())


class Noting(Recorder):
    def __init__(self):
        super().__init__()
        self.barriers = []


def parts(
    qualities, *, max_seconds=None, bad_step=None, threshold=0.75, check_every=2, room_at=None
):
    time, record = FakeTime(), Noting()
    learner = FakeLearner(time) if bad_step is None else FakeLearner(time, bad_step)
    target = Target("top1", threshold, True, 100, 100, 5, max_seconds)
    return record, Parts(
        task=FakeTask(qualities),
        learner=learner,
        data=FakeData(time),
        target=target,
        world=World(record),
        clock=Clock(time),
        log=EventLog(time, [record]),
        meter=Meter(CPU),
        heartbeat=Heartbeat(),
        seed=1,
        check_every=check_every,
        preemption_requested=lambda: room_at is not None and learner.steps >= room_at,
    )


def test_events_come_in_the_order_of_a_run():
    record, made = parts([0.5, 0.8])
    assert run(made).status is Status.SUCCESS
    block = [Kind.BLOCK_START, Kind.BLOCK_STOP, Kind.EVAL_START, Kind.EVAL_STOP, Kind.QUALITY]
    told = [kind for kind in record.kinds() if kind is not Kind.PROGRESS]
    assert told == [Kind.RUN_START, *block, *block, Kind.RUN_STOP]


def test_nobody_reads_before_the_clock_runs_and_everybody_is_there():
    record, made = parts([0.8])
    reads = made.data.reads
    made.world.barrier = lambda: record.barriers.append((record.kinds(), list(reads)))
    run(made)
    assert record.barriers == [([], []), ([Kind.RUN_START], [])]


def test_the_clock_stops_when_the_verdict_exists():
    record, made = parts([0.5, 0.8])
    run(made)
    stop = record.last(Kind.RUN_STOP)
    # 2 x 10 steps of a second, 2 evaluations of two: nothing after the verdict counts.
    assert stop.time - record.last(Kind.RUN_START).time == 24
    assert stop.time == record.last(Kind.QUALITY).time
    assert made.clock.elapsed == 24
    assert made.clock.total("train") == 20
    assert made.clock.total("eval") == 4
    assert stop.step == 20
    assert stop.data["samples"] == 200
    assert stop.data["epoch"] == 2


def test_an_unreached_target_aborts_at_max_epochs():
    record, made = parts([0.1] * 5)
    verdict = run(made)
    assert verdict.status is Status.ABORTED
    assert "max_epochs=5" in record.last(Kind.RUN_STOP).data["reason"]
    assert made.learner.steps == 50


def test_a_broken_loss_aborts_within_the_block_and_names_its_step():
    record, made = parts([0.1] * 5, bad_step=13)
    assert run(made).status is Status.ABORTED
    assert record.last(Kind.RUN_STOP).data["reason"] == "the loss was not finite at step 13"
    assert made.learner.steps < 20
    assert made.task.evaluations == 1


def test_a_broken_loss_in_the_last_steps_is_seen_before_the_evaluation():
    _, made = parts([0.9], bad_step=9)
    assert run(made).status is Status.ABORTED
    assert made.task.evaluations == 0


def test_time_is_up_between_evaluations_too():
    record, made = parts([0.1] * 5, max_seconds=15)
    assert run(made).status is Status.ABORTED
    assert "max_seconds=15" in record.last(Kind.RUN_STOP).data["reason"]
    assert made.learner.steps < 20


def test_an_evaluation_that_missed_samples_is_an_error():
    _, made = parts([0.8])
    made.data.eval = lambda shard: iter(range(9))
    with pytest.raises(DataError, match=r"evaluation saw 9 samples and data.eval_samples=10"):
        run(made)


def test_told_to_make_room_it_leaves_with_the_clock_running():
    record, made = parts([0.5, 0.8], room_at=13)
    assert run(made).status is Status.SUSPENDED
    assert made.learner.steps == 16  # seen at 14, the answer read one exchange later
    assert made.clock.running
    assert record.kinds()[-1] is Kind.BLOCK_STOP


def test_a_run_goes_on_where_it_was_left_and_the_time_between_counts():
    record, made = parts([0.8])
    past = ResumePoint(started=400.0, accounted=700.0, step=16, totals={"train": 16.0, "eval": 2.0})
    made.learner.steps = 16
    assert run(made, past).status is Status.SUCCESS
    told = [kind for kind in record.kinds() if kind is not Kind.PROGRESS]
    block = [Kind.BLOCK_START, Kind.BLOCK_STOP, Kind.EVAL_START, Kind.EVAL_STOP, Kind.QUALITY]
    assert told == [Kind.RESUMED, *block, Kind.RUN_STOP]
    resumed = record.last(Kind.RESUMED)
    assert resumed.step == 16
    assert resumed.data["lost_s"] == 300.0
    assert made.learner.steps == 20  # the block that was cut is finished
    assert made.clock.elapsed == 600.0 + 4 + 2
    assert made.clock.totals == {"train": 20.0, "eval": 4.0}


def test_a_run_left_right_before_an_evaluation_goes_on_with_it():
    record, made = parts([0.8])
    made.learner.steps = 20
    run(made, ResumePoint(started=900.0, accounted=950.0, step=20, totals={}))
    assert record.kinds()[:3] == [Kind.RESUMED, Kind.EVAL_START, Kind.EVAL_STOP]
    assert made.learner.steps == 20


def test_every_turn_leaves_a_beat():
    _, made = parts([0.5, 0.8])
    run(made)
    # Twenty steps, each with a batch and an update; two evaluations of ten batches.
    assert made.heartbeat.beats == 20 * 2 + 2 * (1 + 10)
