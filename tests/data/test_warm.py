"""What the first batch and the first evaluation need has run in the warm-up, before the clock."""

import io
from itertools import islice

import numpy as np
import pytest
import torch
from nvidia.dali import fn, pipeline_def, types
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import click_logs
from tests.data.test_images import EVAL, TRAIN, OneProcess, settings, write_set
from tests.distributed.test_undo import most_bytes
from tests.end_to_end.test_parallel_truth import parts_of, small_run
from texts import loader, prepared
from ttt.data import cached, dali, decoder, pipeline, resident
from ttt.data.clicks import Clicks
from ttt.data.decoder import Decoder
from ttt.data.images import ImageSet, made_up_jpeg
from ttt.data.recipe import Recipe
from ttt.distributed.world import Solo
from ttt.errors import ConfigError
from ttt.protocols import Shard

SOLO, WHOLE = Solo(torch.device("cpu")), Shard()
CROPS = {"augment": "pad_crop", "pad": 2, "flip": True, "cache_mb": 0.02}
PARTS = {"augment": "random_resized_crop", "flip": True}
SIZES = [(1, 1), (8, 8), (15, 17), (16, 16), (37, 50), (375, 500)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"), sizes=((40, 56), (61, 33), (12, 12)))


def images(module, folder, **changes):
    return module.Images(world=OneProcess(), channels_last=True, **settings(folder, **changes))


def clicks(root):
    return Clicks(world=SOLO, **click_logs.settings(root, 50, 23))


class Kernels(TorchDispatchMode):
    """Notes each operation with the data types it is given: on a GPU that names a kernel."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, torch.Tensor)]
        if not func.is_view:
            self.seen.add((str(func), *(tensor.dtype for tensor in tensors)))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: images(dali, folder, **PARTS),
        lambda folder: images(resident, folder, **CROPS),
        lambda folder: images(resident, folder),
        lambda folder: images(cached, folder, **CROPS),
        lambda folder: clicks(click_logs.write(folder / "clicks", 50, 23)),
        lambda folder: loader(SOLO, prepared(folder / "text")),
    ],
    ids=["dali", "resident padded", "resident", "cached", "clicks", "text"],
)
def test_the_first_batch_and_evaluation_run_no_kernel_for_the_first_time(make, folder):
    data = make(folder)
    with Kernels() as warm:
        data.synthetic(WHOLE)
    with Kernels() as on_the_clock:
        list(islice(data.train(WHOLE, 1), 2))
        list(data.eval(WHOLE))
    data.close()
    assert on_the_clock.seen - warm.seen == set()


def asked(monkeypatch, decoder):
    """Sizes of the batches that a decoder reads from now on."""
    sizes, read = [], decoder.read

    def seen(samples, rows):
        sizes.append(len(rows.ids))
        return read(samples, rows)

    monkeypatch.setattr(decoder, "read", seen)
    return sizes


@pytest.mark.parametrize("chunk", [10, 512])
def test_the_resident_loader_is_warmed_with_the_chunks_that_it_loads(chunk, folder, monkeypatch):
    monkeypatch.setattr(resident, "CHUNK", chunk)
    data = images(resident, folder)
    train, evaluation = (asked(monkeypatch, one) for one in (data._train, data._eval))
    made_up = data.synthetic(WHOLE)
    in_flight = 2 + 2  # prefetched, in use, asked for
    assert train == [min(chunk, TRAIN)] * in_flight
    assert evaluation == [min(chunk, EVAL)] * in_flight
    assert {len(labels) for _, labels in made_up.eval} == {4, 1}
    train.clear()
    next(data.train(WHOLE, 1))
    assert max(train) == min(chunk, TRAIN)


def test_the_resident_loader_warms_up_in_the_memory_that_it_loads_in(folder):
    data = images(resident, folder, **CROPS, size=32, global_batch=1, eval_batch=1)
    warm = most_bytes(lambda: data.synthetic(WHOLE))
    store = TRAIN * 36 * 36 * 3
    assert store < warm < 1.1 * most_bytes(lambda: next(data.train(WHOLE, 1)))


def test_every_batch_in_flight_is_warmed(folder, monkeypatch):
    for module in (dali, cached):
        data = images(module, folder, **CROPS, prefetch=3)
        train, evaluation = (asked(monkeypatch, one) for one in (data._train, data._eval))
        data.synthetic(WHOLE)
        assert train[:5] == [8] * 5
        assert evaluation == [4] * 5 + [1]


class Pair(OneProcess):
    """The first of two processes, as far as `concat` goes: the other one has the same part."""

    def concat(self, part):
        self.given = [*getattr(self, "given", []), (part.shape, part.dtype)]
        return torch.cat([part, part])


def test_the_exchange_between_processes_is_warmed_in_its_whole_size(folder):
    world = Pair(size=2)
    changes = {"train_samples": TRAIN - 1} | CROPS
    data = resident.Images(world=world, channels_last=False, **settings(folder, **changes))
    data.synthetic(WHOLE)
    warm = world.given
    assert warm == [((18, 12, 12, 3), torch.uint8), ((18,), torch.int64)]
    world.given = []
    data._exchanged([])
    assert world.given == warm


@pytest.mark.parametrize("shape", SIZES)
def test_the_made_up_jpeg_is_like_a_photograph(shape):
    """A photograph that Pillow writes has the same structure."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    theirs = Image.open(file)
    ours = Image.open(io.BytesIO(made_up_jpeg(*shape)))
    assert [ours.size, ours.mode, ours.info["jfif"]] == [theirs.size, "RGB", theirs.info["jfif"]]
    assert ours.layer == theirs.layer  # components, samples of each, quantization tables
    assert ours.quantization.keys() == theirs.quantization.keys()
    assert "progressive" not in ours.info
    assert segments(made_up_jpeg(*shape)) == segments(file.getvalue())
    assert np.asarray(ours).std() > 2 or min(shape) < 8


def segments(jpeg):
    """Markers in order; of Huffman tables their class, number, and how many codes they have."""
    found, place = [], 2
    while found[-1:] != [0xDA]:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if marker == 0xC4:
            found.append((marker, jpeg[place + 4], sum(jpeg[place + 5 : place + 21])))
        else:
            found.append(marker)
        place += 2 + length
    return found


def test_the_scan_has_the_bytes_of_a_photograph():
    assert 100_000 < len(made_up_jpeg(375, 500)) < 120_000


def test_dali_decodes_the_made_up_jpeg_as_pillow_does():
    files = [made_up_jpeg(*shape) for shape in SIZES]

    @pipeline_def(batch_size=len(files), num_threads=1, device_id=None)
    def decoding():
        encoded = fn.external_source([[np.frombuffer(file, np.uint8) for file in files]])
        return fn.decoders.image(encoded, device="cpu", output_type=types.RGB)

    (decoded,) = decoding().run()
    for place, file in enumerate(files):
        expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), np.int16)
        assert np.abs(decoded.at(place).astype(np.int16) - expected).max() <= 1


@pytest.mark.parametrize("augment", ["none", "pad_crop", "random_resized_crop"])
def test_dali_takes_every_setting_of_a_gpus_decoder(augment):
    """Operators check keywords and devices while the graph is made, which needs no GPU."""
    wanted = {"hw_decoder_load": 0.5, "largest": [600, 500]}
    chosen = ImageSet(**settings("x", augment=augment, **wanted))
    decoding = pipeline._decoding(chosen, gpu=True)
    assert decoding["device"] == "mixed"
    assert {name for name in decoding if name not in ("device", "output_type")} == {
        "hw_decoder_load",
        "preallocate_width_hint",
        "preallocate_height_hint",
    }
    make = pipeline_def(pipeline._graph, enable_conditionals=True)
    recipe = Recipe(augment, True, None, True, True)
    graph = make(chosen, recipe, lambda: (), True, batch_size=4, num_threads=1, device_id=0)
    graph._build_graph()
    [decoder] = [op._op.schema.Name() for op in graph._ops if op._op.device == "mixed"]
    assert decoder == f"decoders__{'ImageSlice' if augment == 'random_resized_crop' else 'Image'}"


working = Decoder._next


def broken(self, pipeline):
    working(self, pipeline)
    raise RuntimeError("nvImageCodec failure: '#8'\nCurrent pipeline object is no longer valid.")


@pytest.mark.parametrize("on_error", ["error", "skip"])
@pytest.mark.parametrize(
    ("where", "name", "instead", "reason"),
    [
        (Decoder, "_next", broken, "nvImageCodec failure: '#8'"),
        (decoder, "made_up_jpeg", lambda height, width: b"\xff\xd8", "peek_image_shape"),
    ],
)
def test_a_decoder_that_does_not_work_is_said_so(
    where, name, instead, reason, on_error, folder, monkeypatch
):
    """It is no fault of the data set, which nobody has looked at."""
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(ConfigError, match="DALI cannot decode a made-up JPEG on cpu") as caught:
        images(dali, folder, on_error=on_error).synthetic(WHOLE)
    assert reason in str(caught.value)
    assert "data.hw_decoder_load=0" in str(caught.value)


@pytest.mark.parametrize("loader", ["dali", "resident"])
def test_a_run_begins_with_the_random_numbers_of_its_seed(loader, tmp_path):
    """However much was drawn for made-up data."""
    run = small_run(tmp_path / "not there yet", _target_=f"ttt.data.{loader}.Images")
    parts_of(SOLO, run).data.close()
    begun = torch.get_rng_state()
    torch.manual_seed(run.seed)
    assert torch.equal(begun, torch.get_rng_state())


def decoded_on(device, folder, augment):
    world = OneProcess(device=torch.device(device))
    changes = {"augment": augment, "size": 64, "global_batch": 16}
    if device != "cpu":
        changes["hw_decoder_load"] = 0.65
    chosen = ImageSet(**settings(folder, **changes))
    recipe = Recipe(augment, False, None, False, False)
    decoder = Decoder(chosen, recipe, world, batch=16, evaluation=False)
    [batch] = decoder.warm([16])
    decoder.close()
    return batch.pixels.cpu().int()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("augment", ["none", "random_resized_crop"])
def test_a_gpu_decodes_whole_images_and_parts_as_the_cpu_does(augment, folder):
    ours, theirs = (decoded_on(device, folder, augment) for device in ("cuda:0", "cpu"))
    assert ours.shape == (16, 64, 64, 3)
    assert (ours - theirs).abs().float().mean() < 2  # nvJPEG upsamples chroma its own way
