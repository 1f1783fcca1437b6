"""Both image loaders: the same exact batches, whoever reads them and however they are decoded."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_images import (
    EVAL,
    SIZE,
    STD,
    TRAIN,
    OneProcess,
    normalized,
    read_part,
    settings,
    write_set,
)
from ttt.data import dali, resident
from ttt.data.order import crop_corners, epoch, flips
from ttt.protocols import Shard

PHOTOS = ((40, 56), (61, 33), (20, 20))
CROPS = {"augment": "pad_crop", "pad": 2, "flip": True}
LEVEL = 1 / 255 / min(STD)  # one grey level, normalized
LOADERS = pytest.mark.parametrize("loader", [dali, resident], ids=["dali", "resident"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_set(
        tmp_path_factory.mktemp("photos"), sizes=((40, 56), (61, 33), (20, 20)), smooth=True
    )


def make(loader, root, shard=None, *, channels_last=False, **changes):
    world = OneProcess(data=shard or Shard())
    return loader.Images(world=world, channels_last=channels_last, **settings(root, **changes))


def global_batches(loader, root, steps, shards, seed=5, **changes):
    """Per step: pixels, labels and ids of all shards, joined."""
    parts = []
    for i in range(shards):
        images = make(loader, root, Shard(i, shards), **changes)
        parts.append(list(islice(images.train_with_ids(Shard(i, shards), seed), steps)))
    for step in zip(*parts, strict=True):
        pixels, labels, ids = zip(*step, strict=True)
        yield torch.cat(pixels).numpy(), torch.cat(labels).numpy(), np.concatenate(ids)


@LOADERS
@pytest.mark.parametrize("shards", [1, 2, 4])
def test_every_sample_once_an_epoch(loader, shards, folder):
    epochs = 3
    steps = -(-epochs * TRAIN // 8)
    _, sources, source_labels = read_part(folder, "train")
    stream = []
    for pixels, labels, ids in global_batches(loader, folder, steps, shards):
        # The ids must be those of the pixels, or a histogram of them would prove nothing.
        np.testing.assert_allclose(pixels, normalized([sources[i] for i in ids]), atol=1e-5)
        assert labels.tolist() == [source_labels[i] for i in ids]
        stream += ids.tolist()
    for number in range(epochs):
        histogram = np.bincount(stream[number * TRAIN : (number + 1) * TRAIN], minlength=TRAIN)
        assert (histogram == 1).all()
    assert stream[:TRAIN] != stream[TRAIN : 2 * TRAIN]


@pytest.mark.parametrize(
    ("loader", "changes"),
    [
        (dali, CROPS),
        (resident, CROPS),
        (dali, {"augment": "random_resized_crop", "flip": True}),
    ],
)
def test_two_shards_read_what_one_reads(loader, changes, photos):
    alone = global_batches(loader, photos, 12, 1, **changes)
    for one, two in zip(alone, global_batches(loader, photos, 12, 2, **changes), strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


@LOADERS
def test_the_seed_alone_names_the_order(loader, folder):
    images = make(loader, folder, **CROPS)

    def first_batches(seed):
        batches = islice(images.train_with_ids(Shard(), seed), 6)
        return [(batch.pixels.clone(), batch.ids.tolist()) for batch in batches]

    once, again, other = first_batches(1), first_batches(1), first_batches(2)
    assert all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(once, again, strict=True))
    assert [ids for _, ids in once] != [ids for _, ids in other]


def test_loaders_agree(photos):
    shards = [list(global_batches(loader, photos, 12, 1, **CROPS)) for loader in (dali, resident)]
    for streamed, stored in zip(*shards, strict=True):
        np.testing.assert_allclose(streamed[0], stored[0], atol=1e-5)
        np.testing.assert_array_equal(streamed[1], stored[1])
    for changes in ({}, {"eval_resize": 14}):
        evaluations = [
            [batch[:2] for batch in make(loader, photos, **changes).eval(Shard())]
            for loader in (dali, resident)
        ]
        for streamed, stored in zip(*evaluations, strict=True):
            torch.testing.assert_close(streamed[0], stored[0], atol=1e-5, rtol=0)
            assert torch.equal(streamed[1], stored[1])


@LOADERS
def test_crops_flips_and_normalization_are_right(loader, folder):
    _, sources, _ = read_part(folder, "train")
    draws = epoch(9, 0, TRAIN).draws
    corners, mirrored = crop_corners(draws, 2) + 2, flips(draws)
    assert set(mirrored) == {0, 1}
    grey = np.round(255 * np.array(settings(folder)["mean"])).astype(np.uint8)
    for batch in islice(make(loader, folder, **CROPS).train_with_ids(Shard(), 9), TRAIN // 8):
        for pixels, i in zip(batch.pixels, batch.ids, strict=True):
            padded = np.broadcast_to(grey, (SIZE + 4, SIZE + 4, 3)).copy()
            padded[2:-2, 2:-2] = sources[i]
            y, x = corners[i]
            crop = padded[y : y + SIZE, x : x + SIZE]
            expected = normalized(crop[:, ::-1] if mirrored[i] else crop)
            np.testing.assert_allclose(pixels, expected, atol=1e-5)


def test_random_resized_crops_are_right(photos):
    changes = {"augment": "random_resized_crop", "flip": True}
    _, sources, _ = read_part(photos, "train")
    draws = epoch(9, 0, TRAIN).draws.astype(np.float64)
    for batch in islice(make(dali, photos, **changes).train_with_ids(Shard(), 9), TRAIN // 8):
        for pixels, i in zip(batch.pixels.numpy(), batch.ids, strict=True):
            height, width = sources[i].shape[:2]
            share = 0.3 + 0.7 * draws[i, 3]
            low = max(0.75, share * width / height)
            high = min(1.3333, width / height / share)
            ratio = low * (high / low) ** draws[i, 4]
            h = min(max(round((share * height * width / ratio) ** 0.5), 1), height)
            w = min(max(round((share * height * width * ratio) ** 0.5), 1), width)
            top, left = int(draws[i, 0] * (height - h + 1)), int(draws[i, 1] * (width - w + 1))
            part = Image.fromarray(sources[i][top : top + h, left : left + w])
            scaled = np.asarray(part.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
            if draws[i, 2] < 0.5:
                scaled = scaled[:, ::-1]
            assert np.abs(pixels - normalized(scaled)).max() < 8 * LEVEL


@LOADERS
def test_evaluation_keeps_the_centre_of_the_scaled_image(loader, photos):
    _, sources, _ = read_part(photos, "test")
    for batch in make(loader, photos, eval_resize=16).eval_with_ids(Shard()):
        for pixels, i in zip(batch.pixels.numpy(), batch.ids, strict=True):
            height, width = sources[i].shape[:2]
            scale = 16 / min(height, width)
            shape = round(width * scale), round(height * scale)
            scaled = np.asarray(
                Image.fromarray(sources[i]).resize(shape, Image.Resampling.BILINEAR)
            )
            top, left = (np.array(scaled.shape[:2]) - SIZE) / 2
            crops = [
                normalized(scaled[y : y + SIZE, x : x + SIZE])
                for y in {int(top), int(top + 0.5)}
                for x in {int(left), int(left + 0.5)}
            ]  # an odd border has two middles
            assert min(np.abs(pixels - crop).max() for crop in crops) < 8 * LEVEL


@LOADERS
@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, EVAL + 3])
def test_evaluation_reads_every_sample_once(loader, shards, folder):
    _, sources, source_labels = read_part(folder, "test")
    ids = []
    for i in range(shards):
        images = make(loader, folder, Shard(i, shards), global_batch=8 * shards)
        made_up = images.synthetic(Shard(i, shards))
        runs = [list(images.eval_with_ids(Shard(i, shards))) for _ in range(2)]
        for batch, again in zip(*runs, strict=True):
            expected = normalized([sources[k] for k in batch.ids])
            np.testing.assert_allclose(batch.pixels, expected, atol=1e-5)
            assert batch.labels.tolist() == [source_labels[k] for k in batch.ids]
            assert torch.equal(batch.pixels, again.pixels)
            ids += batch.ids.tolist()
        assert {b.pixels.shape for b in runs[0]} == {pixels.shape for pixels, _ in made_up.eval}
    assert sorted(ids) == list(range(EVAL))


@LOADERS
def test_any_image_becomes_three_channels_of_the_right_size(loader, tmp_path):
    write_set(tmp_path)
    kinds = {
        "000.png": Image.new("L", (SIZE, SIZE), 200),
        "001.png": Image.new("RGBA", (SIZE, SIZE), (10, 20, 30, 0)),
        "002.png": Image.new("P", (SIZE, SIZE)),
        "003.jpg": Image.new("CMYK", (SIZE, SIZE)),
        "004.png": Image.new("RGB", (1, 1), (1, 2, 3)),
        "005.png": Image.new("RGB", (300, 2), (1, 2, 3)),
    }
    for name, image in kinds.items():
        (tmp_path / "test" / "class_0" / f"{name[:3]}.png").unlink()
        image.save(tmp_path / "test" / "class_0" / name)
    batches = list(make(loader, tmp_path, eval_batch=EVAL).eval(Shard()))
    pixels = batches[0][0]
    assert pixels.shape == (EVAL, 3, SIZE, SIZE)
    for place, colour in ((0, (200, 200, 200)), (1, (10, 20, 30)), (4, (1, 2, 3)), (5, (1, 2, 3))):
        expected = normalized(np.broadcast_to(np.uint8(colour), (SIZE, SIZE, 3)))
        np.testing.assert_allclose(pixels[place], expected, atol=1e-5)
