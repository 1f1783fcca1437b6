"""What only a GPU can answer: JPEG engines, two CUDA libraries in one process, MIG, memory."""

import time
from argparse import Namespace
from itertools import islice
from pathlib import Path

import pytest
import torch

from gpu import decode, parts
from ttt.data.images import made_up_jpeg
from ttt.distributed import tables
from ttt.distributed.device import identity
from ttt.protocols import Shard

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

GPU = torch.device("cuda", 0)
SET = Namespace(images=64, batch=32)
SECONDS = 2.0  # NVML's counter is a mean over up to a second


def engine_use(root: Path, files: list[bytes]) -> int:
    """How busy the GPU's JPEG engine was at most while these files were decoded, in percent."""
    pynvml = pytest.importorskip("pynvml")
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByUUID(identity(GPU))
    try:
        pynvml.nvmlDeviceGetJpgUtilization(gpu)
    except pynvml.NVMLError as error:
        pytest.skip(f"NVML does not show the use of the JPEG engine: {error}")
    decode.write(root, files)
    images = decode.loader(root, GPU, SET, augment="none", hw_decoder_load=1.0)
    batches, most = images.train(Shard(), 1), 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        next(batches)
        most = max(most, pynvml.nvmlDeviceGetJpgUtilization(gpu)[0])
    images.close()
    return most


def test_the_made_up_jpeg_of_the_warm_up_reaches_the_jpeg_engine(tmp_path: Path):
    """If it does not, the warm-up leaves the engine cold, and the first batch pays on the clock."""
    pytest.importorskip("nvidia.dali")
    pytest.importorskip("PIL")
    photographs = [decode.photograph(number) for number in range(SET.images)]
    if not engine_use(tmp_path / "photographs", photographs):
        pytest.skip("this GPU has no JPEG engine, or DALI does not use it for photographs")
    grey = [made_up_jpeg(256, 256)] * SET.images
    assert engine_use(tmp_path / "grey", grey) > 0


@pytest.mark.parametrize("load", [None, 0.0, 0.65, 1.0])
@pytest.mark.parametrize("augment", ["none", "random_resized_crop"])  # the second: image_slice
def test_dali_decodes_beside_torch_what_the_cpu_does(
    augment: str, load: float | None, tmp_path: Path
):
    """Also where one of them was built for CUDA 12 and the other for CUDA 13."""
    pytest.importorskip("nvidia.dali")
    pytest.importorskip("PIL")
    torch.ones(8, device=GPU).sum().item()  # torch's CUDA is loaded first, as in a run
    decode.write(tmp_path, [decode.photograph(number) for number in range(SET.images)])
    found = []
    for device, more in ((GPU, {"hw_decoder_load": load}), (torch.device("cpu"), {})):
        images = decode.loader(tmp_path, device, SET, augment=augment, **more)
        found.append([(255 * x.cpu(), y.cpu()) for x, y in islice(images.train(Shard(), 1), 2)])
        images.close()
    for (ours, labels), (theirs, expected) in zip(*found, strict=True):
        assert torch.equal(labels, expected)
        assert float((ours - theirs).abs().mean()) < 2.0  # of 255
    assert float(torch.ones(8, device=GPU).sum()) == 8


def test_a_mig_instance_is_a_device_of_its_own():
    name = identity(GPU)
    if not name or not name.startswith("MIG-"):
        pytest.skip("not a MIG instance")
    from ttt.telemetry import counters

    built = parts.build("digits", GPU)
    built.learner.step(built.synthetic.train[0])
    assert built.learner.health(wait=True)[1] is not None
    with pytest.raises(OSError, match="no energy counters"):
        counters._gpus([name])


def test_a_warm_up_takes_no_more_memory_than_the_plan_of_the_tables_counts_with():
    rows = [1_000_000, 1_000_000]
    changes = {
        "data": {"rows": rows, "hots": [1, 1]},
        "model": {"rows": rows, "hots": [1, 1], "dim": 128},
    }
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(GPU)
    before = torch.cuda.memory_allocated(GPU)
    built = parts.build("clicks", GPU, changes=changes)
    weights = sum(rows) * 128
    peak = torch.cuda.max_memory_allocated(GPU) - before
    after = torch.cuda.memory_allocated(GPU) - before
    assert peak <= 1.05 * tables._BYTES_PER_WEIGHT * weights
    assert after <= 1.05 * 8 * weights  # weights and Adagrad's sums: nothing is left of the copies
    assert built.learner.steps == 0
