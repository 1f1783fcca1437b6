"""`ttt report --wandb`: runs in W&B that were not tracked while they went on, and what they say.

Our folders and MLPerf logs of others are shown alike, so that a chart has them side by side. For
each benchmark one more run holds the table and charts of the study. An id follows from what a run
is, so that pushing again makes no second one. May not know how W&B is started (`ttt.sinks.wandb`).
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttt import foreign
from ttt.errors import ConfigError, MissingExtra, TttError, one_line
from ttt.events import Event, Kind
from ttt.foreign import ForeignError
from ttt.report.analyze.study import Study
from ttt.report.read.progress import number
from ttt.report.render import overview
from ttt.report.render.dashboard import create
from ttt.report.run import Run
from ttt.run_folder import WANDB, RunFolder
from ttt.sinks.series import (
    Series,
    axes,
    folder_identity,
    frozen,
    identity,
    machine,
    scalars,
    sweep_point,
)
from ttt.sinks.wandb import UNTRACKED, Mode, begin, end

_TIMEOUT_SECONDS = 60.0  # for each run: to connect, and to upload what is left at its end
_NO_NUMBERS = ("nan", "inf", "-inf")  # as ttt.sinks.jsonl writes them
_UNFINISHED = ("running", "suspended", "not started")
_CUT = ("died", "unreadable")  # its own tracking may have ended early


@dataclass(frozen=True, slots=True)
class _Place:
    """Where runs go: a folder with `wandb` in it, and online also a project of that server."""

    directory: Path
    mode: Mode
    project: str | None

    def start(self, benchmark: str | None, **identity: Any) -> Any:
        """Start a run there, as `begin` does.

        Raises:
            MissingExtra: wandb is not installed.
            ConfigError: W&B refuses.
        """
        try:
            return begin(
                self.directory,
                mode=self.mode,
                timeout=_TIMEOUT_SECONDS,
                project=self.project or benchmark or "unknown",
                **identity,
            )
        except MissingExtra:
            raise
        except Exception as error:  # W&B's own have no common base
            why = " ".join(str(error).split())
            way = "allowed without login or network: --wandb offline"
            raise ConfigError([f"W&B: {why}; {way}"]) from error


def push(
    study: Study,
    *,
    project: str | None = None,
    mode: Mode = "offline",
    directory: Path = Path(),
    page: Path | None = None,
) -> list[str]:
    """Show a study in W&B.

    Args:
        study: Its runs, and what it says of them.
        project: Null is each run's benchmark.
        mode: "offline" writes files to upload later; "online" uploads, and makes a dashboard.
        directory: W&B's files go to `wandb` in there.
        page: The study as an HTML page, kept with it.

    Returns:
        What was done and what to type next, a line each.

    Raises:
        MissingExtra: wandb is not installed.
        ConfigError: W&B refuses, as without a login or network.
    """
    place = _Place(directory, mode, project)
    try:
        return list(_push(study, place, page))
    finally:
        end()


def _push(study: Study, place: _Place, page: Path | None) -> Iterator[str]:
    pushed, tracked, unfinished = 0, [], 0
    for run in (run for each in study.experiments for run in each.runs):
        if run.status in _UNFINISHED:
            unfinished += 1
        elif found := _tracked(run, place):
            tracked.append(found)
        else:
            _rebuild(run, place)
            pushed += 1
    benchmarks = list(dict.fromkeys(each.benchmark for each in study.experiments))
    summaries = sum(_summarise(study, benchmark, place, page) for benchmark in benchmarks)
    yield f"W&B: {pushed} runs and {summaries} summaries in {place.directory / WANDB}"
    if tracked:
        yield f"W&B: {len(tracked)} runs were there already, as {tracked[0]}"
    if unfinished:
        yield f"W&B: {unfinished} unfinished runs are left out"
    if place.mode == "offline":
        folders = dict.fromkeys([place.directory / WANDB, *(path.parent for path in tracked)])
        yield f"upload: {shlex.join(['wandb', 'sync', *map(str, folders)])}"
        return
    for name in dict.fromkeys(place.project or each or "unknown" for each in benchmarks):
        try:
            yield f"dashboard: {create(name)}"
        except TttError as error:
            yield f"no dashboard: {error}"


def run_identity(run: Run) -> str:
    """The id of a run: for a folder that of its sink; for a log, of who ran what and when."""
    if run.source == "run folder":
        return folder_identity(run.path)
    who = (run.submitter, run.system, run.benchmark)
    return identity(*who, run.path.name, run.seed, run.stopped)


def _tracked(run: Run, place: _Place) -> Path | None:
    """W&B's folder of a run that has one: from when it went on, or pushed there before.

    What W&B has only a part of is rebuilt: a run that was killed, or that it could not follow.
    """
    places = [place.directory]
    if run.source == "run folder" and run.status not in _CUT and not _lost(run.path):
        places += [run.path, _directory(run.path)]
    number = run_identity(run)
    return next(filter(None, (_written(each, number, place.mode) for each in places)), None)


def _directory(folder: Path) -> Path:
    """Where the configuration of a run has W&B's files; the run folder, if it does not say."""
    settings = frozen(folder).get("ttt", {}).get("tracking")
    named = settings.get("dir") if isinstance(settings, dict) else None
    return Path(named) if isinstance(named, str) and named.isprintable() else folder


def _lost(folder: Path) -> bool:
    """Whether the record says that W&B was given up."""
    given_up = UNTRACKED.encode()
    try:
        return any(given_up in line for line in _lines(folder))
    except ForeignError:
        return False


def _lines(folder: Path) -> Iterator[bytes]:
    return foreign.lines(RunFolder(folder).events, inside=folder)


def _written(directory: Path, number: str, mode: Mode) -> Path | None:
    """W&B's folder of the run with this id, below a directory.

    Online, one that was never uploaded does not count: `wandb sync` leaves a mark beside its file.
    """
    folders = sorted((directory / WANDB).glob(f"*run-*-{number}"))
    if mode == "online":
        folders = [
            each
            for each in folders
            if each.name.startswith("run-") or any(each.glob("*.wandb.synced"))
        ]
    return next(iter(folders), None)


def _rebuild(run: Run, place: _Place) -> None:
    facts = {name: getattr(run, name) for name in Run.__dataclass_fields__}
    point = sweep_point(facts)
    if run.source == "run folder":
        title = f"{run.path.resolve().parent.name}/{run.path.name}"
        more = machine(run.path) | frozen(run.path)
        rows: Callable[[Run], Iterator[dict[str, Any]]] = _recorded
    else:
        title, more, rows = f"{run.system}/{run.path.name}", {}, _logged
        point = f"{run.submitter} {run.system}, {point}"
    tracker = place.start(
        run.benchmark,
        id=run_identity(run),
        name=one_line(title),
        group=one_line(point)[:128],
        job_type="train",
        tags=[run.source],
        config=axes(facts) | _owner(run) | more,
    )
    for row in rows(run):
        tracker.log(row)
    tracker.summary.update(scalars(_plain(facts)))
    tracker.finish(exit_code=0 if run.status == "success" else 1)


def _owner(run: Run) -> dict[str, Any]:
    """Whose it is, and on what: the fields of MLPerf's systems file, where they are known."""
    known = {
        "submitter": run.submitter,
        "system_name": run.system,
        "source": run.source,
        "description": dict(run.description) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in ("digest", "source")}


def _recorded(run: Run) -> Iterator[dict[str, Any]]:
    """The rows of a folder: what its sink would have shown. What is no event is left out."""
    series = Series()
    try:
        for line in _lines(run.path):
            if row := _row(series, line):
                yield row
    except ForeignError:
        return


def _row(series: Series, line: bytes) -> dict[str, Any] | None:
    """The numbers that a line of the record shows; None of one that shows none."""
    try:
        values = foreign.parsed_json(line)
        event = Event(Kind(values["kind"]), values["time"], values["step"], values["data"])
        row = series.row(event) or {}
    except (ValueError, KeyError, TypeError, OverflowError):  # cut by a kill, or another version's
        return None
    return {name: value for name, value in row.items() if _is_shown(value)}


def _is_shown(value: Any) -> bool:
    """Whether it is a number, or stands for one in the record; W&B makes more of other values."""
    return number(value) is not None or (isinstance(value, str) and value in _NO_NUMBERS)


def _logged(run: Run) -> Iterator[dict[str, Any]]:
    """The rows of an MLPerf log, in the order of time; what it does not tell is not in them."""
    rows = []
    for each in run.evaluations:
        row = {"seconds": each.seconds, "samples": each.samples, "epoch": each.epochs}
        rows.append(row | {"eval/quality": each.quality, "eval/target": run.target})
    for block in run.blocks:
        if block.samples is not None and block.seconds > 0:
            rate = block.samples / block.seconds
            rows.append({"seconds": block.begin + block.seconds, "train/samples_per_s": rate})
    for row in sorted(rows, key=lambda row: row["seconds"] or 0.0):
        yield {name: value for name, value in row.items() if value is not None}


def _summarise(study: Study, benchmark: str | None, place: _Place, page: Path | None) -> bool:
    """Make the summary of a benchmark, unless it is there: the same runs say the same."""
    experiments = [each for each in study.experiments if each.benchmark == benchmark]
    members = sorted(run_identity(run) for each in experiments for run in each.runs)
    number = identity("summary", benchmark, *members)
    if _written(place.directory, number, place.mode):
        return False
    tracker = place.start(
        benchmark,
        id=number,
        name=f"summary of {len(members)} runs",
        group="summary",
        job_type="summary",
        config={"benchmark": benchmark, "runs": len(members), "experiments": len(experiments)},
    )
    overview.show(tracker, study, experiments)
    if page is not None:
        overview.attach(tracker, page, f"report-{benchmark}")
    tracker.finish()
    return True
