"""Whether what must repeat does: an evaluation, and the next update after a state is put back.

An evaluation of the same weights on the same batch gives the same bits. A state that is saved and
restored, random numbers with it, gives the same next loss up to the order in which a kernel adds.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence

import torch

from gpu import figures, parts
from gpu.parts import ALL, SMALL
from ttt.distributed.state import random_state, restore_random
from ttt.distributed.world import Solo

_BEFORE = 3  # updates, so that the state is not the first
_DIFFERENCE = {"fp32": 1e-4, "tf32": 1e-3, "bf16": 1e-2, "fp16": 1e-2}  # relative, of the next loss


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", nargs="+", default=None)
    options = figures.options(parser, arguments)
    section = figures.Section("repeat", options)
    names = options.benchmarks or (ALL if section.cuda else SMALL)

    def compare(section: figures.Section) -> None:
        for name in names:
            section.part(name, one, name)

    return figures.run(section, compare)


def one(section: figures.Section, name: str) -> None:
    """Compare evaluations, and losses after a restored state, of one benchmark."""
    built = parts.build(name, section.device)
    for _ in range(_BEFORE):
        built.learner.step(built.synthetic.train[0])
    section.part(f"{name} evaluation", evaluation, name, built)
    section.part(f"{name} restored", restored, name, built)


def evaluation(section: figures.Section, name: str, built: parts.Built) -> None:
    """Predict twice.

    Raises:
        AssertionError: The predictions differ.
    """
    batch = built.synthetic.eval[0]
    found = []
    for _ in range(2):
        with built.learner.eval_mode() as model:
            found.append(built.task.predict(model, batch))
    same = torch.equal(*found)
    section.add(f"{name} {built.precision} evaluation repeats", same)
    assert same, "two predictions of the same batch by the same weights differ"


def restored(section: figures.Section, name: str, built: parts.Built) -> None:
    """Save, update, put back, update again.

    Raises:
        AssertionError: The losses differ by more than the order of a sum can explain.
    """
    world, learner = Solo(section.device), built.learner
    batch = built.synthetic.train[0]
    state = learner.state()
    saved = copy.deepcopy({**state.alike, **state.own})
    random = random_state(world)
    losses = []
    for again in (False, True):
        if again:
            learner.restore(saved)
            restore_random(random, world)
        for _ in range(2):  # the second shows whether the optimizer's state came back
            learner.step(batch)
        losses.append(learner.health(wait=True)[1])
    first, second = losses
    apart = abs(first - second) / max(abs(first), 1e-12)
    section.add(f"{name} {built.precision} loss after restoring differs by", apart, "of it")
    assert apart <= _DIFFERENCE[built.precision], f"{first} became {second}"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
