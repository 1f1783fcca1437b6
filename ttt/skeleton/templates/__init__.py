"""The YAML files that `ttt new` writes, a folder for each kind, with %{names} to be filled in."""

from __future__ import annotations

import string
from collections.abc import Mapping
from importlib import resources
from typing import Any

_PARTS = "parts.py"  # the module beside this folder with which a user's benchmark begins


class _Yaml(string.Template):
    """Text in which a dollar is OmegaConf's."""

    delimiter = "%"


def filled(kind: str, name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Each file of a kind with its values, by path in the new folder.

    Args:
        kind: "images", "pairs", "table" or "tokens", for such a data set.
        name: Of the benchmark.
        values: What else stands between %{ and }.
    """
    return {
        f"{path.name.removesuffix('.yaml')}/{name}.yaml": _Yaml(path.read_text("utf-8")).substitute(
            values, name=name
        )
        for path in resources.files(__package__).joinpath(kind).iterdir()
    }


def own(name: str) -> dict[str, str]:
    """A benchmark whose parts all belong to the user, and the module that holds them."""
    parts = resources.files("ttt.skeleton").joinpath(_PARTS)
    return {_PARTS: parts.read_text("utf-8"), **filled("own", name, {})}
