import time
from unittest.mock import patch

import pytest
import torch
from torch import nn

from ranks import on_ranks
from ttt.distributed import sharding_plan
from ttt.distributed.gradients import GradientTimes
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.models.dlrm_dcnv2 import DlrmDcnV2
from ttt.protocols import Breakdown

LATE = 0.02  # seconds


class Sleepy(nn.Module):
    """A small model that takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.layer, self.seconds = nn.Linear(8, 8), seconds

    def forward(self, x):
        time.sleep(self.seconds)
        return self.layer(x)


def spread(model, world):
    return parallelize(model, world, optimizer=lambda model: None)


def update(parallel, number=1):
    for _ in range(number):
        parallel.module(torch.randn(4, 8)).sum().backward()


def with_one_late_rank(world):
    parallel = spread(Sleepy(LATE if world.rank == 1 else 0.0), world)
    update(parallel, 2)
    parallel._times = GradientTimes(parallel.module)
    parallel.look()
    before = parallel.breakdown(1)  # of updates before it was made it knows nothing
    for _ in range(4):
        update(parallel)
        parallel.look()
        parallel.look()  # tells nothing new
    return before, parallel.breakdown(1), parallel.breakdown(3), len(parallel._times._samples)


def test_who_is_late_computes_and_the_others_wait():
    for before, *_ in (results := on_ranks(2, with_one_late_rank)):
        assert before == Breakdown()
    (_, prompt, _, samples), (_, late, thrice, _) = results
    assert samples == 3  # the fourth would be told of by a fifth
    late_ms = LATE * 1000
    assert late.compute_ms >= late_ms > late.communication_ms
    assert prompt.communication_ms >= prompt.exposed_ms > prompt.compute_ms
    assert prompt.exposed_ms > late_ms / 2
    assert thrice.compute_ms == pytest.approx(3 * late.compute_ms)
    assert thrice.communication_ms == late.communication_ms  # once an update, however many parts


def test_a_process_alone_exchanges_nothing():
    alone = spread(Sleepy(0), Solo(torch.device("cpu")))
    alone.look()
    assert alone.breakdown(1) == Breakdown(None, 0.0, 0.0)


def with_tables(world):
    told = []
    for sharding in ("table", "off"):
        model = DlrmDcnV2(
            2, [40, 50], [1, 1], dim=4, bottom=[4], cross_layers=1, cross_rank=2, top=[1],
            sharding=sharding,
        )  # fmt: skip
        with patch.object(sharding_plan, "_REPLICATED_BYTES", 0):
            parallel = spread(model, world)
        for _ in range(3):
            parallel.module(
                torch.randn(4, 2), torch.zeros(4, 2, dtype=torch.int64)
            ).sum().backward()
            parallel.look()
        told.append(parallel.breakdown(1))
    return told


def test_what_spread_tables_exchange_is_not_taken_for_nothing():
    for spread, whole in on_ranks(2, with_tables):
        assert spread == Breakdown()
        assert whole.communication_ms > 0
