"""Official benchmarks, closed division: refused before the run, or the checker passes the log."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from official import frozen, problems, start
from ttt import compliance, config
from ttt.schema.closed import DEFINITIONS
from ttt.schema.points import evaluation_interval

OFFICIAL = {
    "resnet": "4.0.0",
    "transformer": "0.7.0",
    "gnmt": "0.7.0",
    "dlrm_dcnv2": "6.0.0",
    "llama31_8b": "6.1.0",
    "bert": "5.0.0",
}
# What these do not run without, and no file here tells.
ASKED = {
    "benchmark=llama31_8b": ["data.train_samples=2400000"],
    "benchmark=bert": ["model.initial=model.ckpt-28252"],
}


@cache
def choices(*overrides: str):
    """What Hydra composes of these; they choose files."""
    config.register()
    return config.compose([*overrides, "data.root=."])


def composed(*overrides: str):
    """A run of these overrides, of which Hydra composes each choice of files once."""
    chosen = [typed for typed in overrides if "." not in typed.partition("=")[0]]
    rest = [typed for typed in overrides if typed not in chosen]
    rest = [typed for one in chosen for typed in ASKED.get(one, [])] + rest
    return config.resolve(config.applied(choices(*chosen), rest))


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_benchmarks_own_settings_keep_the_closed_rules(name: str):
    for file in DEFINITIONS[name]:
        run = composed(f"benchmark={file}", "launcher=torchrun", "launcher.procs=8", "device=cpu")
        assert problems(run) == []
        assert run.benchmark.id == name
        assert (run.benchmark.division, run.benchmark.ruleset) == ("closed", OFFICIAL[name])


ONE_HOT = f"data.hots=[{','.join(['1'] * 26)}]"
# Overrides, what is said of each, and whether the open division allows them.
BROKEN = [
    ("resnet", ["data.size=64"], ["data.size=64 is not allowed"], False),
    ("resnet", ["model=resnet_small"], ["leave model= and model._target_= out"], True),
    ("resnet", ["data.train_samples=100000"], ["allowed: 1281167"], False),
    (
        "resnet",
        ["data.area=[0.9,1.0]", "data.flip=false"],
        ["data.area=[0.9,1]", "data.flip=true"],
        True,
    ),
    ("resnet", ["clip_norm=1.0", "data.on_error=skip"], ["clip_norm=null", "allowed: error"], True),
    ("resnet", ["optim.weight_decay=3e-4"], ["weight_decay"], True),
    ("resnet", ["target.threshold=0.75"], ["allowed: 0.759"], False),
    ("resnet", ["target.eval_every_epochs=5"], ["allowed: 4"], True),
    ("resnet", ["target.first_eval_epochs=5"], ["allowed: 3 or 2 or 1 or 4 or null"], True),
    ("resnet", ["optim.momentum=0.95"], ["allowed: 0.9"], True),
    ("resnet", ["task.label_smoothing=0.2"], ["allowed: 0.1 or 0"], True),
    ("resnet", ["optim.epsilon=1e-7"], ["optim.epsilon=1e-07"], True),
    ("resnet", ["schedule.power=1"], ["allowed: 2"], True),
    ("resnet", ["clear_cache=off"], ["auto or drop_caches or fadvise"], True),
    ("resnet", ["seed=1"], ["seed=1 is not allowed", '"Random numbers"'], True),
    ("resnet", ["mlperf.lars_opt_base_learning_rate=3"], ["allowed: 11"], True),
    ("resnet", ["+mlperf.surprise=1"], ["allowed: absent", "leave mlperf.surprise= out"], True),
    ("resnet", ["benchmark.ruleset=3.1.0"], ["allowed: 4.0.0"], False),
    ("resnet", ["data.prepare=ttt.prepare.digits"], ["data.prepare=null"], False),
    ("resnet_sgd", ["optim.nesterov=true"], ["allowed: false"], True),
    ("resnet_sgd", ["optim.lr=1.2345"], ["sgd_opt_base_learning_rate"], True),
    ("resnet_sgd", ["schedule.warmup_epochs=2.5"], ["allowed: 2"], True),
    ("transformer", ["model.width=256", "model.heads=4"], ["allowed: 1024", "allowed: 16"], True),
    ("transformer", ["task.beam=10"], ["allowed: 4"], True),
    (
        "transformer",
        ["task.lowercase=false", "task.tokenize=13a"],
        ["allowed: true", "allowed: intl"],
        False,
    ),
    ("transformer", ["optim.epsilon=1e-8"], ["allowed: 1e-09"], True),
    ("transformer", ["target.eval_every_epochs=2"], ["allowed: 1"], True),
    ("transformer", ["target.threshold=0.24"], ["allowed: 0.25"], False),
    ("gnmt", ["schedule.decay_factor=0.9"], ["schedule.decay_factor=0.9 is not allowed"], True),
    ("gnmt", ["data.eval_samples=100"], ["allowed: 3003"], False),
    ("gnmt", ["optim.beta_1=0.8"], ["allowed: 0.9"], True),
    ("dlrm_dcnv2", ["model.top=[64,1]", "model.dim=16"], ["model.top=[64,1]", "128"], True),
    ("dlrm_dcnv2", [ONE_HOT], ["data.hots=[1,1"], False),
    ("dlrm_dcnv2", ["data.shuffle=true"], ['"Training Data Order"'], True),
    ("dlrm_dcnv2", ["optim.epsilon=1e-7"], ["allowed: 1e-08"], True),
    ("dlrm_dcnv2", ["target.eval_every_samples=1000000"], ["allowed: 209715200"], True),
    ("dlrm_dcnv2", ["data.eval_samples=1000"], ["allowed: 89137319"], False),
    ("dlrm_dcnv2", ["target.max_epochs=2"], ["target.max_epochs=2"], True),
    (
        "llama31_8b",
        ["optim.weight_decay=0.2", "optim.beta_2=0.999", "optim.epsilon=1e-8"],
        ["allowed: 0.1", "allowed: 0.95", "allowed: 1e-05"],
        True,
    ),
    (
        "llama31_8b",
        ["clip_norm=2.0", "schedule.max_steps=1000", "schedule.end_lr=0"],
        ["allowed: 1 ", "allowed: 1200000", "allowed: 4e-05"],
        True,
    ),
    ("llama31_8b", ["target.eval_every_samples=1024"], ["allowed: 12288"], True),
    ("llama31_8b", ["target.first_eval_samples=49152"], ["allowed: null"], True),
    (
        "llama31_8b",
        ["data.sequence_length=4096", "data.eval_samples=512", "target.threshold=3.4"],
        ["allowed: 8192", "allowed: 1024", "allowed: 3.3"],
        False,
    ),
    ("llama31_8b", ["model.layers=16", "model.tied=true"], ["allowed: 32", "allowed: false"], True),
    ("llama31_8b", ["data.global_batch=256"], ["largest reference convergence"], True),
    ("bert", ["model.initial=null"], ["checkpoint", '"Pre-training is not allowed"'], True),
    ("bert", ["clip_norm=null", "schedule.power=0.5"], ["allowed: 1 ", "allowed: 1 "], True),
    ("bert", ["model.dropout=0", "model.layers=12"], ["allowed: 0.1", "allowed: 24"], True),
    (
        "bert",
        ["data.length=128", "data.predictions=20", "target.threshold=0.712"],
        ["allowed: 512", "allowed: 76", "allowed: 0.72"],
        False,
    ),
    ("bert", ["target.eval_every_samples=100000"], ["allowed: 150000"], True),
]


@pytest.mark.parametrize(("name", "overrides", "said", "opens"), BROKEN)
def test_a_choice_that_breaks_a_closed_rule_is_refused_and_the_rule_named(
    name, overrides, said, opens
):
    found = problems(composed(f"benchmark={name}", *overrides))
    assert len(found) == len(overrides), found  # all at once, and nothing that only follows
    for words in said:
        assert any(words in sentence for sentence in found), found
    for sentence in found:
        assert "training_rules.adoc" in sentence or "the closed rules of" in sentence
        assert ("benchmark.id=my_" in sentence) is not opens
        assert "benchmark.division=open" in sentence
    opened = problems(composed(f"benchmark={name}", *overrides, "benchmark.division=open"))
    assert (opened == []) is opens
    assert all("benchmark.id=my_" in sentence for sentence in opened)


CHOICES = [
    ("resnet", ["optim.lr=9.5", "schedule.epochs=40", "schedule.warmup_epochs=3"]),
    ("resnet", ["data.global_batch=40960", "optim.momentum=0.94", "optim.weight_decay=2e-4"]),
    ("resnet", ["task.label_smoothing=0", "target.first_eval_epochs=2", "target.max_epochs=60"]),
    ("resnet", ["accumulate=2", "precision=fp16", "compile=true", "data.eval_batch=125"]),
    ("resnet", ["data.format=recordio", "data.first_label=0", "system.price_per_hour=3"]),
    ("resnet_sgd", ["optim.lr=2.5", "optim.weight_decay=5e-5", "data.global_batch=6400"]),
    ("transformer", ["data.max_length=75", "data.train_samples=4500000", "optim.beta_2=0.997"]),
    ("transformer", ["data.global_batch=64000", "data.pieces=4", "schedule.warmup_steps=500"]),
    ("transformer", ["schedule.warmup_steps=0"]),
    ("gnmt", ["optim.lr=0.002", "schedule.remain_steps=6000", "schedule.decay_interval=800"]),
    ("gnmt", ["data.global_batch=1024", "schedule.warmup_steps=0", "data.max_length=50"]),
    ("dlrm_dcnv2", ["data.global_batch=131072", "optim.lr=0.004", "model.sharding=row"]),
    ("llama31_8b", ["data.global_batch=32", "optim.lr=8e-4", "schedule.warmup_steps=128"]),
    ("llama31_8b", ["data.global_batch=36", "accumulate=2", "precision=fp32", "data.eval_batch=2"]),
    ("llama31_8b", ["parallel=fsdp", "parallel.checkpointing=full", "parallel.reshard=false"]),
    ("bert", ["data.global_batch=3072", "optim.lr=2e-3", "optim.beta_1=0.7", "optim.beta_2=0.99"]),
    ("bert", ["optim.epsilon=1e-11", "optim.weight_decay=0.1", "schedule.training_steps=1100"]),
    ("bert", ["schedule.warmup_steps=100", "schedule.start_warmup_step=-100", "data.mixed=8"]),
]


@pytest.mark.parametrize(("name", "overrides"), CHOICES)
def test_what_the_rules_let_a_run_choose_may_be_chosen(name, overrides):
    assert problems(composed(f"benchmark={name}", *overrides)) == []


def test_the_interval_between_evaluations_follows_the_batch():
    """FLOOR(train samples / (global batch * 20)) updates, as the rules have it."""
    assert evaluation_interval("dlrm_dcnv2", 65_536, 4_195_197_692) == 3200 * 65_536
    run = composed("benchmark=dlrm_dcnv2", "data.global_batch=131072")
    assert run.target.eval_every_samples == 1600 * 131_072
    assert problems(run) == []


def doubles(family: str, leap: int, *smaller: str) -> tuple[int, list[str]]:
    """Samples that a made-up batch stands for, and the settings that put the doubles in."""
    parts = (f"data._target_=doubles.{family}", f"task._target_=doubles.Scripted{family}")
    return leap, [*parts, *smaller]


SMALL_TABLES = f"data.rows=[{','.join(['3'] * 26)}]"
SHRUNK = {
    "resnet": doubles("Images", 1_281_167),
    "transformer": doubles("Sentences", 1_147_526, "model.width=32", "model.feedforward=32"),
    "gnmt": doubles("Sentences", 1_000_000, "model.width=32"),
    "dlrm_dcnv2": doubles(
        *("Clicks", 52_428_800, SMALL_TABLES),
        *("model.dim=4", "model.bottom=[8,4]", "model.top=[8,1]"),
    ),
    "llama31_8b": doubles(
        *("Sequences", 12_288, "data.train_samples=2400000", "model.layers=1", "model.width=16"),
        *("model.heads=2", "model.kv_heads=1", "model.feedforward=16"),
    ),
    "bert": doubles(
        *("Masked", 150_000, "model.initial=null", "model.layers=1", "model.width=8"),
        *("model.heads=2", "model.feedforward=8"),
    ),
}


def shrunk(tmp_path: Path, name: str, *overrides: str, judged: bool = False):
    """A run of the benchmark's own settings with doubles in it, and its folder."""
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "in_it").write_text("but what the page cache can forget")
    leap, settings = SHRUNK[name]
    typed = (f"benchmark={name}", *settings, "data.root=nothing", "device=cpu", *overrides)
    folder = frozen(tmp_path, *typed)
    threshold = composed(f"benchmark={name}").target.threshold
    script = {"DOUBLE_LEAP": str(leap), "DOUBLE_REACHES": str(threshold)}
    return start(folder, judged=judged, **script), folder


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_run_by_the_benchmarks_own_settings_passes_the_official_checker(
    tmp_path: Path, name: str
):
    done, folder = shrunk(tmp_path, name)
    assert done.returncode == 0, done.stdout + done.stderr
    log = folder / "result_0.txt"
    bare = subprocess.run(
        [
            *(sys.executable, "-m", "mlperf_logging.compliance_checker", "--werror"),
            *("--usage", "training", "--ruleset", OFFICIAL[name], str(log)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 0, bare.stdout + bare.stderr
    verdict = compliance.check_file(log, OFFICIAL[name])
    assert (verdict.official, verdict.division, verdict.problems) == (True, "closed", ())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["compliance"]["passed"], summary["compliance"]["official"]) == (True, True)
    assert folder.name == f"seed_{summary['seed']}"
    assert len([line for line in log.read_text().splitlines() if '"eval_accuracy"' in line]) == 2


@pytest.mark.parametrize("division", ["closed", "open"])
def test_a_frozen_run_that_is_not_its_benchmark_is_refused_by_the_worker(tmp_path, division):
    done, folder = shrunk(tmp_path, "resnet", f"benchmark.division={division}", judged=True)
    assert done.returncode == 2
    assert "data._target_=doubles.Images" in done.stderr
    assert "benchmark.id=my_resnet" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [*folder.glob("result_*"), *folder.glob("summary.json")]


def test_a_closed_run_ends_before_its_start_where_the_cache_was_not_cleared(tmp_path):
    (tmp_path / "empty").mkdir()  # of which nothing can be cleared
    done, folder = shrunk(tmp_path, "resnet", "data.root=empty")
    assert done.returncode == 2
    assert "the page cache was not cleared on " in done.stderr
    assert "benchmark.division=open" in done.stderr
    assert "Traceback" not in done.stderr
    events = (folder / "events.jsonl").read_text()
    assert "run_start" not in events
    assert "init_start" not in events


def test_an_open_run_goes_on_where_the_cache_was_not_cleared(tmp_path):
    (tmp_path / "empty").mkdir()
    open_run = ("model=resnet_small", "benchmark.division=open")
    done, folder = shrunk(tmp_path, "resnet", "data.root=empty", *open_run)
    assert done.returncode == 0, done.stderr
    assert "cache_clear is not logged" in done.stdout
    assert "run_start" in (folder / "events.jsonl").read_text()
