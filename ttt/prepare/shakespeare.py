"""Tiny Shakespeare (A. Karpathy, char-rnn, 2015), as bytes: 1.1 MB of plays, to predict by letter.

The text is ASCII, so a byte is a character. The first 90 % are to learn from and the last 10 % to
evaluate on, as nanoGPT has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ttt.data import bounds
from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder
from ttt.prepare.token_sets import BYTES, write_bytes, write_manifest

NEEDS = "input.txt of data/tinyshakespeare in github.com/karpathy/char-rnn, 1,115,394 bytes"
LENGTH = 64
COUNTS = {"train": 15_685, "eval": 1_742}  # samples of LENGTH bytes
SIZE = 1_115_394
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def prepare(out: Path, sources: Sequence[Path], progress: Progress = silent) -> None:
    """Write train and eval, a .bin and .idx each, and manifest.json; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: The file.
        progress: Called with (bytes written, bytes in all).

    Raises:
        DataError: The file is absent or another one, or something else lies at `out`.
    """
    if is_complete(out, COUNTS):
        return
    text = _whole(sources)
    border = SIZE * 9 // 10
    with whole_folder(out) as folder:
        write_bytes(folder, {"train": [text[:border]], "eval": [text[border:]]})
        write_manifest(folder, f"sha256 {SHA256}", length=LENGTH, vocabulary=BYTES)
    progress(SIZE, SIZE)


def _whole(sources: Sequence[Path]) -> bytes:
    """The text.

    Raises:
        DataError: It is not this one file.
    """
    if len(sources) != 1:
        raise DataError(f"--src names {len(sources)} files; allowed: one, {NEEDS}")
    [path] = sources
    try:
        text = bounds.whole(path, SIZE)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; --src input.txt") from error
    found = hashlib.sha256(text).hexdigest()
    if found != SHA256:
        raise DataError(
            f"{path} has {len(text):,} bytes with the SHA-256 {found[:12]}...; allowed: {NEEDS},"
            f" with {SHA256[:12]}...; --src input.txt"
        )
    return text
