"""What is wrong with the overrides a person typed: all of it at once, with what to type instead.

Hydra stops at the first override it cannot apply. Here each is tried by itself, so that one message
tells about every one of them, and about impossible values among the rest. Whatever is in a user's
own YAML files ends in a sentence, too.
"""

import difflib
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException, OverrideParseException

from ttt import config
from ttt.schema.run import RunConfig

_GLOBAL = "# @package _global_"
_OWN = "~ # ( ) [ ] { } ' \" , = & !"  # characters that Hydra reads in its own way


def in_one_piece(arguments: list[str]) -> list[str]:
    """The same with all overrides before the options: Hydra reads none that come after those."""
    known, late = get_args_parser().parse_known_args(arguments)
    if not known.overrides or not late or any(each.startswith("-") for each in late):
        return arguments
    return [*late, *(each for each in arguments if each not in late)]


def shadowed(arguments: list[str]) -> list[str]:
    """Files in --config-dir that Hydra would not read, for ttt has others of their names."""
    known, _ = get_args_parser().parse_known_args(arguments)
    own, shipped = Path(known.config_dir or ""), config.folder()
    if not known.config_dir or own.resolve() == shipped.resolve():
        return []
    names = sorted(each.relative_to(shipped) for each in shipped.rglob("*.yaml"))
    clashes = [name for name in names if (own / name).is_file() and not _equal(own, shipped, name)]
    return [
        f"{own / name} would not be read: ttt has its own {name}; rename it: mv"
        f" {shlex.quote(str(own / name))} {shlex.quote(str(own / name.parent / f'my_{name.name}'))}"
        for name in clashes
    ]


def _equal(own: Path, shipped: Path, name: Path) -> bool:
    return (own / name).read_bytes() == (shipped / name).read_bytes()


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
    folder = parsed.config_dir
    if folder and not Path(folder).is_dir():
        return [
            f"--config-dir {folder} is not a folder; allowed: one with benchmark/NAME.yaml in it;"
            " --config-dir DIR"
        ]
    kept: list[str] = []
    found: list[str] = []
    # A choice decides which settings exist, so choices are tried before settings.
    for override in sorted(parsed.overrides, key=lambda one: "." in one.split("=")[0]):
        if sentence := _unreadable(override):
            found.append(sentence)
            continue
        try:
            config.compose([*kept, override], folder)
            kept.append(override)
        except config.CompositionError as reason:
            found.append(_sentence(override, reason, kept, folder))
    if not found:
        key = getattr(error, "full_key", None)  # of a value that leads nowhere
        return [f"{key}: {_first_lines(error)}" if key else _first_lines(error)]
    return found + problems(config.resolve(config.compose(kept, folder)))


def _unreadable(override: str) -> str | None:
    """A sentence about an override that Hydra's grammar has no place for, with quotes around it."""
    try:
        OverridesParser.create().parse_overrides([override])
    except OverrideParseException:
        name, equals, value = override.partition("=")
        if not equals:
            return f"{override} is not NAME=VALUE; allowed: NAME=VALUE, as in seed=3"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        quoted = shlex.quote(f'{name}="{escaped}"')
        return f"{override}: Hydra reads {_OWN} in its own way; quote the value: {quoted}"
    return None


def _sentence(override: str, reason: Exception, kept: list[str], folder: str | None) -> str:
    name, _, value = override.lstrip("+~").partition("=")
    if value.startswith("[") and (config.folder() / name).is_dir():
        several = value.strip("[]").replace(" ", "")
        return f"{override}: one choice only, or a sweep: --multirun {name}={several}"
    if isinstance(reason, yaml.YAMLError):
        return f"{override}: {' '.join(str(reason).split())}"
    if isinstance(reason, MissingConfigException):
        return _missing(override, reason)
    if sentence := _in_own_file(override, name, value, reason, folder):
        return sentence
    known = config.settings(config.compose(kept, folder))
    if name in known:
        said = _first_lines(reason.__cause__ or reason)
        was = known[name]
        return f"{override}: {said}" + (
            "" if isinstance(was, dict) else f"; without it {name}={was}"
        )
    return _unknown(override, name, value, sorted(known), folder)


def _missing(override: str, reason: MissingConfigException) -> str:
    """A choice that is none, typed or named by the file of another."""
    options = [str(option) for option in reason.options or []]
    group, _, name = str(reason.missing_cfg_file or override.replace("=", "/")).rpartition("/")
    likely = _close(name, options, 0.6)[:1]
    allowed = f"allowed: {', '.join(options)}"
    if override.lstrip("+~") == f"{group}={name}":
        hint = f"; {group}={likely[0]}" if likely else ""
        return f"{override}: no such choice; {allowed}{hint}"
    hint = f"; override /{group}: {likely[0]}" if likely else ""
    return (
        f"{override}: its file names {group}: {name}, and there is no such choice; {allowed}{hint}"
    )


def _in_own_file(
    override: str, name: str, value: str, reason: Exception, folder: str | None
) -> str | None:
    """What is wrong with the file of a choice, in --config-dir or, it should not be, of ttt."""
    where = re.search(r"In '([^']+)'", str(reason))
    if where is None or where[1] == "config":
        return None
    file = f"{where[1]}.yaml"
    path = Path(folder or "") / file
    if name == "benchmark" and path.is_file() and _GLOBAL not in path.read_text("utf-8", "replace"):
        return (
            f"{override}: {path} does not begin with the line {_GLOBAL}, by which it speaks of the"
            " whole run; add it as the first line"
        )
    key = re.search(r"full_key: (\S+)", str(reason))
    if key and name != where[1].partition("/")[0]:
        return (
            f"{override}: {file} sets {key[1]}, which {override} does not have; a benchmark of your"
            " own may choose both (--config-dir DIR benchmark=yours)"
        )
    if key:
        known = sorted(config.settings(config.compose([], None)))
        likely = _close(key[1], known, 0.6)
        hint = f"; close to it: {likely[0]}" if likely else ""
        return f"{override}: {file}: {key[1]} is not a setting{hint}"
    if group := re.search(r"Could not override '([^'@]+)'", str(reason)):
        groups = sorted(each.name for each in config.folder().iterdir() if each.is_dir())
        likely = difflib.get_close_matches(group[1], groups, n=1, cutoff=0)
        return (
            f"{override}: {file} overrides /{group[1]}, which is no group of choices; allowed:"
            f" {', '.join(groups)}; override /{likely[0]}: ..."
        )
    return f"{override}: {file}: {_first_lines(reason)}"


def _unknown(override: str, name: str, value: str, known: list[str], folder: str | None) -> str:
    """A setting that is none: another choice has it, or one that is spelt much like it."""
    group, _, rest = name.partition(".")
    owned = dict(_choices(group, folder)) if rest else {}
    owners = [choice for choice, settings in owned.items() if rest in settings]
    if owners:
        return f"{name} is a setting of {', '.join(owners)} only; {owners[-1]} {override}"
    parent = name.rpartition(".")[0]
    beside = [each for each in known if each.rpartition(".")[0] == parent]
    shown = [each for each in beside if not each.rpartition(".")[2].startswith("_")]
    if likely := _close(name, shown, 0.6):
        return f"{name} is not a setting; close to it: {', '.join(likely)}; {likely[0]}={value}"
    spelt = {f"{group}.{each}": choice for choice, of in owned.items() for each in of}
    if elsewhere := _close(name, list(spelt), 0.7):
        choice, setting = spelt[elsewhere[0]], elsewhere[0]
        return f"{name} is not a setting; {choice} has one: {choice} {setting}={value}"
    if likely := _close(name, known, 0.75):
        return f"{name} is not a setting; close to it: {', '.join(likely)}; {likely[0]}={value}"
    return f"{name} is not a setting; ttt run --cfg job shows all of them"


def _close(name: str, known: list[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(name, known, n=3, cutoff=cutoff)


def _choices(group: str, folder: str | None) -> Iterator[tuple[str, list[str]]]:
    """Every choice of a group with its settings, each by itself, under any benchmark."""
    places = [config.folder() / group, *([Path(folder) / group] if folder else [])]
    for option in sorted({path.stem for place in places for path in place.glob("*.yaml")}):
        try:
            yield f"{group}={option}", config.settings_of(group, option, folder)
        except config.CompositionError:  # a user's file with faults of its own
            continue


def _first_lines(error: BaseException) -> str:
    """The error's own words, without Hydra's search path and OmegaConf's coordinates."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("full_key", "object_type"))]
    return "; ".join(told[:2])
