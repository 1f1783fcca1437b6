"""The counter against closed forms, of every model of ttt, and against sums by hand."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ttt.data.masked import MaskedBatch
from ttt.flops import formulas
from ttt.flops.counter import count
from ttt.flops.formulas import Lengths
from ttt.models.bert import Bert
from ttt.models.dlrm_dcnv2 import DlrmDcnV2
from ttt.models.gnmt import Gnmt
from ttt.models.llama import Llama
from ttt.models.resnet50 import ResNet50
from ttt.models.resnet_small import ResNetSmall
from ttt.models.transformer import Transformer
from ttt.schema.model.bert import BertConfig
from ttt.schema.model.language import LlamaConfig
from ttt.tasks.image import ImageClassification
from ttt.tasks.language import Language
from ttt.tasks.masked_language import MaskedLanguage
from ttt.tasks.recommendation import ClickPrediction
from ttt.tasks.translation import Translation

IMAGES = ImageClassification(label_smoothing=0.1)
TEXT = Translation(
    label_smoothing=0.1,
    beam=1,
    length_penalty=0.6,
    coverage_penalty=0.0,
    extra_length=5,
    lowercase=True,
    tokenize="13a",
)


def images(size: int) -> list[Tensor]:
    return [torch.empty(2, 3, size, size, device="meta"), torch.zeros(2, dtype=torch.long)]


def pairs(source: int, target: int) -> list[Tensor]:
    tables = [torch.zeros(3, length, dtype=torch.long) for length in (source, target, target)]
    return [*tables, torch.ones(3)]


def test_resnet50_at_its_real_size():
    counted = count(lambda: ResNet50(1000), IMAGES.loss, images(224), attended=0.5)
    assert counted == formulas.resnet50(size=224, classes=1000)
    # He et al. 2015, table 1: 3.8 GFLOP, multiply-adds that is, with the first version's strides.
    assert counted == pytest.approx(24.3e9, rel=0.01)


@pytest.mark.parametrize(("size", "stride"), [(32, 2), (33, 1), (8, 1)])
def test_the_small_resnet(size: int, stride: int):
    widths, blocks = [16, 32, 48], [1, 0, 2]
    made = lambda: ResNetSmall(7, widths, blocks, stem_stride=stride)  # noqa: E731
    expected = formulas.resnet_small(
        size=size, classes=7, widths=widths, blocks=blocks, stem_stride=stride
    )
    assert count(made, IMAGES.loss, images(size), attended=0.5) == expected


@pytest.mark.parametrize("attended", [0.5, 1.0])
def test_the_transformer_with_both_conventions(attended: float):
    sizes = dict(vocabulary=100, encoder_layers=2, decoder_layers=3, width=64, feedforward=128)
    counted = count(
        lambda: Transformer(heads=4, **sizes), TEXT.loss, pairs(40, 90), attended=attended
    )
    lengths = Lengths.equal(40, 90)
    assert counted == formulas.transformer(**sizes, lengths=lengths, attended=attended)


def test_gnmt_but_for_the_zeros_that_lstms_begin_with():
    sizes = dict(vocabulary=8000, layers=3, width=64)
    counted = count(lambda: Gnmt(**sizes), TEXT.loss, pairs(7, 6), attended=0.5)
    expected = formulas.gnmt(**sizes, lengths=Lengths.equal(7, 6))
    assert counted == pytest.approx(expected, rel=0.01)


def test_dlrm_at_its_real_size_with_its_tables_on_no_device():
    sizes = dict(
        dense=13, dim=128, bottom=[512, 256, 128], cross_layers=3, cross_rank=512,
        top=[1024, 1024, 512, 256, 1],
    )  # fmt: skip
    made = lambda: DlrmDcnV2(rows=[40_000_000] * 26, hots=[3] * 26, sharding="auto", **sizes)  # noqa: E731
    batch = [torch.empty(4, 13), torch.zeros(4, 78, dtype=torch.long), torch.zeros(4)]
    counted = count(made, ClickPrediction().loss, batch, attended=0.5)
    assert counted == formulas.dlrm_dcnv2(tables=26, **sizes)


class Decoder(nn.Module):
    """The products of a Llama of one width: grouped keys, a gated network, an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(90, 32)
        sizes = {"q": (32, 48), "k": (32, 24), "v": (32, 24), "o": (48, 32)}
        sizes |= {"gate": (32, 70), "up": (32, 70), "down": (70, 32)}
        made = [{n: nn.Linear(*s, bias=False) for n, s in sizes.items()} for _ in range(2)]
        self.layers = nn.ModuleList(map(nn.ModuleDict, made))
        self.head = nn.Linear(32, 90, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            q, k, v = (layer[n](x).unflatten(-1, (-1, 12)).transpose(1, 2) for n in "qkv")
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + layer["o"](y.transpose(1, 2).flatten(2))
            x = x + layer["down"](F.silu(layer["gate"](x)) * layer["up"](x))
        return self.head(x)


@pytest.mark.parametrize("attended", [0.5, 1.0])
def test_a_decoder_with_grouped_keys(attended: float):
    expected = formulas.decoder(
        layers=2,
        width=32,
        heads=4,
        kv_heads=2,
        head_width=12,
        feedforward=70,
        vocabulary=90,
        sequence=50,
        attended=attended,
    )
    tokens = [torch.zeros(3, 50, dtype=torch.long)]
    assert count(Decoder, sum_of, tokens, attended=attended) == expected


@pytest.mark.parametrize("attended", [0.5, 1.0])
def test_llama_as_its_schema_says(attended: float):
    """With positions that are turned, whose products are no products of matrices."""
    small = dict(layers=2, width=32, heads=4, kv_heads=2, feedforward=72)
    schema = LlamaConfig(vocabulary=90, sequence_length=50, **small)
    expected = schema.flop_per_sample(
        SimpleNamespace(vocabulary=90, sequence_length=50), None, attended
    )
    batch = [torch.zeros(3, 50, dtype=torch.long)] * 2
    made = lambda: Llama(vocabulary=90, sequence_length=50, **small)  # noqa: E731
    counted = count(made, Language().loss, batch, attended=attended)
    assert counted == expected


def test_llama31_8b_is_what_submitters_state():
    """421.59 TFLOP for a sequence, in NVIDIA's configuration of v5.1; attention halved."""
    data = SimpleNamespace(vocabulary=128_256, sequence_length=8192)
    schema = LlamaConfig(vocabulary=128_256, sequence_length=8192)
    assert schema.flop_per_sample(data, None, 0.5) == pytest.approx(421.59e12, rel=2e-4)


@pytest.mark.parametrize("attended", [0.5, 1.0])
def test_bert_attends_to_all_whatever_causal_attention_counts(attended: float):
    small = dict(vocabulary=90, layers=2, width=32, heads=4, feedforward=72)
    lengths = Lengths.equal(20, 3)  # without padding, that is
    expected = BertConfig(positions=20, **small).flop_per_sample(None, lengths, attended)
    words, places = torch.zeros(2, 20, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long)
    batch = MaskedBatch(words, words, words, places, places, places.float(), words[:, 0])
    made = lambda: Bert(positions=20, **small)  # noqa: E731
    assert count(made, MaskedLanguage().loss, batch, attended=attended) == expected


class Own(nn.Module):
    """What a user may write: attention with grouped keys, and a part that is computed twice."""

    def __init__(self, part: Callable[..., Tensor]) -> None:
        super().__init__()
        self.part, self.inner = part, nn.Linear(16, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self, x)


def attention(causal: bool) -> Callable[[Own, Tensor], Tensor]:
    def part(self: Own, x: Tensor) -> Tensor:
        q = self.inner(x).unflatten(-1, (4, 4)).transpose(1, 2)
        k = q[:, :2]
        return F.scaled_dot_product_attention(q, k, k, is_causal=causal, enable_gqa=True)

    return part


def sum_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return model(batch[0]).sum()


@pytest.mark.parametrize(
    ("causal", "attended", "share"), [(True, 0.5, 0.5), (True, 1, 1), (False, 0.5, 1)]
)
def test_only_causal_attention_is_halved(causal: bool, attended: float, share: float):
    x = torch.empty(3, 10, 16)
    linear, products = 2 * 2 * 10 * 16 * 16, 3 * 4 * 4 * 10 * 10 * 4  # the input needs no gradient
    counted = count(lambda: Own(attention(causal)), sum_of, [x], attended=attended)
    assert counted == linear + share * products


def autocast(self: Own, x: Tensor) -> Tensor:
    torch.is_autocast_enabled(x.device.type)  # the meta device knows none
    return attention(True)(self, x)


def test_what_asks_its_device_is_counted_on_a_fake_cpu():
    x = torch.empty(3, 10, 16)
    counted = [
        count(lambda part=part: Own(part), sum_of, [x], attended=0.5)
        for part in (autocast, attention(True))
    ]
    assert counted[0] == counted[1]


def test_recomputation_does_not_count():
    def again(self: Own, x: Tensor) -> Tensor:
        y = self.inner(x)
        return checkpoint(lambda y: attention(True)(self, y), y, use_reentrant=False)

    def once(self: Own, x: Tensor) -> Tensor:
        return attention(True)(self, self.inner(x))

    batch = [torch.empty(3, 10, 16)]
    assert count(lambda: Own(again), sum_of, batch, attended=0.5) == count(
        lambda: Own(once), sum_of, batch, attended=0.5
    )


def test_what_needs_values_cannot_be_counted():
    with pytest.raises(Exception, match=r"item|scalar|data"):
        count(
            lambda: Own(lambda self, x: self.inner(x) * x.sum().item()),
            sum_of,
            [torch.empty(2, 16)],
            attended=1,
        )


def test_random_numbers_are_left_as_they_were():
    before = torch.get_rng_state()
    count(lambda: ResNetSmall(3, [8], [0]), IMAGES.loss, images(8), attended=0.5)
    assert torch.equal(torch.get_rng_state(), before)
