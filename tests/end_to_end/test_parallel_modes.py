"""Runs whose model is in parts, from Enter to the files they keep."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ground import Command
from processes import TWO

SMALL = ("benchmark=topics", "model.layers=1", "model.width=32", "model.feedforward=64")
SMALL += ("target.max_epochs=0.1",)
SMALL += ("target.threshold=1.0", "target.eval_every_epochs=0.05", "clear_cache=fadvise")


def kept(tmp_path: Path, mode: str) -> tuple[dict, dict, str]:
    """Summary, weights and predictions of a run."""
    [folder] = (tmp_path / mode).glob("*/*/seed_1")
    summary = json.loads((folder / "summary.json").read_text())
    weights = load_file(folder / "kept" / "weights.safetensors")
    return summary, weights, (folder / "kept" / "predictions.csv").read_text()


def test_a_run_is_the_same_whatever_is_in_parts(ttt: Command, tmp_path: Path):
    found = {}
    for mode in ("ddp", "fsdp", "tp"):
        typed = (f"parallel={mode}", f"run_root={mode}", "keep=[weights,predictions]")
        done = ttt("run", *SMALL, *TWO, *typed)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "Warning" not in done.stderr
        found[mode] = kept(tmp_path, mode)
    expected, weights, predictions = found["ddp"]
    for mode, tensor in (("fsdp", 1), ("tp", 2)):
        summary, theirs, judged = found[mode]
        assert summary["quality"] == pytest.approx(expected["quality"], abs=1e-5)
        assert theirs.keys() == weights.keys()
        assert all((theirs[name] - weight).abs().max() < 1e-3 for name, weight in weights.items())
        assert judged.count("\n") == predictions.count("\n") == 513
        [log] = (tmp_path / mode).glob("*/*/seed_1/*.txt")
        assert f'"tensor_parallelism", "value": {tensor}' in log.read_text()
