"""How a process leaves when something goes wrong: for good, or so that the run can go on."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fakes import FakeTime, Recorder
from ttt import failure, stop
from ttt.clock import Clock
from ttt.events import EventLog, Kind
from ttt.seat import Seat
from ttt.stop import Interrupted
from ttt.telemetry.pulse import Stuck

TERM, INT = Interrupted(signal.SIGTERM), Interrupted(signal.SIGINT)
LOST = RuntimeError("[gloo] Connection closed by peer")
STUCK = Stuck(1, "n2", "is stuck for 4 s", teller=0)


@pytest.fixture
def seat(tmp_path, monkeypatch):
    """Rank 0 of a run whose clock has run for ten seconds; its job may go back to the queue."""
    monkeypatch.setenv(stop.REQUEUE, "1")
    (tmp_path / "logs").mkdir()
    record, time = Recorder(), FakeTime()
    seat = Seat(None, tmp_path)
    seat.joined = True
    clock = Clock(time)
    clock.start(time())
    time.sleep(10)
    seat.log = EventLog(time, [record])
    position = {"epoch": 0.5, "samples": 70}
    seat.parts = SimpleNamespace(clock=clock, log=seat.log, reached=lambda: (7, position))
    seat.record = record
    yield seat
    for copy in seat.terminal:
        os.close(copy)


def ended(seat):
    """The one event it left, its reason, and what says that the run goes on."""
    [event] = seat.record.events
    marker = seat.folder / stop.SUSPENDED
    assert seat.parts.clock.running == (event.kind is Kind.SUSPENDED)
    return event.kind, event.data["reason"], marker.read_text() if marker.exists() else None


def test_what_comes_from_outside_suspends_a_run_that_may_be_requeued(seat):
    seat.abort(TERM)
    reason = "stopped by SIGTERM"
    assert ended(seat) == (Kind.SUSPENDED, reason, reason + "\n")
    assert seat.record.events[0].data["samples"] == 70


def test_a_lost_peer_suspends_it_unless_that_one_failed_by_itself(seat):
    seat.abort(LOST)
    reason = "another process of the run is gone"
    assert ended(seat) == (Kind.SUSPENDED, reason, reason + "\n")


def test_a_peer_with_an_error_ends_it(seat):
    (seat.folder / "checkpoint" / "step_5").mkdir(parents=True)
    failure.write(failure.hang(1, "n2", "a defect"), seat.logs, by=1)
    seat.abort(LOST)
    assert ended(seat) == (Kind.RUN_STOP, "another process of the run is gone", None)
    assert not (seat.folder / "checkpoint").exists()


@pytest.mark.parametrize(
    ("error", "requeue"),
    [(TERM, False), (LOST, False), (INT, True), (ZeroDivisionError("a defect"), True)],
)
def test_all_else_ends_it(seat, monkeypatch, error, requeue):
    if not requeue:
        monkeypatch.delenv(stop.REQUEUE)
    seat.abort(error)
    kind, _, marker = ended(seat)
    assert (kind, marker) == (Kind.RUN_STOP, None)


def test_before_its_clock_runs_it_only_leaves_word(seat):
    seat.parts = None
    seat.abort(TERM)
    assert seat.record.events == []
    assert (seat.folder / stop.SUSPENDED).read_text() == "stopped by SIGTERM\n"


def test_a_folder_that_may_be_another_jobs_is_left_alone(seat):
    seat.parts, seat.joined = None, False
    seat.abort(TERM)
    assert not (seat.folder / stop.SUSPENDED).exists()


def test_a_main_thread_that_does_not_come_back_changes_nothing(seat):
    seat.last_words(signal.SIGTERM)
    seat.abort(TERM)  # it does come back after all
    assert ended(seat)[0] is Kind.SUSPENDED


@pytest.mark.parametrize(("gone", "kind"), [(True, Kind.SUSPENDED), (False, Kind.RUN_STOP)])
def test_a_silent_node_suspends_it_and_a_hang_ends_it(seat, monkeypatch, gone, kind):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    seat.hang(replace(STUCK, gone=gone))
    assert ended(seat)[0] is kind
    [told] = failure.read(seat.logs)
    assert told.primary is not gone  # slurm/job.sbatch looks for it
