"""A world of one over NCCL, as ttt joins it, and DistributedDataParallel in it.

How long joining and the first collective take, and what a collective of one process costs: its
launch, not its bandwidth. NCCL refuses two ranks on one GPU ("Duplicate GPU detected"), and MIG's
instances of one GPU cannot talk by NCCL either, so that two ranks need two GPUs. On a CPU it is
gloo's.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from gpu import figures, parts
from ttt.distributed import world as dist_world
from ttt.distributed.rank import Placement

_SIZES = {"4 bytes": 1, "4 MiB": 1 << 20, "128 MiB": 32 << 20}  # elements of float32
_TIMES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = figures.options(parser, arguments)
    return figures.run(figures.Section("collectives", options), measure)


def measure(section: figures.Section) -> None:
    """Join, reduce, and train with DDP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.setdefault("TTT_KEY", os.urandom(32).hex())
    begin = time.perf_counter()
    with dist_world.join(Placement(), json.dumps({}), lambda *_: section.device) as (world, _):
        section.add("join a world of one", time.perf_counter() - begin, "s")
        assert isinstance(world, dist_world.Group)
        section.part("average", averages, world)
        section.part("exchange", exchanges, world)
        section.part("DistributedDataParallel", updates, world)


def averages(section: figures.Section, world: Any) -> None:
    """The first mean of a buffer, in which NCCL connects, and later ones of several sizes."""
    first = torch.ones(1, device=section.device)
    begin = time.perf_counter()
    world.average([first])
    section.synchronize()
    section.add("first average", time.perf_counter() - begin, "s")
    assert float(first) == 1.0
    for name, elements in _SIZES.items():
        if elements > 1 and not section.cuda:
            continue
        tensor = torch.ones(elements, device=section.device)
        world.average([tensor])
        found = []
        for _ in range(_TIMES):
            section.synchronize()
            begin = time.perf_counter()
            world.average([tensor])
            section.synchronize()
            found.append(1e6 * (time.perf_counter() - begin))
        section.add(f"average of {name}, median", statistics.median(found), "us")


def exchanges(section: figures.Section, world: Any) -> None:
    """What a process gives to itself comes back."""
    given = torch.arange(1000, device=section.device)
    [back] = world.exchange([given])
    assert torch.equal(back, given)
    assert torch.equal(world.concat(given), given)


def updates(section: figures.Section, world: Any) -> None:
    """Gradients by DDP's reducer and without it; a world of one must change no bit."""
    found = {}
    # ttt trains a single process without DDP, which its reducer is then compared with.
    device = [section.device.index] if section.cuda else None
    for name in ("alone", "DDP"):
        torch.manual_seed(0)
        run = parts.settings("digits")
        batches, _ = parts.synthetic(run, world)
        batch = batches.train[0]
        model = parts.make(run["model"]).to(section.device)
        whole: Any = model
        if name == "DDP":
            whole = DistributedDataParallel(model, device_ids=device, gradient_as_bucket_view=True)
        task = parts.make(run["task"])
        for _ in range(3):
            whole.zero_grad()
            section.synchronize()
            begin = time.perf_counter()
            task.loss(whole, batch).backward()
            section.synchronize()
        milliseconds = 1000 * (time.perf_counter() - begin)
        section.add(f"digits forward and backward, {name}", milliseconds, "ms")
        found[name] = [parameter.grad.clone() for parameter in model.parameters()]
    apart = max(
        float((one - other).abs().max() / one.abs().max().clamp(min=1e-12))
        for one, other in zip(found["alone"], found["DDP"], strict=True)
    )
    section.add("gradients by DDP differ by", apart, "of the largest")
    assert apart < 1e-3, "a world of one must not change gradients"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
