"""Checks whether a folder holds the data set of these results: python3 verify_dataset.py DATADIR.

A copy lies in every package beside dataset.json, which holds the expected values. Needs only
Python: a reviewer may not have ttt.
"""

import json
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def differences(root: Path, expected: dict[str, Any]) -> Iterator[str]:
    """What is not as expected, a sentence each.

    Args:
        root: The data set.
        expected: The content of dataset.json.
    """
    manifest = root / "manifest.json"
    wanted = [expected["train_samples"], expected["eval_samples"]]
    if manifest.is_file():
        found, known = json.loads(manifest.read_bytes()), expected["manifest"] or {}
        for name in known:
            if found.get(name) != known[name]:
                yield f"{manifest} says {name} {found.get(name)!r:.120}, not {known[name]!r:.120}"
        counts = None if expected.get("sequence_length") else found.get("counts")
        if counts and sorted(counts.values()) != sorted(wanted):
            yield f"{manifest} counts {counts}; allowed: {wanted[0]} to train, {wanted[1]} to judge"
    if expected.get("sequence_length"):
        yield from _miscounted(root, expected)
    elif manifest.is_file():
        return
    elif not expected["train_dir"]:
        yield f"{root} has no manifest.json, in which `ttt data` records what it prepared"
    else:
        for name, count in zip(("train_dir", "eval_dir"), wanted, strict=True):
            folder = root / expected[name]
            found = [path for path in folder.rglob("*") if path.is_file()]
            if (files := sum(not _litter(path.relative_to(folder)) for path in found)) != count:
                yield f"{folder} holds {files} files; allowed: {count}"


def _miscounted(root: Path, expected: dict[str, Any]) -> Iterator[str]:
    """Files of tokens that hold other numbers of sequences; of more, the first are evaluated."""
    for part in ("train", "eval"):
        index, count = root / f"{expected[part]}.idx", expected[f"{part}_samples"]
        try:
            found = _sequences(index, expected["sequence_length"])
        except (OSError, ValueError, struct.error, EOFError) as error:
            yield f"{index} cannot be read: {error}"
        else:
            if found != count and (part == "train" or found < count):
                yield f"{index} lists {found} sequences; allowed: {count}"


def _sequences(index: Path, length: int) -> int:
    """Sequences of so many tokens in files of Megatron's: the layout is in ttt.data.megatron."""
    with index.open("rb") as file:
        mark, _, _, count, _ = struct.unpack("<9sQBQQ", file.read(34))
        if not mark.startswith(b"MMIDIDX"):
            raise ValueError("it is no index of Megatron's")
        if 4 * count > index.stat().st_size:
            raise ValueError("it is cut short")
        lengths = array("i")
        lengths.fromfile(file, count)
    if sys.byteorder == "big":
        lengths.byteswap()
    return max(0, sum(lengths) - 1) // length


def _litter(path: Path) -> bool:
    """Whether a system left this file: the rule of ttt.data.listing, which is not there."""
    names = {name.lower() for name in path.parts}
    hidden = any(name.startswith(".") for name in names)
    return hidden or not names.isdisjoint({"__macosx", "thumbs.db", "desktop.ini"})


def _seen(text: str) -> str:
    """The text, with characters that steer a terminal written as code: others chose the names."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def main(root: Path, beside: Path) -> int:
    """Print what differs from dataset.json; returns 1 if anything does."""
    expected = json.loads((beside / "dataset.json").read_bytes())
    wrong = list(differences(root, expected))
    for sentence in wrong:
        print(_seen(sentence), file=sys.stderr)
    if not wrong:
        same = "counts and hashes" if expected["manifest"] else "counts"
        print(_seen(f"{root}: {same} are those of the results"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(__file__).parent))
