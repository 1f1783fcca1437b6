"""Finds all faults of a command line of `ttt run` at once, each with what to type instead.

Hydra stops at the first override it cannot apply. Here each is tried by itself, so that one message
names all of them, and impossible values among the rest. A fault in a user's own YAML files ends in
a sentence, too.
"""

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.errors import MissingConfigException

from ttt import config
from ttt.cli import counted, names, options, own_files, sentences
from ttt.cli.composer import Composer, split
from ttt.errors import fault
from ttt.prepare.folder import MANIFEST
from ttt.schema import hyperparameters
from ttt.schema.closed import word
from ttt.schema.run import RunConfig


def in_one_piece(arguments: list[str]) -> list[str]:
    """The same with all overrides before the options: Hydra reads none that come after those."""
    typed = options.read(arguments)
    if typed.unknown or typed.problems or "--" in arguments:
        return arguments
    rest = list(arguments)
    for override in typed.overrides:
        rest.remove(override)
    return [*typed.overrides, *rest]


def shadowed(arguments: list[str]) -> list[str]:
    """Files in --config-dir that Hydra would not read, for ttt has others of their names."""
    config_dir = options.read(arguments).config_dir
    own, shipped = Path(config_dir or ""), config.folder()
    if not config_dir or own.resolve() == shipped.resolve():
        return []
    files = sorted(each.relative_to(shipped) for each in shipped.rglob("*.yaml"))
    clashes = [name for name in files if (own / name).is_file() and not _equal(own, shipped, name)]
    return [
        f"{own / name} would not be read: ttt has its own {name}; rename it: mv"
        f" {shlex.quote(str(own / name))} {shlex.quote(str(own / name.parent / f'my_{name.name}'))}"
        for name in clashes
    ]


def hollow(arguments: list[str]) -> bool:
    """Whether the user's own benchmark, which was chosen, sets nothing; Hydra would accept it."""
    files = own_benchmarks(arguments)
    return any(path.stem in _chosen(arguments) and own_files.hollow(path) for path in files)


def unchosen(arguments: list[str]) -> list[str]:
    """A remark where --config-dir has benchmarks and the command line chooses none at all."""
    typed, files = options.read(arguments), own_benchmarks(arguments)
    if not files or _chosen(arguments) or "--config-name" in typed.options:
        return []
    there = ", ".join(path.stem for path in files)
    return [
        f"benchmark= is not given, so none of those in {typed.config_dir} is trained: {there};"
        f" {names.typed('benchmark', files[0].stem)}"
    ]


def own_benchmarks(arguments: list[str]) -> list[Path]:
    """The files of benchmarks in --config-dir."""
    folder = options.read(arguments).config_dir
    return sorted(Path(folder, "benchmark").glob("*.yaml")) if folder else []


def _chosen(arguments: list[str]) -> set[str]:
    """The benchmarks a command line chooses, of a sweep all."""
    parts = map(split, options.read(arguments).overrides)
    typed = [value for _, name, value in parts if name.partition("@")[0] == "benchmark"]
    return {one.strip(" '\"") for value in typed for one in value.split(",")}


def _equal(own: Path, shipped: Path, name: Path) -> bool:
    return (own / name).read_bytes() == (shipped / name).read_bytes()


def diagnose(
    arguments: list[str], error: Exception | None, problems: Callable[[RunConfig], list[str]]
) -> list[str]:
    """Sentences for everything wrong with a command line that was refused.

    Args:
        arguments: What was typed after `ttt run`.
        error: What Hydra raised; its own text is used if no typed word is the cause.
        problems: Finds impossible values in a configuration that composes.
    """
    typed = options.read(arguments)
    folder = typed.config_dir
    if folder is not None and not Path(folder).is_dir():
        allowed = "one with benchmark/NAME.yaml in it"
        return [fault("--config-dir", folder, "is not a folder", allowed=allowed, typed="DIR")]
    sentence, folder = _of_folder(folder)
    composer = Composer(folder, typed.options.get("--config-name") or "config")
    if isinstance(error, MissingConfigException) and error.missing_cfg_file == composer.name:
        return [f"--config-name {composer.name}: no such file; --config-dir DIR benchmark=NAME"]
    found = [*([sentence] if sentence else []), *typed.problems]
    words = typed.overrides
    if typed.sweeps:  # each of several values is judged as a launch; see `ttt.cli.sweep`
        words = [one for one in words if not sentences.is_sweep(one)]
    composed, faults = judge(words, composer)
    known = config.settings(composed)
    found += [sentences.of_option(name, value, known, composer) for name, value in typed.unknown]
    found += faults + impossible(composed, words, problems)
    if not found and error:
        key = getattr(error, "full_key", None)  # of a value that leads nowhere
        return [f"{key}: {sentences.words(error)}" if key else sentences.words(error)]
    return found


def _of_folder(folder: str | None) -> tuple[str | None, str | None]:
    """A sentence about a folder that holds no choice, with the folder the user probably meant."""
    if folder is None or any(Path(folder).glob("*/*.yaml")):
        return None, folder
    typed = f"--config-dir {folder}"
    groups = {each.name for each in config.folder().iterdir() if each.is_dir()}
    if Path(folder).resolve().name in groups and any(Path(folder).glob("*.yaml")):
        above = os.path.normpath(Path(folder) / "..")
        return f"{typed}: one folder up: --config-dir {shlex.quote(above)}", above
    problem = f"{typed}: {folder} has no benchmark/NAME.yaml"
    if (Path(folder) / MANIFEST).is_file():
        return f"{problem}, it is a data set; ttt new NAME --from {shlex.quote(folder)}", folder
    return f"{problem}; --config-dir DIR", folder


def impossible(
    composed: Any, overrides: list[str], problems: Callable[[RunConfig], list[str]]
) -> list[str]:
    """What is wrong with the values of a configuration in which all settings exist."""
    composed = counted.fill(composed)
    return nowhere(composed, overrides) or problems(config.resolve(composed))


def judge(overrides: list[str], composer: Composer) -> tuple[Any, list[str]]:
    """The overrides that compose, and a sentence for each of the others."""
    readable, found = sentences.readable(overrides, composer)
    kept: list[str] = []
    # A choice decides which settings exist, so choices are tried before settings.
    for override in filter(composer.chooses, readable):
        if faults := sentences.of_choice(override, kept, composer):
            found += faults
        else:
            kept.append(override)
    composed = composer.compose(kept)
    for override in readable:
        if composer.chooses(override):
            continue
        try:
            if sentences.is_sweep(override):
                found.append(sentences.of_several(override, composed))
            else:
                composed = config.applied(composed, [override])
        except config.CompositionError as reason:
            found.append(sentences.of_setting(override, reason, composed, composer))
    return composed, found


def unlogged(arguments: list[str], run: RunConfig) -> list[str]:
    """A sentence for every `mlperf.KEY=` without a +, of which no part and no benchmark logs KEY.

    Hydra accepts any key there, for parts log keys that no YAML file names.
    """
    words, parts = options.read(arguments).overrides, hyperparameters.of_parts(run)
    odd = {one: one.partition("=")[0].removeprefix("mlperf.") for one in words if _of_log(one)}
    odd = {one: key for one, key in odd.items() if key not in parts}
    if not odd:
        return []
    folder = options.read(arguments).config_dir
    known = Composer(folder).compose([one for one in words if one not in odd]).get("mlperf", {})
    found = []
    for one, key in odd.items():
        if key not in known:
            likely = names.close(key, {**parts, **known})[:1]
            hint = "".join(f"; close to it: mlperf.{name}" for name in likely)
            added = shlex.quote(f"+{one}")
            found.append(f"mlperf.{key} is no key that this run logs{hint}; to add it: {added}")
    return found


def _of_log(override: str) -> bool:
    return override.startswith("mlperf.")


def nowhere(composed: Any, overrides: list[str]) -> list[str]:
    """A sentence for every value that refers to what does not exist."""
    known, typed = config.settings(composed), {split(one)[1]: one for one in overrides}
    found = []
    for name, reason in config.unresolved(composed):
        key = re.search(r"Interpolation key '([^']+)' not found", reason)
        likely = names.close(key[1], known)[:1] if key else []
        hint = "".join(f"; close to it: {one}" for one in likely)
        why = f"{key[1]} is not a setting{hint}" if key else reason
        found.append(f"{typed.get(name, f'{name}={word(known[name])}')}: {why}")
    return found
