"""Shards: the folder's batches from every format; others read ours, and we read others'."""

import gc
import resource
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from nvidia.dali import fn, pipeline_def, tfrecord

from tests.data.test_images import CLASSES, EVAL, TRAIN, settings, write_set
from tests.data.test_loaders import PHOTOS, make
from ttt.data import dali, decoder, resident, shards
from ttt.data.formats import Sample, pack_recordio
from ttt.data.guard import guarded
from ttt.data.images import ImageSet
from ttt.errors import DataError
from ttt.prepare import imagenet
from ttt.protocols import Shard

FORMATS = ("tfrecord", "webdataset", "recordio")
EVERY = pytest.mark.parametrize("kind", FORMATS)
CUT = {"augment": "random_resized_crop", "flip": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_set(tmp_path_factory.mktemp("set"), sizes=PHOTOS, smooth=True)
    (root / "test").rename(root / "val")
    return root


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    """The set in every format, in the folder's order, in 3 files and 1."""
    home = tmp_path_factory.mktemp("packed")
    for kind in FORMATS:
        imagenet.prepare(home / kind, [folder], format=kind, shards=3, in_order=True)
    return home


def images(loader, root, shard=None, **changes):
    return make(loader, root, shard, **({"eval_dir": "val"} | changes))


def train(loader, root, steps, shard=None, start=0, **changes):
    shard = shard or Shard()
    loaded = images(loader, root, shard, **changes)
    return list(islice(loaded.train_with_ids(shard, 5, start=start), steps))


def assert_same(batches, others):
    for one, other in zip(batches, others, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.ids, other.ids)


@EVERY
@pytest.mark.parametrize("start", [0, 11])
def test_batches_are_those_of_the_folder(kind, start, folder, packed):
    for i, count in ((0, 1), (0, 2), (1, 2)):
        where = {"steps": 12, "shard": Shard(i, count), "start": start}
        expected = train(dali, folder, **where, **CUT)
        assert_same(train(dali, packed / kind, format=kind, **where, **CUT), expected)


@EVERY
def test_evaluation_and_the_resident_loader_read_them_too(kind, folder, packed):
    for loader in (dali, resident):
        plain, sharded = (
            images(loader, root, format=form, eval_resize=16)
            for root, form in ((folder, "folder"), (packed / kind, kind))
        )
        assert_same(
            list(sharded.eval_with_ids(Shard(1, 2))), list(plain.eval_with_ids(Shard(1, 2)))
        )
        assert_same(
            list(islice(sharded.train_with_ids(Shard(), 2), 6)),
            list(islice(plain.train_with_ids(Shard(), 2), 6)),
        )


def read_by_dali(kind, file, count):
    """Every image and class of a shard, by DALI's own reader of the format."""
    path, index = str(file), str(file.with_suffix(".idx"))

    @pipeline_def(batch_size=count, num_threads=1, device_id=None)
    def pipeline():
        if kind == "webdataset":
            return tuple(fn.readers.webdataset(paths=path, index_paths=index, ext=["png", "cls"]))
        if kind == "recordio":
            return tuple(fn.readers.mxnet(path=[path], index_path=[index]))
        features = {
            "image/encoded": tfrecord.FixedLenFeature((), tfrecord.string, ""),
            "image/class/label": tfrecord.FixedLenFeature([1], tfrecord.int64, -1),
        }
        read = fn.readers.tfrecord(path=path, index_path=index, features=features)
        return tuple(read.values())

    built = pipeline()
    built.build()
    encoded, labels = built.run()
    for i in range(count):
        label = np.array(labels[i])
        number = int(bytes(label)) if kind == "webdataset" else int(label.reshape(-1)[0])
        yield bytes(np.array(encoded[i])), number - (kind == "tfrecord")


@EVERY
def test_dali_reads_what_we_wrote(kind, folder, packed):
    sources = sorted((folder / "train").glob("*/*"))
    expected = [(path.read_bytes(), int(path.parent.name[-1])) for path in sources]
    files = sorted(p for p in (packed / kind / "train").iterdir() if p.suffix != ".idx")
    bounds = [TRAIN * i // 3 for i in range(4)]
    for file, (first, end) in zip(files, pairwise(bounds), strict=True):
        assert list(read_by_dali(kind, file, end - first)) == expected[first:end]


def test_dali_reads_a_record_that_we_wrote_in_parts(folder, tmp_path):
    """RecordIO cuts a record wherever its content holds the mark that records begin with."""
    magic = (0xCED7230A).to_bytes(4, "little")
    image = next((folder / "train" / "class_0").iterdir()).read_bytes()
    images_ = [
        image + bytes(-len(image) % 4) + magic + tail for tail in (b"", b"x", magic, b"four")
    ]
    content = lines = b""
    for i, one in enumerate(images_):
        record = pack_recordio(Sample(one, i, "a/b", i), len(content))
        content, lines = content + record.content, lines + record.line.encode() + b"\n"
    (tmp_path / "train.rec").write_bytes(content)
    (tmp_path / "train.idx").write_bytes(lines)
    expected = list(zip(images_, range(4), strict=True))
    assert list(read_by_dali("recordio", tmp_path / "train.rec", 4)) == expected


def test_indexes_are_those_of_dalis_tools(packed, tmp_path):
    import wds2idx

    index = tmp_path / "made.idx"
    tool = Path(sys.executable).parent / "tfrecord2idx"
    for path in (packed / "tfrecord" / "train").glob("*.tfrecord"):
        subprocess.run([sys.executable, str(tool), str(path), str(index)], check=True)
        assert path.with_suffix(".idx").read_text() == index.read_text()
    for path in (packed / "webdataset" / "train").glob("*.tar"):
        with wds2idx.IndexCreator(str(path), str(index), verbose=False) as creator:
            creator.create_index()
        assert path.with_suffix(".idx").read_text() == index.read_text()


def test_files_of_others_are_found_by_how_their_names_begin(packed, tmp_path):
    """ImageNet's TFRecords have no suffix and lie in one folder, and so do MXNet's two files."""
    for part, name in (("train", "train"), ("val", "validation")):
        for path in (packed / "tfrecord" / part).iterdir():
            plain = path.name.replace(".tfrecord", "").replace(part, name, 1)
            (tmp_path / plain).write_bytes(path.read_bytes())
    found = images(dali, tmp_path, format="tfrecord", eval_dir="validation")
    assert sum(len(labels) for _, labels in found.eval(Shard())) == EVAL
    expected = train(dali, packed / "tfrecord", 5, format="tfrecord")
    assert_same(train(dali, tmp_path, 5, format="tfrecord"), expected)


def test_the_index_of_recordio_may_be_in_any_order(packed, tmp_path):
    for path in (packed / "recordio" / "train").iterdir():
        text = path.read_bytes()
        if path.suffix == ".idx":
            text = b"".join(reversed(text.splitlines(keepends=True)))
        (tmp_path / path.name).write_bytes(text)
    expected = train(dali, packed / "recordio", 5, format="recordio")
    assert_same(train(dali, tmp_path, 5, format="recordio"), expected)


def test_the_older_index_of_webdataset_has_no_names(packed, tmp_path):
    for path in (packed / "webdataset" / "train").iterdir():
        text = path.read_bytes()
        if path.suffix == ".idx":
            head, *lines = text.decode().splitlines()
            rows = [line.split() for line in lines]
            kept = [" ".join(row[:3] + row[4:7]) for row in rows]
            text = "\n".join([head.replace("v1.2", "v1.1"), *kept, ""]).encode()
        (tmp_path / path.name).write_bytes(text)
    expected = train(dali, packed / "webdataset", 5, format="webdataset")
    assert_same(train(dali, tmp_path, 5, format="webdataset"), expected)


def copied(packed, kind, tmp_path):
    for path in (packed / kind / "train").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return sorted(path for path in tmp_path.iterdir() if path.suffix != ".idx")


def listing(root, kind, **changes):
    settings_ = settings(root, format=kind, **changes)
    return shards.list_shards(ImageSet(**settings_), "train_dir", "train_samples")


@EVERY
def test_a_wrong_set_is_reported_with_what_to_type(kind, packed, tmp_path):
    def said():
        with pytest.raises(DataError) as caught:
            listing(tmp_path, kind)
        return str(caught.value)

    assert "finds no index" in said()
    assert f"--format {kind}" in said()
    files = copied(packed, kind, tmp_path)
    assert len(listing(tmp_path, kind)) == TRAIN
    moved = files[1].rename(tmp_path / "elsewhere")
    assert "neither" in said()
    moved.rename(files[1])
    content = files[2].read_bytes()
    files[2].write_bytes(content[: len(content) // 2])
    assert "cut short" in said() or kind == "recordio"  # its index does not know where it ends
    files[2].write_bytes(content)
    index = files[0].with_suffix(".idx")
    lines = index.read_text()
    index.write_text("not an index\n")
    assert f"{index} is no index of {files[0].name}" in said()
    index.write_text(lines)
    for path in (files[2], files[2].with_suffix(".idx")):
        path.unlink()
    assert "type data.train_samples=24" in said()


@EVERY
def test_a_damaged_record_is_named_or_replaced(kind, packed, tmp_path):
    files = copied(packed, kind, tmp_path)
    content = bytearray(files[0].read_bytes())
    known = listing(tmp_path, kind)
    at, end = int(known.at[4]), int(known.at[4] + known.length[4])
    content[at:end] = bytes(end - at)
    files[0].write_bytes(content)
    with pytest.raises(DataError) as caught:
        train(dali, tmp_path, 5, format=kind)
    assert f"{files[0]}, the record at byte {at}, cannot be read" in str(caught.value)
    assert "data.on_error=skip" in str(caught.value)
    loaded = images(dali, tmp_path, format=kind, on_error="skip")
    sound = train(dali, packed / kind, 5, format=kind)
    for one, other in zip(islice(loaded.train_with_ids(Shard(), 5), 5), sound, strict=True):
        good = torch.from_numpy(one.ids != 4)
        assert torch.equal(one.pixels[good], other.pixels[good])
        assert torch.equal(one.labels[good], other.labels[good])
    assert len(loaded.skipped()) == 1


def test_a_truncated_image_in_a_sound_record_is_named(folder, packed, tmp_path):
    files = copied(packed, "webdataset", tmp_path)
    content = files[0].read_bytes()
    image = min((folder / "train" / "class_0").iterdir()).read_bytes()
    files[0].write_bytes(content.replace(image[-40:], bytes(40)))
    with pytest.raises(DataError, match=r"record at byte \d+, cannot be read: it is truncated"):
        train(dali, tmp_path, 5, format="webdataset")


@EVERY
def test_classes_out_of_range_say_where_they_begin(kind, packed):
    first = 0 if kind == "tfrecord" else 1
    with pytest.raises(DataError, match=rf"data\.first_label={1 - first} if that"):
        train(dali, packed / kind, 5, format=kind, first_label=first)
    with pytest.raises(DataError, match=r"data\.classes=2"):
        train(dali, packed / kind, 5, format=kind, classes=CLASSES - 1)


@EVERY
def test_nothing_is_opened_before_it_is_asked_for_and_nothing_built_after(
    kind, packed, tmp_path, monkeypatch
):
    root = tmp_path / "set"
    with guarded(str(root)):
        loaded = images(dali, root, format=kind, **CUT)
        loaded.synthetic(Shard())
        batches, evaluation = loaded.train(Shard(), 1), loaded.eval(Shard())
    root.symlink_to(packed / kind)
    monkeypatch.setattr(decoder.Decoder, "_build", None)  # calling it would fail
    next(batches)
    assert sum(len(labels) for _, labels in evaluation) == EVAL


def test_closing_ends_the_threads_and_the_files(packed):
    def held():
        gc.collect()
        return [len(list(Path(f"/proc/self/{kind}").iterdir())) for kind in ("task", "fd")]

    images(dali, packed / "recordio", format="recordio").synthetic(Shard())
    threads, files = held()
    loaded = images(dali, packed / "recordio", format="recordio")
    batches = loaded.train(Shard(), 1)
    for _ in range(5):
        next(batches)
    assert held()[0] > threads
    assert held()[1] >= files + 3
    del batches
    loaded.close()
    assert held() <= [threads, files]


def test_more_files_than_a_process_may_open(packed, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, limits[1]))
        listing(packed / "recordio", "recordio")
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert soft > 40
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20, 20))
    with pytest.raises(DataError, match="ulimit -Hn"):
        listing(packed / "recordio", "recordio")
