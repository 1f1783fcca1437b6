import itertools
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch
from mlperf_logging.compliance_checker.mlp_parser import parse_file
from mlperf_logging.result_summarizer.result_summarizer import _compute_power_node

from ttt.distributed.rank import node_name
from ttt.distributed.world import Solo
from ttt.schema.choices import Energy
from ttt.sinks.power import write_power
from ttt.telemetry import counters, power
from ttt.telemetry.counters import Counter
from ttt.telemetry.power import PowerMeter, Spent, energy, open_meter

CPU = torch.device("cpu")


def ticking():
    """Time that goes on by a second whenever somebody looks."""
    seconds = itertools.count(1_000)
    return lambda: float(next(seconds))


class Device:
    """Spends a number of watts of its own, and counts them from zero again at `wraps`."""

    def __init__(self, watts: float, wraps: float | None = None) -> None:
        self.watts, self.wraps, self.reads = watts, wraps, itertools.count()

    def __call__(self) -> float:
        joules = self.watts * next(self.reads)  # it is read once a (fake) second
        return joules % self.wraps if self.wraps else joules


def measured(*read: Counter) -> Spent:
    meter = PowerMeter(read, ticking(), period=0.002)
    with meter:
        while len(meter.spent.watts) < 5 and meter.spent.reason is None:
            time.sleep(0.002)
    return meter.spent


def test_a_counter_that_never_answers_does_not_keep_the_run(monkeypatch):
    monkeypatch.setattr(power, "_LAST_SECONDS", 0.1)
    reads, lost = itertools.count(), threading.Event()

    def read() -> float:
        return 0.0 if next(reads) == 0 else float(lost.wait())  # the GPU has gone

    with PowerMeter([Counter("gpu", read)], ticking(), period=3600) as meter:
        pass
    assert meter.spent.reason == "a counter did not answer within 0.1 s"
    lost.set()


def test_joules_are_counted_by_part_though_a_counter_wraps():
    spent = measured(
        Counter("gpu", Device(300)),
        Counter("gpu", Device(200)),
        Counter("cpu", Device(100, wraps=250), wraps_at_j=250),
    )
    seconds = spent.end - spent.begin
    assert seconds >= 5
    assert spent.joules == {"gpu": 500 * seconds, "cpu": 100 * seconds}
    assert {watts for _, watts in spent.watts} == {600}
    told = energy([spent], elapsed=10.0, samples=12_000)
    assert told["energy_j"] == pytest.approx(6000)
    assert told["energy"] == {"gpu_j": 5000, "cpu_j": 1000, "scope": "gpu + cpu"}
    assert told["samples_per_j"] == pytest.approx(2)
    assert told["energy_reason"] is None


def test_even_the_shortest_run_is_read_at_both_ends():
    with PowerMeter([Counter("cpu", Device(40))], ticking(), period=3600) as meter:
        pass
    assert meter.spent.joules == {"cpu": 40.0}
    assert len(meter.spent.watts) == 1


def test_mlcommons_reads_the_same_joules_from_the_power_log(tmp_path):
    spent = measured(Counter("gpu", Device(321.5)), Counter("dram", Device(7, 50), 50))
    path = tmp_path / "power" / "node_0.txt"
    write_power(path, spent)
    lines, failed = parse_file(str(path), "4.0.0")
    assert failed == []
    elapsed = 7.25
    theirs = _compute_power_node(lines, elapsed * 1000)
    assert theirs == pytest.approx(energy([spent], elapsed, 1)["energy_j"])
    assert theirs == pytest.approx(328.5 * elapsed)
    keys = [json.loads(line.split(":::MLLOG ")[1])["key"] for line in path.read_text().splitlines()]
    assert keys[:2] == ["conversion_eff", "power_measurement_start"]
    assert keys[-1] == "power_measurement_stop"
    assert keys.count("power_reading") == len(spent.watts)
    assert str(Path(power.__file__).parent.parent.parent) not in path.read_text()


def test_a_counter_that_goes_back_makes_the_energy_unknown_and_the_run_goes_on():
    values = iter([50.0, 40.0, 60.0, 70.0, 80.0, 90.0, 100.0])
    spent = measured(Counter("gpu", lambda: next(values)))
    told = energy([spent], 1.0, 1)
    assert told["energy_j"] is None
    assert "gpu counter went from 50 J back to 40 J" in told["energy_reason"]


def test_a_counter_that_fails_makes_the_energy_unknown_and_the_run_goes_on():
    for readings in ([], [50.0]):
        values = iter(readings)
        spent = measured(Counter("gpu", lambda values=values: next(values)))
        assert "StopIteration" in energy([spent], 1.0, 1)["energy_reason"]


def test_a_counter_that_does_not_move_is_dead():
    nodes = [Spent("n1", 0, 10, {"gpu": 9.0}), Spent("n2", 0, 10, {"gpu": 0.0})]
    told = energy(nodes, 10, 1)
    assert told["energy_j"] is None
    assert told["energy_reason"] == "n2: the counter of gpu did not move"
    assert (
        energy([Spent("n1", 0, 0.5, {"cpu": 0.0})], 0.5, 1)["energy_j"] == 0.0
    )  # too short to say


def test_only_what_every_node_knows_is_summed():
    nodes = [
        Spent("n1", 0, 10, {"gpu": 100.0, "cpu": 50.0, "dram": 5.0}),
        Spent("n2", 0, 10, {"gpu": 100.0}),
    ]
    told = energy(nodes, 10, 1000)
    assert told["energy_j"] == 200
    assert told["energy"] == {"gpu_j": 200, "cpu_j": None, "scope": "gpu"}
    told = energy([*nodes, Spent("n3", reason="no such driver")], 10, 1000)
    assert told["energy_reason"] == "n3: no such driver"
    assert told["energy_j"] is told["energy"] is told["samples_per_j"] is None
    told = energy([Spent("n1", 0, 1, {"gpu": 1.0}), Spent("n2", 0, 1, {"cpu": 1.0})], 1, 1)
    assert told["energy_reason"] == "no part can be read on every node"


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """The files that Linux would show for two processors, a memory and the whole board."""
    pytest.importorskip("zeus")
    import zeus.device.cpu
    from zeus.device.cpu import rapl

    root = tmp_path / "intel-rapl"
    zones = {"0": "package-0", "0/intel-rapl:0:0": "dram", "1": "package-1", "2": "psys"}
    for zone, name in zones.items():
        folder = root / f"intel-rapl:{zone}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "energy_uj").write_text("262143000000\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
    monkeypatch.setattr(rapl, "RAPL_DIR", str(root))
    monkeypatch.setattr(zeus.device.cpu, "_cpus", None)
    rapl.rapl_is_available.cache_clear()
    yield root
    rapl.rapl_is_available.cache_clear()


def test_zeus_finds_processors_and_memory_and_nothing_twice(rapl):
    found = counters.counters(CPU, [])
    assert [counter.part for counter in found] == ["cpu", "dram", "cpu"]
    before = found[0].read()
    assert before == pytest.approx(262143.0)
    (rapl / "intel-rapl:0" / "energy_uj").write_text("5000000\n")  # it has wrapped around
    assert found[0].since(before, found[0].read()) == pytest.approx(0.32885 + 5)


def test_without_counters_the_reason_is_told(monkeypatch, tmp_path):
    pytest.importorskip("zeus")
    import zeus.device.cpu
    from zeus.device.cpu import rapl
    from zeus.device.cpu.common import ZeusCPUNoPermissionError

    monkeypatch.setattr(rapl, "RAPL_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(rapl, "CONTAINER_RAPL_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(zeus.device.cpu, "_cpus", None)
    rapl.rapl_is_available.cache_clear()
    assert "(RAPL)" in reason(Energy.auto)
    rapl.rapl_is_available.cache_clear()

    def refuse():
        raise ZeusCPUNoPermissionError("no")

    monkeypatch.setattr(zeus.device.cpu, "get_cpus", refuse)
    assert "only root may read" in reason(Energy.auto)


def test_without_zeus_the_reason_is_what_to_install(monkeypatch):
    monkeypatch.setattr(counters, "find_spec", lambda name: None)
    assert "pip install 'time-to-train[energy]'" in reason(Energy.auto)


def test_what_is_not_measured_says_why():
    assert reason(Energy.off) == "system.energy=off"
    assert "resumed" in reason(Energy.auto, past=True)


def reason(wish: Energy, *, past: bool = False) -> str:
    with open_meter(wish, Solo(CPU), ticking(), past=past) as meter:
        pass
    return energy([meter.spent], 1.0, 1)["energy_reason"]


@pytest.fixture
def four_gpus(monkeypatch):
    """NVML with four GPUs, of which the last has no counter."""
    pytest.importorskip("zeus")
    known = {f"GPU-{name}": number for number, name in enumerate("abcd")}

    def find(uuid):
        if uuid not in known:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return known[uuid]

    def read(handle):
        if handle == 3:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return (handle + 1) * 5_000

    def hidden():
        raise OSError("hidden")

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", find)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", read)
    monkeypatch.setattr(counters, "_processors", hidden)


def test_only_the_gpus_of_the_run_count_and_what_processors_hide_is_left_out(four_gpus):
    found = counters.counters(torch.device("cuda", 0), ["GPU-a", "GPU-c"])
    assert [(counter.part, counter.read()) for counter in found] == [("gpu", 5.0), ("gpu", 15.0)]


@pytest.mark.parametrize("uuid", ["GPU-d", "MIG-1"])
def test_a_gpu_without_a_counter_makes_the_energy_unknown(four_gpus, uuid):
    with pytest.raises(OSError, match=f"no energy counters of GPU-a, {uuid}: "):
        counters.counters(torch.device("cuda", 0), ["GPU-a", uuid])


def test_gpus_that_other_ranks_of_the_node_see_alone_count_as_well(four_gpus, monkeypatch):
    """`srun --gpus-per-task=1`: this process sees one of the node's GPUs."""
    monkeypatch.setattr(power, "identity", lambda device: "GPU-a")
    told = [(node_name(), "GPU-a"), (node_name(), "GPU-b"), ("n2/1", "GPU-c")]
    world = SimpleNamespace(local_rank=0, device=torch.device("cuda", 0), gather=lambda _: told)
    with open_meter(Energy.auto, world, ticking(), past=False) as meter:
        pass
    assert meter.spent.reason is None
    assert [counter.read() for counter in meter._counters] == [5.0, 10.0]
