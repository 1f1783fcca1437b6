"""The Transformer: its size, formulas, masks, initial weights and cached decoding."""
# ruff: noqa: N803, N806 - capital letters name dimensions

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translators import VOCABULARY, prefixes, sentences, transformer
from ttt.models.transformer import Transformer
from ttt.special_tokens import EOS, PAD


def count(**settings) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(**settings).parameters())


def layer_sizes(d: int, inner: int) -> tuple[int, int]:
    attention = 4 * d * d  # query, key, value, output; no biases
    feedforward = d * inner + inner + inner * d + d
    norm = 2 * d
    return attention + feedforward + 2 * norm, 2 * attention + feedforward + 3 * norm


def test_big_has_as_many_parameters_as_the_published_entry():
    encoder, decoder = layer_sizes(1024, 4096)
    assert (encoder, decoder) == (12_592_128, 16_788_480)
    embedding, final_norms = 33_708 * 1024, 2 * 2 * 1024
    expected = embedding + 6 * encoder + 6 * decoder + final_norms
    big = {"width": 1024, "heads": 16, "feedforward": 4096}
    assert count(vocabulary=33_708, **big) == expected == 210_804_736
    # NVIDIA's v0.7 log (DGX A100): "dictionary: 33712 types", "num. model params: 210808832".
    assert count(vocabulary=33_712, **big) == 210_808_832


@pytest.mark.parametrize(("norm_first", "final_norms"), [(True, 2), (False, 0)])
def test_base_has_the_sizes_of_the_paper(norm_first, final_norms):
    encoder, decoder = layer_sizes(512, 2048)
    expected = 37_000 * 512 + 6 * (encoder + decoder) + final_norms * 2 * 512
    assert count(vocabulary=37_000, norm_first=norm_first) == expected


class Reference(nn.Module):
    """The paper's formulas with PyTorch's own layers, given the weights of one of ours."""

    def __init__(self, ours: Transformer, heads: int, norm_first: bool) -> None:
        super().__init__()
        self.ours, width = ours, ours.width
        settings = (width, heads, 32, 0.0, F.relu, 1e-6, True, norm_first)
        self.encoder = [nn.TransformerEncoderLayer(*settings).eval() for _ in ours.encoder]
        self.decoder = [nn.TransformerDecoderLayer(*settings).eval() for _ in ours.decoder]
        for theirs, layer in zip(self.encoder, ours.encoder, strict=True):
            self.attention(theirs.self_attn, layer.attention.qkv.weight, layer.attention.out)
            self.rest(theirs, layer, (theirs.norm1, theirs.norm2))
        for theirs, layer in zip(self.decoder, ours.decoder, strict=True):
            self.attention(theirs.self_attn, layer.attention.qkv.weight, layer.attention.out)
            cross = torch.cat([layer.cross.q.weight, layer.cross.kv.weight])
            self.attention(theirs.multihead_attn, cross, layer.cross.out)
            self.rest(theirs, layer, (theirs.norm1, theirs.norm2, theirs.norm3))

    def attention(self, theirs, stacked, out) -> None:
        theirs.in_proj_weight.data.copy_(stacked)
        theirs.out_proj.weight.data.copy_(out.weight)
        theirs.in_proj_bias.data.zero_()
        theirs.out_proj.bias.data.zero_()

    def rest(self, theirs, layer, norms) -> None:
        theirs.linear1.load_state_dict(layer.feedforward[0].state_dict())
        theirs.linear2.load_state_dict(layer.feedforward[3].state_dict())
        for norm, residual in zip(norms, layer.residuals, strict=True):
            norm.load_state_dict(residual.norm.state_dict())

    def embed(self, words_BT):
        width = self.ours.width
        x_BTD = self.ours.embedding.weight[words_BT] * math.sqrt(width)
        waves = width // 2
        for place in range(words_BT.shape[1]):
            for wave in range(waves):
                angle = place / 10_000 ** (wave / (waves - 1))
                x_BTD[:, place, wave] += math.sin(angle)
                x_BTD[:, place, waves + wave] += math.cos(angle)
        return x_BTD

    def forward(self, source_BS, target_BT):
        padding_BS = source_BS == PAD
        x_BSD = self.embed(source_BS)
        for layer in self.encoder:
            x_BSD = layer(x_BSD, src_key_padding_mask=padding_BS)
        x_BSD = self.ours.encoder_norm(x_BSD)
        later_TT = nn.Transformer.generate_square_subsequent_mask(target_BT.shape[1])
        y_BTD = self.embed(target_BT)
        for layer in self.decoder:
            y_BTD = layer(y_BTD, x_BSD, tgt_mask=later_TT, memory_key_padding_mask=padding_BS)
        return self.ours.decoder_norm(y_BTD) @ self.ours.embedding.weight.T


@pytest.mark.parametrize("norm_first", [True, False])
def test_logits_follow_the_formulas_of_the_paper(norm_first):
    model = transformer(norm_first=norm_first)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "bias" in name:
                weight.add_(torch.randn_like(weight) * 0.1)  # all 0 or 1 would hide a swap
    source, target = sentences(9, 4, 6), prefixes(5, 7, 2)
    expected = Reference(model, heads=4, norm_first=norm_first)(source, target)
    actual = model(source, target)
    assert actual.shape == (3, 7, VOCABULARY)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_dropout_is_where_it_is_said_to_be():
    source, target = sentences(9, 4), prefixes(5, 7)
    still = {"dropout": 0.0, "attention_dropout": 0.0, "relu_dropout": 0.0}
    assert torch.equal(transformer(**still).train()(source, target), transformer()(source, target))
    for name in still:
        model = transformer(**{**still, name: 0.5})
        assert not torch.equal(model.train()(source, target), model.eval()(source, target)), name


def test_initial_weights_are_those_of_the_reference():
    torch.manual_seed(0)
    model = Transformer(vocabulary=500, encoder_layers=1, decoder_layers=1, width=128, heads=4)
    assert model.embedding.weight.std().item() == pytest.approx(128**-0.5, rel=0.02)
    layer = model.decoder[0]
    square = math.sqrt(6 / (128 + 128))
    for weight in (*layer.attention.qkv.weight.chunk(3), *layer.cross.kv.weight.chunk(2)):
        assert weight.abs().max().item() == pytest.approx(square, rel=0.01)
        assert weight.abs().max().item() <= square
        assert weight.std().item() == pytest.approx(square / math.sqrt(3), rel=0.02)
    inner = layer.feedforward[0]
    assert inner.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (128 + 2048)), rel=0.01)
    assert not inner.bias.any()


def test_a_row_of_nothing_but_padding_is_finite():
    source = torch.cat([sentences(6), torch.full((1, 6), PAD)])
    model = transformer().train()
    logits = model(source, prefixes(4, 4))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_table_of_words_is_one():
    model = transformer()
    loss = F.cross_entropy(model(sentences(4), prefixes(3))[0], torch.tensor([9, 8, EOS]))
    loss.backward()
    assert model.embedding.weight.grad.ne(0).any(dim=1).all()  # output: every word
