"""Guesses the right name for a mistyped setting, group, choice or option."""

import difflib
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from ttt.cli.candidates import FILLED_IN
from ttt.cli.composer import Composer


def is_typo(typed: str, meant: str) -> bool:
    """Whether two words differ by one slip: a letter added, missing or wrong, or two swapped."""
    start = 0
    while start < min(len(typed), len(meant)) and typed[start] == meant[start]:
        start += 1
    end = 0
    while end < min(len(typed), len(meant)) - start and typed[-1 - end] == meant[-1 - end]:
        end += 1
    left, right = typed[start : len(typed) - end], meant[start : len(meant) - end]
    return typed != meant and (max(len(left), len(right)) == 1 or _swapped(left, right))


def _swapped(left: str, right: str) -> bool:
    return len(left) == 2 and left == right[::-1]


def close(typed: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Up to three names that the user probably meant, the likeliest first."""
    known = list(known)
    if typos := [name for name in known if is_typo(typed, name)]:
        return typos[:3]
    return difflib.get_close_matches(typed, known, n=3, cutoff=cutoff)


def typed(name: str, value: str) -> str:
    """A setting as it is typed in a shell."""
    return shlex.quote(f"{name}={value}")


def unknown(
    name: str, value: str, known: Mapping[str, Any], composer: Composer, in_file: bool = False
) -> str:
    """A sentence about a setting that does not exist, with the setting to type instead.

    Args:
        name: What was typed, dotted.
        value: The value that was typed for it.
        known: The settings that there are, with their values; groups of them have a dict.
        composer: Knows the settings of other choices.
        in_file: Whether the name stands in a YAML file, so that the user does not type it again.
    """
    owners = composer.settings(name.partition(".")[0]).get(name, [])
    here = [one for one in known if is_typo(name, one) and one not in FILLED_IN]
    if owners and not here:
        command = f"{owners[-1]} {typed(name, value)}"
        return f"{name} is a setting of {', '.join(owners)} only; {command}"
    problem = f"{name} is not a setting"
    group, dot, _ = name.partition(".")
    if dot and not here and not in_file and value in composer.groups.get(group, ()):
        return f"{problem}; {typed(group, value)}"
    if owners:
        problem += f" here, only of {', '.join(owners)}"
    candidates = meant(name, known, composer)
    if not candidates:
        return f"{problem}; ttt run --cfg job shows all of them"
    likely, choice = candidates[0]
    if choice:
        return f"{problem}; {choice} has one: {choice} {typed(likely, value)}"
    names = ", ".join(one for one, of in candidates if not of)
    if in_file:
        return f"{problem}; close to it: {names}"
    return f"{problem}; close to it: {names}; {_advice(likely, value, known, composer)}"


def _advice(name: str, value: str, known: Mapping[str, Any], composer: Composer) -> str:
    """What to type for the right name, which may be the name of a group."""
    if name in composer.groups:
        choices = composer.groups[name]
        likely = value if value in choices else next(iter(close(value, choices)), None)
        return f"allowed: {', '.join(choices)}" + (f"; {typed(name, likely)}" if likely else "")
    if isinstance(known[name], dict) and known[name]:
        return f"it holds settings, as {name}.{next(iter(known[name]))}"
    return typed(name, value)


def meant(name: str, known: Mapping[str, Any], composer: Composer) -> list[tuple[str, str | None]]:
    """Settings that the user probably meant, each with the choice it needs, or None.

    A setting that a launch fills in is never among them.
    """
    if name in known and name not in FILLED_IN:
        return [(name, None)]
    known = {one: value for one, value in known.items() if one not in FILLED_IN}
    if here := [one for one in known if is_typo(name, one)]:
        return [(one, None) for one in here]
    group, dot, last = name.partition(".")
    if dot and group not in known:
        for part in close(group, composer.parts)[:1]:
            name, group = f"{part}.{last}", part
            if name in known:
                return [(name, None)]
    elsewhere = _choices(group, composer) if dot else {}
    if name in elsewhere:
        return [(name, elsewhere[name])]
    parent, _, leaf = name.rpartition(".")
    beside = [one for one in known if one.rpartition(".")[0] == parent and "._" not in f".{one}"]
    others = [_choices(part, composer) for part in ([] if dot else composer.parts)]
    found: list[tuple[str, str | None]] = [
        *((one, elsewhere[one]) for one in elsewhere if is_typo(name, one)),
        *((one, None) for one in known if one.rpartition(".")[2] == leaf),
        *((one, of[one]) for of in others for one in of if one.rpartition(".")[2] == leaf),
        *((one, None) for one in known if is_typo(leaf, one.rpartition(".")[2])),
        *((one, None) for one in close(name, beside)),
        *((one, elsewhere[one]) for one in close(name, elsewhere, 0.7)),
        *((one, None) for one in close(name, known, 0.75)),
    ]
    return list(dict.fromkeys(found))[:3]


def _choices(group: str, composer: Composer) -> dict[str, str]:
    """Settings of a group, each with the last of the choices that have it."""
    return {name: choices[-1] for name, choices in composer.settings(group).items()}
