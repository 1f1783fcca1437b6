"""Language: the loss, what is predicted, what is kept, and the metric over any processes."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ranks import on_ranks
from ttt.data.tokens import Tokens
from ttt.distributed.world import Solo
from ttt.errors import DataError
from ttt.metrics.log_perplexity import LogPerplexity
from ttt.tasks.language import Language


class Table(nn.Module):
    """The logits of each token, whatever came before."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Embedding(7, 7)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.logits(inputs)
        return out


def batch(rows: int, seed: int = 1) -> Tokens:
    made = torch.randint(7, (rows, 6), generator=torch.Generator().manual_seed(seed))
    return Tokens(made[:, :-1], made[:, 1:])


def model() -> Table:
    torch.manual_seed(3)
    return Table()


def test_loss_metric_and_what_is_kept_say_the_same():
    task, sequences = Language(), batch(4)
    log = F.log_softmax(model()(sequences.inputs), dim=-1)
    by_hand = -log.gather(2, sequences.labels[..., None]).double().sum(dim=(1, 2))
    with torch.no_grad():
        sums = task.predict(model(), sequences)
    torch.testing.assert_close(sums, by_hand)
    assert sums.dtype == torch.float64
    metric = task.metric()
    metric.update(sums, sequences)
    quality, samples = metric.compute(Solo(torch.device("cpu")))
    assert (metric.name, samples) == ("log_perplexity", 4)
    assert quality == pytest.approx(by_hand.sum().item() / 20)
    assert quality == pytest.approx(task.loss(model(), sequences).item(), rel=1e-6)
    kept = task.kept(sums, sequences)
    assert math.fsum(kept["negative_log_likelihood"]) / kept["tokens"].sum() == quality


def test_the_loss_is_of_fp32_in_any_precision():
    with torch.autocast("cpu", torch.bfloat16):
        assert Language().loss(model(), batch(2)).dtype == torch.float32


def _quality(world, parts) -> tuple[float, int]:
    metric = LogPerplexity()
    for values in parts[world.data.index]:
        sums = torch.tensor(values, dtype=torch.float64)
        metric.update(sums, SimpleNamespace(labels=torch.zeros(len(values), 2)))
    return metric.compute(world)


def test_neither_ranks_nor_order_nor_an_empty_batch_change_the_last_digit():
    values = [1e16, 1.0, 1.0, 1.0, -1e16, 3.0]
    alone = _quality(Solo(torch.device("cpu")), [[values]])
    assert alone == (6 / 12, 6)
    assert sum(values) / 12 != alone[0]  # added one by one, it is another number
    parts = [[values[3:4], []], [values[:3], values[4:]]]
    assert on_ranks(2, _quality, parts) == [alone, alone]


def test_a_quality_of_nothing_is_undefined():
    with pytest.raises(DataError, match="at least one sequence"):
        LogPerplexity().compute(Solo(torch.device("cpu")))


def test_one_nan_is_the_result():
    assert math.isnan(_quality(Solo(torch.device("cpu")), [[[1.0, math.nan]]])[0])
