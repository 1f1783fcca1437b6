"""Gives this process its share of its node's cores, and its compute threads their number.

Done right after the world is joined, before anything is built: memory is then allocated on the NUMA
node it is used from. What a launcher has bound already (srun --cpu-bind, mpirun --bind-to) stays.
"""

import os
from typing import NamedTuple

import torch

from ttt.distributed.rank import node_name
from ttt.machine import affinity, nvml, topology
from ttt.machine.quota import cpu_quota
from ttt.protocols import World
from ttt.schema.choices import Binding


class _Peer(NamedTuple):
    """What a process sends to the others of its node."""

    node: str
    local_rank: int
    cpus: frozenset[int]
    bus: str | None  # PCI address of its GPU


def bind_cpus(binding: Binding, world: World) -> None:
    """Bind this process; all processes of the world call this together.

    Args:
        binding: `off` leaves cores and threads as the launcher and the user's environment set them.
        world: Gets `threads`.
    """
    if binding is Binding.off:
        world.threads = torch.get_num_threads()
        return
    own = _Peer(
        node_name(), world.local_rank, frozenset(os.sched_getaffinity(0)), _bus(world.device)
    )
    peers = sorted(peer for peer in world.gather(own) if peer.node == own.node)
    machine = topology.read()
    buses = [peer.bus for peer in peers] if world.device.type == "cuda" else []
    gpus = topology.gpu_nodes(buses)
    masks = [peer.cpus for peer in peers]
    share = affinity.assign(machine, masks, gpus, cpu_quota())[world.local_rank]
    if binding is Binding.always or gpus or len({core.node for core in machine.cores}) > 1:
        affinity.bind(share)
    world.threads = share.threads
    torch.set_num_threads(share.threads)


def _bus(device: torch.device) -> str | None:
    """The PCI address of a GPU; None where the driver does not report it."""
    if device.type != "cuda":
        return None
    with nvml.opened(f"GPU-{torch.cuda.get_device_properties(device).uuid}") as gpu:
        return nvml.answer(gpu.bus_id)
