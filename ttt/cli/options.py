"""The options of `ttt run`, which are Hydra's, and a sentence for each that is used wrongly."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field

from hydra._internal.utils import get_args_parser

from ttt.cli import names
from ttt.errors import fault

FOREIGN = {  # Hydra has them, ttt does not
    "--config-path": "ttt reads its own files and those of one folder of yours; --config-dir DIR",
    "--experimental-rerun": "to repeat a run, type the first line of its config.yaml",
}
_ALONE = ("--run", "--multirun", "--cfg", "--info", "--shell-completion")


@dataclass
class Typed:
    """What was typed after `ttt run`.

    Attributes:
        options: Each option by its long name, with its value; None if it has none.
        overrides: All that is no option, in order.
        unknown: Options that do not exist, each with the value that follows it.
        problems: A sentence for each option that is used wrongly.
    """

    options: dict[str, str | None] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    unknown: list[tuple[str, str | None]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def config_dir(self) -> str | None:
        """The folder of the user's own files."""
        return self.options.get("--config-dir")

    @property
    def sweeps(self) -> bool:
        """Whether several launches are asked for."""
        return "--multirun" in self.options or "hydra.mode=MULTIRUN" in self.overrides


def _actions() -> dict[str, argparse.Action]:
    """Hydra's options, by each of their names."""
    actions = get_args_parser()._actions
    return {name: action for action in actions for name in action.option_strings}


def long_names() -> list[str]:
    """The options there are, such as --multirun."""
    return [name for name in _actions() if name.startswith("--")]


def called(setting: str) -> str | None:
    """The option that was typed as a setting, as --config-dir by config_dir=DIR."""
    name = f"--{setting.replace('_', '-')}"
    return name if name in _actions() else None


def takes_value(option: str) -> bool:
    """Whether a value belongs behind an option."""
    return _actions()[option].nargs != 0


def read(arguments: list[str]) -> Typed:
    """Separate options from overrides as Hydra does, and find what is wrong with the options."""
    actions, typed, words = _actions(), Typed(), list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            typed.overrides += words
            break
        if not word.startswith("-") or word == "-":
            typed.overrides.append(word)
            continue
        name, equals, value = word.partition("=")
        action = _action(name, actions)
        if action is None:
            if not equals and words and not words[0].startswith("-") and "=" not in words[0]:
                value, equals = words.pop(0), "="
            typed.unknown.append((name, value if equals else None))
            continue
        takes = action.nargs != 0
        if takes and not equals and words and not words[0].startswith("-"):
            value, equals = words.pop(0), "="
        long = next(one for one in action.option_strings if one.startswith("--"))
        typed.options[long] = value if equals else None
        typed.problems += _misused(long, typed.options[long], action)
    typed.problems += _together(typed.options)
    return typed


def _action(name: str, actions: dict[str, argparse.Action]) -> argparse.Action | None:
    """The option of a name, which may be the beginning of a long one."""
    if name in actions:
        return actions[name]
    begun = {id(actions[one]): actions[one] for one in actions if one.startswith(name)}
    return next(iter(begun.values())) if name.startswith("--") and len(begun) == 1 else None


def _misused(name: str, value: str | None, action: argparse.Action) -> Iterator[str]:
    choices = [str(one) for one in action.choices or []]
    if name in FOREIGN:
        yield f"{name} is not for ttt run; {FOREIGN[name]}"
    elif action.nargs == 0 and value is not None:
        yield f"{name}={value}: {name} takes no value; {name}"
    elif action.nargs is None and value is None:
        example = choices[0] if choices else str(action.dest).rpartition("_")[2].upper()
        yield f"{name} needs a value; {name} {example}"
    elif choices and value is not None and value not in choices:
        likely = names.close(value, choices)
        yield fault(name, value, allowed=", ".join(choices), typed=(likely or choices)[0])


def _together(options: dict[str, str | None]) -> Iterator[str]:
    """Options that need others, or exclude them."""
    if len(several := [name for name in _ALONE if name in options]) > 1:
        yield f"{' and '.join(several)} cannot go together; one of them"
    if "--resolve" in options and not {"--cfg", "--help"} & set(options):
        yield "--resolve has no effect without --cfg; --cfg job --resolve"
    if "--package" in options and "--cfg" not in options:
        package = options["--package"] or "data"
        yield f"--package has no effect without --cfg; --cfg job --package {package}"
