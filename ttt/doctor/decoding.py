"""Does DALI decode JPEGs to the right pixels on this rank's device, and how fast.

Decodes a made-up picture through the pipeline of a run: on a GPU with DALI's "mixed" decoder.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ttt.data.decoder import Decoder
from ttt.data.images import ImageSet
from ttt.data.order import DRAWS, Rows
from ttt.data.recipe import Recipe
from ttt.data.samples import one_image
from ttt.distributed.device import identity
from ttt.distributed.world import Solo
from ttt.doctor import picture
from ttt.doctor.findings import (
    Finding,
    Observation,
    failure,
    not_examined,
    ok,
    per_rank,
    ranks,
)
from ttt.errors import MissingExtra
from ttt.machine import nvml

_BLOCKS = 32  # rows and columns of the picture, in blocks of 8 pixels
_SIDE = 8 * _BLOCKS
_BATCH = {"cuda": 64, "cpu": 4}
_SECONDS = {"cuda": 1.0, "cpu": 0.1}
_THREADS = 2
# Of 255. The blocks are flat, so that decoders differ only in how they round colours.
_DIFFERENCE = 3
_NAME = "image decoding"
_WHY = {"jpeg_engine_percent": "no GPU decodes, or NVML does not report its JPEG engine"}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one rank's decoder did.

    Attributes:
        decoder: DALI's word for it: "mixed" on a GPU, else "cpu".
        difference: Largest difference from the true picture, of 255.
        images_per_s: Pictures of 256 x 256 pixels, which have next to no detail.
        engine: Use of the GPU's JPEG engine meanwhile, in percent; None where NVML does not know.
        absent: Why nothing was decoded; all else is None then.
        lacking: Whether a run would end for that reason, too.
    """

    decoder: str | None = None
    difference: int | None = None
    images_per_s: float | None = None
    engine: int | None = None
    absent: str | None = None
    lacking: bool = False


def look(device: torch.device, *, needed: bool = True) -> Decoded:
    """Decode for a moment.

    Args:
        device: Of this rank.
        needed: Whether the benchmark reads images; DALI may be missing or broken for the others.
    """
    if not needed:
        return Decoded(absent="this benchmark reads no images")
    blocks = picture.colours(_BLOCKS, _BLOCKS, seed=1)
    try:
        with tempfile.TemporaryDirectory() as folder, nvml.opened(identity(device)) as gpu:
            path = Path(folder) / "blocks.jpg"
            path.write_bytes(picture.jpeg(blocks))
            return _decode(path, device, picture.pixels(blocks), gpu)
    except MissingExtra as error:
        return Decoded(absent=str(error).partition("\n")[0], lacking=True)


def _decode(path: Path, device: torch.device, truth: picture.Colours, gpu: nvml.Gpu) -> Decoded:
    images, batch = _set(len(truth)), _BATCH[device.type]
    rows = Rows(np.zeros(batch, np.int64), np.zeros((batch, DRAWS), np.float32))
    deadline: float | None = None  # from the first batch on: before it, libraries load

    def batches() -> Iterator[Rows]:
        while deadline is None or time.perf_counter() < deadline:
            yield rows

    recipe = Recipe("none", False, None, False, False)
    decoder = Decoder(images, recipe, Solo(device), batch=batch, evaluation=True)
    difference, count, engine, begin = 0, 0, None, 0.0
    try:
        for pixels, _, _ in decoder.run(one_image(images, path), batches()):
            if deadline is None:
                difference = _difference(pixels[:: batch - 1].cpu(), truth)
                begin = time.perf_counter()
                deadline = begin + _SECONDS[device.type]
                continue
            count += batch
            used = gpu.jpeg_percent()
            engine = engine if used is None else max(engine or 0, used)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rate = count / (time.perf_counter() - begin)
    finally:
        decoder.close()
    return Decoded("mixed" if device.type == "cuda" else "cpu", difference, rate, engine)


def _difference(decoded: torch.Tensor, truth: picture.Colours) -> int:
    expected = torch.from_numpy(truth).int()
    return int((decoded.int() - expected).abs().max())


def _set(side: int) -> ImageSet:
    """The settings of a set of one picture of which nothing is cut."""
    return ImageSet(
        root=tempfile.gettempdir(),
        train_samples=1,
        eval_samples=1,
        classes=1,
        size=side,
        global_batch=1,
        eval_batch=1,
        mean=[0.0, 0.0, 0.0],
        std=[1.0, 1.0, 1.0],
        threads=_THREADS,
    )


def judge(seen: Sequence[Observation[Decoded]]) -> Iterator[Finding]:
    """Whether every rank's decoder gives the picture; else, why nothing was decoded."""
    known = [one for one in seen if one.facts.absent is None]
    if lacking := [one for one in seen if one.facts.lacking]:
        problem, _, advice = str(lacking[0].facts.absent).rpartition(": ")
        text, why = f"{problem}, for {ranks(lacking)}", {"difference": problem}
        yield failure(_NAME, text, advice, difference=None, why=why)
        return
    if not known:
        yield not_examined(_NAME, seen[0].facts.absent, "difference")
        return
    numbers = per_rank(
        known,
        difference=lambda one: one.difference,
        images_per_s=lambda one: one.images_per_s,
        jpeg_engine_percent=lambda one: one.engine,
    )
    data = {**numbers, "why": _WHY}
    worst = max(one.facts.difference or 0 for one in known)
    wrong = [one for one in known if (one.facts.difference or 0) > _DIFFERENCE]
    if wrong:
        yield failure(
            _NAME,
            f"DALI's {wrong[0].facts.decoder} decoder gives pixels that are wrong by up to"
            f" {worst} of 255: {ranks(wrong)}",
            "another release of DALI or of the driver; data.hw_decoder_load=0 decodes without the"
            " GPU's JPEG engine, device=cpu without the GPU",
            **data,
        )
        return
    slowest = min(one.facts.images_per_s or 0.0 for one in known)
    summary = f"DALI decoder {known[0].facts.decoder}: pixels differ from the test image by at most"
    summary += f" {worst} of 255; {slowest:,.0f} images/s of {_SIDE} x {_SIDE} pixels"
    summary += " without detail (photographs take longer)"
    used = [one.facts.engine for one in known if one.facts.engine is not None]
    if used:
        summary += f"; JPEG engine {f'{min(used)} % busy' if min(used) else 'idle'}"
    yield ok(_NAME, summary, **data)
