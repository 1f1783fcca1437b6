"""Python's own help on its language, as bytes: nothing to download, 5,000 sequences of 64.

The text is `pydoc_data.topics.topics`, which comes with Python and differs between its versions.
Some topics repeat others, so a paragraph is taken once, and no paragraph to evaluate on is one to
learn from. The set is cut to the same numbers of bytes with every Python. Which version wrote it,
and the hashes of its files, are in the manifest: only sets of equal hashes are the same.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder
from ttt.prepare.token_sets import BYTES, PARTS, write_bytes, write_manifest

NEEDS = None  # nothing to download
LENGTH = 64
COUNTS = {"train": 5000, "eval": 512}  # samples of LENGTH bytes

_DOCUMENT = 2000  # bytes, and what is left of a paragraph
_HELD_OUT = 10  # one document in so many is for the evaluation


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Write train and eval, a .bin and .idx each, and manifest.json; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: the text comes with Python.
        progress: Called with (documents written, documents in all).

    Raises:
        DataError: This Python has not this text, or something else lies at `out`.
    """
    if is_complete(out, COUNTS):
        return
    parts = split(_paragraphs(texts()))
    with whole_folder(out) as folder:
        write_bytes(folder, parts)
        source = f"pydoc_data.topics of Python {platform.python_version()}"
        write_manifest(folder, source, length=LENGTH, vocabulary=BYTES)
    every = sum(map(len, parts.values()))
    progress(every, every)


def split(paragraphs: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Documents of each part, cut to the bytes that make `COUNTS` samples.

    Raises:
        DataError: The text is too short.
    """
    parts: dict[str, list[bytes]] = {part: [] for part in PARTS}
    for number, document in enumerate(_documents(paragraphs)):
        parts["train" if number % _HELD_OUT else "eval"].append(document)
    return {part: _cut(documents, COUNTS[part]) for part, documents in parts.items()}


def _cut(documents: list[bytes], samples: int) -> list[bytes]:
    left, cut = samples * LENGTH + 1, []  # the last sample has a label, too
    for document in documents:
        cut.append(document[:left])
        left -= len(cut[-1])
        if not left:
            return cut
    raise DataError(
        f"the topics of Python {platform.python_version()} are {left:,} bytes too short for this"
        " set; use another version of Python, or type benchmark=digits to try ttt"
    )


def texts() -> list[str]:
    """All topics, in the order of their names.

    Raises:
        DataError: This Python comes without them.
    """
    try:
        from pydoc_data.topics import topics  # noqa: PLC0415 - some packages of Python lack it
    except ImportError as error:
        raise DataError(
            f"this Python has no pydoc_data ({error}), whose text the set is made of; install all"
            " of Python's standard library, on Debian by apt install libpython3-stdlib"
        ) from error
    return [topics[name] for name in sorted(topics)]


def _paragraphs(texts: Iterable[str]) -> Iterator[bytes]:
    """Every paragraph of the texts once; one that differs in white space alone is the same."""
    seen = set()
    for text in texts:
        for paragraph in text.split("\n\n"):
            words = " ".join(paragraph.split())
            if words and words not in seen:
                seen.add(words)
                yield paragraph.strip("\n").encode() + b"\n\n"


def _documents(paragraphs: Iterable[bytes]) -> Iterator[bytes]:
    """Neighbouring paragraphs as documents; what is left at the end is dropped."""
    document = b""
    for paragraph in paragraphs:
        document += paragraph
        if len(document) >= _DOCUMENT:
            yield document
            document = b""
