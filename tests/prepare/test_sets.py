"""Prepared data sets: whole or absent, the right size, the same every time."""

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ttt.errors import DataError, MissingExtra
from ttt.prepare import cifar10, criteo, digits
from ttt.prepare.folder import MANIFEST, content_hash, is_complete, is_prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits") / "deep" / "digits"
    seen = []
    digits.prepare(out, (), lambda done, total: seen.append((done, total)))
    assert seen == [(i, 1797) for i in range(1, 1798)]
    return out


def test_every_digit_is_written_once_and_unharmed(prepared):
    source = load_digits()
    paths = sorted(prepared.glob("*/*/*.png"), key=lambda path: path.name)
    assert [int(path.stem) for path in paths] == list(range(1797))
    assert [int(path.parent.name) for path in paths] == source.target.tolist()
    for path, pixels in zip(paths, source.images, strict=True):
        with Image.open(path) as image:
            np.testing.assert_allclose(np.asarray(image) / 255 * 16, pixels, atol=16 / 255 / 2)


def test_the_split_is_fair(prepared):
    counts = {
        part: np.array([len(list((prepared / part / str(d)).iterdir())) for d in range(10)])
        for part in ("train", "test")
    }
    assert (counts["train"].sum(), counts["test"].sum()) == (1437, 360)
    share = (counts["train"] + counts["test"]) * 360 / 1797
    assert np.abs(counts["test"] - share).max() <= 1
    # The set is ordered by writer: both ends of it must be in the test part.
    places = np.array([int(path.stem) for path in (prepared / "test").glob("*/*.png")])
    assert np.histogram(places, bins=6, range=(0, 1797))[0].min() > 40


def test_the_manifest_describes_the_set(prepared, tmp_path):
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert manifest["counts"] == {"train": 1437, "test": 360}
    assert manifest["sha256"] == content_hash(prepared)
    digits.prepare(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "manifest.json").read_text()) == manifest


def test_a_complete_set_is_left_alone(prepared):
    before = prepared.stat().st_mtime_ns
    digits.prepare(prepared, (), lambda done, total: pytest.fail("prepared again"))
    assert prepared.stat().st_mtime_ns == before


def test_an_interrupted_preparation_leaves_nothing(tmp_path):
    def interrupt(done, total):
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digits.prepare(tmp_path / "set", (), interrupt)
    assert list(tmp_path.iterdir()) == []


def test_two_preparations_at_once_end_with_one_set(tmp_path):
    def meanwhile(done, total):
        if done == 50:
            os.getpid = lambda: 1  # the other process
            try:
                digits.prepare(tmp_path / "set")
            finally:
                os.getpid = own

    own = os.getpid
    digits.prepare(tmp_path / "set", (), meanwhile)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert content_hash(tmp_path / "set")


def test_something_else_in_the_way_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="--out DIR"):
        digits.prepare(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "an extension"}')
    with pytest.raises(DataError, match="--out DIR"):
        digits.prepare(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("module", "package"), [("PIL", "pillow"), ("sklearn", "scikit-learn")])
def test_a_missing_extra_says_what_to_install(module, package, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"{package}.*pip install 'time-to-train\[digits\]'"):
        digits.prepare(tmp_path / "set")


def archive(path, counts, extra=()):
    """A tiny archive laid out like CIFAR-10's."""
    with tarfile.open(path, "w:gz") as members:
        for part, count in counts.items():
            for i in range(count):
                member = tarfile.TarInfo(f"{part}/{cifar10.CLASSES[i % 10]}/{i:04d}.jpg")
                member.size = 3
                members.addfile(member, io.BytesIO(b"%03d" % i))
        for member in extra:
            members.addfile(member)
    return path


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 50, "test": 10})
    return cifar10.COUNTS


def test_cifar10_is_unpacked_whole(tiny, tmp_path):
    seen = []
    source = archive(tmp_path / "a.tar.gz", tiny)
    cifar10.prepare(tmp_path / "set", [source], lambda *progress: seen.append(progress))
    assert seen[-1] == (60, 60)
    assert len(list((tmp_path / "set" / "train" / "cat").iterdir())) == 5
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest == {
        "source": "a.tar.gz",
        "counts": tiny,
        "sha256": content_hash(tmp_path / "set"),
    }
    source.unlink()
    cifar10.prepare(tmp_path / "set", [source])  # there already: the archive is not needed


def upward():
    return tarfile.TarInfo("../outside.jpg")


def link():
    member = tarfile.TarInfo("train/cat/link.jpg")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


def extra_class():
    return tarfile.TarInfo("train/cow/0.jpg")


@pytest.mark.parametrize(
    ("counts", "extra", "said"),
    [
        ({"train": 49, "test": 10}, [], "49 files for train, 50 expected"),
        ({"train": 50}, [], "none in test"),
        ({"train": 50, "test": 10}, [upward()], "cannot be unpacked"),
        ({"train": 50, "test": 10}, [link()], "cannot be unpacked"),
        ({"train": 50, "test": 10}, [extra_class()], "cow"),
    ],
)
def test_another_archive_is_refused_and_leaves_nothing(counts, extra, said, tiny, tmp_path):
    source = archive(tmp_path / "a.tar.gz", counts, extra)
    with pytest.raises(DataError, match=said):
        cifar10.prepare(tmp_path / "set", [source])
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("damage", ["absent", "no archive", "cut", "damaged"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(damage, tiny, tmp_path):
    source = archive(tmp_path / "a.tar.gz", tiny)
    content = bytearray(source.read_bytes())
    if damage == "absent":
        source.unlink()
    elif damage == "no archive":
        source.write_bytes(b"not a tar file" * 100)
    elif damage == "cut":
        source.write_bytes(content[: len(content) // 2])
    else:
        content[200:260] = bytes(60)
        source.write_bytes(content)
    with pytest.raises(DataError, match=str(source)):
        cifar10.prepare(tmp_path / "set", [source])
    assert not (tmp_path / "set").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {Path(source).name}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe{"])
def test_a_damaged_manifest_is_another_set_and_no_traceback(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match="remove it"):
        is_complete(tmp_path, {"train": 1})
    with pytest.raises(DataError, match="remove it"):
        is_prepared(tmp_path, {"source": "mine"})
    with pytest.raises(DataError, match="remove it"):
        criteo.is_prepared(tmp_path, "days")
