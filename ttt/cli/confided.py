"""Warns of secrets that were typed as settings, and hides them in Hydra's own output."""

import contextlib
import io
import itertools
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.types import RunMode

from ttt import config, redact, secret_names
from ttt.cli.composer import split

_SHOWN = {"--cfg", "--info"}  # options with which Hydra prints settings
_YAML = re.compile(r"\s*(- |[\w.@/-]+:( |$)|#)").match  # a line of a configuration
_LAUNCHER = "hydra._internal.core_plugins.basic_launcher"  # the module, which Hydra imports late


def masked(arguments: list[str]) -> list[str]:
    """A sentence for each word that was copied from where ttt had hidden a secret."""
    found = []
    for word in arguments:
        if redact.MARK in word:
            _, name, _ = split(word)
            better = f", or {_from_environment(name, [word])}" if secret_names.named(name) else ""
            found.append(
                f"{word}: {redact.MARK} stands where ttt has hidden a secret; type the setting"
                f" again with its value{better}"
            )
    return found


def warn(composed: Any, arguments: list[str]) -> None:
    """Say which settings hold secrets as they are written, once for all launches of a sweep.

    Args:
        composed: What Hydra composed.
        arguments: What was typed after `ttt run`.
    """
    if remark := _remark(composed, arguments):
        _say(remark)


@cache
def _say(remark: str) -> None:
    print(f"ttt: {remark}", file=sys.stderr)


def _remark(composed: Any, arguments: list[str]) -> str:
    """Which settings hold secrets, and the better way; "" if none does."""
    settings = config.settings(composed)
    names = [name for name, value in settings.items() if _is_secret(name, value)]
    if not names:
        return ""
    better = "type export NAME=VALUE in the shell before"
    own = [name for name in names if not name.startswith("launcher.")]
    if not own:
        better += (
            ": sbatch, srun and torchrun pass it on, mpirun with -x NAME; for W&B: wandb login"
        )
    else:
        better += f" and {_from_environment(own[-1], arguments)}"
    hold = "hold secrets" if len(names) > 1 else "holds a secret"
    return (
        f"{', '.join(names)} {hold}: other users may see that in the list of processes; ttt hides"
        f" it in what it records and shows; {better}"
    )


def _from_environment(name: str, arguments: list[str]) -> str:
    """The override, as a shell reads it, that takes a setting from the environment.

    One that was typed keeps its `+`. One in braces that were typed may have to be added: `++`.
    """
    typed = {called: sign for sign, called, _ in map(split, arguments)}
    inside = any(name.startswith(f"{called}.") for called in typed)
    return f"'{typed.get(name, '++' if inside else '')}{name}=${{oc.env:NAME}}'"


def _is_secret(name: str, value: Any) -> bool:
    return not isinstance(value, dict) and redact.settings({name: value})[name] != value


def listen() -> None:
    """Hide the secrets in what Hydra prints of each launch."""
    logging.getLogger(_LAUNCHER).addFilter(_without_secrets)


def _without_secrets(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact.text(record.getMessage()), ()
    return True


@contextlib.contextmanager
def in_what_hydra_shows(options: Iterable[str]) -> Iterator[None]:
    """Hide the secrets in a configuration that Hydra prints within it.

    Args:
        options: Those that were typed.
    """
    if _SHOWN.isdisjoint(options):
        yield
        return
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            yield
    finally:
        print(_hidden(shown.getvalue()), end="", flush=True)


def _hidden(shown: str) -> str:
    """What Hydra prints: a configuration, or tables with one between them."""
    content = _yaml(shown)
    if content is None:
        lines = shown.splitlines(keepends=True)
        groups = itertools.groupby(lines, lambda line: _YAML(line) is not None)
        parts = ["".join(group) for _, group in groups]
        return "".join(_hidden(one) if _yaml(one) else redact.text(one) for one in parts)
    if not redact.holds(content):
        return shown
    head = "".join(line for line in shown.splitlines(keepends=True) if line.startswith("#"))
    return head + yaml.safe_dump(redact.settings(content), sort_keys=False, allow_unicode=True)


def _yaml(shown: str) -> dict[Any, Any] | None:
    try:
        content = yaml.safe_load(shown)
    except yaml.YAMLError:
        return None
    return content if isinstance(content, dict) else None


def hide_secrets(hydra: Any) -> None:
    """Hide the secrets in what Hydra itself has just written of a sweep.

    Args:
        hydra: Hydra's own configuration.
    """
    if hydra.mode is not RunMode.MULTIRUN:
        return
    files = [Path(hydra.sweep.dir, "multirun.yaml")]
    if hydra.output_subdir is not None:
        files += Path(hydra.runtime.output_dir, hydra.output_subdir).glob("*.yaml")
    for file in files:
        if not file.is_file():
            continue
        content = yaml.safe_load(file.read_text("utf-8"))
        if redact.holds(content):
            file.chmod(0o600)
            hidden = redact.settings(content)
            file.write_text(yaml.safe_dump(hidden, sort_keys=False), encoding="utf-8")
