"""Processes meet, or say in a sentence why they did not."""

import os
import socket
import threading

import pytest

from ttt.dist import meeting
from ttt.dist.rank import Placement
from ttt.errors import LaunchError

SRUN = {"SLURM_JOB_ID": "71", "SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "n[1-2]"}


@pytest.fixture
def alone(monkeypatch):
    """No launcher's variables."""
    for name in list(os.environ):
        if name.startswith(("MASTER_", "SLURM_", "TORCHELASTIC_", "GLOO_")):
            monkeypatch.delenv(name)
    return monkeypatch


def meet_all(present, size, seconds):
    """What each present rank gets from a meeting, in rank order."""
    server = meeting.client("127.0.0.1", 0, 10, opens=True)
    answers = {}

    def take_part(rank):
        store = meeting.client("127.0.0.1", server.port, 10)
        text = "the configuration" if rank == 0 else None
        try:
            answers[rank] = meeting.meet(store, Placement(rank, size), text, seconds)
        except LaunchError as error:
            answers[rank] = error

    threads = [threading.Thread(target=take_part, args=(rank,)) for rank in present]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[rank] for rank in present]


def test_everybody_gets_the_text_of_rank_0():
    assert meet_all([0, 1, 2], 3, 10) == ["the configuration"] * 3


def test_the_absent_are_named_and_everybody_else_told():
    first, other = meet_all([0, 2], 4, 0.3)
    assert "2 of 4 ranks did not come within 0.3 s: ranks 1, 3" in str(first)
    assert socket.gethostname() in str(first)
    assert str(other) == str(first)
    assert isinstance(other, meeting.LostRankZero)  # so that only rank 0 shows it


def test_a_taken_port_is_told_with_its_number(alone):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        alone.setenv("MASTER_ADDR", "127.0.0.1")
        alone.setenv("MASTER_PORT", str(port))
        with pytest.raises(LaunchError, match=rf"port {port} of .* MASTER_PORT to a free one"):
            meeting.connect(Placement(0, 2, 0, 2, "slurm"))


def test_rank_0_that_cannot_be_reached_is_told_with_its_address(alone):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone.setenv("MASTER_ADDR", "127.0.0.1")
    alone.setenv("MASTER_PORT", str(port))
    alone.setattr(meeting, "JOIN_SECONDS", 0.5)
    alone.setattr(meeting, "_OPENING_SECONDS", 0.5)
    with pytest.raises(
        LaunchError, match=f"rank 1 on .* could not reach rank 0 at 127.0.0.1:{port}"
    ):
        meeting.connect(Placement(1, 2, 1, 2, "slurm"))


def test_without_an_address_nobody_trains_alone(alone):
    with pytest.raises(LaunchError, match="set both"):
        meeting.address(Placement(1, 2, 1, 2, "mpi"))


def test_a_step_without_scontrol_says_so(alone):
    for name, value in SRUN.items():
        alone.setenv(name, value)
    alone.setenv("PATH", "")
    with pytest.raises(LaunchError, match=r"first node of n\[1-2\] cannot be found out"):
        meeting.address(Placement(1, 2, 0, 1, "slurm"))


def test_all_tasks_of_a_step_compute_the_same_port_and_other_steps_another(alone):
    ports = set()
    for job, step in (("71", "0"), ("71", "1"), ("72", "0")):
        alone.setenv("MASTER_ADDR", "n1")
        alone.setenv("SLURM_JOB_ID", job)
        alone.setenv("SLURM_STEP_ID", step)
        ports.add(meeting.address(Placement(1, 2, 0, 1, "slurm")))
    assert len(ports) == 3
    assert {host for host, _ in ports} == {"n1"}
