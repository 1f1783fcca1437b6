"""A set of sentence pairs as it lies on disk, prepared by `ttt.prepare.text`.

    manifest.json            counts, tokens, where from, a hash of each file
    spm.model                sentencepiece's: from text to tokens and back
    train.src.bin, .npy      token ids of all sentences, and the place at which each one begins
    train.trg.bin, .npy      the same of their translations
    eval.src.bin, .npy       what to translate
    eval.trg.txt             how people did, a line each, as they wrote it

It knows files and no batches. Token ids carry no marks of begin or end; tables get them here.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.data import bounds, manifest
from ttt.errors import DataError
from ttt.special_tokens import BOS, EOS, PAD

Ids = npt.NDArray[np.int64]
Decode = Callable[[list[list[int]]], list[str]]


def checked(root: Path, expected: Mapping[str, int]) -> str:
    """Refuse a set that is not the one a run says it uses.

    Args:
        root: The prepared folder.
        expected: Settings of the data and their values.

    Returns:
        The data type of the token ids.

    Raises:
        DataError: There is no such set, or it was prepared otherwise.
    """
    recorded = manifest.read(root, "max_length", "a set of sentence pairs")
    if wrong := manifest.differences(root, recorded, expected):
        raise DataError(*wrong)
    return str(recorded["dtype"])


def references(root: Path) -> list[str]:
    """The human translations of the evaluation set.

    Raises:
        DataError: They are missing.
    """
    # Only "\n" ends a line: other characters that could are part of what people wrote.
    return whole(root / "eval.trg.txt", bounds.TEXT).decode().split("\n")[:-1]


def decoder(root: Path) -> Decode:
    """What makes text of lists of token ids without marks.

    Raises:
        DataError: The model of the tokens is missing.
    """
    from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra

    decode: Decode = SentencePieceProcessor(model_proto=model(root)).decode
    return decode


def model(root: Path) -> bytes:
    """The model of the tokens, as sentencepiece writes it.

    Raises:
        DataError: It is missing, or larger than any.
    """
    return whole(root / "spm.model", bounds.MODEL)


def whole(path: Path, most: int) -> bytes:
    """All of a file of a prepared set, `most` bytes at most.

    Raises:
        DataError: It is missing, cannot be read or is larger.
    """
    try:
        return bounds.whole(present(path), most)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def present(path: Path) -> Path:
    """A file of a prepared set.

    Raises:
        DataError: It is missing.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: remove {path.parent} and prepare the set again")
    return path


def bounds_of(root: Path, name: str, dtype: str) -> tuple[Path, Ids]:
    """The file NAME.bin, and by NAME.npy where its sentences begin and the last one ends, [N + 1].

    Raises:
        DataError: One is missing or damaged, or they do not belong together.
    """
    words, offsets = present(root / f"{name}.bin"), present(root / f"{name}.npy")
    try:
        ends = _loaded(offsets)
        steps = np.diff(ends)
        least, most = steps.min(initial=0), steps.max(initial=0)
        sound = ends[0] == 0 and least >= 0 and most <= bounds.LINE
    except (OSError, ValueError, EOFError, LookupError):
        sound = False
    if not sound:
        raise DataError(f"{offsets} is damaged: remove {root} and prepare the set again")
    size, expected = words.stat().st_size, int(ends[-1]) * np.dtype(dtype).itemsize
    if size != expected:
        raise DataError(
            f"{words} has {size} bytes, and {expected} by {offsets.name}: remove {root} and"
            " prepare the set again"
        )
    return words, ends


def _loaded(path: Path) -> Ids:
    """The numbers of a file NAME.npy.

    The file is mapped, so a wrong header cannot make the array larger than the file. Arrays of
    objects are refused, because to make the objects would run code.

    Raises:
        ValueError: It holds something else.
    """
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # of a header that is none, NumPy's readers may raise any
        raise ValueError(f"its header is none: {error}") from error
    if found.dtype != np.int64 or found.ndim != 1:
        raise ValueError(f"it holds {found.ndim} dimensions of {found.dtype}")
    return np.array(found)


@dataclass(frozen=True, slots=True)
class Side:
    """One language of one part of a set.

    Attributes:
        tokens: All sentences one after the other, without marks, mapped from the file.
        starts: Where each sentence begins, int64 [N].
        lengths: How many tokens it has, int32 [N].
    """

    tokens: npt.NDArray[np.integer]
    starts: Ids
    lengths: npt.NDArray[np.int32]

    @classmethod
    def open(cls, root: Path, name: str, dtype: str) -> Side:
        """Map the files NAME.bin and NAME.npy; the kernel begins to read them.

        Raises:
            DataError: One is missing, or they do not belong together.
        """
        words, bounds = bounds_of(root, name, dtype)
        tokens = np.memmap(words, dtype, mode="r")
        # Sentences are asked for in random order; one pass over the file beats a million seeks.
        tokens._mmap.madvise(mmap.MADV_WILLNEED)  # type: ignore[attr-defined]
        return cls(np.asarray(tokens), bounds[:-1], np.diff(bounds).astype(np.int32))

    def table(self, rows: Ids, *, bos: bool = False, eos: bool = False) -> Ids:
        """These sentences as a padded table, int64 [B, longest], with marks as asked for."""
        lengths_B = self.lengths[rows]
        longest = int(lengths_B.max())
        table = np.full((len(rows), bos + longest + eos), PAD, dtype=np.int64)
        steps = np.arange(longest)
        places = self.starts[rows][:, None] + steps
        is_word = steps < lengths_B[:, None]
        table[:, bos : bos + longest][is_word] = self.tokens[places[is_word]]
        if bos:
            table[:, 0] = BOS
        if eos:
            table[np.arange(len(rows)), bos + lengths_B] = EOS
        return table
