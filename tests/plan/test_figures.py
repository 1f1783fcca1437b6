"""What fits, which sides of the mesh communicate, and what to change."""

import pytest

from ttt.plan.figures import Figures, axis, easier, passes
from ttt.schema.parallel import Mesh

MESH = Mesh(replicate=2, shard=4, tensor=8)  # 64 processes
GIGA = 10**9


def figures(peak: int | None, making: int = 0) -> Figures:
    return Figures(2 * GIGA, 2 * GIGA, 4 * GIGA, peak, making, [], None)


@pytest.mark.parametrize(
    ("ranks", "sides"),
    [
        (range(8), "tensor"),
        (range(0, 32, 8), "shard"),
        ((0, 32), "replicate"),
        (range(0, 64, 8), "replicate+shard"),
        (range(64), "replicate+shard+tensor"),
    ],
)
def test_processes_differ_along_sides_of_the_mesh(ranks: range, sides: str):
    assert axis(MESH, ranks) == sides


def test_a_tenth_of_the_memory_is_left_free():
    assert figures(72 * GIGA).fits(80e9) is True
    assert figures(72 * GIGA + 1).fits(80e9) is False
    assert figures(10 * GIGA, making=73 * GIGA).fits(80e9) is False


def test_what_is_not_known_is_not_judged():
    assert figures(None).fits(80e9) is None
    assert figures(GIGA).fits(None) is None


def test_more_passes_are_the_fewest_that_may_do():
    # 8 GB are fixed, 64 are free, and 200 are activations of 12 samples: 3.1 passes, and 4 divide.
    assert passes(figures(208 * GIGA), 80e9, 12) == 4
    assert passes(figures(208 * GIGA), 80e9, 1) is None
    assert passes(figures(208 * GIGA), 8e9, 12) is None  # the weights alone take it all
    assert passes(figures(None), 80e9, 12) is None


def test_the_least_change_comes_first():
    found = easier(MESH, 2, 3, local_size=16)
    assert found[0] == {"accumulate": 6}
    assert found[1] == {"parallel.checkpointing": "selective"}
    assert found[-1]["parallel.tensor"] == 16
    alone = easier(Mesh(shard=8, tensor=8), 1, None, local_size=8)
    assert [list(each.values()) for each in alone] == [["selective"], ["full"]]
