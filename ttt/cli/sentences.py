"""A sentence for each override that Hydra refuses: what it is, what is allowed, what to type."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException, OverrideParseException

from ttt import config
from ttt.cli import names, options, own_files
from ttt.cli.candidates import FILLED_IN
from ttt.cli.composer import Composer, split

_OWN = "~ # ( ) [ ] { } ' \" , = & !"  # characters that Hydra reads in its own way


def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_overrides([override])[0]


def is_sweep(override: str) -> bool:
    """Whether an override has several values, one for each launch."""
    try:
        return _parsed(override).is_sweep_override()
    except (OverrideParseException, ValueError):  # which `readable` tells
        return False


def readable(words: list[str], composer: Composer) -> tuple[list[str], list[str]]:
    """The words that are NAME=VALUE to Hydra, and a sentence for each of the others."""
    kept, found, rest = [], [], list(words)
    while rest:
        taken = [rest.pop(0)]
        while rest and _torn(taken, rest[0]):
            taken.append(rest.pop(0))
        if len(taken) > 1:
            whole = shlex.quote("".join(taken))
            found.append(f"{' '.join(taken)}: NAME=VALUE is written without blanks; {whole}")
        elif rest and (meant := _parted(taken[0], rest[0], composer)):
            found.append(f"{taken[0]} {rest.pop(0)}: NAME=VALUE is written without blanks; {meant}")
        elif sentence := _unreadable(taken[0], composer):
            found.append(sentence)
        else:
            kept.append(taken[0])
    return kept, found


def _torn(taken: list[str], following: str) -> bool:
    """Whether two words are parts of one NAME = VALUE that was typed with blanks."""
    begun = "".join(taken)
    if "=" in begun and begun.count("[") > begun.count("]"):
        return "=" not in following
    if following.startswith("="):
        return len(taken) == 1 and "=" not in taken[0]
    return taken[-1].endswith("=") and "=" not in following


def _parted(name: str, value: str, composer: Composer) -> str | None:
    """NAME=VALUE for a name and a value that were typed as two words; None if they are not."""
    if "=" in name + value or name in FILLED_IN:
        return None
    if options := composer.groups.get(name):
        likely = [value] if value in options else names.close(value, options)
        return names.typed(name, likely[0]) if likely else None
    composed = composer.compose([])
    if name not in config.settings(composed) or value in config.settings(composed):
        return None
    try:
        config.applied(composed, [f"{name}={value}"])
    except config.CompositionError:
        return None
    return names.typed(name, value)


def _unreadable(override: str, composer: Composer) -> str | None:
    """A sentence about a word that Hydra's grammar does not accept; None if it does."""
    name, equals, value = override.partition("=")
    if not equals and not name.startswith("~"):
        return f"{override} is not NAME=VALUE; {_without_value(override, composer)}"
    if equals and not name:
        return f"{override} is not NAME=VALUE; allowed: NAME=VALUE, as in seed=3"
    try:
        _parsed(override)
    except OverrideParseException:
        if value.startswith("=") and value.strip("="):
            return f"{override}: one = is enough; {names.typed(name, value.strip('='))}"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        quoted = names.typed(name, f'"{escaped}"')
        return f"{override}: Hydra reads {_OWN} in its own way; quote the value: {quoted}"
    except ValueError as error:  # of a number with thousands of digits
        return f"{override[:40]}... is not allowed: {words(error)}"
    return None


def _without_value(name: str, composer: Composer) -> str:
    if f"--{name}" in options.long_names():
        return f"an option has dashes: --{name}"
    if group := next((one for one in composer.parts if name in composer.groups[one]), None):
        return f"{group}={name}"
    if name in composer.groups:
        return f"allowed: {', '.join(composer.groups[name])}; {name}={composer.groups[name][0]}"
    return "allowed: NAME=VALUE, as in seed=3"


def of_choice(override: str, kept: list[str], composer: Composer) -> list[str]:
    """What is wrong with the choice of a file, beside others that compose; empty if nothing is."""
    sign, name, value = split(override)
    group = name.partition("@")[0]
    if group in composer.parts:
        if sentence := _of_its_name(override, group, composer):
            return [sentence]
        path = composer.own(group, value)
        if path and (found := own_files.faults(path, composer)):
            return [f"{override}: {fault}" for fault in found]
    try:
        composer.compose([*kept, override])
    except config.CompositionError as reason:
        if sign.startswith("+") and group in config.settings(composer.compose(kept)):
            return [f"{override}: {group} has one choice already; {group}={value}"]
        if group.startswith("hydra") and not isinstance(reason, MissingConfigException):
            return [of_setting(override, reason, composer.compose(kept), composer)]
        return [f"{override}: {own_files.blamed(reason, composer)}"]
    return []


def _of_its_name(override: str, group: str, composer: Composer) -> str | None:
    """A sentence about a choice that has no file; None if it has one."""
    sign, name, value = split(override)
    if sign == "~":
        return f"{override}: a choice cannot be taken away; {group}={composer.groups[group][0]}"
    if is_sweep(override):
        return f"{override}: one choice only, or a sweep: --multirun {shlex.quote(override)}"
    if value.startswith("["):
        several = names.typed(group, value.strip("[]").replace(" ", ""))
        return f"{override}: one choice only, or a sweep: --multirun {several}"
    if value.strip("'\"") not in composer.groups[group]:
        if folder := _folder_with(group, value.strip("'\"")):
            typed = shlex.join(["--config-dir", folder, f"{group}={value}"])
            return f"{override}: no such choice among ttt's, but one in {folder}; {typed}"
        return f"{override}: no such choice; {own_files.allowed(group, value, composer)}"
    return f"{override}: @ has no meaning here; {group}={value}" if "@" in name else None


def _folder_with(group: str, name: str) -> str | None:
    """A folder here or directly below that has this choice, the one of the same name first."""
    if not re.fullmatch(r"[\w-]{1,100}", name):
        return None
    found = [each.parents[1] for each in Path().glob(f"*/{group}/{name}.yaml")]
    found += [Path()] if os.path.isfile(f"{group}/{name}.yaml") else []
    return min((str(each) for each in found), key=lambda one: (one != name, one), default=None)


def of_setting(override: str, reason: BaseException, composed: Any, composer: Composer) -> str:
    """About a setting that does not exist, or cannot have the value; `reason` is Hydra's."""
    sign, name, value = split(override)
    known = config.settings(composed)
    if name not in known:
        return _of_no_setting(override, known, composer)
    if sign == "~":
        return f"{override}: a setting of ttt cannot be taken away; remove {override}"
    if "Interpolation" in type(reason.__cause__ or reason).__name__ or "${" in value:
        return f"{override}: {words(reason.__cause__ or reason)}"
    return f"{override} is not allowed; {own_files.instead(name, value, composed)}"


def _of_no_setting(override: str, known: dict[str, Any], composer: Composer) -> str:
    sign, name, value = split(override)
    if option := options.called(name):
        takes = options.takes_value(option) and value
        return f"{override} is an option; {option}" + (f" {shlex.quote(value)}" if takes else "")
    if name.partition(".")[0] == "hydra":
        return f"{override}: no such setting of Hydra; ttt run --cfg hydra shows all of them"
    if "@" in name:
        return f"{override}: @ has no meaning here; {names.typed(name.partition('@')[0], value)}"
    sentence = names.unknown(name, value, known, composer)
    return f"{sentence.partition(';')[0]}; remove {sign}{name}" if sign == "~" else sentence


def of_several(override: str, composed: Any) -> str:
    """About several values where one belongs."""
    _, name, value = split(override)
    if name in config.settings(composed) and config.allowed(composed, name).startswith("["):
        return f"{override}: several values are a list; {names.typed(name, f'[{value}]')}"
    problem = f"{override}: one value only; a launch for each: --multirun {override}"
    if name not in config.settings(composed):
        return problem
    if re.fullmatch(r"[+-]?\d+,\d+", value) and config.allowed(composed, name).startswith(
        "a number"
    ):
        return f"{problem}, or with a decimal point: {names.typed(name, value.replace(',', '.'))}"
    if config.words(composed, name) is None:  # any text
        quoted = names.typed(name, f'"{value}"')
        return f"{problem}, or {quoted}"
    return problem


def of_option(name: str, value: str | None, known: dict[str, Any], composer: Composer) -> str:
    """About an option that does not exist: the user meant another option, or a setting."""
    bare = name.lstrip("-").replace("-", "_")
    likely = names.close(name, options.long_names(), 0.8)
    problem = f"{name} is not an option"
    if bare not in known and likely:
        return f"{problem}; close to it: {', '.join(likely)}; {likely[0]}"
    meant = names.meant(bare, known, composer)
    if not meant:
        return f"{problem}; ttt run --help shows what there is"
    setting, choice = meant[0]
    if value is None:
        value = "true" if isinstance(known.get(setting), bool) else "VALUE"
    command = f"{choice} {names.typed(setting, value)}" if choice else names.typed(setting, value)
    return f"{problem}; a setting has no dashes: {command}"


def words(error: BaseException) -> str:
    """The error's own words, without Hydra's search path and OmegaConf's coordinates."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("full_key", "object_type"))]
    return "; ".join(kept[:2])
