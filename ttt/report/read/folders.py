"""Reads one run folder of ttt.

A run folder holds `config.yaml` from before the run and `summary.json` from after it. One without a
summary is a run that died, still runs or waits: it counts as a run, so that failures cannot get
lost. May not know how folders are found, nor how runs are scored or shown.
"""

import hashlib
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ttt import foreign, redact
from ttt.compliance import ruleset_of_rules
from ttt.foreign import ForeignError
from ttt.measurements import NAMES, Rank
from ttt.report.read.record import history, last_sign
from ttt.report.run import LARGEST, Block, Rejected, Run
from ttt.run_folder import CONFIG, RULES, SUMMARY, Logs, RunFolder
from ttt.supervise import deaths

_SENTENCE = 2000  # bytes; one is written there

# What may differ between runs that are repetitions of each other.
_NOT_IN_DIGEST = {"seed", "runs", "run", "index", "run_root", "command", "tracking", "keep"}
# Processes stand in the configuration as the launcher has counted them, beside what was typed.
_NOT_IN_PART = {
    "system": ("price_per_hour", "peak_tflops", "memory_gb", "energy"),
    "launcher": ("procs",),
}


class _UnusableError(Exception):
    """A run folder that cannot be read, and why."""


def _kinds(of: type) -> dict[str, type]:
    """The type of each field that is one plain value: the `T` of `T` or of its `T | None`."""
    plain = (str, bool, int, float)
    hints = get_type_hints(of).items()
    named = {name: (get_args(hint) or (hint,))[0] for name, hint in hints}
    return {name: kind for name, kind in named.items() if kind in plain}


_KINDS = {name: kind for name, kind in _kinds(Run).items() if name != "digest"}
_MAPPINGS = [name for name in NAMES if name not in (*_KINDS, "ranks")]
_SIGNED = ("target", "quality")
_RANK_KINDS = _kinds(Rank)
_NOUNS = {str: "text", bool: "true, false", int: "a whole number", float: "a number"}


def read(folder: Path) -> Run | Rejected:
    """Read a run folder.

    Args:
        folder: One that `ttt.run_folder.is_run`.

    Returns:
        The run, or why the folder could not be used.
    """
    try:
        return _read(folder)
    except _UnusableError as error:
        return Rejected(folder, str(error))


def _read(folder: Path) -> Run:
    files = RunFolder(folder)
    there = os.path.lexists(files.config)
    config = redact.settings(_content(files.config)) if there else {}
    past = history(files.events)
    values = _of_config(config, past.config)
    if os.path.lexists(files.summary):
        try:
            values |= _of_summary(_content(files.summary))
        except _UnusableError as error:
            if not config:
                raise
            values |= {"status": "unreadable", "reason": str(error)}  # it counts, as no success
    elif not os.path.lexists(files.events) and not any(files.logs.glob("*")):
        values |= {"status": "not started", "reason": "no events"}
    else:
        values |= last_sign(files.events)
    if values.get("status") == "died" and (left := _left_to_go_on(files.suspended)):
        values |= {"status": "suspended", "reason": left}
    status = str(values.get("status"))
    judged = values.get("passed") is not None  # then the run ended, even if a later step failed
    ended = status in ("died", "aborted", "suspended") and not judged
    if ended and (cause := _cause(files.logs, status)):
        values["reason"] = cause
    if isinstance(reason := values.get("reason"), str):
        values["reason"] = redact.text(reason)
    values |= _of_system(files.system)
    if past.problem is not None:
        values["problems"] = (*values.get("problems", ()), past.problem)
    values["energy_source"] = "counters, by ttt" if values.get("energy_j") is not None else None
    values["steady_samples_per_s"] = steady_rate(past.blocks)
    values["step_samples"] = _step_samples(values.get("samples"), values.get("steps"))
    values["tracked_samples_per_s"] = values.get("samples_per_s")  # the worker's own clock
    repeated = _repeated(config)
    return Run(
        path=folder,
        digest=_digest(repeated) if config else None,
        settings=_dotted(repeated),
        trained=_digest({name: config[name] for name in ("model", "task") if name in config}),
        stopped=past.stopped,
        began=past.started is not None or os.path.lexists(files.summary),
        evaluations=tuple(past.evaluations),
        blocks=tuple(past.blocks),
        **values,
    )


def _left_to_go_on(marker: Path) -> str | None:
    """Why a run will go on, if its last process could not write it; None if it will not."""
    return foreign.tail(marker, inside=marker.parent, most=_SENTENCE).strip() or None


def _step_samples(samples: float | None, steps: int | None) -> float | None:
    """Mean samples of an update: a batch filled with tokens has a varying number of samples."""
    return samples / steps if samples and steps else None


def _cause(logs: Path, status: str) -> str | None:
    """Why the processes of a run ended, as they or their launcher wrote it; None if neither did.

    Under SLURM no launcher may have waited for the run: then its launchers' logs are read here.
    """
    found: list[tuple[bool, float, str]] = []
    reports: list[tuple[int, str, str]] = []
    of_launcher = Logs(logs).launcher_failure
    for file in [*Logs(logs).rank_failures(), of_launcher]:
        match _words(file):
            case {"text": str(text), "time": int() | float() as time} as record if (
                text.strip() and abs(time) < LARGEST
            ):
                rank = f"rank {record.get('rank')} on {record.get('host')}: "
                first = text.strip().splitlines()[-1 if text.startswith("Traceback") else 0]
                who = "" if file == of_launcher else rank
                if isinstance(record.get("rank"), int):
                    reports.append((record["rank"], str(record.get("host")), text))
                found.append((record.get("primary") is not True, float(time), f"{who}{first}"))
    silent = not found or (min(found)[0] and not os.path.lexists(of_launcher))
    seen = deaths.cause(logs, reports) if silent and (found or status == "died") else None
    return seen or (min(found)[2] if found else None)


def _words(file: Path) -> dict[str, Any]:
    try:
        return foreign.mapping(file, inside=file.parents[1])
    except ForeignError:  # a reserved file may be blank
        return {}


def ruleset_of(folder: Path) -> tuple[str, str] | None:
    """The ruleset of a run, and the file of its folder that names it; None if none does."""
    for name, part in ((SUMMARY, "compliance"), (CONFIG, "benchmark")):
        try:
            inner = _content(folder / name).get(part)
        except _UnusableError:
            continue
        ruleset = inner.get("ruleset") if isinstance(inner, dict) else None
        if isinstance(ruleset, str):
            return ruleset, name
    ruleset = ruleset_of_rules(RunFolder(folder).rules)
    return (ruleset, RULES) if ruleset else None


def summary_problem(folder: Path) -> str | None:
    """Why the summary of a run folder cannot be used; None if it can, or is not there."""
    summary = RunFolder(folder).summary
    if not os.path.lexists(summary):
        return None
    try:
        _of_summary(_content(summary))
    except _UnusableError as error:
        return str(error)
    return None


def steady_rate(blocks: Sequence[Block]) -> float | None:
    """Samples per second, median of the blocks but the first, which warms caches.

    A single block is all there is. Blocks without samples or time are left out.
    """
    rates = [
        block.samples / block.seconds
        for block in (blocks[1:] or blocks)
        if block.samples and block.seconds > 0
    ]
    return statistics.median(rates) if rates else None


def _content(path: Path) -> dict[str, Any]:
    try:
        return foreign.mapping(path, inside=path.parent)
    except ForeignError as error:
        raise _UnusableError(error.sentence) from error


def _typed(values: dict[str, Any], kinds: dict[str, type]) -> dict[str, Any]:
    """The fields among those of a summary; a number that nothing can have measured is unknown."""
    typed: dict[str, Any] = {}
    for name, kind in kinds.items():
        value: Any = values.get(name)
        if value is None:
            continue
        if kind is float and type(value) is int and abs(value) < LARGEST:
            value = float(value)
        if type(value) is not kind:
            what = f"{value!r:.60}, not {_NOUNS[kind]} or null"
            raise _UnusableError(f"{SUMMARY}: {name} is {what}")
        if kind in (str, bool) or _can_be(name, value):
            typed[name] = value
    return typed


def _can_be(name: str, value: Any) -> bool:
    least = -LARGEST if name in _SIGNED else 0
    return name == "seed" or bool(least <= value < LARGEST)


def _of_summary(summary: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, of in (("compliance", dict), ("ranks", list), ("problems", list)):
        parts[name] = summary.get(name) or of()
        if not isinstance(parts[name], of):
            what = "an object" if of is dict else "a list"
            raise _UnusableError(f"{SUMMARY}: {name} is {parts[name]!r:.60}, not {what} or null")
    compliance = dict(parts["compliance"])
    problems = compliance.pop("problems", None) or parts["problems"]
    typed = _typed(compliance | {k: v for k, v in summary.items() if k not in parts}, _KINDS)
    typed |= {name: summary[name] for name in _MAPPINGS if isinstance(summary.get(name), dict)}
    if isinstance(problems, list):
        typed["problems"] = tuple(map(str, problems))
    typed["ranks"] = tuple(
        Rank(**_typed(rank, _RANK_KINDS))
        for rank in parts["ranks"]
        if isinstance(rank, dict) and "rank" in rank
    )
    return typed


def _of_config(config: dict[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    """What is known of a run before it started; what has another type than it should is not.

    Args:
        config: The frozen configuration.
        resolved: As the run resolved it: some numbers depend on the data set.
    """

    def at(*names: str) -> Any:
        value: Any = config
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    submitter = at("submission", "org")
    wanted = {
        "benchmark": at("benchmark", "id") or at("benchmark"),
        "seed": at("seed"),
        "metric": at("target", "metric"),
        "target": at("target", "threshold"),
        "global_batch": at("data", "global_batch") or resolved.get("global_batch"),
        "train_samples": at("data", "train_samples") or resolved.get("train_samples"),
        "precision": at("precision"),
        "sequence_length": at("data", "sequence_length"),
        "loader": at("data", "loader"),
        "submitter": None if submitter == "unspecified" else submitter,
    }
    known: dict[str, Any] = {}
    for name, value in wanted.items():
        try:
            known |= _typed({name: value}, _KINDS)
        except _UnusableError:
            continue
    return known


def _of_system(path: Path) -> dict[str, Any]:
    if not os.path.lexists(path):
        return {}
    content = _content(path)
    description, system = content.get("description"), content.get("id")
    return {
        "system": system if isinstance(system, str) and system else None,
        "description": description if isinstance(description, dict) else {},
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def _repeated(config: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same in the configurations of runs that repeat each other."""
    kept = {name: value for name, value in config.items() if name not in _NOT_IN_DIGEST}
    for name, part in kept.items():
        if isinstance(part, dict):
            left_out = set(_NOT_IN_PART.get(name, ()))
            if part.get("seed") == config.get("seed"):  # a part may repeat it, as data do
                left_out.add("seed")
            kept[name] = {key: value for key, value in part.items() if key not in left_out}
    return kept


def _dotted(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by the names under which one would type them."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            found |= _dotted(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found
