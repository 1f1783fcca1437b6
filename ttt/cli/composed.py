"""Composes what was typed for a command that is no Hydra application itself."""

import argparse
from pathlib import Path
from typing import Any

from ttt import config, signals
from ttt.cli import confided, counted, overrides
from ttt.errors import ConfigError, fault


def composed(words: list[str], config_dir: str | None) -> Any:
    """The configuration of these settings, with what is null counted where the set is here.

    Args:
        words: As for `ttt run`.
        config_dir: A folder of the user's own benchmark files.

    Raises:
        ConfigError: The settings are wrong.
    """
    config.register()
    typed = [*(["--config-dir", config_dir] if config_dir else []), *words]
    if found := confided.masked(typed):
        raise ConfigError(found)
    if overrides.hollow(typed):
        raise ConfigError(overrides.diagnose(typed, None, lambda run: []))
    if found := overrides.shadowed(typed):
        raise ConfigError(found)
    try:
        made = counted.fill(config.compose(words, config_dir))
        config.resolve(made)
    except config.CompositionError as error:
        signals.obey()
        raise ConfigError(overrides.diagnose(typed, error, lambda run: [])) from error
    return made


def add_settings(parser: argparse.ArgumentParser, example: str) -> None:
    """Add what `composed` takes: `overrides` and `config_dir`."""
    parser.add_argument(
        "overrides", nargs="*", metavar="SETTING=VALUE", help=f"as for ttt run: {example}"
    )
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of benchmark files of yours")


def demand_folder(file: str | None) -> None:
    """Ask, before anything takes its time, for the folder of a file that `--json` names.

    Raises:
        ConfigError: There is none.
    """
    if file and not (folder := Path(file).absolute().parent).is_dir():
        why = f"cannot be written: {folder} is not a folder"
        raise ConfigError([fault("--json", file, why)])
