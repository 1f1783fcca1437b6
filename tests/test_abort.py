"""The record of a run that is given up ends, and the data set is not asked again to end it."""

import os
from dataclasses import dataclass, replace

import pytest

from fakes import FakeData
from tests.test_loop import parts
from ttt.errors import DataError, LaunchError
from ttt.events import Kind
from ttt.loop import run
from ttt.signals import Interrupted
from ttt.supervise.guard import Guard
from ttt.supervise.hang import Stuck


@dataclass
class Unreadable(FakeData):
    """Batches of no fixed size, of a set that is gone from some step on."""

    steps_per_epoch: None = None
    fails_at: int = 0
    gone: bool = False
    asked: int = 0

    def samples_after(self, step: int) -> int:
        self.asked += 1
        if self.gone:
            raise DataError("train.src.npy is missing")
        return super().samples_after(step)

    def train(self, shard, seed, *, start=0):
        for number, batch in enumerate(super().train(shard, seed, start=start)):
            if number == self.fails_at:
                self.gone = True
                raise DataError("train.src.npy is missing")
            yield batch


def begun(fails_at):
    """A run that ended with an error: its record, its guard, and the error."""
    record, made = parts([0.5])
    made = replace(made, data=Unreadable(made.data.time, fails_at=fails_at))
    guard = Guard(None, None)
    guard._log = made.log
    guard.protect(made)
    with pytest.raises(DataError) as caught:
        run(made)
    made.data.asked = 0
    return record, guard, caught.value


def ended(record, guard):
    """What the record says of the end; the data set was not asked for it."""
    [stop] = [event for event in record.events if event.kind is Kind.RUN_STOP]
    assert guard._parts.data.asked == 0
    assert not guard._parts.clock.running
    assert guard._parts.clock.elapsed == stop.time - record.last(Kind.RUN_START).time
    return stop.data["status"], stop.step, stop.data["samples"], stop.data["reason"]


@pytest.mark.parametrize(
    ("fails_at", "reached"),
    [(0, (0, 0)), (3, (2, 20)), (6, (6, 60))],  # its progress is recorded every 2 steps
)
def test_an_error_ends_the_record_where_it_was_last_seen(fails_at, reached):
    record, guard, error = begun(fails_at)
    guard.abort(error)
    assert ended(record, guard) == ("aborted", *reached, "train.src.npy is missing")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LaunchError("a node is gone"), "a node is gone"),
        (Interrupted(15), "stopped by SIGTERM"),
        (ZeroDivisionError("a defect"), "ZeroDivisionError: a defect"),
    ],
)
def test_so_does_whatever_else_ends_it(error, reason):
    record, guard, _ = begun(3)
    guard.abort(error)
    assert ended(record, guard) == ("aborted", 2, 20, reason)


def test_so_does_the_watchdog_while_the_main_thread_hangs_in_the_data(monkeypatch):
    record, guard, _ = begun(3)
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    guard.hang(Stuck(0, "n1", "is stuck for 300 s waiting for data at step 3", 1))
    reason = "rank 0 on n1 is stuck for 300 s waiting for data at step 3"
    assert ended(record, guard) == ("aborted", 2, 20, reason)
    assert left == [5]
    assert record.closed


def test_a_run_that_was_over_is_not_ended_again():
    record, guard, error = begun(3)
    guard.abort(error)
    guard.abort(error)
    assert ended(record, guard)[0] == "aborted"
