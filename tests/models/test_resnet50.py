"""ResNet-50 v1.5 against a second one, written from the paper's table, and its first LARS step."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ttt.models.resnet50 import Bottleneck, ResNet50
from ttt.optim import lars

# He et al. 2015, table 1, column 50-layer: the three convolutions of a block, and how many blocks.
TABLE = (
    ((64, 64, 256), 3),
    ((128, 128, 512), 4),
    ((256, 256, 1024), 6),
    ((512, 512, 2048), 3),
)


def drawing():
    """Every convolution of the network in order: (inputs, outputs, kernel, stride, role)."""
    yield 3, 64, 7, 2, "stem"
    channels = 64
    for stage, ((first, middle, last), blocks) in enumerate(TABLE):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            yield channels, first, 1, 1, "first"
            yield first, middle, 3, stride, "middle"
            yield middle, last, 1, 1, "last"
            if block == 0:
                yield channels, last, 1, stride, "shortcut"
            channels = last


def parts_of(model):
    """The network's own weights, in the order of the drawing."""
    convolutions = iter([m for m in model.modules() if isinstance(m, torch.nn.Conv2d)])
    norms = iter([m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    return list(zip(drawing(), convolutions, norms, strict=True))


def reference(model, x, *, training):
    """The forward pass as functions of the weights: nothing of the module's own `forward`."""
    parts = iter(parts_of(model))
    waiting = None

    def conv_norm(x):
        (_, _, kernel, stride, role), conv, norm = waiting
        y = F.conv2d(x, conv.weight, stride=stride, padding=(kernel - 1) // 2)
        if training:
            mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        else:
            mean, var = norm.running_mean, norm.running_var
        y = (y - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return y * norm.weight[:, None, None] + norm.bias[:, None, None], role

    waiting = next(parts)
    x = F.max_pool2d(conv_norm(x)[0].clamp(min=0), 3, stride=2, padding=1)
    waiting = next(parts)
    while waiting:
        before, y = x, x
        for expected in ("first", "middle", "last"):
            y, role = conv_norm(y)
            assert role == expected
            y = y if role == "last" else y.clamp(min=0)
            waiting = next(parts, None)
        if waiting and waiting[0][4] == "shortcut":
            before = conv_norm(before)[0]
            waiting = next(parts, None)
        x = (y + before).clamp(min=0)
    return x.mean((2, 3)) @ model.head.weight.T + model.head.bias


@pytest.fixture
def model():
    """Statistics, scales and shifts that are not 0 or 1, or half the network could be left out."""
    torch.manual_seed(0)
    model = ResNet50(classes=10)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.2, 0.6)
                module.bias.uniform_(-0.2, 0.2)
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return model


def test_it_has_the_parameters_of_the_paper():
    model = ResNet50(classes=1000)
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    for (inputs, outputs, kernel, stride, _), conv, norm in parts_of(model):
        assert conv.weight.shape == (outputs, inputs, kernel, kernel)
        assert conv.stride == (stride, stride)
        assert conv.bias is None
        assert norm.num_features == outputs


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [64, 75])
def test_its_output_is_that_of_a_network_written_apart(model, training, size):
    x = torch.randn(2, 3, size, size)
    model.train(training)
    with torch.no_grad():
        expected = reference(model, x, training=training)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.01


def test_channels_last_survives_every_layer_and_changes_nothing(model):
    model.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)
        last = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
        assert last.blocks(last.pool(last.stem(x))).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(last(x), plain, rtol=1e-4, atol=1e-5)


def test_weights_begin_as_the_reference_has_them():
    torch.manual_seed(0)
    model = ResNet50(classes=1000)
    for (inputs, _, kernel, _, role), conv, norm in parts_of(model):
        deviation = (2 / (inputs * kernel**2)) ** 0.5
        assert float(conv.weight.detach().std()) == pytest.approx(deviation, rel=0.05)
        assert bool((norm.weight == (0 if role == "last" else 1)).all())
        assert not norm.bias.any()
    assert float(model.head.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert not model.head.bias.any()
    kept = ResNet50(classes=10, zero_gamma=False)
    assert all(bool((m.weight == 1).all()) for m in kept.modules() if hasattr(m, "running_var"))


def test_a_block_begins_as_its_shortcut():
    block = Bottleneck(256, 64, 1, torch.nn.BatchNorm2d)
    torch.nn.init.zeros_(block.norm3.weight)
    x = torch.rand(2, 256, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_norm_settings_reach_every_norm():
    model = ResNet50(classes=10, norm_momentum=0.25, norm_eps=1e-3)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.25, 1e-3)}
    assert len(norms) == 53


def test_one_lars_step_moves_every_tensor_by_the_papers_formula():
    """You et al. 2017, algorithm 1, with the exclusions of MLPerf's closed division, in float64."""
    rate, decay, eeta, momentum = 11.0, 5e-5, 0.001, 0.9
    torch.manual_seed(0)
    model = ResNet50(classes=10)
    optimizer = lars.build(
        model, lr=rate, momentum=momentum, weight_decay=decay, eeta=eeta, epsilon=0.0
    )
    x, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
    # Two steps: the second has a velocity to keep, and gradients behind scales that were 0.
    velocity = {name: 0.0 for name, _ in model.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels, label_smoothing=0.1).backward()
        expected = {}
        for name, parameter in model.named_parameters():
            w = parameter.detach().numpy().astype(np.float64)
            g = parameter.grad.numpy().astype(np.float64)
            local = 1.0
            if w.ndim > 1:  # convolutions and the classifier; no norm, no bias
                size, slope = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
                local = eeta * size / (slope + decay * size) if slope else 1.0
                g = g + decay * w
            velocity[name] = momentum * velocity[name] + rate * local * g
            expected[name] = w - velocity[name]
        optimizer.step()
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(
                parameter.detach().numpy(), expected[name], rtol=1e-5, atol=1e-6, err_msg=name
            )
