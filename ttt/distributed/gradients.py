"""How long a process computes and how long it exchanges gradients, by DDP's own reducer.

The reducer times the first ten updates and then every hundredth, by events on a GPU, and keeps the
latest of them. On a GPU the reducer itself waits for these events, at the start of the forward pass
after a timed update (torch's reducer_cuda.cpp). ttt adds nothing to a training step. The reducer
forgets all but the latest, so a caller looks from time to time.
"""

import statistics
import time

from torch.nn.parallel import DistributedDataParallel

from ttt.distributed.tables import spread_in
from ttt.protocols import Breakdown

_START = "forward_compute_time_start"  # of the update that was timed, in ns since the epoch


class GradientTimes:
    """Collects what the reducer times, from now on.

    Communication begins when the first bucket of gradients is sent and ends when the last one is
    averaged, so that it has in it the wait for processes that are late. What spread tables exchange
    is not the reducer's and would be taken for computation: with these nothing is known.

    Args:
        module: Whose gradients its reducer averages.
    """

    def __init__(self, module: DistributedDataParallel) -> None:
        self._module = module
        self._whole = not any(tables.exchanges for tables in spread_in(module).values())
        self._seen = time.time_ns()  # the next update reports the last one of a warm-up
        self._samples: list[tuple[float, float, float]] = []

    def look(self) -> None:
        """Keep what was timed since the last look; costs microseconds and never waits."""
        if not self._whole:
            return
        timed = self._module._get_ddp_logging_data()
        if timed.get(_START, 0) <= self._seen:
            return
        self._seen = timed[_START]
        computed = timed["forward_compute_time"] + timed["backward_compute_time"]
        exchanged = timed["backward_comm_time"]
        hidden = timed["backward_compute_comm_overlap_time"]
        exposed = max(0.0, exchanged - hidden)
        self._samples.append((computed / 1e6, exchanged / 1e6, exposed / 1e6))

    def breakdown(self, accumulate: int) -> Breakdown:
        """Medians over the updates that were timed.

        Args:
            accumulate: Forward and backward passes per update, of which the last was timed.
        """
        if not self._whole or not self._samples:
            return Breakdown()
        computed, exchanged, exposed = map(statistics.median, zip(*self._samples, strict=True))
        return Breakdown(computed * accumulate, exchanged, exposed)
