"""Checks the name of a user's benchmark, which names files, a Python package and run folders."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Collection
from itertools import chain, count
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


def name_from(text: str) -> str:
    """A name that is allowed and near to a text, as my_photos to "My photos!"."""
    bare = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]
    return bare if _NAME.fullmatch(bare) and not _reserved(bare) else f"my_{bare}".rstrip("_")


def _reserved(name: str) -> bool:
    """Whether Python, YAML or Hydra reads a name as something else, as null, true, off or inf."""
    if keyword.iskeyword(name) or yaml.safe_load(name) != name:
        return True
    return OverridesParser.create().parse_override(f"benchmark={name}").value() != name


def free_name(text: str, here: Path, taken: Collection[str]) -> str:
    """The first name near to a text that may be used; for the arguments see `problems`."""
    name = name_from(text)
    own = name if name.startswith("my_") else f"my_{name}"
    candidates = chain([name, own], (f"{own[:45]}_{number}" for number in count(2)))
    return next(each for each in candidates if not _fault(each, here, taken))


def problems(name: str, here: Path, taken: Collection[str]) -> list[str]:
    """A sentence for each thing that is wrong with a name; empty if it may be used.

    Args:
        name: What was typed.
        here: Where the folder of that name is to be.
        taken: What means something else in ttt: benchmarks, data sets, models.
    """
    fault = _fault(name, here, taken)
    return [f"{fault} ttt new {free_name(name, here, taken)}"] if fault else []


def _fault(name: str, here: Path, taken: Collection[str]) -> str | None:
    """What is wrong with a name, up to what to type; None if it may be used."""
    if _NAME.fullmatch(name) and _reserved(name):
        return f"{name} means something else in Python, YAML or Hydra; type another name:"
    if not _NAME.fullmatch(name):
        return (
            f"{name!r} is no name for a benchmark; allowed: up to 50 small letters, digits and _,"
            " beginning with a letter;"
        )
    if name in taken:
        return f"{name} means something else in ttt; type another name:"
    if (here / name).exists() or (here / name).is_symlink():
        return (
            f"{here / name} is there already and is left as it is; remove it, or type another name:"
        )
    if (here / f"{name}.py").exists() or importlib.util.find_spec(name) is not None:
        return (
            f"{name} is a module that Python has already, and would hide the parts of this"
            " benchmark; type another name:"
        )
    return None
