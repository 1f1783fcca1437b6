"""AdamW and its schedule against numbers worked out by hand; what an MLPerf log says of them."""

import math

import pytest
import torch
from torch import nn

from ttt.optim import adamw
from ttt.optim.schedules_steps import WarmupCosine
from ttt.schema.optim import AdamwConfig
from ttt.schema.schedule import WarmupCosineConfig


def test_two_updates_by_hand():
    """Loshchilov and Hutter 2017, algorithm 2; the bias does not decay."""
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.constant_(model.bias, 3.0)
    optimizer = adamw.build(model, lr=0.1, beta_1=0.9, beta_2=0.95, epsilon=1e-5, weight_decay=0.1)
    expected = {"weight": 2.0, "bias": 3.0}
    first, second = dict.fromkeys(expected, 0.0), dict.fromkeys(expected, 0.0)
    for update, gradient in enumerate((0.5, -0.25), start=1):
        for name, weight in model.named_parameters():
            weight.grad = torch.full_like(weight, gradient)
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            decay = 0.1 * 0.1 * expected[name] if name == "weight" else 0.0
            step = first[name] / (1 - 0.9**update)
            root = math.sqrt(second[name] / (1 - 0.95**update)) + 1e-5
            expected[name] -= decay + 0.1 * step / root
        optimizer.step()
    for name, weight in model.named_parameters():
        assert weight.item() == pytest.approx(expected[name], rel=1e-6)


def test_embeddings_decay_and_norms_do_not():
    model = nn.Sequential(nn.Embedding(3, 4), nn.RMSNorm(4), nn.Linear(4, 3, bias=False))
    groups = adamw.build(model, lr=0.1, weight_decay=0.1).param_groups
    assert [(len(one["params"]), one["weight_decay"]) for one in groups] == [(2, 0.1), (1, 0.0)]


def test_the_rate_rises_falls_and_stays():
    rate = WarmupCosine(base_lr=8.0, end_lr=0.8, warmup_steps=3, max_steps=13)
    assert [rate(step) for step in range(4)] == [2.0, 4.0, 6.0, 8.0]
    assert rate(8) == pytest.approx((8.0 + 0.8) / 2)  # half of the cosine
    assert rate(4) == pytest.approx(0.8 + 3.6 * (1 + math.cos(math.pi / 10)))
    assert [rate(13), rate(14), rate(10**9)] == [0.8, 0.8, 0.8]
    assert WarmupCosine(base_lr=8.0, end_lr=0.8, warmup_steps=0, max_steps=10)(0) == 8.0


def test_the_log_has_the_keys_of_llama31_8b_with_the_warm_up_before_the_decay():
    rate = WarmupCosineConfig(warmup_steps=16, max_steps=1_200_000, end_lr=4e-5).logged(None)
    optimizer = AdamwConfig(lr=4e-4, beta_2=0.95, epsilon=1e-5, weight_decay=0.1)
    assert list(optimizer.logged(rate).items()) == [
        ("opt_name", "adamw"),
        ("opt_base_learning_rate", 4e-4),
        ("opt_end_learning_rate", 4e-5),
        ("opt_learning_rate_warmup_steps", 16),
        ("opt_learning_rate_decay_steps", 1_199_984),
        ("opt_learning_rate_decay_schedule", "cosine with linear warmup"),
        ("max_steps", 1_200_000),
        ("opt_adamw_beta_1", 0.9),
        ("opt_adamw_beta_2", 0.95),
        ("opt_adamw_epsilon", 1e-5),
        ("opt_adamw_weight_decay", 0.1),
    ]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"warmup_steps": -1}, "schedule.warmup_steps=-1 is not allowed; allowed: 0 or more"),
        (
            {"warmup_steps": 1000},
            "schedule.max_steps=1000 is not allowed; allowed: above schedule.warmup_steps=1000;"
            " schedule.max_steps=1001",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_a_sentence(settings, sentence):
    (found,) = WarmupCosineConfig(**settings).problems()
    assert found.startswith(sentence)
