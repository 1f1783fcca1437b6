"""A benchmark for a prepared data set: ttt's own parts, with settings that fit its manifest.

They are first guesses that reach a fair quality on a few cores in minutes. The files say what to
change. No manifest tells which quality can be reached, so the target is a guess, and is called so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttt.data.manifest import content
from ttt.errors import DataError, fault, one_line
from ttt.prepare.folder import MANIFEST
from ttt.skeleton import templates

# Samples in a batch, which divide among many numbers of processes.
_OF_IMAGES = (144, 72, 48, 24, 12, 6)
_OF_RECORDS = (1008, 504, 252, 84, 42, 12, 6)
_OF_TOKENS = (800, 400, 200)  # enough for a sentence of each of some processes
_OF_SEQUENCES = (32, 16, 8, 4, 2)
_TOKENS = 4096  # of a batch of sequences, as far as that leaves two
_MOST_NATS = 20  # as the benchmark's `target.range` has it
_RESIDENT = 1 << 30  # bytes of decoded images that may be kept

_HELD_OUT = {
    "images": "test",
    "pairs": "eval",
    "table": "eval",
    "tokens": "eval",
}  # part, in the manifest

Manifest = dict[str, Any]


def problems(root: Path, target: float | None) -> list[str]:
    """What keeps a folder from being such a set, or a target from being one, a sentence each."""
    try:
        str(root).encode()
        of = kind(read(root))
    except UnicodeEncodeError:
        return ["--from DATA is a path that is not UTF-8, which no YAML file can hold; rename it"]
    except DataError as error:
        return [str(error)]
    if of == "tokens" and target is not None and not 0 < target <= _MOST_NATS:
        allowed = f"above 0, at most {_MOST_NATS}"
        return [fault("--target", target, "is no log perplexity", allowed=allowed)]
    if of != "tokens" and target is not None and not 0 < target <= 1:
        return [fault("--target", target, "is no fraction", allowed="above 0, at most 1")]
    return []


def read(root: Path) -> Manifest:
    """The manifest of a set.

    Raises:
        DataError: There is none.
    """
    if not (root / MANIFEST).is_file():
        raise DataError(
            f"--from {root} holds no {MANIFEST}; allowed: what `ttt data images`, `ttt data pairs`,"
            " `ttt data table` or `ttt data tokens` made; --from DIR"
        )
    return content(root / MANIFEST)


def kind(manifest: Manifest) -> str:
    """Which of the four a set is.

    Raises:
        DataError: None of them.
    """
    if "sizes" in manifest:
        return "images"
    if "source_language" in manifest:
        return "pairs"
    if "label" in manifest:
        return "table"
    if "sequence_length" in manifest:
        return "tokens"
    raise DataError(
        "--from DATA is none of the sets of `ttt data images`, `ttt data pairs`, `ttt data table`"
        " and `ttt data tokens`; ttt's own sets have benchmarks: ttt run --help"
    )


def files(name: str, root: Path, target: float | None) -> dict[str, str]:
    """What to write, by path in the new folder.

    Args:
        name: Of the benchmark.
        root: The prepared set, as it is seen from where runs are typed.
        target: The quality to reach; None: a guess.

    Raises:
        DataError: The manifest cannot be read, or its values are no values.
    """
    manifest = read(root)
    of = kind(manifest)
    train, held_out = (manifest["counts"][part] for part in ("train", _HELD_OUT[of]))
    values = {
        "root": json.dumps(str(root), ensure_ascii=False),
        "train": train,
        "held_out": held_out,
        "samples": train + held_out,
        "origin": origin(root, target),
        **_SETTINGS[of](manifest, train),
    }
    texts = [
        each for setting, each in values.items() if setting != "root" and isinstance(each, str)
    ]
    if any(one_line(each) != each for each in texts):  # it would be a line of YAML
        raise DataError(f"{root / MANIFEST} is damaged; make the set again")
    return templates.filled(of, name, values if target is None else values | {"target": target})


def origin(root: Path, target: float | None) -> str:
    """Where the target of a benchmark comes from, as a sentence for its file and its author.

    Args:
        root: The prepared set.
        target: What was asked for; None: nothing.

    Raises:
        DataError: The manifest cannot be read.
    """
    if target is not None:
        return "The target was chosen by --target."
    best, side = ("0.01", "above") if kind(read(root)) == "tokens" else ("1", "below")
    return (
        f"The target is a guess. A run with target.threshold={best} shows what this model reaches:"
        f" set a target a little {side} that."
    )


def _images(manifest: Manifest, train: int) -> dict[str, Any]:
    shorter, chance = manifest["sizes"]["shorter"], manifest["largest_class"]
    size = min(shorter[1], 64)
    batch = _batch(train, _OF_IMAGES)
    epochs = min(60, max(1, round(1200 * batch / train)))
    widths, stride = _widths(size)
    return {
        "source": _comment(manifest["source"]),
        "format": manifest["format"],
        "classes": len(manifest["classes"]),
        "chance": f"{chance:.3f}",
        "target": round(chance + (1 - chance) / 2, 2),
        "size": size,
        "sides": f"{shorter[0]} to {shorter[2]}",
        "mean": manifest["mean"],
        "std": manifest["std"],
        "batch": batch,
        "pad": max(1, size // 16),
        "loader": "resident" if 3 * size * size * train < _RESIDENT else "dali",
        "widths": widths,
        "blocks": [0] * (len(widths) - 2) + [1, 0],
        "stride": stride,
        "lr": f"{0.2 * (batch / 144) ** 0.5:.2g}",
        "epochs": epochs,
        "warmup": f"{epochs / 5:g}",
        "every": max(1, epochs // 8) if epochs > 2 else 0.5,
        "most": 2 * epochs,
    }


def _pairs(manifest: Manifest, train: int) -> dict[str, Any]:
    tokens = manifest["tokens"]["target"] + train  # with end marks
    batch = _batch(tokens, _OF_TOKENS)
    steps = tokens / batch  # in an epoch
    epochs = min(300, max(6, round(3000 / steps)))
    return {
        "target": 0.2,
        "vocabulary": manifest["vocabulary"],
        "max_length": manifest["max_length"],
        "batch": batch,
        "warmup": min(400, round(steps * epochs / 8)),
        "epochs": epochs,
        "every": 0.5 if steps > 200 else max(1, round(100 / steps)),
    }


def _table(manifest: Manifest, train: int) -> dict[str, Any]:
    batch = _batch(train, _OF_RECORDS)
    epochs = min(60, max(1, round(1500 * batch / train)))
    return {
        "target": 0.75,
        "label": _comment(manifest["label"]["column"]),
        "dense": manifest["dense"],
        "numbers": _comment(", ".join(manifest["features"]["dense"])),
        "rows": ", ".join(map(str, manifest["rows"])),
        "categories": _comment(", ".join(manifest["features"]["ids"])),
        "batch": batch,
        "epochs": epochs,
        "every": 0.25 if train / batch > 200 else 1,
    }


def _tokens(manifest: Manifest, train: int) -> dict[str, Any]:
    length, vocabulary = manifest["sequence_length"], manifest["vocabulary"]
    sizes = [size for size in _OF_SEQUENCES if size == 2 or size * length <= _TOKENS]
    batch = _batch(train, sizes)
    epochs = min(60, max(1, round(1200 * batch / train)))
    nothing = math.log(max(2, vocabulary))  # known: every token is as likely
    return {
        "target": round(0.4 * nothing, 1),
        "chance": f"{nothing:.2f}",
        "length": length,
        "vocabulary": vocabulary,
        "batch": batch,
        "steps": max(100, round(epochs * train / batch)),
        "epochs": epochs,
        "every": 0.1 if train / batch > 300 else 1,
    }


_SETTINGS = {"images": _images, "pairs": _pairs, "table": _table, "tokens": _tokens}


def _comment(text: str) -> str:
    """A name that others chose, and that may hold anything, on one line."""
    return one_line(" ".join(text.split()))


def _batch(samples: int, sizes: Sequence[int]) -> int:
    """The largest batch that leaves some updates in an epoch."""
    fitting = [batch for batch in sizes if batch <= samples // 10]
    return fitting[0] if fitting else max(1, min(samples, sizes[-1]))


def _widths(size: int) -> tuple[list[int], int]:
    """Channels of the stages for images of this side, and the stride of the first one."""
    stride = 2 if size >= 32 else 1
    side, widths = -(-size // stride), [32]
    while side > 3 and len(widths) < 5:
        side, widths = -(-side // 2), [*widths, min(2 * widths[-1], 192)]
    return (widths if len(widths) > 1 else [32, 64]), stride
