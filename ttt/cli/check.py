"""`ttt check PATH...`: what MLPerf's own compliance engine says about result files."""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from ttt import errors, signals, streams
from ttt.compliance import Verdict, bare_command, check_file, is_ours, rulesets
from ttt.errors import NOT_COMPLIANT, OK, TttError, one_line
from ttt.report.files import write_json
from ttt.report.read.folders import read, ruleset_of, summary_problem
from ttt.report.read.results import find_results, whole_folders
from ttt.report.run import Rejected
from ttt.run_folder import RunFolder, is_run
from ttt.submission.whole import Whole, judge_whole
from ttt.terminal import Terminal


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 all passed, 4 some failed, 2 wrong use."""
    arguments = parser().parse_args(argv)
    try:
        return _check(arguments)
    except TttError as error:
        signals.obey()
        errors.show(error)
        return error.exit_code


def _check(arguments: argparse.Namespace) -> int:
    console = Terminal()
    files = find_results(arguments.path)
    whole_ones = {folder.path: folder for folder in whole_folders(arguments.path, files)}
    seen = []
    together: dict[Path, list[Path]] = {}
    for file in files:
        together.setdefault(file.parent, []).append(file)
    for path, members in together.items():
        ran = ruleset_of(path)
        verdicts = [
            check_file(file, arguments.ruleset, ran=ran, werror=arguments.werror)
            for file in members
        ]
        whole = judge_whole(whole_ones[path], verdicts) if path in whole_ones else None
        failed = any(not verdict.passed for verdict in verdicts)
        no_result = _no_result(path) if failed else None
        seen.append(_Seen(verdicts, whole, no_result, tuple(_remarks(path, members))))
        for line in _lines(seen[-1]):
            console.print(line, soft_wrap=True)
        if streams.failure() and arguments.json is None:
            break  # no reader is left for the rest
    console.print(_total(seen), soft_wrap=True)
    _print_bare(console, [one for each in seen for one in each.verdicts])
    if arguments.json is not None:
        write_json(arguments.json, _as_json(seen))
    return OK if all(each.good for each in seen) else NOT_COMPLIANT


@dataclass(frozen=True, slots=True)
class _Seen:
    """The files of one folder, and what they are together, if they are a result.

    Attributes:
        verdicts: Of each file.
        whole: Of all together.
        no_result: A sentence if it is the folder of a run of ttt without a result to check.
        remarks: What a person should know of the folder.
    """

    verdicts: Sequence[Verdict]
    whole: Whole | None
    no_result: str | None
    remarks: Sequence[str]

    def count(self, status: str) -> int:
        """How many files have a status."""
        return sum(self.status(one) == status for one in self.verdicts)

    def status(self, verdict: Verdict) -> str:
        """A file that fails does no harm where the rules of the whole result allow it."""
        if verdict.passed:
            return "passed"
        return "excused" if self.whole and verdict.path in self.whole.excused else "FAILED"

    @property
    def good(self) -> bool:
        return not self.count("FAILED") and (self.whole is None or self.whole.passed)


def _no_result(folder: Path) -> str | None:
    """Why a run of ttt has no result; None if it has one, or is no run of ttt."""
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    if not is_run(folder, names):
        return None
    run = read(folder)
    if isinstance(run, Rejected) or run.status not in ("aborted", "suspended", "died", "running"):
        return None
    why = run.reason or run.status
    if run.status == "running":
        return f"the run has not ended ({why}); there is no result to check yet"
    return f"the run ended before it reached its target ({why}); there is no result to check"


def _remarks(folder: Path, files: Sequence[Path]) -> Iterator[str]:
    """What a person should know of what lies beside result files, good or not."""
    if why := summary_problem(folder):
        yield f"{folder}: {why}; the logs are judged without it"
    # A log may be a link: who checks it without ttt takes the rules beside the true file.
    for beside in dict.fromkeys(Path(os.path.realpath(file)).parent for file in files):
        if os.path.lexists(rules := RunFolder(beside).rules) and not is_ours(rules):
            yield (
                f"{rules} is not as this ttt writes it, and is code, which MLCommons' checker"
                " executes if it is given it; ttt has not used it"
            )


_CODE = "executes its rules.yaml, which is not as this ttt writes it: only if you trust it"
_COLOURS = {"passed": "green", "excused": "yellow", "FAILED": "bold red"}


def _lines(seen: _Seen) -> Iterator[Text]:
    """A line for each file and for the whole, one for each broken rule, one for each warning."""
    for verdict in seen.verdicts:
        status = seen.status(verdict)
        about = f"  {verdict.path}"
        if verdict.benchmark is not None:
            about += (
                f"  {verdict.benchmark}, ruleset {verdict.ruleset or 'none'}"
                f" ({verdict.reason or 'none has it'}), {verdict.division or 'no'} division,"
                f" {verdict.label}"
            )
        yield Text.assemble((status, _COLOURS[status]), one_line(about))
        if status == "FAILED" and seen.no_result is not None and not verdict.converged:
            yield _below(seen.no_result)
            continue  # that a log without an end breaks rules is no news; --json has them all
        yield from map(_below, verdict.problems)
        yield from (_below(f"warning: {one}", "yellow") for one in verdict.warnings)
    yield from (_below(f"remark: {one}", "yellow") for one in seen.remarks)
    if (whole := seen.whole) is None:
        return
    word = "passed" if whole.passed else "FAILED"
    yield Text.assemble(
        (word, _COLOURS[word]),
        one_line(f"  {whole.path}  {whole.benchmark}, the whole result: {whole.runs} runs"),
    )
    yield from map(_below, whole.problems)
    for path in whole.excused:
        one = next(each for each in seen.verdicts if each.path == path)
        what = "breaks a rule" if one.converged else "did not converge"
        yield _below(
            f"{path.name} {what}: scored as the slowest and dropped, as"
            f" {_times(whole.allowed)} of {whole.runs} may be",
            "yellow",
        )
    yield from (_below(f"remark: {one}", "yellow") for one in whole.remarks)


def _below(sentence: str, style: str = "") -> Text:
    """A line about the file above it."""
    return Text(f"        {one_line(sentence)}", style)


def _times(number: int) -> str:
    return "one" if number == 1 else str(number)


def _total(seen: Sequence[_Seen]) -> Text:
    passed, failed, excused = (
        sum(each.count(status) for each in seen) for status in ("passed", "FAILED", "excused")
    )
    counts = f"{passed} passed, {failed} failed"
    if excused:
        counts += f", {excused} excused"
    if wholes := [each.whole for each in seen if each.whole is not None]:
        counts += f"; of {len(wholes)} whole results {sum(one.passed for one in wholes)} passed"
    return Text(counts, "green" if all(each.good for each in seen) else "red")


def _as_json(seen: Sequence[_Seen]) -> dict[str, Any]:
    return {
        "passed": sum(each.count("passed") for each in seen),
        "failed": sum(each.count("FAILED") for each in seen),
        "excused": sum(each.count("excused") for each in seen),
        "results": [_plain(one, each) for each in seen for one in each.verdicts],
        "wholes": [_plain_whole(each.whole) for each in seen if each.whole is not None],
    }


def _plain(verdict: Verdict, seen: _Seen) -> dict[str, Any]:
    return {
        "path": str(verdict.path),
        "benchmark": verdict.benchmark,
        "official": verdict.official,
        "label": verdict.label if verdict.benchmark else None,
        "ruleset": verdict.ruleset,
        "ruleset_reason": verdict.reason,
        "division": verdict.division,
        "passed": verdict.passed,
        "excused": seen.status(verdict) == "excused",
        "converged": verdict.converged,
        "problems": list(verdict.problems),
        "warnings": list(verdict.warnings),
        "remarks": list(seen.remarks),
    }


def _plain_whole(whole: Whole) -> dict[str, Any]:
    return {
        "path": str(whole.path),
        "benchmark": whole.benchmark,
        "runs": whole.runs,
        "passed": whole.passed,
        "not_scored": [str(path) for path in whole.excused],
        "problems": list(whole.problems),
        "remarks": list(whole.remarks),
    }


def _print_bare(console: Terminal, verdicts: Sequence[Verdict]) -> None:
    """How to repeat the check of a workload of our own without trusting ttt."""
    for verdict in verdicts:
        log = Path(os.path.realpath(verdict.path))  # also where it is a loop of links
        rules = RunFolder(log.parent).rules
        if verdict.benchmark and verdict.ruleset and not verdict.official and rules.exists():
            command = bare_command(rules, verdict.ruleset, log)
            warning = "" if is_ours(rules) else f" ({_CODE})"
            console.say(f"without ttt:{warning} {command}")
            return


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt check",
        description="Check result files by MLPerf's compliance engine, and folders that hold a"
        " whole result as package_checker does: one run of it (of unet3d four) may fail.",
    )
    parser.add_argument("path", nargs="+", metavar="PATH", help="result files, or folders above")
    parser.add_argument(
        "--ruleset",
        metavar="R",
        help=f"such as {rulesets()[0]}; default: that of the log's round, by its run folder, by a"
        " folder such as v5.1 above it, or by its date; else the newest that has its benchmark",
    )
    parser.add_argument(
        "--werror", action="store_true", help="what the engine warns of fails, as its own --werror"
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    return parser
