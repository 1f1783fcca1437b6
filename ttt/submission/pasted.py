"""Checks the texts of a run folder that go into scripts and lists of a package.

The folder may be a stranger's. A shell and pip execute a package's files, so each text must have
the right form. May not read or write a file.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ttt.schema.rules import not_one_line

# packaging.python.org, "Names and normalization" and "Version specifiers".
_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.ASCII | re.IGNORECASE)
_VERSION = re.compile(
    r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?",
    re.ASCII | re.IGNORECASE,
)
_PYTHON = re.compile(r"\d+\.\d+(\.\d+)?((a|b|rc)\d+)?\+?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,64}", re.ASCII)


def in_environment(environment: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the names and versions of an environment.json, a sentence each.

    Args:
        environment: Its content.
    """
    for name, version in (environment.get("packages") or {}).items():
        if not _NAME.fullmatch(name):
            yield f"{name!r:.80} is not the name of a package"
        yield from _wrong(f"{name!r:.80} has the version", version, _VERSION)
    yield from _wrong("ttt has the version", environment.get("ttt"), _VERSION)
    yield from _wrong("Python has the version", environment.get("python"), _PYTHON)
    commit = (environment.get("git") or {}).get("commit")
    yield from _wrong("git has the commit", commit, _COMMIT)


def in_configuration(config: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the typed words and of the data set, which go into scripts."""
    yield from not_one_line({name: config.get(name) for name in ("command", "data", "run_root")})


def _wrong(what: str, value: object, form: re.Pattern[str]) -> Iterator[str]:
    if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
        yield f"{what} {value!r:.80}, which is none"
