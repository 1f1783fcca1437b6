"""Do training steps on this device come to the weights that they come to in float64 on the CPU.

A small network with a convolution, BatchNorm and a linear layer makes some updates with ttt's own
learner, by each optimizer that ttt has, in each precision. That goes through cuDNN, cuBLAS, the
fused optimizers, autocast and the loss scaling of fp16.
"""

import copy
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn

from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.doctor import compute
from ttt.doctor.findings import Finding, Observation, failure, names, ok, ranks
from ttt.learner import StandardLearner
from ttt.schema import nodes
from ttt.tasks.image import ImageClassification

_UPDATES = 3  # the first has no momentum yet, and Adam's first is a sign
_SIDE, _CLASSES, _BATCH = 8, 10, 16
# Of the distance that the weights moved. Gradients in fp32 have relative errors of 1e-6, in 16 bits
# of 1e-2, in tf32 between. Adam and Adagrad make steps of one size out of gradients of any size, so
# that a small gradient's error is a step in the wrong direction. An update that is left out, or
# made with a scale that was not taken out, is an error of 1 or more.
_LIMITS = {"fp32": 1e-2, "tf32": 0.2, "fp16": 0.2, "bf16": 0.4}

Optimizer = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True, slots=True)
class Steps:
    """How far the weights of one rank's device are from those of the CPU.

    Attributes:
        errors: By optimizer and precision: ||w - w64|| / ||w64 - w0|| over all weights.
    """

    errors: dict[str, dict[str, float]]


def optimizers() -> dict[str, tuple[float, Optimizer]]:
    """The rate and the maker of every optimizer that the configuration offers, by its name."""
    found: dict[str, tuple[float, Optimizer]] = {}
    for schema in nodes.SCHEMAS.values():
        target = str(getattr(schema, "_target_", ""))
        module, _, maker = target.rpartition(".")
        if not module.startswith("ttt.optim.") or maker != "build":  # the others are schedules
            continue
        made = schema()
        settings = {one.name: getattr(made, one.name) for one in fields(made)}
        name = settings.pop("name")
        del settings["_target_"]
        build = getattr(importlib.import_module(module), maker)
        found[str(name)] = settings["lr"], partial(build, **settings)
    return found


@compute.one_thread()
def look(device: torch.device) -> Steps:
    """Make the updates on the device, and the same in float64 on the CPU."""
    drawn = torch.Generator().manual_seed(1)
    model = _model(drawn)
    pixels = torch.randn(_BATCH, 3, _SIDE, _SIDE, generator=drawn)
    batch = pixels, torch.randint(_CLASSES, (_BATCH,), generator=drawn)
    start, found = _weights(model), {}
    for name, optimizer in optimizers().items():
        exact = copy.deepcopy(model).double()
        twice = batch[0].double(), batch[1]
        reference = _trained(exact, twice, torch.device("cpu"), "fp32", optimizer)
        moved = (reference - start).norm()
        found[name] = {
            kind: float(
                (_trained(copy.deepcopy(model), batch, device, kind, optimizer) - reference).norm()
                / moved
            )
            for kind in compute.kinds(device)
        }
    return Steps(found)


def _model(drawn: torch.Generator) -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),  # BatchNorm takes a bias away again
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * _SIDE**2, _CLASSES),
    )
    with torch.no_grad():
        for one in model.parameters():
            if one.ndim > 1:
                one.copy_(torch.randn(one.shape, generator=drawn) / one[0].numel() ** 0.5)
    return model


def _trained(
    model: nn.Module,
    batch: tuple[Tensor, Tensor],
    device: torch.device,
    kind: str,
    optimizer: tuple[float, Optimizer],
) -> Tensor:
    """All weights after the updates, float64 on the CPU."""
    rate, build = optimizer
    with compute.arithmetic(kind):
        world = Solo(device)
        learner = StandardLearner(
            parallelize(model, world, optimizer=build),
            ImageClassification(label_smoothing=0.0),
            world,
            schedule=lambda step: rate,
            precision=kind,
            accumulate=1,
            clip_norm=None,
        )
        for _ in range(_UPDATES):
            learner.step((batch[0].to(device), batch[1].to(device)))
    return _weights(learner.model)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([one.detach().cpu().double().flatten() for one in model.parameters()])


def judge(seen: Sequence[Observation[Steps]]) -> Iterator[Finding]:
    """Whether every optimizer comes to the same weights, as closely as a precision allows."""
    every = [  # ranks with another kind of GPU may have other precisions
        (name, kind, value, one)
        for one in seen
        for name, errors in one.facts.errors.items()
        for kind, value in errors.items()
    ]
    wrong: dict[tuple[str, str], list[Observation[Steps]]] = {}
    worst: dict[str, float] = {}
    for name, kind, value, one in every:
        if not value <= _LIMITS[kind]:  # written so that NaN is wrong
            wrong.setdefault((name, kind), []).append(one)
        worst[kind] = max(worst.get(kind, 0.0), value)
    yield from (_wrong(name, kind, bad) for (name, kind), bad in wrong.items())
    if not wrong:
        listed = ", ".join(f"{kind} {value:.1e}" for kind, value in worst.items())
        yield ok(
            "training step",
            f"{names(seen[0].facts.errors)}: weights after {_UPDATES} updates, compared with"
            f" float64 on the CPU; largest difference as a share of the change: {listed}",
            relative_error={one.rank: one.facts.errors for one in seen},
        )


def _wrong(name: str, kind: str, bad: Sequence[Observation[Steps]]) -> Finding:
    errors = {one.rank: one.facts.errors[name][kind] for one in bad}
    return failure(
        "training step",
        f"{name} in {kind}: weights after {_UPDATES} updates differ from float64 on the CPU by"
        f" {errors[bad[0].rank]:.2g} of the change of the weights; allowed is {_LIMITS[kind]:g}:"
        f" {ranks(bad)}",
        f"do not train with precision={kind} here; compare the versions of torch, CUDA and cuDNN"
        " with those of a machine that passes this check",
        optimizer=name,
        kind=kind,
        relative_error={rank: v if math.isfinite(v) else None for rank, v in errors.items()},
        why={"relative_error": "the weights are not finite"},
    )
