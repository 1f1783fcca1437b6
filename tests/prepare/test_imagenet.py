"""Folders packed into shards: everything once, resumed, checked, and refused with a reason."""

import hashlib
import json
import os
import stat

import numpy as np
import pytest

from ttt.__main__ import main
from ttt.data.formats import parse_recordio, parse_tfrecord
from ttt.data.images import made_up_jpeg
from ttt.errors import DataError
from ttt.prepare import clothing10, imagenet

CLASSES = ("n01", "n02", "n03")


@pytest.fixture
def source(tmp_path):
    """30 training and 12 validation images, no two alike."""
    root = tmp_path / "source"
    for part, count in (("train", 30), ("val", 12)):
        for i in range(count):
            path = root / part / CLASSES[i % 3] / f"{part}_{i:03d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made_up_jpeg(8, 8) + b"%s %d" % (part.encode(), i))
    (root / "train" / "n01" / "notes.txt").write_text("no image")
    return root


def pack(source, out, progress=lambda done, total: None, **changes):
    options = {"format": "tfrecord", "shards": 4} | changes
    if options["format"] == "folder":
        del options["shards"]
    imagenet.prepare(out, [source], progress, **options)


def records(out, part, parse):
    """What the index of every shard leads to, in order."""
    for index in sorted((out / part).glob("*.idx")):
        [path] = (p for p in (out / part).glob(f"{index.stem}.*") if p != index)
        content = path.read_bytes()
        for line in index.read_text().splitlines():
            at = int(line.split()[0 if path.suffix == ".tfrecord" else 1])
            end = at + int(line.split()[1]) if path.suffix == ".tfrecord" else None
            image, label = parse(memoryview(content[at:end]))
            yield bytes(image), label


def sources(source, part):
    paths = sorted((source / part).glob("*/*.JPEG"))
    return [(path.read_bytes(), CLASSES.index(path.parent.name)) for path in paths]


def test_every_image_is_packed_once_and_shuffled(source, tmp_path):
    seen = []
    pack(source, tmp_path / "out", lambda *progress: seen.append(progress))
    found = [
        (image, label - 1) for image, label in records(tmp_path / "out", "train", parse_tfrecord)
    ]
    expected = sources(source, "train")
    assert sorted(found) == sorted(expected)
    assert found != expected
    labels = [label for _, label in found]
    assert max(np.diff(np.flatnonzero(np.array(labels) == 0))) < 12  # a mixture, no runs of a class
    val = [(image, label - 1) for image, label in records(tmp_path / "out", "val", parse_tfrecord)]
    assert val == sources(source, "val")
    assert seen[-1] == (42, 42)
    assert [done for done, _ in seen] == list(range(1, 43))


def test_the_seed_names_the_order(source, tmp_path):
    for name, options in {"a": {}, "b": {"seed": 1}, "c": {"in_order": True}}.items():
        pack(source, tmp_path / name, format="recordio", **options)
    orders = [list(records(tmp_path / name, "train", parse_recordio)) for name in "abc"]
    assert orders[0] != orders[1]
    assert orders[2] == sources(source, "train")


def test_the_manifest_says_what_is_there(source, tmp_path):
    out = tmp_path / "out"
    pack(source, out, format="webdataset")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["format"] == "webdataset"
    assert manifest["counts"] == {"train": 30, "val": 12}
    assert manifest["classes"] == list(CLASSES)
    assert sorted(manifest["files"]) == sorted(
        str(path.relative_to(out)) for path in out.glob("*/*.tar")
    )
    assert len(manifest["files"]) == 4 + 1
    for name, told in manifest["files"].items():
        content = (out / name).read_bytes()
        assert told["bytes"] == len(content)
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert sum(told["samples"] for told in manifest["files"].values()) == 42
    assert {path.name for path in out.iterdir()} == {"manifest.json", "train", "val"}


def test_an_interrupted_packing_goes_on_where_it_was(source, tmp_path):
    pack(source, tmp_path / "whole")
    out = tmp_path / "out"

    def interrupt(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, out, interrupt)
    assert not (out / "manifest.json").exists()
    complete = {path: path.stat().st_mtime_ns for path in (out / "train").glob("train-*")}
    assert len(complete) == 2 * 2  # two shards of four, with their indexes
    seen = []
    pack(source, out, lambda done, total: seen.append(done))
    assert seen[0] == 7  # of the first shard, at once
    assert all(path.stat().st_mtime_ns == before for path, before in complete.items())
    names = [path.relative_to(out) for path in sorted(out.glob("*/*"))]
    assert names == [p.relative_to(tmp_path / "whole") for p in sorted(tmp_path.glob("whole/*/*"))]
    for name in [*names, "manifest.json"]:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_complete_set_is_left_alone(source, tmp_path):
    for kind in ("recordio", "folder"):
        pack(source, tmp_path / kind, format=kind)
        pack(source, tmp_path / kind, lambda *_: pytest.fail("packed again"), format=kind)


@pytest.mark.parametrize("changes", [{"format": "recordio"}, {"shards": 5}, {"seed": 2}])
def test_something_else_in_the_way_is_not_overwritten(changes, source, tmp_path):
    pack(source, tmp_path / "out")
    with pytest.raises(DataError, match="--out DIR"):
        pack(source, tmp_path / "out", **changes)
    (source / "train" / "n01" / "one_more.jpg").write_bytes(made_up_jpeg(8, 8))
    with pytest.raises(DataError, match="--out DIR"):
        pack(source, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="--out DIR"):
        pack(source, tmp_path / "mine")


def loose(source):
    """Validation images as image-net.org gives them: in one folder, with their classes apart."""
    names = []
    for path in sorted((source / "val").glob("*/*"), key=lambda path: path.name):
        names.append(path.parent.name)
        path.rename(source / "val" / path.name)
    for name in CLASSES:
        (source / "val" / name).rmdir()
    return names


@pytest.mark.parametrize("kind", ["folder", "recordio"])
def test_loose_validation_images_are_sorted_by_a_list(kind, source, tmp_path):
    expected = sources(source, "val")
    names = loose(source)
    with pytest.raises(DataError, match=r"12 images and no class folders; type --val-labels FILE"):
        pack(source, tmp_path / "out", format=kind)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(names) + "\n")
    pack(source, tmp_path / "out", format=kind, val_labels=labels)
    if kind == "folder":
        assert sources(tmp_path / "out", "val") == expected
        assert sources(tmp_path / "out", "train") == sources(source, "train")
    else:
        assert sorted(records(tmp_path / "out", "val", parse_recordio)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [("n01\n" * 11, "has 11 lines and .* has 12 images"), ("n01\n" * 11 + "n04", "line 12: n04")],
)
def test_a_wrong_list_is_told(text, said, source, tmp_path):
    loose(source)
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        pack(source, tmp_path / "out", val_labels=tmp_path / "labels.txt")


def empty(source):
    (source / "train" / "n02" / "train_001.JPEG").write_bytes(b"")


def page(source):
    (source / "val" / "n02" / "val_001.JPEG").write_bytes(b"<html>not found</html>")


def locked(source):
    path = source / "train" / "n02" / "train_001.JPEG"
    path.unlink()
    os.mknod(path, 0o600 | stat.S_IFSOCK)  # what cannot be read even by root


def no_val(source):
    (source / "val").rename(source / "validation")


def another_class(source):
    (source / "val" / "n03").rename(source / "val" / "n04")


def bare_class(source):
    (source / "train" / "n04").mkdir()
    (source / "val" / "n04").mkdir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (empty, "train_001.JPEG is no image: it is empty"),
        (page, "val_001.JPEG is no image: it does not begin"),
        (locked, "train_001.JPEG cannot be read"),
        (no_val, "val is no folder"),
        (another_class, "these 2 are in one only: n03, n04"),
        (bare_class, "hold none: n04"),
    ],
)
def test_a_wrong_source_is_told(damage, said, source, tmp_path):
    damage(source)
    with pytest.raises(DataError, match=said):
        pack(source, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_command_takes_its_options(source, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["data", "imagenet", "--src", str(source), "--out", str(out)]
    assert main([*words, "--format", "recordio", "--shards", "2", "--in-order"]) == 0
    assert len(list((out / "train").glob("*.rec"))) == 2
    assert f"ttt run benchmark=resnet data.root={out}" in capsys.readouterr().out
    assert main(["data", "imagenet", "--src", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "allowed: a folder with train/<class>/" in capsys.readouterr().err
    assert main([*words, "--shards", "0"]) == 2


def test_clothing10_is_unpacked_whole(shared, tmp_path):
    clothing10.prepare(tmp_path / "set", [shared / "data" / "clothing10" / "clothing10.tar"])
    for part, count in clothing10.COUNTS.items():
        assert len(list((tmp_path / "set" / part).glob("*/*.jpg"))) == count
