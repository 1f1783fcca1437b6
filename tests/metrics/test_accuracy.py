"""Top-1: exact counts over any division of the samples, and what counts as wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from ttt.errors import DataError
from ttt.metrics.accuracy import Top1

NAN, INF = float("nan"), float("inf")


@dataclass
class Parts:
    """A world whose other processes hold `others`, each a data shard of its own."""

    others: Sequence[Sequence[int]] = ()

    @property
    def replicas(self) -> "Parts":
        return self

    def sum(self, values: Sequence[int]) -> list[int]:
        assert all(type(value) is int for value in values)
        return [sum(column) for column in zip(values, *self.others, strict=True)]


def top1(logits, labels) -> Top1:
    metric = Top1()
    metric.update(torch.tensor(logits), (torch.empty(0), torch.tensor(labels)))
    return metric


def test_counts_add_up_over_batches():
    metric = top1([[0.0, 1.0], [1.0, 0.0]], [1, 1])
    metric.update(torch.tensor([[3.0, 2.0]]), (torch.empty(0), torch.tensor([0])))
    assert metric.compute(Parts()) == (2 / 3, 3)


def test_counts_add_up_over_processes_as_integers():
    # 3 correct of 7 here and there; the mean of shares would be another number.
    metric = top1([[0.0, 1.0]], [1])
    assert metric.compute(Parts([(0, 4), (2, 2)])) == (3 / 7, 7)


def test_quality_is_one_float64_division():
    metric = top1([[0.0, 1.0]] * 3, [1, 1, 0])
    quality, total = metric.compute(Parts([(69_998, 99_997)]))
    assert (quality, total) == (0.7, 100_000)  # float32 would give 0.699999988


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8])
def test_any_division_gives_the_same_float(shards):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(101, 10, generator=generator)
    labels = torch.randint(10, (101,), generator=generator)
    parts = []
    for shard in range(shards):
        metric = Top1()
        rows = slice(shard, None, shards)
        metric.update(logits[rows], (torch.empty(0), labels[rows]))
        share, count = metric.compute(Parts())
        parts.append((round(share * count), count))
    expected = sum(int(a) == int(b) for a, b in zip(logits.argmax(1), labels, strict=True)) / 101
    assert Top1().compute(Parts(parts)) == (expected, 101)


def test_a_process_without_samples_takes_part():
    assert Top1().compute(Parts([(3, 4)])) == (0.75, 4)


def test_an_unreadable_image_is_counted_and_wrong():
    assert top1([[0.0, 1.0], [0.0, 1.0]], [-1, 1]).compute(Parts()) == (0.5, 2)


def test_nan_is_wrong_even_where_argmax_finds_the_label():
    rows = [[NAN, 0.0], [1.0, NAN], [NAN, NAN], [0.0, 1.0]]
    assert torch.tensor(rows).argmax(1).tolist() == [0, 1, 0, 1]
    assert top1(rows, [0, 1, 0, 1]).compute(Parts()) == (0.25, 4)


def test_infinite_logits_are_compared_like_others():
    assert top1([[INF, 0.0], [-INF, 0.0]], [0, 1]).compute(Parts()) == (1.0, 2)


def test_of_equal_logits_one_wins():
    shares = [top1([[2.0, 2.0, 1.0]], [label]).compute(Parts())[0] for label in range(3)]
    assert sorted(shares) == [0.0, 0.0, 1.0]
    assert shares[2] == 0.0


def test_half_precision_counts_past_its_largest_integer():
    metric = Top1()
    logits = torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16).expand(5000, 2)
    metric.update(logits, (torch.empty(0), torch.ones(5000, dtype=torch.int64)))
    assert metric.compute(Parts()) == (1.0, 5000)


def test_nothing_evaluated_is_an_error_not_a_zero():
    with pytest.raises(DataError, match="top1 of 0 evaluation samples"):
        Top1().compute(Parts([(0, 0)]))


@pytest.mark.gpu
def test_update_does_not_wait_for_the_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    logits, labels = torch.randn(64, 10, device="cuda"), torch.zeros(64, dtype=int, device="cuda")
    metric = Top1()
    metric.update(logits, (logits, labels))
    torch.cuda.set_sync_debug_mode("error")
    try:
        metric.update(logits, (logits, labels))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert metric.compute(Parts())[1] == 128
