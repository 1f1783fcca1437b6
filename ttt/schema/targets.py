"""Which classes and functions a configuration may name (`_target_`), and as which part of a run.

A configuration can come from elsewhere: a run folder that goes on, a file of others, rank 0.
ttt calls the classes that it names with the values that it gives, so it may not name all that
Python can import. ttt judges a name before it imports anything, and the class before it calls it.
Hydra refuses dangerous names, too, but knows no parts: it accepts every other class.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any, get_type_hints

from ttt.errors import fault

_TARGET = "_target_"
# Where ttt has the parts of each kind.
PLACES = {
    "data": "ttt.data",
    "model": "ttt.models",
    "task": "ttt.tasks",
    "optim": "ttt.optim",
    "schedule": "ttt.optim",
    "launcher": "ttt.launch",
    "tracking": "ttt.sinks",
}
_INSIDE = ("ttt.data", "ttt.models", "ttt.tasks", "ttt.optim", "ttt.metrics")  # of a part
_MODULES = {"prepare": "ttt.prepare", "looks": "ttt.data"}  # settings of data that name a module
# What a part must have, of what `ttt.protocols` and `ttt.launch.job` ask: the methods without which
# no run goes; for a class of torch's, that class.
_METHODS = {
    "data": ("synthetic", "train", "eval"),
    "task": ("loss", "predict", "metric"),
    "schedule": ("__call__",),
    "launcher": ("processes", "problems", "launch", "join"),
    "tracking": ("write", "close"),
}
_CLASSES = {
    "model": ("torch.nn.modules.module", "Module"),
    "optim": ("torch.optim.optimizer", "Optimizer"),
}
# Beside Python's own modules: libraries that are on every machine with ttt, and parts of none.
_LIBRARIES = frozenset(
    "_pytest antlr4 cloudpickle dill hydra IPython jinja2 joblib matplotlib mlperf_logging mpi4py"
    " numpy omegaconf packaging pip pkg_resources pluggy psutil pynvml pytest rich scipy setuptools"
    " sympy torch triton wandb wheel yaml".split()
)
_OF_TORCH = ("torch.nn", "torch.optim")


def problems(role: str, node: Any) -> list[str]:
    """What a part of a configuration names and may not, a sentence each; imports nothing.

    Args:
        role: Which part it is, as "data".
        node: Its settings.
    """
    found = []
    for where, target in _named(role, node):
        places = (PLACES[role],) if where == role else _INSIDE
        if why := _wrong(target, places):
            found.append(_refused(f"{where}.{_TARGET}={target}", why, where, role))
    if role == "data":
        for name, place in _MODULES.items():
            module = getattr(node, name, None)
            if module is not None and (why := _wrong(f"{module}.{name}", (place,))):
                allowed = f"a module of {place}, or one of your own"
                why = f"is not allowed: {why}"
                found.append(fault(f"data.{name}", module, why, allowed=allowed, typed="null"))
    return found


def misfit(role: str, node: Any, find: Any) -> list[str]:
    """What is wrong with what the names lead to, a sentence each.

    Args:
        role: Which part it is.
        node: Its settings, in whose names `problems` has found nothing.
        find: Gives what a name leads to, and raises where that is nothing.
    """
    found = []
    for where, target in _named(role, node):
        thing = find(target)
        places = (PLACES[role],) if where == role else _INSIDE
        if why := _unfit(thing, role if where == role else None, places):
            found.append(_refused(f"{where}.{_TARGET}={target}", why, where, role))
    return found


def takes(thing: Any, name: str) -> bool:
    """Whether a class or function takes an argument of this name.

    One with `**settings` takes what the class takes that it inherits from. If that has no end, a
    part of a user's own counts as taking every name, and a part of ttt as taking those it names.
    """
    called = [thing]
    if inspect.isclass(thing):
        called = [vars(one)["__init__"] for one in thing.__mro__[:-1] if "__init__" in vars(one)]
    for one in called:
        arguments = inspect.signature(one).parameters
        if name in arguments:
            return True
        if all(each.kind is not each.VAR_KEYWORD for each in arguments.values()):
            return False
    return not _within(thing.__module__, ("ttt",))


def ill_called(role: str, called: Any, args: tuple[Any, ...], more: Mapping[str, Any]) -> list[str]:
    """What keeps a class or function from being called with its settings, a sentence each.

    Args:
        role: Which part of a run it is.
        called: `functools.partial` of it with the settings.
        args: Positional arguments, before the settings.
        more: Further arguments that only code can give.
    """
    name = f"{called.func.__module__}.{called.func.__qualname__}"
    try:
        asked = inspect.signature(called.func)
    except ValueError:  # one of C has none
        return []
    anything = any(each.kind is each.VAR_KEYWORD for each in asked.parameters.values())
    odd = [setting for setting in called.keywords if setting not in asked.parameters]
    odd = [] if anything else odd
    if odd:  # often those of the class that a benchmark was made for
        return [
            f"{role}.{setting}={called.keywords[setting]} is no setting of {name}; to leave it out:"
            f" ~{role}.{setting}"
            for setting in odd
        ]
    try:
        asked.bind(*args, **called.keywords, **more)
    except TypeError as error:
        return [f"{role}: {name} cannot be called: {error}; to set one: +{role}.NAME=VALUE"]
    return []


def _refused(setting: str, why: str, where: str, role: str) -> str:
    own = "one of your own"
    if where != role:
        return f"{setting} is not allowed: {why}; allowed: {own}, or of {' or '.join(_OF_TORCH)}"
    return (
        f"{setting} is not allowed: {why}; allowed: a class or function of {PLACES[role]}, or"
        f" {own}; {role}=NAME chooses one that ttt has"
    )


def _named(where: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Every target in a node, at any depth, with the place of its setting."""
    if isinstance(node, SimpleNamespace) or (is_dataclass(node) and not isinstance(node, type)):
        node = vars(node)
    if isinstance(node, dict):
        if _TARGET in node:
            yield where, node[_TARGET]
        items = [(f"{where}.{name}", value) for name, value in node.items()]
    elif isinstance(node, list | tuple):
        items = [(f"{where}.{number}", value) for number, value in enumerate(node)]
    else:
        return
    for name, value in items:
        yield from _named(name, value)


def _wrong(target: Any, places: tuple[str, ...]) -> str | None:
    """Why this is no name of a part; None if it may be one.

    Args:
        target: As the configuration has it.
        places: Where ttt has such parts.
    """
    parts = target.split(".") if isinstance(target, str) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return "it is no name as MODULE.CLASS"
    if any(part.startswith("__") for part in parts):
        return "names that begin with __ are Python's own"
    root = parts[0]
    if root == "ttt":
        return None if _within(target, places) else f"it is not in {' or '.join(places)}"
    if _within(target, _OF_TORCH):
        return None
    if root in sys.stdlib_module_names or root in _LIBRARIES:
        return f"nothing of {root} is a part of a run"
    return None


def _within(name: str, places: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{place}.") for place in places)


def _unfit(thing: Any, role: str | None, places: tuple[str, ...]) -> str | None:
    """Why this is no part; None if it is one.

    Args:
        thing: What a name led to.
        role: Of which kind it has to be; None if any will do.
        places: Where ttt has such parts.
    """
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return "it is no class and no function"
    real = f"{thing.__module__}.{thing.__qualname__.replace('.<locals>', '')}"
    if why := _wrong(real.replace("<lambda>", "function"), places):
        return f"it is {real}, and {why}"
    if role is None:
        return None
    made = thing if inspect.isclass(thing) else _returned(thing)
    if made is None:
        return f"it is a function that does not say what it returns; def ...(...) -> {_asked(role)}"
    return None if _fits(made, role) else f"it makes no {_asked(role)}"


def _returned(function: Any) -> type | None:
    """The class that a function says it returns."""
    try:
        declared = get_type_hints(function).get("return")
    except Exception:  # a name that is only there for type checkers, or anything else
        return None
    return declared if inspect.isclass(declared) else None


def _asked(role: str) -> str:
    if role in _CLASSES:
        return "torch.nn.Module" if role == "model" else "torch.optim.Optimizer"
    methods = " and ".join(_METHODS[role])
    return f"object with {methods}"


def _fits(made: type, role: str) -> bool:
    if role in _CLASSES:  # by name: to judge a launcher needs no torch
        return _CLASSES[role] in {(one.__module__, one.__name__) for one in made.__mro__}
    own = [vars(one) for one in made.__mro__ if one is not object]
    return all(any(callable(each.get(name)) for each in own) for name in _METHODS[role])
