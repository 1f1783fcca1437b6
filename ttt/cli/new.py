"""`ttt new NAME`: write a benchmark for the user to change, a folder for `ttt run --config-dir`."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from ttt.cli.data import taken
from ttt.errors import OK, ConfigError
from ttt.prepare.folder import whole_folder
from ttt.skeleton import fitting, naming, templates
from ttt.terminal import Terminal


def main(arguments: list[str]) -> int:
    """Write the folder; returns the exit code.

    Raises:
        TttError: It may not be written, or cannot be.
    """
    given = parser().parse_args(arguments)
    here = Path.cwd()
    wrong = naming.problems(given.name, here, taken())
    if given.target is not None and given.data is None:
        wrong.append("--target needs --from DATA; without it the file benchmark/NAME.yaml says it")
    if given.data is not None:
        wrong += fitting.problems(given.data, given.target)
    if wrong:
        raise ConfigError(wrong)
    if given.data is None:
        files = templates.own(given.name)
    else:
        files = fitting.files(given.name, given.data, given.target)
    write(here / given.name, files)
    remarks = [fitting.origin(given.data, None)] if given.data and given.target is None else []
    show(given.name, files, remarks)
    return OK


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt new",
        description="Write a folder NAME here: YAML files and, without --from, a Python module"
        " with data, model and task to change. It runs as it is. Nothing is overwritten.",
    )
    parser.add_argument("name", metavar="NAME", help="small letters, digits and _")
    parser.add_argument(
        "--from",
        dest="data",
        type=Path,
        metavar="DATA",
        help="a set made by ttt data images, pairs, table or tokens: ttt's own parts, fitted to it",
    )
    parser.add_argument(
        "--target",
        type=float,
        metavar="Q",
        help="the quality to reach: a fraction, of tokens nats; with --from",
    )
    return parser


def write(folder: Path, files: dict[str, str]) -> None:
    """Write all files, or none."""
    try:
        with whole_folder(folder) as partial:
            for name, text in files.items():
                path = partial / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{folder} cannot be written: {error.strerror}; cd DIR"]) from error


def show(name: str, files: dict[str, str], remarks: Sequence[str] = ()) -> None:
    """Say what is there now, what to know of it, and what to type."""
    console = Terminal()
    for file in sorted(files):
        console.say(f"  {name}/{file}")
    for remark in remarks:
        console.say(remark)
    typed = shlex.join(["ttt", "run", "--config-dir", name, f"benchmark={name}"])
    console.say(f"next:  {typed}")
