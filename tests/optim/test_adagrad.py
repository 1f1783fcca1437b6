"""Adagrad: its formula, and the same update whether tables are touched in part or as a whole."""

import pytest
import torch
import torch.nn.functional as F

from ttt.errors import ConfigError
from ttt.models.embedding_bags import EmbeddingBags
from ttt.optim import adagrad

RULES = dict(epsilon=1e-8, initial_accumulator_value=0.0, lr_decay=0.0, weight_decay=0.0)


def bags(sparse):
    torch.manual_seed(0)
    return EmbeddingBags([6, 50], [4, 2], 3, sparse=sparse)


def trained(module, steps=5, **settings):
    optimizer = adagrad.build(module, lr=0.1, **RULES | settings)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        ids = torch.randint(6, (8, 6), generator=generator)  # 32 of 6 rows: most come twice
        goal = torch.randn(8, 2, 3, generator=generator)
        F.mse_loss(module(ids), goal).backward()
        optimizer.step()
        optimizer.zero_grad()
    return module.weight.detach()


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_touching_the_rows_of_a_batch_is_the_dense_update(start):
    settings = dict(initial_accumulator_value=start, lr_decay=0.01)
    dense, sparse = (trained(bags(kind), **settings) for kind in (False, True))
    assert not torch.equal(dense, bags(False).weight)
    torch.testing.assert_close(sparse, dense, rtol=0, atol=1e-6)
    assert torch.equal(sparse[12:], bags(True).weight[12:])  # rows that no batch looked up


def test_the_update_is_the_formula_with_repeated_rows_summed_before_the_square():
    module = bags(sparse=True)
    before = module.weight.detach().clone()
    optimizer = adagrad.build(module, lr=0.1, **RULES)
    module(torch.tensor([[2, 2, 2, 5, 0, 1]])).sum().backward()
    optimizer.step()
    summed = torch.zeros(56)
    summed[[2, 5, 6, 7]] = torch.tensor([3.0, 1.0, 1.0, 1.0])
    step = 0.1 * summed / ((summed**2).sqrt() + 1e-8)
    torch.testing.assert_close(module.weight.detach(), before - step[:, None])
    torch.testing.assert_close(optimizer.state[module.weight]["sum"][:, 0], summed**2)


def test_dense_weights_get_the_dense_update_beside_sparse_ones():
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 2)
    model = torch.nn.ModuleList([bags(sparse=True), linear])
    optimizer = adagrad.build(model, lr=0.1, **RULES)
    before = linear.weight.detach().clone()
    (model[0](torch.ones(1, 6, dtype=torch.int64)).sum() + linear.weight.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(linear.weight.detach(), before - 0.1)


def test_sparse_rows_cannot_decay():
    with pytest.raises(ConfigError, match=r"optim.weight_decay=0.1 .*optim.weight_decay=0"):
        adagrad.build(bags(sparse=True), lr=0.1, **RULES | {"weight_decay": 0.1})
    adagrad.build(bags(sparse=False), lr=0.1, **RULES | {"weight_decay": 0.1})
