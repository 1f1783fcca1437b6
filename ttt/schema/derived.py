"""Numbers that the rules derive from other settings. Pure."""

from __future__ import annotations

import math

from ttt.schema.parallel import Mesh


def steps(epochs: float, train_samples: int | None, global_batch: int) -> int:
    """Updates it takes to train for this many epochs; 0 before the training set is counted."""
    return math.ceil(epochs * (train_samples or 0) / max(1, global_batch))


def micro_batch(global_batch: int, processes: int, accumulate: int) -> int:
    """Samples in one forward pass; of one process if the number of processes is not known yet."""
    return Mesh.of(processes).micro_batch(global_batch, accumulate)


def share(part: float, whole: float) -> float:
    """A part of a number, as the end of a schedule is of its peak; 0.1 of 6e-4 is 6e-5."""
    return float(f"{part * whole:.12g}")
