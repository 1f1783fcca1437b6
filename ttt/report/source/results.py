"""Finds MLPerf result files under any paths. May not know what is in them."""

from collections.abc import Iterable
from pathlib import Path

from ttt.errors import ConfigError
from ttt.report.files import natural

_PATTERN = "result_*.txt"


def find_results(paths: Iterable[str | Path]) -> list[Path]:
    """Result files, each once: a file is taken whatever its name, a folder is searched.

    Raises:
        ConfigError: A path does not exist, or there is no result file under any of them.
    """
    found: dict[Path, Path] = {}
    absent = []
    for path in map(Path, paths):
        if not path.exists():
            absent.append(f"{path} does not exist; allowed: a result file or any folder above some")
        files = sorted(path.rglob(_PATTERN), key=natural) if path.is_dir() else [path]
        for file in files:
            found.setdefault(file.resolve(), file)
    if absent:
        raise ConfigError(absent)
    if not found:
        where = ", ".join(map(str, paths))
        raise ConfigError([f"there is no {_PATTERN} under {where}; give the path of a result file"])
    return list(found.values())
