"""What the beginning and the end of a file tell of an image: no more than the decoder would."""

import io
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ttt.data import heads

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def encoded(form, mode="RGB", **options):
    content = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(content, form, **options)
    return content.getvalue()


JPEG, PNG, BMP = encoded("JPEG"), encoded("PNG"), encoded("BMP")
WEBP, TIFF, PPM, PGM = encoded("WEBP"), encoded("TIFF"), encoded("PPM"), encoded("PPM", "L")
WITH_SMALL_ONE = encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + bytes(8) + JPEG)

SOUND = {
    "jpeg": JPEG,
    "progressive": encoded("JPEG", progressive=True),
    "a JPEG with a small one in its head": WITH_SMALL_ONE,
    "cmyk": encoded("JPEG", "CMYK"),
    "a JPEG and then something else": JPEG + bytes(6000),
    "a JPEG filled up with zeros": JPEG[:-300] + bytes(300),
    "png": PNG,
    "a PNG and then something else": PNG + b"junk" * 20,
    "palette": encoded("PNG", "P"),
    "bmp": BMP,
    "a BMP without its padding": BMP[:-1],
    "grey bmp": encoded("BMP", "L"),
    "webp": WEBP,
    "a WebP and then something else": WEBP + b"zzz",
    "lossless webp": encoded("WEBP", lossless=True),
    "tiff": TIFF,
    "packed tiff": encoded("TIFF", compression="tiff_lzw"),
    "ppm": PPM,
    "pgm": PGM,
    "bits": encoded("PPM", "1"),
    "a PPM with a remark": b"P6\n# hello\n30 24\n255\n" + PIXELS.tobytes(),
    "a PPM as text": b"P3\n2 1\n255\n1 2 3 4 5 6\n",
    "wide pgm": b"P5\n2 2\n65535\n" + bytes(8),
    "jpeg 2000": encoded("JPEG2000"),
}
CUT = {
    "jpeg": JPEG[: len(JPEG) // 2],
    "a JPEG without its end": JPEG[:-2],
    "a JPEG's head": JPEG[:20],
    "a cut JPEG with a whole one in its head": WITH_SMALL_ONE[:-200],
    "progressive": SOUND["progressive"][:-200],
    "png": PNG[: len(PNG) // 2],
    "a PNG without its last chunk": PNG[:-12],
    "a PNG without its last bytes": PNG[:-2],
    "a PNG filled up with zeros": PNG[:-200] + bytes(200),
    "bmp": BMP[:-100],
    "webp": WEBP[:-1],
    "tiff": TIFF[: len(TIFF) // 2],
    "a TIFF without its last bytes": TIFF[:-100],
    "ppm": PPM[:-1],
    "pgm": PGM[:-10],
}
OTHERS = {
    "gif": (encoded("GIF"), "a GIF"),
    "page": (b"<!DOCTYPE html><title>404</title>", "HTML"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "apple": (b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(50), "macOS"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
    "text": (b"no image at all " * 40, "no image"),
    "shifted": (b"\0" + JPEG, "no image"),
}


def verdict(content):
    first = content.__getitem__
    return heads.verdict(content[:16384], content[-64:], len(content), lambda n: first(slice(n)))


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_image_is_one(name):
    assert verdict(SOUND[name]) is None


@pytest.mark.parametrize("name", CUT)
def test_a_truncated_image_is_told(name):
    assert verdict(CUT[name]) == "it is truncated"


@pytest.mark.parametrize("name", OTHERS)
def test_another_kind_of_file_is_named(name):
    content, said = OTHERS[name]
    assert said in verdict(content)
    assert "JPEG, PNG" in verdict(content)


def test_the_decoder_is_of_the_same_opinion():
    """Nothing is refused that would be decoded, which would keep a good run from starting."""
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def decoding(content):
        read = fn.external_source(lambda: [np.frombuffer(content, np.uint8)], batch=True)
        return fn.decoders.image(read)

    def decodes(content):
        pipeline = decoding(content)
        pipeline.build()
        try:
            pipeline.run()
        except RuntimeError:
            return False
        return True

    assert [name for name, content in SOUND.items() if not decodes(content)] == []
    assert [name for name, content in CUT.items() if decodes(content)] == []
    assert [name for name, (content, _) in OTHERS.items() if decodes(content)] == []


beginnings = st.sampled_from(
    [b"", *(content[:n] for content in SOUND.values() for n in (2, 3, 8, 12, 30, 60))]
)


@given(beginning=beginnings, rest=st.binary(max_size=200))
def test_no_file_is_too_strange_to_judge(beginning, rest):
    assert verdict(beginning + rest) is None or isinstance(verdict(beginning + rest), str)


def test_what_cannot_be_opened_is_told_without_waiting(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.png").symlink_to("/nowhere/at/all.png")
    os.mknod(tmp_path / "socket.png", 0o600 | stat.S_IFSOCK)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "sound.png").write_bytes(PNG)
    (tmp_path / "large.png").write_bytes(PNG + bytes(100_000))
    (tmp_path / "odd.png").write_bytes(PNG[:-40] + bytes(100_000))
    paths = [os.fsencode(path) for path in sorted(tmp_path.iterdir())]
    found = {os.path.basename(path): why for path, why in heads.unreadable(paths)}
    assert found == {
        b"empty.png": "the file is empty",
        b"gone.png": "there is no such file",
        b"socket.png": "it is no file",
        b"pipe.png": "it is no file",
        b"odd.png": "it is truncated",
    }


def test_many_files_keep_their_order(tmp_path):
    paths = [os.fsencode(tmp_path / f"{number:04}.png") for number in range(1000)]
    assert [path for path, _ in heads.unreadable(paths)] == paths
