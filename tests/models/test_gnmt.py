"""GNMT: its size, formulas and initial weights."""
# ruff: noqa: N803, N806 - capital letters name dimensions

import pytest
import torch
from torch import nn

from translators import VOCABULARY, gnmt, prefixes, sentences
from ttt.models.gnmt import Gnmt
from ttt.special_tokens import PAD


def lstm_size(inputs: int, width: int) -> int:
    return 4 * width * (inputs + width) + 2 * 4 * width  # four gates, two biases


def test_gnmt_has_as_many_parameters_as_the_published_entry():
    words, d = 32_320, 1024
    encoder = 2 * lstm_size(d, d) + lstm_size(2 * d, d) + 2 * lstm_size(d, d)
    attention = 2 * d * d + d + d + 1  # query, key, direction, bias, length
    decoder = lstm_size(d, d) + 3 * lstm_size(2 * d, d) + attention
    expected = words * d + encoder + decoder + (words * d + words)
    with torch.device("meta"):
        model = Gnmt(vocabulary=words)
    # NVIDIA's v0.7 log (DGX A100): "Size of vocabulary: 32320", "Number of parameters: 160671297".
    assert sum(p.numel() for p in model.parameters()) == expected == 160_671_297


def one_sentence(model: Gnmt, source_S, target_T):
    """Logits [T, V] of one sentence without padding, an output at a time, by the formulas."""
    encoder, decoder, attention = model.encoder, model.decoder, model.decoder.attention
    x_SD = model.embedding.weight[source_S]
    back = encoder.back(x_SD.flip(0)[None])[0][0].flip(0)
    x_SD = encoder.joining(torch.cat([encoder.forth(x_SD[None])[0][0], back], dim=1)[None])[0][0]
    for lstm in encoder.residual:
        x_SD = x_SD + lstm(x_SD[None])[0][0]
    hidden = [None] * len(decoder.layers)
    logits = []
    for word in target_T:
        y, hidden[0] = decoder.layers[0](model.embedding.weight[word][None, None], hidden[0])
        scores = torch.stack(
            [
                (attention.direction / attention.direction.norm() * attention.length)
                @ torch.tanh(
                    attention.query.weight @ y[0, 0] + attention.key.weight @ x + attention.bias
                )
                for x in x_SD
            ]
        )
        context = (scores.softmax(0) @ x_SD)[None, None]
        y, hidden[1] = decoder.layers[1](torch.cat([y, context], dim=-1), hidden[1])
        for index in (2, 3):
            new, hidden[index] = decoder.layers[index](
                torch.cat([y, context], dim=-1), hidden[index]
            )
            y = y + new
        logits.append(model.output(y[0, 0]))
    return torch.stack(logits)


def test_logits_follow_the_formulas_for_sentences_of_any_length():
    model = gnmt()
    source, target = sentences(9, 4, 6, 1), prefixes(5, 7, 2, 7)
    with torch.no_grad():
        nn.init.normal_(model.decoder.attention.bias)
        actual = model(source, target)
        assert actual.shape == (4, 7, VOCABULARY)
        for row, logits in enumerate(actual):
            said = target[row][target[row] != PAD]
            expected = one_sentence(model, source[row][source[row] != PAD], said)
            torch.testing.assert_close(logits[: len(said)], expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_on_while_training_only():
    source, target = sentences(9, 4), prefixes(5, 7)
    model = gnmt()
    assert torch.equal(model(source, target), gnmt(dropout=0.0).train()(source, target))
    assert not torch.equal(model.train()(source, target), gnmt()(source, target))


def test_initial_weights_are_those_of_the_reference():
    torch.manual_seed(0)
    model = Gnmt(vocabulary=500, width=64)
    attention = model.decoder.attention
    assert attention.length.item() == pytest.approx(64**-0.5)
    assert not attention.bias.any()
    for name, weight in model.named_parameters():
        if "bias_hh" in name:
            assert not weight.any(), name
        elif name not in ("decoder.attention.length", "decoder.attention.bias"):
            assert weight.abs().max().item() == pytest.approx(0.1, rel=0.1), name
            assert weight.abs().max().item() <= 0.1, name


def test_a_row_of_nothing_but_padding_is_finite():
    source = torch.cat([sentences(6), torch.full((1, 6), PAD)])
    model = gnmt().train()
    logits = model(source, prefixes(4, 4))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())
