"""Copies and NVML's counters: judged from made-up numbers, measured where there are any."""

import pytest
import torch

from ttt.doctor import copies, counters
from ttt.doctor.copies import Copies, Link
from ttt.doctor.counters import Counters, Sample
from ttt.doctor.findings import Level, Observation

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
GEN5 = Link(5, 16, 5, 16)


def seen(*facts):
    return [Observation(rank, "abcd"[rank], fact) for rank, fact in enumerate(facts)]


def copied(to=52e9, back=51e9, inside=4e12, link=GEN5, peak=4.9e12, **other):
    return Copies(inside, peak, to, back, link, **other)


def test_copies_of_this_host_are_measured():
    found = copies.look(CPU)
    assert found.inside > 0
    assert (found.to_device, found.link) == (None, None)
    [finding] = copies.judge(seen(found))
    assert finding.level is Level.ok
    assert finding.data["inside_bytes_per_s"] == {0: found.inside}


@pytest.mark.parametrize(
    ("link", "rate"),
    [
        (GEN5, 63e9),
        (Link(4, 16, 4, 16), 31.5e9),
        (Link(1, 16, 4, 16), 31.5e9),
        (Link(3, 8, 3, 8), 7.9e9),
        (Link(), None),
        (Link(9, 16, 9, 16), None),
        (None, None),
    ],
)
def test_the_rate_of_a_link_is_that_of_its_generation(link, rate):
    assert copies.nominal(link) == (None if rate is None else pytest.approx(rate, rel=0.01))


@pytest.mark.parametrize(
    ("facts", "level", "said"),
    [
        (copied(), Level.ok, "(PCIe Gen5 x16: 63); in GPU memory 4,000 GB/s of 4,900"),
        (
            copied(link=Link(5, 8, 5, 16)),
            Level.warning,
            "Gen5 x8 under load, and could run as Gen5 x16",
        ),
        (copied(link=Link(1, 16, 5, 16)), Level.warning, "runs as Gen1 x16 under load"),
        (copied(back=20e9), Level.warning, "back 20 (PCIe Gen5 x16: 63); in GPU memory"),
        (copied(inside=2e12), Level.warning, "less than 50% in GPU memory: rank 0 on a"),
        (copied(to=380e9, back=300e9), Level.ok, "faster than PCIe: another link"),
        (copied(link=Link(), peak=None), Level.ok, "back 51; in GPU memory 4,000 GB/s"),
    ],
)
def test_copies_are_judged(facts, level, said):
    [finding] = copies.judge(seen(facts))
    assert finding.level is level
    assert said in finding.text
    assert finding.data["to_device_bytes_per_s"] == {0: facts.to_device}


def test_peers_are_counted_where_several_gpus_are_visible():
    _, finding = copies.judge(seen(copied(peers=7, others=7), copied(peers=3, others=7)))
    assert (finding.name, finding.data) == ("peer access", {"peers": {0: 7, 1: 3}})
    assert finding.text == "a GPU reaches 3 of the 7 others it sees directly, over NVLink or PCIe"


def power(joules, watts=500.0):
    """Samples every 0.1 s."""
    return [Sample(i / 10, watts, value) for i, value in enumerate(joules)]


def test_energy_is_compared_between_two_changes_of_the_counter():
    # It moves every third sample, by 150 J in 0.3 s. What lies before and after does not count.
    assert counters.energies(power([0, 0, 150, 150, 150, 300, 300, 300, 450, 450])) == (
        300,
        pytest.approx(300),
    )
    assert counters.energies(power([7, 7, 7])) == (0.0, None)
    assert counters.energies(power([None, 1, 2])) == (None, None)
    assert counters.energies([]) == (None, None)
    assert counters.energies(power([1, 2, 3, 4], None)) == (2, None)


GIB = 1 << 30
WELL = {
    "counted_j": 900.0,
    "shown_j": 880.0,
    "megahertz": 1750.0,
    "most_megahertz": 1980,
    "percent": 100,
    "allocated_bytes": GIB,
    "risen_bytes": GIB + (2 << 20),
}


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        (
            {},
            Level.ok,
            "energy counter 102% of the energy by power readings, SM clock 1750 of 1980 MHz, 100 %",
        ),
        ({"counted_j": None}, Level.ok, "no energy counter: ttt reports no energy"),
        ({"shown_j": None, "percent": None}, Level.ok, "SM clock 1750 of 1980 MHz, memory 100%"),
        ({"counted_j": 0.0}, Level.warning, "the energy counter does not move"),
        (
            {"counted_j": 500.0},
            Level.warning,
            "shows 500 J, but the power readings add up to 880 J",
        ),
        ({"percent": 0}, Level.warning, "shows a busy GPU as idle"),
        ({"megahertz": 345.0}, Level.warning, "345 MHz under load, 17% of its highest"),
        (
            {"risen_bytes": 3 * GIB},
            Level.warning,
            "took 1024 MiB and NVML's used memory rose by 30",
        ),
    ],
)
def test_counters_are_judged(changed, level, said):
    [finding] = counters.judge(seen(Counters(**WELL | changed)))
    assert finding.level is level
    assert said in finding.text
    assert finding.data["counted_j"] == {0: (WELL | changed)["counted_j"]}


def test_without_a_gpu_the_counters_say_so():
    [finding] = counters.judge(seen(counters.look(CPU)))
    assert (finding.level, finding.text) == (Level.ok, "not examined: there is no GPU")


@pytest.mark.gpu
@needs_gpu
def test_this_gpu_copies_and_counts():
    gpu = torch.device("cuda", 0)
    torch.cuda.set_device(gpu)
    found = copies.look(gpu)
    print(found)
    assert 1e9 < found.to_device < 1e12
    assert found.inside > found.to_device
    if found.inside_peak:
        assert found.inside < found.inside_peak
    counted = counters.look(gpu)
    print(counted)
    assert counted.absent is None
    assert counted.allocated_bytes >= counters._BYTES
    assert counted.percent is None or counted.percent > 0
