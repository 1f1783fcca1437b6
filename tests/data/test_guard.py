import os
from pathlib import Path

import pytest

from ttt.data.guard import guarded
from ttt.errors import DataError

TOUCHES = {
    "open": lambda path: path.open().close(),
    "os.open": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "bytes": lambda path: os.close(os.open(os.fsencode(path), os.O_RDONLY)),
    "listdir": lambda path: os.listdir(path.parent),
    "scandir": lambda path: list(os.scandir(path.parent)),
    "walk": lambda path: list(os.walk(path.parent)),
    "glob": lambda path: list(path.parent.rglob("*")),
}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "root" / "train" / "image.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"pixels")
    return path


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_touching_the_data_before_the_clock_runs_is_an_error(image, touch):
    root = image.parent.parent
    with guarded(str(root)), pytest.raises(DataError, match=r"before RUN_START.*Data\.train"):
        touch(image)
    touch(image)


def test_a_relative_root_is_guarded_too(image, monkeypatch):
    monkeypatch.chdir(image.parent.parent.parent)
    with guarded("root"), pytest.raises(DataError, match="touched before RUN_START"):
        image.read_bytes()


def test_everything_else_stays_open(image, tmp_path):
    other = tmp_path / "root2"
    other.write_text("a neighbour whose name begins alike")
    with guarded(str(tmp_path / "root")):
        assert other.read_text()
        assert Path(__file__).read_text()
