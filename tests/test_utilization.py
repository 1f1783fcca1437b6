"""Utilization of a run: FLOPs and peak of every shipped benchmark, and null with a reason."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ground import PROJECT
from ttt import config, utilization
from ttt.distributed.world import Solo
from ttt.events import Event, Kind
from ttt.flops.formulas import Lengths
from ttt.schema.run import RunConfig
from ttt.sinks.console import result_rows
from ttt.sinks.summary import Summary

CPU = Solo(torch.device("cpu"))
BENCHMARKS = sorted(path.stem for path in (PROJECT / "conf" / "benchmark").glob("*.yaml"))
# What counting the data sets would fill in.
COUNTED = {
    "digits": ["data.classes=10"],
    "cifar10": ["data.classes=10"],
    "clothing10": ["data.classes=10"],
    "clicks": ["data.dense=4", "data.rows=[10,10]", "data.hots=[1,2]"],
    "flights": ["data.dense=5", "data.rows=[9,9,9]", "data.hots=[1,1,1]"],
    "dates": ["data.vocabulary=1000"],
    "multi30k": ["data.vocabulary=8000"],
    "transformer": ["data.vocabulary=33708"],
    "gnmt": ["data.vocabulary=32320"],
}
SENTENCE = 30  # tokens of every source and target here


def convolution(side: int, inputs: int, outputs: int, passes: int = 3) -> int:
    """3 x 3, of so many passes."""
    return passes * 2 * 9 * inputs * outputs * side**2


def attending(width: int, inner: int, vocabulary: int, layers: int) -> int:
    """Encoder and decoder, added up weight by weight and length by length."""
    n = SENTENCE
    encoder = layers * (n * 2 * (4 * width**2 + 2 * width * inner) + 2 * 2 * n * n * width)
    decoder = layers * (n * 2 * (8 * width**2 + 2 * width * inner) + 3 * n * n * 2 * width)
    return 3 * (encoder + decoder + 2 * n * width * vocabulary)


def clicks(dense: int, tables: int) -> int:
    """Numbers 32, 16; two cross layers of rank 16; 64, 1."""
    wide = 16 + 16 * tables
    return 2 * 2 * dense * 32 + 3 * 2 * (32 * 16 + 2 * 2 * wide * 16 + wide * 64 + 64)


def decoding(width: int, inner: int, layers: int, shared: int, words: int, length: int) -> int:
    """A decoder whose keys and values are `width / shared` wide; half of the attention counts."""
    weights = layers * (2 * width**2 + 2 * width * width // shared + 3 * width * inner)
    attention = layers * 2 * width * length**2
    return 3 * (2 * (weights + width * words) * length + attention)


def masked(width: int, inner: int, layers: int, words: int, asked: int, vocabulary: int) -> int:
    """All words attend to all; those asked for are mapped and told apart, the first one too."""
    layer = words * (4 * width**2 + 2 * width * inner) + 2 * words**2 * width
    heads = asked * (width**2 + width * vocabulary) + width**2 + width * 2
    return 3 * 2 * (layers * layer + heads)


HAND = {
    "bert": masked(1024, 4096, 24, SENTENCE, SENTENCE, 30_522),
    "bert_topics": masked(48, 96, 2, SENTENCE, SENTENCE, 100),
    # A stem at 8 pixels; a convolution there, a pool, a block of two at 4.
    "digits": convolution(8, 3, 32, 2) + convolution(8, 32, 64) + 2 * convolution(4, 64, 64)
    + 3 * 2 * 64 * 10,
    "cifar10": convolution(16, 3, 32, 2) + convolution(16, 32, 64) + convolution(8, 64, 96)
    + 2 * convolution(4, 96, 96) + convolution(4, 96, 192) + 3 * 2 * 192 * 10,
    "clothing10": convolution(112, 3, 8, 2) + convolution(112, 8, 16) + convolution(56, 16, 32)
    + convolution(28, 32, 64) + convolution(14, 64, 128) + 3 * 2 * 128 * 10,
    "resnet": 24_299_077_632,
    "resnet_sgd": 24_299_077_632,
    "clicks": clicks(4, 2),
    "flights": clicks(5, 3),
    "dlrm_dcnv2": 96_169_472,
    "dates": attending(128, 256, 1000, 2),
    "multi30k": attending(128, 256, 8000, 2),
    "transformer": attending(1024, 4096, 33708, 6),
    "topics": decoding(64, 160, 2, 2, 256, 64),
    "shakespeare": decoding(64, 224, 3, 2, 256, 64),
    "llama31_8b_twin": decoding(64, 224, 3, 2, 256, 64),
    "llama31_8b": decoding(4096, 14336, 32, 4, 128_256, 8192),
    # LSTMs read D and what they said: four in the encoder, a fifth also the other direction; one in
    # the decoder, three also what attention said. Then queries, keys, averages; the output.
    "gnmt": 3 * SENTENCE * 2 * (4 * 1024**2 * (2 * 5 + 1) + 4 * 1024**2 * (2 + 3 * 3)
    + 2 * 1024**2 + SENTENCE * 1024 + 1024 * 32320),
}  # fmt: skip


def configuration(name: str, *overrides: str) -> RunConfig:
    config.register()
    typed = [f"benchmark={name}", "data.root=none", *COUNTED.get(name, []), *overrides]
    composed = config.resolve(config.compose(typed), processes=1)
    return config.load(config.freeze(composed))  # as a worker has it


def parts(**others: Any) -> Any:
    data = SimpleNamespace(lengths=lambda: Lengths.equal(SENTENCE, SENTENCE))
    return SimpleNamespace(**{"data": data, "world": CPU, "example": None, "task": None} | others)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_shipped_benchmark_on_a_made_up_machine(name: str):
    found = utilization.measured(configuration(name, "system.peak_tflops=2"), parts(), 50.0)
    assert found["flop_per_sample"] == HAND[name]
    length = getattr(configuration(name).data, "sequence_length", None)
    assert found["tokens_per_s"] == (length and 50 * length)
    assert found["utilization_reason"] is None
    summary = Summary()
    told = {"samples": 1000, "status": "success", "reason": "", "epoch": 1.0}
    seconds = HAND[name] * 1000 / 2e12 * 4  # a quarter of the peak of each of two nodes
    for kind, time, data in (
        (Kind.CONFIG, 0.0, {"nodes": 2, "accelerators": 0}),
        (Kind.RUN_START, 10.0, {}),
        (Kind.RUN_STOP, 10.0 + seconds / 2, told),
        (Kind.STATISTICS, 99.0, found),
    ):
        summary.write(Event(kind, time, 1, data))
    assert summary.result()["utilization_fraction"] == pytest.approx(0.25)


def test_causal_attention_counts_in_full_where_the_benchmark_says_so():
    full = configuration("dates", "benchmark.causal_flops=full")
    more = 3 * 2 * 2 * SENTENCE**2 * 128  # another half of 2 layers
    assert utilization.flop_per_sample(full, parts())[0] == HAND["dates"] + more


def test_no_peak_of_a_cpu_is_known_unless_it_is_stated():
    found = utilization.measured(configuration("digits"), parts(), None)
    assert found["peak_flop_per_s"] is None
    assert "system.peak_tflops=N" in str(found["utilization_reason"])
    assert utilization.peak_flop_per_s(configuration("digits", "system.peak_tflops=1.5"), CPU) == (
        1.5e12,
        None,
    )


def test_a_gpu_has_the_peak_of_its_name_and_precision(monkeypatch: pytest.MonkeyPatch):
    name = "NVIDIA H100 80GB HBM3"
    monkeypatch.setattr(utilization.environment, "accelerator", lambda device: {"name": name})
    bf16 = configuration("digits", "precision=bf16")
    assert utilization.peak_flop_per_s(bf16, CPU) == (989.4e12, None)
    name = "NVIDIA RTX A6000"
    assert utilization.peak_flop_per_s(bf16, CPU)[1] == (
        "no peak of NVIDIA RTX A6000 in bf16 is known; system.peak_tflops=N states it"
    )


class Twice(nn.Module):
    """A model of a user's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(3, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if self.inner.out_features < 9 else x * self.inner(x).sum().item()


class Mean:
    def loss(self, model: nn.Module, batch: list[Tensor]) -> Tensor:
        return model(batch[0]).mean()


def own(width: int, **others: Any) -> Any:
    node = SimpleNamespace(_target_=f"{__name__}.Twice", width=width)
    return SimpleNamespace(
        benchmark=RunConfig().benchmark, model=node, data=RunConfig().data, task=None, **others
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch):
    """Make this file's classes without a place to import them from."""
    made = lambda role, node: Twice(node.width)  # noqa: E731
    monkeypatch.setattr(utilization.config, "instantiate", made)


@pytest.mark.usefixtures("here")
def test_a_users_model_is_counted():
    images = SimpleNamespace()
    of = parts(data=images, task=Mean(), example=[torch.empty(5, 3, device="meta")])
    assert utilization.flop_per_sample(own(4), of) == (2 * 2 * 3 * 4, None)


@pytest.mark.usefixtures("here")
def test_where_it_cannot_be_counted_the_reason_is_told():
    of = parts(data=SimpleNamespace(), task=Mean(), example=[torch.empty(5, 3, device="meta")])
    flop, reason = utilization.flop_per_sample(own(10), of)
    assert flop is None
    assert str(reason).startswith("the FLOPs cannot be counted without values: ")
    assert "\n" not in str(reason)
    flop, reason = utilization.flop_per_sample(own(4), parts())
    assert (flop, reason) == (
        None,
        "samples differ in length, and no closed form says the FLOPs of this model",
    )


def test_tokens_are_counted_where_all_samples_have_as_many():
    tokens = own(4, system=RunConfig().system)
    tokens.data = SimpleNamespace(sequence_length=512)
    assert utilization.measured(tokens, parts(), 3.0)["tokens_per_s"] == 1536
    assert utilization.measured(tokens, parts(), None)["tokens_per_s"] is None


def lines(**changes: Any) -> dict[str, str]:
    known = {"target": 1.0, "peak_flop_per_s": 2e12, "flop_per_sample": 3.0}
    return dict(result_rows(Summary().result() | known | changes))


def test_the_end_of_a_run_shows_it_or_why_it_cannot_be():
    assert lines(utilization_fraction=0.345)["utilization"] == "34.50% of a peak of 2 TFLOP/s"
    assert lines(utilization_reason="would be 134%")["utilization"] == "would be 134%"
    assert "utilization" not in lines(flop_per_sample=None, utilization_reason="unknown")


def test_a_share_above_one_is_no_number_in_a_summary():
    summary = Summary()
    found = {"flop_per_sample": 3e12, "peak_flop_per_s": 1e12, "utilization_reason": None}
    for kind, time, data in (
        (Kind.CONFIG, 0.0, {"nodes": 1, "accelerators": 2}),
        (Kind.RUN_START, 0.0, {}),
        (Kind.RUN_STOP, 1.0, {"samples": 1, "status": "success", "reason": "", "epoch": 1.0}),
        (Kind.STATISTICS, 1.0, found),
    ):
        summary.write(Event(kind, time, 1, data))
    result = summary.result()
    assert result["utilization_fraction"] is None
    assert result["utilization_reason"].startswith("a utilization of 150%")


def test_lengths_of_a_set_are_those_of_its_sentences(tmp_path: Path):
    from ttt.data.text import ParallelText

    sides = [SimpleNamespace(lengths=torch.tensor(each).numpy()) for each in ([1, 3], [4, 0])]
    text = ParallelText.__new__(ParallelText)
    text._training = lambda: SimpleNamespace(source=sides[0], target=sides[1])  # type: ignore[method-assign]
    assert text.lengths() == Lengths(3, 3, 10, 13, 7)
