"""Files of tokens in Megatron's layout, packed by hand, and the settings that read them."""

import struct

import numpy as np

CODES = {"u1": 1, "i1": 2, "i2": 3, "i4": 4, "i8": 5, "f8": 6, "f4": 7, "u2": 8}


def pack(documents, dtype="u2"):
    """The bytes of the .bin and the .idx of some lists of tokens."""
    letter = {"u1": "B", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u2": "H"}[dtype]
    tokens = b"".join(struct.pack(f"<{len(one)}{letter}", *one) for one in documents)
    index = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + struct.pack("<B", CODES[dtype])
    index += struct.pack("<Q", len(documents)) + struct.pack("<Q", len(documents) + 1)
    index += b"".join(struct.pack("<i", len(one)) for one in documents)
    at = 0
    for one in documents:
        index += struct.pack("<q", at)
        at += len(one) * struct.calcsize(letter)
    index += b"".join(struct.pack("<q", border) for border in range(len(documents) + 1))
    return tokens, index


def write(prefix, documents, dtype="u2"):
    """Both files."""
    for suffix, content in zip((".bin", ".idx"), pack(documents, dtype), strict=True):
        prefix.with_name(prefix.name + suffix).write_bytes(content)


def documents(count, seed=0, longest=40):
    """Documents of 0 to `longest` tokens in which every token differs from those near it."""
    random = np.random.RandomState(seed)
    ends = random.randint(0, longest + 1, size=count).cumsum()
    every = np.arange(ends[-1]) % 60_000
    return [part.tolist() for part in np.split(every, ends[:-1])]


def settings(root, train, evaluation, **other):
    """The keys of `data`."""
    given = {
        "root": str(root),
        "train": "train",
        "eval": "eval",
        "sequence_length": 8,
        "vocabulary": 60_000,
        "train_samples": train,
        "eval_samples": evaluation,
        "global_batch": 24,
        "eval_batch": 5,
        "planned_steps": None,
        "prefetch": 2,
    }
    return given | other
