"""How values of a run are written down: secrets hidden, and what looks like a reference as text.

A value that came from the environment, or the command that was typed, may have a `${` in it. When
OmegaConf reads it once more, it must not look there for a name. It is written by its rules:
https://omegaconf.readthedocs.io/en/latest/grammar.html
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

from ttt import redact


def without_secrets(name: str, node: Any) -> Any:
    """A part of a run with secrets hidden.

    Args:
        name: Of the part.
        node: An object of a schema, a namespace or a plain value, which stays as it is.
    """
    if not (is_dataclass(node) or isinstance(node, SimpleNamespace)):
        return redact.settings({name: node})[name]
    return _with(node, redact.settings(vars(node)))


def _with(node: Any, values: Mapping[str, Any]) -> Any:
    """A copy of an object with these values."""
    copied = copy.copy(node)
    for name, value in values.items():
        setattr(copied, name, value)
    return copied


def literal(node: Any) -> Any:
    """The same values, written so that OmegaConf takes each `${` in them for text.

    Args:
        node: A plain value, or an object that holds such; it stays as it is.
    """
    if isinstance(node, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", node)
    if isinstance(node, dict):
        return {name: literal(value) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [literal(value) for value in node]
    if is_dataclass(node) or isinstance(node, SimpleNamespace):
        return _with(node, literal(vars(node)))
    return node
