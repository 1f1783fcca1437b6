"""A run that was cut in two is the same run."""

import json
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fakes import Recorder
from ranks import on_ranks
from ttt import config, signals
from ttt.build import build
from ttt.clock import Clock
from ttt.distributed import checkpoint
from ttt.distributed.tables import ShardedTables
from ttt.distributed.world import Solo
from ttt.errors import LaunchError
from ttt.events import EventLog, Kind
from ttt.loop import ResumePoint, begin, run
from ttt.protocols import State
from ttt.run_folder import RunFolder
from ttt.schema.parallel import Mesh
from ttt.sinks.jsonl import JsonLines
from ttt.supervise import resume
from ttt.supervise.heartbeat import Heartbeat
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
    sinks = [JsonLines(RunFolder(folder).events)] if world.rank == 0 else []
    log = EventLog(clock.now, [*sinks, record])
    parts = build(config.load(text), world, clock, log, Heartbeat())
    parts, past = resume.prepare(parts, past, folder, every)
    object.__setattr__(parts, "preemption_requested", lambda: _wanted(parts, room_at))
    if lost_at:
        object.__setattr__(parts.learner, "step", _lost(parts.learner, lost_at))
    try:
        verdict = run(parts, past)
    except LostError:
        parts.saver.finish()
        verdict = Verdict(Status.RUNNING)
    if verdict.status is Status.SUSPENDED:
        signals._preempted[:] = [signal.SIGUSR1]
        resume.suspend(parts, folder)
        assert clock.handed_on  # a signal that comes now does not end the run
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
    past = resume.past(cut)
    assert past is not None
    assert (past.started, past.step) == (100.0, 15)
    second = everywhere(text, str(cut), past)
    for a, b, c in zip(uncut, first, second, strict=True):
        assert a[:2] == c[:2]  # the same end after the same steps
        assert a[2] == b[2] + c[2]  # and every quality on the way
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(a[3], c[3], strict=True))
    kinds = [event.kind for event in resume.recall(cut)]
    assert kinds.count(Kind.RUN_START) == kinds.count(Kind.RESUMED) == kinds.count(Kind.RUN_STOP)

    # Lost in the second epoch; every exchange of ranks saves, if none is still writing.
    lost = everywhere(text, str(killed), None, None, 38, 1e-6)
    past = resume.past(killed)
    assert past is not None
    assert 0 < past.step < 38
    assert past.totals["train"] > 0  # of a block that had not ended
    again = everywhere(text, str(killed), past, None, None, 1e-6)
    for a, b, c in zip(uncut, lost, again, strict=True):
        assert (b[0], b[1]) == (Status.RUNNING, 38)
        assert a[:2] == c[:2]
        assert a[2] == (b[2] + c[2] if past.step > 23 else c[2])
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(a[3], c[3], strict=True))
    saved = [event for event in resume.recall(killed) if event.kind is Kind.CHECKPOINT]
    assert past.step in {event.data["saved_step"] for event in saved}


def write_events(folder: Path, *kinds: Kind) -> None:
    lines = [
        json.dumps({"kind": kind, "time": 10.0 + at, "step": 0, "data": {"reason": "enough"}})
        for at, kind in enumerate(kinds)
    ]
    RunFolder(folder).events.write_text("\n".join(lines) + '\n{"kind": "progr')


def test_a_run_lost_without_a_checkpoint_begins_anew_with_its_clock_running(tmp_path):
    write_events(tmp_path, Kind.INIT_START, Kind.RUN_START, Kind.PROGRESS)
    assert resume.past(tmp_path) == ResumePoint(started=11.0, accounted=11.0, step=0, totals={})


def test_what_came_before_the_clock_is_forgotten(tmp_path):
    write_events(tmp_path, Kind.INIT_START)
    (tmp_path / "result_0.txt").touch()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "rank_1.failure.json").touch()  # else the next to start would look failed
    assert resume.past(tmp_path) is None
    assert list(tmp_path.rglob("*")) == [tmp_path / "logs"]
    assert resume.past(tmp_path) is None


def test_a_finished_run_is_not_started_again(tmp_path):
    write_events(tmp_path, Kind.RUN_START, Kind.RUN_STOP)
    with pytest.raises(LaunchError, match=r"finished run \(enough\)"):
        resume.past(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "123",
        "null",
        "[]",
        '{"kind": "progress"}',
        '{"kind": "news", "time": 12.0, "step": 0, "data": {}}',
        '{"kind": "run_stop", "time": "noon", "step": 0, "data": {}}',
        '{"kind": "run_stop", "time": NaN, "step": 0, "data": {}}',
        '{"kind": "run_stop", "time": 12.0, "step": "x", "data": {}}',
        '{"kind": "run_stop", "time": 12.0, "step": 0, "data": 1}',
        b"\xff",
    ],
)
def test_a_line_that_is_no_event_is_passed_over(tmp_path, line):
    write_events(tmp_path, Kind.RUN_START, Kind.PROGRESS)
    with RunFolder(tmp_path).events.open("ab") as record:
        record.write(b"\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    assert [event.kind for event in resume.recall(tmp_path)] == [Kind.RUN_START, Kind.PROGRESS]
    assert resume.past(tmp_path) == ResumePoint(started=10.0, accounted=10.0, step=0, totals={})


def test_a_record_that_lost_its_start_is_kept(tmp_path):
    write_events(tmp_path, Kind.INIT_START, Kind.PROGRESS)
    with pytest.raises(LaunchError, match="no longer shows when the clock started"):
        resume.past(tmp_path)
    assert RunFolder(tmp_path).events.exists()


def test_what_fails_before_it_goes_on_has_no_clock_to_stop():
    """A running clock would have the run written off, and its checkpoint with it."""
    clock = Clock(lambda: 100.0)

    def position(step):
        raise ZeroDivisionError

    data = SimpleNamespace(train=lambda shard, seed, *, start: iter(()))
    world = Solo(torch.device("cpu"))
    parts = SimpleNamespace(world=world, clock=clock, position=position, data=data, seed=1)
    with pytest.raises(ZeroDivisionError):
        begin(parts, ResumePoint(1.0, 2.0, 3, {}))
    assert not clock.running


class Strict:
    """A learner with one weight, which it misses in a checkpoint of another model."""

    weight = None
    model = nn.BatchNorm1d(1)

    def restore(self, state):
        self.weight = state["model.weight"].item()
        self.mean = state.get("model.running_mean")


def saved(folder, *steps):
    """A run on two ranks that was lost, with these checkpoints."""
    folder.mkdir()
    write_events(folder, Kind.RUN_START, Kind.PROGRESS)
    for step in steps:
        for rank in range(2):
            own = {"random": {"cpu": torch.get_rng_state()}, "wait_seconds": 0.0}
            state = State({"model.weight": torch.tensor(1.5 * step)}, own)
            part = checkpoint.part(state, SimpleNamespace(rank=rank, size=2), copy=True)
            where = checkpoint.Progress(step, 2, 20.0 + step, {"train": 1.0 * step})
            checkpoint.write(part, where, folder / "checkpoint", rank, total=0)
    return folder


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # of the random numbers, by far the largest
    file.write_bytes(content)


def resumed(world, folders):
    """For every folder where it goes on, with what, and what the record says; or why not."""
    found = {}
    for folder in folders:
        record, learner = Recorder(), Strict()
        past = world.agree(resume.past(folder) if world.rank == 0 else None)
        parts = SimpleNamespace(
            world=world,
            learner=learner,
            log=EventLog(lambda: 30.0, [record]),
            meter=SimpleNamespace(resume=lambda seconds: None),
        )
        try:
            _, past = resume.prepare(parts, past, folder, None)
        except LaunchError as error:
            found[folder.name] = str(error)
        else:
            said = [event.data["message"] for event in record.events]
            found[folder.name] = (past, learner.weight, said)
    return found


def test_ranks_agree_to_pass_over_what_is_damaged(tmp_path):
    one, both, unclear, other = (
        saved(tmp_path / name, 3, 9) for name in ("one", "both", "unclear", "other")
    )
    flip(one / "checkpoint" / "step_9" / "rank_1.pt")
    flip(both / "checkpoint" / "step_9" / "rank_0.pt")
    flip(both / "checkpoint" / "step_3" / "rank_1.pt")
    file = unclear / "checkpoint" / "step_9" / "progress.json"
    file.write_text(file.read_text().replace("9.0", "null"))
    of_another = {"alike": {}, "own": {"param_groups.x.lr": 0.1}}
    torch.save(of_another, other / "checkpoint" / "step_9" / "rank_1.pt")

    first, second = on_ranks(2, resumed, [one, both, unclear, other])
    for found in (first, second):
        assert found["one"][:2] == (ResumePoint(10.0, 23.0, 3, {"train": 3.0}), 4.5)
        assert found["both"][:2] == (ResumePoint(10.0, 10.0, 0, {}), None)
        assert found["unclear"][:2] == (ResumePoint(10.0, 23.0, 3, {"train": 3.0}), 4.5)
        assert "step_9 does not fit this run" in found["other"]
        assert found["other"].endswith(f"rm -r {other}/checkpoint/step_9")
    of_one, of_both = one / "checkpoint" / "step_9", both / "checkpoint"
    assert first["one"][2] == [f"{of_one / 'rank_1.pt'} is damaged: the run goes on from step 3"]
    assert first["both"][2] == [
        f"{of_both / 'step_9' / 'rank_0.pt'} is damaged: the run begins anew",
        f"{of_both / 'step_3' / 'rank_1.pt'} is damaged: the run begins anew",
    ]
    assert first["unclear"][2] == [f"{file} is damaged: the run goes on from step 3"]
    assert not of_one.exists()  # a file of it could count among new ones
    assert sorted(path.name for path in (other / "checkpoint").iterdir()) == ["step_3", "step_9"]


def of_shards(folder, ranks, tensor):
    """A run that was lost, each data shard with random numbers and statistics of its own."""
    folder.mkdir()
    write_events(folder, Kind.RUN_START, Kind.PROGRESS)
    for rank in range(ranks):
        shard = rank // tensor
        torch.manual_seed(shard)
        own = {"random": {"cpu": torch.get_rng_state()}, "wait_seconds": 0.0}
        own["model.running_mean"] = torch.tensor([1.0 + 2 * shard])
        state = State({"model.weight": torch.tensor(1.5)}, own)
        part = checkpoint.part(state, SimpleNamespace(rank=rank, size=ranks), copy=True)
        where = checkpoint.Progress(3, ranks, 20.0, {}, tensor)
        checkpoint.write(part, where, folder / "checkpoint", rank, total=0)


def goes_on(world, folder):
    """What is drawn next, the statistics, and the warnings."""
    record, learner = Recorder(), Strict()
    parts = SimpleNamespace(
        world=world,
        learner=learner,
        seed=7,
        log=EventLog(lambda: 30.0, [record]),
        meter=SimpleNamespace(resume=lambda seconds: None),
    )
    past = world.agree(resume.past(folder) if world.rank == 0 else None)
    resume.prepare(parts, past, folder, None)
    said = [event.data["message"] for event in record.events]
    return torch.rand(1).item(), learner.mean.item(), said


def drawn(seed):
    torch.manual_seed(seed)
    return torch.rand(1).item()


@pytest.mark.parametrize("before", [(2, 1), (4, 2)])
@pytest.mark.parametrize("after", [Mesh(shard=2), Mesh(replicate=2, tensor=2)])
def test_as_many_data_shards_draw_what_they_would_have(tmp_path, before, after):
    of_shards(tmp_path / "run", *before)
    found = on_ranks(after.processes, goes_on, tmp_path / "run", mesh=after)
    for rank, each in enumerate(found):
        shard = after.data_shard(rank)
        assert each == (drawn(shard), 1.0 + 2 * shard, [])


@pytest.mark.parametrize("after", [Mesh(tensor=2), Mesh()])
def test_another_number_of_data_shards_agrees_on_numbers_and_statistics(tmp_path, after):
    """Of two shards that become one: a tensor group with two streams would drop out other units."""
    of_shards(tmp_path / "run", 2, 1)
    answers = on_ranks(after.processes, goes_on, tmp_path / "run", mesh=after)
    numbers, means, said = zip(*answers, strict=True)
    assert len(set(numbers)) == 1
    assert numbers[0] not in (drawn(0), drawn(1))
    assert set(means) == {2.0}  # of 1 and 3: by which the model was judged
    assert all("from step 3 on the run draws other random numbers" in one[0] for one in said)


def test_tables_that_are_spread_stay_with_as_many_processes(tmp_path, monkeypatch):
    of_shards(tmp_path / "run", 2, 1)
    tables = ShardedTables.__new__(ShardedTables)
    nn.Module.__init__(tables)
    monkeypatch.setattr(Strict, "model", nn.Sequential(tables))
    with pytest.raises(LaunchError, match=r"2 processes saved tables .* 1 are here; .*processes=2"):
        goes_on(Solo(torch.device("cpu")), tmp_path / "run")
