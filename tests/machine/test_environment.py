import importlib.metadata
import itertools
import json
import stat
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import ttt
from ttt.distributed.world import Solo
from ttt.machine import description, environment, page_cache
from ttt.schema.run import RunConfig
from ttt.schema.tracking import TrackingConfig
from ttt.telemetry.timing import BlockTimes, Meter

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path):
    """A few megabytes that were just written, so that they are in memory."""
    root = tmp_path / "set"
    for number in range(3):
        path = root / "train" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1_000_000)
    (root / "empty.bin").write_bytes(b"")
    return root


def test_the_cache_is_cleared_with_evidence(data):
    evidence = page_cache.clear(data, "fadvise")
    assert evidence.method == "fadvise"
    assert evidence.files == evidence.examined == 4
    assert evidence.before_bytes >= 3_000_000
    assert evidence.after_bytes == 0
    assert evidence.cleared
    (data / "train" / "1.bin").read_bytes()
    assert page_cache.resident_bytes([data / "train" / "1.bin"]) >= 1_000_000


def test_what_a_neighbour_kept_for_a_moment_is_cleared_at_the_next_try(data, monkeypatch):
    advise, tries = page_cache._advise, []

    def kept_once(files):
        tries.append(files)
        if len(tries) > 1:
            advise(files)

    monkeypatch.setattr(page_cache, "_advise", kept_once)
    assert page_cache.clear(data, "fadvise").cleared
    assert len(tries) == 2


def test_what_stays_in_memory_is_not_called_cleared(data, monkeypatch):
    monkeypatch.setattr(page_cache, "_DROP", data / "no" / "such" / "file")
    evidence = page_cache.clear(data, "drop_caches")
    assert evidence.method is None
    assert not evidence.cleared
    monkeypatch.setattr(page_cache, "_advise", lambda files: None)  # a file system that ignores it
    evidence = page_cache.clear(data, "auto")
    assert evidence.method == "fadvise"
    assert evidence.after_bytes >= 3_000_000
    assert not evidence.cleared


def test_a_node_without_the_data_has_cleared_nothing(tmp_path):
    assert not page_cache.clear(tmp_path / "not" / "here", "fadvise").cleared


def test_pages_of_other_users_leave_memory_only_by_name(data, monkeypatch):
    knob = data.parent / "drop_caches"
    knob.write_text("")
    monkeypatch.setattr(page_cache, "_DROP", knob)
    assert page_cache.clear(data, "auto").method == "fadvise"
    assert knob.read_text() == ""
    assert page_cache.clear(data, "drop_caches").method == "drop_caches"
    assert knob.read_text() == "3\n"


def test_a_large_set_is_sampled(data, monkeypatch):
    monkeypatch.setattr(page_cache, "_EXAMINED", 2)
    evidence = page_cache.clear(data, "fadvise")
    assert (evidence.files, evidence.examined) == (4, 2)
    assert page_cache.resident_bytes(sorted(Path(data).rglob("*.bin"))) == 0  # all were cleared


def test_waiting_for_data_is_counted_and_nothing_else():
    def slow():
        for number in itertools.count():
            time.sleep(0.01)
            yield number

    meter = Meter(CPU)
    batches = meter.waiting(slow())
    for _ in range(5):
        next(batches)
    waited = meter.wait_seconds
    assert waited >= 0.05
    time.sleep(0.05)
    assert meter.wait_seconds == waited


def test_step_times_are_between_marks_of_one_block(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 100.0, 104.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    meter = Meter(CPU)
    assert meter.step_milliseconds() == {}
    for marks in (3, 2):
        for _ in range(marks):
            meter.mark()
        meter.collect()
    # steps of 1, 2 and 4 seconds; the evaluation between the blocks is none
    assert meter.step_milliseconds() == {
        "p50": 2000.0,
        "p90": pytest.approx(3600),
        "p99": pytest.approx(3960),
    }


def test_blocks_have_their_own_waits_and_a_run_that_goes_on_forgets_none(monkeypatch):
    now = iter([0.0, 3.0, 10.0, 11.0, 12.0, 20.0, 21.0, 23.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    meter = Meter(CPU)
    meter.resume(7.0)
    batches = meter.waiting(iter("ab"))
    next(batches)  # 3 s
    for _ in range(3):
        meter.mark()
    meter.collect()
    meter.mark()
    next(batches)  # 2 s
    meter.collect()
    assert meter.wait_seconds == 12
    assert meter.blocks == [BlockTimes(2, 2.0, 3.0), BlockTimes(0, 0.0, 2.0)]


def test_what_is_compiled_after_the_warm_up_is_counted():
    class Model(nn.Module):
        def forward(self, x):
            return (x * 2).relu()

    model = Model()
    model.compile(backend="eager")
    model(torch.zeros(2, 3))
    meter = Meter(CPU)
    model(torch.ones(2, 3))
    assert meter.recompiles == 0
    model(torch.ones(5, 3))  # a size it has not seen
    assert meter.recompiles == 1


def test_the_environment_is_told_without_secrets():
    told = environment.environment(CPU, ["ttt", "run"])
    json.dumps(told)
    assert told["command"] == ["ttt", "run"]
    assert told["packages"]["ttt"] == ttt.__version__  # by whatever name it was installed
    assert told["packages"]["torch"] == importlib.metadata.version("torch")
    assert told["accelerator"] is None
    assert told["threads"] >= 1
    assert len(told["git"]["commit"]) == 40
    shown = environment.variables(
        {"NCCL_DEBUG": "INFO", "WANDB_API_KEY": "x", "NCCL_TOKEN": "y", "HOME": "/", "OMP_X": "1"}
    )
    assert shown == {"NCCL_DEBUG": "INFO", "OMP_X": "1"}


def test_a_repository_around_an_installed_ttt_is_not_its_commit(tmp_path: Path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "somebody's"]):
        subprocess.run([*git, *words], check=True)
    package = tmp_path / ".venv" / "ttt"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert environment._git(package, package) is None
    subprocess.run([*git, "add", "-f", str(package)], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    found = environment._git(package, package)
    assert found is not None
    assert found["dirty"] is False


@pytest.mark.parametrize("secret", [False, True])
def test_the_machine_is_written_into_the_run_folder(tmp_path, secret):
    """As private as config.yaml, which has the same command."""
    command = ["ttt", "run", *(["model.api_key=canary"] if secret else [])]
    model = SimpleNamespace(api_key="canary" if secret else None)
    data = SimpleNamespace(root=str(tmp_path))
    run = RunConfig(data=data, model=model, command=command, tracking=TrackingConfig())
    environment.write(run, Solo(CPU), tmp_path)
    description.write(run, Solo(CPU), tmp_path)
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["command"] == command
    assert found["nodes"] == [{name: found[name] for name in found if name != "nodes"}]
    private = stat.S_IMODE((tmp_path / "environment.json").stat().st_mode) == 0o600
    assert private == secret
    system = json.loads((tmp_path / "system.json").read_text())
    assert system["id"]
    assert system["description"]["number_of_nodes"] == "1"
