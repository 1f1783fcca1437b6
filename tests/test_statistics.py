import pytest

from ttt.statistics import block_times, communication_fraction, largest
from ttt.telemetry.timing import BlockTimes


def rank(exposed, computed=6.0):
    return {"exposed_ms": exposed, "compute_ms": computed, "step_ms_p50": 10.0}


def test_the_share_of_communication_is_that_of_the_worst_rank():
    assert communication_fraction([rank(1.0), rank(4.0), rank(0.0)]) == pytest.approx(0.4)
    assert communication_fraction([rank(0.0)]) == 0


def test_a_share_compares_times_of_the_same_updates():
    """The few that are timed may be slower than most: 11 ms of 27 ms are never 100% of 10 ms."""
    assert communication_fraction([rank(16.0, 11.0)]) == pytest.approx(16 / 27)


def test_a_share_that_one_rank_does_not_know_is_unknown():
    assert communication_fraction([rank(1.0), rank(None)]) is None
    assert communication_fraction([rank(1.0, computed=None)]) is None
    assert communication_fraction([rank(0.0, computed=None)]) == 0  # alone there is none


def test_blocks_are_told_by_the_update_they_ended_with():
    mine = [BlockTimes(20, 2.0, 0.5), BlockTimes(5, 1.0, 0.25)]
    others = [BlockTimes(20, 2.1, 0.0), BlockTimes(5, 1.1, 0.75)]
    expected = [
        {"step": 120, "seconds": 2.0, "wait_s": [0.5, 0.0]},
        {"step": 125, "seconds": 1.0, "wait_s": [0.25, 0.75]},
    ]
    assert block_times(125, [mine, others]) == expected
    assert block_times(0, [[], []]) == []


def test_memory_is_that_of_the_rank_with_most_as_far_as_it_is_known():
    ranks = [{"a": 3, "b": None, "c": None}, {"a": 5, "b": 7, "c": None}]
    assert largest(ranks, ["a", "b", "c"]) == {"a": 5, "b": 7, "c": None}
