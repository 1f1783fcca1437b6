"""The source of the program that made a result, as a plain tree that can be read and installed.

It is what git has of the commit the runs were made from, never the working tree. Only runs of an
installed ttt, of which no commit is known, get the files that are installed. May not know results.
"""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ttt

_PACKAGE = Path(ttt.__file__).parent
# What it takes to build ttt. In a wheel these lie in the package (pyproject.toml, force-include).
_BUILD = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "Dockerfile")
_FOLDERS = ("conf", "slurm")
_SHARED = "share"


def problem(environment: Mapping[str, Any]) -> str | None:
    """Why the source of a run is not available here; None if it is.

    Args:
        environment: The content of the run's environment.json.
    """
    commit, version = _commit(environment), environment.get("ttt")
    if commit is not None and not _has(commit):
        return f"ran from commit {commit}, which is not in the clone of the ttt that packages it"
    if commit is None and version != ttt.__version__:
        return (
            f"ran from ttt {version or 'of an unknown version'} and an unknown commit, and the ttt"
            f" that packages it is {ttt.__version__}"
        )
    return None


def write(environment: Mapping[str, Any], folder: Path) -> str:
    """Write the source into a new folder; nothing if it is not available.

    Returns:
        A sentence on what is there, for a reader.
    """
    commit = _commit(environment)
    if why := problem(environment):
        return f"The source is not here: the program {why}."
    folder.mkdir()
    if commit is None:
        _copy_package(folder)
        return (
            f"`{folder.name}/` is ttt {ttt.__version__} as it was installed where this was"
            " packaged; the runs were made from an installed ttt of that version, whose commit is"
            " unknown."
        )
    _unpack(_git("archive", "--format=tar", commit) or b"", folder)
    changed = (
        " **The runs were made with uncommitted changes, which are not in it.**"
        if (environment.get("git") or {}).get("dirty")
        else ""
    )
    return (
        f"`{folder.name}/` is commit {commit}: all tracked files, but those with a name that begins"
        f" with a dot or has a space in it, which MLCommons' repo_checker refuses.{changed}"
    )


def _commit(environment: Mapping[str, Any]) -> str | None:
    commit = (environment.get("git") or {}).get("commit")
    return commit if isinstance(commit, str) and commit.isalnum() else None


@cache
def _has(commit: str) -> bool:
    """Whether git has this commit, and it is one of ttt: a repository around may be another's."""
    return _git("cat-file", "-e", f"{commit}:./ttt/__init__.py") is not None


def _git(*arguments: str) -> bytes | None:
    """What git prints; None if it fails, or there is none."""
    command = ["git", "-C", str(_PACKAGE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout


def _unpack(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.isfile() and not any(part[0] == "." or " " in part for part in parts):
                archive.extract(member, folder, filter="data")


def _copy_package(folder: Path) -> None:
    """From a wheel or a clone: the package, and what it takes to install it."""
    installed = (_PACKAGE / "conf").is_dir()
    beside = _PACKAGE if installed else _PACKAGE.parent
    ignored = shutil.ignore_patterns("__pycache__", *((*_FOLDERS, _SHARED) if installed else ()))
    shutil.copytree(_PACKAGE, folder / "ttt", ignore=ignored)
    for name in _FOLDERS:
        shutil.copytree(beside / name, folder / name)
    for name in _BUILD:
        shutil.copyfile((beside / _SHARED if installed else beside) / name, folder / name)
