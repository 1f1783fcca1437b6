"""Questions to NVML, with and without answers. No GPU: pynvml's functions are replaced."""

from types import SimpleNamespace

import pynvml
import pytest

from ttt.machine import nvml, visible_gpus

QUESTIONS = [name for name in dir(pynvml) if name.startswith("nvmlDeviceGet")]


def refuse(*_):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch):
    """A driver that answers nothing, and how often it is opened; a test lets it answer."""
    opened = []
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: opened.append(1))
    monkeypatch.setattr(pynvml, "nvmlShutdown", opened.pop)
    for name in QUESTIONS:
        monkeypatch.setattr(pynvml, name, refuse)
    return opened


def answers(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", lambda *_, value=value: value)


UNKNOWN = {
    **dict.fromkeys("mig persistent ecc_errors slowdowns sm_megahertz most_sm_megahertz".split()),
    **dict.fromkeys("most_memory_bytes_per_s busy_percent jpeg_percent watts".split()),
    "instances": (),
    "link": nvml.Link(),
    "nvlinks_up": 0,
}
ESSENTIAL = ["uuid", "bus_id", "name", "memory_bytes", "joules"]


@pytest.mark.parametrize("handle", ["handle", None])
def test_what_has_no_answer_is_unknown(driver, handle):
    gpu = nvml.Gpu(handle)
    assert {name: getattr(gpu, name)() for name in UNKNOWN} == UNKNOWN
    for name in ESSENTIAL:
        with pytest.raises(nvml.Error):
            getattr(gpu, name)()
        assert nvml.answer(getattr(gpu, name)) is None


def test_a_device_that_is_not_known_is_never_asked_about(driver, monkeypatch):
    for name in QUESTIONS:
        monkeypatch.setattr(pynvml, name, lambda *_: pytest.fail("was asked"))
    assert nvml.Gpu(None).link() == nvml.Link()


def test_without_a_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: pytest.fail("was not open"))
    with nvml.session() as absent:
        assert absent == "Not Supported"
    with nvml.opened("GPU-1") as gpu:
        assert not gpu.known
    assert visible_gpus.count() == 0


def test_a_gpu_is_found_by_its_uuid_and_nvml_closed_again(driver, monkeypatch):
    with nvml.opened("GPU-1") as gpu:
        assert (gpu.known, driver) == (False, [1])
    with nvml.opened(None) as gpu:
        assert not gpu.known
    answers(monkeypatch, HandleByUUID="handle")
    with nvml.opened("GPU-1") as gpu:
        assert gpu.known
    assert driver == []


def test_answers_come_in_the_units_of_their_names(driver, monkeypatch):
    answers(
        monkeypatch,
        UUID=b"GPU-1",
        PciInfo=SimpleNamespace(busId=b"00000000:3B:00.0"),
        MemoryInfo=SimpleNamespace(total=80, used=2),
        TotalEnergyConsumption=5_000,
        MigMode=[1, 0],
        PersistenceMode=0,
        CurrentClocksThrottleReasons=pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown | 1,
        MemoryBusWidth=5120,
        MaxClockInfo=2619,
        UtilizationRates=SimpleNamespace(gpu=97),
        JpgUtilization=[3, 1000],
    )
    gpu = nvml.Gpu("handle")
    assert (gpu.uuid(), gpu.bus_id()) == ("GPU-1", "00000000:3B:00.0")
    assert (gpu.memory_bytes(), gpu.joules()) == ((80, 2), 5.0)
    assert (gpu.mig(), gpu.persistent(), gpu.slowdowns()) == (True, False, ("power brake",))
    assert gpu.most_memory_bytes_per_s() == pytest.approx(3.35e12, rel=0.01)  # an H100 SXM
    assert (gpu.busy_percent(), gpu.jpeg_percent()) == (97, 3)


@pytest.mark.parametrize(("returned", "watts"), [(0, 701.5), (3, 650.0)])
def test_power_is_that_of_the_moment_where_there_is_one(driver, monkeypatch, returned, watts):
    value = SimpleNamespace(nvmlReturn=returned, value=SimpleNamespace(uiVal=701_500))
    answers(monkeypatch, FieldValues=[value], PowerUsage=650_000)
    assert nvml.Gpu("handle").watts() == watts


def test_gpus_are_counted_as_cuda_shows_them(driver, monkeypatch):
    answers(monkeypatch, Count=3)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert visible_gpus.count() == 2
    assert driver == []
