import pytest
import torch

from ttt import config
from ttt.build import build
from ttt.clock import Clock
from ttt.distributed.world import Solo
from ttt.events import EventLog
from ttt.learner import StandardLearner
from ttt.supervise.heartbeat import Heartbeat
from ttt.telemetry import memory

CPU = torch.device("cpu")


def test_memory_is_at_least_what_this_process_holds():
    held = memory.peaks(CPU)
    assert 50_000_000 < held.pop("peak_memory_bytes") < memory.total_bytes(CPU)
    assert held == {"peak_memory_reserved_bytes": None, "device_memory_used_bytes": None}


def test_a_gpu_has_the_peaks_of_the_allocator_and_what_is_in_use_beside_it(monkeypatch):
    gpu, asked = torch.device("cuda", 3), []

    def answer(name, value):
        monkeypatch.setattr(torch.cuda, name, lambda device: (asked.append(device), value)[1])

    answer("max_memory_allocated", 50)
    answer("max_memory_reserved", 60)
    answer("mem_get_info", (20, 100))  # free and total, as cudaMemGetInfo has them
    assert memory.peaks(gpu) == {
        "peak_memory_bytes": 50,
        "peak_memory_reserved_bytes": 60,
        "device_memory_used_bytes": 80,
    }
    answer("reset_peak_memory_stats", None)
    memory.reset_peaks(gpu)
    assert asked == [gpu] * 4


def test_the_peaks_are_those_after_the_warm_up(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(StandardLearner, "warm_up", lambda *_: done.append("warm-up"))
    monkeypatch.setattr(memory, "reset_peaks", lambda device: done.append("reset"))
    config.register()
    text = config.freeze(
        config.resolve(config.compose(["benchmark=clicks", "seed=1", f"data.root={tmp_path}"]))
    )
    clock = Clock(lambda: 0.0)
    build(config.load(text), Solo(CPU), clock, EventLog(clock.now), Heartbeat()).data.close()
    assert done == ["warm-up", "reset"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_memory_of_a_gpu_is_counted_from_the_last_reset():
    gpu, megabytes = torch.device("cuda", 0), 1 << 20
    torch.empty(512 * megabytes, dtype=torch.uint8, device=gpu)
    before = memory.peaks(gpu)
    memory.reset_peaks(gpu)
    kept = torch.empty(8 * megabytes, dtype=torch.uint8, device=gpu)
    after = memory.peaks(gpu)
    assert after["peak_memory_bytes"] <= before["peak_memory_bytes"] - 504 * megabytes
    assert after["peak_memory_bytes"] >= kept.nbytes
    assert after["peak_memory_reserved_bytes"] >= 512 * megabytes  # the cache keeps what it has
    assert after["peak_memory_reserved_bytes"] < after["device_memory_used_bytes"]
    assert after["device_memory_used_bytes"] <= memory.total_bytes(gpu)
