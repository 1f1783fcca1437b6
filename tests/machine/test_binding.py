"""Ranks get their share of this machine's cores, and as many compute threads."""

import os

import pytest
import torch

from ranks import on_ranks
from ttt.distributed.world import Solo
from ttt.machine import affinity, topology
from ttt.machine.binding import bind_cpus
from ttt.machine.quota import cpu_quota
from ttt.schema.choices import Binding


def settled(world, binding):
    """The cores and threads of a rank, once it has settled."""
    bind_cpus(Binding(binding), world)
    return frozenset(os.sched_getaffinity(0)), world.threads, torch.get_num_threads()


def planned(size):
    mine = frozenset(os.sched_getaffinity(0))
    return affinity.assign(topology.read(), [mine] * size, (), cpu_quota())


@pytest.mark.parametrize("size", [2, 3])
def test_bound_ranks_have_what_was_planned_for_them(size):
    for found, share in zip(on_ranks(size, settled, "always"), planned(size), strict=True):
        assert found == (share.cpus, share.threads, share.threads)


def test_off_leaves_cores_and_threads_alone():
    everything = frozenset(os.sched_getaffinity(0))
    assert on_ranks(2, settled, "off") == [(everything, 1, 1)] * 2  # ranks.py sets one thread


def test_a_process_alone_has_the_machine():
    threads = torch.get_num_threads()
    before = os.sched_getaffinity(0)
    world = Solo(torch.device("cpu"))
    try:
        bind_cpus(Binding.auto, world)
        assert world.threads == torch.get_num_threads() == planned(1)[0].threads
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, before)
