"""Reading a machine: made-up /sys trees, and the machine of this test."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt.machine import topology
from ttt.machine.quota import cpu_quota
from ttt.machine.topology import Core, format_cpus, gpu_nodes, parse_cpus


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def cpu(number, siblings, socket):
    folder = f"devices/system/cpu/cpu{number}/topology"
    return {
        f"{folder}/thread_siblings_list": siblings,
        f"{folder}/physical_package_id": socket,
    }


def test_two_sockets_with_smt(tmp_path):
    sys = write(
        tmp_path,
        {
            **cpu(0, "0,4", 0),
            **cpu(1, "1,5", 0),
            **cpu(2, "2,6", 1),
            **cpu(3, "3,7", 1),
            **cpu(4, "0,4", 0),
            **cpu(5, "1,5", 0),
            **cpu(6, "2,6", 1),
            **cpu(7, "3,7", 1),
            "devices/system/cpu/cpufreq/boost": "1",
            "devices/system/cpu/cpu8/online": "0",
            "devices/system/node/node0/cpulist": "0-1,4-5",
            "devices/system/node/node1/cpulist": "2-3,6-7",
            "devices/system/node/node0/distance": "10 21",
            "devices/system/node/node1/distance": "21 10",
        },
    )
    found = topology.read(sys)
    assert found.cores == (
        Core((0, 4), 0, 0),
        Core((1, 5), 0, 0),
        Core((2, 6), 1, 1),
        Core((3, 7), 1, 1),
    )
    assert found.distances == {0: {0: 10, 1: 21}, 1: {0: 21, 1: 10}}


def test_nodes_are_in_the_order_of_their_numbers_and_may_have_no_cpu(tmp_path):
    nodes = {
        f"devices/system/node/node{node}/{name}": text
        for node, cpus, row in [(0, "0", "10 20 30"), (2, "", "20 10 40"), (10, "1", "30 40 10")]
        for name, text in (("cpulist", cpus), ("distance", row))
    }
    found = topology.read(write(tmp_path, {**cpu(0, "0", 0), **cpu(1, "1", 0), **nodes}))
    assert [core.node for core in found.cores] == [0, 10]
    assert found.distances[2] == {0: 20, 2: 10, 10: 40}


def test_what_a_machine_does_not_say_is_unknown(tmp_path):
    assert topology.read(tmp_path / "nowhere") == topology.Topology()
    found = topology.read(write(tmp_path, cpu(0, "0", -1)))
    assert found == topology.Topology((Core((0,), None, None),))


def test_gpus_are_found_by_the_addresses_nvml_gives(tmp_path):
    pci = "bus/pci/devices"
    sys = write(
        tmp_path,
        {
            f"{pci}/0000:3b:00.0/numa_node": "0",
            f"{pci}/0000:af:00.0/numa_node": "1",
            f"{pci}/10000:01:00.0/numa_node": "3",
            f"{pci}/0000:01:00.0/numa_node": "-1",
        },
    )
    asked = ["00000000:AF:00.0", "0000:3b:00.0", "00010000:01:00.0", "00000000:01:00.0"]
    assert gpu_nodes([*asked, "00000000:FF:00.0", None], sys) == (1, 0, 3, None, None, None)


def test_this_machine_is_read():
    cpus = [cpu for core in topology.read().cores for cpu in core.cpus]
    assert len(cpus) == len(set(cpus))
    if not os.path.isfile("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"):
        pytest.skip("/sys tells nothing of the CPUs here")
    assert os.sched_getaffinity(0) <= set(cpus)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("", []), ("\n", []), ("0", [0]), ("0-3,8\n", [0, 1, 2, 3, 8]), ("0-1,4-5", [0, 1, 4, 5])],
)
def test_lists_of_cpus(text, cpus):
    assert parse_cpus(text) == frozenset(cpus)
    assert format_cpus(reversed(cpus)) == text.strip()


@given(st.frozensets(st.integers(0, 300)))
def test_lists_of_cpus_survive_being_written(cpus):
    assert parse_cpus(format_cpus(cpus)) == cpus


def process(root, cgroup, mounts):
    """A folder like /proc/self, in which the control groups are mounted below the same root."""
    lines = [f"cgroup {root}/{point} {kind} {options} 0 0" for point, kind, options in mounts]
    return write(root, {"self/cgroup": cgroup, "self/mounts": "\n".join(lines)}) / "self"


V2 = [("cg", "cgroup2", "rw,nosuid")]
V1 = [("cg/cpu", "cgroup", "rw,cpu,cpuacct"), ("cg/memory", "cgroup", "rw,memory")]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cg/jobs/a/cpu.max": "max 100000"}, None),
        ({"cg/jobs/a/cpu.max": "250000 100000"}, 2.5),
        ({"cg/jobs/a/cpu.max": "max 100000", "cg/jobs/cpu.max": "50000 100000"}, 0.5),
        ({"cg/jobs/a/cpu.max": "400000 100000", "cg/jobs/cpu.max": "800000 100000"}, 4.0),
        ({"cg/jobs/b/cpu.max": "100000 100000", "cpu.max": "100000 100000"}, None),
        ({"cg/cpu.max": "300000 100000"}, 3.0),  # a container that sees its host's path
    ],
)
def test_the_quota_is_the_least_on_the_way_up(tmp_path, files, quota):
    write(tmp_path, files)
    assert cpu_quota(process(tmp_path, "0::/jobs/a", V2)) == quota


@pytest.mark.parametrize(("microseconds", "quota"), [("-1", None), ("150000", 1.5)])
def test_the_quota_of_the_first_version(tmp_path, microseconds, quota):
    for group in ("cg/cpu/pod", "cg/memory/pod", "cg/memory"):  # of memory it means nothing
        us = microseconds if "memory" not in group else "1000"
        write(tmp_path, {f"{group}/cpu.cfs_quota_us": us, f"{group}/cpu.cfs_period_us": "100000"})
    cgroup = "3:memory:/pod\n2:cpu,cpuacct:/pod\n0::/"
    assert cpu_quota(process(tmp_path, cgroup, V1)) == quota


def test_both_versions_side_by_side(tmp_path):
    write(tmp_path, {"cg/cpu/cpu.cfs_quota_us": "200000", "cg/cpu/cpu.cfs_period_us": "50000"})
    mounts = [*V1, ("cg/unified", "cgroup2", "rw")]
    assert cpu_quota(process(tmp_path, "1:cpu:/\n0::/", mounts)) == 4.0


def test_no_control_groups_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None
    assert cpu_quota() is None or cpu_quota() > 0
