"""Archives as people have them: GitHub's, a Mac's, unpacked; and what is said of another one."""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ttt.errors import DataError
from ttt.prepare import cifar10
from ttt.prepare.folder import content_hash

TINY = {"train": 20, "test": 10}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny CIFAR-10 in a folder, with what people and systems leave beside it."""
    monkeypatch.setattr(cifar10, "COUNTS", TINY)
    root = tmp_path / "CIFAR-10-images-master"
    for part, count in TINY.items():
        for i in range(count):
            path = root / part / cifar10.CLASSES[i % 10] / f"{i:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%s %d" % (part.encode(), i))
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        (root / part / ".DS_Store").write_bytes(b"\0")
    (root / "README.md").write_text("about")
    (root / "train" / "cat" / "notes.txt").write_text("about cats")
    (root / "__MACOSX" / "train" / "cat").mkdir(parents=True)
    (root / "__MACOSX" / "train" / "cat" / "0003.jpg").write_bytes(b"\0\5\x16\7")
    return root


def unpacked(images: Path) -> Path:
    return images


def above(images: Path) -> Path:
    return images.parent


def zipped(images: Path) -> Path:
    """As GitHub gives it: one top folder."""
    whole = shutil.make_archive(str(images), "zip", images.parent, images.name)
    return Path(whole)


def tarred(images: Path) -> Path:
    """As a Mac gives it: names that begin with ./, resource forks beside them."""
    with tarfile.open(images.with_suffix(".tar.gz"), "w:gz") as members:
        members.add(images, ".")
    return images.with_suffix(".tar.gz")


@pytest.mark.parametrize("form", [unpacked, above, zipped, tarred])
def test_whatever_form_the_set_is_the_same(
    form: Callable[[Path], Path], images: Path, tmp_path: Path
):
    out = tmp_path.parent / f"{tmp_path.name}_{form.__name__}"
    cifar10.prepare(out, [form(images)])
    expected = {
        path.relative_to(images).as_posix(): path.read_bytes()
        for part in TINY
        for path in (images / part).rglob("0*.jpg")
    }
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.*g")}
    assert found == expected
    assert content_hash(out)


def test_another_archive_is_told_what_was_looked_for_and_what_is_there(
    images: Path, tmp_path: Path
):
    (images / "train").rename(images / "training")
    shutil.rmtree(images / "test")
    with pytest.raises(DataError) as caught:
        cifar10.prepare(tmp_path / "out", [images])
    said = str(caught.value)
    assert "looked for train/<class>/<image> and test/<class>/<image>" in said
    assert "there is README.md, training" in said
    assert not (tmp_path / "out").exists()


def test_two_sets_in_one_archive_are_not_mixed(images: Path, tmp_path: Path):
    os.rename(images / "test", tmp_path / "test")
    with pytest.raises(DataError, match="is not CIFAR-10: looked for"):
        cifar10.prepare(tmp_path / "out", [tmp_path])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../outside.jpg", "leaves the folder"),
        ("/outside.jpg", "leaves the folder"),
        ("train/cat/link.jpg", "is a link"),
    ],
)
def test_a_zip_file_cannot_reach_elsewhere(name: str, why: str, images: Path, tmp_path: Path):
    source = zipped(images)
    with zipfile.ZipFile(source, "a") as archive:
        info = zipfile.ZipInfo(name)
        if name.endswith("link.jpg"):
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=rf"cannot be unpacked: .* {why}"):
        cifar10.prepare(tmp_path / "out", [source])
    assert not (tmp_path / "out").exists()
