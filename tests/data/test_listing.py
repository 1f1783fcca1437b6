"""What systems leave beside files is no data; images that no class holds are told, not unseen."""

import os
import stat
from pathlib import Path

import pytest

from ground import Command
from tests.data.test_images import image_set, write_set
from tests.prepare.test_imagenet import pack, source  # noqa: F401 - a fixture
from ttt.data.images import list_eval, list_train, made_up_jpeg
from ttt.data.listing import Classes
from ttt.data.looks import examined, faults
from ttt.data.shards import list_shards
from ttt.doctor.reading import look
from ttt.errors import DataError

APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        "


def litter(root: Path) -> None:
    """What a Mac and a Windows machine leave, in every place where files are listed."""
    for part in [each for each in root.iterdir() if each.is_dir()]:
        for hidden in ("__MACOSX", ".Trashes", ".ipynb_checkpoints"):
            (part / hidden).mkdir()
            (part / hidden / "1.png").write_bytes(APPLE_DOUBLE)
        for folder in (part, *(each for each in part.iterdir() if each.name[0] not in "._")):
            for name in ("._000.png", "._000.JPEG", ".DS_Store", "Thumbs.db", "desktop.ini"):
                if folder.is_dir():
                    (folder / name).write_bytes(APPLE_DOUBLE)


def test_litter_is_no_image_and_no_class(tmp_path: Path):
    write_set(tmp_path)
    images = image_set(tmp_path)
    before = [list_part(images).names.tolist() for list_part in (list_train, list_eval)]
    litter(tmp_path)
    (tmp_path / "train" / "class_0" / "album.png").mkdir()
    assert [one(images).names.tolist() for one in (list_train, list_eval)] == before
    assert faults(images) == []
    assert examined(images).bad == []


def test_litter_is_not_packed(source: Path, tmp_path: Path):  # noqa: F811
    pack(source, tmp_path / "before")
    litter(source)
    (source / "train" / "n01" / "album.jpg").mkdir()
    pack(source, tmp_path / "out")
    for path in (tmp_path / "before").rglob("*.tfrecord"):
        same = tmp_path / "out" / path.relative_to(tmp_path / "before")
        assert same.read_bytes() == path.read_bytes()


def test_litter_is_no_shard(source: Path, tmp_path: Path):  # noqa: F811
    pack(source, tmp_path / "out")
    for part in ("train", "val"):
        (tmp_path / "out" / part / "._x.idx").write_bytes(APPLE_DOUBLE)
        (tmp_path / "out" / part / "old.idx").mkdir()
    images = image_set(tmp_path / "out", format="tfrecord", train_samples=30, classes=3)
    assert len(list_shards(images, "train_dir", "train_samples")) == 30


class Run:
    """A run as the doctor looks at it."""

    def __init__(self, root: Path):
        self.data = self
        self.root = str(root)


def test_the_doctor_reads_what_training_reads(tmp_path: Path):
    write_set(tmp_path)
    before = look(Run(tmp_path), 0, 1)
    litter(tmp_path)
    after = look(Run(tmp_path), 0, 1)
    assert before is not None
    assert after is not None
    assert (after.files, after.bytes) == (before.files, before.bytes)


def test_a_missing_image_is_still_an_image(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gone.png").symlink_to("/nowhere/at/all.png")
    os.mknod(tmp_path / "a" / "odd.png", 0o600 | stat.S_IFSOCK)
    assert Classes.of(tmp_path).count == 2


@pytest.mark.parametrize("at", ["class_0/sub/1.png", "class_9/sub/deep/1.png", "1.png"])
def test_images_that_no_class_holds_are_refused(at: str, tmp_path: Path):
    write_set(tmp_path)
    path = tmp_path / "train" / at
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made_up_jpeg(8, 8))
    with pytest.raises(DataError, match="holds 1 image ") as caught:
        list_train(image_set(tmp_path))
    assert at in str(caught.value)
    assert "move each image" in str(caught.value)


def test_all_that_is_wrong_is_told_at_once_before_any_process_starts(
    ttt: Command, digits: Path, tmp_path: Path
):
    root = tmp_path / "set"
    for part in ("train", "test"):
        for folder in (digits / part).iterdir():
            (root / part / folder.name).mkdir(parents=True)
            for path in folder.iterdir():
                (root / part / folder.name / path.name).symlink_to(path)
    (root / "train" / "new").mkdir()
    (root / "train" / "old").mkdir()
    next((root / "test" / "3").iterdir()).unlink()
    done = ttt("run", "data.root=set", "launcher=torchrun")
    assert done.returncode == 2
    first, second, third = done.stderr.splitlines()
    assert "set/train holds 1437 images in 10 class folders" in first
    assert "2 class folders hold no image: new, old" in first
    assert "set/test holds 359 images in 10 class folders" in second
    assert "type data.eval_samples=359" in second
    assert "only in train: new, old" in third
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("benchmark", "change", "said"),
    [
        ("dates", "data.vocabulary=99", "type data.vocabulary="),
        ("clicks", "data.train_samples=1000", "type data.train_samples=200000"),
    ],
)
def test_another_set_is_told_before_any_process_starts(
    ttt: Command, tmp_path: Path, benchmark: str, change: str, said: str
):
    assert ttt("data", benchmark, "--out", "set").returncode == 0
    done = ttt("run", f"benchmark={benchmark}", "data.root=set", change)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert not (tmp_path / "runs").exists()
