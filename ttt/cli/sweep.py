"""Judges a sweep as a whole: no launch starts if one of them has a fault."""

import itertools
import math
import shlex
from collections.abc import Callable
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser

from ttt import config
from ttt.cli import overrides, sentences
from ttt.cli.composer import Composer
from ttt.cli.options import Typed
from ttt.schema.run import RunConfig

_JUDGED = 100  # launches, about a tenth of a second each; Hydra composes the others, too
_MOST = 10_000  # launches; Hydra has all of them in memory


def faults(typed: Typed, problems: Callable[[RunConfig], list[str]]) -> list[str]:
    """What is wrong with the first launch of a sweep that has faults, among the first hundred.

    Args:
        typed: What was typed; it may be no sweep, and then has no faults here.
        problems: Finds impossible values in a configuration that composes.
    """
    if not typed.sweeps or any(one.startswith("hydra/sweeper") for one in typed.overrides):
        return []  # other sweepers choose the next launch by what the last one gave
    mine = [one for one in typed.overrides if not one.startswith("hydra")]
    composer = Composer(typed.config_dir, typed.options.get("--config-name") or "config")
    readable, found = sentences.readable(mine, composer)
    if found:
        return found
    try:
        values = _values(readable, typed.config_dir)
    except config.CompositionError as error:
        return [f"{shlex.join(readable)}: {' '.join(str(error).split())}"]
    return _too_many_or_none(values, composer) or _of_first(values, composer, problems)


def _too_many_or_none(values: dict[str, list[str]], composer: Composer) -> list[str]:
    if math.prod(map(len, values.values())) > _MOST:
        return [f"the sweep has more than {_MOST} launches; allowed: up to {_MOST} at a time"]
    found = []
    for override in (one for one, several in values.items() if not several):
        choices = composer.groups.get(override.partition("=")[0], ["one value or more"])
        found.append(f"{override} is no launch at all; allowed: {', '.join(choices)}")
    return found


def _of_first(
    values: dict[str, list[str]], composer: Composer, problems: Callable[[RunConfig], list[str]]
) -> list[str]:
    """What is wrong with the first launch that has faults."""
    count = math.prod(map(len, values.values()))
    launches = map(list, itertools.product(*values.values()))
    for number, launch in enumerate(itertools.islice(launches, _JUDGED), 1):
        if found := _of_launch(launch, composer, problems):
            which = f"launch {number} of {count} ({shlex.join(launch)}): " if count > 1 else ""
            return [f"{which}{one}" for one in found]
    return []


def _of_launch(
    launch: list[str], composer: Composer, problems: Callable[[RunConfig], list[str]]
) -> list[str]:
    found: list[str] = []
    try:
        composed = composer.compose(launch)
    except config.CompositionError:
        composed, found = overrides.judge(launch, composer)
    return found + overrides.impossible(composed, launch, problems)


def _values(overrides: list[str], config_dir: str | None) -> dict[str, list[str]]:
    """The overrides that each becomes in turn, as Hydra's own sweeper makes them of it.

    Raises:
        CompositionError: They cannot be read.
    """
    path = create_config_search_path(str(config.folder()))
    if config_dir:
        path.prepend("command-line", f"file://{Path(config_dir).absolute()}")
    parser = OverridesParser.create(ConfigLoaderImpl(path))
    values: dict[str, tuple[str, list[str]]] = {}
    for typed, one in zip(overrides, parser.parse_overrides(overrides), strict=True):
        sweep = one.is_sweep_override()
        shown = one.sweep_string_iterator() if sweep else [one.get_value_element_as_str()]
        name = one.get_key_element()
        several = [f"{name}={each}" for each in itertools.islice(shown, _MOST + 1)]
        values[name] = typed, several  # of two with one name the last counts
    return dict(values.values())
