"""Made-up clicks whose best possible AUC is known: nothing to download, 240,000 samples.

A person is shown an item. How likely a click is follows from a known formula (`logits`): tastes and
qualities that a table can hold, and what only the two together tell, which a sum of tables cannot.
The label is drawn from that probability, so the AUC of the probabilities themselves is what no
model can beat but by luck; it is in the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ttt.data.records import pack
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder
from ttt.prepare.logs import write_manifest, write_parts

NEEDS = None  # nothing to download
COUNTS = {"train": 200_000, "eval": 40_000}
DENSE = 4
ROWS = (300, 200, 24, 8, 40)  # person, item, hour, place on the page, interests
HOTS = (1, 1, 1, 1, 3)
SEED = 0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Shown(NamedTuple):
    """What was shown to whom.

    Attributes:
        dense: Measured features [N, DENSE].
        ids: Ids [N, sum(HOTS)], features side by side.
    """

    dense: Floats
    ids: Ints


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Write `out`/train.bin, eval.bin and manifest.json; nothing if they are there.

    NumPy promises that `RandomState` never changes its numbers, so the set is the same for ever.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: the set is made up.
        progress: Called with (samples written, samples in all).

    Raises:
        DataError: Something else lies at `out`.
    """
    if is_complete(out, COUNTS):
        return
    random = np.random.RandomState(SEED)
    total = sum(COUNTS.values())
    shown = draw(random, total)
    truth = logits(random, shown)
    labels = random.random_sample(total) < 1 / (1 + np.exp(-truth))
    records = pack(labels, shown.dense.astype(np.float32), shown.ids)
    train, held_out = slice(COUNTS["train"]), slice(COUNTS["train"], None)
    with whole_folder(out) as folder:
        write_parts(folder, {"train": records[train], "eval": records[held_out]})
        write_manifest(
            folder,
            "made up by ttt",
            counts=COUNTS,
            dense=DENSE,
            rows=ROWS,
            hots=HOTS,
            best_auc=auc(truth[held_out], labels[held_out]),
        )
    progress(total, total)


def draw(random: np.random.RandomState, total: int) -> Shown:
    """Who is shown what: some people and items come far more often than others."""
    person, item = ((rows * random.random_sample(total) ** 2).astype(np.int64) for rows in ROWS[:2])
    others = [random.randint(rows, size=total) for rows in ROWS[2:4]]
    interests = random.randint(ROWS[4], size=(total, HOTS[4]))
    dense = random.standard_normal((total, DENSE))
    return Shown(dense, np.column_stack([person, item, *others, interests]))


def logits(random: np.random.RandomState, shown: Shown) -> Floats:
    """The log-odds of a click [N]: a bias, one effect an id, and three that take two features."""
    person, item, hour, place = shown.ids[:, :4].T
    interests = shown.ids[:, 4:]
    effects = [0.6 * random.standard_normal(rows) for rows in ROWS]
    alone = sum(effect[shown.ids[:, i]] for i, effect in enumerate(effects[:4]))
    alone = alone + effects[4][interests].sum(axis=1) / 2
    taste, kind = random.standard_normal((ROWS[0], 2)), random.standard_normal((ROWS[1], 2))
    liking = 0.6 * (taste[person] * kind[item]).sum(axis=1)
    habit = 0.5 * random.standard_normal((ROWS[3], DENSE))
    measured = (habit[place] * shown.dense).sum(axis=1)
    evening = 0.5 * np.cos(2 * np.pi * (hour - 20) / 24) * kind[item, 0]
    total: Floats = -1.6 + alone + liking + measured + evening
    return total


def auc(scores: Floats, labels: npt.NDArray[np.bool_]) -> float:
    """Share of (positive, negative) pairs in the right order; there are no ties among floats."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(scores)] = np.arange(len(scores))
    positives = int(labels.sum())
    won = int(ranks[labels].sum()) - positives * (positives - 1) // 2
    return won / (positives * (len(labels) - positives))
