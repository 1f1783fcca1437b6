"""A run that was cut in two is the same run."""

import json
import signal
import time
from pathlib import Path

import pytest
import torch

from fakes import Recorder
from ranks import on_ranks
from ttt import attempt, config, stop
from ttt.build import build
from ttt.clock import Clock
from ttt.dist.world import Solo
from ttt.errors import LaunchError
from ttt.events import EventLog, Kind
from ttt.loop import Past, run
from ttt.sinks.jsonl import JsonLines
from ttt.telemetry.pulse import Pulse
from ttt.watcher import Status, Verdict

# A little of everything that has to be saved: momentum, statistics, dropout-free but shuffled data.
SETTINGS = ["seed=1", "target.threshold=1", "target.max_epochs=2", "target.check_every_steps=3"]


def configured(root: Path) -> str:
    config.register()
    return config.freeze(config.resolve(config.compose([*SETTINGS, f"data.root={root}"])))


class LostError(Exception):
    """The processes are gone."""


def conducted(world, text, folder, past=None, room_at=None, lost_at=None, every=None):
    """Qualities and weights at the end, and how it ended."""
    folder = Path(folder)
    record = Recorder()
    clock = Clock(time.time if every else lambda: 100.0)
    sinks = [JsonLines(folder / attempt.EVENTS)] if world.rank == 0 else []
    log = EventLog(clock.now, [*sinks, record])
    parts = build(config.load(text), world, clock, log, Pulse())
    parts = attempt.prepare(parts, past, folder, every)
    object.__setattr__(parts, "room_wanted", lambda: _wanted(parts, room_at))
    if lost_at:
        object.__setattr__(parts.learner, "step", _lost(parts.learner, lost_at))
    try:
        verdict = run(parts, past)
    except LostError:
        parts.saver.finish()
        verdict = Verdict(Status.RUNNING)
    if verdict.status is Status.SUSPENDED:
        stop._told[:] = [signal.SIGUSR1]
        attempt.suspend(parts, folder)
    parts.data.close()
    log.close()
    weights = [value.clone() for value in parts.learner.model.state_dict().values()]
    qualities = [event.data["value"] for event in record.events if event.kind is Kind.QUALITY]
    return verdict.status, parts.learner.steps, qualities, weights


def _wanted(parts, room_at):
    """The wish comes on the last rank only; the others learn of it."""
    last = parts.world.rank == parts.world.size - 1
    return last and room_at is not None and parts.learner.steps >= room_at


def _lost(learner, at):
    """Steps that end at that one."""
    step = learner.step

    def lost(batch):
        if learner.steps == at:
            raise LostError
        step(batch)

    return lost


@pytest.mark.parametrize("size", [1, 2])
def test_nothing_but_time_is_lost(digits, tmp_path, size):
    text = configured(digits)
    whole, cut, killed = tmp_path / "whole", tmp_path / "cut", tmp_path / "killed"
    for folder in (whole, cut, killed):
        (folder / "logs").mkdir(parents=True)

    def everywhere(*arguments):
        if size == 1:
            return [conducted(Solo(torch.device("cpu")), *arguments)]
        return on_ranks(size, conducted, *arguments)

    uncut = everywhere(text, str(whole))
    first = everywhere(text, str(cut), None, 10)
    assert {status for status, *_ in first} == {Status.SUSPENDED}
    assert {steps for _, steps, *_ in first} == {15}  # seen at 12, the answer read at 15
    past = attempt.past(cut)
    assert past is not None
    assert (past.started, past.step) == (100.0, 15)
    second = everywhere(text, str(cut), past)
    for a, b, c in zip(uncut, first, second, strict=True):
        assert a[:2] == c[:2]  # the same end after the same steps
        assert a[2] == b[2] + c[2]  # and every quality on the way
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(a[3], c[3], strict=True))
    kinds = [event.kind for event in attempt.recall(cut)]
    assert kinds.count(Kind.RUN_START) == kinds.count(Kind.RESUMED) == kinds.count(Kind.RUN_STOP)

    # Lost in the second epoch; every exchange of ranks saves, if none is still writing.
    lost = everywhere(text, str(killed), None, None, 38, 1e-6)
    past = attempt.past(killed)
    assert past is not None
    assert 0 < past.step < 38
    assert past.totals["train"] > 0  # of a block that had not ended
    again = everywhere(text, str(killed), past, None, None, 1e-6)
    for a, b, c in zip(uncut, lost, again, strict=True):
        assert (b[0], b[1]) == (Status.RUNNING, 38)
        assert a[:2] == c[:2]
        assert a[2] == (b[2] + c[2] if past.step > 23 else c[2])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(a[3], c[3], strict=True))
    saved = [event for event in attempt.recall(killed) if event.kind is Kind.CHECKPOINT]
    assert past.step in {event.data["saved_step"] for event in saved}


def write_events(folder: Path, *kinds: Kind) -> None:
    lines = [
        json.dumps({"kind": kind, "time": 10.0 + at, "step": 0, "data": {"reason": "enough"}})
        for at, kind in enumerate(kinds)
    ]
    (folder / attempt.EVENTS).write_text("\n".join(lines) + '\n{"kind": "progr')


def test_a_run_lost_without_a_checkpoint_begins_anew_with_its_clock_running(tmp_path):
    write_events(tmp_path, Kind.INIT_START, Kind.RUN_START, Kind.PROGRESS)
    assert attempt.past(tmp_path) == Past(started=11.0, accounted=11.0, step=0, totals={})


def test_what_came_before_the_clock_is_forgotten(tmp_path):
    write_events(tmp_path, Kind.INIT_START)
    (tmp_path / "result_0.txt").touch()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "rank_1.failure.json").touch()  # else the next to start would look failed
    assert attempt.past(tmp_path) is None
    assert list(tmp_path.rglob("*")) == [tmp_path / "logs"]
    assert attempt.past(tmp_path) is None


def test_a_finished_run_is_not_started_again(tmp_path):
    write_events(tmp_path, Kind.RUN_START, Kind.RUN_STOP)
    with pytest.raises(LaunchError, match=r"finished run \(enough\)"):
        attempt.past(tmp_path)
