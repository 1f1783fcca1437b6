"""From composed configuration to frozen text and back; the only file that knows OmegaConf.

A configuration is composed once, by Hydra, where the run is typed. What leaves is text without
interpolations, `config.yaml`. Workers load that text; they compose only what was typed to go on.
"""

import contextlib
import copy
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra.utils
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import _locate
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, InstantiationException
from omegaconf import AnyNode, BooleanNode, DictConfig, EnumNode, ListConfig, OmegaConf, StringNode
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from ttt import shipped, signals, verbatim
from ttt.errors import ConfigError
from ttt.schema import derived, hyperparameters, nodes, points, retired, targets
from ttt.schema.run import RunConfig
from ttt.schema.tracking import by_target

CompositionError = (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError)
# Errors that Hydra also raises if a typed word, or a file, does not have the form it expects.
OddError = (OSError, ValueError, TypeError, AttributeError)

# What a setting of a type may be: one of them, and several.
_KINDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true, false", "true and false"),
    str: ("text", "texts"),
}
folder = shipped.conf  # of the YAML files
# The parts of a run that name a class; a user's own come without a schema of ours.
_MADE = ("data", "model", "task", "optim", "schedule", "tracking")  # by workers
_NODES = (*_MADE, "launcher")


def register(**words: Callable[..., str]) -> None:
    """Make the schemas known to Hydra, as the group `schema` that YAML files build on.

    Args:
        words: Functions that write the help of a command, by the name of their resolver.
    """
    store = ConfigStore.instance()
    for name, schema in nodes.SCHEMAS.items():
        node = OmegaConf.structured(schema)
        if schema is RunConfig:
            # `mlperf.KEY=VALUE` needs no +: parts log keys that no YAML file names.
            OmegaConf.set_struct(node.mlperf, False)
        store.store(group="schema", name=name, node=node)
    for name, tell in words.items():
        OmegaConf.register_new_resolver(name, tell, replace=True)
    # What the rules derive from other settings: ${steps:EPOCHS,${data.train_samples},...}.
    OmegaConf.register_new_resolver("steps", derived.steps, replace=True)
    OmegaConf.register_new_resolver("micro_batch", derived.micro_batch, replace=True)
    OmegaConf.register_new_resolver("share", derived.share, replace=True)
    for derive in (points.evaluation_interval, points.first_evaluation):
        OmegaConf.register_new_resolver(derive.__name__, derive, replace=True)


def compose(
    overrides: list[str], config_dir: str | None = None, name: str | None = "config"
) -> DictConfig:
    """What Hydra would compose for these overrides, without running anything.

    Args:
        overrides: As typed.
        config_dir: A folder of the user's own.
        name: The file to begin with; None begins with nothing.

    Raises:
        CompositionError: Hydra would refuse them.
    """
    outer = GlobalHydra.get_state()  # of the application that asks, if any
    GlobalHydra.instance().clear()
    extra = [f"hydra.searchpath=[{_quoted(config_dir)}]"] if config_dir else []
    try:
        with hydra.initialize_config_dir(str(folder()), version_base="1.3"):
            return hydra.compose(name, [*extra, *overrides])
    except CompositionError:
        signals.obey()
        raise
    except OddError as error:
        signals.obey()
        raise HydraException(str(error)) from error
    finally:
        GlobalHydra.set_state(outer)


def _quoted(config_dir: str) -> str:
    """A folder as Hydra's grammar reads it, with any sign in its name."""
    return QuotedString(f"file://{Path(config_dir).absolute()}", Quote.single).with_quotes()


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


def applied(composed: DictConfig, overrides: list[str]) -> DictConfig:
    """A copy with settings changed as Hydra changes them, without composing again.

    Raises:
        CompositionError: Hydra would refuse it.
    """
    changed = copy.deepcopy(composed)
    parsed = OverridesParser.create().parse_overrides(overrides)
    ConfigLoaderImpl._apply_overrides_to_config(parsed, changed)
    return changed


def allowed(composed: DictConfig, name: str) -> str:
    """What a known setting may be, in words; empty if it may be anything."""
    parent, _, last = name.rpartition(".")
    node: Any = (OmegaConf.select(composed, parent) if parent else composed)._get_node(last)
    kind = node._metadata.ref_type
    if isinstance(node, ListConfig):
        of = node._metadata.element_type
        several = ", ".join(of.__members__) if _is_enum(of) else _KINDS.get(of, ("", "values"))[1]
        words = f"[A,B,...] of {several}"
    elif isinstance(node, DictConfig):
        words = f"its own settings, as {name}.{next(iter(node))!s}" if node else "NAME: VALUE"
    elif _is_enum(kind):
        words = ", ".join(kind.__members__)
    else:
        words = _KINDS.get(kind, ("", ""))[0]
    return f"{words}, or null" if words and node._metadata.optional else words


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def fits(composed: DictConfig, name: str, value: Any) -> bool:
    """Whether a known setting may have this value, as a YAML file gives it."""
    for part in reversed(name.split(".")):
        value = {part: value}
    try:
        OmegaConf.merge(composed, value)
    except OmegaConfBaseException:
        return False
    return True


def is_open(composed: DictConfig, name: str) -> bool:
    """Whether a file may add settings of any name below this one."""
    node = OmegaConf.select(composed, name)
    return isinstance(node, DictConfig) and not is_dataclass(OmegaConf.get_type(node))


def unresolved(composed: DictConfig) -> Iterator[tuple[str, str]]:
    """Settings whose value refers to what is not there, each with the reason."""
    for name in settings(composed):
        try:
            OmegaConf.select(composed, name)
        except (OmegaConfBaseException, RecursionError) as error:
            yield name, str(error).partition("\n")[0]


def read(path: Path) -> Any:
    """What a YAML file says, by the rules that Hydra reads it by.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    text = path.read_text("utf-8")
    return yaml.load(text, Loader=get_yaml_loader())  # safe: it makes plain values only


def words(composed: DictConfig, name: str) -> list[str] | None:
    """The words that a setting may be; None if any text, none if it is no text or no setting."""
    node: Any = composed
    for part in name.split("."):
        known = isinstance(node, DictConfig) and part in node.keys()  # noqa: SIM118  also missing
        node = node._get_node(part) if known else None
    if isinstance(node, EnumNode):
        return [each.name for each in node.enum_type]
    if isinstance(node, BooleanNode):
        return ["true", "false"]
    return None if isinstance(node, StringNode | AnyNode) else []


def resolve(composed: DictConfig, **values: Any) -> RunConfig:
    """Plain typed objects, every interpolation resolved.

    Args:
        composed: What Hydra composed.
        values: Settings to change first, so that what is computed of them follows; no references.

    Raises:
        CompositionError: An interpolation leads nowhere.
    """
    merged = OmegaConf.merge(composed, verbatim.literal(values)) if values else composed
    run = OmegaConf.to_object(merged)
    assert isinstance(run, RunConfig)
    for name in _NODES:
        setattr(run, name, _part(getattr(run, name)))
    run.mlperf = hyperparameters.logged(run)
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
    """A part of a run as an object, of ttt or of the user; `root` is expanded as in a shell."""
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
        if name in known and known[name] != value and not isinstance(known[name], dict):
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
    """The text of `config.yaml`; `load` gives the same run back, but for secrets.

    Only parts that workers make need theirs: the launcher has used its own before they read this.
    """
    values = {name: getattr(run, name) for name in vars(run)}
    values |= {n: verbatim.without_secrets(n, v) for n, v in values.items() if n not in _MADE}
    plain = {n: dict(vars(v)) if isinstance(v, SimpleNamespace) else v for n, v in values.items()}
    return OmegaConf.to_yaml(OmegaConf.create(verbatim.literal(plain)), resolve=True)


def load(text: str) -> RunConfig:
    """Read a frozen configuration.

    The nodes that name a class (`_target_`) come back as namespaces.
    """
    values = verbatim.literal(yaml.load(text, Loader=get_yaml_loader()) or {})
    known = retired.dropped(values)
    known["tracking"] = by_target(known.get("tracking"))
    merged = OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.create(known))
    assert isinstance(merged, DictConfig)
    return resolve(merged)


def foreign(run: RunConfig) -> list[str]:
    """A sentence for each name that a part of a run has and may not have; imports nothing."""
    return [sentence for name in _NODES for sentence in targets.problems(name, getattr(run, name))]


def instantiate(
    role: str, node: Any, /, *args: Any, without: tuple[str, ...] = (), **kwargs: Any
) -> Any:
    """Make what a node describes: call its `_target_` with its values and these arguments.

    Args:
        role: Which part of a run it is, such as "data"; the target must be such a part.
        node: A schema object or a namespace from `load`.
        args: Positional arguments, before the node's own.
        without: Names in the node that are not arguments of its target.
        kwargs: Further arguments that only code can give; the target gets those that it takes.

    Raises:
        ConfigError: There is no such target, it is no such part, or has not these settings.
    """
    if found := targets.problems(role, node):
        raise ConfigError(found)
    values = {name: value for name, value in vars(node).items() if name not in without}
    try:
        if found := targets.misfit(role, node, _locate):
            raise ConfigError(found)
        make = hydra.utils.instantiate(verbatim.literal(values), _partial_=True, _convert_="all")
    except (InstantiationException, ImportError) as error:
        # Hydra names its own debugging variable; what went wrong is in the error behind it.
        why = " ".join(str(error.__cause__ or error).split())
        raise ConfigError([f"_target_: {values.get('_target_')} cannot be used: {why}"]) from error
    taken = {name: value for name, value in kwargs.items() if targets.takes(make.func, name)}
    if found := targets.ill_called(role, make, args, taken):
        raise ConfigError(found)
    return make(*args, **taken)
