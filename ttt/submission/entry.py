"""One run as evidence for a submission: its log, and what a plan must know beside it.

A log is the same evidence whoever wrote it, so what decides is read from the log: a summary could
say otherwise. What a run folder of ttt keeps beside its log, its machine, configuration and commit,
comes from there. May not know what a submission demands.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttt import foreign, redact
from ttt.compliance import Verdict, check_file
from ttt.compliance.records import Record, records
from ttt.compliance.scan import Seed
from ttt.errors import ConfigError
from ttt.foreign import ForeignError
from ttt.report.read.systems import place_of
from ttt.report.run import Run
from ttt.submission import pasted, typed

PARAMETERS = "package_checker_params"  # by which a submitter may ask package_checker to skip tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run.

    Attributes:
        path: Its run folder, or its log.
        ours: Whether it is a run folder of ttt.
        log: Its result file; None if it has none.
        verdict: What the compliance engine says of the log; None without one.
        benchmark: By the log, as the next ones.
        division: closed or open.
        org: submission_org.
        global_batch: Samples an update.
        statuses: Of every run_stop.
        resumed: Whether it went on in other processes.
        started: run_start, in seconds since the epoch.
        seconds: From run_start to run_stop.
        seeds: File, line and value of every seed.
        seed: What a run folder was started with.
        digest: Stands for the configuration, or for the folder of somebody else's log.
        processes: How many there were, None if unknown.
        system: What its machine is called; None if unknown.
        description: The fields of MLPerf's systems file.
        system_file: Where somebody else's systems file is.
        power: Folder of the run's power files.
        power_logs: How many of them are there, one for each node.
        implementation: Folder of the code, in somebody else's tree.
        tree: The folder of another person's submission; None where the log lies in none.
        config: What a run folder's configuration says; empty without one.
        frozen: The text of that, None without one.
        environment: What ttt wrote down of commit, command and versions.
        status: How a run ended, as its folder says; None if nothing does.
    why: Why there is no finished log.
    """

    path: Path
    ours: bool
    log: Path | None = None
    verdict: Verdict | None = None
    benchmark: str | None = None
    division: str | None = None
    org: str | None = None
    global_batch: Any = None
    statuses: tuple[Any, ...] = ()
    resumed: bool = False
    started: float | None = None
    seconds: float | None = None
    seeds: tuple[Seed, ...] = ()
    seed: int | None = None
    digest: str | None = None
    processes: int | None = None
    system: str | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    system_file: Path | None = None
    power: Path | None = None
    power_logs: int = 0
    implementation: Path | None = None
    tree: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    frozen: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    status: str | None = None
    why: str | None = None

    @property
    def converged(self) -> bool:
        """Whether the run may be scored; a log that fails its check may not."""
        passed = self.verdict is not None and self.verdict.passed
        return passed and self.statuses[:1] == ("success",)


def read(run: Run, ruleset: str) -> Entry:
    """Read one run.

    Args:
        run: As the report has found it.
        ruleset: The ruleset its log is checked by.

    Raises:
        ConfigError: What ttt wrote down of the run is damaged.
    """
    ours = run.source == "run folder"
    log = _log(run) if ours else run.path
    beside = _of_folder(run) if ours else _of_tree(run)
    if log is None:
        return Entry(
            path=run.path,
            ours=ours,
            benchmark=run.benchmark,
            status=run.status,
            why=f"status {run.status}, {run.reason}",
            **beside,
        )
    said = _Said()
    try:
        for record in records(log):
            said.take(record)
    except OSError as error:
        return Entry(path=run.path, ours=ours, why=f"{log.name}: {error.strerror}", **beside)
    verdict = check_file(log, ruleset)
    return Entry(
        path=run.path,
        ours=ours,
        log=log,
        verdict=verdict,
        benchmark=said.word("submission_benchmark"),
        division=said.word("submission_division"),
        org=said.word("submission_org"),
        global_batch=said.first.get("global_batch_size"),
        statuses=tuple(said.statuses),
        resumed="resumed" in said.first,
        started=said.started,
        seconds=said.seconds,
        seeds=verdict.seeds,
        **beside,
    )


@dataclass(slots=True)
class _Said:
    """What a log says."""

    first: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    stopped: float | None = None
    statuses: list[Any] = field(default_factory=list)

    def take(self, record: Record) -> None:
        if record.fields is None or not isinstance(key := record.fields["key"], str):
            return
        value, metadata = record.fields["value"], record.fields["metadata"]
        self.first.setdefault(key, value)
        moment = record.time_ms if math.isfinite(record.time_ms or math.nan) else None
        if key == "run_start" and self.started is None and moment is not None:
            self.started = moment / 1000
        if key == "run_stop" and self.stopped is None and moment is not None:
            self.stopped = moment / 1000
        if key == "run_stop" and isinstance(metadata, dict):
            self.statuses.append(metadata.get("status"))

    @property
    def seconds(self) -> float | None:
        """Between the first run_start and the first run_stop."""
        if self.started is None or self.stopped is None:
            return None
        return self.stopped - self.started

    def word(self, key: str) -> str | None:
        """The first value of a key, None where that is no text."""
        value = self.first.get(key)
        return value if isinstance(value, str) else None


def _log(run: Run) -> Path | None:
    """The log of a run that has ended, well or not: a log that still grows is no evidence."""
    if run.status in ("not started", "running", "suspended"):
        return None
    return next(iter(run.path.glob("result_*.txt")), None)


def _of_folder(run: Run) -> dict[str, Any]:
    power = run.path / "power"
    frozen, config = _configuration(run.path)
    return {
        "frozen": frozen,
        "config": config,
        "seed": run.seed,
        "digest": run.digest,
        "processes": _processes(run.path, config),
        "system": run.system,
        "description": run.description,
        "power": power if power.is_dir() else None,
        "power_logs": len(list(power.glob("node_*.txt"))),
        "environment": _environment(run.path / "environment.json"),
    }


def _configuration(folder: Path) -> tuple[str | None, dict[str, Any]]:
    """The frozen config.yaml of a run folder: its text, and what that says, without secrets."""
    file = folder / "config.yaml"
    if not os.path.lexists(file):
        return None, {}
    content = redact.without(foreign.mapping(file, inside=folder))
    return typed.public(foreign.read(file, inside=folder).decode()), content


def _processes(folder: Path, config: Mapping[str, Any]) -> int | None:
    """How many processes the configuration names: a number, as it becomes part of a name."""
    found = config.get("processes")
    if found is None or (type(found) is int and 0 < found < 2**31):
        return found
    raise ConfigError(
        [f"{folder}/config.yaml has processes {found!r:.80}; allowed: a number; run it again"]
    )


def _environment(file: Path) -> dict[str, Any]:
    if not os.path.lexists(file):
        return {}
    try:
        content = foreign.mapping(file, inside=file.parent)
    except ForeignError as error:
        raise ConfigError([f"{error}; run it again"]) from error
    kinds = {"git": dict, "packages": dict, "command": list}
    if any(not isinstance(content.get(name) or kind(), kind) for name, kind in kinds.items()):
        raise ConfigError([f"{file} is damaged; run it again"])
    if wrong := [*pasted.in_environment(content)]:
        raise ConfigError([f"{file}: {each}; run it again" for each in wrong])
    return content


def _of_tree(run: Run) -> dict[str, Any]:
    """What stands around <submitter>/results/<system>/<benchmark>/result_<i>.txt."""
    folder, place = run.path.absolute().parent, place_of(run.path)
    if place.tree is None:
        return {}
    described = place.tree / "systems" / f"{place.system}.json"
    power = folder / "power" / run.path.stem
    implementation = place.tree / "benchmarks" / folder.name
    return {
        "tree": place.tree,
        "digest": run.digest,
        "system": place.system,
        "description": place.description,
        "system_file": described if described.is_file() else None,
        "power": power if power.is_dir() else None,
        "implementation": implementation if implementation.is_dir() else None,
    }
