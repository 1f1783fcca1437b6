"""From composed configuration to frozen text and back; the only file that knows OmegaConf.

A configuration is composed once, by Hydra, where the run is typed. What leaves is text without
interpolations, `config.yaml`. Workers load that text; they never compose.
"""

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra.utils
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ttt.errors import ConfigError
from ttt.schema import (
    clicks,
    launchers,
    parts,
    recommendation_models,
    text,
    tracking,
    translation_models,
)
from ttt.schema.closed import evaluation_interval
from ttt.schema.run import RunConfig

CompositionError = (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError)

_SCHEMAS = {
    "run": RunConfig,
    "images": parts.ImageDataConfig,
    "resnet_small": parts.ResNetSmallConfig,
    "resnet50": parts.ResNet50Config,
    "image_task": parts.ImageTaskConfig,
    "clicks": clicks.ClickDataConfig,
    "recommendation_task": clicks.RecommendationTaskConfig,
    "text": text.TextDataConfig,
    "translation_task": text.TranslationTaskConfig,
    "sgd": parts.SgdConfig,
    "lars": parts.LarsConfig,
    "polynomial": parts.PolynomialConfig,
    "cosine": parts.CosineConfig,
    "onecycle": parts.OneCycleConfig,
    "transformer": translation_models.TransformerConfig,
    "gnmt": translation_models.GnmtConfig,
    "adam": translation_models.AdamConfig,
    "inverse_sqrt": translation_models.InverseSqrtConfig,
    "gnmt_schedule": translation_models.GnmtScheduleConfig,
    "dlrm_dcnv2": recommendation_models.DlrmDcnV2Config,
    "adagrad": recommendation_models.AdagradConfig,
    "constant": recommendation_models.ConstantConfig,
    "local": launchers.LocalConfig,
    "torchrun": launchers.TorchrunConfig,
    "mpi": launchers.MpiConfig,
    "slurm": launchers.SlurmConfig,
    "tracking": tracking.TrackingConfig,
}
# The parts of a run that name a class; a user's own come without a schema of ours.
_NODES = ("data", "model", "task", "optim", "schedule", "launcher")


def register() -> None:
    """Make the schemas known to Hydra, as the group `schema` that YAML files build on."""
    store = ConfigStore.instance()
    for name, node in _SCHEMAS.items():
        store.store(group="schema", name=name, node=node)
    OmegaConf.register_new_resolver("benchmarks", _benchmarks, replace=True)
    # What the rules derive from other settings: ${steps:EPOCHS,${data.train_samples},...}.
    OmegaConf.register_new_resolver("steps", _steps, replace=True)
    OmegaConf.register_new_resolver("micro_batch", _micro_batch, replace=True)
    OmegaConf.register_new_resolver("evaluation_interval", evaluation_interval, replace=True)


def folder() -> Path:
    """Where the YAML files are: in an installed package, or beside it in the repository."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def compose(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """What Hydra would compose for these overrides, without running anything.

    Raises:
        CompositionError: Hydra would refuse them.
    """
    return _composed("config", overrides, config_dir)


def _composed(name: str | None, overrides: list[str], config_dir: str | None) -> DictConfig:
    outer = GlobalHydra.get_state()  # of the application that asks, if any
    GlobalHydra.instance().clear()
    extra = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    try:
        with hydra.initialize_config_dir(str(folder()), version_base="1.3"):
            return hydra.compose(name, [*extra, *overrides])
    finally:
        GlobalHydra.set_state(outer)


def settings_of(group: str, option: str, config_dir: str | None = None) -> list[str]:
    """The settings that one choice of a group has by itself, dotted.

    Raises:
        CompositionError: Its file has faults.
    """
    node = _composed(None, [f"+{group}={option}"], config_dir).get(group)
    return list(settings(node)) if isinstance(node, DictConfig) else []


def choice(group: str, overrides: list[str]) -> str:
    """Which file of a group these overrides choose, as imagenet of data by benchmark=resnet.

    Raises:
        CompositionError: Hydra would refuse them.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(folder()), version_base="1.3"):
        composed = hydra.compose("config", overrides, return_hydra_config=True)
    return str(composed.hydra.runtime.choices[group])


def settings(composed: DictConfig) -> dict[str, Any]:
    """Every setting that can be overridden, by its dotted name, with its value as written."""
    found: dict[str, Any] = {}

    def visit(prefix: str, node: Any) -> None:
        for name, value in node.items():
            found[f"{prefix}{name}"] = value
            if isinstance(value, dict):
                visit(f"{prefix}{name}.", value)

    visit("", OmegaConf.to_container(composed, resolve=False, enum_to_str=True))
    return found


def resolve(composed: DictConfig, **values: Any) -> RunConfig:
    """Plain typed objects, every interpolation resolved.

    Args:
        composed: What Hydra composed.
        values: Settings to change first, so that what is computed from them follows.

    Raises:
        CompositionError: An interpolation leads nowhere.
    """
    run = OmegaConf.to_object(OmegaConf.merge(composed, values))
    assert isinstance(run, RunConfig)
    for name in _NODES:
        setattr(run, name, _part(getattr(run, name)))
    run.run_root = os.path.expanduser(run.run_root)  # a YAML file has no shell that does it
    return run


def data(composed: DictConfig) -> Any:
    """The settings of the data set alone, as `resolve` gives them.

    Raises:
        CompositionError: An interpolation leads nowhere.
    """
    node = composed.get("data")
    return _part(OmegaConf.to_object(node) if isinstance(node, DictConfig) else node)


def _part(node: Any) -> Any:
    """A part of a run as an object, whoever wrote its class; a root as a shell would have it."""
    if isinstance(node, dict):
        node = SimpleNamespace(**node)
    if isinstance(getattr(node, "root", None), str):
        node.root = os.path.expanduser(node.root)
    return node


def changed(composed: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """A copy with some settings changed, as far as it has them and the values are of their type.

    Args:
        composed: What Hydra composed.
        values: Plain values by dotted name.
    """
    known, copy = settings(composed), composed.copy()
    for name, value in values.items():
        if name in known and not isinstance(known[name], dict):
            with contextlib.suppress(OmegaConfBaseException):
                OmegaConf.update(copy, name, value)
    return copy


def plain(run: RunConfig) -> dict[str, Any]:
    """Every setting by its dotted name, with a plain value, also for parts of a user's own."""
    found: dict[str, Any] = {}

    def visit(prefix: str, node: Any) -> None:
        for name, value in (node if isinstance(node, dict) else vars(node)).items():
            if isinstance(value, dict | SimpleNamespace) or is_dataclass(value):
                visit(f"{prefix}{name}.", value)
            else:
                found[f"{prefix}{name}"] = value.name if isinstance(value, Enum) else value

    visit("", run)
    return found


def freeze(run: RunConfig) -> str:
    """The text of `config.yaml`; `load` gives the same run back."""
    values = {name: getattr(run, name) for name in vars(run)}
    plain = {n: dict(vars(v)) if isinstance(v, SimpleNamespace) else v for n, v in values.items()}
    return OmegaConf.to_yaml(OmegaConf.create(plain), resolve=True)


def load(text: str) -> RunConfig:
    """Read a frozen configuration.

    The nodes that name a class (`_target_`) come back as namespaces, whoever wrote that class.
    """
    merged = OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.create(text))
    assert isinstance(merged, DictConfig)
    return resolve(merged)


def build(node: Any, /, *args: Any, without: tuple[str, ...] = (), **kwargs: Any) -> Any:
    """Make what a node describes: call its `_target_` with its values and these arguments.

    Args:
        node: A schema object or a namespace from `load`.
        args: Positional arguments, before the node's own.
        without: Names in the node that are not arguments of its target.
        kwargs: Further arguments that only code can give.

    Raises:
        ConfigError: There is no such target.
    """
    values = {name: value for name, value in vars(node).items() if name not in without}
    try:
        make = hydra.utils.instantiate(values, _partial_=True, _convert_="all")
    except InstantiationException as error:
        # Hydra names its own debugging variable; what went wrong is in the error behind it.
        why = " ".join(str(error.__cause__ or error).split())
        raise ConfigError([f"_target_: {values.get('_target_')} cannot be used: {why}"]) from error
    return make(*args, **kwargs)


def _steps(epochs: float, train_samples: int | None, global_batch: int) -> int:
    """Updates it takes to train for this many epochs; 0 before the training set is counted."""
    return math.ceil(epochs * (train_samples or 0) / max(1, global_batch))


def _micro_batch(global_batch: int, processes: int, accumulate: int) -> int:
    """Samples in one forward pass; of one process before it is known how many there are."""
    return global_batch // max(1, processes) // max(1, accumulate)


def _benchmarks() -> str:
    """The benchmarks that are there, a line each, for `ttt run --help`."""
    lines = []
    for path in sorted((folder() / "benchmark").glob("*.yaml")):
        node = yaml.safe_load(path.read_text())
        goal = f"{node['target']['metric']} {node['target']['threshold']:g}"
        lines.append(f"  benchmark={path.stem:<12} {goal:<14} {node['benchmark']['summary']}")
    return "\n".join(lines)
