"""Counts that are left open are taken from the data set, once, and frozen as numbers."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import click_logs
import texts
from ground import Command
from processes import TINY
from tests.data.test_images import CLASSES, EVAL, TRAIN, write_set
from ttt import config
from ttt.cli import counted
from ttt.cli.run import judged, problems
from ttt.data import looks
from ttt.errors import ConfigError
from ttt.prepare import imagenet

OPEN = ("data.train_samples=null", "data.eval_samples=null")


def filled(*typed):
    config.register()
    return config.resolve(counted.fill(config.compose(list(typed))))


def test_images_are_counted_and_all_that_follows_is_computed_from_them(tmp_path):
    root = write_set(tmp_path / "set")
    run = filled(f"data.root={root}", *OPEN, "data.classes=null")
    assert (run.data.train_samples, run.data.eval_samples) == (TRAIN, EVAL)
    assert (run.data.classes, run.model.classes) == (CLASSES, CLASSES)
    typed = [f"data.root={root}", "data.format=folder", "data.eval_dir=test", "data.global_batch=1"]
    resnet = filled("benchmark=resnet", *typed, *OPEN, "schedule.epochs=10")
    assert resnet.mlperf["lars_opt_learning_rate_decay_steps"] == 10 * TRAIN


def test_what_is_typed_is_not_counted(tmp_path):
    root = write_set(tmp_path / "set")
    run = filled(f"data.root={root}", "data.train_samples=5", "data.eval_samples=null")
    assert (run.data.train_samples, run.data.eval_samples, run.data.classes) == (5, EVAL, 10)


@pytest.mark.parametrize("kind", ["tfrecord", "webdataset", "recordio"])
def test_shards_are_counted_by_their_indexes(tmp_path, kind):
    source = write_set(tmp_path / "source")
    (source / "test").rename(source / "val")
    root = tmp_path / "set"
    imagenet.prepare(root, [source], format=kind, shards=2)
    typed = [f"data.root={root}", *OPEN, "data.classes=null", f"data.format={kind}"]
    run = filled(*typed, "data.eval_dir=val")
    assert (run.data.train_samples, run.data.eval_samples) == (TRAIN, EVAL)
    assert run.data.classes == CLASSES  # as the manifest names them
    (root / "manifest.json").unlink()
    run = filled(*typed, "data.eval_dir=val", "data.global_batch=36")
    assert (run.data.train_samples, run.data.classes) == (TRAIN, None)
    [sentence] = problems(run)
    assert sentence == "data.classes=null cannot be counted: the set does not tell; data.classes=N"


def test_sentence_pairs_and_clicks_are_counted_by_their_manifests(tmp_path):
    root = texts.prepared(tmp_path / "text")
    open_ = [*OPEN, "data.vocabulary=null", "data.max_length=null"]
    run = filled("benchmark=dates", f"data.root={root}", *open_)
    data = run.data
    assert (data.train_samples, data.eval_samples) == (texts.TRAIN, texts.EVAL)
    assert (data.vocabulary, data.max_length, run.model.vocabulary) == (150, 64, 150)
    root = click_logs.write(tmp_path / "clicks", 50, 20)
    open_ = [*OPEN, "data.dense=null", "data.rows=null", "data.hots=null"]
    run = filled("benchmark=clicks", f"data.root={root}", *open_)
    assert (run.data.train_samples, run.data.eval_samples, run.data.dense) == (50, 20, 2)
    assert (run.data.rows, run.model.rows) == ([50, 7, 20], [50, 7, 20])


def test_a_run_that_claims_a_benchmark_keeps_its_numbers(tmp_path):
    root = write_set(tmp_path / "set")
    typed = ["benchmark=resnet", f"data.root={root}", "data.format=folder", "data.eval_dir=test"]
    run = filled(*typed, "data.train_samples=null", "data.global_batch=32")
    said = " ".join(problems(run))
    assert f"data.train_samples={TRAIN} is not allowed in the closed division" in said


def test_what_cannot_be_seen_is_told_with_what_to_type():
    run = filled("benchmark=cifar10", "data.root=/nowhere", *OPEN, "launcher=slurm")
    found = counted.problems(run, remote=True)
    assert found == [
        f"data.{name}=null cannot be counted: /nowhere is no folder where this is typed;"
        f" data.{name}=N"
        for name in ("train_samples", "eval_samples")
    ]
    here = problems(filled("benchmark=cifar10", "data.root=/nowhere", *OPEN))
    assert here == ["data.root=/nowhere is not a folder; data.root=DIR, as `ttt data` made it"]


def test_a_damaged_set_is_told_once(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    run = filled("benchmark=clicks", f"data.root={tmp_path}", *OPEN, "data.rows=null")
    [sentence] = problems(run)
    assert "manifest.json is damaged" in sentence


def test_a_class_of_ones_own_must_say_its_numbers(tmp_path):
    config.register()
    run = config.resolve(config.compose([]))
    own = {"_target_": "mine.Data", "root": str(tmp_path), "train_samples": None}
    run.data = SimpleNamespace(**own, eval_samples=3, global_batch=4)
    [sentence] = counted.problems(run, remote=False)
    assert "mine.Data is a class of your own" in sentence
    assert sentence.endswith("data.train_samples=N")


def test_numbers_derived_from_a_count_wait_for_it():
    """Where Hydra refuses something else, what can be told is told without a traceback."""
    config.register()
    composed = config.compose(["benchmark=dlrm_dcnv2", "data.train_samples=null"])
    assert config.resolve(composed).target.eval_every_samples == 0
    composed = config.compose(["benchmark=resnet", "data.train_samples=null"])
    assert config.resolve(composed).mlperf["lars_opt_learning_rate_decay_steps"] == 0


def test_a_counted_run_is_frozen_with_numbers(ttt: Command, tmp_path: Path):
    """Here ttt has to make the set before it can count it."""
    done = ttt("run", *OPEN, *TINY, "data.classes=null", "target.max_epochs=1", "clear_cache=off")
    assert done.returncode == 3, done.stderr
    [frozen] = tmp_path.glob("runs/digits/*/*/config.yaml")
    data = yaml.safe_load(frozen.read_text())["data"]
    assert [data[name] for name in ("train_samples", "eval_samples", "classes")] == [1437, 360, 10]
    [record] = tmp_path.glob("runs/*/*/*/events.jsonl")
    [told] = [e for e in map(json.loads, record.read_text().splitlines()) if e["kind"] == "config"]
    assert told["data"]["train_samples"] == 1437


def test_a_sweep_counts_each_set_and_looks_at_each_once(tmp_path, monkeypatch):
    root = write_set(tmp_path / "set")
    config.register()
    looked = []
    whole = looks.examined
    monkeypatch.setattr(looks, "examined", lambda *a, **k: looked.append(a) or whole(*a, **k))
    typed = [f"data.root={root}", *OPEN, "data.classes=null", "--multirun"]
    assert judged([*typed, "data.global_batch=1,2,3,4,5,6"])
    assert len(looked) == 1
    with pytest.raises(ConfigError, match=r"data\.global_batch=99 is more than the whole"):
        judged([*typed, "data.global_batch=1,99"])
