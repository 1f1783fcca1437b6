"""What came of some updates on any mesh, and how far it is from what one process came to."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from ttt.protocols import Learner, World

Gradients = dict[str, Tensor]  # by the name of the parameter, before clipping


@dataclass(frozen=True)
class Found:
    """What came of some updates: gradients of some of them, all losses, and what is judged."""

    gradients: list[Gradients]
    losses: list[float]
    judged: Tensor


class Apart(NamedTuple):
    """How far what was found is from what was expected: the largest differences.

    Attributes:
        first: Of gradients of the first update; see `farthest`.
        later: And of the last one that was kept.
        losses: Of a loss.
        judged: Of what is judged.
        name: The first parameter whose first gradient is farther than allowed; empty if none is.
    """

    first: float
    later: float
    losses: float
    judged: float
    name: str = ""


def trained(
    learner: Learner,
    optimizer: Optimizer,
    world: World,
    batch: Any,
    count: int,
    kept: Collection[int] | None = None,
) -> tuple[list[Gradients], list[float]]:
    """Gradients and losses of some updates, each from the same batch.

    Args:
        learner: On one process of a world.
        optimizer: Of its model.
        world: The processes.
        batch: This process's part.
        count: Updates.
        kept: Those whose gradients are kept, counted from 0; None for all.
    """
    gradients: list[Gradients] = []

    def keep(*_: Any) -> None:
        if kept is None or learner.steps in kept:
            named = learner.model.named_parameters()
            gradients.append({name: whole(one.grad) for name, one in named if one.grad is not None})

    hook = optimizer.register_step_pre_hook(keep)
    losses = [loss_of_next(world, learner, batch) for _ in range(count)]
    hook.remove()
    return gradients, losses


def loss_of_next(world: World, learner: Learner, batch: Any) -> float:
    """Make one update; its loss, the mean over data shards."""
    learner.step(batch)
    loss = learner.health(wait=True)[1]
    return mean(world, float("nan") if loss is None else loss)


def mean(world: World, loss: float) -> float:
    """The mean over data shards, the same on every process."""
    return sum(world.replicas.gather(loss)) / world.data.count


def whole(gradient: Tensor) -> Tensor:
    """All of a gradient that may be in parts, or of some rows."""
    full: Tensor = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
    return (full.to_dense() if full.is_sparse else full).detach().clone()


def differences(mine: Gradients, right: Gradients) -> dict[str, float]:
    """How far each gradient is from what it should be, as a share of its largest value.

    Of one that is almost 0, as that of an attention to nothing in particular, the share is of a
    thousandth of the largest value of all gradients. One that is no number is infinitely far.

    Raises:
        ValueError: They are not of the same parameters.
    """
    if mine.keys() != right.keys():
        raise ValueError(f"gradients of other parameters: {sorted(mine.keys() ^ right.keys())}")
    least = max(float(each.abs().max()) for each in right.values()) / 1000
    found = {
        name: float((mine[name] - each).abs().max() / each.abs().max().clamp(min=least))
        for name, each in right.items()
    }
    return {name: math.inf if math.isnan(each) else each for name, each in found.items()}


def farthest(found: Found, expected: Found, update: int) -> tuple[float, str]:
    """The largest of `differences`, and the name of its parameter.

    Args:
        found: What came of the updates.
        expected: And what should have.
        update: Which of those that are kept.
    """
    apart = differences(found.gradients[update], expected.gradients[update])
    return max((each, name) for name, each in apart.items())


def compared(found: Found, expected: Found, allowed: float = float("inf")) -> Apart:
    """All differences of two trials.

    Args:
        found: What came of the updates.
        expected: And what should have.
        allowed: Of the first gradients; `name` is of the first parameter beyond it.
    """
    first = differences(found.gradients[0], expected.gradients[0])
    pairs = zip(found.losses, expected.losses, strict=True)
    losses = max(abs(mine - right) for mine, right in pairs)
    judged = float((found.judged - expected.judged).abs().max())
    beyond = next((name for name, each in first.items() if not each <= allowed), "")
    later = farthest(found, expected, -1)[0]
    return Apart(max(first.values()), later, losses, judged, beyond)
