"""A process of the run is gone, and what the others do may wait for it for ever."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
import torch

from ground import HUNG
from processes import ENDLESS, begin, end_all, events
from tests.test_loop import parts
from ttt.distributed import board, rendezvous
from ttt.distributed import device as devices
from ttt.loop import run

TOLD_SECONDS, GONE_SECONDS = 10.0, 20.0
GPU = torch.device("cuda", 0)


def test_the_loop_asks_the_others_before_it_waits_for_the_device():
    _, made = parts([0.5])

    def health(*, wait=False):
        assert not wait, "this would wait for the device, and the device for a peer that is gone"
        return 2**62, 1.0

    def minimum_later(values):
        def answer():
            if made.learner.steps == 10:
                raise RuntimeError("[gloo] Connection closed by peer")
            return list(values)

        return answer

    made.learner.health = health
    made.world.minimum_later = minimum_later
    with pytest.raises(RuntimeError, match="closed by peer"):
        run(made)


def test_a_main_thread_that_never_comes_back_does_not_keep_the_run(tmp_path: Path, digits: Path):
    """Two ranks without a launcher, so no signal helps; NCCL's flight record does not come."""
    mark = tmp_path / "mark"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "FAULT_MARK": str(mark)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    words = (f"data.root={digits}", *ENDLESS, "task._target_=outside_parts.DeadPeer")
    ranks = [
        begin(tmp_path, *words, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in (0, 1)
    ]
    try:
        ranks[0].wait(HUNG)
        gone = time.time()
        _, said = ranks[0].communicate()
    finally:
        end_all(tmp_path)
        for rank in ranks:
            rank.communicate()
    died = mark.stat().st_mtime
    [folder] = tmp_path.glob("runs/*/*/seed_1")
    [stop] = events(folder, "run_stop")
    assert ranks[1].returncode == -signal.SIGKILL
    assert ranks[0].returncode == 1, said  # ended from beside all of Python's threads
    assert stop["time"] - died < TOLD_SECONDS
    assert gone - died < GONE_SECONDS
    assert re.fullmatch(
        r"rank 1 on \S+ has ended, .* and the others wait for it", stop["data"]["reason"]
    )
    assert "outside_parts.py" in (folder / "logs" / "rank_0.log").read_text()  # where it waited
    told = json.loads((folder / "logs" / "rank_0.failure.json").read_text())
    assert (told["rank"], told["primary"]) == (1, False)


# Rank 0, as far as its store is concerned.
STORE = (
    "from torch.distributed import TCPStore; import time;"
    " store = TCPStore('127.0.0.1', 0, None, True, wait_for_workers=False);"
    " print(store.port, flush=True); time.sleep(240)"
)


def test_a_store_that_is_stopped_or_gone_keeps_nobody_waiting(monkeypatch):
    """torch's client would wait without end for what a stopped rank 0 does not answer."""
    monkeypatch.setattr(board, "_SECONDS", 0.5)
    monkeypatch.setattr(board, "Lifeline", Mock(return_value=Mock(lost=None)))
    with subprocess.Popen([sys.executable, "-c", STORE], stdout=subprocess.PIPE) as rank_0:
        assert rank_0.stdout
        store = rendezvous.client("127.0.0.1", int(rank_0.stdout.readline()), HUNG)
        stopped, gone = (board.StoreBoard(store, 1, 2) for _ in range(2))
        assert (stopped.rung(), gone.lost()) == (False, None)
        rank_0.send_signal(signal.SIGSTOP)
        process = psutil.Process(rank_0.pid)
        while process.status() != psutil.STATUS_STOPPED:  # a thread of it may still answer
            time.sleep(0.01)
        try:
            for _ in range(2):
                with pytest.raises(TimeoutError, match="does not answer within"):
                    stopped.rung()
        finally:
            rank_0.kill()  # else nothing would end the wait for it
    assert gone.lost() == 0


def test_a_span_waits_for_its_own_stream_and_not_for_what_is_decoded_ahead(monkeypatch):
    waited = []

    class Stream:
        def __init__(self, device):
            self.device = device

        def synchronize(self):
            waited.append(self.device)

        def query(self):
            return False

    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "default_stream", Stream)
    monkeypatch.setattr(torch.cuda, "synchronize", pytest.fail)
    devices.finish_queue(GPU)
    devices.finish_queue(torch.device("cpu"))
    assert waited == [GPU]
    assert devices.has_work(GPU)
    assert not devices.has_work(torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_says_in_another_thread_whether_it_is_done():
    side = torch.cuda.Stream(GPU)
    with torch.cuda.stream(side):  # as DALI's: nothing here waits for it
        torch.cuda._sleep(2_000_000_000)
    assert not devices.has_work(GPU)
    devices.finish_queue(GPU)
    assert not side.query()
    torch.cuda._sleep(2_000_000_000)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(devices.has_work(GPU)))
    thread.start()
    thread.join()
    devices.finish_queue(GPU)
    assert seen == [True]
    assert not devices.has_work(GPU)
    torch.cuda.synchronize(GPU)
