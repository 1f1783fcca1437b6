"""A sweep is judged as a whole: nothing starts if one of its launches cannot."""

import pytest

from ground import Refused
from ttt import config
from ttt.cli import options, sweep
from ttt.schema.run import RunConfig

FIRST = [
    ("seed=1,2,x", "launch 3 of 3 (seed=x): seed=x is not allowed"),
    ("benchmark=digits,digit", "launch 2 of 2 (benchmark=digit): benchmark=digit: no such choice"),
    ("benchmark=glob(d*)", "launch 3 of 3 (benchmark=dlrm_dcnv2): data.root is not set"),
    ("accumulate=range(1,6)", "launch 5 of 5 (accumulate=5): data.global_batch=72 does not divide"),
    ("data.rot=1,2", "launch 1 of 2 (data.rot=1): data.rot is not a setting"),
    ("seed=range(0,1000000000)", "the sweep has more than 10000 launches"),
    ("seed=a(", "seed=a(: Hydra reads "),
    ("benchmark=glob(x*)", "benchmark=glob(x*) is no launch at all; allowed: bert, "),
    ("seed=range(3,1)", "seed=range(3,1) is no launch at all"),
]


@pytest.mark.parametrize(("typed", "said"), FIRST)
def test_the_first_launch_that_cannot_start_is_named(refused: Refused, typed: str, said: str):
    found = refused("--multirun", typed)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_all_that_is_wrong_with_that_launch_is_told(refused: Refused):
    found = refused("-m", "optim.lr=0.1,-1", "seed=1,2", "accumulate=1,0")
    assert found == [
        "launch 2 of 8 (optim.lr=0.1 seed=1 accumulate=0): accumulate=0 is not allowed;"
        " allowed: above 0; accumulate=1"
    ]
    found = refused("-m", "optim.lr=-1,1", "accumulate=0,1")
    assert [one.partition(": ")[2].partition(" ")[0] for one in found] == [
        "optim.lr=-1",
        "accumulate=0",
    ]


def test_a_hundred_launches_are_judged_beforehand():
    config.register()
    judged: list[int] = []

    def problems(one: RunConfig) -> list[str]:
        judged.append(one.seed or 0)
        return []

    typed = options.read(["--multirun", "seed=range(1,151)"])
    assert sweep.faults(typed, problems) == []
    assert judged == list(range(1, 101))


def test_what_is_no_value_of_a_sweep_is_told_beside_it(refused: Refused):
    assert refused("-m", "seed=1,2", "--procs", "2") == [
        "--procs is not an option; a setting has no dashes: launcher=torchrun launcher.procs=2"
    ]
    [sentence] = refused("-m", "seed=1,2", "hydra.rn.dir=x")
    assert sentence.startswith("hydra.rn.dir=x: no such setting of Hydra")


def test_no_sweep_has_no_faults_here():
    assert sweep.faults(options.read(["seed=x"]), lambda run: ["wrong"]) == []
