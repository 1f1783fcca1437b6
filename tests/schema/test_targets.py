"""What a configuration may name: parts of a run, ttt's own and anybody's; and nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ground import Refused, environment
from ttt import config
from ttt.cli import counted
from ttt.data import cached, dali, resident
from ttt.data.clicks import Clicks
from ttt.data.text import ParallelText
from ttt.errors import ConfigError
from ttt.launch.job import Launcher
from ttt.protocols import Data, Sink, Task
from ttt.schema import nodes, targets
from warm import completed

HOSTILE = [
    *("os.system", "posix.system", "subprocess.Popen", "subprocess.run", "builtins.eval"),
    *("builtins.exec", "sys.exit", "shutil.rmtree", "importlib.import_module", "runpy.run_path"),
    *("pickle.loads", "ctypes.CDLL", "socket.socket", "code.interact", "functools.partial"),
    *("pathlib.Path", "types.SimpleNamespace", "pydoc.pipepager", "logging.os.system"),
    *("hydra.utils.instantiate", "hydra.utils.call", "torch.load", "torch.hub.load"),
    *("torch.utils.collect_env.run", "numpy.load", "yaml.unsafe_load", "cloudpickle.loads"),
    *("sympy.sympify", "pip.main", "ttt.worker.main", "ttt.launch.process.supervise"),
    *(
        "ttt.launch.slurm.submit",
        "ttt.config.instantiate",
        "ttt.distributed.world.Group",
        "ttt.launch.mpi.Mpi",
    ),
    *("print", "", "os", "mine.__builtins__.eval", "mine..Task", "mine.x y", ".os.system"),
]
ROLES = ("data", "model", "task", "optim", "schedule", "tracking")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of one's own, which leaves a mark when it is imported, and which can be."""
    (tmp_path / "mine.py").write_text(OWN.replace("MARK", str(tmp_path / "imported")))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


OWN = """
import os, subprocess
from pathlib import Path
import torch
from torch import nn
from ttt.launch.process import supervise
from ttt.tasks.image import ImageClassification
Path("MARK").touch()
system, Popen, loads, Worker = os.system, subprocess.Popen, torch.load, supervise

class Network(nn.Module):
    def __init__(self, width=1, body=None, more=()):
        super().__init__()
        self.body, self.more = body, more

class Body(nn.Module):
    pass

class Task(ImageClassification):
    pass

class Empty:
    pass

class Falls:
    def __init__(self, base_lr):
        self.lr = base_lr
    def __call__(self, step):
        return self.lr

class Own:
    def loss(self, model, batch): ...
    def predict(self, model, batch): ...
    def metric(self): ...
    inner = Body

def network(width: int = 1) -> Network:
    return Network(width)

def optimizer(model: nn.Module, lr: float = 1.0) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr)

def silent(**anything):
    Path("MARK.called").touch()

an_object = Network()
"""


def node(target: Any, **values: Any) -> SimpleNamespace:
    return SimpleNamespace(_target_=target, **values)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("target", [*HOSTILE, None, 7, ["os.system"], {"a": 1}])
def test_what_is_no_part_is_refused_before_anything_is_imported(mine: Path, role: str, target: Any):
    before = set(sys.modules)
    [sentence] = targets.problems(role, node(target))
    assert sentence.startswith(f"{role}._target_={target} is not allowed: ")
    assert f"; allowed: a class or function of {targets.PLACES[role]}, or one of your" in sentence
    with pytest.raises(ConfigError):
        config.instantiate(role, node(target))
    assert set(sys.modules) == before
    assert not (mine / "imported").exists()


@pytest.mark.parametrize("target", [*HOSTILE[:-7], "ttt.launch.local.Local"])
@pytest.mark.parametrize(
    "within",
    [
        lambda target: {"body": target},
        lambda target: {"body": target | {"_partial_": True}},
        lambda target: {"_recursive_": False, "body": target},
        lambda target: {"_args_": [1, [target]]},
        lambda target: {"body": {"x": [{"y": target}]}},
        lambda target: {"body": {"_target_": "mine.Body", "more": (target,)}},
    ],
)
def test_so_is_one_that_is_deep_inside_a_part(mine: Path, target: str, within: Any):
    inside = within({"_target_": target, "_args_": ["x"]})
    [sentence] = targets.problems("model", node("mine.Network", **inside))
    assert f"._target_={target} is not allowed: " in sentence
    assert sentence.startswith("model.")
    with pytest.raises(ConfigError):
        config.instantiate("model", node("mine.Network", **inside))
    assert not (mine / "imported").exists()


@pytest.mark.parametrize(
    ("role", "target", "why"),
    [
        ("model", "mine.system", "it is no class and no function"),
        ("model", "mine.os.system", "it is no class and no function"),
        ("model", "mine.Popen", "it is subprocess.Popen, and nothing of subprocess is a part"),
        ("model", "mine.subprocess.run", "it is subprocess.run, and nothing of subprocess"),
        ("model", "mine.loads", "it is torch.serialization.load, and nothing of torch is a part"),
        ("model", "mine.Worker", "it is ttt.launch.process.supervise, and it is not in ttt.models"),
        ("model", "mine.Path", "it is pathlib.Path, and nothing of pathlib is a part"),
        ("model", "mine.an_object", "it is no class and no function"),
        ("model", "mine.nn", "it is no class and no function"),
        ("model", "mine.Empty", "it makes no torch.nn.Module"),
        ("model", "mine.silent", "does not say what it returns; def ...(...) -> torch.nn.Module"),
        ("model", "mine.optimizer", "it makes no torch.nn.Module"),
        ("optim", "mine.network", "it makes no torch.optim.Optimizer"),
        ("task", "mine.Network", "it makes no object with loss and predict and metric"),
        ("data", "mine.Task", "it makes no object with synthetic and train and eval"),
        ("schedule", "mine.Own", "it makes no object with __call__"),
        ("launcher", "mine.Task", "it makes no object with processes and problems and launch"),
        ("launcher", "ttt.launch.process.supervise", "it makes no object with processes"),
        ("tracking", "mine.Task", "it makes no object with write and close"),
        ("task", "mine.ImageClassification.loss", "it is ttt.tasks.image.ImageClassification"),
    ],
)
def test_what_a_name_leads_to_has_to_be_such_a_part(mine: Path, role: str, target: str, why: str):
    assert targets.problems(role, node(target)) == []
    with pytest.raises(ConfigError) as refused:
        config.instantiate(role, node(target))
    if target != "mine.ImageClassification.loss":
        assert f"{role}._target_={target} is not allowed: " in str(refused.value)
        assert why in str(refused.value)
    assert not (mine / "imported.called").exists()


@pytest.mark.parametrize("target", ["mine.subprocess.run", "mine.Path", "mine.loads", "mine.nn"])
def test_inside_a_part_a_second_name_of_what_is_refused_does_not_help(mine: Path, target: str):
    with pytest.raises(ConfigError, match=f"model.body._target_={target} is not allowed: it is"):
        config.instantiate(
            "model", node("mine.Network", body={"_target_": target, "_args_": ["x"]})
        )


def test_parts_of_ones_own_are_made_with_what_is_inside_them(mine: Path):
    inside = {"_target_": "mine.Body"}
    more = [{"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}]
    made = config.instantiate("model", node("mine.Network", body=inside, more=more))
    assert type(made.body).__name__ == "Body"
    assert made.more[0].out_features == 3
    partial = config.instantiate("model", node("mine.Network", body=inside | {"_partial_": True}))
    assert type(partial.body()).__name__ == "Body"
    assert type(config.instantiate("model", node("mine.network", width=3))).__name__ == "Network"
    assert type(config.instantiate("model", node("mine.Own.inner"))).__name__ == "Body"
    assert config.instantiate("optim", node("mine.optimizer"), made.more[0]).defaults["lr"] == 1.0
    groups = [torch.zeros(1, requires_grad=True)]
    adam = config.instantiate("optim", node("torch.optim.AdamW", lr=0.5), groups)
    assert adam.defaults["lr"] == 0.5
    assert (
        type(config.instantiate("task", node("mine.Task", label_smoothing=0.0))).__name__ == "Task"
    )
    assert type(config.instantiate("task", node("mine.Own"))).__name__ == "Own"
    assert config.instantiate("schedule", node("mine.Falls"), base_lr=0.5)(3) == 0.5


class Old:
    """As a class of data once had to be."""

    def __init__(self, *, world, channels_last, root): ...


class Heir(Old):
    """It hands on what it does not know."""

    def __init__(self, *, more=1, **settings):
        super().__init__(**settings)


class Anything:
    """It may do anything with its arguments."""

    def __init__(self, **settings): ...


class New:
    """It does not need to know of a memory format."""

    def __init__(self, *, world, root): ...


def made(*, world, channels_last=False) -> New: ...


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (Old, True),
        (Heir, True),
        (Anything, True),
        (made, True),
        (New, False),
        (dali.Images, True),
        (cached.Images, True),
        (resident.Images, True),
        (Clicks, False),
        (ParallelText, False),
    ],
)
def test_a_class_gets_the_memory_format_only_if_it_takes_one(thing, expected):
    assert targets.takes(thing, "channels_last") is expected
    assert targets.takes(thing, "world")


def test_every_part_of_ttt_is_one():
    seen = set()
    for name, schema in nodes.SCHEMAS.items():
        target = getattr(schema, "_target_", None) or getattr(schema(), "_target_", None)
        if not target or "$" in target:
            continue
        place = ".".join(target.split(".")[:2])
        roles = [role for role in targets.PLACES if targets.PLACES[role] == place]
        fitting = [role for role in roles if _fits(role, target)]
        assert len(fitting) == 1, (name, target, fitting)
        seen |= set(fitting)
    assert seen == set(targets.PLACES)
    for loader in ("dali", "resident", "cached"):
        assert _fits("data", f"ttt.data.{loader}.Images")


def _fits(role: str, target: str) -> bool:
    part = node(target)
    return not (targets.problems(role, part) or targets.misfit(role, part, config._locate))


def test_the_methods_asked_for_are_those_of_the_protocols():
    protocols = {"data": Data, "task": Task, "launcher": Launcher, "tracking": Sink}
    for role, protocol in protocols.items():
        assert set(targets._METHODS[role]) <= set(vars(protocol))


@pytest.mark.parametrize("name", ["prepare", "looks"])
def test_a_module_in_the_settings_of_data_is_judged_alike(name: str):
    own = node("mine.Data", **{name: "mine.prepare"})
    assert targets.problems("data", own) == []
    for module in ("os", "ttt.worker", "subprocess", "mine.__x__"):
        [sentence] = targets.problems("data", node("mine.Data", **{name: module}))
        assert sentence.startswith(f"data.{name}={module} is not allowed: ")


def test_all_of_them_are_told_before_any_process_starts(refused: Refused, digits: Path):
    said = refused(
        *(f"data.root={digits}", "task._target_=os.system", "model._target_=subprocess.Popen"),
        *("+model.inner._target_=shutil.rmtree", "launcher._target_=builtins.eval"),
    )
    names = [sentence.partition(" is not allowed")[0] for sentence in said]
    assert sorted(names) == [
        *("launcher._target_=builtins.eval", "model._target_=subprocess.Popen"),
        *("model.inner._target_=shutil.rmtree", "task._target_=os.system"),
    ]


def test_a_rank_refuses_what_a_run_folder_names(tmp_path: Path, digits: Path):
    """As a folder that somebody else has made, or changed, and that is started again."""
    config.register()
    run = config.resolve(counted.fill(config.compose([f"data.root={digits}", "seed=1"])))
    run.task = node("subprocess.getoutput", cmd="touch marked")
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(config.freeze(run))
    done = completed(
        [sys.executable, "-m", "ttt.worker", "run"],
        env=environment(),
        cwd=tmp_path,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "task._target_=subprocess.getoutput is not allowed" in said
    assert "Traceback" not in said
    assert not (tmp_path / "marked").exists()


def test_a_part_of_ones_own_that_has_not_the_settings_of_a_benchmark_says_so(mine: Path):
    """A shipped benchmark sets what its own model has; another in its place has it not."""
    with pytest.raises(ConfigError) as refused:
        config.instantiate("optim", node("mine.optimizer", momentum=0.9, nesterov=True), None)
    assert refused.value.problems == (
        "optim.momentum=0.9 is no setting of mine.optimizer; to leave it out: ~optim.momentum",
        "optim.nesterov=True is no setting of mine.optimizer; to leave it out: ~optim.nesterov",
    )
    with pytest.raises(ConfigError) as refused:
        config.instantiate("optim", node("mine.optimizer"))
    [sentence] = refused.value.problems
    assert sentence.startswith("optim: mine.optimizer cannot be called: missing a required arg")
