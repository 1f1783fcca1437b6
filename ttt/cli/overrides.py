"""What is wrong with the overrides a person typed: all of it at once, with what to type instead.

Hydra stops at the first override it cannot apply. Here each is tried by itself, so that one message
tells about every one of them, and about impossible values among the rest.
"""

import difflib
from collections.abc import Callable

from hydra._internal.utils import get_args_parser
from hydra.errors import MissingConfigException

from ttt import config
from ttt.schema.run import RunConfig


def diagnose(
    arguments: list[str], error: Exception, problems: Callable[[RunConfig], list[str]]
) -> list[str]:
    """Sentences for everything wrong with a command line that Hydra refused.

    Args:
        arguments: What was typed after `ttt run`.
        error: What Hydra raised, told as it is where no single override is to blame.
        problems: Finds impossible values in a configuration that composes.
    """
    parsed = get_args_parser().parse_args(arguments)
    kept: list[str] = []
    found: list[str] = []
    # A choice decides which settings exist, so choices are tried before settings.
    for override in sorted(parsed.overrides, key=lambda one: "." in one.split("=")[0]):
        try:
            config.compose([*kept, override], parsed.config_dir)
            kept.append(override)
        except config.CompositionError as reason:
            found.append(_sentence(override, reason, kept, parsed.config_dir))
    if not found:
        return [_first_lines(error)]
    return found + problems(config.resolve(config.compose(kept, parsed.config_dir)))


def _sentence(override: str, reason: Exception, kept: list[str], folder: str | None) -> str:
    name, _, value = override.lstrip("+~").partition("=")
    if isinstance(reason, MissingConfigException):
        options = [str(option) for option in reason.options or []]
        likely = difflib.get_close_matches(value, options, n=1, cutoff=0) or ["..."]
        return f"{override}: no such choice; allowed: {', '.join(options)}; {name}={likely[0]}"
    known = config.settings(config.compose(kept, folder))
    if name in known:
        said = _first_lines(reason.__cause__ or reason)
        return f"{override}: {said}; it was {name}={known[name]}"
    if owners := _owners(name, kept, folder):
        return f"{name} is a setting of {', '.join(owners)} only; {owners[-1]} {override}"
    likely = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"; close to it: {', '.join(likely)}; {likely[0]}={value}" if likely else ""
    return f"{name} is not a setting{hint}"


def _owners(name: str, kept: list[str], folder: str | None) -> list[str]:
    """The choices, in the group that the setting's name begins with, that do have it."""
    group = name.split(".", maxsplit=1)[0]
    owners = []
    for option in sorted(path.stem for path in (config.folder() / group).glob("*.yaml")):
        choice = f"{group}={option}"
        others = [override for override in kept if not override.startswith(f"{group}=")]
        if name in config.settings(config.compose([*others, choice], folder)):
            owners.append(choice)
    return owners


def _first_lines(error: BaseException) -> str:
    """The error's own words, without Hydra's search path and OmegaConf's coordinates."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("full_key", "object_type"))]
    return "; ".join(told[:2])
