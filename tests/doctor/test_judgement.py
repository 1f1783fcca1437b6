"""What the doctor makes of made-up numbers: machines, names, files. No process, no torch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ttt.distributed.rank import Placement
from ttt.doctor import cpus, gpus, launch, limits, network, reading, show, software, storage
from ttt.doctor.examination import Check, Context, Stage, examine, look_locally
from ttt.doctor.findings import (
    Finding,
    Level,
    Observation,
    failure,
    names,
    ok,
    reference,
    slow,
    unknown,
    warning,
)
from ttt.errors import install
from ttt.machine import visible_gpus
from ttt.machine.mounts import Mount
from ttt.machine.topology import Core, Topology
from ttt.schema.choices import Binding
from ttt.schema.data.images import ImageDataConfig
from ttt.schema.run import RunConfig


def seen(*facts, hosts="abcdefgh"):
    return [Observation(rank, hosts[rank], fact) for rank, fact in enumerate(facts)]


def one(findings) -> Finding:
    [finding] = findings
    return finding


def test_slow_is_relative_to_the_median():
    assert slow({0: 10, 1: 9.5, 2: 10, 3: 8.5}, 0.9) == {3: pytest.approx(8.5 / 9.75)}
    assert slow({0: 10, 1: 9.1}, 0.9) == {}
    assert slow({}, 0.9) == {}
    assert reference({0: 10, 1: 9, 2: 8}) == "the median"
    assert names(range(8)) == "0, 1, 2, 3, 4, 5 and 2 more"


def test_of_two_the_slower_must_be_far_below_the_faster():
    """The slower of two is always below their mean: on a busy machine by a tenth, without cause."""
    assert slow({0: 8.0, 1: 10.0}, 0.9) == {}
    assert slow({0: 3.0, 1: 10.0}, 0.9) == {0: pytest.approx(0.3)}
    assert slow({0: 3.0}, 0.9) == {}
    assert reference({0: 3.0, 1: 10.0}) == "the faster"


def test_only_what_is_unknown_has_a_reason():
    why = {"a": "no sensor", "b": "no driver", "c": "no link"}
    finding = ok("x", "", a={0: 1, 1: None}, b=2, c=[{"d": None}], why=why)
    assert finding.data["why"] == {"a": "no sensor", "c": "no link"}
    assert "why" not in ok("x", "", a=1, why=why).data


SAME = {"python": "3.11.7", "ttt": "1", "torch": "2.13", "numpy": "2", "dali": "2"}


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({}, Level.ok, "the same on all ranks"),
        ({"torch": "2.12"}, Level.failure, "torch: 2.13 on rank 0 on a; 2.12 on rank 1 on b"),
        ({"numpy": "1"}, Level.warning, "numpy: 2 on rank 0 on a; 1 on rank 1 on b"),
    ],
)
def test_software_must_be_the_same_everywhere(changed, level, said):
    both = seen(software.Software(SAME), software.Software(SAME | changed))
    finding = one(software.judge(both, RunConfig()))
    assert finding.level is level
    assert said in finding.text


def test_what_the_benchmark_needs_and_is_not_installed_is_named():
    bare = seen(software.Software(SAME | {"torch": None, "dali": None}))
    _, torch, dali = software.judge(bare, RunConfig(data=ImageDataConfig()))
    assert torch.level is Level.warning
    unmeasured = ("arithmetic", "collectives", "clock_spread_s")
    assert torch.data == dict.fromkeys(unmeasured) | {
        "why": dict.fromkeys(unmeasured, "torch is absent")
    }
    assert "pip install 'time-to-train[dali]'" in dali.advice


def software_with(*dali: str, cuda: str | None = "13.0") -> software.Software:
    return software.Software(SAME, dali, cuda)


@pytest.mark.parametrize(
    ("there", "said", "advice"),
    [
        (
            software_with("nvidia-dali-cuda120"),
            "nvidia-dali-cuda120 is not built for CUDA 13.0, as torch is, on a, b;"
            " nvidia-dali-cuda130 is",
            f"pip uninstall nvidia-dali-cuda120, then {install('dali-cuda13')}",
        ),
        (
            software_with("nvidia-dali-cuda130", cuda="12.8"),
            "nvidia-dali-cuda130 is not built for CUDA 12.8, as torch is, on a, b;"
            " nvidia-dali-cuda120 is",
            f"pip uninstall nvidia-dali-cuda130, then {install('dali')}",
        ),
        (
            software_with("nvidia-dali-cuda130", "nvidia-dali-cuda120"),
            "nvidia-dali-cuda130, nvidia-dali-cuda120 overwrite each other's files, on a, b",
            f"pip uninstall nvidia-dali-cuda130 nvidia-dali-cuda120, then {install('dali-cuda13')}",
        ),
        (
            software_with(),
            "nvidia-dali is not installed, and data.loader=dali decodes with it",
            f"{install('dali-cuda13')} where training will run",
        ),
    ],
)
def test_dali_is_there_once_and_fits_torch(there, said, advice):
    _, found = software.judge(seen(there, there), RunConfig(data=ImageDataConfig()))
    assert (found.level, found.name) == (Level.warning, "dali")
    assert (found.text, found.advice) == (said, advice)
    assert len(list(software.judge(seen(there, there), RunConfig()))) == 1  # reads no images


@pytest.mark.parametrize(
    ("package", "cuda"),
    [
        ("nvidia-dali-cuda130", "13.0"),
        ("nvidia-dali-cuda120", "12.8"),
        ("nvidia-dali-cuda110", None),  # on the CPU any will do
        ("nvidia-dali-cuda110", "11.8"),
    ],
)
def test_a_dali_that_fits_is_ok(package, cuda):
    there = software_with(package, cuda=cuda)
    assert one(software.judge(seen(there), RunConfig(data=ImageDataConfig()))).level is Level.ok


def test_a_small_dev_shm_and_few_files_are_warned_of():
    good = limits.Limits(None, 8 << 30, 65536, ("mlx5_0",))
    assert one(limits.judge(seen(good))).level is Level.ok
    poor = limits.Limits(8 << 20, 64 << 20, 512, ("mlx5_0",))
    found = list(limits.judge(seen(good, poor)))
    assert [(one.level, one.name) for one in found] == [
        (Level.warning, "pinned memory"),
        (Level.warning, "/dev/shm"),
        (Level.warning, "open files"),
    ]
    assert all("on b" in one.text for one in found)
    without = replace(poor, infiniband=())  # nothing pins memory then
    assert "pinned memory" not in {one.name for one in limits.judge(seen(without))}


def test_limits_are_read_from_this_machine(tmp_path: Path):
    (tmp_path / "class/infiniband/mlx5_0").mkdir(parents=True)
    found = limits.look(tmp_path, tmp_path / "absent")
    assert found.infiniband == ("mlx5_0",)
    assert found.shared_bytes is None
    assert found.files > 0


def machine(name, address, back=None, boot=None, **changed):
    own = network.Address((address,), (back or name,), 0.001)
    return network.Network(name, boot or name, replace(own, **changed), 28232, False)


def test_a_loopback_name_is_a_failure_only_where_others_must_use_it():
    alone = one(network.judge_names(seen(machine("vm", "127.0.1.1"))))
    assert alone.level is Level.ok
    assert "loopback" in alone.text
    both = seen(machine("n1", "10.0.0.1"), machine("n2", "127.0.1.1"))
    finding = one(network.judge_names(both))
    assert finding.level is Level.failure
    assert "n2" in finding.text
    assert "/etc/hosts" in finding.advice


def test_several_nodes_of_a_scheduler_on_one_machine_are_one_machine():
    same = machine("vm", "127.0.0.1", boot="boot")
    assert one(network.judge_names(seen(same, same))).level is Level.ok


@pytest.mark.parametrize(
    ("second", "level", "said"),
    [
        (machine("n2", "10.0.0.2"), Level.ok, "n2 -> 10.0.0.2, and back"),
        (machine("n2", "10.0.0.2", "n2.cluster.org"), Level.ok, "and back"),
        (machine("n2", "10.0.0.2", "other"), Level.warning, "n2 -> 10.0.0.2 -> other"),
        (machine("n2", "10.0.0.2", names=(None,)), Level.warning, "-> no name"),
        (machine("n2", "10.0.0.2", seconds=1.5), Level.warning, "took 1.5 s"),
        (machine("n2", "", addresses=(), error="unknown"), Level.failure, "cannot resolve"),
        (machine("n1", "10.0.0.2", boot="another"), Level.failure, "same host name: n1"),
    ],
)
def test_names_lead_to_nodes_and_back(second, level, said):
    finding = one(network.judge_names(seen(machine("n1", "10.0.0.1"), second)))
    assert finding.level is level
    assert said in finding.text


def test_every_rank_has_to_find_rank_zero():
    good, lost = network.Address(("10.0.0.1",)), network.Address(error="unknown")
    looped = network.Address(("127.0.0.1",))
    assert one(network.judge_way_to_rank_zero("n1", seen(looped, good), {0})).level is Level.ok
    for bad in (lost, looped):
        finding = one(network.judge_way_to_rank_zero("n1", seen(looped, good, bad), {0}))
        assert finding.level is Level.warning
        assert list(finding.data["lost"]) == ["c"]


def test_this_machine_resolves_localhost_and_not_nonsense():
    assert network.resolve("localhost").loopback
    assert network.resolve("no-such-host.invalid").error


def test_ports():
    free = machine("n1", "10.0.0.1")
    taken = replace(free, taken=True)
    few = replace(free, ports=100)
    levels = [one(network.judge_ports(seen(n), launched=False)).level for n in (free, taken, few)]
    assert levels == [Level.ok, Level.warning, Level.warning]
    assert one(network.judge_ports(seen(taken), launched=True)).level is Level.ok


def begun(placement=None, launch_problem=None, **allocation):
    return launch.Launch(placement, launch_problem, allocation, ("srun",))


def test_a_world_smaller_than_the_allocation_is_warned_of():
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "4"}
    finding, tools = launch.judge(seen(begun(**job)))
    assert finding.level is Level.warning
    assert "1 of the 4 nodes of job 7" in finding.text
    assert finding.advice.startswith("srun -N4")
    assert "not found: sbatch, mpirun, torchrun" in tools.text


def test_ranks_and_nodes_are_counted():
    places = [Placement(0, 3, 0, 2, "slurm"), Placement(1, 3, 1, 2, "slurm")]
    even, _ = launch.judge(seen(*map(begun, places)))
    assert even.level is Level.ok
    assert even.text == "slurm: 2 ranks on 1 node"
    uneven, _ = launch.judge(seen(*map(begun, [*places, Placement(2, 3, 0, 1, "slurm")])))
    assert uneven.level is Level.warning


def test_a_rank_without_a_size_is_a_failure():
    finding = next(launch.judge(seen(begun(launch_problem="PMIX_RANK=1 says; start them by srun"))))
    assert finding.level is Level.failure
    assert finding.advice == "start them by srun"


H100 = gpus.Gpu("GPU-0", "0", "H100", 80 << 30, 1 << 20, 0, (), True, False)


def eight():
    return tuple(replace(H100, uuid=f"GPU-{number}") for number in range(8))


def shown(mine, visible=None):
    return gpus.Gpus("550", None, eight() if visible is None else visible, mine)


def node_of(*facts):
    return seen(*facts, hosts="aaaaaaaa")


@pytest.mark.parametrize(
    ("environment", "left"),
    [
        ({}, ""),
        ({"SBATCH_TIMELIMIT": "10", "SLURM_CONF": "/etc/slurm.conf"}, "SBATCH_TIMELIMIT"),
        ({"SLURM_CPUS_PER_TASK": "64"}, "SLURM_CPUS_PER_TASK"),
        ({"SLURM_CPUS_PER_TASK": "64", "SLURM_JOB_ID": "9"}, ""),
        ({"RANK": "0", "WORLD_SIZE": "1", "PET_NNODES": "2"}, "PET_NNODES RANK WORLD_SIZE"),
        ({"MASTER_ADDR": "n1"}, "MASTER_ADDR"),
    ],
)
def test_variables_left_in_a_shell_are_named(environment, left):
    facts = launch.look(None, environment)
    findings = list(launch.judge(seen(facts)))
    if not left:
        assert [one.level for one in findings] == [Level.ok] * 2
        return
    first = next(one for one in findings if one.level is Level.warning)
    assert all(f"{name}={environment[name]}" in first.text for name in left.split())
    assert first.advice.startswith(f"unset {left}, unless they are intended")


def test_variables_of_a_launch_are_no_left_overs():
    environment = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "n1", "SLURM_JOB_ID": "9"}
    assert launch.look(Placement(0, 2, 0, 2), environment).left == {}


def test_no_gpu_is_fine_unless_one_is_asked_for():
    none = seen(gpus.Gpus(None, "no library", (), None))
    assert one(gpus.judge(none, "auto")).level is Level.ok
    assert one(gpus.judge(none, "cuda")).level is Level.failure


def test_gpus_and_processes_must_match():
    full = node_of(*(shown(rank) for rank in range(8)))
    finding = one(gpus.judge(full, "auto"))
    assert finding.level is Level.ok
    assert "8 x H100 80 GiB on a" in finding.text
    idle = list(gpus.judge(full[:2], "auto"))[1]
    assert (idle.level, idle.data["idle"]) == (Level.warning, {"a": 6})
    assert len(list(gpus.judge(full[:2], "cpu"))) == 1
    two = eight()[:2]
    standing = list(gpus.judge(node_of(shown(0, two), shown(1, two), shown(None, two)), "auto"))[1]
    assert standing.level is Level.failure
    assert "rank 2 on a" in standing.text
    same = list(gpus.judge(node_of(shown(0, two[:1]), shown(0, two[:1])), "auto"))[1]
    assert same.level is Level.failure
    assert "ranks 0, 1 would all use GPU-0" in same.text


def test_mixed_models_are_warned_of():
    other = tuple(replace(gpu, uuid=f"{gpu.uuid}b", name="A100") for gpu in eight())
    finding = next(gpus.judge(seen(shown(0), shown(0, other)), "auto"))
    assert finding.level is Level.warning
    assert "8 x A100 80 GiB on b" in finding.text
    told = json.loads(json.dumps(show.plain(finding)))
    assert told["level"] == "warning"
    assert told["data"]["gpus"] == {"a": {"H100 80 GiB": 8}, "b": {"A100 80 GiB": 8}}


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        ({"ecc_errors": 3}, Level.failure, "3 uncorrected memory errors"),
        ({"slowdowns": ("power brake",)}, Level.warning, "runs at a reduced clock: power brake"),
        ({"used_bytes": 20 << 30}, Level.warning, "20.0 GiB in use"),
        ({"mig": True}, Level.warning, "MIG"),
        ({"persistent": False}, Level.warning, "persistence"),
        ({"ecc_errors": None, "slowdowns": None, "persistent": None, "mig": None}, None, ""),
    ],
)
def test_a_sick_gpu_is_found(change, level, said):
    _, *sick = gpus.judge(seen(shown(0, (replace(H100, **change),))), "auto")
    assert [finding.level for finding in sick] == ([level] if level else [])
    assert all(said in finding.text and "GPU 0 on a" in finding.text for finding in sick)


@pytest.mark.parametrize(
    ("variable", "numbers"),
    [
        (None, list(range(8))),
        ("", []),
        ("-1", []),
        ("3,1", [3, 1]),
        ("1,-1,2", [1]),
        ("GPU-5, 2", [5, 2]),
        ("0,9,1", [0]),
    ],
)
def test_visible_gpus_are_those_cuda_shows(variable, numbers):
    found = gpus.visible(eight(), variable)
    assert [gpu.uuid for gpu in found] == [f"GPU-{number}" for number in numbers]


CUT = replace(H100, uuid="GPU-8", mig=True, instances=("MIG-8a", "MIG-8b"))


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("MIG-8b", ["MIG-8b"]),
        ("MIG-8a,MIG-8b", ["MIG-8a"]),  # a process gets one instance, and no GPU beside it
        ("8", ["MIG-8a"]),
        ("GPU-8", ["MIG-8a"]),
        ("0,8", ["MIG-8a"]),
        (None, ["MIG-8a"]),
        ("MIG-9", []),
        ("0,1", ["GPU-0", "GPU-1"]),
    ],
)
def test_instances_are_found_by_their_own_names_and_by_that_of_the_whole(variable, found):
    assert [gpu.uuid for gpu in gpus.visible([*eight(), CUT], variable)] == found
    cards = [visible_gpus.Card(gpu.uuid, gpu.instances) for gpu in [*eight(), CUT]]
    assert visible_gpus.visible(cards, variable) == found


def test_a_gpu_for_each_task_is_as_it_should_be_and_one_for_two_is_not():
    one_each = [shown(0, (gpu,)) for gpu in eight()]
    assert [one.level for one in gpus.judge(node_of(*one_each), "auto")] == [Level.ok]
    _, shared = gpus.judge(node_of(shown(0, (H100,)), shown(0, (H100,))), "auto")
    assert "ranks 0, 1 would all use GPU-0" in shared.text
    assert "--gpus-per-node=N --gpu-bind=none in place of --gpus-per-task" in shared.advice


MACHINE = Topology(
    tuple(Core((cpu,), socket=cpu // 4, node=cpu // 4) for cpu in range(8)),
    {0: {0: 10, 1: 20}, 1: {0: 20, 1: 10}},
)


def ranks_with(masks, nodes=(), quota=None):
    return node_of(
        *(
            cpus.Cpus("a/", rank, frozenset(mask), quota, None if rank else MACHINE, nodes)
            for rank, mask in enumerate(masks)
        )
    )


def test_binding_is_shown_as_ttt_run_would_do_it():
    every = range(8)
    found = one(cpus.judge(ranks_with([every, every], (0, 1)), RunConfig(), launched=True))
    assert found.level is Level.ok
    assert "cpus 0-3" in found.text
    assert "cpus 4-7" in found.text
    off = RunConfig(binding=Binding.off)
    assert "binding=off" in one(cpus.judge(ranks_with([every]), off, launched=True)).text
    # Alone, a process is shown what launcher=torchrun would do: one for each GPU.
    alone = one(cpus.judge(ranks_with([every], (0, 1)), RunConfig(), launched=False))
    assert alone.text.count("rank ") == 2


def test_too_few_cpus_and_cores_far_from_the_gpu_are_warned_of():
    few, _ = cpus.judge(ranks_with([range(2)] * 3), RunConfig(), launched=True)
    assert few.level is Level.warning
    assert "3 ranks on a share 2 CPUs" in few.text
    quota, _ = cpus.judge(ranks_with([range(8)] * 3, quota=1.5), RunConfig(), launched=True)
    assert "share 1.5 CPUs" in quota.text
    crossed = ranks_with([range(4, 8), range(4)], (0, 1))
    far, _ = cpus.judge(crossed, RunConfig(), launched=True)
    assert far.level is Level.warning
    assert "rank 0 (cores of NUMA node 1, GPU on NUMA node 0)" in far.text
    # Each sees a GPU of its own alone, and has its cores beside it.
    first, second = ranks_with([range(4), range(4, 8)], (0,))
    second = replace(second, facts=replace(second.facts, gpu_nodes=(1,)))
    assert [one.level for one in cpus.judge([first, second], RunConfig(), launched=True)] == ["ok"]


LOCAL = Mount("ext4", "/dev/sda", "/")
RUNS = storage.Folder("/runs", True, LOCAL, 10**12, writable=True)


def test_rank_zero_must_be_able_to_write_its_folder():
    assert one(storage.judge_runs(seen(RUNS, RUNS), [True, True])).level is Level.ok
    locked = replace(RUNS, writable=False)
    assert one(storage.judge_runs(seen(locked, RUNS), [False, False])).level is Level.failure
    assert one(storage.judge_runs(seen(RUNS, locked), [True, True])).level is Level.ok
    blind = one(storage.judge_runs(seen(RUNS, RUNS), [True, False]))
    assert blind.level is Level.warning
    assert "not seen by b" in blind.text
    for free, level in ((500 << 20, Level.warning), (1 << 20, Level.failure)):
        assert one(storage.judge_runs(seen(replace(RUNS, free_bytes=free)), [True])).level is level


SET = storage.Folder("/set", True, LOCAL, 10**12, content="same")


@pytest.mark.parametrize(
    ("places", "made", "level", "said"),
    [
        ([SET, SET], False, Level.ok, "(local), the same folders on every node"),
        ([SET, replace(SET, exists=False)], True, Level.failure, "not on b"),
        ([SET, replace(SET, content="else")], False, Level.failure, "different folders on a and"),
        ([replace(SET, exists=False)], True, Level.ok, "`ttt run` makes it"),
        ([replace(SET, exists=False)], False, Level.failure, "not on a"),
        ([replace(SET, exists=False)] * 2, True, Level.warning, "on rank 0's node"),
        ([None], False, Level.ok, "not examined: data.root is not set"),
    ],
)
def test_every_node_needs_the_same_data_set(places, made, level, said):
    finding = one(storage.judge_data(seen(*places), made=made))
    assert finding.level is level
    assert said in finding.text


def test_the_probe_is_seen_and_removed(tmp_path: Path):
    run = RunConfig(run_root=str(tmp_path / "not/there/yet"))
    assert storage.probe(run, 0, lambda value: [value]) is True
    assert list(tmp_path.iterdir()) == []


def test_sets_are_told_apart_by_their_folders(tmp_path: Path):
    def place(name, *folders):
        for folder in folders:
            (tmp_path / name / folder).mkdir(parents=True)
        return storage.look_data(RunConfig(data=ImageDataConfig(root=str(tmp_path / name))))

    first = place("a", "train/0", "train/1", "test/0")
    assert first.content == place("b", "train/0", "train/1", "test/0").content
    assert first.content != place("c", "train/0", "train/2", "test/0").content
    assert not place("absent").exists


READ = reading.Reading(1000, 10**9, 1.0, 10**9, 0, 10**9, drop_caches=False)


@pytest.mark.parametrize(
    ("facts", "level", "said"),
    [
        ([READ, READ], Level.ok, "2,000 MB/s, 2,000 files/s (1,000 MB/s on the slowest of 2"),
        ([READ, replace(READ, bytes=10**8), READ], Level.warning, "slow: b (10% of the median)"),
        ([replace(READ, files=100, bytes=10**7)], Level.warning, "slower than one disk"),
        ([replace(READ, files=5000, bytes=10**7)], Level.ok, "5,000 files/s"),
        ([replace(READ, after_bytes=10**9)], Level.ok, "in part from memory"),
        ([None], Level.ok, "not measured"),
    ],
)
def test_the_read_rate_is_judged_by_peers_and_by_a_disk(facts, level, said):
    finding = one(reading.judge_rate(seen(*facts)))
    assert finding.level is level
    assert said in finding.text


STUCK = replace(READ, after_bytes=10**9)


@pytest.mark.parametrize(
    ("facts", "method", "level"),
    [
        ([READ], "auto", Level.ok),
        ([READ, STUCK], "auto", Level.warning),
        ([READ, replace(STUCK, drop_caches=True)], "auto", Level.warning),
        ([READ, replace(STUCK, drop_caches=True)], "fadvise", Level.warning),
        ([replace(READ, drop_caches=True)], "drop_caches", Level.ok),
        ([READ], "drop_caches", Level.warning),
        ([replace(STUCK, drop_caches=True)], "fadvise", Level.warning),
        ([READ], "off", Level.warning),
        ([None], "auto", Level.ok),
    ],
)
def test_clearing_the_cache_must_work_on_every_node(facts, method, level):
    assert one(reading.judge_cache(seen(*facts), method)).level is level


def test_ranks_read_parts_of_their_own(tmp_path: Path):
    for number in range(10):
        (tmp_path / f"{number}").write_bytes(b"x" * 10_000)
    run = RunConfig(data=ImageDataConfig(root=str(tmp_path)))
    parts = [reading.look(run, rank, 3) for rank in range(3)]
    assert [part.files for part in parts] == [4, 3, 3]
    assert sum(part.bytes for part in parts) == 100_000
    assert all(part.seconds > 0 for part in parts)
    assert reading.look(RunConfig(data=ImageDataConfig(root="")), 0, 1) is None


def test_a_finding_is_shown_in_columns_of_its_own():
    table = "rank 0  cpus 0-1\nrank 1  cpus 2-3"
    text = show.line(warning("a check", f"{table}\n{'word ' * 20}", "do this"), 60).plain
    lines = text.splitlines()
    assert lines[0] == "warning a check          rank 0  cpus 0-1"
    assert lines[1] == " " * 25 + "rank 1  cpus 2-3"
    assert lines[-1] == " " * 25 + "-> do this"
    assert all(len(line) <= 60 for line in lines)
    found = [ok("x", ""), ok("x", ""), failure("x", "", None)]
    assert show.closing(found).plain == "2 ok, 0 warnings, 1 failure"
    assert show.healthy(found[:2])
    assert not show.healthy(found)


def test_a_check_that_breaks_is_a_finding_and_stops_no_other():
    def breaks(_):
        raise PermissionError(13, "Permission denied", "/data")

    made = [
        Check("a", Stage.local, breaks, lambda seen, _: []),
        Check("b", Stage.local, lambda _: 5, lambda seen, _: [ok("b", str(seen[0].facts))]),
    ]
    context = Context(None)
    look_locally(context, made)
    broken, fine = examine(context, made)
    assert broken.level is Level.failure
    assert "PermissionError: [Errno 13] Permission denied: '/data'" in broken.text
    assert fine.text == "5"


BLIND = [
    *storage.judge_data(seen(replace(SET, mount=None)), made=False),
    *storage.judge_runs(seen(replace(RUNS, mount=None, writable=False)), [False]),
    *network.judge_names(seen(machine("n1", "", addresses=(), names=(None,), error="unknown"))),
    *network.judge_ports(seen(replace(machine("n1", "10.0.0.1"), ports=None)), launched=False),
    *limits.judge(seen(limits.Limits(None, None, 65536, ()))),
    *reading.judge_cache(seen(None), "off"),
    *software.judge(seen(software.Software(SAME | {"torch": None})), RunConfig()),
]


@pytest.mark.parametrize("finding", BLIND, ids=lambda finding: finding.name)
def test_what_is_unknown_has_a_reason(finding):
    nulls = {name for name, value in finding.data.items() if unknown(value)}
    assert nulls == set(finding.data.get("why", ()))
    assert nulls
