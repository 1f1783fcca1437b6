"""Processes meet, or say in a sentence why they did not."""

import contextlib
import ipaddress
import os
import socket
import subprocess
import threading
import time
from functools import partial
from types import SimpleNamespace

import psutil
import pytest
import torch

from ground import HUNG, command, environment
from ttt.distributed import device, network, rendezvous
from ttt.distributed.agreement import LostRankZero
from ttt.distributed.rank import Placement, gpu_index
from ttt.distributed.rendezvous import Arrival, absence
from ttt.doctor import compute
from ttt.errors import ConfigError, LaunchError
from warm import Warm

SRUN = {"SLURM_JOB_ID": "71", "SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "n[1-2]"}


@pytest.fixture
def alone(monkeypatch):
    """No launcher's variables."""
    for name in list(os.environ):
        if name.startswith(("MASTER_", "SLURM_", "TORCHELASTIC_", "GLOO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # so that what a meeting sets goes at the end
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    return monkeypatch


def meet_all(present, size, seconds):
    """What each present rank gets from a meeting, in rank order."""
    server = rendezvous.client("127.0.0.1", 0, 10, opens=True)
    answers = {}

    def take_part(number, rank):
        store = rendezvous.client("127.0.0.1", server.port, 10)
        text = "the configuration" if rank == 0 else None
        try:
            answers[number] = rendezvous.meet(store, Placement(rank, size), text, seconds)
        except LaunchError as error:
            answers[number] = error

    threads = []
    for number, rank in enumerate(present):
        threads.append(threading.Thread(target=take_part, args=(number, rank)))
        threads[-1].start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(present))]


def test_everybody_gets_the_text_of_rank_0():
    assert meet_all([0, 1, 2], 3, 10) == ["the configuration"] * 3


def test_the_absent_are_named_and_everybody_else_told(capfd):
    first, other = meet_all([0, 2], 4, 2)
    assert capfd.readouterr().err == ""
    assert "2 of 4 ranks did not come within 2 s: ranks 1, 3" in str(first)
    assert socket.gethostname() in str(first)
    assert "timeout.join_seconds=4" in str(first)
    assert str(other) == str(first)
    assert isinstance(other, LostRankZero)  # so that only rank 0 shows it


@pytest.mark.parametrize("ranks", [[0, 0], [0, 1, 1]])
def test_a_rank_that_comes_twice_is_told_at_once(ranks):
    began = time.monotonic()
    answers = meet_all(ranks, len(ranks), HUNG)
    assert time.monotonic() - began < HUNG / 2
    assert all(isinstance(answer, LaunchError) for answer in answers)
    here = socket.gethostname()
    assert f"rank {ranks[-1]} came 2 times, from {here}, {here}; give each a RANK" in str(
        answers[0]
    )
    assert "torchrun --nnodes NODES --nproc-per-node PROCESSES --rdzv-backend c10d" in str(
        answers[0]
    )


def test_a_process_too_many_leaves_the_others_alone():
    answers = meet_all([0, 1, 1], 2, 5)
    assert answers[:2] == ["the configuration"] * 2
    assert "rank 1 on" in str(answers[2])
    assert "came when all 2 processes were there" in str(answers[2])


def test_a_world_of_another_size_is_none():
    zero, one = Arrival(0, 2, "a"), Arrival(1, 3, "b")
    said = absence(zero, [zero, one], 5)
    assert "rank 1 on b was started as one of 3 processes, and rank 0 on a as one of 2" in said
    assert "the same WORLD_SIZE" in said
    assert absence(zero, [zero, Arrival(1, 2, "b")], 5) == ""


def test_a_restart_by_torchrun_does_not_meet_the_start_before(alone):
    server = rendezvous.client("127.0.0.1", 0, 10, opens=True)
    place = Placement(0, 1)
    assert rendezvous.meet(server, place, "first", 5) == "first"
    alone.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert rendezvous.meet(server, place, "second", 5) == "second"
    alone.setenv("TORCHELASTIC_RUN_ID", "another launch at the same endpoint")
    assert rendezvous.meet(server, place, "third", 5) == "third"


def test_a_taken_port_is_told_with_its_number(alone):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        alone.setenv("MASTER_ADDR", "127.0.0.1")
        alone.setenv("MASTER_PORT", str(port))
        with pytest.raises(LaunchError, match=rf"port {port} of .*: it is in use; .* MASTER_PORT"):
            rendezvous.connect(Placement(0, 2, 0, 2, "slurm"), 1)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_a_rank_that_meets_another_program_says_so_in_time(alone, says, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    guest = server.accept()[0]
                    if says is None:
                        held.append(guest)
                        continue
                    with guest:
                        guest.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        alone.setenv("MASTER_ADDR", "127.0.0.1")
        alone.setenv("MASTER_PORT", str(server.getsockname()[1]))
        began = time.monotonic()
        with pytest.raises(LaunchError, match=r"rank 1 on .* met something else than rank 0 at"):
            rendezvous.connect(Placement(1, 2, 1, 2, "slurm"), 0.5)
        assert time.monotonic() - began < 60
        assert capfd.readouterr().err == ""  # and no page of torch's
        for guest in held:
            guest.close()


def test_rank_0_that_cannot_be_reached_is_told_with_its_address(alone):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone.setenv("MASTER_ADDR", "127.0.0.1")
    alone.setenv("MASTER_PORT", str(port))
    with pytest.raises(
        LaunchError, match=f"rank 1 on .* could not reach rank 0 at 127.0.0.1:{port} within 1 s"
    ):
        rendezvous.connect(Placement(1, 2, 1, 2, "slurm"), 0.5)


def seat_all(monkeypatch, visible):
    """What each rank gets of its device, where CUDA shows each of them these GPUs."""
    server = rendezvous.client("127.0.0.1", 0, 10, opens=True)
    mine, answers = threading.local(), {}
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "device_count", lambda: len(mine.gpus))
    monkeypatch.setattr(cuda, "set_device", lambda device: None)
    uuids = lambda device: SimpleNamespace(uuid=mine.gpus[device.index])  # noqa: E731
    monkeypatch.setattr(cuda, "get_device_properties", uuids)

    def take_part(rank):
        mine.gpus = visible[rank]
        store = rendezvous.client("127.0.0.1", server.port, 10)
        place = Placement(rank, len(visible), rank, len(visible), "slurm")
        try:
            if isinstance(mine.gpus, Exception):
                raise mine.gpus
            answers[rank] = device.take(store, place, partial(device.choose, "auto"), 10)
        except Exception as error:
            answers[rank] = error

    threads = [threading.Thread(target=take_part, args=(rank,)) for rank in range(len(visible))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[rank] for rank in range(len(visible))]


@pytest.mark.parametrize(
    ("local_rank", "visible", "index"),
    [(0, 0, None), (0, 1, 0), (3, 1, 0), (0, 4, 0), (3, 4, 3), (2, 2, None)],
)
def test_a_process_that_sees_one_gpu_takes_it(local_rank, visible, index, monkeypatch):
    assert gpu_index(local_rank, visible) == index
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    own = torch.device("cpu") if index is None else torch.device("cuda", index)
    assert compute.choose("auto", local_rank) == own
    assert compute.choose("cpu", local_rank) == torch.device("cpu")


def test_one_visible_gpu_for_each_task_is_its_own(alone):
    """`srun --gpus-per-task=1`: all of them are called cuda:0."""
    alone.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert seat_all(alone, [["a"], ["b"], ["c"]]) == [torch.device("cuda", 0)] * 3
    all_of_them = [["a", "b"]] * 2
    assert seat_all(alone, all_of_them) == [torch.device("cuda", 0), torch.device("cuda", 1)]


@pytest.mark.parametrize("visible", [[["a"], ["a"]], [["a", "b"], ["b", "c"], ["a", "b"]]])
def test_a_gpu_that_two_would_share_is_refused_by_all_of_them(alone, visible):
    alone.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    began = time.monotonic()
    first, *others = seat_all(alone, visible)
    assert time.monotonic() - began < 100  # and not the half an hour of torch's own waiting
    assert isinstance(first, ConfigError)
    for other in others:
        assert isinstance(other, LostRankZero)
        assert (str(other), other.exit_code) == (str(first), 2)
    assert "--gpus-per-task" in str(first)
    assert "--gpu-bind=none" in str(first)


def test_two_ranks_on_one_gpu_are_named(alone):
    alone.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    said = str(seat_all(alone, [["a"], ["b"], ["a"]])[0])
    assert f"ranks 0, 2 on {socket.gethostname()} have one GPU in common, GPU-a;" in said
    assert "srun --gpus-per-node=3 --gpu-bind=none in place of --gpus-per-task" in said


def test_instances_of_one_gpu_are_told_apart_by_their_own_names(alone):
    alone.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="a"))
    gpu = torch.device("cuda", 0)
    alone.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    assert device.identity(gpu) == "MIG-1"
    alone.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    assert device.identity(gpu) == "GPU-a"
    assert device.identity(torch.device("cpu")) is None


def test_a_rank_whose_cuda_fails_keeps_its_error_and_the_others_do_not_wait():
    server = rendezvous.client("127.0.0.1", 0, 10, opens=True)
    caught = {}

    def take_part(rank):
        def choose(local_rank):
            if local_rank == 1:
                raise RuntimeError("CUDA driver initialization failed\nsee dmesg")
            return torch.device("cpu")

        store = rendezvous.client("127.0.0.1", server.port, 10)
        try:
            device.take(store, Placement(rank, 2, rank, 2), choose, 10)
        except Exception as error:
            caught[rank] = error

    threads = [threading.Thread(target=take_part, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(caught[1], RuntimeError)
    where = f"rank 1 on {socket.gethostname()}"
    assert str(caught[0]) == f"{where}: RuntimeError: CUDA driver initialization failed"


def test_without_an_address_nobody_trains_alone(alone):
    with pytest.raises(LaunchError, match="set both"):
        network.address(Placement(1, 2, 1, 2, "mpi"))


def test_a_step_without_scontrol_says_so(alone):
    for name, value in SRUN.items():
        alone.setenv(name, value)
    alone.setenv("PATH", "")
    with pytest.raises(LaunchError, match=r"first node of n\[1-2\] cannot be found out"):
        network.address(Placement(1, 2, 0, 1, "slurm"))


def test_all_tasks_of_a_step_compute_the_same_port_and_other_steps_another(alone):
    ports = set()
    for job, step in (("71", "0"), ("71", "1"), ("72", "0")):
        alone.setenv("MASTER_ADDR", "n1")
        alone.setenv("SLURM_JOB_ID", job)
        alone.setenv("SLURM_STEP_ID", step)
        ports.add(network.address(Placement(1, 2, 0, 1, "slurm")))
    assert len(ports) == 3
    assert {host for host, _ in ports} == {"n1"}


def test_gloo_takes_the_network_that_leads_to_rank_0_in_either_family(alone):
    families = (socket.AF_INET, socket.AF_INET6)
    two_nodes = Placement(0, 2, 0, 1)
    found = {
        one.address: name
        for name, addresses in psutil.net_if_addrs().items()
        for one in addresses
        if one.family in families and "%" not in one.address
    }
    assert found
    for address, name in found.items():
        alone.delenv("GLOO_SOCKET_IFNAME", raising=False)
        network.say_which_network(two_nodes, address)
        loopback = ipaddress.ip_address(address).is_loopback
        assert os.environ.get("GLOO_SOCKET_IFNAME") == (None if loopback else name)
    alone.delenv("GLOO_SOCKET_IFNAME", raising=False)
    network.say_which_network(two_nodes, "nowhere.invalid")
    assert "GLOO_SOCKET_IFNAME" not in os.environ


@pytest.fixture
def typed_by_hand(tmp_path, digits):
    """What `ttt run` says when it is typed as these ranks of two, each at a port of its own."""

    def begin(rank):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        place = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
        return Warm(
            command("run", f"data.root={digits}", "timeout.join_seconds=1"),
            env=environment(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, TTT_KEY="k" * 32, **place),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def test_each_rank_that_is_alone_ends_in_time_with_a_sentence(typed_by_hand):
    zero, one = typed_by_hand("0"), typed_by_hand("1")
    said = [process.communicate(timeout=HUNG)[1] for process in (zero, one)]
    assert [zero.returncode, one.returncode] == [5, 5]
    assert "1 of 2 ranks did not come within 1 s: rank 1;" in said[0]
    assert "could not reach rank 0 at 127.0.0.1:" in said[1]
    assert "within 2 s" in said[1]  # and not the two minutes that it waits by default
    assert [text.count("\n") for text in said] == [1, 1]
