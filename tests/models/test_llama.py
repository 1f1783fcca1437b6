"""The Llama decoder: its size, parity with transformers, its first weights, its plan."""

import math
import os
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ttt.models.llama import Llama
from ttt.models.llama_layers import Attention, GatedMlp, Rotary, Scaling

SMALL: dict[str, Any] = {
    "vocabulary": 97,
    "sequence_length": 48,
    "layers": 3,
    "width": 32,
    "heads": 4,
    "kv_heads": 2,
    "feedforward": 56,
}
# Low and high frequencies, and those between, in heads of 8 numbers: 16 positions are one turn.
SCALED: dict[str, Any] = {
    "rope_theta": 30.0,
    "rope_factor": 8.0,
    "rope_low": 1.0,
    "rope_high": 2.0,
    "rope_context": 12,
}
OTHERS = {  # our names, those of transformers
    "embedding": "model.embed_tokens",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
    "head": "lm_head",
}


def test_llama31_8b_has_as_many_weights_as_the_released_model():
    with torch.device("meta"):
        model = Llama(vocabulary=128_256, sequence_length=8192)
    assert sum(weight.numel() for weight in model.parameters()) == 8_030_261_248


def _renamed(name: str) -> str:
    part, _, kind = name.rpartition(".")
    if part == "norm":
        return f"model.norm.{kind}"
    if not part.startswith("blocks."):
        return f"{OTHERS[part]}.{kind}"
    _, number, inner = part.split(".", 2)
    return f"model.layers.{number}.{OTHERS[inner]}.{kind}"


@pytest.mark.parametrize(
    ("settings", "scaling"),
    [
        ({"rope_factor": None, "rope_theta": 10_000.0}, None),
        ({"kv_heads": 4, "rope_factor": None, "rope_theta": 10_000.0}, None),
        (
            SCALED,
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 2.0,
                "original_max_position_embeddings": 12,
            },
        ),
    ],
    ids=["grouped", "plain", "scaled"],
)
def test_the_logits_are_those_of_transformers(settings, scaling, monkeypatch):
    """Weights copied, fp32: within 1e-5."""
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    from transformers import LlamaConfig, LlamaForCausalLM

    ours = SMALL | settings
    rope = {"rope_theta": ours["rope_theta"], **(scaling or {"rope_type": "default"})}
    config = LlamaConfig(
        vocab_size=ours["vocabulary"],
        hidden_size=ours["width"],
        intermediate_size=ours["feedforward"],
        num_hidden_layers=ours["layers"],
        num_attention_heads=ours["heads"],
        num_key_value_heads=ours["kv_heads"],
        max_position_embeddings=ours["sequence_length"],
        rms_norm_eps=1e-5,
        rope_parameters=rope,
        tie_word_embeddings=False,
    )
    torch.manual_seed(1)
    model, other = Llama(**ours, initial_std=0.1), LlamaForCausalLM(config).eval()
    norms = [weight for weight in model.parameters() if weight.ndim == 1]
    with torch.no_grad():
        for weight in norms:
            weight.uniform_(0.5, 1.5)
    other.load_state_dict({_renamed(name): each for name, each in model.state_dict().items()})
    tokens = torch.randint(ours["vocabulary"], (2, ours["sequence_length"]))
    with torch.no_grad():
        apart = (model(tokens) - other(tokens).logits).abs().max()
    assert apart < 1e-5


def test_frequencies_of_llama_31_by_hand():
    """64 pairs, theta 500,000: the fastest are kept, the slowest divided by 8, others between."""
    plain = 500_000.0 ** (-torch.arange(0, 128, 2, dtype=torch.float64) / 128)
    scaled = Scaling()(plain)
    length = 2 * math.pi / plain
    assert torch.equal(scaled[length < 2048], plain[length < 2048])
    assert torch.equal(scaled[length > 8192], plain[length > 8192] / 8)
    between = (length > 2048) & (length < 8192)
    share = (8192 / length[between] - 1) / 3
    torch.testing.assert_close(
        scaled[between], (1 - share) * plain[between] / 8 + share * plain[between]
    )
    assert between.sum() == 6


def test_what_is_computed_is_no_state():
    rotary = Rotary(8, 16, 10_000.0, None)
    assert rotary.state_dict() == {}
    assert rotary(5)[0].shape == (5, 8)


def test_first_weights_are_those_of_the_benchmark():
    torch.manual_seed(1)
    model = Llama(**SMALL | {"width": 256, "feedforward": 512}, initial_std=0.02)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert (weight == 1).all()
            continue
        written = name.endswith(("output.weight", "down.weight"))
        expected = 0.02 / math.sqrt(2 * 3) if written else 0.02
        assert weight.std().item() == pytest.approx(expected, rel=0.03), name
        assert abs(weight.mean().item()) < 4 * expected / math.sqrt(weight.numel()), name


def test_no_position_sees_a_later_one():
    torch.manual_seed(1)
    model = Llama(**SMALL, initial_std=0.3)
    tokens = torch.randint(97, (1, 48))
    changed = tokens.clone()
    changed[0, 20:] = (changed[0, 20:] + 1) % 97
    with torch.no_grad():
        first, second = model(tokens), model(changed)
    assert torch.equal(first[0, :20], second[0, :20])
    assert not torch.allclose(first[0, 20], second[0, 20])


def test_a_tied_head_is_the_embedding():
    model = Llama(**SMALL, tied=True)
    assert model.head.weight is model.embedding.weight
    names = [name for name, _ in model.named_parameters()]
    assert "head.weight" not in names


def test_angles_are_exact_in_bf16():
    """Far positions would share an angle: bf16 has 8 bits for it."""
    torch.manual_seed(1)
    model = Llama(**SMALL | {"sequence_length": 4096})
    tokens = torch.randint(97, (1, 300))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model(tokens)
    with torch.no_grad():
        exact = model(tokens)
    assert logits.dtype == torch.bfloat16
    assert model.rotary.cosines.dtype == torch.float32
    torch.testing.assert_close(logits.float(), exact, atol=0.02, rtol=0.05)


def test_every_name_of_the_plan_is_a_module_that_can_be_cut():
    model = Llama(**SMALL)
    plan = model.plan()
    assert list(plan.units) == ["blocks.0", "blocks.1", "blocks.2"]
    cut = (torch.nn.Linear, torch.nn.Embedding, torch.nn.RMSNorm, Attention, GatedMlp)
    assert set(plan.tensor) == {
        name for name, module in model.named_modules() if isinstance(module, cut)
    }


def test_half_of_the_heads_on_each_of_two_processes_are_the_whole():
    """Cut as the plan says: columns by outputs, rows by inputs, added up."""
    torch.manual_seed(1)
    attention = Llama(**SMALL, initial_std=0.3).blocks[0].attention
    x, turns = torch.randn(2, 48, 32), Rotary(8, 48, 10_000.0, None)(48)
    whole = attention(x, turns)
    total = torch.zeros_like(whole)
    for part in range(2):
        half = Llama(**SMALL).blocks[0].attention
        for name in ("query", "key", "value"):
            cut = getattr(attention, name).weight.chunk(2)[part]
            getattr(half, name).weight = torch.nn.Parameter(cut)
        half.output.weight = torch.nn.Parameter(attention.output.weight.chunk(2, dim=1)[part])
        total = total + half(x, turns)
    torch.testing.assert_close(total, whole)


def test_a_step_in_the_direction_of_the_gradient_lowers_the_loss():
    torch.manual_seed(1)
    model = Llama(**SMALL)
    tokens = torch.randint(97, (4, 49))

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    before = loss()
    assert before.item() == pytest.approx(math.log(97), abs=0.05)
    before.backward()
    assert all(weight.grad is not None for weight in model.parameters())
    with torch.no_grad():
        for weight in model.parameters():
            weight.sub_(0.5 * weight.grad)
    assert loss() < before
