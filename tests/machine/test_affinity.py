"""Who gets which CPUs, on machines like those people have."""

import os
import threading
from dataclasses import replace

from affinity_machines import everything, machine
from ttt.machine import topology
from ttt.machine.affinity import Share, assign, bind, bound_apart, describe, plan
from ttt.machine.topology import Core, Topology, format_cpus, parse_cpus


def told(topology, local_size, gpus=(), quota=None, allowed=None):
    """CPUs and threads of each share, short."""
    usable = everything(topology) if allowed is None else parse_cpus(allowed)
    shares = plan(topology, usable, local_size, gpus, quota)
    return [f"{format_cpus(share.cpus)} x{share.threads}" for share in shares]


DGX_H100 = machine(2, 1, 56, smt=2)
DGX_A100 = machine(2, 4, 16, smt=2)
DGX_A100_GPUS = [3, 3, 1, 1, 7, 7, 5, 5]


def test_two_sockets_of_four_gpus_with_smt():
    assert told(DGX_H100, 8, [0, 0, 0, 0, 1, 1, 1, 1]) == [
        "0-13,112-125 x14",
        "14-27,126-139 x14",
        "28-41,140-153 x14",
        "42-55,154-167 x14",
        "56-69,168-181 x14",
        "70-83,182-195 x14",
        "84-97,196-209 x14",
        "98-111,210-223 x14",
    ]


def test_two_sockets_of_four_gpus_without_smt():
    without = machine(2, 1, 18)
    assert told(without, 8, [1, 0, 1, 0, 1, 0, 1, 0]) == [
        "18-22 x5",
        "0-4 x5",
        "23-27 x5",
        "5-9 x5",
        "28-31 x4",
        "10-13 x4",
        "32-35 x4",
        "14-17 x4",
    ]


def test_nodes_without_a_gpu_serve_their_socket():
    shares = plan(DGX_A100, everything(DGX_A100), 8, DGX_A100_GPUS)
    assert [share.threads for share in shares] == [16] * 8
    assert [share.numa for share in shares] == [(0, 3)] * 2 + [(1, 2)] * 2 + [(4, 7)] * 2 + [
        (5, 6)
    ] * 2
    for share, gpu in zip(shares, DGX_A100_GPUS, strict=True):
        assert sum(cpu // 16 % 8 == gpu for cpu in share.cpus) == 16  # of 32: its half of the node
    assert shares[0].why == "GPU on node 3: socket 0 divided by 4"


def test_two_of_eight_nodes_have_no_gpu():
    shares = plan(DGX_A100, everything(DGX_A100), 8, [0, 0, 1, 2, 4, 4, 5, 6])
    assert [share.threads for share in shares] == [16] * 8
    assert [share.numa for share in shares[:4]] == [(0, 3), (0, 3), (1,), (2,)]


def test_a_socket_far_from_every_gpu_is_left_alone():
    [only] = plan(DGX_H100, everything(DGX_H100), 1, [1, 0])
    assert only.numa == (1,)
    assert only.why == "GPU on node 1: all of node 1"


def test_ranks_without_gpus_are_spread_over_the_nodes():
    assert told(machine(2, 2, 4), 4) == ["0-3 x4", "4-7 x4", "8-11 x4", "12-15 x4"]
    assert told(machine(2, 2, 4), 8)[:3] == ["0-1 x2", "2-3 x2", "4-5 x2"]
    assert told(machine(2, 1, 4), 3) == ["0-1 x2", "2-3 x2", "4-7 x4"]  # none across the sockets


def test_fewer_ranks_than_nodes_leave_no_core_out():
    assert told(machine(2, 2, 4), 1) == ["0-15 x16"]
    assert told(machine(2, 4, 2), 2) == ["0-7 x8", "8-15 x8"]
    assert told(machine(4, 2, 2), 2) == ["0-3,8-11 x8", "4-7,12-15 x8"]  # two sockets each
    assert told(machine(1, 4, 4), 3) == ["0-3,12-13 x6", "4-7,14 x5", "8-11,15 x5"]


def test_half_a_node_is_forbidden():
    # One node a socket: its ranks have less, but none of them is across the sockets.
    assert told(machine(2, 1, 8), 4, [0, 0, 1, 1], allowed="0-3,8-15") == [
        "0-1 x2",
        "2-3 x2",
        "8-11 x4",
        "12-15 x4",
    ]
    # Without GPUs the ranks go where there is room.
    assert told(machine(2, 1, 8), 3, allowed="0-3,8-15") == ["0-3 x4", "8-11 x4", "12-15 x4"]
    # Several nodes a socket: those with all their cores lend some.
    assert told(machine(1, 2, 8), 2, [0, 1], allowed="0-3,8-15") == ["0-3,14-15 x6", "8-13 x6"]


def test_one_logical_cpu_of_each_core_is_allowed():
    assert told(machine(1, 1, 4, smt=2), 2, allowed="4-7") == ["4-5 x2", "6-7 x2"]
    assert told(machine(1, 1, 4, smt=2), 2, allowed="0-1,4-7") == ["0-1,4-5 x2", "6-7 x2"]


def test_a_quota_limits_threads_and_not_cpus():
    assert told(machine(1, 1, 8), 2, quota=5.5) == ["0-3 x2", "4-7 x2"]
    assert told(machine(1, 1, 8), 2, quota=0.5) == ["0-3 x1", "4-7 x1"]
    assert told(machine(1, 1, 8), 2, quota=64.0) == ["0-3 x4", "4-7 x4"]
    limited, _ = plan(machine(1, 1, 8), frozenset(range(8)), 2, quota=5.5)
    assert limited.why == "no GPU: node 0 divided by 2, quota of 5.5 CPUs"


def test_fewer_cores_than_ranks():
    assert told(machine(1, 1, 2, smt=2), 4) == ["0 x1", "2 x1", "1 x1", "3 x1"]
    assert told(machine(1, 1, 2, smt=2), 3) == ["0,2 x1", "1 x1", "3 x1"]  # siblings together
    assert told(machine(2, 1, 1, smt=2), 4, [1, 1, 0, 0]) == ["1 x1", "3 x1", "0 x1", "2 x1"]


def test_fewer_cpus_than_ranks():
    shares = plan(machine(1, 1, 1, smt=2), frozenset({0, 1}), 3, [0])
    assert {share.cpus for share in shares} == {frozenset({0, 1})}
    assert [share.threads for share in shares] == [1, 1, 1]
    assert [share.gpu for share in shares] == [True, False, False]
    assert shares[0].why == "2 CPUs for 3 ranks: not bound"


def test_a_single_core():
    assert told(machine(1, 1, 1), 1) == ["0 x1"]
    assert told(machine(1, 1, 1), 2) == ["0 x1", "0 x1"]


def test_a_gpu_whose_node_has_no_usable_cpu():
    [share] = plan(machine(2, 2, 4), parse_cpus("4-15"), 1, [0])
    assert share.cpus == parse_cpus("4-7")
    assert share.why == "GPU on node 0 without a usable CPU, nearest is node 1: all of node 1"
    far = plan(machine(2, 2, 4), parse_cpus("8-15"), 2, [0, 1])
    assert [share.numa for share in far] == [(2,), (3,)]  # equally far: they share nothing


def test_more_ranks_near_a_gpu_than_cores_there():
    crowd = machine(2, 1, 4)
    shares = plan(crowd, parse_cpus("0,4-7"), 2, [0, 0])
    assert [share.threads for share in shares] == [3, 2]
    assert shares[0].why == "GPU on node 0: the machine divided by 2"


def test_gpus_of_which_nothing_is_known_count_as_none():
    known = plan(machine(2, 1, 4), everything(machine(2, 1, 4)), 2, ())
    unknown = plan(machine(2, 1, 4), everything(machine(2, 1, 4)), 2, [None, None])
    assert [share.cpus for share in unknown] == [share.cpus for share in known]
    assert unknown[0].why == "GPU on an unknown node: all of node 0"
    # One that is known keeps its node, the others move over.
    mixed = plan(machine(2, 1, 4), everything(machine(2, 1, 4)), 2, [None, 0])
    assert [share.numa for share in mixed] == [(1,), (0,)]


def test_a_machine_that_tells_nothing():
    shares = plan(Topology(), frozenset(range(8)), 2, [None, None])
    assert [format_cpus(share.cpus) for share in shares] == ["0-3", "4-7"]
    assert [(share.threads, share.numa) for share in shares] == [(4, ())] * 2
    assert shares[0].why == "GPU on an unknown node: the machine divided by 2"


def test_a_virtual_machine_in_which_every_core_is_a_socket():
    cores = tuple(Core((cpu,), socket=cpu, node=cpu // 4) for cpu in range(8))
    virtual = Topology(cores, machine(2, 1, 4).distances)
    assert told(virtual, 2) == ["0-3 x4", "4-7 x4"]


def test_this_machine():
    allowed = frozenset(os.sched_getaffinity(0))
    shares = plan(topology.read(), allowed, 2)
    assert shares[0].cpus | shares[1].cpus == allowed
    assert shares[0].cpus.isdisjoint(shares[1].cpus) or len(allowed) == 1


def masks(*lists):
    return [parse_cpus(text) for text in lists]


def test_what_a_launcher_bound_apart():
    assert bound_apart(masks("0-3", "4-7"))
    assert bound_apart(masks("0-3", "2-5"))  # somebody's choice, odd as it is
    assert not bound_apart(masks("0-7", "0-7"))
    assert not bound_apart(masks("0-3", "4-7", "0-3"))  # by socket: two on one
    assert not bound_apart(masks("0-7"))


def test_ranks_that_are_settled_keep_what_they_have():
    shares = assign(machine(1, 1, 4, smt=2), masks("0-1,4-5", "3"), [0], quota=8.0)
    assert [format_cpus(share.cpus) for share in shares] == ["0-1,4-5", "3"]
    assert [(share.threads, share.gpu) for share in shares] == [(2, True), (1, False)]
    assert shares[0].why == "bound by the launcher"


def test_ranks_bound_to_one_socket_divide_it():
    by_socket = masks("0-3", "4-7", "0-3", "4-7")
    shares = assign(machine(2, 1, 4), by_socket, [1, 1, 0, None], quota=4.0)
    assert [format_cpus(share.cpus) for share in shares] == ["0-1", "4-5", "2-3", "6-7"]
    assert [share.threads for share in shares] == [1, 1, 1, 1]
    assert all(share.gpu for share in shares)
    assert shares[0].why.startswith("GPU on node 1 without a usable CPU, nearest is node 0:")


def test_ranks_that_nobody_bound_are_planned_together():
    whole = everything(DGX_A100)
    assert assign(DGX_A100, [whole] * 8, DGX_A100_GPUS) == plan(DGX_A100, whole, 8, DGX_A100_GPUS)


def test_the_plan_is_told_in_lines():
    small = machine(2, 2, 2, smt=2)
    usable = everything(small) - {0, 8}
    assert describe(small, plan(small, usable, 3, [1, 3], quota=7.5)) == [
        "2 sockets, 4 NUMA nodes, 8 cores, 16 CPUs",
        "rank 0  GPU 0   NUMA nodes 0-1  cpus 1-3,9-11   2 threads  (GPU on node 1: all of socket"
        " 0, quota of 7.5 CPUs)",
        "rank 1  GPU 1   NUMA node 3     cpus 6-7,14-15  2 threads  (GPU on node 3: all of node 3)",
        "rank 2  no GPU  NUMA node 2     cpus 4-5,12-13  2 threads  (no GPU: all of node 2)",
    ]
    assert describe(Topology(), plan(Topology(), frozenset({0}), 1)) == [
        "the system does not report its cores",
        "rank 0  no GPU  NUMA node ?  cpus 0  1 thread  (no GPU: all of the machine)",
    ]


def test_binding_binds_the_threads_that_are_there_and_those_to_come():
    before = os.sched_getaffinity(0)
    one = Share(frozenset({min(before)}), 1, (), gpu=False, why="")
    done, seen = threading.Event(), {}

    def look(name):
        done.wait()
        seen[name] = os.sched_getaffinity(0)

    older = threading.Thread(target=look, args=("older",))
    older.start()
    try:
        assert bind(one)
        younger = threading.Thread(target=look, args=("younger",))
        younger.start()
        done.set()
        older.join()
        younger.join()
        assert seen == {"older": one.cpus, "younger": one.cpus}
        assert os.sched_getaffinity(0) == one.cpus
    finally:
        done.set()
        bind(replace(one, cpus=frozenset(before)))


def test_cpus_that_are_gone_bind_nobody():
    before = os.sched_getaffinity(0)
    assert not bind(Share(frozenset({100_000}), 1, (), gpu=False, why=""))
    assert os.sched_getaffinity(0) == before
