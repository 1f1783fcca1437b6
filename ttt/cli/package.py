"""`ttt package PATH...`: the tree MLCommons takes, judged by its own tools before it stands."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from ttt import errors, foreign, signals
from ttt.compliance import newest_ruleset, rulesets
from ttt.errors import NOT_COMPLIANT, OK, ConfigError, TttError, fault, one_line
from ttt.foreign import ForeignError
from ttt.report.read.find import find
from ttt.report.read.folders import ruleset_of
from ttt.report.run import Run
from ttt.submission import source, trees, typed
from ttt.submission.build import build, draft, settle
from ttt.submission.entry import Entry, read
from ttt.submission.judges import Judgement, judge
from ttt.submission.plan import Plan, plan
from ttt.submission.rules import Reasons, Request
from ttt.terminal import Terminal

_PUBLISHED = (
    "benchmarks/ holds the source and the settings as they were typed, without the machine's paths;"
    " read run_and_time.sh and config_<i>.yaml before they are published"
)
_EXECUTES = "these execute a rule file that a log names: only for trees you trust"
_WORDS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("not judged", "yellow")}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0 if all is good, 4 if a tool rejects it, 2 if it is refused."""
    arguments = parser().parse_args(argv)
    try:
        return _package(arguments)
    except TttError as error:
        signals.obey()
        errors.show(error)
        return error.exit_code


def _package(arguments: argparse.Namespace) -> int:
    console, out = Terminal(), _out(arguments)
    with draft(out) as folder:  # refused before anything slow begins
        wanted = _planned(arguments)
        for note in wanted.notes:
            console.say(note, "yellow")
        chosen = [one for result in wanted.results for one in result.entries]
        if unsafe := trees.problems(chosen):  # also with --unofficial
            raise ConfigError(unsafe)
        if wanted.problems and (not arguments.unofficial or not wanted.results):
            raise ConfigError(wanted.problems)
        for problem in wanted.problems:
            console.say(f"MLCommons would refuse: {problem}", "red")
        try:
            root = build(wanted, folder)
        except OSError as error:
            raise ConfigError([f"{error.filename} cannot be copied: {error.strerror}"]) from error
        with console.status("MLCommons' tools look at it"):
            judgements = judge(root, wanted.request.ruleset)
        good = not wanted.problems and all(one.passed is not False for one in judgements)
        kept = out if good or arguments.unofficial else out.with_name(f"{out.name}.rejected")
        root = settle(folder, kept) / wanted.request.submitter
    _show(console, judgements, root, trusted=all(one.ours for one in chosen))
    if kept == out and any(one.ours for one in chosen):
        console.say(_PUBLISHED, "yellow")
    verdict = "packaged" if good else "not for MLCommons, kept to be looked at"
    console.say(f"{verdict}: {root}", "green" if good else "bold red")
    return OK if good else NOT_COMPLIANT


def _out(arguments: argparse.Namespace) -> Path:
    """The new folder; among the runs it would be packaged itself the next time."""
    out = Path(os.path.realpath(arguments.out))
    for path in map(os.path.realpath, arguments.path):
        if out.is_relative_to(path):
            why = f"is in {path}, which is packaged"
            raise ConfigError([fault("--out", arguments.out, why, allowed="a folder beside")])
    return out


def _planned(arguments: argparse.Namespace) -> Plan:
    found = find(arguments.path)
    if not found.runs:
        unused = [f"{one.path}: {one.reason}" for one in found.rejected]
        where = ", ".join(arguments.path)
        raise ConfigError([*unused, f"there is no run under {where}; run one: ttt run"])
    ruleset = arguments.ruleset or _ruleset(found.runs)
    entries = [_described(read(run, ruleset), arguments.system) for run in found.runs]
    request = Request(
        submitter=arguments.submitter,
        ruleset=ruleset,
        division=arguments.division,
        unofficial=arguments.unofficial,
        power=arguments.power,
        config_dir=_config_dir(arguments.config_dir),
    )
    planned = plan(entries, request)
    unused = [f"not used: {one.path}: {one.reason}" for one in found.rejected]
    ours = [one for result in planned.results for one in result.entries if one.ours]
    unread = [
        f"{run.path}: {run.reason}; it is judged by its log alone"
        for run in found.runs
        if run.status == "unreadable"
    ]
    notes = (*unused, *unread, *planned.notes, *_ungiven(ours, request))
    return replace(planned, notes=notes, problems=(*planned.problems, *_sourceless(ours)))


def _config_dir(given: str | None) -> Path | None:
    if given is not None and not os.path.isdir(given):
        allowed = "the one that `ttt run` was given"
        raise ConfigError([fault("--config-dir", given, "is no folder", allowed=allowed)])
    return None if given is None else Path(given)


def _ungiven(entries: Sequence[Entry], request: Request) -> list[str]:
    """A remark on a folder that runs name and that ttt copies only if the packager types it."""
    named = [typed.config_dir(typed.command(one.config)) for one in entries]
    own = next((one for one in named if one is not None), None)
    if own is None or request.config_dir is not None:
        return []
    return [f"the configuration at {own} is left out; to have it copied: --config-dir {own}"]


def _sourceless(entries: Sequence[Entry]) -> list[str]:
    """Runs without their source, which no reviewer can check."""
    reasons = Reasons()
    for one in entries:
        if why := source.problem(one.environment):
            reasons.add(f"{why}; package it with the ttt it ran from", one.path)
    return list(reasons.sentences())


def _ruleset(runs: Sequence[Run]) -> str:
    """The one all runs were checked by: a submission is one round of MLPerf."""
    used: dict[str, str | None] = {}
    for run in runs:
        used.setdefault(_own(run), run.benchmark)
    if len(used) > 1:
        rulesets = ", ".join(f"{ruleset} ({benchmark})" for ruleset, benchmark in used.items())
        raise ConfigError(
            [
                f"the runs are of several rulesets: {rulesets}; a submission is of one;"
                f" package them one at a time, or --ruleset {next(iter(used))}"
            ]
        )
    return next(iter(used))


def _own(run: Run) -> str:
    named = ruleset_of(run.path) if run.source == "run folder" else None
    known = run.ruleset or (named and named[0])
    return known or newest_ruleset(run.benchmark or "") or rulesets()[0]


def _described(entry: Entry, system: str | None) -> Entry:
    """With the description that the user wrote; another person's tree has its own."""
    if system is None or entry.system_file is not None:
        return entry
    file = Path(system)
    try:
        description = foreign.mapping(file)
    except ForeignError as error:
        raise ConfigError([f"--system {error}; allowed: MLPerf's systems file"]) from error
    for name in ("number_of_nodes", "accelerators_per_node"):
        known, given = (str(each.get(name) or "") for each in (entry.description, description))
        if known and given and known != given:
            why = f"has {name} {given}, {entry.path} ran with {known}"
            allowed = "a description of the machine it ran on"
            raise ConfigError([fault("--system", file, why, allowed=allowed)])
    return replace(entry, system=file.stem, description=description)


def _show(console: Terminal, judgements: Sequence[Judgement], root: Path, *, trusted: bool) -> None:
    """A table of the verdicts, what the tools complain of, and how to repeat each."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("tool", "about", "verdict"):
        table.add_column(name, overflow="fold")
    for one in judgements:
        about = root.name if one.about == "." else one.about
        table.add_row(one.tool, Text(one_line(about)), Text(*_WORDS[one.passed]))
    console.print(table)
    tools: dict[str, str] = {}
    for one in judgements:  # package_checker says again what others say
        for line in one.lines:
            tools.setdefault(line, one.tool)
    for line, tool in tools.items():
        console.say(f"{tool}: {line}")
    warning = "" if trusted else f" ({_EXECUTES})"
    console.say(f"without ttt:{warning}")
    asked = {one.tool: one for one in reversed(judgements) if one.arguments}
    for one in reversed(asked.values()):  # the first of each tool shows how
        console.say(f"  {one.command(root)}")


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt package",
        description="Build the tree of a submission to MLPerf Training from runs, and have it"
        " judged by MLCommons' own tools. Nothing is left at --out that they reject.",
    )
    parser.add_argument(
        "path", nargs="+", metavar="PATH", help="run folders, or folders above; or results trees"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--submitter", required=True, metavar="NAME", help="as in submission.org")
    parser.add_argument("--division", choices=("closed", "open"), help="leave out the other")
    parser.add_argument(
        "--ruleset", metavar="R", choices=rulesets(), help="default: that of the runs"
    )
    parser.add_argument(
        "--system", metavar="FILE", help="systems file of the machine, for runs without or instead"
    )
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        help="your own configuration, as given to ttt run: its .yaml and .py files are copied",
    )
    parser.add_argument(
        "--power",
        action="store_true",
        help="with the runs' power files: counters of GPUs and CPUs, not of power supplies as"
        " MLPerf's rules of power want",
    )
    parser.add_argument(
        "--unofficial",
        action="store_true",
        help="build a tree that MLCommons would refuse too, as of your own benchmarks",
    )
    return parser
