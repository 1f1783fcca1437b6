"""What goes where in a submission. Pure: may not read or write a file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt import run_folder
from ttt.compliance import runs_needed
from ttt.report.analyze.score import dropped
from ttt.submission.entry import Entry
from ttt.submission.rules import (
    Reasons,
    Request,
    check_copies,
    check_entry,
    check_members,
    check_result,
    check_submitter,
    check_system,
    failure,
    is_folder,
)
from ttt.submission.window import median_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One folder results/<system>/<benchmark>.

    Attributes:
        system: Name of the folder and of its systems file.
        benchmark: Id of the benchmark.
        entries: Its runs, in the order of result_0, result_1 and so on.
    """

    system: str
    benchmark: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A submission.

    Attributes:
        request: What was asked for.
        results: What can be built, wrong or not.
        problems: Why it would be refused.
        notes: What a person should know all the same.
    """

    request: Request
    results: tuple[Result, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def plan(entries: Sequence[Entry], request: Request) -> Plan:
    """Decide what goes where, and find everything that is wrong with it."""
    wanted = [one for one in entries if request.division in (None, one.division) or one.log is None]
    notes, reasons = list[str](), Reasons()
    if others := len(entries) - len(wanted):
        notes.append(f"{others} runs are not of the {request.division} division and left out")
    check_submitter(request, reasons)
    for entry in wanted:
        check_entry(entry, request, reasons)
    check_copies(wanted, reasons)
    results = []
    named = wanted if is_folder(request.submitter) else []
    for (system, benchmark), members in _groups(named).items():
        chosen = _chosen(benchmark, members)
        where = f"{system}/{benchmark}"
        check_members(where, members, reasons)
        check_result(where, benchmark, chosen, request, reasons)
        notes += _notes(where, benchmark, members, chosen)
        results.append(Result(system=system, benchmark=benchmark, entries=_numbered(chosen)))
    for name in dict.fromkeys(result.system for result in results):
        runs = [one for result in results if result.system == name for one in result.entries]
        check_system(name, runs, request, reasons)
    if not wanted:
        reasons.add("there is no run to package; allowed: run folders, or a tree of results")
    return Plan(
        request=request, results=tuple(results), problems=reasons.sentences(), notes=tuple(notes)
    )


def _groups(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """The runs of each result; a machine used in several sizes is several systems."""
    sized: dict[tuple[str, str, int | None], list[Entry]] = {}
    sizes: dict[str, set[int | None]] = {}
    for entry in entries:
        if entry.log is not None and is_folder(entry.system) and is_folder(entry.benchmark):
            system, benchmark = str(entry.system), str(entry.benchmark)
            sized.setdefault((system, benchmark, entry.processes), []).append(entry)
            if entry.processes is not None:
                sizes.setdefault(system, set()).add(entry.processes)
    groups: dict[tuple[str, str], list[Entry]] = {}
    for (system, benchmark, processes), members in sized.items():
        alone = processes is None or len(sizes[system]) == 1
        name = system if alone else f"{system}_{processes}procs"
        groups.setdefault((name, benchmark), []).extend(members)
    return groups


def _chosen(benchmark: str, members: Sequence[Entry]) -> list[Entry]:
    runs = runs_needed(benchmark) or len(members)
    return median_window(members, runs, dropped(benchmark))


def _numbered(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """In the order of their numbers where these are 0 to N-1, else in that of their start."""
    names = {one.log.stem: one for one in entries if one.log is not None}
    wanted = [Path(run_folder.result(number)).stem for number in range(len(entries))]
    return tuple(names[name] for name in wanted) if {*names} == {*wanted} else tuple(entries)


def _notes(
    where: str, benchmark: str, members: Sequence[Entry], chosen: Sequence[Entry]
) -> list[str]:
    notes = []
    if len(chosen) < len(members):
        notes.append(
            f"{where}: of {len(members)} runs the {len(chosen)} consecutive ones with the median"
            f" score are taken, {chosen[0].log} to {chosen[-1].log}"
        )
    failed = [one for one in chosen if not one.converged]
    if len(failed) <= dropped(benchmark):
        notes += [
            f"{where}: {one.log} is scored as the slowest; it {failure(one)}" for one in failed
        ]
    return notes
