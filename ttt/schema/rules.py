"""Rules that several parts of a configuration share."""

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ttt.errors import fault, one_line


def unknown(prefix: str, node: Any) -> Iterator[str]:
    """Settings added with a + that nothing would read."""
    known = {field.name: field for field in fields(node)}
    for name, value in vars(node).items():
        if name not in known:
            likely = difflib.get_close_matches(name, known, n=1)
            hint = "".join(f"; close to it: {prefix}{one}" for one in likely)
            yield f"{prefix}{name} is not a setting{hint}; remove +{prefix}{name}={_plain(value)}"
        elif is_dataclass(value):
            yield from unknown(f"{prefix}{name}.", value)


def not_positive(group: str, part: Any, names: str, typed: str = "") -> Iterator[str]:
    """Numbers of a group that must be above zero and finite and are not; None is no number.

    Args:
        group: What the names of the settings begin with; empty at the top.
        part: The object that has them.
        names: Of the settings, with spaces between.
        typed: What to type instead; empty: the `usual` value of each.
    """
    prefix = f"{group}." if group else ""
    for name in names.split():
        value = getattr(part, name)
        if value is not None and not 0 < value < math.inf:
            instead = typed or usual(part, name)
            yield fault(
                f"{prefix}{name}", float(value), wrong(value), allowed="above 0", typed=instead
            )


def wrong(value: float) -> str:
    """What is wrong with a number that is not allowed: infinity is above 0, and no number."""
    return "is not allowed" if math.isfinite(value) else "is no finite number"


def usual(part: Any, name: str, otherwise: str = "1") -> str:
    """What to type for a number: null or the fraction that it is by default, or another value.

    A whole number is no such default: the layers of a large model are too many for a small one.

    Args:
        part: The object that has the setting; only a dataclass has defaults.
        name: Of the setting in it.
        otherwise: The other value.
    """
    found = {field.name: field.default for field in fields(part)} if is_dataclass(part) else {}
    default = found.get(name, otherwise)
    if default is None:
        return "null"
    return f"{default:g}" if isinstance(default, float) and default else otherwise


def uneven_heads(width: int, heads: int, parts: int) -> Iterator[str]:
    """A width of a network that heads of attention cannot share: it must be a multiple of parts."""
    if heads > 0 and width % parts:
        near = parts * max(1, round(width / parts))
        even = "" if parts == heads else "even "
        why, allowed = (
            f"does not suit model.heads={heads}",
            f"{even}multiples of the heads, as {near}",
        )
        yield fault("model.width", width, why, allowed=allowed, typed=str(near))


def not_one_line(values: Mapping[str, Any]) -> Iterator[str]:
    """Faults of texts that become part of a script or command: one line of visible characters each.

    In a script the end of a line ends a comment, and the next line is a command.

    Args:
        values: By their settings; of lists, mappings and objects every text in them counts.
    """
    for name, value in values.items():
        for text in _texts(value):
            if one_line(text) != text:
                typed = "[LINE,LINE]" if isinstance(value, list) else "TEXT"
                why = "is not one line of characters that can be seen"
                allowed = "no ends of lines, tabs or other controls"
                yield fault(name, f"{text:.80}", why, allowed=allowed, typed=typed)


def unnamed(run_root: str) -> Iterator[str]:
    """Why a script of SLURM's cannot name the run folders below this one."""
    folder = str(Path(run_root).absolute())
    yield from not_one_line({"run_root": folder})
    if "\\" in folder:
        why = "has a \\, which SLURM reads as a sign of its own in the name of a log"
        yield fault("run_root", folder, why, allowed="folders without", typed="DIR")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a setting."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for each in value.items() for part in each for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


def mismatched(model: Any, data: Any) -> Iterator[str]:
    """Settings of a model that must agree with settings of the data, and do not."""
    for name, what in (
        ("classes", "number of different values"),
        ("vocabulary", "number of different values"),
        ("sequence_length", "tokens of a sample"),
    ):
        found, wanted = (getattr(part, name, None) for part in (model, data))
        if not isinstance(wanted, int) or not hasattr(model, name):
            continue
        allowed = f"{wanted} or more"
        if found is None:
            yield fault(f"model.{name}", "null", allowed=allowed, typed=str(wanted))
        elif isinstance(found, int) and found < wanted:
            why = f"is less than data.{name}={wanted}, the {what}"
            yield fault(f"model.{name}", found, why, allowed=allowed, typed=str(wanted))
    for name in ("dense", "rows", "hots"):
        found, wanted = (getattr(part, name, None) for part in (model, data))
        if None not in (found, wanted) and found != wanted:
            why = f"is not data.{name}={_plain(wanted)}, which the records have"
            yield fault(f"model.{name}", _plain(found), why, typed=_plain(wanted))


def _plain(value: Any) -> str:
    return str(value).replace(" ", "")
