"""Files that cannot be read: named, or replaced and counted, without losing a batch."""

import os
import shutil
import stat
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from tests.data.test_images import (
    EVAL,
    TRAIN,
    OneProcess,
    normalized,
    read_part,
    settings,
    write_set,
)
from ttt.data import cached, dali, resident
from ttt.data.order import train_rows
from ttt.errors import DataError
from ttt.protocols import Shard

LOADERS = pytest.mark.parametrize("loader", [dali, resident], ids=["dali", "resident"])


def empty(path):
    path.write_bytes(b"")


def junk(path):
    path.write_bytes(b"no image at all " * 40)


def cut_png(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_jpeg(path):
    image = Image.open(path)
    path.unlink()
    path = path.with_suffix(".jpg")
    image.save(path)
    cut_png(path)
    return path


def gone(path):
    path.unlink()
    path.symlink_to("/nowhere/at/all.png")


def unreadable(path):
    path.unlink()
    os.mknod(path, 0o600 | stat.S_IFSOCK)  # root may read any file; nobody may read a socket


DAMAGES = pytest.mark.parametrize("damage", [empty, junk, cut_png, cut_jpeg, gone, unreadable])
PARTS = pytest.mark.parametrize("part", ["train", "test"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def root(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "set")


def make(loader, root, **changes):
    return loader.Images(world=OneProcess(), channels_last=False, **settings(root, **changes))


def read(images, part, steps):
    if part == "test":
        return list(images.eval_with_ids(Shard()))
    return list(islice(images.train_with_ids(Shard(), 1), steps))


def damage_some(root, part, damage, ids):
    """Damage samples and return their paths as they are afterwards."""
    paths, _, _ = read_part(root, part)
    return [damage(paths[i]) or paths[i] for i in ids]


@LOADERS
@PARTS
@DAMAGES
def test_an_unreadable_file_is_named(loader, part, damage, root):
    # In a large batch: DALI parses more than 32 files in parallel, which has its own failures.
    (path,) = damage_some(root, part, damage, [11])
    images = make(loader, root, global_batch=TRAIN, eval_batch=TRAIN)
    with pytest.raises(DataError) as caught:
        read(images, part, TRAIN)
    assert str(path) in str(caught.value)
    assert "data.on_error=skip" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(empty, "empty"), (gone, "no such file"), (junk, "no image"), (cut_png, "truncated")],
)
def test_the_reason_is_given(damage, reason, root):
    damage_some(root, "train", damage, [3])
    with pytest.raises(DataError, match=reason):
        read(make(dali, root), "train", TRAIN)


@LOADERS
@DAMAGES
def test_training_goes_on_with_a_neighbour(loader, damage, root, sound):
    bad = [4, 5, 30]
    damage_some(root, "train", damage, bad)
    _, sources, source_labels = read_part(sound, "train")
    images = make(loader, root, on_error="skip")
    images.synthetic(Shard())
    expected = islice(train_rows(seed=1, samples=TRAIN, global_batch=8, shard=Shard()), 15)
    replaced = 0
    for batch, rows in zip(read(images, "train", 15), expected, strict=True):
        np.testing.assert_array_equal(batch.ids, rows.ids)  # none lost, none twice
        for pixels, label, i in zip(batch.pixels.numpy(), batch.labels, batch.ids, strict=True):
            if i in bad:
                replaced += 1
                # Streamed, the neighbour is one of the batch; resident, one of the decoded chunk.
                near = batch.ids if loader is dali else range(TRAIN)
                twins = [k for k in near if np.allclose(pixels, normalized(sources[k]), atol=1e-5)]
                assert len(twins) == 1
                assert twins[0] not in bad
                assert label == source_labels[twins[0]]
            else:
                np.testing.assert_allclose(pixels, normalized(sources[i]), atol=1e-5)
                assert label == source_labels[i]
    assert replaced > len(bad)  # more than an epoch was read ...
    assert len(images.skipped()) == len(bad)  # ... and each file counted once


@LOADERS
@DAMAGES
def test_evaluation_counts_a_replaced_sample_as_wrong_and_once(loader, damage, root, sound):
    bad = [0, 6, EVAL - 2]
    damage_some(root, "test", damage, bad)
    _, sources, source_labels = read_part(sound, "test")
    images = make(loader, root, on_error="skip")
    for _ in range(2):
        batches = read(images, "test", None)
        assert [i for batch in batches for i in batch.ids.tolist()] == list(range(EVAL))
        labels = [label for batch in batches for label in batch.labels.tolist()]
        assert labels == [-1 if i in bad else source_labels[i] for i in range(EVAL)]
        pixels = np.concatenate([batch.pixels.numpy() for batch in batches])
        for i in set(range(EVAL)) - set(bad):
            np.testing.assert_allclose(pixels[i], normalized(sources[i]), atol=1e-5)
        assert len(images.skipped()) == len(bad)


@LOADERS
@PARTS
def test_a_batch_of_unreadable_files_ends_the_run(loader, part, root):
    count = {"train": TRAIN, "test": EVAL}[part]
    damage_some(root, part, junk, range(count))
    with pytest.raises(DataError, match="none of the"):
        read(make(loader, root, on_error="skip"), part, 3)


@LOADERS
def test_a_batch_of_which_nothing_can_be_read_is_replaced_from_elsewhere(loader, root, sound):
    bad = [EVAL - 2, EVAL - 1]  # the last of two shards' 9 and 8 samples, in batches of 4
    damage_some(root, "test", junk, bad)
    _, _, source_labels = read_part(sound, "test")
    images = make(loader, root, on_error="skip", eval_batch=4)
    seen = [batch for _ in range(2) for batch in images.eval_with_ids(Shard(0, 2))]
    assert [len(batch.ids) for batch in seen] == [4, 4, 1] * 2  # what the last one has is bad
    labels = [label for batch in seen[3:] for label in batch.labels.tolist()]
    assert labels == [*source_labels[0 : EVAL - 1 : 2], -1]
    assert len(images.skipped()) == 1


@pytest.mark.parametrize("kept", [5, TRAIN], ids=["some", "all"])
def test_the_caching_loader_replaces_and_counts_them_too(kept, root, sound):
    """Also where a sample is all that is missing of a batch, and so decoded by itself."""
    bad = [4, 5, 30]
    damage_some(root, "train", junk, bad)
    _, sources, source_labels = read_part(sound, "train")
    megabytes = kept * 3 * 12 * 12 / 1e6
    images = make(cached, root, on_error="skip", cache_mb=megabytes, global_batch=2)
    images.synthetic(Shard())
    steps = 3 * TRAIN
    expected = islice(train_rows(seed=1, samples=TRAIN, global_batch=2, shard=Shard()), steps)
    for batch, rows in zip(read(images, "train", steps), expected, strict=True):
        np.testing.assert_array_equal(batch.ids, rows.ids)
        for pixels, label, i in zip(batch.pixels.numpy(), batch.labels, batch.ids, strict=True):
            twins = [
                k for k in range(TRAIN) if np.allclose(pixels, normalized(sources[k]), atol=1e-5)
            ]
            assert len(twins) == 1
            assert twins[0] not in bad if i in bad else twins == [i]
            assert label == source_labels[twins[0]]
    assert len(images.skipped()) == len(bad)


@DAMAGES
def test_a_random_crop_names_the_file_too(damage, root):
    (path,) = damage_some(root, "train", damage, [7])
    images = make(dali, root, augment="random_resized_crop", global_batch=TRAIN)
    with pytest.raises(DataError, match=str(path)):
        read(images, "train", 5)


def test_many_missing_files_take_no_decoder_each(root, monkeypatch):
    """Each takes a tenth of a second to build: data that are deleted are told at once."""
    images = make(dali, root, global_batch=TRAIN)
    stream = images.train_with_ids(Shard(), 1)
    next(stream)
    shutil.rmtree(root / "train")
    built = []
    monkeypatch.setattr(images._train, "_build", lambda: built.append(1))
    with pytest.raises(DataError, match=r"train/\S+ cannot be read: there is no such file"):
        list(islice(stream, TRAIN))
    assert built == []


def test_a_set_that_is_removed_is_named(root):
    images = make(dali, root, on_error="skip")
    stream = images.train_with_ids(Shard(), 1)
    next(stream)
    root.rename(root.parent / "away")
    with pytest.raises(DataError, match=f"data.root={root} was removed while the run"):
        list(islice(stream, TRAIN))


def test_skipped_files_of_both_parts_are_added_up(root):
    damage_some(root, "train", empty, [1])
    damage_some(root, "test", junk, [1, 2])
    images = make(dali, root, on_error="skip")
    assert images.skipped() == frozenset()
    read(images, "train", 5)
    read(images, "test", None)
    assert len(images.skipped()) == 3
