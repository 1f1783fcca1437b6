"""`ttt data NAME --out DIR`: prepare a data set, off the clock. `ttt data count`: count tokens."""

import argparse
import importlib
import pkgutil
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ttt import claim, config, prepare
from ttt.data.manifest import content
from ttt.data.megatron import open_indexed
from ttt.errors import OK, ConfigError, DataError, counted
from ttt.prepare.folder import MANIFEST
from ttt.prepare.named import count_problems
from ttt.skeleton import naming
from ttt.terminal import Terminal

# What manifests say and benchmarks expect.
_EXPECTED = (
    *("train_samples", "eval_samples", "vocabulary", "max_length", "sequence_length"),
    *("rows", "format"),
)
_COUNT = "count"  # beside the names of sets


def main(arguments: list[str]) -> int:
    """Prepare one data set, or count one; returns the exit code.

    Raises:
        TttError: The set cannot be made.
    """
    given = vars(parser().parse_args(arguments))
    if given["name"] == _COUNT:
        print(tokens_in(given["prefix"], given["length"]))
        return OK
    name, out, sources = given.pop("name"), given.pop("out"), given.pop("src", ())
    module, console = preparers()[name], Terminal()
    before = _written(out)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        shown = bar.add_task(name, total=None, visible=False)  # until there is any
        remarks = module.prepare(
            out,
            sources,
            lambda done, total: bar.update(shown, completed=done, total=total, visible=True),
            **given,
        )
    if before is not None and _written(out) == before:
        console.say(f"{out} holds this set already; nothing was written")
    for remark in remarks or ():
        console.say(remark)
    benchmark = getattr(module, "BENCHMARK", name)
    for line in following(benchmark, out):
        console.say(line)
    return OK


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(prog="ttt data", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, module in preparers().items():
        summary = (module.__doc__ or "").splitlines()[0]
        one = names.add_parser(name, help=summary, description=module.__doc__)
        one.add_argument("--out", type=Path, required=True, help="what becomes data.root")
        if module.NEEDS:
            one.add_argument("--src", type=Path, nargs="+", required=True, help=module.NEEDS)
        if hasattr(module, "options"):
            module.options(one)
    about = "how many sequences a set of tokens has, by its .idx alone"
    one = names.add_parser(_COUNT, help=about, description=f"Tells {about}.")
    one.add_argument("prefix", type=Path, help="path of both files, or of one of them")
    one.add_argument("--length", type=int, required=True, help="tokens of a sequence")
    return parser


def tokens_in(prefix: Path, length: int) -> str:
    """What to type for the number of sequences in files of tokens.

    Args:
        prefix: Path of both files without .bin and .idx, or with one of these endings.
        length: Tokens of a sequence.

    Raises:
        ConfigError: The length is none, or none of the files.
        DataError: The files are absent or damaged.
    """
    if wrong := count_problems({"--length": (length, 8192)}):
        raise ConfigError(wrong)
    if prefix.suffix in (".bin", ".idx") and not Path(f"{prefix}.idx").exists():
        prefix = prefix.with_suffix("")
    files = open_indexed(prefix)
    samples = files.samples(length)
    there = f"{counted(len(files.lengths), 'document')}, {counted(files.total, 'token')}"
    if not samples:
        longest = files.total - 1  # each token of a sequence has one after it, to be predicted
        typed = f"--length {longest}" if longest else "the path of files with more tokens"
        why = f"{prefix} has {there}: --length {length} and the token after it are more"
        raise ConfigError([f"{why}; allowed: up to {longest}; {typed}"])
    return f"{there}, {counted(samples, 'sequence')} of {length}: data.train_samples={samples}"


def following(benchmark: str | None, out: Path) -> list[str]:
    """What to type next, a line each.

    Args:
        benchmark: That the set is for; None: one that `ttt new` writes.
        out: The set.
    """
    if benchmark is None:
        name = naming.free_name(out.name, Path.cwd(), taken())
        return [
            f"next:  {shlex.join(['ttt', 'new', name, '--from', str(out)])}",
            f"{' ' * 7}ttt run --config-dir {name} benchmark={name}",
        ]
    typed = [f"benchmark={benchmark}", f"data.root={out}", *differing(benchmark, out)]
    return [f"next:  ttt run {shlex.join(typed)}"]


def differing(benchmark: str, out: Path) -> list[str]:
    """What to type where the set that was made is not of the size its benchmark expects.

    As for sentence pairs, of which those that are too long depend on the tokens that were learnt.
    A set that is not an official benchmark's makes a benchmark with an id of its own.
    """
    manifest = content(out / MANIFEST)
    counts = manifest.get("counts")
    if not isinstance(counts, dict):
        raise DataError(f"{out / MANIFEST} counts nothing: remove {out} and prepare the set again")
    sizes = {f"{part}_samples": count for part, count in counts.items()}
    config.register()
    data = config.resolve(config.compose([f"benchmark={benchmark}"])).data
    typed = [
        f"data.{name}={str(value).replace(' ', '')}"
        for name, value in ({"format": "folder"} | manifest | sizes).items()
        if name in _EXPECTED and _is_plain(value) and not _fits(data, name, value)
    ]
    run = config.resolve(config.compose([f"benchmark={benchmark}", *typed]))
    return [*typed, *claim.own_id(run)] if claim.problems(run) else typed


def _fits(data: Any, name: str, value: Any) -> bool:
    """Whether a benchmark's setting suits a set of which the manifest says this value."""
    asked = getattr(data, name, value)
    if name in getattr(data, "may_be_fewer", ()):
        return asked is None or asked <= value
    return bool(asked == value)


def _is_plain(value: object) -> bool:
    """Whether a value is a number, numbers, or a word; another person may have made the folder."""
    if isinstance(value, list):
        return all(isinstance(one, int) for one in value)
    return isinstance(value, int) or (isinstance(value, str) and value.isalnum())


def _written(out: Path) -> tuple[int, int] | None:
    """Which manifest lies in a folder, and when it was written; None: none."""
    try:
        found = (out / MANIFEST).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def preparers() -> dict[str, ModuleType]:
    """The modules that prepare a set, by name."""
    found = (info.name for info in pkgutil.iter_modules(prepare.__path__))
    modules = {name: importlib.import_module(f"ttt.prepare.{name}") for name in sorted(found)}
    return {name: module for name, module in modules.items() if hasattr(module, "NEEDS")}


def taken() -> set[str]:
    """Names that are taken: every choice of every group, and every data set to prepare."""
    return {path.stem for path in config.folder().rglob("*.yaml")} | set(preparers())
