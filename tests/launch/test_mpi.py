"""Under mpirun: what it is asked for, how the ranks meet by MPI, and how they end.

With TTT_REQUIRE_MPI set, to have no mpirun or mpi4py is a failure.
"""

import importlib.util
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ground import HUNG, PROJECT, Command, command, environment
from processes import EASY, ENDLESS, begin, end_all, events, until_training, workers
from ttt.distributed import mpi
from ttt.distributed.rank import Placement, from_environment
from ttt.distributed.world import lost_peer
from ttt.errors import LaunchError, MissingExtra
from ttt.launch.mpi import Family, Mpi, Request, family_of, passed, render

SHORT = (*EASY, "target.max_epochs=2", "clear_cache=fadvise")
TWO = ("launcher=mpi", "launcher.procs=2")
BESIDE = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def version(program: str) -> str:
    """What it says of itself."""
    words = [program, "--version"]
    path = environment(PATH=BESIDE)
    return subprocess.run(words, env=path, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def mpirun() -> list[str]:
    """The mpirun that is here, asked for three processes on this machine."""
    program = shutil.which("mpirun", path=BESIDE)
    absent = [
        name
        for name, there in (("mpirun", program), ("mpi4py", importlib.util.find_spec("mpi4py")))
        if not there
    ]
    if absent or program is None:
        reason = f"no {' and no '.join(absent)} here"
        (pytest.fail if os.environ.get("TTT_REQUIRE_MPI") else pytest.skip)(reason)
    family = family_of(version(program))
    assert family is not None
    request = Request(procs=3, oversubscribe=True, as_root=os.geteuid() == 0)
    return [program, *render(family, request)]


@pytest.fixture
def warm_ranks(mpirun: list[str], warm_python: Path, tmp_path: Path) -> str:
    """The setting by which ranks begin warm: an mpirun that starts another interpreter."""
    stand_in = tmp_path / "mpirun"
    stand_in.write_text(
        f'#!/bin/bash\nexec {mpirun[0]} "${{@//#{sys.executable}/{warm_python}}}"\n'
    )
    stand_in.chmod(0o755)
    return f"launcher.mpirun={stand_in}"


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """No process of the test's runs may outlive it."""
    yield
    assert end_all(tmp_path) == []


def run_folder(tmp_path: Path) -> Path:
    """The one that there is."""
    [folder] = tmp_path.glob("runs/*/*/seed_1")
    return folder


def worker(root: Path, rank: int) -> psutil.Process:
    """The process of one rank; mpirun names the worker among its arguments, too."""
    ours = [one for one in workers(root) if one.cmdline()[1:3] == ["-m", "ttt.worker"]]
    places = {one: from_environment(one.environ()) for one in ours}
    [found] = [one for one, place in places.items() if place and place.rank == rank]
    return found


def test_open_mpi_is_asked_for_processes_on_each_node_and_told_what_to_pass_on():
    request = Request(
        procs=8,
        nodes=2,
        hostfile="hosts",
        as_root=True,
        variables=("NCCL_DEBUG", "PATH"),
        arguments=("--mca", "btl_tcp_if_include", "eth0"),
    )
    assert render(Family.open_mpi, request) == [
        *("-n", "16", "--map-by", "ppr:8:node", "--bind-to", "none", "--hostfile", "hosts"),
        *("--allow-run-as-root", "-x", "NCCL_DEBUG", "-x", "PATH"),
        *("--mca", "btl_tcp_if_include", "eth0"),
    ]
    crowded = render(Family.open_mpi, Request(procs=4, oversubscribe=True))
    assert crowded == ["-n", "4", "--map-by", "ppr:4:node:OVERSUBSCRIBE", "--bind-to", "none"]


def test_mpich_and_intel_are_asked_in_their_own_words():
    request = Request(procs=8, nodes=2, hostfile="hosts", as_root=True, arguments=("-v",))
    common = ["-n", "16", "-ppn", "8", "-f", "hosts"]
    assert render(Family.mpich, request) == [*common, "-bind-to", "none", "-v"]
    assert render(Family.intel, request) == [*common, "-genv", "I_MPI_PIN", "0", "-v"]


@pytest.mark.parametrize(
    ("version", "family"),
    [
        ("mpirun (Open MPI) 5.0.11\n\nReport bugs to", Family.open_mpi),
        ("HYDRA build details:\n    Version:           5.0.2", Family.mpich),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.18.1 Build 20260626", Family.intel),
        ("mpiexec version 1.5 of somebody", None),
    ],
)
def test_an_mpirun_is_known_by_what_it_says_of_itself(version: str, family: Family | None):
    assert family_of(version) is family


def test_other_nodes_get_what_changes_a_run_and_nothing_else():
    ours = {"OMP_NUM_THREADS": "2", "NCCL_DEBUG": "INFO", "HOME": "/root", "A_TOKEN": "x"}
    assert passed(ours | {"TTT_LAUNCHED": "1", "PYTHONPATH": "here"}) == [
        *("NCCL_DEBUG", "OMP_NUM_THREADS", "PYTHONPATH", "TTT_LAUNCHED")
    ]


def launcher(**settings: object) -> Mpi:
    """One with the settings' own values but for these."""
    defaults = {"procs": 2, "nodes": 1, "hostfile": None, "mpirun": None, "arguments": []}
    return Mpi(**(defaults | settings), device="cpu")  # type: ignore[arg-type]


def test_what_is_wrong_with_a_request_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stranger = tmp_path / "mpirun"
    stranger.write_text("#!/bin/sh\necho mpiexec of somebody\n")
    stranger.chmod(0o755)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    wrong = launcher(procs=0, hostfile="no/hosts", mpirun=str(stranger))
    kind, procs, hostfile, extra = wrong.problems()
    assert "says 'mpiexec of somebody' to --version; allowed: that of Open MPI" in kind
    assert procs.startswith("launcher.procs=0 is not allowed")
    assert hostfile.startswith("launcher.hostfile=no/hosts is not a file")
    assert "pip install 'time-to-train[mpi]'" in extra
    absent, _ = launcher(mpirun="mpirun-of-nobody").problems()
    assert absent.startswith("mpirun-of-nobody is not on the PATH")
    assert wrong.processes() == 0


def test_mpi4py_that_is_missing_or_finds_no_library_is_told(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "mpi4py", None)
        with pytest.raises(MissingExtra, match=re.escape("pip install 'time-to-train[mpi]'")):
            mpi.connect(Placement(size=2, local_size=2, launcher="mpi"))
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("MPI4PY_LIBMPI", "/there/is/no/libmpi.so")
    with pytest.raises(LaunchError, match="mpi4py found no MPI library"):
        mpi.connect(Placement(size=2, local_size=2, launcher="mpi"))
    assert not mpi.joined()


def test_mpi_is_asked_only_where_nothing_else_tells(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert mpi.needed(Placement(size=2, launcher="mpi"))
    assert not mpi.needed(Placement(size=2, launcher="torchrun"))
    monkeypatch.setenv("MASTER_ADDR", "n1")
    assert not mpi.needed(Placement(size=2, launcher="mpi"))
    mpi.leave()  # nothing to leave


class Alone:
    """A communicator of one."""

    def allgather(self, value: object) -> list[object]:
        return [value]


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """One where somebody listens, and one where nobody does, both of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield server.getsockname()[1], silent.getsockname()[1]


def test_the_first_address_that_every_node_reaches_is_taken(ports: tuple[int, int]):
    placement = Placement(rank=1, size=2, launcher="mpi")
    assert mpi._reachable(Alone(), placement, ["127.0.0.2", "127.0.0.1"], ports[0]) == "127.0.0.1"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_node_that_cannot_reach_rank_0_is_named_by_rank_0(ports: tuple[int, int], rank: int):
    placement = Placement(rank=rank, size=2, launcher="mpi")
    with pytest.raises(LaunchError, match=f"{socket.gethostname()} cannot reach rank 0") as told:
        mpi._reachable(Alone(), placement, ["127.0.0.1"], ports[1])
    assert lost_peer(told.value) is (rank > 0)
    with pytest.raises(LaunchError, match=r"but loopback ones; .* MASTER_ADDR"):
        mpi._reachable(Alone(), placement, [], ports[1])


def test_several_nodes_never_get_a_loopback_address():
    several = mpi._addresses(Placement(size=2, local_size=1))
    assert not any(ipaddress.ip_address(address).is_loopback for address in several)
    assert mpi._addresses(Placement(size=2, local_size=2)) == ["127.0.0.1"]


def test_an_mpirun_of_another_mpi_is_told(mpirun: list[str]):
    """Such an mpirun, here MVAPICH2's, sets its variables, and to mpi4py each process is alone."""
    names = "MV2_COMM_WORLD_RANK MV2_COMM_WORLD_LOCAL_RANK".split()
    sizes = "MV2_COMM_WORLD_SIZE MV2_COMM_WORLD_LOCAL_SIZE".split()
    done = subprocess.run(
        [sys.executable, "-m", "ttt.worker", "-"],
        env=environment(
            **dict.fromkeys(names, "1"),
            **dict.fromkeys(sizes, "2"),
            OMPI_MCA_btl="self,tcp",  # what dies without MPI_Finalize leaves its shared memory
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert "mpirun calls this rank 1 of 2, and " in done.stderr
    assert "rank 0 of 1; use the mpirun of the same MPI" in done.stderr


def test_mpi_tells_where_rank_0_is_and_is_gone_afterwards(mpirun: list[str], tmp_path: Path):
    script = tmp_path / "meet.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, time
        from ttt import signals
        from ttt.distributed import mpi
        from ttt.distributed.rank import from_environment

        signals.install()
        placement = from_environment()
        threads = len(os.listdir("/proc/self/task"))
        store = mpi.connect(placement)
        assert mpi.joined()
        store.set(f"rank {placement.rank}", "is here")
        told = mpi.gather((placement.rank, os.getpid()))
        assert [store.get(f"rank {rank}") for rank, _ in told] == [b"is here"] * 3
        assert told[placement.rank][1] == os.getpid()
        mpi.leave()
        assert not mpi.joined()
        assert all(signal.getsignal(number) is signals.interrupt for number in signals.SIGNALS)
        caught = int(open("/proc/self/status").read().split("SigCgt:")[1].split()[0], 16)
        assert all(caught >> number - 1 & 1 for number in signals.SIGNALS)
        if placement.rank:  # rank 0 has one that serves the store
            assert len(os.listdir("/proc/self/task")) == threads
        store.add("ready", 1)
        while store.add("ready", 0) < 3:
            time.sleep(0.01)
        print([rank for rank, _ in told])
        """)
    )
    done = subprocess.run(
        [*mpirun, sys.executable, str(script)],
        env=environment(PATH=BESIDE),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("[0, 1, 2]") == 3


def test_typed_under_mpirun_it_makes_one_run_folder(
    mpirun: list[str], warm_python: Path, tmp_path: Path, digits: Path
):
    done = subprocess.run(
        [*mpirun, str(warm_python), *command("run", f"data.root={digits}", *SHORT)[1:]],
        cwd=tmp_path,
        env=environment(PATH=BESIDE, TTT_KEY="typed by the user"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((run_folder(tmp_path) / "summary.json").read_text())
    assert summary["world_size"] == 3
    assert summary["status"] == "success"
    assert summary["compliance"]["passed"] is True
    assert done.stdout.count("run folder") == 1
    assert "TTT_KEY" not in done.stderr  # all have it


def test_nodes_are_reached_at_an_address_that_is_not_their_own_and_speak_for_themselves(
    mpirun: list[str], ttt: Command, tmp_path: Path, digits: Path
):
    """Two nodes that are both this machine: what reaches them is what a remote shell would pass."""
    if family_of(version(mpirun[0])) is not Family.open_mpi:
        pytest.skip("only Open MPI lets two nodes be one machine")
    if not mpi._addresses(Placement(size=2)):
        pytest.skip("this machine has no network address but loopback ones")
    (tmp_path / "hosts").write_text("node1 slots=2\nnode2 slots=2\n")
    shell = tmp_path / "shell"
    asked = tmp_path / "asked"
    shell.write_text(
        f'#!/bin/sh\necho "$*" >>{asked}\nshift\nexec env -i PATH=/usr/bin:/bin HOME=/ sh -c "$*"\n'
    )
    shell.chmod(0o755)
    done = ttt(
        *("run", *TWO, "launcher.nodes=2", "launcher.hostfile=hosts", f"data.root={digits}"),
        *SHORT,
        PRTE_MCA_plm_ssh_agent=str(shell),
        OMPI_MCA_plm_rsh_agent=str(shell),
        OMPI_MCA_btl="self,tcp",  # shared memory would be shared by both nodes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run_folder(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["world_size"], summary["nodes"]) == (4, 2)
    assert summary["compliance"]["passed"] is True
    [cleared] = events(folder, "cache_clear")
    assert [node["host"] for node in cleared["data"]["nodes"]] == [socket.gethostname()] * 2
    machines = json.loads((folder / "environment.json").read_text())
    assert len(machines["nodes"]) == 2
    assert "\x1b" not in done.stdout  # Open MPI's terminal is not the user's
    assert "TTT_KEY" not in done.stderr  # the ranks have one
    assert re.search(r"[0-9a-f]{64}", asked.read_text()) is None  # which no command showed


@pytest.mark.usefixtures("nothing_left")
def test_a_killed_rank_ends_the_run_and_is_told(
    mpirun: list[str], warm_ranks: str, tmp_path: Path, digits: Path
):
    process = begin(tmp_path, f"data.root={digits}", *ENDLESS, *TWO, warm_ranks)
    until_training(tmp_path, process)
    worker(tmp_path, 1).send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=HUNG)
    assert process.returncode == 5
    if family_of(version(mpirun[0])) is Family.open_mpi:  # the others' do not say
        assert f"rank 1 on {socket.gethostname()} was ended by SIGKILL" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("nothing_left")
def test_a_rank_that_raises_is_told_in_its_own_words(
    ttt: Command, warm_ranks: str, tmp_path: Path, digits: Path
):
    (tmp_path / "broken_parts.py").write_text(
        textwrap.dedent("""
        from ttt.distributed.rank import from_environment
        from ttt.tasks.image import ImageClassification

        class Raises(ImageClassification):
            def loss(self, model, batch):
                if from_environment().rank == 1:
                    raise ZeroDivisionError("the defect of rank 1")
                return super().loss(model, batch)
        """)
    )
    done = ttt(
        *("run", f"data.root={digits}", *ENDLESS, *TWO, "task._target_=broken_parts.Raises"),
        warm_ranks,
        PYTHONPATH=f"{PROJECT}:{tmp_path}",
    )
    assert done.returncode == 5
    assert f"rank 1 on {socket.gethostname()}: " in done.stderr
    assert "ZeroDivisionError: the defect of rank 1" in done.stderr
    assert done.stderr.count("Traceback") == 1


@pytest.mark.usefixtures("nothing_left")
def test_a_stopped_launcher_stops_everything(warm_ranks: str, tmp_path: Path, digits: Path):
    process = begin(tmp_path, f"data.root={digits}", *ENDLESS, *TWO, warm_ranks)
    folder = until_training(tmp_path, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=HUNG)
    assert process.returncode == 130
    assert "stopped by SIGINT" in said
    assert "Traceback" not in said
    assert [stop["data"]["status"] for stop in events(folder, "run_stop")] == ["aborted"]
