"""Every reason why a submission would be refused, before it is built. Pure.

The rules are those of MLCommons' training_rules.adoc and what the official tools look at. The tools
have the last word on the finished tree. But they sometimes stop at the first thing they find, name
no remedy, and cannot know some of the rules (the commit, resumed runs). A reason has what, the
value, what is allowed, what to type. May not read or write a file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttt.compliance import at_least, official_ids, runs_needed, usage_of
from ttt.compliance.log import Seed
from ttt.compliance.rulesets import rulesets_of
from ttt.report.analyze.score import dropped
from ttt.schema.system import FIELDS, STATUSES
from ttt.submission.entry import Entry

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")  # of a folder that repo_checker takes
_COUNTS = ("number_of_nodes", "host_processors_per_node", "accelerators_per_node")
_FOLDER = "a name for a folder of a submission; allowed: letters, digits and _ . + -"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for.

    Attributes:
        submitter: Name of the folder.
        ruleset: By which everything is checked.
        division: The only one wanted; None is any.
        unofficial: Whether benchmarks that MLPerf does not know are wanted too.
        power: Whether the power files of ttt are wanted.
        config_dir: The packager's copy of what was given to runs as --config-dir; None for none.
    """

    submitter: str
    ruleset: str
    division: str | None = None
    unofficial: bool = False
    power: bool = False
    config_dir: Path | None = None


class Reasons:
    """Sentences in the order they were found, one for the same reason of many runs."""

    def __init__(self) -> None:
        self._about: dict[str, list[Path | str]] = {}

    def add(self, reason: str, about: Path | str | None = None) -> None:
        """Remember a reason, which is about something or by itself."""
        self._about.setdefault(reason, []).extend([about] if about else [])

    def sentences(self) -> tuple[str, ...]:
        """A sentence for each reason."""
        return tuple(_sentence(reason, about) for reason, about in self._about.items())


def _sentence(reason: str, about: Sequence[Path | str]) -> str:
    return f"{_several(about)}: {reason}" if about else reason


def _several(about: Sequence[Path | str]) -> str:
    return f"{about[0]} and {len(about) - 1} more" if len(about) > 1 else f"{about[0]}"


def failure(entry: Entry) -> str:
    """Why a run may not be scored."""
    verdict = entry.verdict
    if verdict is not None and not verdict.passed:
        return f"breaks ruleset {verdict.ruleset}: {verdict.problems[0]}"
    return f"did not converge: run_stop has status {', '.join(map(str, entry.statuses)) or 'none'}"


def is_folder(name: str | None) -> bool:
    """Whether repo_checker takes a folder of this name."""
    return name is not None and _NAME.fullmatch(name) is not None


def check_submitter(request: Request, reasons: Reasons) -> None:
    """What is wrong with the name of the whole."""
    if not is_folder(name := request.submitter):
        reasons.add(f"submitter {name!r} is not {_FOLDER}; --submitter {_folder(name)}")


def check_entry(entry: Entry, request: Request, reasons: Reasons) -> None:
    """What is wrong with a run by itself."""
    name, where = entry.benchmark, entry.path
    if entry.log is None:
        reasons.add(_without_log(entry), where)
        return
    if entry.system is None:
        reasons.add("does not name its system; --system FILE.json describes it", where)
    elif not is_folder(entry.system):
        typed = f"system.id={_folder(entry.system)}"
        reasons.add(f"system {entry.system!r} is not {_FOLDER}; {typed}", where)
    if name is None or name not in official_ids():
        if not request.unofficial:
            reasons.add(
                f"benchmark {name!r} is not one of MLPerf's, whose tools skip it;"
                " --unofficial builds the same tree for an archive",
                where,
            )
        return
    if usage_of(name) != "training":
        reasons.add(f"{name} is of MLPerf HPC, which has another tree; allowed: Training", where)
        return
    if not judged(entry, request):
        able = rulesets_of(name, "open" if entry.division == "open" else "closed")
        typed = f"allowed: {', '.join(able)}; --ruleset {able[0]}" if able else "none can"
        reasons.add(
            f"ruleset {request.ruleset} cannot judge {name} in the {entry.division} division;"
            f" {typed}",
            where,
        )
    if _letters(entry.org) != _letters(request.submitter):
        known = entry.org not in (None, "", "unspecified")
        ways = [f"run again with submission.org={request.submitter}"] if entry.ours else []
        ways += [f"--submitter {_folder(str(entry.org))}"] if known else []
        reasons.add(
            f"submission_org is {entry.org!r}, not {request.submitter!r}, and no log may be edited;"
            f" {' or '.join(ways) or 'it cannot be submitted'}",
            where,
        )


def _without_log(entry: Entry) -> str:
    """What to do about a run without a log: one that never began counts for nothing."""
    if entry.status == "not started":
        return (
            f"has no result file ({entry.why}); remove it or start another, unless it still waits"
            " to start"
        )
    goes_on = entry.status in ("running", "suspended")
    way = "let it end" if goes_on else "start all runs of the result once more"
    return f"has no finished result file ({entry.why}), and every run counts; {way}"


def judged(entry: Entry, request: Request) -> bool:
    """Whether the ruleset has rules for this benchmark; ours meet the common rules of any."""
    name = entry.benchmark
    if name not in official_ids():
        return name is not None
    division = "open" if entry.division == "open" else "closed"
    return request.ruleset in rulesets_of(str(name), division)


def _letters(name: str | None) -> str:
    """The letters and digits of a name: that of a folder has no spaces, an organization may."""
    return re.sub(r"[^a-z0-9]", "", (name or "").lower())


def _folder(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_.+-") or "NAME"


def check_copies(entries: Sequence[Entry], reasons: Reasons) -> None:
    """Whether a run is there twice: no two begin and end in the same milliseconds."""
    first: dict[tuple[float, float], Entry] = {}
    for one in entries:
        if one.started is not None and one.seconds is not None:
            same = first.setdefault((one.started, one.seconds), one)
            if same is not one:
                reasons.add(f"is a copy of {same.log}; allowed: every run once", one.log)


def check_members(where: str, entries: Sequence[Entry], reasons: Reasons) -> None:
    """Whether all runs repeat one experiment, before those that count are chosen among them."""
    alike = {
        "division": [one.division for one in entries],
        "global_batch_size": [one.global_batch for one in entries],
        "folder or configuration": _folders(entries),
        "commit": [(one.environment.get("git") or {}).get("commit") for one in entries],
    }
    for what, values in alike.items():
        if len(different := list(dict.fromkeys(map(str, values)))) > 1:
            reasons.add(
                f"{where} mixes runs of {what} {', '.join(different)}; allowed: one; package them"
                " one at a time"
            )


def _folders(entries: Sequence[Entry]) -> list[str]:
    """Of each run the folders with its configuration, by which a reader finds what differs."""
    alike: dict[str | None, list[Path | str]] = {}
    for one in entries:
        alike.setdefault(one.digest, []).append(one.path if one.ours else one.path.parent)
    named = {digest: _several(list(dict.fromkeys(paths))) for digest, paths in alike.items()}
    return [named[one.digest] for one in entries]


def check_result(
    where: str, benchmark: str, entries: Sequence[Entry], request: Request, reasons: Reasons
) -> None:
    """What is wrong with the runs of one result together."""
    runs, allowed = runs_needed(benchmark), dropped(benchmark)
    if runs is not None and len(entries) < runs:
        reasons.add(f"{where} has {len(entries)} results; allowed: exactly {runs}; runs={runs}")
    failed = [one for one in entries if judged(one, request) and not one.converged]
    if len(failed) > allowed:
        for one in failed:
            reasons.add(f"{failure(one)}; at most {allowed} of {len(entries)} runs may", one.log)
    for one in (one for one in entries if one.ours) if request.power else ():
        nodes = str(one.description.get("number_of_nodes") or one.power_logs or 1)
        if str(one.power_logs) != nodes:  # package_checker's PowerChecker takes any number
            reasons.add(
                f"has power files of {one.power_logs} nodes, of {nodes}; allowed: all runs of a"
                " result and all nodes, or none, without --power",
                one.path,
            )
    if benchmark in official_ids():
        _check_closed([one for one in entries if one.division == "closed"], request, reasons)


def _check_closed(entries: Sequence[Entry], request: Request, reasons: Reasons) -> None:
    """What only the closed division forbids."""
    taken: dict[Seed, Entry] = {}
    for one in entries:
        if one.resumed:
            reasons.add(
                "was suspended and resumed in other processes, which only the open division may;"
                " benchmark.division=open",
                one.path,
            )
        git = one.environment.get("git") or {}
        if one.ours and not git.get("commit"):
            reasons.add(
                "ran from an unknown commit (git in environment.json), which no reviewer can look"
                " up; run it from a clone",
                one.path,
            )
        if git.get("dirty"):
            reasons.add(
                "ran from uncommitted changes (git.dirty in environment.json), which no reviewer"
                " can see; commit them and run again",
                one.path,
            )
        if not at_least(request.ruleset, "1.0.0"):  # package_checker's SeedChecker
            continue
        if not one.seeds:
            reasons.add("logs no seed; the closed division wants one in every run", one.log)
        for seed in one.seeds:
            if taken.setdefault(seed, one) is not one:
                reasons.add(
                    f"repeats seed {seed[2]} of {taken[seed].log}; allowed: another one in every"
                    " run, as runs=N gives",
                    one.log,
                )


def check_system(name: str, entries: Sequence[Entry], request: Request, reasons: Reasons) -> None:
    """What is wrong with a system and its description."""
    file, description = f"systems/{name}.json", entries[0].description
    ours = entries[0].system_file is None
    if missing := [field for field in FIELDS if field not in description]:
        count = "all" if len(missing) == len(FIELDS) else f"{len(missing)}"
        reasons.add(
            f"lacks {count} of the {len(FIELDS)} fields, such as {missing[0]}; allowed: every"
            " field, empty if unknown; --system FILE.json",
            file,
        )
    for field in _COUNTS:
        if field in description and not str(description[field]).strip().isdecimal():
            typed = f"system.description.{field}=N before the run, or --system FILE.json"
            way = typed if ours else "correct the file"
            reasons.add(
                f"has {field} {description[field]!r}; allowed: a number, which result_summarizer"
                f" computes with; {way}",
                file,
            )
    for other in entries[1:]:
        if changed := _changed(description, other.description):
            reasons.add(
                f"has another {', '.join(changed)} than {entries[0].path}; one system has one"
                " description; another one needs a name of its own: system.id=NAME",
                other.path,
            )
    division = description.get("division")
    if description and any(one.division != division for one in entries):
        logs = ", ".join(sorted({str(one.division) for one in entries}))
        reasons.add(f"has division {division!r}, its logs {logs}; allowed: the same", file)
    status, words = description.get("status"), list(STATUSES.values())
    strict = at_least(request.ruleset, "4.0.0")  # as system_desc_checker
    if description and strict and status not in words:
        reasons.add(
            f"has status {status!r}; allowed since ruleset 4.0.0:"
            f" {', '.join(map(repr, words))}; "
            + (f"'system.status=\"{words[0]}\"'" if ours else "correct the file"),
            file,
        )


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
