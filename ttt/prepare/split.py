"""Chooses the samples to hold out of a set without an evaluation part: the same for each seed.

NumPy promises that `RandomState` never changes its numbers. Knows places in a list, not samples.
"""

from __future__ import annotations

from argparse import ArgumentParser

import numpy as np
import numpy.typing as npt

from ttt.errors import DataError, fault

Chosen = npt.NDArray[np.bool_]


def options(parser: ArgumentParser) -> None:
    """Add what decides a split."""
    parser.add_argument(
        "--eval-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the samples that are held out to evaluate on (0.2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn by chance (0)")


def problems(share: float, seed: int) -> list[str]:
    """A sentence for each thing that is wrong with these."""
    wrong = []
    if not 0 < share < 1:
        allowed = "between 0 and 1"
        wrong.append(fault("--eval-share", share, "is no share", allowed=allowed, typed="0.2"))
    if not 0 <= seed < 2**32:
        wrong.append(fault("--seed", seed, allowed=f"0 to {2**32 - 1}", typed="0"))
    return wrong


def by_class(labels: npt.NDArray[np.int64], share: float, seed: int) -> Chosen:
    """Held out: so large a share of each class, one sample at least, and never all of them.

    Args:
        labels: The class of each sample, [N].
        share: Between 0 and 1.
        seed: Of the choice.

    Raises:
        DataError: A class has a single sample.
    """
    order = np.random.RandomState(seed).permutation(len(labels))
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        places = order[labels[order] == label]
        if len(places) < 2:
            raise DataError(f"class {label} has a single sample, which cannot be in both parts")
        chosen[places[: min(max(1, round(share * len(places))), len(places) - 1)]] = True
    return chosen


def by_time(times: npt.NDArray[np.float64], share: float) -> Chosen:
    """Held out: the latest ones, as one who predicts has to; samples of one moment stay together.

    Args:
        times: When each sample was, [N], in any unit.
        share: Of the samples that are held out, more or less: the last moment of training is whole.
    """
    ordered = np.sort(times)
    border = ordered[len(ordered) - min(max(1, round(share * len(ordered))), len(ordered) - 1)]
    later: Chosen = times >= border
    return later if not later.all() else times > border
