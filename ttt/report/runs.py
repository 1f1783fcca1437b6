"""Finds run folders under any paths and reads them; what cannot be used is told, never fatal.

A run folder holds `config.yaml` from before the run and `summary.json` from after it. One without a
summary is a run that died, still runs or waits: it counts as a run, so that failures cannot get
lost. May not know how runs are scored or shown.
"""

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

from ttt.report.files import natural
from ttt.report.run import Found, Rejected, Run

CONFIG, SUMMARY, EVENTS, LOGS = "config.yaml", "summary.json", "events.jsonl", "logs"
_RUN_FILES = {SUMMARY, EVENTS, "environment.json"}

# What may differ between runs that are repetitions of each other.
_NOT_IN_DIGEST = {"seed", "runs", "run", "index", "run_root", "command"}

_TAIL = 1 << 16  # bytes; many times the longest event
_YEAR_10000 = 253402300800  # seconds since the epoch, where datetime ends


class _UnusableError(Exception):
    """A run folder that cannot be read, and why."""


# The type of each field that is read from a file: the `T` of its `T | None`.
_KINDS = {
    name: get_args(hint)[0]
    for name, hint in get_type_hints(Run).items()
    if get_args(hint)[:1] in [(str,), (bool,), (int,), (float,)]
    and name not in ("digest", "source")
}
_NOUNS = {str: "text", bool: "true, false", int: "a whole number", float: "a number"}


def find(paths: Iterable[str | Path]) -> Found:
    """Read every run folder at, under or (for a file) around the given paths, each once."""
    runs: dict[Path, Run] = {}
    rejected: list[Rejected] = []
    for path in map(Path, paths):
        if not path.exists():
            rejected.append(Rejected(path, "does not exist"))
            continue
        if path.is_file():
            if not _is_run(path.parent, {file.name for file in path.parent.iterdir()}):
                rejected.append(Rejected(path, "is a file and not in a run folder"))
                continue
            path = path.parent  # noqa: PLW2901  a file stands for the folder it is in
        for folder in _folders(path):
            if folder.resolve() not in runs:
                try:
                    runs[folder.resolve()] = _load(folder)
                except _UnusableError as error:
                    rejected.append(Rejected(folder, str(error)))
    return Found(tuple(runs.values()), tuple(rejected))


def _is_run(folder: Path, names: set[str]) -> bool:
    """A configuration alone is none: any project may have a config.yaml."""
    known = bool(names & _RUN_FILES) or folder.name.startswith("seed_")
    return SUMMARY in names or (CONFIG in names and known)


def _folders(top: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(top):
        if _is_run(Path(folder), set(names)):
            below.clear()
            yield Path(folder)
        # Hydra keeps its own config.yaml in `.hydra`.
        below[:] = sorted((name for name in below if name[0] != "."), key=natural)


def _load(folder: Path) -> Run:
    config = _read(folder / CONFIG) if (folder / CONFIG).exists() else None
    if (folder / SUMMARY).exists():
        summary = _read(folder / SUMMARY)
    else:
        assert config is not None
        summary = _of_dead(folder, config)
    compliance = summary.get("compliance") or {}
    if not isinstance(compliance, dict):
        raise _UnusableError(f"{SUMMARY}: compliance is {compliance!r:.60}, not an object or null")
    values = _typed(compliance | {name: summary[name] for name in summary if name != "compliance"})
    return Run(path=folder, digest=None if config is None else _digest(config), **values)


def _read(path: Path) -> dict[str, Any]:
    parse = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        content = parse(path.read_text("utf-8"))
    except OSError as error:
        raise _UnusableError(f"{path.name} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise _UnusableError(f"{path.name} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise _UnusableError(f"{path.name} is damaged: it holds no mapping")
    return content


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Run` among the values; a number that is not finite is unknown."""
    typed = {}
    for name, kind in _KINDS.items():
        value = values.get(name)
        if value is None:
            continue
        if kind is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not kind:
            raise _UnusableError(f"{name} is {value!r:.60}, not {_NOUNS[kind]} or null")
        if kind is not float or math.isfinite(value):
            typed[name] = value
    return typed


def _of_dead(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    benchmark, target = config.get("benchmark"), config.get("target")
    known = {
        "benchmark": benchmark.get("id") if isinstance(benchmark, dict) else benchmark,
        "seed": config.get("seed"),
    }
    if isinstance(target, dict):
        known |= {"metric": target.get("metric"), "target": target.get("threshold")}
    if not (folder / EVENTS).exists() and not any((folder / LOGS).glob("*")):
        return known | {"status": "not started", "reason": "no events"}
    return known | _last_sign(folder / EVENTS)


def _last_sign(events: Path) -> dict[str, str]:
    """Status and last whole event of a run without a summary; a kill may have cut the last line."""
    status = "died"
    try:
        with events.open("rb") as file:
            status = "running" if _locked(file.fileno()) else "died"
            file.seek(max(0, events.stat().st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        match event:
            case {"kind": str(kind), "time": int() | float() as time} if 0 <= time < _YEAR_10000:
                when = datetime.fromtimestamp(time, UTC).isoformat(" ", "seconds")
                if status == "died" and kind == "suspended":
                    status = kind
                return {"status": status, "reason": f"no summary; last event {kind} at {when}"}
    return {"status": status, "reason": "no events"}


def _locked(file: int) -> bool:
    """Whether a living process keeps the record to itself, here or where the folder is shared."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _digest(config: dict[str, Any]) -> str:
    kept = {name: value for name, value in config.items() if name not in _NOT_IN_DIGEST}
    for name, part in kept.items():  # a part may be told the run's seed, as data are
        if isinstance(part, dict) and part.get("seed", config.get("seed")) == config.get("seed"):
            kept[name] = {key: value for key, value in part.items() if key != "seed"}
    return hashlib.sha256(repr(kept).encode()).hexdigest()[:12]
