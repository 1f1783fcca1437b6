"""Files that fit in a head, functions that fit on a screen; and no file that no tool looks at."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ground import PROJECT

LINES_OF_A_FILE = 350
LINES_OF_A_FUNCTION = 60
FILES = sorted((PROJECT / "ttt").rglob("*.py"))


def name(file: Path) -> str:
    return str(file.relative_to(PROJECT))


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_file_and_its_functions_are_short(file: Path):
    text = file.read_text()
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, functions) and node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION
    }
    assert long == {}


def tracked() -> set[Path]:
    """The Python files of the repository; in a source archive, which has none, a skip."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "*.py"], cwd=PROJECT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no repository of git")
    paths = (PROJECT / name for name in listed.stdout.decode().split("\0") if name)
    return {path for path in paths if path.exists()}


def test_every_tracked_file_is_linted():
    command = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert tracked() - {Path(line) for line in shown.stdout.splitlines()} == set()


def test_every_file_of_the_package_is_typed():
    """Mypy is given the package by its name, and follows folders that are packages themselves."""
    options = (PROJECT / "pyproject.toml").read_text().partition("[tool.mypy]")[2]
    assert 'packages = ["ttt"]' in options.partition("[[")[0]
    assert "exclude" not in options.partition("[tool.")[0].replace("untyped_calls_exclude", "")
    ours = {path for path in tracked() if path.is_relative_to(PROJECT / "ttt")}
    assert ours
    folders = {folder for path in ours for folder in path.parents if folder != PROJECT}
    inside = {folder for folder in folders if folder.is_relative_to(PROJECT / "ttt")}
    assert [name(folder) for folder in inside if not (folder / "__init__.py").is_file()] == []


def test_what_tests_the_project_shows_pytest_last():
    """Its summary line is what one looks for: nothing may come after it."""
    makefile = (PROJECT / "Makefile").read_text()
    [line] = [line for line in makefile.splitlines() if line.startswith("test:")]
    assert line.split()[-1] == "tests"
    recipe = makefile.partition("\ntests:")[2].partition("\n\n")[0].splitlines()[1:]
    assert "-m pytest" in recipe[-1]
    assert recipe[-1].endswith("pytest $(SPREAD)")
    assert (PROJECT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"
    assert "make test" in (PROJECT / "README.md").read_text()
