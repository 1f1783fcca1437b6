"""How fast DALI decodes JPEGs, whether the GPU's JPEG engine does it, and whether pixels agree.

The engine's use is NVML's (`nvmlDeviceGetJpgUtilization`): above 0 while a kind of image is decoded
means that this kind reaches the engine. DALI's executor counts memory only, and not which decoder a
sample took. DALI_NVIMGCODEC_LOG_LEVEL=5 has nvImageCodec write that into the log.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu import figures
from ttt.data.images import made_up_jpeg
from ttt.distributed.device import identity
from ttt.distributed.world import Solo
from ttt.protocols import Shard

_WIDTH, _HEIGHT = 500, 375  # of most of ImageNet's photographs
_SIZE = 224
_DIFFERENT = 64  # photographs; the others are copies, which are read and decoded all the same
_CLASSES = 2
# How far GPU and CPU pixels may be apart on average, in 1/255: they upsample colour differently.
_APART = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--busy", type=float, default=2.0, help="seconds that each kind is decoded")
    options = figures.options(parser, arguments)

    def measure(section: figures.Section) -> None:
        figures.need("nvidia.dali", "PIL")
        with tempfile.TemporaryDirectory() as folder:
            photographs, grey = Path(folder, "photographs"), Path(folder, "grey")
            different = [photograph(number) for number in range(min(_DIFFERENT, options.images))]
            write(photographs, [*islice(cycle(different), options.images)])
            write(grey, [made_up_jpeg(_HEIGHT, _WIDTH)] * options.images)
            loads = (None, 0.0, 1.0) if section.cuda else (None,)
            for root in (photographs, grey):
                for load in loads:
                    section.part(f"{root.name}, hw_decoder_load={load}", rate, root, load, options)
            for augment in ("none", "random_resized_crop"):  # the second decodes by image_slice
                section.part(f"pixels, {augment}", pixels, photographs, options, augment)

    return figures.run(figures.Section("decode", options), measure)


def photograph(number: int) -> bytes:
    """A JPEG with smooth colours and some noise, 4:2:0 as cameras make them."""
    from PIL import Image

    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90, subsampling=2)
    return file.getvalue()


def write(root: Path, files: Sequence[bytes]) -> None:
    """An image set of these files, half of them in each class, the same for training and test."""
    for part in ("train", "test"):
        for number, data in enumerate(files):
            folder = root / part / f"class{number % _CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:05}.jpg").write_bytes(data)


def loader(root: Path, device: torch.device, options: argparse.Namespace, **other: Any) -> Any:
    """The streaming loader of such a set, as a run has it."""
    from ttt.data.dali import Images

    settings = {
        **{"root": str(root), "train_samples": options.images, "eval_samples": options.images},
        **{"classes": _CLASSES, "size": _SIZE, "global_batch": options.batch, "flip": False},
        **{"eval_batch": options.batch, "augment": "random_resized_crop", "pad": 0},
        **{"area": [0.05, 1.0], "ratio": [0.75, 1.33], "eval_resize": None},
        **{"mean": [0.0] * 3, "std": [1.0] * 3, "threads": None, "prefetch": 2},
        "on_error": "error",
    }
    return Images(world=Solo(device), channels_last=False, **(settings | other))


def rate(
    section: figures.Section, root: Path, load: float | None, options: argparse.Namespace
) -> None:
    """Images a second through a training pipeline, and how busy the JPEG engine was."""
    images = loader(root, section.device, options, hw_decoder_load=load)
    batches = images.train(Shard(), 1)
    for _ in islice(batches, 4):  # memory grows in the first
        pass
    section.synchronize()
    busy = engine(section)
    seen, used, begin = 0, [], time.perf_counter()
    while (now := time.perf_counter()) - begin < options.busy:
        seen += len(next(batches)[1])
        if busy:
            used.append(busy())
    section.synchronize()
    label = f"{root.name}, hw_decoder_load={'null' if load is None else load}"
    section.add(f"{label}, rate", seen / (now - begin), "images/s")
    if section.cuda:
        why = "" if busy else "NVML does not show it"
        section.add(f"{label}, JPEG engine, most", max(used, default=None), "%", why)
    images.close()


def engine(section: figures.Section) -> Any:
    """How busy the GPU's JPEG engine is, in percent, as a call; None where NVML does not say."""
    if not section.cuda:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(identity(section.device))
        pynvml.nvmlDeviceGetJpgUtilization(gpu)
    except (pynvml.NVMLError, AttributeError):  # an older NVML, or its binding
        return None
    return lambda: pynvml.nvmlDeviceGetJpgUtilization(gpu)[0]


def pixels(section: figures.Section, root: Path, options: argparse.Namespace, augment: str) -> None:
    """The same batch by this device and by the CPU.

    Raises:
        AssertionError: They are further apart than rounding explains.
    """
    load = {"hw_decoder_load": 1.0} if section.cuda else {}
    found = []
    for device, more in ((section.device, load), (torch.device("cpu"), {})):
        images = loader(root, device, options, augment=augment, **more)
        batch, labels = next(images.train(Shard(), 1))
        found.append((255 * batch.cpu(), labels.cpu()))
        images.close()
    (ours, our_labels), (theirs, their_labels) = found
    assert torch.equal(our_labels, their_labels)
    apart = float((ours - theirs).abs().mean())
    section.add(f"{augment}, mean distance to the CPU's pixels", apart, "of 255")
    assert apart <= _APART, f"pixels differ by {apart:.3g} of 255 on average"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
