"""The small residual network: shapes, sizes, gradients, norms, memory formats."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from ttt.errors import ConfigError
from ttt.models.resnet_small import ResNetSmall

WIDTHS = (8, 16, 24)
BLOCKS = (1, 0, 2)


def network(**changes) -> ResNetSmall:
    torch.manual_seed(0)
    return ResNetSmall(**{"classes": 10, "widths": WIDTHS, "blocks": BLOCKS, **changes})


def conv_and_norm(channels_in: int, channels_out: int) -> int:
    return 9 * channels_in * channels_out + 2 * channels_out


@pytest.mark.parametrize("classes", [10, 3])
def test_parameters_are_those_of_the_drawing(classes):
    expected = conv_and_norm(3, WIDTHS[0])
    expected += sum(conv_and_norm(a, b) for a, b in pairwise(WIDTHS))
    expected += sum(2 * n * conv_and_norm(w, w) for w, n in zip(WIDTHS, BLOCKS, strict=True))
    expected += WIDTHS[-1] * classes + classes
    assert sum(p.numel() for p in network(classes=classes).parameters()) == expected


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("size", [*range(8, 18), 31, 32])
def test_any_size_from_8_to_32_pixels(size, stem_stride):
    logits = network(stem_stride=stem_stride).eval()(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()


def test_four_stages_after_a_strided_stem_still_take_8_pixels():
    model = network(widths=(8, 8, 8, 8), blocks=(0, 0, 0, 1), stem_stride=2)
    assert model(torch.randn(4, 3, 8, 8)).shape == (4, 10)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_gradient_reaches_every_parameter(norm):
    model = network(norm=norm)
    logits = model(torch.randn(16, 3, 8, 8))
    nn.functional.cross_entropy(logits, torch.arange(16) % 10).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_group_norm_keeps_no_running_statistics():
    assert list(network(norm="group").buffers()) == []
    assert list(network(norm="batch").buffers()) != []


def test_group_norm_treats_a_sample_the_same_in_any_batch():
    model = network(norm="group")
    x = torch.randn(8, 3, 8, 8)
    torch.testing.assert_close(model(x)[:3], model(x[:3]))


def test_norm_momentum_weighs_the_newest_batch():
    x = torch.randn(32, 3, 8, 8)
    model = network(norm_momentum=0.25)
    conv, norm = model.stem[0], model.stem[1]
    model(x)
    mean = conv(x).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, 0.25 * mean)  # it starts at 0


def test_channels_last_gives_the_same_logits_and_gradients():
    plain, last = network(), network().to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 16, 16)
    plain_logits = plain(x)
    last_logits = last(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last_logits, plain_logits, rtol=1e-4, atol=1e-5)
    plain_logits.square().mean().backward()
    last_logits.square().mean().backward()
    for a, b in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-5)


def test_channels_last_survives_every_layer():
    model = network().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    features = model.stages(model.stem(x))
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_a_seed_gives_one_network():
    for a, b in zip(network().parameters(), network().parameters(), strict=True):
        assert torch.equal(a, b)


def test_wrong_arguments_say_what_to_type():
    with pytest.raises(ConfigError, match=r"2 numbers.*3.*type model\.blocks=\[0,0,0\]"):
        network(blocks=(1, 1))
    with pytest.raises(
        ConfigError, match=r"model\.norm=layer is not allowed; allowed: batch, group"
    ):
        network(norm="layer")
