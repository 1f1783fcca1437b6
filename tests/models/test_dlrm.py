"""DLRM-DCNv2: its size by arithmetic, its logits and gradients against plain loops."""

import re
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from ttt import config
from ttt.distributed.sharding_plan import Piece
from ttt.models.dlrm_dcnv2 import DlrmDcnV2
from ttt.models.embedding_bags import EmbeddingBags
from ttt.schema.choices import Precision
from ttt.schema.model.recommendation import DlrmDcnV2Config, Sharding
from ttt.schema.schedule import ConstantConfig

ROWS, HOTS = [7, 100, 1, 30], [2, 1, 3, 5]
SMALL = dict(
    dense=3, rows=ROWS, hots=HOTS, dim=5, bottom=[8, 5], cross_layers=2, cross_rank=4, top=[6, 4, 1]
)
# mlcommons/training, recommendation_v2/torchrec_dlrm/README.MD, --num_embeddings_per_feature
CRITEO = (
    "40000000,39060,17295,7424,20265,3,7122,1543,63,40000000,3067956,405282,10,2209,11938,155,4,"
    "976,14,40000000,40000000,40000000,590152,12973,108,36"
)


def batch(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = [
        torch.randint(rows, (size, hots), generator=generator)
        for rows, hots in zip(ROWS, HOTS, strict=True)
    ]
    dense = torch.randn(size, 3, generator=generator)
    return dense, torch.cat(ids, 1), torch.randint(2, (size,), generator=generator).float()


def by_hand(model, dense, ids):
    """The paper's formulae, sample by sample, with weights taken by their names."""
    w = dict(model.named_parameters())
    tables = w["tables.weight"].split(ROWS)
    logits = []
    for numbers, own in zip(dense, ids, strict=True):
        x = numbers
        for layer in (0, 2):
            x = (w[f"bottom.{layer}.weight"] @ x + w[f"bottom.{layer}.bias"]).clamp(min=0)
        sums = [
            sum(table[number] for number in some)
            for table, some in zip(tables, own.split(HOTS), strict=True)
        ]
        x0 = x = torch.cat([x, *sums])
        for layer in range(2):
            inner = w[f"cross.up.{layer}.weight"] @ (w[f"cross.down.{layer}.weight"] @ x)
            x = x0 * (inner + w[f"cross.up.{layer}.bias"]) + x
        for layer in (0, 2):
            x = (w[f"top.{layer}.weight"] @ x + w[f"top.{layer}.bias"]).clamp(min=0)
        logits.append(w["top.4.weight"][0] @ x + w["top.4.bias"][0])
    return torch.stack(logits)


@pytest.mark.parametrize("sparse", [False, True])
def test_logits_and_gradients_are_those_of_plain_loops(sparse):
    torch.manual_seed(0)
    model = DlrmDcnV2(**SMALL)
    model.tables.sparse = sparse
    dense, ids, labels = batch(9)
    logits = model(dense, ids)
    expected = by_hand(model, dense, ids)
    torch.testing.assert_close(logits, expected)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(F.binary_cross_entropy_with_logits(logits, labels), parameters)
    theirs = torch.autograd.grad(F.binary_cross_entropy_with_logits(expected, labels), parameters)
    assert any(gradient.is_sparse for gradient in ours) == sparse
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.to_dense() if one.is_sparse else one, other)


def test_a_batch_may_be_empty():
    model = DlrmDcnV2(**SMALL)
    assert model(*batch(0)[:2]).shape == (0,)


def test_the_official_model_has_as_many_weights_as_arithmetic_says():
    rows = [int(count) for count in CRITEO.split(",")]
    model = config.instantiate("model", DlrmDcnV2Config(dense=13, rows=rows, hots=[1] * 26))
    assert model.tables.weight.is_meta  # 104 GB
    width = 27 * 128
    bottom = 13 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128
    cross = 3 * (2 * width * 512 + width)
    sizes = [width, 1024, 1024, 512, 256, 1]
    top = sum(a * b + b for a, b in pairwise(sizes))
    parts = {"tables": sum(rows) * 128, "bottom": bottom, "cross": cross, "top": top}
    for name, weights in parts.items():
        assert sum(p.numel() for p in model.get_submodule(name).parameters()) == weights
    assert sum(p.numel() for p in model.parameters()) == sum(parts.values()) == 26_151_671_809


def test_first_values_are_uniform_and_alike_in_whole_and_parts():
    torch.manual_seed(3)
    whole = EmbeddingBags([1000, 70_000], [1, 1], 12)
    assert not torch.equal(whole.weight[:1000], whole.weight[1000:2000])  # a stream a table
    tables = whole.weight.detach().split([1000, 70_000])
    for table, count in zip(tables, (1000, 70_000), strict=True):
        bound = count**-0.5
        assert -bound <= table.min() < -0.99 * bound
        assert 0.99 * bound < table.max() <= bound
        assert abs(table.mean()) < 0.02 * bound
        assert table.std() == pytest.approx(bound / 3**0.5, rel=0.01)
    pieces = [Piece(1, 65_000, 5000), Piece(0, 0, 0), Piece(0, 17, 3)]
    part = whole.part(pieces, sparse=True, device=torch.device("cpu"))
    expected = torch.cat([whole.weight[66_000:71_000], whole.weight[17:20]])
    assert torch.equal(part.weight, expected)
    torch.manual_seed(4)
    assert not torch.equal(EmbeddingBags([1000], [1], 12).weight, whole.weight[:1000])


def test_ids_outside_a_piece_add_nothing():
    whole = EmbeddingBags([10, 4], [3, 2], 8)
    ids = torch.tensor([[1, 9, 5, 0, 3], [9, 9, 8, 1, 1]])
    halves = [
        whole.part([Piece(0, 0, 6), Piece(1, 0, 4)], sparse=True, device=torch.device("cpu")),
        whole.part([Piece(0, 6, 4), Piece(1, 4, 0)], sparse=True, device=torch.device("cpu")),
    ]
    torch.testing.assert_close(sum(half(ids) for half in halves), whole(ids))
    assert torch.equal(halves[1](ids)[:, 1], torch.zeros(2, 8))


def test_what_needs_every_gradient_is_refused_with_sharded_tables():
    node = DlrmDcnV2Config(dense=13, rows=ROWS, hots=HOTS)
    assert list(node.problems_with(Precision.bf16, None)) == []
    [overflow, norm] = node.problems_with(Precision.fp16, 1.0)
    assert re.match(
        "precision=fp16 .*; allowed: .*; precision=bf16, or model.sharding=off", overflow
    )
    assert re.match("clip_norm=1 .*; allowed: null; clip_norm=null, or model.sharding=off", norm)
    node.sharding = Sharding.off
    assert list(node.problems_with(Precision.fp16, 1.0)) == []


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("top", [64], r"model.top=\[64\] must end with 1, .*; model.top=\[64,1\]"),
        ("bottom", [], r"model.bottom=\[\] is not allowed"),
        ("bottom", [4, 0], r"model.bottom=\[4, 0\] is not allowed"),
        ("dim", 0, r"model.dim=0 is not allowed"),
        ("memory_gb", 0.0, r"model.memory_gb=0 is not allowed"),
    ],
)
def test_a_network_that_cannot_be_is_refused(setting, value, words):
    node = DlrmDcnV2Config(dense=13, rows=ROWS, hots=HOTS)
    assert list(node.problems()) == []
    setattr(node, setting, value)
    [problem] = node.problems()
    assert re.match(words, problem)


def test_the_constant_schedule_is_constant():
    schedule = config.instantiate("schedule", ConstantConfig(), base_lr=0.005, steps_per_epoch=None)
    assert {schedule(step) for step in (0, 1, 10**6)} == {0.005}
