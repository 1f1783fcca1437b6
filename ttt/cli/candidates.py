"""What could complete the last word of a command line. No shell is known here.

A person waits for the answer, so slow modules are imported only where they are needed.
"""

import argparse
import importlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from ttt.cli import COMMANDS
from ttt.shipped import conf

_OF_SETTINGS = ("run", "doctor")  # the commands that take them
FILLED_IN = {"run", "processes", "command"}  # settings that a launch makes
_CHOICE = re.compile(r"[\w.+-]+")  # what can be typed as it is, for Hydra and for a shell
_LONGEST = 40  # characters of a value beside its name


class Kind(StrEnum):
    """How a word can be completed: by one of some words, or by a name in a folder."""

    words = "words"
    files = "files"
    folders = "folders"


@dataclass(frozen=True)
class Answer:
    """What could complete a word.

    Attributes:
        kind: Where to look for it.
        words: Whole words, with a few words about each, or none.
        lead: What the word begins with before a path, such as `data.root=`.
    """

    kind: Kind = Kind.words
    words: dict[str, str] = field(default_factory=dict)
    lead: str = ""


def candidates(words: Sequence[str]) -> Answer:
    """What could complete the last of these words.

    Args:
        words: What is typed after `ttt`; the last may be empty.
    """
    *before, last = words
    if not before:
        return _beginning(last, COMMANDS)
    command, *typed = before
    if command not in COMMANDS:
        return Answer()
    plain = not last.startswith("-") and not (typed and typed[-1].startswith("-"))
    if command in _OF_SETTINGS and plain:
        return _setting(typed, last)
    answer = _argument(_parser(command), typed, last)
    if answer is None:
        return _setting(typed, last) if command in _OF_SETTINGS else Answer()
    return answer


def _beginning(start: str, words: dict[str, str]) -> Answer:
    return Answer(words={each: what for each, what in words.items() if each.startswith(start)})


def _parser(command: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"ttt.cli.{'shows' if command == 'run' else command}")
    parser: argparse.ArgumentParser = module.parser()
    return parser


def _argument(parser: argparse.ArgumentParser, typed: Sequence[str], last: str) -> Answer | None:
    """An option, its value or an argument; None where none of these is due."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = next((word for word in typed if word in action.choices), None)
            if chosen:
                return _argument(action.choices[chosen], typed[typed.index(chosen) + 1 :], last)
    options = {name: each for each in parser._actions for name in each.option_strings}
    if last.startswith("-"):
        return _option(options, last)
    places = [number for number, word in enumerate(typed) if word in options]
    if places and _takes(options[typed[places[-1]]], len(typed) - 1 - places[-1], last):
        return _value(options[typed[places[-1]]], last)
    for action in parser._actions:
        if not action.option_strings and action.dest != "overrides":
            return _value(action, last)
    return None


def _option(options: dict[str, argparse.Action], last: str) -> Answer:
    """An option, or its value behind a sign of equality."""
    name, equals, value = last.partition("=")
    if equals:
        return _value(options[name], value, f"{name}=") if name in options else Answer()
    shown = {max(each.option_strings, key=len): each.help for each in options.values()}
    return _beginning(
        last, {name: " ".join(str(what or "").split()) for name, what in shown.items()}
    )


def _takes(action: argparse.Action, given: int, start: str) -> bool:
    """Whether an option takes another value after so many, and one that begins so."""
    if action.nargs in ("+", "*"):
        return True
    if action.nargs == "?" and not any(each.startswith(start) for each in action.choices or ()):
        return False
    return given == 0 and action.nargs in (None, "?", 1)


def _value(action: argparse.Action, start: str, lead: str = "") -> Answer:
    """The value of an option or argument: one of its choices, or a path if it names one."""
    if isinstance(action, argparse._SubParsersAction):
        return _beginning(start, {one.dest: one.help or "" for one in action._choices_actions})
    if action.choices:
        return _beginning(lead + start, {f"{lead}{each}": "" for each in action.choices})
    placeholder = action.metavar if isinstance(action.metavar, str) else action.dest
    parts = set(re.split("[^A-Z]+", placeholder.upper()))
    if parts & {"DIR", "DATA"}:
        return Answer(Kind.folders, lead=lead)
    if parts & {"FILE", "PATH"} or action.type is Path:
        return Answer(Kind.files, lead=lead)
    return Answer()


def _setting(typed: Sequence[str], last: str) -> Answer:
    """A setting of `ttt run`, or its value; the choices typed before decide which exist."""
    own = _config_dir(typed)
    lead = last[: len(last) - len(last.lstrip("+~"))]
    name, equals, value = last.removeprefix(lead).partition("=")
    groups = _groups(own)
    if equals and name in groups:
        done = value[: value.rfind(",") + 1]  # of a sweep
        return _beginning(last, {f"{lead}{name}={done}{each}": "" for each in groups[name]})
    from ttt import config  # noqa: PLC0415  it takes half a second

    config.register()
    composed = _composed([word for word in typed if word.partition("=")[0] in groups], own)
    if equals:
        words = config.words(composed, name)
        if words is None:
            return Answer(Kind.files, lead=f"{lead}{name}=")
        return _beginning(last, {f"{lead}{name}={each}": "" for each in words})
    found = {f"{group}=": f"{len(of)} choices" for group, of in groups.items() if "." not in name}
    found |= _names(config.settings(composed), name)
    return _beginning(last, {f"{lead}{each}": what for each, what in found.items()})


def _config_dir(typed: Sequence[str]) -> Path | None:
    """The folder of the user's own files, if the line names one."""
    for number, word in enumerate(typed):
        name, equals, folder = word.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = folder if equals else "".join(typed[number + 1 : number + 2])
            return Path(os.path.expandvars(folder)).expanduser()  # as the shell will
    return None


def _groups(own: Path | None) -> dict[str, list[str]]:
    """The groups of choices, each with its choices."""
    found: dict[str, set[str]] = {}
    for folder in (conf(), *([own] if own else [])):
        for path in folder.glob("*/*.yaml"):
            if _CHOICE.fullmatch(path.stem) and _CHOICE.fullmatch(path.parent.name):
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(found[group]) for group in sorted(found) if group != "closed"}


def _composed(chosen: Sequence[str], own: Path | None) -> Any:
    """The settings there are with these choices, or where they have faults, with none."""
    from ttt import config  # noqa: PLC0415

    first = [word.partition(",")[0] for word in chosen]  # of a sweep
    try:
        return config.compose(first, str(own) if own else None)
    except config.CompositionError:
        return config.compose([])


def _names(settings: dict[str, Any], start: str) -> dict[str, str]:
    """The settings that begin so, as far as their next dot, each with its value."""
    found = {}
    for name, value in settings.items():
        parent, _, own = name.rpartition(".")
        hidden = name in FILLED_IN or own.startswith("_")
        if parent == start.rpartition(".")[0] and not hidden:
            node = isinstance(value, dict)
            found[f"{name}{'.' if node else '='}"] = "" if node else _shown(value)
    return found


def _shown(value: Any) -> str:
    """A value in a few characters."""
    text = (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
    return " ".join(text.split())[:_LONGEST]
