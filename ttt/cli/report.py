"""`ttt report PATH...`: who is faster, how it scales, why it stops scaling, and what it costs."""

import argparse
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from ttt import errors, signals
from ttt.errors import OK, ConfigError, TttError, one_line
from ttt.report.analyze.peak import with_peaks
from ttt.report.analyze.price import priced
from ttt.report.analyze.study import Study, study
from ttt.report.files import write_json
from ttt.report.read.find import find
from ttt.report.render.export import as_json, write_csv
from ttt.report.render.table import show_study
from ttt.terminal import Terminal

_MODES = ("offline", "online")


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code: 0, or 2 if there is no run to report."""
    arguments = parser().parse_args(_explicit(argv))
    try:
        _report(arguments)
    except TttError as error:
        signals.obey()
        errors.show(error)
        return error.exit_code
    return OK


def _report(arguments: argparse.Namespace) -> None:
    console = Terminal()
    found = find(arguments.path, jobs=arguments.jobs, ruleset=arguments.ruleset)
    found = with_peaks(found, dict(arguments.peak))
    what = study(priced(found, dict(arguments.price)))
    if arguments.json is not None:
        write_json(arguments.json, as_json(what))
    if arguments.csv is not None:
        write_csv(what, arguments.csv)
    if not found.runs:
        reasons = [one_line(f"not used: {each.path}: {each.reason}") for each in what.rejected]
        paths = ", ".join(arguments.path)
        none = f"there is no run that can be reported under {paths}; run one: ttt run"
        raise ConfigError([*reasons, none])
    show_study(what, console)
    for line in _written(arguments, what):
        console.say(line)


def _written(arguments: argparse.Namespace, what: Study) -> list[str]:
    """Write the forms that take a library of their own; a line about each."""
    lines = []
    if arguments.html is not None:
        from ttt.report.render.page import write_page  # noqa: PLC0415  matplotlib takes half a second

        write_page(what, arguments.html, command=shlex.join(["ttt", "report", *arguments.path]))
        lines.append(f"page: {arguments.html}")
    if arguments.figures is not None:
        from ttt.report.render.charts import write_figures  # noqa: PLC0415

        lines += [f"figure: {path}" for path in write_figures(what, Path(arguments.figures))]
    if arguments.wandb is not None:
        from ttt.report.render.tracking import push  # noqa: PLC0415  wandb takes a second

        lines += push(
            what,
            project=arguments.wandb_project,
            mode=arguments.wandb,
            directory=Path(arguments.wandb_dir),
            page=Path(arguments.html) if arguments.html else None,
        )
    return lines


def _explicit(argv: Sequence[str]) -> list[str]:
    """The arguments with the mode of --wandb written out: what follows it may be a path."""
    following = [*argv[1:], ""]
    return [
        f"--wandb={_MODES[0]}" if word == "--wandb" and after not in _MODES else word
        for word, after in zip(argv, following, strict=False)
    ]


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt report",
        description="Compare runs: ttt's run folders, and MLPerf results of any submitter. Shows"
        " scores as MLPerf's rules have them, scaling and what limits it, hardware and cost, how"
        " stable training is, and what runs lost time to.",
        epilog="Exit codes: 0 reported, 2 wrong use or nothing to report.",
    )
    parser.add_argument(
        "path", nargs="+", metavar="PATH", help="run folders, result files, or folders above some"
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    parser.add_argument("--csv", metavar="FILE", help="also write a line for each result")
    parser.add_argument("--html", metavar="FILE", help="also write one page, complete in itself")
    parser.add_argument("--figures", metavar="DIR", help="also write its figures, as SVG and PNG")
    parser.add_argument(
        "--wandb",
        nargs="?",
        const=_MODES[0],
        choices=_MODES,
        help="also show everything in W&B; online uploads it and makes a dashboard",
    )
    parser.add_argument(
        "--wandb-project", metavar="NAME", help="default: a project for each benchmark"
    )
    parser.add_argument(
        "--wandb-dir", metavar="DIR", default=".", help="W&B's files go to DIR/wandb; default: here"
    )
    parser.add_argument(
        "--price",
        action="append",
        default=[],
        type=_of_system,
        metavar="SYSTEM=P",
        help="what a node of a system costs an hour, in any currency; for each system once",
    )
    parser.add_argument(
        "--peak",
        action="append",
        default=[],
        type=_of_system,
        metavar="SYSTEM=P",
        help="peak of an accelerator of a system, or of a node without any, in 10^12 FLOP/s",
    )
    parser.add_argument(
        "--ruleset",
        metavar="R",
        help="by which MLPerf logs are checked; default: that of each log's round, as ttt check has"
        " it",
    )
    parser.add_argument(
        "--jobs", type=_count, metavar="N", help="processes that read logs; default: every core"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 or more")
    return number


def _of_system(text: str) -> tuple[str, float]:
    system, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not system or not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not SYSTEM=P, as in h100_n8=98.3")
    return system, value
