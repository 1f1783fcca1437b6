"""Options and overrides that are written wrongly: a sentence each, with what to type."""

import pytest

from ground import Command, Refused
from ttt import config
from ttt.cli import options, overrides
from ttt.cli.run import problems

WRONG = [
    (
        ["--launcher=torchrun"],
        "--launcher is not an option; a setting has no dashes: launcher=torchrun",
    ),
    (["--procs", "2"], "a setting has no dashes: launcher=torchrun launcher.procs=2"),
    (["--seed", "3"], "a setting has no dashes: seed=3"),
    (["--compile"], "a setting has no dashes: compile=true"),
    (["--mutlirun", "seed=1"], "--mutlirun is not an option; close to it: --multirun; --multirun"),
    (["--config-dri", "x"], "close to it: --config-dir; --config-dir"),
    (["--config-dir"], "--config-dir needs a value; --config-dir DIR"),
    (["--config-path", "x"], "--config-path is not for ttt run"),
    (["--multirun=true"], "--multirun takes no value; --multirun"),
    (["--cfg", "jbo"], "--cfg jbo is not allowed; allowed: job, hydra, all; --cfg job"),
    (["--cfg"], "--cfg needs a value; --cfg job"),
    (["--resolve"], "--resolve has no effect without --cfg; --cfg job --resolve"),
    (["--package", "data"], "--package has no effect without --cfg; --cfg job --package data"),
    (["--run", "--multirun"], "--run and --multirun cannot go together"),
    (["--info", "nonsense"], "--info nonsense is not allowed; allowed: all, "),
    (["-x"], "-x is not an option; "),
    (["config_dir=mine"], "config_dir=mine is an option; --config-dir mine"),
    (["multirun=true"], "multirun=true is an option; --multirun"),
    (["data.root", "=", "x"], "data.root = x: NAME=VALUE is written without blanks; data.root=x"),
    (["data.root=", "x"], "data.root= x: NAME=VALUE is written without blanks; data.root=x"),
    (["seed", "=3"], "seed =3: NAME=VALUE is written without blanks; seed=3"),
    (
        ["keep=[weights,", "predictions]"],
        "NAME=VALUE is written without blanks; 'keep=[weights,predictions]'",
    ),
    (["runs", "3"], "runs 3: NAME=VALUE is written without blanks; runs=3"),
    (["benchmark", "digit"], "NAME=VALUE is written without blanks; benchmark=digits"),
    (["seed", "dates"], "dates is not NAME=VALUE; benchmark=dates"),
    (["--runs=3"], "--runs is not an option; a setting has no dashes: runs=3"),
    (["tracking.name=wandb"], "tracking.name is not a setting; tracking=wandb"),
    (["rn=3"], "rn is not a setting; close to it: runs; runs=3"),
    (["run=3"], "remove run=3, and for several runs type runs=3"),
    (["optim.lr=0,1"], "or with a decimal point: optim.lr=0.1"),
    (["target.threshold=0,97"], "or with a decimal point: target.threshold=0.97"),
    (["run_root=a,b"], "--multirun run_root=a,b, or 'run_root=\"a,b\"'"),
    (["seed=one"], "seed=one is not allowed; allowed: a whole number, or null; seed=1"),
    (["seed==3"], "seed==3: one = is enough; seed=3"),
    (["=3"], "=3 is not NAME=VALUE; allowed: NAME=VALUE, as in seed=3"),
    (["seed"], "seed is not NAME=VALUE"),
    (["dates"], "dates is not NAME=VALUE; benchmark=dates"),
    (["help"], "help is not NAME=VALUE; an option has dashes: --help"),
    (["seed="], "seed= is not allowed; allowed: a whole number, or null; seed=null"),
    (["seed=1,2"], "a launch for each: --multirun seed=1,2"),
    (["data.mean=0.5,0.5,0.5"], "several values are a list; 'data.mean=[0.5,0.5,0.5]'"),
    (["benchmark=digits,dates"], "a sweep: --multirun benchmark=digits,dates"),
    (["~seed"], "~seed: a setting of ttt cannot be taken away; remove ~seed"),
    (["~setting"], "setting is not a setting; remove ~setting"),
    (["~data"], "~data: a choice cannot be taken away; data=bert_topics"),
    (["+setting=1"], "setting is not a setting; remove +setting=1"),
    (["+data.rot=1"], "data.rot is not a setting; close to it: data.root; remove +data.rot=1"),
    (["++x.y=1"], "x is not a setting; remove "),
    (["+optim=adam"], "+optim=adam: optim has one choice already; optim=adam"),
    (["data@x=digits"], "data@x=digits: @ has no meaning here; data=digits"),
    (["hydra.rn.dir=x"], "hydra.rn.dir=x: no such setting of Hydra; ttt run --cfg hydra"),
    (["hydra/launcher=joblib"], "hydra/launcher=joblib: no such choice; allowed: basic"),
    (["data=null"], "data=null: no such choice; allowed: bert_topics, "),
    (["benchmark=3"], "benchmark=3: no such choice; allowed: bert, "),
    (["timeout=3"], "timeout=3 is not allowed; allowed: its own settings, as timeout.join_seconds"),
    (["target=null"], "target=null is not allowed; allowed: its own settings, as target.metric"),
    (["luncher.procs=2"], "launcher=torchrun launcher.procs=2"),
    (["lr=3"], "lr is not a setting; close to it: optim.lr; optim.lr=3"),
    (
        ["optim.beta_1=3"],
        "optim.beta_1 is a setting of optim=adam, optim=adamw, optim=lamb only;"
        " optim=lamb optim.beta_1=3",
    ),
    (
        ["precision=bf61"],
        "precision=bf61 is not allowed; allowed: fp32, tf32, bf16, fp16; precision=bf16",
    ),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[" ".join(one)[:30] for one, _ in WRONG])
def test_a_sentence_says_what_to_type(arguments: list[str], said: str):
    config.register()
    found = overrides.diagnose(arguments, None, problems)
    assert [said in problem for problem in found].count(True) == 1, found
    assert not any("\n" in problem for problem in found)


def test_an_unclosed_bracket_takes_in_no_other_setting():
    config.register()
    found = overrides.diagnose(["keep=[weights,", "seed=x"], None, problems)
    assert [said.partition(":")[0][:6] for said in found] == ["keep=[", "seed=x"]


def test_a_launch_for_each_is_all_there_is_for_several_whole_numbers():
    config.register()
    [found] = overrides.diagnose(["seed=1,2"], None, problems)
    assert found.endswith("a launch for each: --multirun seed=1,2")


ODD = [
    (["=3"], "=3 is not NAME=VALUE"),
    (["benchmark=3"], "benchmark=3: no such choice; allowed: bert, "),
    (["data=null"], "data=null: no such choice; allowed: bert_topics, "),
    (["seed=" + "9" * 5000], "is not allowed: Exceeds the limit"),
    (["--config-name", "digits"], "--config-name digits: no such file"),
    (["--resolve"], "--resolve has no effect without --cfg"),
    (["--launcher=torchrun"], "launcher=torchrun"),
]


@pytest.mark.parametrize(("arguments", "said"), ODD)
def test_what_hydra_meets_with_other_errors(refused: Refused, arguments: list[str], said: str):
    [sentence] = refused(*arguments)
    assert said in sentence


def test_all_problems_are_told_at_once(refused: Refused):
    found = refused(
        "--procs", "2", "benchmark=dgits", "sed=3", "precision=fp8", "accumulate=0", "x"
    )
    begins = ["--procs", "x is", "benchmark=dgits", "sed is", "precision=fp8", "accumulate=0"]
    assert [said[: len(word)] for said, word in zip(found, begins, strict=True)] == begins


def test_neither_hydra_nor_python_says_more(ttt: Command):
    done = ttt("run", "data.rot=1", "seed=${nope}", "--seed", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert [line[:5] for line in done.stderr.splitlines()] == ["ttt: "] * 3
    assert "HYDRA" not in done.stderr


def test_options_are_told_from_overrides_as_hydra_tells_them():
    typed = options.read(["seed=1", "-cd", "mine", "runs=2", "--multi", "--info", "--", "--x"])
    assert typed.options == {"--config-dir": "mine", "--multirun": None, "--info": None}
    assert typed.overrides == ["seed=1", "runs=2", "--x"]
    assert typed.problems == ["--multirun and --info cannot go together; one of them"]
    assert typed.sweeps
