"""A page names the version of ttt that wrote it."""

import tomllib
from importlib import metadata

import pytest

from ground import PROJECT
from ttt.report.render import page


def test_a_page_asks_for_the_version_by_the_name_of_the_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr(metadata, "version", {project["name"]: project["version"]}.__getitem__)
    assert page._version() == project["version"]
