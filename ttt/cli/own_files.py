"""Finds all faults of a YAML file in a user's own folder at once, with their places.

Hydra stops at the first fault and names a place inside Hydra. This module checks the file in the
order in which a person reads it: its text, its header, its choices, then each of its settings.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import MissingConfigException

from ttt import config
from ttt.cli import names
from ttt.cli.composer import Composer
from ttt.schema.closed import word
from ttt.schema.nodes import SCHEMAS

_GLOBAL = "# @package _global_"
_HEADER = re.compile(r"(\s*#\s*@.*\n)*?\s*#\s*@package\s+_global_\s*$", re.MULTILINE)
_ENTRY = re.compile(r"(?P<override>override\s+)?(?P<slash>/?)(?P<group>[\w/-]+)(?P<at>@\S+)?$")


def faults(path: Path, composer: Composer) -> list[str]:
    """A sentence for each thing wrong with a file; each begins with the file's path.

    Args:
        path: DIR/GROUP/NAME.yaml, where DIR is the composer's folder.
        composer: Knows what the file may choose and set.
    """
    text, fault = _text(path)
    if fault is None:
        content, fault = _content(path)
    if fault is not None:
        return [f"{path}{fault}"]
    if not isinstance(content, dict):
        if content is None:
            return [_hollow(path)] if path.parent.name == "benchmark" else []
        kind = "a list" if isinstance(content, list) else "one value"
        return [f"{path} is {kind}; allowed: lines of NAME: VALUE, as in seed: 3"]
    group = path.parent.relative_to(str(composer.config_dir)).as_posix()
    everywhere = _HEADER.match(text) is not None
    if group == "benchmark" and not everywhere:
        return [_headless(path, text)]
    found, chosen = _defaults(content.get("defaults", []), group, everywhere, composer)
    if not found:
        found = list(_settings(content, "" if everywhere else f"{group}.", chosen, composer))
    return [f"{path}: {one}" for one in found]


def hollow(path: Path) -> bool:
    """Whether a file can be read and holds nothing: Hydra would accept it and change nothing."""
    return _text(path)[1] is None and _content(path) == (None, None)


def _hollow(path: Path) -> str:
    return (
        f"{path} sets nothing; allowed: the line {_GLOBAL} and below it settings, as in seed: 3;"
        f" ttt new {shlex.quote(path.stem)} writes one"
    )


def _text(path: Path) -> tuple[str, str | None]:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8"), None
    except OSError as error:
        return "", f" cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        kind = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "LATIN1"
        return "", (
            f", line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8, as by"
            f" iconv -f {kind} -t UTF-8"
        )


def _content(path: Path) -> tuple[Any, str | None]:
    try:
        return config.read(path), None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        fault = " ".join((error.problem or error.context or "not YAML").split())
        if "'\\t'" in fault:
            fault = "a tab, and YAML is indented with blanks; replace it by two blanks"
        if "another document" in fault:
            fault = "a second document begins; remove the line ---"
        return None, f"{where}: {fault}"
    except yaml.YAMLError as error:
        return None, f": {' '.join(str(error).split())}"


def _headless(path: Path, text: str) -> str:
    if text.startswith("\ufeff"):
        return f"{path} begins with a byte order mark, which hides its first line; save it without"
    return (
        f"{path} does not begin with the line {_GLOBAL}, with which it sets the whole run; add"
        " it as the first line"
    )


def _defaults(
    entries: Any, group: str, everywhere: bool, composer: Composer
) -> tuple[list[str], list[str]]:
    """What is wrong with the list of choices of a file, and the overrides that choose the same."""
    if not isinstance(entries, list):
        return ["defaults is not a list; allowed: lines of - override /data: NAME below it"], []
    found: list[str] = []
    chosen: list[str] = []
    for entry in entries:
        if entry == "_self_":
            continue
        name, value = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
        sentence, override = _entry(str(name), value, group, everywhere, composer)
        found += [sentence] if sentence else []
        chosen += [override] if override else []
    return found, chosen


def _entry(
    name: str, value: Any, group: str, everywhere: bool, composer: Composer
) -> tuple[str | None, str | None]:
    """What is wrong with one line of `defaults`, or else what a person would type for it."""
    match = _ENTRY.match(name.strip())
    if value is None:  # the name of a file of the same group, or /schema/NAME@_here_
        return _file(name, group, everywhere, composer)
    if match is None or name.startswith("optional "):
        return None, None  # left to Hydra
    meant, overrides = match["group"], bool(match["override"])
    if meant not in composer.groups:
        likely = names.close(meant, composer.parts, 0) or composer.parts
        return (
            f"- {name}: {value}: /{meant} is no group of choices; allowed:"
            f" {', '.join(composer.parts)}; - override /{likely[0]}: {value}"
        ), None
    if str(value) not in composer.groups[meant]:
        fault = allowed(meant, str(value), composer, f"- override /{meant}: ")
        return f"- {name}: {value}: no such choice; {fault}", None
    standing = meant in config.settings(composer.compose([])) if everywhere else False
    if everywhere and standing and not (overrides and match["slash"]):
        return f"- {name}: {value} must be - override /{meant}: {value}", None
    return None, f"{meant}={value}" if standing else f"+{meant}={value}"


def _file(
    name: str, group: str, everywhere: bool, composer: Composer
) -> tuple[str | None, str | None]:
    """About a line of `defaults` that names a file, as digits or /schema/images@_here_."""
    if match := re.fullmatch(r"/(\w+)/(\w+)@_here_", name):
        known = sorted(SCHEMAS) if match[1] == "schema" else composer.groups.get(match[1], [])
        if match[2] in known:
            return None, f"+{match[1]}@{group}={match[2]}"
        likely = names.close(match[2], known, 0)[:1]
        hint = "".join(f"; - /{match[1]}/{one}@_here_" for one in likely)
        return f"- {name}: no such choice; allowed: {', '.join(known)}{hint}", None
    if name in composer.groups[group]:
        return None, f"{group}={name}" if everywhere else f"+{group}={name}"
    return _no_file(name, group, composer), None


def _no_file(name: str, group: str, composer: Composer) -> str | None:
    *words, last = name.split()
    if words and ":" not in name:
        return f"- {name} has no colon; - {' '.join(words)}: {last}"
    if not re.fullmatch(r"[\w-]+", name):
        return None  # left to Hydra
    if name == "self" or names.is_typo(name, "_self_"):
        return f"- {name} must be - _self_"
    return f"- {name}: no such choice; {allowed(group, name, composer, '- ')}"


def _settings(
    content: dict[Any, Any], prefix: str, chosen: list[str], composer: Composer
) -> Iterator[str]:
    """What is wrong with each setting of a file that chooses so."""
    begins = Composer(composer.config_dir, "config" if not prefix else None)
    try:
        composed = begins.compose(chosen)
    except config.CompositionError as reason:
        yield blamed(reason, composer)
        return
    known = config.settings(composed)
    if prefix and prefix[:-1] not in known:
        return  # a part without a schema may have any settings
    for key in (key for key in content if "." in str(key)):
        above, _, below = str(key).partition(".")
        yield f"{key} is one name here; allowed: {above}: and below it, indented, {below}:"
    rest = {key: value for key, value in content.items() if key != "defaults"}
    for name, value in _leaves(rest, prefix, known, composed):
        if names.is_typo(name.removeprefix(prefix), "defaults"):
            yield f"{name.removeprefix(prefix)} is not a setting; close to it: defaults"
        elif name not in known:
            yield names.unknown(name, word(value), known, begins, in_file=True)
        elif not config.fits(composed, name, value):
            yield _unfit(name, value, composed, composer)


def _unfit(name: str, value: Any, composed: Any, composer: Composer) -> str:
    """About a setting that cannot have the value which a file gives it."""
    if value is None and isinstance(config.settings(composed)[name], dict):
        return f"{name}: has nothing below it; remove the line"
    if name in composer.groups and isinstance(value, str):
        return f"{name}: {value} chooses nothing; below defaults: - override /{name}: {value}"
    advice = instead(name, str(word(value)), composed, ": ")
    return f"{name}: {word(value)} is not allowed; {advice}"


def _leaves(
    content: dict[Any, Any], prefix: str, known: dict[str, Any], composed: Any
) -> Iterator[tuple[str, Any]]:
    """The settings in a file, dotted, down to where names are free."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if "." in str(key):
            continue
        below = isinstance(value, dict) and isinstance(known.get(name), dict)
        if below and not config.is_open(composed, name):
            yield from _leaves(value, f"{name}.", known, composed)
        else:
            yield name, value


def blamed(reason: Exception, composer: Composer) -> str:
    """Which file cannot be composed with the rest, and why, from what Hydra raised."""
    if isinstance(reason, MissingConfigException) and reason.missing_cfg_file:
        group, _, name = str(reason.missing_cfg_file).rpartition("/")
        if group not in composer.groups:
            return f"no such choice; allowed: {', '.join(map(str, reason.options or []))}"
        return f"its file names {group}: {name}, and there is no such choice; " + allowed(
            group, name, composer, f"override /{group}: "
        )
    if isinstance(reason, RecursionError):
        return "its defaults lead back to itself; remove what names it there"
    where = re.search(r"In '([^']+)'", str(reason))
    key = re.search(r"full_key: (\S+)", str(reason))
    reason_text = "; ".join(line.strip() for line in str(reason).splitlines() if line.strip())
    if where is None:
        return reason_text
    if key:
        return (
            f"{where[1]}.yaml sets {key[1]}, which this choice does not have; a benchmark of your"
            " own may choose both (--config-dir DIR benchmark=yours)"
        )
    return f"{where[1]}.yaml: {reason_text}"


def allowed(group: str, name: str, composer: Composer, typed: str = "") -> str:
    """The choices of a group, and how to type the right one."""
    options = composer.groups.get(group, [])
    likely = names.close(name, options)[:1]
    allowed = f"allowed: {', '.join(options)}"
    return f"{allowed}; {typed or f'{group}='}{likely[0]}" if likely else allowed


def instead(name: str, value: str, composed: Any, sign: str = "=") -> str:
    """What a known setting may be, and a value it may have."""
    words = config.allowed(composed, name)
    was = config.settings(composed)[name]
    several = words.startswith("[")
    choices = words.rpartition(" of ")[2] if several else words.removesuffix(", or null")
    likely = names.close(value.strip("[]"), choices.split(", "))
    if isinstance(was, dict):
        return f"allowed: {words}"
    one = f"[{likely[0]}]" if likely and several else next(iter(likely), "")
    shown = one if one and ", " in choices else str(word(was))
    if was is None and value and choices in ("a whole number", "a number"):
        shown = "1"  # null is no better for someone who typed a value
    typed = names.typed(name, shown) if sign == "=" else f"{name}: {shown}"
    return f"allowed: {words}; {typed}"
