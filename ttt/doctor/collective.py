"""All checks, by ranks that meet as those of a run do: needs torch.

They meet on the CPU whatever they will train on: gloo carries the facts, and NCCL, which may be
what is broken, is examined like any other part.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator

import torch

from ttt import config
from ttt.distributed import bench, mpi
from ttt.distributed import world as dist_world
from ttt.distributed.rank import Placement
from ttt.doctor import clocks, compute, exchange, local
from ttt.doctor import device as examination
from ttt.doctor.findings import Finding, Observation, failure, ok
from ttt.doctor.local import Everybody, Facts, Failed, attempt
from ttt.errors import TttError
from ttt.protocols import World
from ttt.schema.run import RunConfig
from ttt.signals import obey

Tell = Callable[[Iterable[Finding]], None]

# A rank that is stuck is a finding. Nothing here lets the others wait for longer than NCCL does,
# which is given a minute to connect (`ttt.distributed.bench`).
_ANSWER_SECONDS = 120.0


def examine(placement: Placement | None, text: str | None, mine: Facts, tell: Tell) -> int | None:
    """Meet the other ranks and make all checks.

    Args:
        placement: This rank; None for a process alone.
        text: The message, see `ttt.doctor.__main__`; None elsewhere than on rank 0.
        mine: What this rank found out by itself.
        tell: Takes the findings as they are made, the same on every rank.

    Returns:
        The number of nodes; None if the ranks did not meet, or lost each other.
    """
    met = False
    try:
        with dist_world.join(placement, text, lambda _, __: torch.device("cpu")) as (world, said):
            met = True
            world.expect_answers_within(_ANSWER_SECONDS)
            mpi.leave()  # it has brought us together; from here on gloo carries everything
            message = json.loads(said)
            run = config.load(message["config"])
            tell(local.judge_configuration(run, message["problems"]))
            tell(local.examine(run, message["looks"], placement, mine, world.gather))
            tell(_measure(run, world, mine))
            return world.nodes
    except Exception as error:
        obey()
        if not isinstance(error, TttError) and not dist_world.lost_peer(error):
            raise
        if not met:
            run = config.load(json.loads(text)["config"]) if text else RunConfig()
            by_itself = Everybody(mine, lambda value: [value])
            tell(local.judge_early(run, by_itself, launched=True))
        if not placement or placement.rank == 0 or not dist_world.lost_peer(error):
            tell([_lost(error, met)])  # else rank 0 says it
        return None


def _lost(error: Exception, met: bool) -> Finding:
    said = str(error).partition("\n")[0]
    problem, _, advice = said.rpartition("; ")
    if met:
        # gloo says: [file:line] reason. Advice
        said, _, _ = re.sub(r"^\[\S*\]\s*", "", said).partition(". ")
        advice = "look on the other nodes: one of the processes ended, or cannot be reached"
        return failure("ranks", f"another rank is gone or stuck: {said}", advice)
    return failure("ranks", problem or said, advice if problem else None)


def _measure(run: RunConfig, world: World, mine: Facts) -> Iterator[Finding]:
    stamps = enumerate(clocks.exchange(world.gather))
    hosts = world.gather(local.host())
    yield from clocks.judge([Observation(rank, hosts[rank], one) for rank, one in stamps])
    device = compute.choose(run.device, world.local_rank)
    world.barrier()
    gpus = not isinstance(mine["GPUs"], Failed) and bool(mine["GPUs"].visible)
    checks = examination.checks(run, device, gpus=gpus)
    yield from examination.examine(device, checks, world.gather)
    if world.size == 1:
        yield ok(
            "collectives",
            "not measured: there is only one process; to measure them, start several: torchrun"
            " --nproc-per-node 2 -m ttt doctor (srun and mpirun likewise)",
            sizes=None,
            why={"sizes": "there is only one process"},
        )
        return
    yield from _exchange(run, world, hosts, device)


def _exchange(
    run: RunConfig, world: World, hosts: list[str], device: torch.device
) -> Iterator[Finding]:
    parameters = world.agree(attempt(lambda: exchange.parameter_bytes(run)))
    if isinstance(parameters, Failed):
        yield failure("model", f"cannot be built: {parameters.reason}", None)
        parameters = []
    sizes = exchange.message_sizes(parameters)
    gloo = bench.gloo(world, sizes)
    yield from exchange.judge(gloo, len(set(hosts)))
    yield from exchange.judge_links(gloo, hosts)
    if not all(world.gather(device.type == "cuda")):
        return
    nccl = bench.nccl(world, sizes, device)
    if isinstance(nccl, str):
        yield exchange.refused(nccl)
        return
    yield from exchange.judge(nccl, len(set(hosts)), gloo)
    yield from exchange.judge_links(nccl, hosts)
