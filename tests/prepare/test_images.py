"""Images of one's own: whatever they lie in becomes two parts, and all that is wrong is told."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttt.__main__ import main
from ttt.errors import ConfigError, DataError
from ttt.prepare import imagenet, images, split

CLASSES = {"cat": 12, "dog": 9, "owl": 2}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photographs in class folders, no two alike, and what systems leave beside them."""
    folder = tmp_path / "photos"
    for place, (name, count) in enumerate(CLASSES.items()):
        for number in range(count):
            drawn(folder / name / f"{number}.png", (10 * number, 80 * place, 0), 20 + number)
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
    return folder


def drawn(path: Path, colour: tuple[int, int, int], side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side + 5, side), colour).save(path)


def found(out: Path, part: str) -> dict[str, bytes]:
    folder = out / part
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def test_a_share_of_each_class_is_held_out_and_nothing_is_lost(photos, tmp_path):
    out = tmp_path / "out"
    remarks = images.prepare(out, [photos])
    train, held_out = found(out, "train"), found(out, "test")
    everything = found(photos, ".")
    del everything["cat/._0.png"]
    assert train | held_out == everything
    assert not set(train) & set(held_out)
    counted = [sum(name.startswith(f"{kind}/") for name in held_out) for kind in CLASSES]
    assert counted == [2, 2, 1]  # a fifth, one at least
    told = manifest(out)
    assert told["counts"] == {"train": 18, "test": 5}
    assert told["classes"] == ["cat", "dog", "owl"]
    assert told["sizes"] == {"shorter": [20, 24, 31], "longer": [25, 29, 36]}
    assert told["largest_class"] == 2 / 5
    assert "held out for the evaluation: 5 of 23 images" in remarks[0]


def test_the_split_is_the_same_for_a_seed_and_another_for_another(photos, tmp_path):
    parts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        images.prepare(tmp_path / name, [photos], seed=seed)
        parts.append(set(found(tmp_path / name, "test")))
    assert parts[0] == parts[1] != parts[2]


def test_colours_are_those_of_the_images(tmp_path):
    for kind, level in (("dark", 0), ("light", 255)):
        for number in range(2):
            drawn(tmp_path / "src" / kind / f"{number}.png", (level, 51, number), 8)
    images.prepare(tmp_path / "out", [tmp_path / "src"])
    told = manifest(tmp_path / "out")
    assert told["mean"] == [0.5, 0.2, pytest.approx(0.5 / 255, abs=1e-4)]
    assert told["std"] == [0.5, 0.01, 0.01]  # never 0: pixels are divided by it


def zipped(photos: Path) -> Path:
    return Path(shutil.make_archive(str(photos), "zip", photos.parent, photos.name))


def tarred(photos: Path) -> Path:
    with tarfile.open(photos.with_suffix(".tar.gz"), "w:gz") as members:
        members.add(photos, ".")
    return photos.with_suffix(".tar.gz")


@pytest.mark.parametrize("form", [zipped, tarred])
def test_an_archive_gives_the_same_and_leaves_nothing_beside(form, photos, tmp_path):
    images.prepare(tmp_path / "a" / "folder", [photos])
    images.prepare(tmp_path / "a" / "archive", [form(photos)])
    for part in ("train", "test"):
        assert found(tmp_path / "a" / "archive", part) == found(tmp_path / "a" / "folder", part)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"folder", "archive"}


def test_parts_that_are_there_are_kept(photos, tmp_path):
    both = tmp_path / "both" / "set"  # with a folder around
    shutil.copytree(photos, both / "training")
    for name in CLASSES:
        drawn(both / "val" / name / "new.png", (1, 2, 3), 9)
    images.prepare(tmp_path / "out", [tmp_path / "both"])
    assert manifest(tmp_path / "out")["counts"] == {"train": 23, "test": 3}
    shutil.copytree(both / "val", both / "test")
    with pytest.raises(ConfigError, match="2 to evaluate on; type --eval test"):
        images.prepare(tmp_path / "other", [tmp_path / "both"])
    images.prepare(tmp_path / "other", [tmp_path / "both"], evaluation="val")
    (both / "val" / "owl").rename(both / "val" / "emu")
    with pytest.raises(ConfigError, match="in one only: emu, owl"):
        images.prepare(tmp_path / "third", [tmp_path / "both"], evaluation="val")


def test_shards_hold_every_image(photos, tmp_path):
    images.prepare(tmp_path / "out", [photos], format="webdataset", shards=2)
    told = manifest(tmp_path / "out")
    assert sum(file["samples"] for file in told["files"].values()) == 23
    assert told["format"] == "webdataset"
    assert len(list((tmp_path / "out" / "train").glob("train-*.tar"))) == 2
    assert list((tmp_path / "out" / "test").glob("test-*.tar"))


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_written(photos, tmp_path):
    (photos / "emu").mkdir()
    (photos / "cat" / "page.jpg").write_text("<html>not found</html>")
    (photos / "dog" / "empty.png").touch()
    (photos / "dog" / "cut.png").write_bytes((photos / "dog" / "1.png").read_bytes()[:-9])
    for source in (photos, zipped(photos)):
        with pytest.raises(ConfigError) as caught:
            images.prepare(tmp_path / "out" / "set", [source])
        told = caught.value.problems
        assert any(f"{source}" in one and "page.jpg" in one for one in told)
        assert any("empty.png cannot be read: the file is empty" in one for one in told)
        assert any("cut.png cannot be read: it is truncated" in one for one in told)
        assert not any("/.set." in one for one in told)  # where it was unpacked to
        assert source != photos or any("hold none: emu" in one for one in told)
        assert not list(tmp_path.glob("out/*"))


def one_class(photos):
    shutil.rmtree(photos / "dog")
    shutil.rmtree(photos / "owl")


def single(photos):
    (photos / "owl" / "0.png").unlink()


def flat(photos):
    for path in photos.glob("cat/*.png"):
        path.rename(photos / path.name)


@pytest.mark.parametrize(
    ("damage", "options", "said"),
    [
        (one_class, {}, "has the one class folder cat; two classes are needed"),
        (single, {}, "1 have fewer: owl"),
        (flat, {}, "12 images outside of class folders"),
        (str, {"evaluation": "val"}, "leave --eval out"),
        (str, {"eval_share": 1.0}, "--eval-share 1 is no share"),
        (str, {"seed": -1}, "--seed -1 is not allowed"),
    ],
)
def test_what_is_no_set_is_told(damage, options, said, photos, tmp_path):
    damage(photos)
    with pytest.raises(ConfigError, match=said):
        images.prepare(tmp_path / "out", [photos], **options)


def test_shards_of_a_format_without_any_are_refused(photos, tmp_path):
    with pytest.raises(ConfigError, match="--shards 2 has no effect with --format folder"):
        images.prepare(tmp_path / "out", [photos], shards=2)
    with pytest.raises(ConfigError, match="--shards 2 has no effect with --format folder"):
        imagenet.prepare(tmp_path / "out", [photos], shards=2, format="folder")
    assert not (tmp_path / "out").exists()


def test_what_no_loader_reads_is_told(photos, tmp_path):
    Image.new("RGB", (9, 9)).save(photos / "cat" / "moving.gif")
    remarks = images.prepare(tmp_path / "out", [zipped(photos)])
    assert any("left out: 1 .gif file, which" in remark for remark in remarks)


def test_another_set_in_the_way_is_left_alone(photos, tmp_path):
    images.prepare(tmp_path / "out", [photos])
    images.prepare(tmp_path / "out", [photos], lambda *_: pytest.fail("made again"))
    with pytest.raises(DataError, match="--out DIR"):
        images.prepare(tmp_path / "out", [photos], seed=3)  # as many, but others


def test_what_is_in_the_way_is_told_before_images_are_read(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_look", lambda *_: pytest.fail("images were read"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    with pytest.raises(DataError, match="is not what was asked for"):
        images.prepare(tmp_path / "out", [photos])


def test_a_set_that_is_there_already_is_called_so(photos, tmp_path, capsys):
    typed = ["data", "images", "--src", str(photos), "--out", str(tmp_path / "out")]
    for already in (False, True):
        assert main(typed) == 0
        said = capsys.readouterr().out
        assert (
            f"{tmp_path / 'out'} holds this set already; nothing was written" in said
        ) == already
        assert "next:  ttt new" in said


def test_a_split_by_class_leaves_something_in_both_parts():
    labels = np.repeat([0, 1, 2], [2, 3, 100])
    for share in (0.01, 0.5, 0.99):
        chosen = split.by_class(labels, share, seed=5)
        for label in range(3):
            assert 0 < chosen[labels == label].sum() < (labels == label).sum()
    with pytest.raises(DataError, match="single sample"):
        split.by_class(np.array([0, 0, 1]), 0.5, seed=0)
