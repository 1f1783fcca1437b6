"""One run as evidence for a submission: its log, and what a plan must know beside it.

A log is evidence, a summary is not: all that decides is read from the log. Machine, configuration
and commit come from the run folder of ttt around it, if there is one. May not know what a
submission demands.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttt import foreign, redact
from ttt.compliance import Verdict, check_log
from ttt.compliance.log import Log, Seed
from ttt.errors import ConfigError
from ttt.foreign import ForeignError
from ttt.report.read.systems import place_of
from ttt.report.run import Run
from ttt.run_folder import POWER, RunFolder
from ttt.submission import pasted, typed

PARAMETERS = "package_checker_params"  # by which a submitter may ask package_checker to skip tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run.

    Attributes:
        path: Its run folder, or its log.
        ours: Whether it is a run folder of ttt.
        log: Its result file; None if it has none.
        endless: A sentence for each line that MLCommons' tools would read for hours.
        verdict: Of the compliance engine; None without a log.
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
        digest: Stands for the configuration, or for the folder of another person's log.
        processes: How many there were, None if unknown.
        system: What its machine is called; None if unknown.
        description: The fields of MLPerf's systems file.
        system_file: The systems file of another person's tree.
        power: Folder of the run's power files.
        power_logs: How many of them are there, one for each node.
        implementation: Folder of the code, in another person's tree.
        tree: The folder of another person's submission; None where the log lies in none.
        config: The content of a run folder's configuration; empty without one.
        frozen: The text of that, None without one.
        environment: What ttt wrote down of commit, command and versions.
        status: How a run ended, by its folder; None if unknown.
        why: Why there is no finished log.
    """

    path: Path
    ours: bool
    log: Path | None = None
    endless: tuple[str, ...] = ()
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
    file = _log(run) if ours else run.path
    beside = _of_folder(run) if ours else _of_tree(run)
    if file is None:
        return Entry(
            path=run.path,
            ours=ours,
            benchmark=run.benchmark,
            status=run.status,
            why=f"status {run.status}, {run.reason}",
            **beside,
        )
    try:
        log = Log.read(file)
    except OSError as error:
        return Entry(path=run.path, ours=ours, why=f"{file.name}: {error.strerror}", **beside)
    verdict = check_log(log, ruleset)
    start, stop = log.moment("run_start"), log.moment("run_stop")
    started = None if start is None else start / 1000
    return Entry(
        path=run.path,
        ours=ours,
        log=file,
        endless=tuple(log.endless),
        verdict=verdict,
        benchmark=log.benchmark,
        division=log.division,
        org=log.word("submission_org"),
        global_batch=log.first("global_batch_size"),
        statuses=tuple(log.statuses),
        resumed=bool(log.of("resumed")),
        started=started,
        seconds=None if started is None or stop is None else stop / 1000 - started,
        seeds=verdict.seeds,
        **beside,
    )


def _log(run: Run) -> Path | None:
    """The log of a run that has ended, well or not: a log that still grows is no evidence."""
    if run.status in ("not started", "running", "suspended"):
        return None
    return next(iter(RunFolder(run.path).results()), None)


def _of_folder(run: Run) -> dict[str, Any]:
    folder = RunFolder(run.path)
    frozen, config = _configuration(run.path)
    return {
        "frozen": frozen,
        "config": config,
        "seed": run.seed,
        "digest": run.digest,
        "processes": _processes(run.path, config),
        "system": run.system,
        "description": run.description,
        "power": folder.power if folder.power.is_dir() else None,
        "power_logs": len(folder.power_logs()),
        "environment": _environment(folder.environment),
    }


def _configuration(folder: Path) -> tuple[str | None, dict[str, Any]]:
    """The frozen config.yaml of a run folder: its text and its content, without secrets."""
    file = RunFolder(folder).config
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
        [f"{RunFolder(folder).config} has processes {found!r:.80}; allowed: a number; run it again"]
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
    power = folder / POWER / run.path.stem
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
