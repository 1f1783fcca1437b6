"""A loader from construction to close: before the clock, between processes, in memory."""

import gc
import importlib
import sys
import threading
from itertools import islice
from pathlib import Path

import pytest
import torch

from tests.data.test_images import CLASSES, EVAL, TRAIN, OneProcess, settings, write_set
from tests.data.test_loaders import CROPS, LOADERS, make
from ttt.data import decoder, resident
from ttt.data.guard import guarded
from ttt.errors import ConfigError, MissingExtra
from ttt.protocols import Shard


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


@LOADERS
def test_nothing_is_opened_before_it_is_asked_for_and_nothing_built_after(
    loader, tmp_path, monkeypatch
):
    root = tmp_path / "set"
    with guarded(str(root)):
        images = make(loader, root, **CROPS)
        made_up = images.synthetic(Shard())
        train, evaluation = images.train(Shard(), 1), images.eval(Shard())
    assert not root.exists()
    write_set(root)
    monkeypatch.setattr(decoder.Decoder, "_build", None)  # calling it would fail
    pixels, labels = next(train)
    assert [(p.shape, c.shape) for p, c in made_up.train] == [(pixels.shape, labels.shape)] * 2
    assert sum(len(labels) for _, labels in evaluation) == EVAL
    assert sum(len(labels) for _, labels in images.eval(Shard())) == EVAL


@LOADERS
@pytest.mark.parametrize("channels_last", [False, True])
def test_synthetic_batches_lie_in_memory_like_real_ones(loader, channels_last, folder):
    images = make(loader, folder, channels_last=channels_last, **CROPS)
    made_up = images.synthetic(Shard())
    plain = next(make(loader, folder, **CROPS).train(Shard(), 1))[0]
    real = next(images.train(Shard(), 1))
    for like in (made_up.train[0], made_up.eval[0]):
        for a, b in zip(like, real, strict=True):
            assert (a.dtype, a.device, a.stride()[1:]) == (b.dtype, b.device, b.stride()[1:])
    assert made_up.train[0][0].std() > 0.5
    assert made_up.train[0][1].max() < CLASSES
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    assert real[0].is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(real[0], plain, atol=1e-6, rtol=0)


@LOADERS
def test_batches_stay_as_they_were_given(loader, folder):
    kept = []
    for batch in islice(make(loader, folder, **CROPS).train(Shard(), 1), 12):
        kept.append((batch, [tensor.clone() for tensor in batch]))
    for batch, copies in kept:
        assert all(torch.equal(a, b) for a, b in zip(batch, copies, strict=True))


@LOADERS
def test_two_streams_do_not_disturb_each_other(loader, folder):
    images = make(loader, folder)
    alone = [b.ids.tolist() for b in islice(images.train_with_ids(Shard(), 1), 5)]
    first, second = images.train_with_ids(Shard(), 1), images.train_with_ids(Shard(), 2)
    woven = [(next(first).ids.tolist(), next(second).ids.tolist()) for _ in range(5)]
    assert [one for one, _ in woven] == alone
    assert all(one != two for one, two in woven)


class Ranks:
    """Processes played by threads: `concat` waits for all and joins their parts in rank order."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size)
        self.parts = [None] * size

    def concat(self, rank, part):
        self.parts[rank] = part
        self.barrier.wait()
        joined = torch.cat(self.parts)
        self.barrier.wait()
        return joined


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_decoding_of_a_resident_set(size, folder, monkeypatch):
    ranks = Ranks(size)
    seen = [[] for _ in range(size)]
    batches = [None] * size

    def process(rank):
        shard = Shard(rank, size)
        world = OneProcess(data=shard, rank=rank, size=size)
        world.concat = lambda part: (seen[rank].append(len(part)), ranks.concat(rank, part))[1]
        images = resident.Images(
            world=world, channels_last=False, **settings(folder, global_batch=6, **CROPS)
        )
        batches[rank] = list(islice(images.train(shard, 4), 10))

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(parts[0] for parts in seen) == TRAIN  # pixels, then as many labels
    assert max(parts[0] for parts in seen) - min(parts[0] for parts in seen) <= 1
    alone = make(resident, folder, global_batch=6, **CROPS).train(Shard(), 4)
    for step, (pixels, labels) in enumerate(islice(alone, 10)):
        assert torch.equal(torch.cat([part[step][0] for part in batches]), pixels)
        assert torch.equal(torch.cat([part[step][1] for part in batches]), labels)


def test_resident_refuses_what_needs_the_file(folder):
    with pytest.raises(ConfigError, match=r"data\.loader=dali"):
        make(resident, folder, augment="random_resized_crop")


@LOADERS
def test_closing_ends_the_threads(loader, folder):
    def threads():
        gc.collect()
        return len(list(Path("/proc/self/task").iterdir()))

    make(loader, folder).synthetic(Shard())  # whatever DALI and torch start once and keep
    before = threads()
    images = make(loader, folder, threads=7)
    images.synthetic(Shard())
    assert threads() >= before + 7
    images.close()
    assert threads() <= before


@pytest.mark.parametrize(("cuda", "extra"), [(None, "dali"), ("13.0", "dali-cuda13")])
@LOADERS
def test_dali_missing_says_what_to_install(loader, cuda, extra, folder, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.delitem(sys.modules, "ttt.data.pipeline", raising=False)
    importlib.reload(loader)  # can be imported without
    with pytest.raises(MissingExtra, match=rf"pip install 'time-to-train\[{extra}\]'"):
        make(loader, folder)
