"""Finds runs under any paths and reads them: our run folders, and MLPerf logs of any submitter.

What cannot be used is reported, never fatal. Many logs are read by several processes, since the
official check of each takes longer than reading it. May not know what is in a run.
"""

import multiprocessing
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from ttt.compliance import require_known
from ttt.report.files import natural
from ttt.report.read import folders, mllogs
from ttt.report.run import Found, Rejected, Run
from ttt.run_folder import RESULTS, is_run

_MANY = 64  # logs, below which a second process costs more than it brings
_CHUNK = 16  # sources a process is given at a time


@dataclass(frozen=True, slots=True)
class _Source:
    """A run folder, or else a log."""

    path: Path
    folder: bool


def find(paths: Iterable[str | Path], *, jobs: int | None = 1, ruleset: str | None = None) -> Found:
    """Read every run at or under the given paths, each once.

    A run is a run folder, or a result_*.txt that lies in none. A file may have any name,
    but one in a run folder stands for that folder. Links to folders are not followed below a path.

    Args:
        paths: Files and folders.
        jobs: Processes that read; None is one for each usable core if there is enough to read. They
            import the main module anew, which must not start to work by that.
        ruleset: By which to check MLPerf logs; None as `mllogs.read` has it.

    Raises:
        ConfigError: The installed mlperf-logging does not have this ruleset.
    """
    require_known(ruleset)
    seen: dict[Path, _Source | Rejected] = {}
    for path in map(Path, paths):
        for each in _at(path):
            seen.setdefault(Path(os.path.realpath(each.path)), each)
    sources = list(seen.values())
    read = partial(_read, ruleset=ruleset)
    logs = sum(isinstance(each, _Source) and not each.folder for each in sources)
    processes = min(jobs or len(os.sched_getaffinity(0)), logs // _CHUNK)
    if logs >= _MANY and processes > 1:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            read_all = list(pool.map(read, sources, chunksize=_CHUNK))
    else:
        read_all = [read(each) for each in sources]
    return Found(
        tuple(each for each in read_all if isinstance(each, Run)),
        tuple(each for each in read_all if isinstance(each, Rejected)),
    )


def _at(path: Path) -> Iterator[_Source | Rejected]:
    """What there is at and under a path, in natural order."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            yield from _under(path)
        elif is_run(path.parent, os.listdir(path.parent)):
            yield _Source(path.parent, folder=True)
        else:
            yield _Source(path, folder=False)
    except FileNotFoundError:
        yield Rejected(path, "does not exist")
    except OSError as error:
        yield _unreadable(path, error)


def _under(top: Path) -> Iterator[_Source | Rejected]:
    failed: list[OSError] = []
    for name, below, names in os.walk(top, onerror=failed.append):
        folder = Path(name)
        if is_run(folder, names):
            below.clear()
            yield _Source(folder, folder=True)
        else:
            logs = (name for name in names if fnmatchcase(name, RESULTS))
            yield from (_Source(folder / log, folder=False) for log in sorted(logs, key=natural))
        # Hydra keeps its own config.yaml in `.hydra`.
        below[:] = sorted((each for each in below if each[0] != "."), key=natural)
    yield from (_unreadable(Path(error.filename), error) for error in failed)


def _read(source: _Source | Rejected, ruleset: str | None) -> Run | Rejected:
    if isinstance(source, Rejected):
        return source
    if source.folder:
        return folders.read(source.path)
    try:
        if not stat.S_ISREG(source.path.stat().st_mode):  # to open a pipe would wait for ever
            return Rejected(source.path, "is neither a file nor a folder")
    except OSError as error:
        return _unreadable(source.path, error)
    return mllogs.read(source.path, ruleset)


def _unreadable(path: Path, error: OSError) -> Rejected:
    return Rejected(path, f"cannot be read: {error.strerror}")
