"""Learning rates of translation: exact points, shape, and their kinship to the references'."""

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ttt.optim.schedules_text import Gnmt, InverseSqrt

RATES = st.floats(1e-5, 10.0)


def test_without_warmup_the_first_update_has_the_base_rate():
    plan = InverseSqrt(base_lr=0.5, warmup_steps=0)
    assert (plan(0), plan(3)) == (0.5, 0.25)


@given(base=RATES, warmup=st.integers(1, 200))
def test_inverse_sqrt_rises_in_a_line_to_its_peak_and_falls_with_the_root(base, warmup):
    plan = InverseSqrt(base_lr=base, warmup_steps=warmup, steps_per_epoch=None)
    assert plan(0) == pytest.approx(base / warmup)
    assert plan(warmup - 1) == pytest.approx(base)
    assert plan(4 * warmup - 1) == pytest.approx(base / 2)
    rates = [plan(step) for step in range(3 * warmup)]
    assert all(a < b for a, b in pairwise(rates[:warmup]))
    assert all(a > b for a, b in pairwise(rates[warmup - 1 :]))


@given(
    width=st.sampled_from([128, 512, 1024]),
    warmup=st.integers(1, 20_000),
    step=st.integers(0, 100_000),
)
def test_the_papers_factor_is_the_same_curve_by_another_name(width, warmup, step):
    plan = InverseSqrt(base_lr=(width * warmup) ** -0.5, warmup_steps=warmup)
    number = step + 1
    paper = width**-0.5 * min(number**-0.5, number * warmup**-1.5)
    assert plan(step) == pytest.approx(paper)


def test_the_peak_of_mlperfs_reference():
    reference = 2.0 * 1024**-0.5 * 16_000**-0.5  # learning_rate, hidden_size, warmup_steps
    assert reference == pytest.approx(4.94e-4, rel=1e-3)
    assert InverseSqrt(base_lr=reference, warmup_steps=16_000)(15_999) == reference


@st.composite
def gnmt_plans(draw):
    warmup = draw(st.integers(0, 50))
    return Gnmt(
        base_lr=draw(RATES),
        steps_per_epoch=draw(st.sampled_from([None, 10.5])),
        warmup_steps=warmup,
        remain_steps=warmup + draw(st.integers(0, 100)),
        decay_interval=draw(st.integers(1, 40)),
        decay_steps=draw(st.integers(0, 5)),
        decay_factor=draw(st.sampled_from([0.5, 0.9])),
    )


def reference(plan: Gnmt, iteration: int) -> float:
    """MLPerf's WarmupMultiStepLR, as its documentation and its three branches state it."""
    if iteration <= plan.warmup_steps and plan.warmup_steps:
        per_step = math.exp(math.log(0.01) / plan.warmup_steps)
        return plan.base_lr * per_step ** (plan.warmup_steps - iteration)
    if iteration >= plan.remain_steps:
        stairs = (iteration - plan.remain_steps) // plan.decay_interval + 1
        return plan.base_lr * plan.decay_factor ** min(stairs, plan.decay_steps)
    return plan.base_lr


@given(plan=gnmt_plans(), step=st.integers(0, 400))
def test_gnmt_is_the_references_schedule(plan, step):
    # Without a plateau the reference lets the peak last one update; here the first stair begins.
    assume(not step == plan.warmup_steps == plan.remain_steps)
    assert plan(step) == pytest.approx(reference(plan, step))


@given(gnmt_plans())
def test_gnmt_rises_then_goes_down_stairs(plan):
    rates = [plan(step) for step in range(plan.remain_steps + 6 * plan.decay_interval)]
    rising, falling = rates[: plan.warmup_steps], rates[plan.warmup_steps :]
    assert all(a < b < plan.base_lr for a, b in pairwise(rising))
    assert all(a >= b for a, b in pairwise(falling))
    assert len(set(falling)) <= plan.decay_steps + 1
    assert rates[-1] == pytest.approx(plan.base_lr * plan.decay_factor**plan.decay_steps)


def test_nvidias_entry_on_a_dgx_a100():
    plan = Gnmt(
        base_lr=2.875e-3,
        warmup_steps=200,
        remain_steps=4054,
        decay_interval=506,
        decay_steps=4,
        decay_factor=0.5,
    )
    assert plan(0) == pytest.approx(2.875e-5)
    assert plan(100) == pytest.approx(2.875e-4)  # half of the way, a tenth of the rate
    assert plan(200) == plan(4053) == 2.875e-3
    assert plan(4054) == plan(4559) == 2.875e-3 / 2
    assert plan(4560) == 2.875e-3 / 4
    assert plan(4054 + 3 * 506) == plan(99_999) == 2.875e-3 / 16
