import pytest

from ttt.results import block_times, communication_fraction
from ttt.telemetry.timing import BlockTimes


def rank(exposed, step=10.0):
    return {"exposed_ms": exposed, "step_ms_p50": step}


def test_the_share_of_communication_is_that_of_the_worst_rank():
    assert communication_fraction([rank(1.0), rank(4.0), rank(0.0)]) == pytest.approx(0.4)
    assert communication_fraction([rank(0.0)]) == 0
    assert communication_fraction([rank(12.0)]) == 1  # the updates timed were not the typical ones


def test_a_share_that_one_rank_does_not_know_is_unknown():
    assert communication_fraction([rank(1.0), rank(None)]) is None
    assert communication_fraction([rank(0.0, step=None)]) is None


def test_blocks_are_told_by_the_update_they_ended_with():
    mine = [BlockTimes(20, 2.0, 0.5), BlockTimes(5, 1.0, 0.25)]
    others = [BlockTimes(20, 2.1, 0.0), BlockTimes(5, 1.1, 0.75)]
    expected = [
        {"step": 120, "seconds": 2.0, "wait_s": [0.5, 0.0]},
        {"step": 125, "seconds": 1.0, "wait_s": [0.25, 0.75]},
    ]
    assert block_times(125, [mine, others]) == expected
    assert block_times(0, [[], []]) == []
