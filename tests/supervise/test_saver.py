"""Checkpoints on the side: whole or not there, agreed by all ranks, and never the end of a run."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from fakes import FakeTime, Recorder
from ground import HUNG, environment
from processes import OUTSIDE, TWO, begin, end_all, events, workers
from ttt.clock import Clock
from ttt.distributed import checkpoint
from ttt.distributed.checkpoint import Progress
from ttt.distributed.world import Solo
from ttt.errors import LaunchError
from ttt.events import EventLog, Kind
from ttt.protocols import State
from ttt.run_folder import RunFolder
from ttt.supervise import saver
from ttt.supervise.heartbeat import Heartbeat
from ttt.supervise.saver import Saver
from warm import completed

WORLD = Solo(torch.device("cpu"))


def a_state(value: float) -> State:
    return State({"model.weight": torch.full((3,), value)}, {"steps": int(value)})


def write(folder, step, *, rank=0, ranks=1):
    where = Progress(step, ranks, 100.0 + step, {"train": 1.0 * step})
    part = checkpoint.part(a_state(step), WORLD, copy=True)
    checkpoint.write(part, where, folder, rank, total=0)


def steps(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_whole_checkpoint_counts_and_older_ones_go(tmp_path):
    assert checkpoint.find(tmp_path) is None
    for step in (3, 20, 100):  # not in the order of their names
        write(tmp_path, step)
        assert checkpoint.find(tmp_path).step == step
    assert steps(tmp_path) == ["step_100", "step_20"]  # the one before stays until this is whole
    alike, own = checkpoint.read(tmp_path, 100, WORLD)
    assert torch.equal(alike["model.weight"], torch.full((3,), 100.0))
    assert own == {"steps": 100}


def test_half_a_checkpoint_is_never_read(tmp_path):
    write(tmp_path, 5, rank=0, ranks=2)
    assert checkpoint.find(tmp_path) is None
    write(tmp_path, 5, rank=1, ranks=2)
    write(tmp_path, 9, rank=0, ranks=2)  # rank 1 was killed before it wrote, or in the middle
    (tmp_path / "step_9" / "rank_1.pt.draft").write_bytes(b"half")
    assert checkpoint.find(tmp_path).step == 5
    (tmp_path / "step_12").mkdir()
    (tmp_path / "step_12" / "progress.json").write_text('{"step": 12')
    assert checkpoint.find(tmp_path).step == 5
    write(tmp_path, 14, rank=0, ranks=2)
    assert steps(tmp_path) == ["step_14", "step_5"]


def test_a_damaged_checkpoint_is_named_with_what_to_type(tmp_path):
    write(tmp_path / "a b", 5)
    file = tmp_path / "a b" / "step_5" / "rank_0.pt"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(LaunchError, match=r"rank_0.pt is damaged; to .* rm -r '.*a b/step_5'$"):
        checkpoint.read(tmp_path / "a b", 5, WORLD)
    assert checkpoint.damaged(tmp_path / "a b", 5, WORLD) == [file]
    torch.save(torch.nn.Linear(1, 1), file)  # sound, and no checkpoint
    assert checkpoint.damaged(tmp_path / "a b", 5, WORLD) == []
    with pytest.raises(LaunchError, match=r"rank_0.pt cannot be read: .*; to .* rm -r "):
        checkpoint.read(tmp_path / "a b", 5, WORLD)


def test_one_changed_bit_is_found(tmp_path):
    write(tmp_path, 5)
    assert checkpoint.damaged(tmp_path, 5, WORLD) == []
    file = tmp_path / "step_5" / "rank_0.pt"
    weights = torch.full((3,), 5).numpy().tobytes()
    content = bytearray(file.read_bytes())
    content[content.index(weights) + 1] ^= 1
    file.write_bytes(content)
    assert checkpoint.damaged(tmp_path, 5, WORLD) == [file]


@pytest.mark.parametrize(
    "changed",
    [
        {"totals": {"train": None}},
        {"totals": {"train": float("nan")}},
        {"totals": [1.0]},
        {"time": "noon"},
        {"step": 99},
        {"step": "9"},
        {"step": 9.0},
        {"ranks": 0},
        {"ranks": None},
        {"more": 1},
    ],
)
def test_a_checkpoint_that_says_nonsense_is_passed_over(tmp_path, changed):
    write(tmp_path, 5)
    write(tmp_path, 9)
    file = tmp_path / "step_9" / "progress.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    assert checkpoint.find(tmp_path) == Progress(5, 1, 105.0, {"train": 5.0})
    assert checkpoint.unclear(tmp_path) == [file]


def test_what_all_have_alike_is_divided_among_them():
    alike = {f"model.{n}": torch.zeros(n) for n in (1, 400, 7, 300, 200, 100)} | {"lr": 0.1}
    own = {"steps": 3}
    parts = [
        checkpoint.part(State(alike, own), SimpleNamespace(rank=rank, size=3), copy=True)
        for rank in range(3)
    ]
    named = [name for part in parts for name in part["alike"]]
    assert sorted(named) == sorted(alike)  # each once
    assert all(part["own"] == own for part in parts)
    assert sorted(map(checkpoint.size_of, parts)) == [1204, 1228, 1600]  # bytes


def test_a_copy_does_not_follow_the_training():
    state = a_state(1)
    part = checkpoint.part(state, WORLD, copy=True)
    state.alike["model.weight"].add_(1)
    assert torch.equal(part["alike"]["model.weight"], torch.ones(3))


class Training:
    """A run of which a saver sees what it needs; a step takes a second."""

    def __init__(self, folder, every, sync=lambda: None):
        self.time, self.record = FakeTime(), Recorder()
        clock = Clock(self.time, sync)
        clock.start(self.time())
        self.learner = SimpleNamespace(steps=0, state=lambda: a_state(self.learner.steps))
        self.saver = Saver(
            SimpleNamespace(
                world=WORLD,
                clock=clock,
                log=EventLog(self.time, [self.record]),
                heartbeat=Heartbeat(),
                learner=self.learner,
                meter=SimpleNamespace(wait_seconds=0.0),
            ),
            folder,
            every,
        )

    def until(self, step):
        while self.learner.steps < step:
            self.time.sleep(1)
            self.learner.steps += 1
            if self.saver._thread:
                self.saver._thread.join()
            self.saver.heed(self.learner.steps, self.learner.steps, self.saver.signs())

    def saved(self):
        told = [event for event in self.record.events if event.kind is Kind.CHECKPOINT]
        return [event.data["saved_step"] for event in told]

    def warnings(self):
        told = [event for event in self.record.events if event.kind is Kind.WARNING]
        return [event.data["message"] for event in told]


def test_it_is_saved_every_so_often_and_all_is_told(tmp_path):
    training = Training(tmp_path, every=4)
    training.until(12)
    assert training.saved() == [5, 9]  # counted from the first look, after one step
    training.until(13)
    training.saver.finish()
    assert training.saved() == [5, 9, 13]
    assert checkpoint.find(RunFolder(tmp_path).checkpoint) == Progress(
        13, 1, 1013.0, {"checkpoint": 0.0}
    )
    data = training.record.last(Kind.CHECKPOINT).data
    assert (data["bytes"] > 0, data["copy_s"]) == (True, 0.0)


def test_steps_that_a_gpu_has_in_its_queue_are_no_part_of_the_copy(tmp_path, monkeypatch):
    queued, part = [3.0], checkpoint.part  # seconds of work

    def drain():
        training.time.sleep(queued.pop() if queued else 0)

    def copied(*arguments, **settings):
        drain()  # a copy to the host waits for what was queued before
        training.time.sleep(0.5)
        return part(*arguments, **settings)

    monkeypatch.setattr(checkpoint, "part", copied)
    training = Training(tmp_path, every=2, sync=drain)
    training.until(3)
    training.saver.finish()
    assert training.record.last(Kind.CHECKPOINT).data["copy_s"] == 0.5


def test_no_rank_copies_while_one_is_still_writing(tmp_path):
    training = Training(tmp_path, every=2)
    training.until(3)
    training.saver.heed(6, 6.0, [-1, 0])  # another rank is
    assert training.saved() == []
    training.saver._thread.join()
    training.saver.heed(7, 7.0, [0, 3])
    training.saver.finish()
    assert training.saved() == [3, 3]  # once more, the learner has not moved


def test_a_disk_without_room_is_a_warning_once_and_the_record_keeps_its_room(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    training = Training(tmp_path, every=2)
    training.until(9)
    assert training.saved() == []
    [warning] = training.warnings()
    assert "a checkpoint was not written, the run goes on: rank 0: No space left on dev" in warning
    training.saver._thread.join()
    assert not list(tmp_path.rglob("*.pt*"))
    monkeypatch.undo()
    training.until(12)
    training.saver.finish()
    assert training.saved() == [11]


def test_a_file_system_that_does_not_answer_holds_up_no_result(tmp_path, monkeypatch):
    answers = threading.Event()
    monkeypatch.setattr(checkpoint, "write", lambda *words, **named: answers.wait(60))
    monkeypatch.setattr(saver, "_LAST_SECONDS", 0.1)
    training = Training(tmp_path, every=1)
    training.until(2)
    training.saver.finish()
    assert training.saved() == []
    assert "rank 0: not written 0.1 s after the training" in training.warnings()[0]
    answers.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="to fill a disk, one is mounted, as root")
def test_a_disk_that_runs_full_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_SPARE_BYTES", 0)
    monkeypatch.setattr(checkpoint, "size_of", lambda content: 0)  # nobody knew
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "ttt-test", str(tmp_path)]
    subprocess.run(mount, check=True)
    try:
        training = Training(tmp_path, every=2)
        training.learner.state = lambda: State({"model.weight": torch.zeros(50_000)}, {})
        training.until(5)
        training.saver.finish()
        assert training.saved() == []
        assert len(training.warnings()) == 1
        assert not list(tmp_path.rglob("*.pt*"))  # half of one would keep the record from growing
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_killed_outright_it_goes_on_as_if_it_had_not_been(tmp_path, digits):
    """All ranks by SIGKILL between two checkpoints; and MLPerf's checker has nothing to say."""
    same = [f"data.root={digits}", "seed=4", "target.threshold=0.98", "clear_cache=fadvise"]
    slow = ["task._target_=outside_parts.Slow", "checkpoint_every_seconds=0.1"]
    process = begin(tmp_path / "cut", *same, *slow, *TWO, "target.check_every_steps=4")
    until_saved(tmp_path, process)
    family = workers(tmp_path)
    for each in family:  # else a launcher that dies first has the kernel send SIGTERM to the others
        each.suspend()
    for each in family:
        each.kill()
    process.communicate(timeout=HUNG)
    [run] = tmp_path.glob("cut/runs/*/*/seed_4")
    assert not events(run, "run_stop", whole=False)
    again = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = f"{environment()['PYTHONPATH']}:{OUTSIDE}"
    done = completed(
        [*again, "-m", "ttt.worker", str(run)],
        env=environment(PYTHONPATH=path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    uncut = begin(tmp_path / "uncut", *same, *TWO)
    _, said = uncut.communicate(timeout=HUNG)
    assert uncut.returncode == 0, said
    [whole] = tmp_path.glob("uncut/runs/*/*/seed_4")
    assert end_all(tmp_path) == []

    def qualities(folder):
        told = events(folder, "quality", whole=False)
        return {one["step"]: one["data"]["value"] for one in told}

    assert qualities(run) == qualities(whole)
    [resumed] = events(run, "resumed", whole=False)
    assert resumed["step"] > 0
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["resumed"]) == ("success", 1)
    assert summary["compliance"]["passed"]
    known = summary["train_s"] + summary["eval_s"] + summary["lost_s"]
    # Every second counts once; between the spans a busy machine takes some more.
    assert -0.5 < summary["elapsed_s"] - known < 2


def until_saved(root, process):
    """Wait for a checkpoint and some steps more."""
    deadline = time.monotonic() + HUNG
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for record in root.glob("cut/runs/*/*/*/events.jsonl"):
            told = [event["kind"] for event in events(record.parent, whole=False)]
            if "checkpoint" in told and told[::-1].index("checkpoint") > 0:
                return
        time.sleep(0.02)
    raise AssertionError("no checkpoint")
