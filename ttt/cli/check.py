"""`ttt check PATH...`: what MLPerf's own compliance engine says about result files."""

import argparse
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from ttt import errors
from ttt.compliance import RULES_FILE, Verdict, bare_command, check_file, rulesets
from ttt.errors import NOT_COMPLIANT, OK, TttError
from ttt.report.files import write_json
from ttt.report.source.results import find_results
from ttt.terminal import Terminal


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 all passed, 4 some failed, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    try:
        return _check(arguments.path, arguments.ruleset, arguments.json)
    except TttError as error:
        errors.show(error)
        return error.exit_code


def _check(paths: list[str], ruleset: str | None, json_file: str | None) -> int:
    console = Terminal()
    verdicts = []
    for file in find_results(paths):
        verdict = check_file(file, ruleset)
        verdicts.append(verdict)
        for line in _lines(verdict):
            console.print(line, soft_wrap=True)
    passed = sum(verdict.passed for verdict in verdicts)
    failed = len(verdicts) - passed
    console.print(Text(f"{passed} passed, {failed} failed", "red" if failed else "green"))
    _print_bare(console, verdicts)
    if json_file is not None:
        results = [_plain(verdict) for verdict in verdicts]
        write_json(json_file, {"passed": passed, "failed": failed, "results": results})
    return NOT_COMPLIANT if failed else OK


def _lines(verdict: Verdict) -> list[Text]:
    """A line for the file, one for each broken rule, one for each warning."""
    head = Text.assemble(
        ("passed", "green") if verdict.passed else ("FAILED", "bold red"), f"  {verdict.path}"
    )
    if verdict.benchmark is not None:
        head.append(
            f"  {verdict.benchmark}, ruleset {verdict.ruleset or 'none'},"
            f" {verdict.division or 'no'} division, {verdict.label}"
        )
    return [
        head,
        *(Text(f"        {problem}") for problem in verdict.problems),
        *(Text(f"        warning: {warning}", "yellow") for warning in verdict.warnings),
    ]


def _print_bare(console: Terminal, verdicts: Sequence[Verdict]) -> None:
    """How to repeat the check of a workload of our own without trusting ttt."""
    for verdict in verdicts:
        rules = verdict.path.resolve().parent / RULES_FILE
        if verdict.benchmark and verdict.ruleset and not verdict.official and rules.exists():
            command = bare_command(rules, verdict.ruleset, verdict.path.resolve())
            console.print(Text(f"without ttt: {command}"), soft_wrap=True)
            return


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {
        "path": str(verdict.path),
        "benchmark": verdict.benchmark,
        "official": verdict.official,
        "label": verdict.label if verdict.benchmark else None,
        "ruleset": verdict.ruleset,
        "division": verdict.division,
        "passed": verdict.passed,
        "problems": list(verdict.problems),
        "warnings": list(verdict.warnings),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ttt check",
        description="Check result files by MLPerf's compliance engine.",
    )
    parser.add_argument("path", nargs="+", metavar="PATH", help="result files, or folders above")
    parser.add_argument(
        "--ruleset",
        metavar="R",
        help=f"such as {rulesets()[0]}; default: the newest that has the log's benchmark",
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    return parser
