"""Python's own help on its language, as masked sequences for a small BERT; nothing to download.

The text is `pydoc_data.topics.topics`, which comes with Python and differs between its versions. A
token is a character: 95 that can be printed, in lower case, and five special ones. Two pieces of
text stand in a sequence; in half of them the second one follows the first. 15 % of the characters
are to be predicted, of which 80 % are masked, 10 % replaced and 10 % left (Devlin et al. 2018,
section 3.1). All is drawn once, as by the reference's create_pretraining_data.py. Every tenth
paragraph is for the evaluation. The manifest says which Python made the set, and has its hash.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ttt.data import examples
from ttt.data.examples import Words
from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder, write_manifest
from ttt.prepare.topics import texts

NEEDS = None  # nothing to download
COUNTS = {"train": 4, "eval": 1}  # files
SAMPLES = {"train": 60_000, "eval": 1_000}
PIECE = 16  # characters of each of the two texts
LENGTH = 2 * PIECE + 3
PREDICTIONS = 5
VOCABULARY = 100
SEED = 0

_PAD, _UNKNOWN, _BEGIN, _END, _MASK, _FIRST = range(6)
_HELD_OUT = 10  # one paragraph in so many is for the evaluation
_LEAST = {"train": 100_000, "eval": 10_000}  # characters


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Write `out`/train/part-0000N-of-00004, eval/part-00000-of-00001 and manifest.json.

    Nothing is written if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: the text comes with Python.
        progress: Called with (files written, files in all).

    Raises:
        DataError: This Python has not this text, or something else lies at `out`.
    """
    if is_complete(out, COUNTS):
        return
    texts = split(_paragraphs())
    with whole_folder(out) as folder:
        done = 0
        for number, (part, files) in enumerate(COUNTS.items()):
            made = masked(texts[part], SAMPLES[part], np.random.RandomState(SEED + number))
            (folder / part).mkdir()
            for file, samples in enumerate(np.array_split(made, files)):
                content = b"".join(examples.pack(one, LENGTH, PREDICTIONS) for one in samples)
                (folder / part / f"part-{file:05d}-of-{files:05d}").write_bytes(content)
                done += 1
                progress(done, sum(COUNTS.values()))
        source = f"pydoc_data.topics of Python {platform.python_version()}"
        write_manifest(folder, source, COUNTS, samples=SAMPLES)


def split(paragraphs: Sequence[str]) -> dict[str, Words]:
    """The characters of each part as tokens.

    Raises:
        DataError: The text is too short.
    """
    texts = {}
    for part in SAMPLES:
        held_out = part == "eval"
        text = " ".join(
            one for place, one in enumerate(paragraphs) if (place % _HELD_OUT == 0) == held_out
        )
        tokens = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int32)
        if len(tokens) < _LEAST[part]:
            raise DataError(
                f"the topics of Python {platform.python_version()} are too short for this set; use"
                " another version of Python, or type benchmark=digits to try ttt"
            )
        texts[part] = np.where((tokens >= 32) & (tokens < 127), tokens - 32 + _FIRST, _UNKNOWN)
    return {part: tokens.astype(np.int32) for part, tokens in texts.items()}


def masked(text: Words, count: int, random: np.random.RandomState) -> Words:
    """Samples as `ttt.data.examples` has them, int32 [count, 3 S + 3 P + 1].

    NumPy promises that `RandomState` never changes its numbers.

    Args:
        text: Tokens, one after the other.
        count: How many samples.
        random: Draws the pieces and what is masked.
    """
    first = random.randint(len(text) - 2 * PIECE, size=count)
    other = random.random_sample(count) < 0.5
    second = np.where(other, random.randint(len(text) - PIECE, size=count), first + PIECE)
    within = np.arange(PIECE)
    words = np.full((count, LENGTH), _END)
    words[:, 0] = _BEGIN
    words[:, 1 : PIECE + 1] = text[first[:, None] + within]
    words[:, PIECE + 2 : -1] = text[second[:, None] + within]
    segments = np.zeros_like(words)
    segments[:, PIECE + 2 :] = 1
    letters = np.concatenate([within + 1, within + PIECE + 2])
    drawn = random.random_sample((count, 2 * PIECE)).argsort(axis=1, kind="stable")
    places = letters[np.sort(drawn[:, :PREDICTIONS], axis=1)]
    labels = np.take_along_axis(words, places, axis=1)
    kind = random.random_sample(labels.shape)
    replaced = random.randint(_FIRST, VOCABULARY, size=labels.shape)
    new = np.where(kind < 0.8, _MASK, np.where(kind < 0.9, replaced, labels))
    np.put_along_axis(words, places, new, axis=1)
    ones = np.ones_like(words), np.ones_like(labels)
    columns = [words, ones[0], segments, places, labels, ones[1], other[:, None]]
    return np.concatenate(columns, axis=1).astype(np.int32)


def _paragraphs() -> list[str]:
    """Every paragraph of the topics once, in lower case and on one line.

    Raises:
        DataError: This Python comes without them.
    """
    lines = (" ".join(one.split()).lower() for text in texts() for one in text.split("\n\n"))
    return [line for line in dict.fromkeys(lines) if line]
