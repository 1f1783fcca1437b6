"""The caching loader: the streaming loader's batches, no image decoded more often than it must."""

from itertools import islice

import numpy as np
import pytest
import torch

from tests.data.test_images import TRAIN, write_set
from tests.data.test_loaders import CROPS, PHOTOS, make
from ttt.data import cached, dali, resident
from ttt.data.order import train_rows
from ttt.errors import ConfigError
from ttt.protocols import Shard

SIDE = 12 + 2 * 2
WHOLE = Shard()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("photos"), sizes=PHOTOS, smooth=True)


def megabytes(images):
    return (3 * SIDE**2 * images + 1) / 1e6


def batches(loader, root, steps=15, shard=WHOLE, start=0, **changes):
    images = make(loader, root, shard, **CROPS, **changes)
    images.synthetic(shard)
    return list(islice(images.train_with_ids(shard, 3, start=start), steps))


@pytest.mark.parametrize("kept", [1, 20, TRAIN, 10 * TRAIN])
@pytest.mark.parametrize("shards", [1, 2])
def test_batches_are_those_of_the_streaming_loader(kept, shards, photos):
    for i in range(shards):
        for start in (0, 7):
            where = {"shard": Shard(i, shards), "start": start}
            streamed = batches(dali, photos, **where)
            remembered = batches(cached, photos, cache_mb=megabytes(kept), **where)
            for one, two in zip(streamed, remembered, strict=True):
                np.testing.assert_array_equal(one.ids, two.ids)
                assert torch.equal(one.labels, two.labels)
                torch.testing.assert_close(one.pixels, two.pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kept", [20, TRAIN])
def test_what_is_kept_is_not_decoded_again(kept, photos, monkeypatch):
    asked = []
    images = make(cached, photos, cache_mb=megabytes(kept), **CROPS)
    read = images._train.read

    def seen(samples, rows):
        asked.extend(rows.ids.tolist())
        return read(samples, rows)

    monkeypatch.setattr(images._train, "read", seen)
    steps = 8 * TRAIN // 8  # eight epochs
    list(islice(images.train_with_ids(Shard(), 3), steps))
    used = islice(train_rows(seed=3, samples=TRAIN, global_batch=8, shard=Shard()), steps)
    first = list(dict.fromkeys(i for rows in used for i in rows.ids.tolist()))[:kept]
    assert [asked.count(i) for i in first] == [1] * kept
    assert all(asked.count(i) >= 7 for i in set(range(TRAIN)) - set(first))


def test_a_sample_twice_in_a_batch_is_decoded_once(photos):
    """A batch larger than half the set spans epochs, and may hold a sample of either."""
    changes = {"global_batch": TRAIN - 1}
    streamed = batches(dali, photos, steps=4, **changes)
    assert any(len(set(batch.ids.tolist())) < len(batch.ids) for batch in streamed)
    for kept in (1, 30, TRAIN):
        remembered = batches(cached, photos, steps=4, cache_mb=megabytes(kept), **changes)
        for one, two in zip(streamed, remembered, strict=True):
            torch.testing.assert_close(one.pixels, two.pixels, atol=1e-5, rtol=0)
            assert torch.equal(one.labels, two.labels)


def test_evaluation_is_the_streaming_loaders(photos):
    plain = list(make(dali, photos, **CROPS).eval(Shard()))
    for one, two in zip(
        plain, make(cached, photos, cache_mb=1.0, **CROPS).eval(Shard()), strict=True
    ):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


@pytest.mark.parametrize(
    "changes", [{"augment": "random_resized_crop", "cache_mb": 10.0}, {"cache_mb": None}]
)
def test_a_crop_that_is_decoded_alone_cannot_be_kept(changes, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.loader=dali"):
        make(cached, tmp_path, **changes)


def test_channels_last(photos):
    for loader in (resident, cached):
        images = make(loader, photos, channels_last=True, cache_mb=1.0, **CROPS)
        pixels, _ = next(images.train(Shard(), 1))
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        assert images.synthetic(Shard()).train[0][0].stride() == pixels.stride()
