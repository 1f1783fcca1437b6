"""A user's mistakes: exit 2 before any process starts, every problem told, with what to type."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ground import Command, Refused
from ttt import config
from ttt.cli import overrides
from ttt.cli.run import problems

MISTAKES = [
    (["data.rot=1"], ["data.rot is not a setting", "data.root=1"]),
    (["benchmark=cifar11"], ["allowed: bert, bert_topics, cifar10, clicks, ", "benchmark=cifar10"]),
    (["optim=lar"], ["allowed: adagrad, adam, adamw, lamb, lars, sgd", "optim=lars"]),
    (["data.global_batch=many"], ["allowed: a whole number", "data.global_batch=72"]),
    (["data.loader=dully"], ["allowed: dali, resident, cached"]),
    (["precision=fp8"], ["allowed: fp32, tf32, bf16, fp16"]),
    (["launcher.procs=3"], ["launcher=torchrun launcher.procs=3"]),
    (["+surprise=1"], ["surprise is not a setting"]),
    (["=3"], ["NAME=VALUE"]),
    (["seed"], ["seed is not NAME=VALUE"]),
    (["benchmark=[digits,dates]"], ["a sweep: --multirun benchmark=digits,dates"]),
    (["seed=${nope}"], ["seed=${nope}: nope is not a setting"]),
    (["run_root=~/x"], ["quote the value: 'run_root=\"~/x\"'"]),
    (["launcher.proc=2"], ["launcher=torchrun has one: launcher=torchrun launcher.procs=2"]),
    (["benchmark=cifar10", "data.globalbatch=8"], ["data.global_batch=8"]),
    (["data.rot=1", "benchmark=nope", "seed=x"], ["data.rot", "benchmark=nope", "seed=x"]),
    (["seed=x", "target.threshold=97"], ["seed=x", "target.threshold=97 is outside"]),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_what_hydra_refuses_is_told_in_our_words(
    refused: Refused, arguments: list[str], said: list[str]
):
    found = "\n".join(refused(*arguments))
    for words in said:
        assert words in found


def test_a_config_dir_that_is_none(ttt: Command):
    done = ttt("run", "--config-dir", "nowhere", "benchmark=mine")
    assert done.returncode == 2
    assert "--config-dir nowhere is not a folder" in done.stderr


def test_a_users_file_that_would_not_be_read_is_refused(ttt: Command, tmp_path: Path):
    """Hydra takes ttt's own without a word."""
    (tmp_path / "mine" / "benchmark").mkdir(parents=True)
    file = tmp_path / "mine" / "benchmark" / "digits.yaml"
    file.write_text("# @package _global_\ntarget:\n  threshold: 0.5\n")
    done = ttt("run", "--config-dir", "mine")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mine/benchmark/digits.yaml would not be read" in done.stderr
    assert "mv mine/benchmark/digits.yaml mine/benchmark/my_digits.yaml" in done.stderr
    file.write_bytes((config.folder() / "benchmark" / "digits.yaml").read_bytes())
    assert overrides.shadowed(["--config-dir", str(tmp_path / "mine")]) == []


@pytest.mark.parametrize("where", ["hydra.run.dir=/proc/x", "hydra.sweep.dir=/proc/x"])
def test_a_folder_that_hydra_cannot_make_is_a_sentence(ttt: Command, where: str):
    done = ttt("run", where, *(["--multirun"] if "sweep" in where else []))
    assert done.returncode == 2
    assert "Hydra cannot write /proc/x" in done.stderr
    assert "Traceback" not in done.stderr


def test_values_that_lead_to_each_other_are_sentences(ttt: Command):
    done = ttt("run", "seed=${runs}", "runs=${seed}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Error executing job" not in done.stderr
    assert [line[:12] for line in done.stderr.splitlines()] == ["ttt: seed=${", "ttt: runs=${"]


IMPOSSIBLE = [
    (["target.threshold=0"], "target.threshold=0 is outside the range of top1"),
    (["target.threshold=97"], "type a fraction, as in target.threshold=0.97"),
    (["target.threshold=7", "target.range=[2,4]"], "at most 4; target.threshold=N"),
    (["target.eval_every_epochs=null"], "set exactly one"),
    (["target.eval_every_samples=100"], "set exactly one"),
    (["target.first_eval_samples=9", "target.first_eval_epochs=2"], "set at most one"),
    (["target.max_epochs=0"], "target.max_epochs=0 is not allowed"),
    (["target.max_seconds=-1"], "target.max_seconds=-1 is not allowed"),
    (["launcher=torchrun", "launcher.procs=5"], "data.global_batch=72 does not divide among 5"),
    (["accumulate=5"], "data.global_batch=72 does not divide among 1 processes x accumulate=5"),
    (["accumulate=0"], "accumulate=0 is not allowed"),
    (["data.global_batch=2000"], "data.train_samples=1437; data.global_batch=1437"),
    (["data.global_batch=2000", "accumulate=5"], "training set; allowed: up to"),
    (["data.augment=random_resized_crop", "data.loader=resident"], "data.loader=dali"),
    (["data.pad=2"], "data.pad=2 has no effect"),
    (["data.mean=[0.5]"], "must have 3 values"),
    (["runs=0"], "runs=0 is not allowed"),
    (["seed=-1"], "seed=-1 is not allowed"),
    (["model.blocks=[1]"], "must be equally long"),
    (["schedule.warmup_epochs=4"], "schedule.warmup_epochs=4 is not allowed"),
    (["device=cuda"], "device=cuda and no GPU is visible"),
    (["device=cuda", "launcher=torchrun"], "device=cuda and no GPU is visible"),
    (["data.prepare=null", "data.root=/nowhere"], "data.root=/nowhere is not a folder"),
    (
        ["benchmark=cifar10"],
        "data.root=DIR, made by: ttt data cifar10 --src ... --out data/cifar10",
    ),
    (["benchmark=resnet"], "made by: ttt data imagenet --src ... --out data/imagenet"),
    (["launcher=torchrun", "launcher.nodes=2"], "launcher.rdzv_endpoint=node1:29500"),
    (["launcher=torchrun", "launcher.procs=0"], "launcher.procs"),
    (["benchmark.ruleset=9.9.9"], "benchmark.ruleset=9.9.9 is not a ruleset; allowed: "),
    (["benchmark.division=closed"], "digits is not an MLPerf benchmark"),
    (["target.metric=bleu"], "target.metric=bleu is not what the task computes; allowed: top1"),
    (["target.metric="], "target.metric=top1"),
    (["benchmark=dates", "target.metric=top1"], "allowed: bleu"),
    (
        ["benchmark=topics", "target.higher_is_better=true"],
        "target.higher_is_better=true is not so of log_perplexity; allowed: false; target.",
    ),
    (
        ["target.higher_is_better=false"],
        "target.higher_is_better=false is not so of top1; allowed: true; target.higher_is",
    ),
    (
        ["target.threshold=4.6"],
        "type a fraction, as in target.threshold=0.046, or the metric's own target.range=",
    ),
    (["+launcher.foo=1"], "launcher.foo is not a setting; remove +launcher.foo=1"),
    (["runs=1000000000"], "runs=1000000000 is not allowed"),
    (["seed=99999999999"], "seed=99999999999 is not allowed; allowed: 0 to "),
    (["optim.lr=nan"], "optim.lr"),
    (["target.threshold=nan"], "target.threshold"),
    (["target.range=[]"], "target.range"),
    (["model.stem_stride=0"], "model.stem_stride"),
    (["benchmark.id=../../x"], "benchmark.id='../../x' is not a name"),
    (["benchmark.id=a/b"], "benchmark.id='a/b' is not a name"),
    (["benchmark.id="], "benchmark.id='' is not a name"),
    (["benchmark=clicks", "target.metric=top1"], "allowed: auc"),
    (["optim.momentum=nan"], "optim.momentum=nan is no finite number; allowed: 0 to below 1; "),
    (["optim.momentum=0"], "optim.nesterov=false"),
    (["optim.weight_decay=-1"], "optim.weight_decay=-1 is not allowed; allowed: 0 or more; "),
    (["task.label_smoothing=7"], "allowed: 0 to below 1; task.label_smoothing=0"),
    (["schedule.end_lr=nan"], "schedule.end_lr=nan is no finite number; allowed: 0 or more"),
    (["schedule.epochs=inf"], "schedule.epochs=inf is no finite number; allowed: above 0"),
    (["schedule.epochs=nan"], "schedule.epochs=nan is no finite number; allowed: above 0"),
    (["clip_norm=inf"], "clip_norm=inf is no finite number; allowed: above 0; clip_norm=null"),
    (["target.range=[0,inf]"], "target.range=[0,inf] is no finite number; allowed: numbers; "),
    (["data.mean=[nan,0,0]"], "data.mean=[nan,0,0] is no finite number; allowed: numbers; "),
    (
        ["benchmark=topics", "model.rope_theta=inf"],
        "rope_theta=inf is no finite number; allowed: above 0; model.rope_theta=500000",
    ),
    (
        ["benchmark=topics", "model.rope_high=nan"],
        "rope_high=nan is no finite number; allowed: above 0; model.rope_high=4",
    ),
    (["benchmark=topics", "model.rope_low=inf"], "rope_low=inf is no finite number"),
    (
        ["benchmark=topics", "model.norm_epsilon=0"],
        "model.norm_epsilon=0 is not allowed; allowed: 1.18e-38 or more; model.norm_epsilon=1e-05",
    ),
    *(
        (
            [f"optim={name}", f"optim.epsilon={epsilon}"],
            f"optim.epsilon={epsilon} divides 0 by 0 where a weight has had no gradient yet;"
            " allowed: 1.18e-38 or more; optim.epsilon=1e-8",
        )
        for name in ("adam", "adamw", "lamb", "adagrad")
        for epsilon in ("0", "1e-50")
    ),
    (["data.std=[0,1,1]"], "allowed: above 0; data.std=[1,1,1]"),
    (["data.pad=-1", "data.augment=pad_crop"], "data.pad=-1 is not allowed"),
    (["data.size=" + "9" * 400], "data.size=99999999999999999999... is not allowed; allowed: "),
    (["accumulate=-" + "9" * 400], "is not allowed; allowed: numbers up to 9223372036854775807"),
    (["model.widths=[-3,64]"], "model.widths=[-3,64] is not allowed; allowed: above 0"),
    (["model.blocks=[-1,0]"], "model.blocks=[-1,0] is not allowed; allowed: 0 or more"),
    (["model.widths=[]", "model.blocks=[]"], "model.widths=[] is not allowed"),
    (["model.norm_momentum=7"], "allowed: 0 to 1; model.norm_momentum=0.4"),
    (["benchmark=dates", "optim=lamb", "optim.beta_1=1"], "optim.beta_1=1 is not allowed"),
    (["benchmark=dates", "model.dropout=1"], "allowed: 0 to below 1; model.dropout=0"),
    (["benchmark=dates", "task.beam=0"], "task.beam=0 is not allowed; allowed: above 0"),
    (["benchmark=dates", "task.extra_length=-1"], "task.extra_length=-1 is not allowed"),
    (["benchmark=clicks", "optim.lr_decay=nan"], "optim.lr_decay=nan is no finite number"),
    (
        ["tracking.project=x"],
        "tracking.project=x has no effect: the run is not tracked; tracking=wandb, or leave",
    ),
    (["tracking.mode=online"], "tracking.mode=online has no effect: the run is not tracked"),
    (
        ["benchmark=dates", "data.accumulate=3"],
        "data.accumulate=3 is not accumulate=1, which it follows; accumulate=3, and leave data.acc",
    ),
    (["benchmark=dates", "data.accumulate=-1"], "data.accumulate=-1 is not accumulate=1"),
    (["processes=3"], "processes=3 is filled in at launch; remove processes=3"),
]


@pytest.mark.parametrize(("overrides", "said"), IMPOSSIBLE)
def test_an_impossible_value_is_one_problem(overrides: list[str], said: str):
    config.register()
    found = problems(config.resolve(config.compose(overrides)))
    assert len(found) == 1, found
    assert said in found[0]


def test_a_launcher_of_a_users_own_comes_without_a_schema():
    config.register()
    run = config.resolve(config.compose([]))
    run.launcher = SimpleNamespace(**vars(run.launcher))
    assert problems(run) == []


def test_a_setting_that_no_launcher_has_hides_no_other_problem():
    config.register()
    found = problems(config.resolve(config.compose(["+launcher.foo=1", "accumulate=0"])))
    assert ["foo" in found[0], "accumulate" in found[1], len(found)] == [True, True, 2]


def test_more_processes_than_gpus_is_a_problem(monkeypatch: pytest.MonkeyPatch):
    config.register()
    monkeypatch.setattr("ttt.launch.devices.visible_gpus", lambda: 2)
    asked = ["launcher=torchrun", "launcher.procs=4"]
    [found] = problems(config.resolve(config.compose(asked)))
    assert "launcher.procs=4 is more than the 2 visible GPUs; launcher.procs=2" in found
    assert problems(config.resolve(config.compose([*asked, "device=cpu"]))) == []
    assert problems(config.resolve(config.compose(asked[:1]))) == []


BENCHMARKS = (
    "bert bert_topics cifar10 clicks clothing10 dates digits dlrm_dcnv2 flights gnmt llama31_8b"
    " llama31_8b_twin multi30k resnet resnet_sgd shakespeare topics transformer"
).split()


def test_every_benchmark_composes_and_freezes_to_itself():
    config.register()
    names = sorted(path.stem for path in (config.folder() / "benchmark").glob("*.yaml"))
    assert names == BENCHMARKS
    for name in names:
        run = config.resolve(config.compose([f"benchmark={name}"]), seed=5, run=2)
        text = config.freeze(run)
        assert "${" not in text
        again = config.load(text)
        assert config.freeze(again) == text
        assert (again.seed, again.run) == (5, 2)
        assert name.startswith(again.benchmark.id)  # resnet_sgd is resnet by another optimizer
        assert again.benchmark.division == ("closed" if again.benchmark.ruleset else "open")


def test_the_log_names_the_optimizer_that_is_used():
    config.register()
    assert config.resolve(config.compose([])).mlperf["opt_name"] == "sgd"
    run = config.resolve(config.compose(["optim=lars", "optim.lr=3"]))
    assert run.mlperf["opt_name"] == "lars"
    assert run.mlperf["lars_opt_base_learning_rate"] == 3


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim=lars", "optim.epsilon=0"],  # what MLPerf has; it divides by no norm of 0
        ["optim=adagrad", "optim.epsilon=0", "optim.initial_accumulator_value=0.1"],
    ],
)
def test_an_epsilon_of_0_that_no_division_needs(overrides: list[str]):
    config.register()
    assert problems(config.resolve(config.compose(overrides))) == []


def test_no_problem_by_default():
    config.register()
    assert problems(config.resolve(config.compose([]))) == []
