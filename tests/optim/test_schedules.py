"""Learning rates: exact points, bounds, monotony, continuity, for plans of any numbers."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt.errors import ConfigError
from ttt.optim.schedules import Cosine, OneCycle, Polynomial

KINDS = [Polynomial, Cosine, OneCycle]


@st.composite
def plans(draw):
    steps_per_epoch = draw(st.integers(1, 300)) + draw(st.sampled_from([0.0, 0.25, 0.9]))
    epochs = draw(st.floats(0.5, 20.0))
    return draw(st.sampled_from(KINDS))(
        base_lr=draw(st.floats(0.01, 10.0)),
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        warmup_epochs=draw(st.floats(0.0, 0.9)) * epochs,
        end_lr=draw(st.sampled_from([0.0, 1e-4, 0.01])),
    )


def last_step(plan) -> int:
    return math.ceil(plan.epochs * plan.steps_per_epoch) + 3


@given(plans())
def test_rates_stay_between_0_and_base(plan):
    rates = [plan(step) for step in range(last_step(plan))]
    assert all(0.0 <= rate <= plan.base_lr * (1 + 1e-12) for rate in rates)
    assert rates[0] > 0.0 or plan.epochs * plan.steps_per_epoch <= 1


@given(plans())
def test_rates_rise_then_fall(plan):
    rates = [plan(step) for step in range(last_step(plan))]
    warmup = sum((s + 1) / plan.steps_per_epoch < plan.warmup_epochs for s in range(len(rates)))
    rounding = plan.base_lr * 1e-12
    rising, falling = rates[: warmup + 1], rates[warmup:]
    if warmup:
        assert all(b >= a - rounding for a, b in pairwise(rising[:-1]))
    assert all(b <= a + rounding for a, b in pairwise(falling))


@given(plans())
def test_no_step_jumps(plan):
    rates = [plan(step) for step in range(last_step(plan))]
    warmup = plan.warmup_epochs * plan.steps_per_epoch
    decay = (plan.epochs - plan.warmup_epochs) * plan.steps_per_epoch
    steepest = 2.0  # the parabola at its start; half a cosine has pi / 2, a line 1
    bound = plan.base_lr * max(1 / warmup if warmup else 0.0, steepest / decay) * (1 + 1e-9)
    assert all(abs(b - a) <= bound for a, b in pairwise(rates))


@given(plans())
def test_after_the_plan_the_rate_stays_at_the_end(plan):
    end = math.ceil(plan.epochs * plan.steps_per_epoch)
    assert {plan(step) for step in (end, end + 1, 10 * end + 7)} == {plan.end_lr}


@pytest.mark.parametrize("kind", KINDS)
def test_the_points_of_a_plan_are_exact(kind):
    plan = kind(base_lr=0.4, steps_per_epoch=10, epochs=6, warmup_epochs=2, end_lr=0.001)
    assert plan(0) == pytest.approx(0.4 / 20)  # the first of 20 steps up: not 0
    assert plan(9) == pytest.approx(0.2)
    assert plan(19) == 0.4
    assert plan(20) < 0.4
    assert plan(58) > 0.001
    assert plan(59) == 0.001
    assert plan(60) == plan(10_000) == 0.001


@pytest.mark.parametrize(("kind", "middle"), [(Polynomial, 0.25), (Cosine, 0.5), (OneCycle, 0.5)])
def test_halfway_down(kind, middle):
    plan = kind(base_lr=1.0, steps_per_epoch=10, epochs=6, warmup_epochs=2, end_lr=0.2)
    assert plan(39) == pytest.approx(0.2 + 0.8 * middle)


def test_a_quarter_down_tells_a_cosine_from_a_line():
    shape = {"base_lr": 1.0, "steps_per_epoch": 10, "epochs": 4}
    assert Cosine(**shape)(9) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert OneCycle(**shape)(9) == pytest.approx(0.75)
    assert Polynomial(**shape, power=3.0)(9) == pytest.approx(0.75**3)


def test_warmup_may_start_above_0():
    plan = OneCycle(base_lr=1.0, steps_per_epoch=10, epochs=4, warmup_epochs=1, warmup_start_lr=0.5)
    assert plan(4) == pytest.approx(0.75)


def test_mlperf_resnet_at_batch_3200():
    # NVIDIA's closed submission: base 11, 2 warm-up epochs, 37 in all, power 2, end 1e-4.
    plan = Polynomial(
        base_lr=11.0, steps_per_epoch=400.0, epochs=37, warmup_epochs=2, power=2.0, end_lr=1e-4
    )
    assert plan(799) == 11.0
    assert plan(400 * 37 - 1) == 1e-4
    assert plan(7799) == pytest.approx(1e-4 + (11.0 - 1e-4) * (1 - 7000 / 14000) ** 2)


@pytest.mark.parametrize("warmup", [-1.0, 4.0, 5.0])
def test_a_warmup_that_does_not_fit_is_refused(warmup):
    with pytest.raises(ConfigError, match=r"schedule\.warmup_epochs=.*below.*schedule\.epochs=4"):
        OneCycle(base_lr=1.0, steps_per_epoch=10, epochs=4, warmup_epochs=warmup)
