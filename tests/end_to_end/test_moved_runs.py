"""A suspended run goes on with its model in other parts, and on other processes."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ground import HUNG, Command, environment
from processes import TWO, begin, end_all, events, until_training
from warm import completed

SMALL = ("benchmark=topics", "model.layers=1", "model.width=32", "model.feedforward=64")
SMALL += ("target.max_epochs=0.3", "target.threshold=1.0", "target.eval_every_epochs=0.05")
SMALL += ("target.check_every_steps=2", "clear_cache=fadvise", "parallel=fsdp", *TWO)


def qualities(folder: Path) -> dict[int, float]:
    """By the step of their evaluation."""
    return {one["step"]: one["data"]["value"] for one in events(folder, "quality")}


def goes_on(folder: Path, processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    """What is documented for going on by hand."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    started = torchrun if processes > 1 else ()
    command = [sys.executable, *started, "-m", "ttt.worker", str(folder), *words]
    return completed(command, env=environment())


@pytest.fixture(scope="module")
def suspended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was asked to make room, before its third evaluation."""
    root = tmp_path_factory.mktemp("suspended")
    process = begin(root, *SMALL)
    until_training(root, process)
    process.send_signal(signal.SIGUSR1)
    out, errors = process.communicate(timeout=HUNG)
    assert process.returncode == 75, out + errors
    assert end_all(root) == []
    [folder] = root.glob("runs/*/*/seed_1")
    return folder


def test_it_ends_as_if_nothing_had_happened(ttt: Command, tmp_path: Path, suspended: Path):
    done = ttt("run", *SMALL, "run_root=whole")
    assert done.returncode == 3, done.stdout + done.stderr
    [whole] = (tmp_path / "whole").glob("*/*/seed_1")
    typed = suspended.joinpath("config.yaml").read_text()
    for count, words, said, processes in (
        (2, ("parallel=tp",), "tensor=2 after shard=2", [2, 2]),
        (1, ("processes=1",), "1 process after shard=2", [2, 1]),
    ):
        folder = tmp_path / f"on_{count}"
        shutil.copytree(suspended, folder)
        done = goes_on(folder, count, *words)
        assert done.returncode == (3 if count == 1 else 1), done.stderr  # 1 is torchrun's own
        assert f"resumed as {said} at step" in " ".join(done.stdout.split())
        found, expected = qualities(folder), qualities(whole)
        assert list(found) == list(expected)  # after the same samples
        assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-4)
        [event] = events(folder, "resumed")
        assert event["data"]["moved"]["processes"] == processes
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["resumed"], summary["moved"]) == (1, said)
        assert summary["world_size"] == count
        lines = (folder / "result_0.txt").read_text().splitlines()
        [logged] = [line for line in lines if '"resumed"' in line]
        assert said.partition(" after ")[0] in logged
        assert folder.joinpath("config.yaml").read_text() == typed


def test_what_may_not_change_is_refused_and_nothing_is_lost(tmp_path: Path, suspended: Path):
    folder = tmp_path / "kept"
    shutil.copytree(suspended, folder)
    record = (folder / "events.jsonl").read_bytes()
    for words, sentence in (
        (("data.global_batch=64",), "cannot change while a run goes on"),
        ((), "1 process found each other, and this run is for 2"),
    ):
        done = goes_on(folder, 1, *words)
        assert done.returncode in (2, 5)
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert "processes=1" in done.stderr
    assert (folder / "events.jsonl").read_bytes() == record
    assert (folder / "checkpoint").is_dir()
