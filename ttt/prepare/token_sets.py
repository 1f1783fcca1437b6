"""How a set of tokens comes to be on disk: two pairs of Megatron's files and a manifest.

Shared by the preparers of tokens; knows files and counts, not where text comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttt.data.manifest import MANIFEST
from ttt.data.megatron import Writer, dtype_for, open_indexed
from ttt.prepare.folder import file_hash

PARTS = ("train", "eval")
BYTES = 256  # token ids where each byte is a token


def write_bytes(folder: Path, parts: Mapping[str, list[bytes]]) -> None:
    """Write the documents of each part, every byte a token."""
    for part in PARTS:
        with Writer(folder / part, dtype_for(BYTES)) as writer:
            writer.write(memoryview(document) for document in parts[part])


def write_manifest(
    folder: Path, source: Any, *, length: int, vocabulary: int, **more: Any
) -> dict[str, int]:
    """Record where a set came from, what it counts, and a hash of each of its files.

    Args:
        folder: Where both parts lie.
        source: What it was made from, JSON-able.
        length: Tokens of a sample, by which samples are counted; a run may have another length.
        vocabulary: Token ids there are.
        more: What else is worth knowing of this set.

    Returns:
        Samples of each part.

    Raises:
        DataError: A part has no token.
    """
    opened = {part: open_indexed(folder / part) for part in PARTS}
    counts = {part: files.samples(length) for part, files in opened.items()}
    names = [f"{part}.{suffix}" for part in PARTS for suffix in ("bin", "idx")]
    fields = {
        "source": source,
        "counts": counts,
        "sequence_length": length,
        "vocabulary": vocabulary,
        "documents": {part: len(files.lengths) for part, files in opened.items()},
        "tokens": {part: files.total for part, files in opened.items()},
        **more,
        "sha256": {name: file_hash(folder / name) for name in names},
    }
    (folder / MANIFEST).write_text(json.dumps(fields, indent=2) + "\n")
    return counts
