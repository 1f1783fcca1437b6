"""Closed forms against figures that others state."""

import pytest

from ttt.flops import formulas
from ttt.flops.published import flop_per_sample


@pytest.mark.parametrize(
    ("benchmark", "tflop"),
    [
        ("llama31_8b", 421.6),  # NVIDIA's v5.1 entry, MODEL_TFLOP_PER_SAMPLE
        ("flux1", 20.3),  # likewise
        ("resnet", 0.0243),
        ("dlrm_dcnv2", 96.2e-6),
        ("llama2_70b_lora", 2518),
        ("gpt_oss_20b", 187.4),
    ],
)
def test_a_closed_benchmark_has_the_figure_of_its_submitters(benchmark: str, tflop: float):
    assert flop_per_sample(benchmark) == pytest.approx(tflop * 1e12, rel=0.005)


@pytest.mark.parametrize("benchmark", ["bert", "digits", "", None])
def test_of_others_nothing_is_known(benchmark: str | None):
    assert flop_per_sample(benchmark) is None


def test_a_decoder_is_six_times_its_weights_and_its_attention():
    width, layers, sequence = 64, 3, 128
    sizes = dict(layers=layers, width=width, heads=4, kv_heads=4, head_width=16)
    made = dict(**sizes, feedforward=100, vocabulary=50, sequence=sequence)
    weights = layers * (4 * width**2 + 3 * width * 100) + width * 50
    linear = 6 * weights * sequence
    assert formulas.decoder(**made) == linear + 6 * layers * width * sequence**2
    assert formulas.decoder(**made, attended=1) == linear + 12 * layers * width * sequence**2
    plain = formulas.decoder(**made, matrices=2)
    assert plain == formulas.decoder(**made) - 6 * layers * width * 100 * sequence


def test_lengths_that_differ_cost_more_attention_than_their_mean():
    sizes = dict(vocabulary=10, encoder_layers=1, decoder_layers=1, width=8, feedforward=8)
    equal = formulas.Lengths.equal(10, 10)
    mixed = formulas.Lengths(10, 10, 125, 125, 125)  # 5 and 15
    apart = [formulas.transformer(**sizes, lengths=formulas.Lengths.equal(n, n)) for n in (5, 15)]
    assert formulas.transformer(**sizes, lengths=mixed) == sum(apart) / 2
    assert formulas.transformer(**sizes, lengths=mixed) > formulas.transformer(
        **sizes, lengths=equal
    )


def test_utilization_is_the_rules_formula():
    parts = dict(samples=50, workers=4, peak_flop_per_s=1e3, seconds=5)
    assert formulas.utilization(flop_per_sample=200, **parts) == 0.5
    for name in (*parts, "flop_per_sample"):
        assert formulas.utilization(**{"flop_per_sample": 200, **parts, name: None}) is None


def test_above_one_it_is_no_number_but_a_sentence():
    assert formulas.impossible(None) is formulas.impossible(1.0) is None
    assert "134%" in (formulas.impossible(1.34) or "")
