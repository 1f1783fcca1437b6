"""Finds the files of ttt that are no modules. Imports nothing heavy."""

from pathlib import Path


def conf() -> Path:
    """The YAML files: in an installed package, or beside it in the repository."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
