"""The doctor's made-up JPEG, and what it makes of decoders."""

import io
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ttt.doctor import decoding, picture
from ttt.doctor.decoding import Decoded
from ttt.doctor.findings import Level, Observation
from ttt.errors import install

CPU = torch.device("cpu")


def seen(*facts):
    return [Observation(rank, "ab"[rank], fact) for rank, fact in enumerate(facts)]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_another_decoder_sees_the_blocks(rows, columns, seed):
    pillow = pytest.importorskip("PIL.Image")
    blocks = picture.colours(rows, columns, seed)
    decoded = np.array(pillow.open(io.BytesIO(picture.jpeg(blocks))).convert("RGB"))
    expected = picture.pixels(blocks)
    assert decoded.shape == expected.shape == (8 * rows, 8 * columns, 3)
    assert np.abs(decoded.astype(int) - expected).max() <= 1


def test_the_picture_has_colours():
    blocks = picture.colours(32, 32, seed=1)
    pixels = picture.pixels(blocks).astype(int)
    assert np.ptp(pixels, axis=(0, 1)).min() > 100  # in each of red, green and blue
    assert (pixels[..., 0] != pixels[..., 2]).mean() > 0.9


def test_dali_decodes_it_on_this_cpu():
    pytest.importorskip("nvidia.dali")
    found = decoding.look(CPU)
    assert found.decoder == "cpu"
    assert found.difference <= 1
    assert found.images_per_s > 0
    assert found.engine is None
    [finding] = decoding.judge(seen(found))
    assert finding.level is Level.ok


def test_swapped_colours_are_found(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("nvidia.dali")
    true = picture.pixels
    monkeypatch.setattr(picture, "pixels", lambda blocks: np.flip(true(blocks), 2).copy())
    [finding] = decoding.judge(seen(decoding.look(CPU)))
    assert finding.level is Level.failure
    assert "wrong by up to" in finding.text


def test_without_dali_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "ttt.data.pipeline", raising=False)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    found = decoding.look(CPU)
    assert found.difference is None
    [finding] = decoding.judge(seen(found))
    assert finding.level is Level.failure  # as a run would be
    assert "reading images needs nvidia-dali" in finding.text
    assert "cannot be imported (" in finding.text  # the package is installed
    assert finding.text.endswith("), for rank 0 on a")
    assert finding.advice == install("dali")
    assert finding.data["difference"] is None


def test_a_benchmark_without_images_needs_no_dali(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoding, "_decode", lambda *arguments: pytest.fail("decodes"))
    [finding] = decoding.judge(seen(decoding.look(CPU, needed=False)))
    assert finding.level is Level.ok
    assert finding.text == "not examined: this benchmark reads no images"


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (60, "; JPEG engine 60 % busy"),
        (0, "; JPEG engine idle"),
        (None, "(photographs take longer)"),
    ],
)
def test_the_engine_is_told_where_it_is_known(engine, said):
    [finding] = decoding.judge(seen(Decoded("mixed", 1, 20000.0, engine)))
    assert finding.level is Level.ok
    assert finding.text.endswith(said)
    assert finding.data["jpeg_engine_percent"] == {0: engine}


def test_a_rank_with_wrong_pixels_is_named():
    [finding] = decoding.judge(
        seen(Decoded("mixed", 1, 20000.0), Decoded("mixed", 40, 20000.0, 70))
    )
    assert finding.level is Level.failure
    assert "mixed decoder gives pixels that are wrong by up to 40 of 255: rank 1 on b" in (
        finding.text
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_dali_decodes_it_on_this_gpu():
    pytest.importorskip("nvidia.dali")
    gpu = torch.device("cuda", 0)
    torch.cuda.set_device(gpu)
    found = decoding.look(gpu)
    print(found)
    assert found.decoder == "mixed"
    assert found.difference <= 3
    assert found.images_per_s > 100
