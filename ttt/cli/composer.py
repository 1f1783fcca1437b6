"""Composes many times, for a diagnosis or a sweep, and reuses what the same choices gave."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from ttt import config


def split(override: str) -> tuple[str, str, str]:
    """The parts of an override: its + or ~, its name, its value."""
    typed, _, value = override.partition("=")
    name = typed.lstrip("+~")
    return typed[: len(typed) - len(name)], name, value


class Composer:
    """Composes as Hydra does, from ttt's files and those of one folder of the user's own.

    Attributes:
        config_dir: That folder; None without one.
        groups: The groups of choices, each with its choices.
        name: The file that everything begins with.
    """

    def __init__(self, config_dir: str | None = None, name: str | None = "config") -> None:
        self.config_dir = config_dir
        self.groups = _groups(config_dir)
        self.name = name
        self._made: dict[tuple[str, ...], Any] = {}

    def chooses(self, override: str) -> bool:
        """Whether an override decides which files are read: only Hydra itself can apply it."""
        _, name, value = split(override)
        group = name.partition("@")[0]
        chosen = group in self.groups and not value.startswith("{")
        return chosen or re.split("[./@]", name)[0] in ("hydra", "schema")

    def compose(self, overrides: list[str]) -> Any:
        """What `config.compose` gives.

        Raises:
            config.CompositionError: Hydra would refuse the overrides.
        """
        choices = tuple(one for one in overrides if self.chooses(one))
        if choices not in self._made:
            self._made[choices] = config.compose(list(choices), self.config_dir, self.name)
        settings = [one for one in overrides if not self.chooses(one)]
        return config.applied(self._made[choices], settings)

    @cached_property
    def parts(self) -> list[str]:
        """The groups that a person chooses from."""
        return [group for group in self.groups if "/" not in group]

    def settings(self, group: str) -> dict[str, list[str]]:
        """Every setting that some choice of a group has, dotted, with the choices that have it."""
        return self._owned.get(group, {})

    @cached_property
    def _owned(self) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = {}
        choices = [(group, one) for group in self.parts for one in self.groups[group]]
        for (group, option), names in _settings_of(choices, self.config_dir).items():
            for name in names:
                owned = found.setdefault(group, {})
                owned.setdefault(f"{group}.{name}", []).append(f"{group}={option}")
        return found

    def own(self, group: str, option: str) -> Path | None:
        """The file of a choice, if it is in the user's folder."""
        path = Path(self.config_dir or "") / group / f"{option}.yaml"
        return path if self.config_dir and path.is_file() else None


def _settings_of(
    choices: list[tuple[str, str]], config_dir: str | None = None
) -> dict[tuple[str, str], list[str]]:
    """The settings that choices, each a group and its option, have by themselves, dotted.

    A choice that sets the whole run has none, and neither has a user's file with faults.
    """
    choices = [one for one in choices if not _is_global(*one, config_dir)]
    places = {f"_{number}": choice for number, choice in enumerate(choices)}
    typed = [f"+{group}@{place}={option}" for place, (group, option) in places.items()]
    try:
        composed = config.compose(typed, config_dir, None)
    except config.CompositionError:
        if len(choices) < 2:
            return {}
        half = len(choices) // 2
        parts = choices[:half], choices[half:]
        return {
            one: names for part in parts for one, names in _settings_of(part, config_dir).items()
        }
    return {choice: list(config.settings(composed[place])) for place, choice in places.items()}


def _is_global(group: str, option: str, config_dir: str | None) -> bool:
    """Whether a file sets the whole run: its first line says so."""
    place = Path(group) / f"{option}.yaml"
    path = config.folder() / place
    text = (path if path.is_file() else Path(config_dir or "") / place).read_bytes()
    return b"@package _global_" in text.partition(b"\n")[0]


def _groups(config_dir: str | None = None) -> dict[str, list[str]]:
    """The groups of choices with the names of their files, in ttt and in the user's folder."""
    found: dict[str, set[str]] = {}
    for place in [config.folder(), *([Path(config_dir)] if config_dir else [])]:
        for path in place.rglob("*.yaml"):
            if path.is_file() and path.parent != place:
                found.setdefault(path.parent.relative_to(place).as_posix(), set()).add(path.stem)
    return {group: sorted(found[group]) for group in sorted(found)}
