"""Which numbers a setting may have, if they follow from its kind alone. Pure.

The `problems` of each part check what depends on other settings or needs a reason.
"""

import math
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from ttt.errors import fault
from ttt.schema.rules import usual, wrong

_LARGEST = 2**63 - 1
_SMALLEST = 2.0**-126  # of what fp32 has in full; a GPU may take what is smaller for 0
NOT_ZERO = "1.18e-38 or more"  # in fp32 a smaller number may be 0, and a sum with it, too
_WORDS = {
    "above 0": (lambda value: value > 0, "1"),
    NOT_ZERO: (lambda value: value >= _SMALLEST, "1e-5"),
    "0 or more": (lambda value: value >= 0, "0"),
    "0 to below 1": (lambda value: 0 <= value < 1, "0"),
    "0 to 1": (lambda value: 0 <= value <= 1, "0.1"),
}
_BOUNDS = {
    "above 0": ("data.std model.widths optim.eeta schedule.epochs schedule.power task.beam"),
    NOT_ZERO: "model.norm_eps model.norm_epsilon",
    "0 or more": (
        "data.first_label data.pad model.blocks optim.epsilon optim.initial_accumulator_value"
        " optim.lr_decay optim.weight_decay schedule.end_lr task.coverage_penalty"
        " task.extra_length task.length_penalty"
    ),
    "0 to below 1": (
        "model.attention_dropout model.dropout model.relu_dropout optim.beta_1 optim.beta_2"
        " optim.momentum task.label_smoothing"
    ),
    "0 to 1": "model.norm_momentum",
}
_OF = {name: words for words, names in _BOUNDS.items() for name in names.split()}


def is_zero(value: float) -> bool:
    """Whether fp32 may take a number of 0 or more for 0."""
    return 0 <= value < _SMALLEST


def numbers(node: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any, list[float]]]:
    """Settings that have numbers, by dotted name, with their part, the value and its numbers."""
    for name, value in vars(node).items():
        if is_dataclass(value):  # a part of a user's own has bounds of its own
            yield from numbers(value, f"{prefix}{name}.")
            continue
        several = value if isinstance(value, list) else [value]
        found = [one for one in several if isinstance(one, int | float)]
        if found:
            yield f"{prefix}{name}", node, value, found


def too_large(node: Any) -> Iterator[str]:
    """Whole numbers that no machine can count to: nothing can be computed with them."""
    for name, _, value, found in numbers(node):
        if any(isinstance(one, int) and abs(one) > _LARGEST for one in found):
            shown = f"{str(value)[:20]}..."
            yield fault(name, shown, allowed=f"numbers up to {_LARGEST}", typed="1")


def outside(node: Any) -> Iterator[tuple[str, str]]:
    """Settings with a number out of bounds, or with no number, each with a sentence."""
    for name, part, value, several in numbers(node):
        words = _OF.get(name)
        allows, otherwise = _WORDS[words] if words else (math.isfinite, "1")
        right = [math.isfinite(one) and allows(one) for one in several]
        if all(right):
            continue
        why = wrong(next(one for one, ok in zip(several, right, strict=True) if not ok))
        instead = usual(part, name.rpartition(".")[2], otherwise)
        typed = [f"{one:g}" if ok else instead for one, ok in zip(several, right, strict=True)]
        shown = [f"{one:g}" if isinstance(one, float) else str(one) for one in several]
        form = "[{}]" if isinstance(value, list) else "{}"
        found, better = (form.format(",".join(texts)) for texts in (shown, typed))
        yield name, fault(name, found, why, allowed=words or "numbers", typed=better)
