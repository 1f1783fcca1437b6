"""A small click log on disk, for tests, and the settings that read it."""

import json

import numpy as np

from ttt.data.records import pack

ROWS, HOTS, DENSE = [50, 7, 20], [1, 1, 3], 2


def write(root, train, evaluation):
    """Records in which sample i has i in every place that can hold it; labels by turns."""
    root.mkdir(exist_ok=True)
    for part, count in (("train", train), ("eval", evaluation)):
        place = np.arange(count)
        dense = np.column_stack([place, -place / 7]).astype(np.float32)
        ids = np.column_stack([place % rows for rows in np.repeat(ROWS, HOTS)])
        pack(place % 2, dense, ids).tofile(root / f"{part}.bin")
    said = {"counts": {"train": train, "eval": evaluation}}
    said |= {"dense": DENSE, "rows": ROWS, "hots": HOTS}
    (root / "manifest.json").write_text(json.dumps(said))
    return root


def settings(root, train, evaluation, **other):
    """The keys of `data` for it."""
    given = {
        "root": str(root),
        "train_samples": train,
        "eval_samples": evaluation,
        "dense": DENSE,
        "rows": ROWS,
        "hots": HOTS,
        "global_batch": 12,
        "eval_batch": 4,
        "shuffle": True,
        "prefetch": 2,
    }
    return given | other
