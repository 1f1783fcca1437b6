"""Finds MLPerf result files under any paths, and which make a whole result.

May not know what is in them.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.compliance import official_ids
from ttt.errors import ConfigError
from ttt.report.files import natural
from ttt.run_folder import RESULTS, is_run


def find_results(paths: Iterable[str | Path]) -> list[Path]:
    """Result files, each once: a file may have any name, a folder is searched.

    Raises:
        ConfigError: A path does not exist, or there is no result file under any of them.
    """
    found: dict[str, Path] = {}
    absent = []
    for path in map(Path, paths):
        if not path.exists():
            absent.append(f"{path} does not exist; allowed: a result file or any folder above some")
        files = sorted(path.rglob(RESULTS), key=natural) if path.is_dir() else [path]
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    if absent:
        raise ConfigError(absent)
    if not found:
        where = ", ".join(map(str, paths))
        raise ConfigError([f"there is no {RESULTS} under {where}; give the path of a result file"])
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Folder:
    """All result files of one folder.

    Attributes:
        path: The folder.
        files: Those in it.
        submitted: Whether it is a folder of a submission, results/<system>/<benchmark> (of HPC
            results/<system>/{strong,weak}/<benchmark>), so that the files in it must be complete.
        weak: Whether it is one of weak scaling.
    """

    path: Path
    files: tuple[Path, ...]
    submitted: bool
    weak: bool


def whole_folders(paths: Iterable[str | Path], files: Sequence[Path]) -> list[Folder]:
    """The folders that were given with all the result files in them.

    A single file that was given by its own name stands for itself, and a run folder of ttt is one
    run.

    Args:
        paths: As they were given.
        files: What `find_results` found there.
    """
    named = {os.path.realpath(path) for path in map(Path, paths) if not path.is_dir()}
    inside: dict[Path, list[Path]] = {}
    for file in files:
        inside.setdefault(file.parent, []).append(file)
    found = []
    for folder, members in inside.items():
        alone = len(members) == 1 and os.path.realpath(members[0]) in named
        whole = len(members) >= len(list(folder.glob(RESULTS)))
        if whole and not alone and not is_run(folder, os.listdir(folder)):
            found.append(_folder(folder, members))
    return found


def _folder(path: Path, files: Iterable[Path]) -> Folder:
    place = Path(os.path.abspath(path))
    scaling = place.parent.name if place.parent.name in ("strong", "weak") else None
    system = place.parents[1] if scaling else place.parent
    submitted = system.parent.name == "results" and place.name in official_ids()
    return Folder(path, tuple(files), submitted, submitted and scaling == "weak")
