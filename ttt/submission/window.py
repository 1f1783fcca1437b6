"""Which runs of too many make the result. Pure."""

import math
from collections.abc import Sequence

from ttt.report.analyze.score import olympic
from ttt.submission.entry import Entry


def median_window(entries: Sequence[Entry], runs: int, dropped: int = 1) -> list[Entry]:
    """The consecutive runs with the median score, in the order they were started.

    MLCommons' training_rules.adoc, "Benchmark Results": of more runs than a result takes, those
    consecutive by time whose score is the median may be submitted; choosing freely is cherry
    picking. Of an even number of scores the slower of the two in the middle is taken.

    Args:
        entries: All runs of one experiment.
        runs: How many a result takes. If there are no more, all are returned.
        dropped: How many its score leaves out at either end.
    """
    ordered = sorted(entries, key=_start)
    windows = [ordered[first : first + runs] for first in range(len(ordered) - runs + 1)]
    if not windows:
        return ordered
    return sorted(windows, key=lambda window: _score(window, dropped))[len(windows) // 2]


def _start(entry: Entry) -> float:
    return math.inf if entry.started is None else entry.started


def _score(window: Sequence[Entry], dropped: int) -> float:
    times = [one.seconds if one.converged else None for one in window]
    score = olympic(times, dropped).seconds
    return math.inf if score is None else score
