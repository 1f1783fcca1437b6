"""How a process leaves when something goes wrong: for good, or so that the run can go on."""

import errno
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fakes import FakeTime, Recorder
from ttt import signals
from ttt.clock import Clock
from ttt.events import EventLog, Kind
from ttt.launch.job import outcome
from ttt.run_folder import RunFolder
from ttt.signals import Interrupted
from ttt.supervise import failure
from ttt.supervise.guard import Guard
from ttt.supervise.hang import Stuck
from ttt.supervise.heartbeat import Heartbeat, Patience

TERM, INT = Interrupted(signal.SIGTERM), Interrupted(signal.SIGINT)
LOST = RuntimeError("[gloo] Connection closed by peer")
STUCK = Stuck(1, "n2", "is stuck for 4 s", teller=0)


@pytest.fixture
def guard(tmp_path, monkeypatch):
    """Rank 0 of a run whose clock has run for ten seconds; its job may go back to the queue."""
    monkeypatch.setenv(signals.REQUEUE, "1")
    (tmp_path / "logs").mkdir()
    record, time = Recorder(), FakeTime()
    guard = Guard(None, tmp_path)
    guard.admit(tmp_path)
    clock = Clock(time)
    clock.start(time())
    time.sleep(10)
    guard._log = EventLog(time, [record])
    position = {"epoch": 0.5, "samples": 70}
    parts = SimpleNamespace(clock=clock, log=guard._log, reached=lambda: (7, position))
    guard.protect(parts)
    guard.record, guard.clock = record, clock
    yield guard
    os.close(guard.output.stdout)
    os.close(guard.output.stderr)


def ended(guard):
    """The one event it left, its reason, and what says that the run goes on."""
    [event] = guard.record.events
    marker = RunFolder(guard.folder).suspended
    assert guard.clock.running == (event.kind is Kind.SUSPENDED)
    return event.kind, event.data["reason"], marker.read_text() if marker.exists() else None


def test_what_comes_from_outside_suspends_a_run_that_may_be_requeued(guard):
    guard.abort(TERM)
    reason = "stopped by SIGTERM"
    assert ended(guard) == (Kind.SUSPENDED, reason, reason + "\n")
    assert guard.record.events[0].data["samples"] == 70


def test_a_lost_peer_suspends_it_unless_that_one_failed_by_itself(guard):
    guard.abort(LOST)
    reason = "another process of the run is gone"
    assert ended(guard) == (Kind.SUSPENDED, reason, reason + "\n")


def test_a_peer_with_an_error_ends_it(guard):
    (guard.folder / "checkpoint" / "step_5").mkdir(parents=True)
    failure.write(failure.hang(1, "n2", "a defect"), guard.logs, by=1)
    guard.abort(LOST)
    assert ended(guard) == (Kind.RUN_STOP, "another process of the run is gone", None)
    assert not (guard.folder / "checkpoint").exists()


@pytest.mark.parametrize(
    ("error", "requeue"),
    [(TERM, False), (LOST, False), (INT, True), (ZeroDivisionError("a defect"), True)],
)
def test_all_else_ends_it(guard, monkeypatch, error, requeue):
    if not requeue:
        monkeypatch.delenv(signals.REQUEUE)
    guard.abort(error)
    kind, _, marker = ended(guard)
    assert (kind, marker) == (Kind.RUN_STOP, None)


def test_the_launcher_has_the_reason_before_the_record_ends(guard, monkeypatch):
    """A launcher that ends this process meanwhile would else see a run that missed its target."""
    monkeypatch.delenv(signals.REQUEUE)
    seen = []
    monkeypatch.setattr(guard.record, "write", lambda event: seen.append(failure.read(guard.logs)))
    guard.abort(LOST)
    [[left]] = seen
    assert not left.primary
    assert "closed by peer" in left.text


def test_on_a_full_disk_the_last_failure_counts(guard, monkeypatch):
    failure.reserve(guard.logs, 0)
    monkeypatch.setattr(os, "replace", fail_on_a_full_disk)
    guard.abort(ZeroDivisionError("a long reason " * 20))
    guard.fail(Interrupted(signal.SIGTERM))
    [left] = failure.read(guard.logs)
    assert left.text == "stopped by SIGTERM"


def fail_on_a_full_disk(*paths):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_before_its_clock_runs_it_only_leaves_word(guard):
    guard.protect(None)
    guard.abort(TERM)
    assert guard.record.events == []
    assert RunFolder(guard.folder).suspended.read_text() == "stopped by SIGTERM\n"


def test_a_folder_that_may_be_another_jobs_is_left_alone(guard):
    guard.protect(None)
    guard._admitted = False
    guard.abort(TERM)
    assert not RunFolder(guard.folder).suspended.exists()


def test_a_main_thread_that_does_not_come_back_changes_nothing(guard):
    guard.last_words(signal.SIGTERM)
    guard.abort(TERM)  # it does come back after all
    assert ended(guard)[0] is Kind.SUSPENDED


@pytest.mark.parametrize(("gone", "kind"), [(True, Kind.SUSPENDED), (False, Kind.RUN_STOP)])
def test_a_silent_node_suspends_it_and_a_hang_ends_it(guard, monkeypatch, gone, kind):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    guard.hang(replace(STUCK, gone=gone))
    assert ended(guard)[0] is kind
    [told] = failure.read(guard.logs)
    assert told.primary is not gone  # slurm/job.sbatch looks for it


def fail(*arguments, **names):
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "place", ["failure.write", "dist_world.flight_record", "EventLog.close", "EventLog.emit", None]
)
def test_whatever_fails_a_rank_that_hangs_says_the_rest_and_ends(guard, monkeypatch, capfd, place):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr("ttt.supervise.guard.dist_world.flight_record", lambda: b"of NCCL")
    if place:
        monkeypatch.setattr(f"ttt.supervise.guard.{place}", fail)
    guard.hang(STUCK)
    assert left == [5]
    assert ("on purpose" in capfd.readouterr().err) == bool(place)
    done = {
        "failure.write": bool(failure.read(guard.logs)),
        "EventLog.emit": bool(guard.record.events),
        "EventLog.close": guard.record.closed,
        "dist_world.flight_record": (guard.logs / "rank_0.nccl_trace").exists(),
    }
    assert [name for name, is_done in done.items() if not is_done] == ([place] if place else [])


def test_a_full_disk_does_not_keep_a_rank_that_hangs(guard, monkeypatch):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr("ttt.supervise.guard.dist_world.flight_record", lambda: b"of NCCL")
    (guard.logs / "rank_0.nccl_trace").mkdir()  # cannot be written
    monkeypatch.setattr("sys.stderr", None)  # and nor can it be said
    guard.hang(STUCK)
    assert left == [5]


def test_of_a_rank_that_has_ended_its_launcher_says_why(guard, monkeypatch):
    monkeypatch.delenv(signals.REQUEUE)
    monkeypatch.setattr(os, "_exit", lambda code: None)
    guard.hang(replace(STUCK, gone=True, ended=True))
    assert ended(guard)[0] is Kind.RUN_STOP
    [told] = failure.read(guard.logs)
    assert not told.primary


def test_the_last_words_close_the_log_though_the_record_cannot_be_ended(guard, monkeypatch):
    monkeypatch.setattr(guard._log, "emit", fail)
    guard.last_words(signal.SIGTERM)
    assert guard.record.closed


def test_a_main_thread_that_ends_by_itself_is_not_taken_for_one_that_waits(guard):
    assert not guard.heartbeat.leaving
    guard.abort(LOST)
    assert guard.heartbeat.leaving


def test_a_time_out_that_torch_does_not_take_does_not_end_the_watch():
    world = SimpleNamespace(expect_answers_within=fail)
    timeout = SimpleNamespace(init_seconds=1800, step_seconds=300)
    patience = Patience(heartbeat := Heartbeat(), world, timeout)
    assert patience() == 1800
    heartbeat.steady = True
    assert patience() == 300


@pytest.mark.parametrize("requeue", [True, False])
@pytest.mark.parametrize("error", [TERM, INT, LOST])
def test_a_run_that_others_go_on_with_is_not_ended(guard, monkeypatch, error, requeue):
    """srun and torchrun end the ranks that are left, as soon as one has ended with 75."""
    if not requeue:
        monkeypatch.delenv(signals.REQUEUE)
    marker = RunFolder(guard.folder).suspended
    (guard.folder / "checkpoint").mkdir()
    guard.clock.hand_on()  # the mark comes right after it
    guard.abort(error)
    guard.last_words(signal.SIGTERM)
    assert guard.fail(error) == 75
    assert guard.record.events == []
    assert marker.read_text() == ""  # slurm/job.sbatch: a checkpoint was left
    assert failure.read(guard.logs) == []
    assert (guard.folder / "checkpoint").exists()
    assert outcome(guard.folder) == 75


def test_a_defect_after_the_run_was_handed_on_is_told_and_ends_nothing(guard):
    guard.clock.hand_on()
    error = ZeroDivisionError("a defect")
    guard.abort(error)
    assert guard.fail(error) == 5
    assert guard.record.events == []
    [told] = failure.read(guard.logs)
    assert told.primary


def test_a_run_that_has_stopped_is_not_called_suspended(guard):
    guard.clock.stop(11.0)  # its target was missed; a signal comes while files are written
    guard.abort(TERM)
    assert not RunFolder(guard.folder).suspended.exists()
    assert outcome(guard.folder) != 75


def test_the_last_words_leave_a_reason_before_the_record_ends(guard, monkeypatch):
    """A summary without a failure would be that of a run which missed its target: exit code 3."""
    seen = []
    monkeypatch.setattr(guard.record, "write", lambda event: seen.append(failure.read(guard.logs)))
    guard.last_words(signal.SIGHUP)
    (guard.folder / "summary.json").write_text('{"status": "aborted"}')
    [[left]] = seen
    assert (left.text, left.primary) == ("stopped by SIGHUP", False)
    assert outcome(guard.folder) is None


def test_a_record_that_is_closed_is_not_ended_again(guard):
    """A suspended run keeps its clock running and its checkpoint, whatever comes later."""
    (guard.folder / "checkpoint").mkdir()
    with guard.recording(guard._log):
        pass
    assert guard.record.closed
    guard.last_words(signal.SIGINT)
    assert guard.clock.running
    assert (guard.folder / "checkpoint").exists()


def test_an_error_while_recording_is_in_the_record_before_it_is_closed(guard):
    with pytest.raises(ZeroDivisionError), guard.recording(guard._log):
        raise ZeroDivisionError("a defect")
    assert ended(guard)[:2] == (Kind.RUN_STOP, "ZeroDivisionError: a defect")
    assert guard.record.closed


def test_a_signal_does_not_cut_off_the_record_of_an_end(guard, monkeypatch):
    """A launcher that knows of the failed peer stops this process while it writes."""
    monkeypatch.delenv(signals.REQUEUE)
    monkeypatch.setattr(signals, "_stopped", [])
    monkeypatch.setattr(signals, "ignore_signals", lambda: None)
    monkeypatch.setattr(failure, "write", lambda *_, **__: signals.interrupt(signal.SIGTERM, None))
    with pytest.raises(RuntimeError, match="closed by peer"), guard.recording(guard._log):
        raise LOST
    assert signals._stopped == [signal.SIGTERM]
    assert ended(guard) == (Kind.RUN_STOP, "another process of the run is gone", None)
