"""What a run keeps: other tools get its quality out of it, and any number of ranks writes the same.

Weights are those a seed gives, equal on all ranks: what is tested is how they are written down.
"""

import ast
import csv
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import click_logs
import texts
from ground import HUNG, PROJECT, Command, command, environment
from processes import TINY
from ranks import on_ranks
from tests.distributed.test_tables import model_of, parallel_of, small_tables
from tests.tasks.test_translation import network
from ttt import keep
from ttt.clock import Clock
from ttt.data.clicks import Clicks
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.errors import ConfigError
from ttt.events import EventLog
from ttt.learner import StandardLearner
from ttt.loop import Parts
from ttt.metrics.accuracy import Top1
from ttt.optim import sgd
from ttt.report.read.folders import read
from ttt.schema.choices import Keep
from ttt.supervise.heartbeat import Heartbeat
from ttt.tasks.image import ImageClassification
from ttt.tasks.recommendation import ClickPrediction
from ttt.tasks.translation import Translation
from ttt.telemetry.timing import Meter
from ttt.watcher import Target

ALONE = Solo(torch.device("cpu"))
BOTH = [Keep.weights, Keep.predictions]
CLICKS = 50_003  # more than are gathered at a time below, and no multiple of anything
DOCUMENT = (PROJECT / "docs" / "kept.md").read_text()


def parts(world, task, data, model):
    """A run at its end, without the way there."""
    rules = {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    parallel = parallelize(
        model,
        world,
        optimizer=lambda model: sgd.build(model, **rules, decay_norm_and_bias=False),
    )
    learner = StandardLearner(
        parallel,
        task,
        world,
        schedule=lambda step: 0.1,
        precision="fp32",
        accumulate=1,
        clip_norm=None,
    )
    return Parts(
        task=task,
        learner=learner,
        data=data,
        target=Target("any", 0.5, True, 100, 100, 5, None),
        world=world,
        clock=Clock(lambda: 0.0),
        log=EventLog(lambda: 0.0),
        meter=Meter(world.device),
        heartbeat=Heartbeat(),
        seed=1,
        check_every=1,
        preemption_requested=lambda: False,
    )


class Fractions(nn.Module):
    """The logit of a sample that is i / 7 in fp32; every seventh of them a tie with the one before.

    Computed for each sample by itself, so that what it says does not depend on its batch.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.tensor(3))
        self.register_buffer("rest", torch.tensor([0.1, 0.2], dtype=torch.bfloat16))

    def forward(self, dense, ids):
        place = dense[:, 0] - (dense[:, 0] % 7 == 0).float()
        return torch.sin(place / 7 * self.scale)


def of_clicks(world, root):
    data = Clicks(world=world, **click_logs.settings(root, 60, CLICKS, eval_batch=4096))
    return parts(world, ClickPrediction(), data, Fractions())


class Parrot(Translation):
    """Says every source as it is: some of its words, as names and numbers, are right."""

    def predict(self, model, batch):
        return batch.source


def of_text(world, root):
    rules = {"label_smoothing": 0.1, "beam": 1, "length_penalty": 0.6, "coverage_penalty": 0.0}
    task = Parrot(**rules, extra_length=5, lowercase=False, tokenize="13a")
    return parts(world, task, texts.loader(world, root), network())


def of_tables(world, root, sharding):
    """A model with tables, spread or not; its evaluation set is not looked at."""
    data = Clicks(world=world, **click_logs.settings(root, 60, 60))
    with small_tables():
        return parts(world, ClickPrediction(), data, model_of(sharding))


def everything(world, clicks, text, out):
    """One start of processes for all that is tested of them."""
    keep._SAMPLES_AT_ONCE = 9_000
    told = {
        "clicks": keep.keep(BOTH, of_clicks(world, clicks), out / "clicks"),
        "text": keep.keep([Keep.predictions], of_text(world, text), out / "text"),
    }
    for sharding in ("off", "auto", "table", "row"):
        made = of_tables(world, clicks, sharding)
        told[sharding] = keep.keep([Keep.weights], made, out / sharding)
    (out / "file").touch()
    told["unwritable"] = keep.keep(BOTH, of_clicks(world, clicks), out / "file")
    return told


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return click_logs.write(folder / "clicks", 60, CLICKS), texts.prepared(folder / "text")


@pytest.fixture(scope="module", params=[1, 2, 3])
def kept(request, sets, tmp_path_factory):
    """What each of 1, 2 and 3 processes says, and where it is written."""
    out = tmp_path_factory.mktemp("kept")
    for name in ("clicks", "text", "off", "auto", "table", "row"):
        (out / name).mkdir()
    if request.param == 1:
        return [everything(ALONE, *sets, out)], out
    return on_ranks(request.param, everything, *sets, out), out


@pytest.fixture(scope="module")
def alone(sets, tmp_path_factory):
    """What a single process writes."""
    out = tmp_path_factory.mktemp("alone")
    for name in ("clicks", "text", "off", "auto", "table", "row"):
        (out / name).mkdir()
    everything(ALONE, *sets, out)
    return out


def snippet(about, language="python"):
    """The example of the document that says so."""
    found = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.S)
    [one] = [text for text in found if about in text]
    return one


def printed(code, folder):
    """What an example prints in a run folder."""
    typed = code if isinstance(code, list) else [sys.executable, "-c", code]
    done = subprocess.run(
        typed, cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


def said(code, folder):
    """The figure that it prints last."""
    return float(printed(code, folder).split()[-1])


def test_every_number_of_ranks_writes_the_same_bytes(kept, alone):
    _, out = kept
    files = sorted(path.relative_to(alone) for path in alone.glob("*/kept/*"))
    assert len(files) == 2 + 3 + 4
    for file in files:
        assert (out / file).read_bytes() == (alone / file).read_bytes(), file
    assert not list(out.rglob("*.draft"))


def test_scikit_learn_finds_the_area_of_the_run(kept):
    from sklearn.metrics import roc_auc_score

    told, out = kept
    with (out / "clicks/kept/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(i) for i in range(CLICKS)]
    labels, scores = ([float(row[name]) for row in rows] for name in ("label", "score"))
    quality = told[0]["clicks"].quality
    assert all(each["clicks"].quality == quality for each in told)
    assert 0.4 < quality < 0.6
    assert roc_auc_score(labels, scores) == pytest.approx(quality, rel=0, abs=1e-12)
    # As short as they can be, and still what they were, ties included.
    assert np.array_equal(
        np.float32(scores), Fractions()(torch.arange(CLICKS)[:, None], None).detach()
    )
    assert max(map(len, (row["score"] for row in rows))) <= 14
    assert said(snippet("roc_auc_score"), out / "clicks") == pytest.approx(quality, abs=1e-12)


def test_sacrebleu_finds_the_bleu_of_the_run(kept):
    told, out = kept
    name, *arguments = snippet("sacrebleu", "sh").split()
    score = said([str(Path(sys.executable).parent / name), *arguments], out / "text")
    quality = told[0]["text"].quality
    assert quality > 0
    assert score / 100 == pytest.approx(quality, rel=0, abs=1e-12)


def test_texts_are_in_the_order_of_the_set_line_by_line(kept, sets):
    _, out = kept
    folder = out / "text" / "kept"
    lines = {path.stem: path.read_text().splitlines() for path in folder.iterdir()}
    assert set(lines) == {"source", "reference", "hypothesis"}
    assert lines["reference"] == (sets[1] / "eval.trg.txt").read_text().splitlines()
    spoken = (sets[1] / "text/eval.en").read_text().splitlines()
    assert lines["source"] == spoken
    assert len(lines["hypothesis"]) == texts.EVAL


def test_a_text_with_an_end_of_line_in_it_stays_on_its_line():
    table = keep._Table(np.arange(2), {"x": np.array(["a\rb\nc", "d"], object)}, {"x": True})
    made = parts(ALONE, ClickPrediction(), type("Two", (), {"eval_samples": 2})(), Fractions())
    assert b"".join(keep._lines(table, "x", made)) == b"a b c\nd\n"


def test_weights_are_those_of_one_process_however_they_are_spread(kept):
    _, out = kept
    expected = model_of("off").state_dict()
    for sharding in ("off", "auto", "table", "row"):
        found = load_file(out / sharding / "kept/weights.safetensors")
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected), sharding


def test_every_type_and_shape_is_read_back(kept):
    _, out = kept
    found = load_file(out / "clicks/kept/weights.safetensors")
    expected = Fractions().state_dict()
    assert {name: (t.dtype, t.shape) for name, t in found.items()} == {
        name: (t.dtype, t.shape) for name, t in expected.items()
    }
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_names_of_any_text_and_tied_weights_are_read_back(tmp_path):
    odd = nn.Linear(3, 4)
    for name in ('a "b" \\ c', "ключ-键", "\n\t", "🔑", " ", "/x", "<b>"):
        odd.register_buffer(name, torch.rand(2, 3).t())  # not contiguous
    odd.register_buffer("empty", torch.zeros(0, 3))
    odd.register_buffer("one", torch.tensor(3.5))
    odd.register_parameter("tied", odd.weight)
    made = parts(ALONE, ClickPrediction(), None, odd)
    keep.demand([Keep.weights], made)
    assert keep.keep([Keep.weights], made, tmp_path).problem is None
    found = load_file(tmp_path / "kept" / "weights.safetensors")
    expected = odd.state_dict()
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in expected.items()
    }
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["__metadata__", "\udc80"])
def test_names_that_the_format_cannot_have_are_refused(name):
    odd = nn.Linear(1, 1)
    odd.register_buffer(name, torch.zeros(1))
    with pytest.raises(ConfigError, match=r"cannot write a weight called .*; rename it, or leave"):
        keep.demand([Keep.weights], parts(ALONE, ClickPrediction(), None, odd))


def test_no_process_sends_more_than_some_rows_at_once(sets, monkeypatch):
    monkeypatch.setattr("ttt.distributed.tables._ROWS_AT_ONCE", 500)
    tables = parallel_of(ALONE, "row").model.tables
    sizes = [len(part) for part in tables.in_order()]
    assert max(sizes) == 500
    assert sum(sizes) == tables.shape[0]


def test_what_cannot_be_written_is_known_to_all_ranks(kept):
    told, out = kept
    problems = {each["unwritable"].problem for each in told}
    assert problems == {f"{out}/file/kept/weights.safetensors cannot be written: Not a directory"}
    assert told[0]["unwritable"].files == ()


def test_parts_of_a_users_own_are_asked_before_the_run(sets):
    made = parts(ALONE, object.__new__(type("Mine", (), {})), object(), nn.Linear(1, 1))
    with pytest.raises(ConfigError) as refused:
        keep.demand([Keep.predictions], made)
    assert len(refused.value.problems) == 3
    assert "Mine.kept()" in refused.value.problems[0]
    odd = nn.Linear(1, 1)
    odd.register_buffer("c", torch.zeros(1, dtype=torch.complex64))
    with pytest.raises(ConfigError, match=r"torch\.complex64.*float32"):
        keep.demand([Keep.weights], parts(ALONE, ClickPrediction(), None, odd))
    keep.demand([], parts(ALONE, None, None, odd))


def test_a_row_that_holds_no_number_predicts_no_class():
    logits = torch.tensor([[0.1, 0.9], [float("nan"), 1.0], [2.0, 1.0]])
    batch = (torch.zeros(3, 3, 1, 1), torch.tensor([1, 1, -1]))
    columns = ImageClassification(label_smoothing=0.0).kept(logits, batch)
    assert columns["predicted"].tolist() == [1, -2, 0]
    metric = Top1()
    metric.update(logits, batch)
    assert metric.compute(ALONE)[0] == np.mean(columns["label"] == columns["predicted"])


def launched(root, digits, *arguments, **options):
    """A run of an epoch that keeps everything; its data set is named as from where it is typed."""
    root_typed = os.path.relpath(digits, root)
    settings = (f"data.root={root_typed}", "keep=[weights,predictions]", "target.max_epochs=1")
    return subprocess.run(
        command("run", *settings, *arguments),
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A run that misses its target, on two ranks, and keeps everything."""
    root = tmp_path_factory.mktemp("run")
    done = launched(
        root, digits, "launcher=torchrun", "launcher.procs=2", *TINY, "target.threshold=1"
    )
    assert done.returncode == 3, done.stderr
    [folder] = root.glob("runs/digits/*/seed_1")
    return folder, done.stdout


def test_a_run_keeps_what_it_made_whether_or_not_it_reached_its_target(run, digits):
    folder, shown = run
    summary = json.loads((folder / "summary.json").read_text())
    files = ["kept/weights.safetensors", "kept/predictions.csv"]
    assert summary["kept"] == {"files": files, "quality": summary["quality"]}
    assert re.search(r"^kept +kept/weights\.safetensors, kept/predictions\.csv *$", shown, re.M)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    kinds = [event["kind"] for event in events]
    assert kinds.index("run_stop") < kinds.index("kept")
    ids = np.loadtxt(folder / files[1], delimiter=",", skiprows=1, usecols=0, dtype=str)
    assert ids.tolist() == sorted(str(p.relative_to(digits)) for p in digits.glob("test/*/*"))


def test_a_full_disk_ends_with_1_and_the_result_stands(digits, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = launched(tmp_path, digits, preexec_fn=limited)
    assert done.returncode == 1
    [folder] = tmp_path.glob("runs/digits/*/seed_1")
    shown = folder.relative_to(tmp_path)
    assert f"{shown}/kept/weights.safetensors cannot be written: File too large;" in done.stderr
    assert "the run itself is complete" in done.stderr
    assert list((folder / "kept").iterdir()) == []
    run = read(folder)
    assert run.passed is False  # it missed its target, and that was judged
    assert run.reason.startswith("target.max_epochs=1 passed")  # not what failed afterwards


def test_numpy_finds_the_top_1_of_the_run(run):
    folder, _ = run
    quality = json.loads((folder / "summary.json").read_text())["quality"]
    assert said(snippet("table[:, 0]"), folder) == quality


def test_the_file_itself_says_which_number_is_which_class(run, digits):
    names = sorted(each.name for each in (digits / "test").iterdir())
    classes = ast.literal_eval(printed(snippet("classes ="), run[0]))
    assert classes == {str(number): name for number, name in enumerate(names)}


def test_weights_loaded_into_the_model_have_the_quality_of_the_run(run):
    folder, _ = run
    quality = json.loads((folder / "summary.json").read_text())["quality"]
    assert said(snippet("load_file"), folder) == quality


def test_what_is_mistyped_is_refused_with_the_choices(ttt: Command):
    done = ttt("run", "keep=[wieghts]")
    assert done.returncode == 2
    allowed = "is not allowed; allowed: [A,B,...] of weights, predictions; 'keep=[weights]'"
    assert f"keep=[wieghts] {allowed}" in done.stderr
    done = ttt("run", "keep=weights")
    assert done.returncode == 2
    assert f"keep=weights {allowed}" in done.stderr
