"""Writes a planned submission. May not judge it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from ttt import modes, redact, run_folder
from ttt.errors import ConfigError, fault, writing
from ttt.run_folder import POWER
from ttt.submission import implementation
from ttt.submission.entry import PARAMETERS
from ttt.submission.plan import Plan, Result
from ttt.submission.rules import Request


@contextmanager
def draft(out: Path) -> Iterator[Path]:
    """A folder beside `out` to build in; what is left in it at the end is removed.

    Raises:
        ConfigError: `out` is taken, or its folder cannot be written to.
    """
    # mkdtemp's folder is open to its owner only, until `settle`.
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        why = "exists and is not an empty folder"
        raise ConfigError([fault("--out", out, why, allowed="a new one", typed=f"{out}.new")])
    with writing("--out", out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=f"{out.name}.draft-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build(plan: Plan, folder: Path) -> Path:
    """Write every result of a plan, also of one with problems.

    Logs, power files and other persons' systems files are copied byte by byte.

    Returns:
        The submitter's folder, which MLCommons' tools take.
    """
    root = folder / plan.request.submitter
    for part in ("results", "systems", "benchmarks"):
        (root / part).mkdir(parents=True)
    copied: set[Path] = set()
    for result in plan.results:
        _write_results(result, root / "results" / result.system / result.benchmark, plan.request)
        _write_system(result, plan.request.submitter, root / "systems" / f"{result.system}.json")
        place = root / "benchmarks" / result.benchmark
        _write_implementation(result, place, copied, plan.request.config_dir)
    return root


def _write_results(result: Result, folder: Path, request: Request) -> None:
    folder.mkdir(parents=True)
    for number, entry in enumerate(result.entries):
        assert entry.log is not None
        shutil.copyfile(entry.log, folder / run_folder.result(number))
        if entry.power is not None and (request.power or not entry.ours):
            shutil.copytree(entry.power, folder / POWER / Path(run_folder.result(number)).stem)
        if not entry.ours:  # of this benchmark, and of all on this system
            near = entry.log.absolute().parent
            for here, there in ((near, folder), (near.parent, folder.parent)):
                if (here / PARAMETERS).is_file():
                    shutil.copyfile(here / PARAMETERS, there / PARAMETERS)


def _write_system(result: Result, submitter: str, file: Path) -> None:
    first = result.entries[0]
    if first.system_file is not None:
        shutil.copyfile(first.system_file, file)
    else:  # the name the logs have, as it is written here
        described = dict(first.description) | {"submitter": submitter}
        file.write_text(json.dumps(redact.settings(described), indent=2) + "\n")


def _write_implementation(
    result: Result, folder: Path, copied: set[Path], config_dir: Path | None
) -> None:
    first = result.entries[0]
    if first.implementation is not None:  # of a benchmark, so that of several systems
        if first.implementation not in copied:
            shutil.copytree(first.implementation, folder, symlinks=True, dirs_exist_ok=True)
            copied.add(first.implementation)
        return
    implementation.write(result, folder / "implementations" / result.system, config_dir)


def settle(folder: Path, out: Path) -> Path:
    """Give a finished draft its name; `out` itself, or the next that is free."""
    target, number = out, 1
    while target.exists() and not (target.is_dir() and not any(target.iterdir())):
        number += 1
        target = out.with_name(f"{out.name}-{number}")
    modes.by_umask(folder)
    folder.rename(target)
    return target
