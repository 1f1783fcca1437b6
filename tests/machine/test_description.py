import json
import os
import re
import socket
from types import SimpleNamespace

import pynvml
import pytest
import torch
from mlperf_logging.system_desc_checker.system_desc_checker import check_system_desc

from ttt import config
from ttt.distributed.world import Solo
from ttt.machine import description, hardware, installed
from ttt.machine.environment import environment
from ttt.schema.system import FIELDS

CPU = torch.device("cpu")


def write(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.fixture
def sys(tmp_path):
    """The kernel's files of a server: two processors of two cores with two threads each."""
    root = tmp_path / "sys"
    for cpu in range(8):
        core = cpu % 4
        folder = f"devices/system/cpu/cpu{cpu}/topology"
        write(root, **{f"{folder}/thread_siblings_list": f"{core},{core + 4}"})
        write(root, **{f"{folder}/physical_package_id": core // 2})
    caches = [(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2048K")]
    for number, (level, kind, size) in enumerate(caches):
        folder = f"devices/system/cpu/cpu0/cache/index{number}"
        write(root, **{f"{folder}/level": level, f"{folder}/type": kind, f"{folder}/size": size})
    write(root, **{"devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": 3_800_000})
    for card, speed in (("eth0", 100_000), ("eth1", 100_000), ("down", -1), ("lo", 10)):
        folder = f"class/net/{card}"
        write(root, **{f"{folder}/speed": speed, f"{folder}/type": 772 if card == "lo" else 1})
        if card != "lo":
            write(root, **{f"{folder}/device/vendor": ""})
    for number in range(8):
        folder = f"class/infiniband/mlx5_{number}/ports/1"
        write(
            root, **{f"{folder}/rate": "400 Gb/sec (4X NDR)", f"{folder}/link_layer": "InfiniBand"}
        )
        write(root, **{f"{folder}/state": "4: ACTIVE"})
    unplugged = "class/infiniband/mlx5_9/ports/1"
    write(root, **{f"{unplugged}/rate": "400 Gb/sec (4X NDR)", f"{unplugged}/state": "1: DOWN"})
    return root


def test_processors_are_told_by_the_kernel(sys, tmp_path):
    write(tmp_path, cpuinfo="processor : 0\nmodel name\t: Acme 9000\nprocessor : 1")
    assert hardware.processor(sys, tmp_path / "cpuinfo") == {
        "host_processors_per_node": "2",
        "host_processor_model_name": "Acme 9000",
        "host_processor_core_count": "2",
        "host_processor_vcpu_count": str(os.cpu_count()),
        "host_processor_frequency": "up to 3.80 GHz",
        "host_processor_caches": "L1d 48K, L1i 32K, L2 2048K",
    }


def test_only_links_that_are_up_are_counted(sys):
    told = hardware.network(sys)["host_networking"]
    assert told == "8x InfiniBand 400 Gb/s, 2x Ethernet 100 Gb/s"


@pytest.mark.parametrize(
    ("disk", "turning", "kind"),
    [
        ("nvme0n1", 0, "NVMe SSD"),
        ("sda", 0, "SSD"),
        ("sda", 1, "hard disk"),
        ("vda", 1, "virtual disk"),
    ],
)
def test_a_data_set_lies_on_the_disk_of_its_partition(tmp_path, disk, turning, kind):
    sys, number = tmp_path / "sys", tmp_path.stat().st_dev
    write(sys, **{f"block/{disk}/queue/rotational": turning, f"block/{disk}/part1/partition": 1})
    link = sys / f"dev/block/{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys / "block" / disk / "part1")
    told = hardware.storage(tmp_path, sys)
    assert told["host_storage_type"] == kind
    assert told["host_storage_capacity"].endswith(" TB")


def test_where_there_is_no_disk_the_file_system_is_told(tmp_path, monkeypatch):
    mounts = [("/", "ext4"), (str(tmp_path), "lustre"), (str(tmp_path / "other"), "nfs4")]
    told = [SimpleNamespace(mountpoint=point, fstype=kind) for point, kind in mounts]
    monkeypatch.setattr(hardware.psutil, "disk_partitions", lambda *, all: told)
    (tmp_path / "set").mkdir()
    found = hardware.storage(tmp_path / "set", tmp_path / "no" / "sys")
    assert found["host_storage_type"] == "lustre"


def test_what_the_kernel_hides_is_unknown(tmp_path):
    told = hardware.processor(tmp_path, tmp_path / "cpuinfo") | hardware.network(tmp_path)
    del told["host_processor_vcpu_count"]
    assert set(told.values()) == {""}


def refuse(*_):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


@pytest.fixture
def gpu(monkeypatch):
    """An H100 whose driver answers nothing; each test lets it answer something."""
    found = SimpleNamespace(
        name="NVIDIA H100", total_memory=80 * 2**30, uuid="1-2", major=9, minor=0
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    for name in "MaxClockInfo MaxPcieLinkGeneration MaxPcieLinkWidth NvLinkState".split():
        monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", refuse)
    return found


H100 = {"accelerator_model_name": "NVIDIA H100", "accelerator_memory_capacity": "80 GiB"}


def test_a_gpu_is_told_as_far_as_the_driver_answers(gpu, monkeypatch):
    device = torch.device("cuda", 0)
    names = ("accelerator_frequency", "accelerator_host_interconnect", "accelerator_interconnect")
    assert hardware.accelerator(device) == H100 | dict.fromkeys(names, "")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMaxPcieLinkGeneration", lambda handle: 5)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMaxPcieLinkWidth", lambda handle: 16)
    told = H100 | dict.fromkeys(names, "") | {"accelerator_host_interconnect": "PCIe Gen5 x16"}
    assert hardware.accelerator(device) == told
    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    assert hardware.accelerator(device) == H100
    assert hardware.accelerator(CPU) == {}


@pytest.mark.parametrize(
    ("capability", "up", "said"),
    [
        ((9, 0), range(18), "NVLink 4, 18 links"),
        ((8, 0), range(12), "NVLink 3, 12 links"),
        ((9, 0), (0, 1, 5), "NVLink 4, 3 links"),  # those between are no links of this GPU
        ((8, 6), (0,), "NVLink 3, 1 link"),
        ((99, 9), range(4), "NVLink, 4 links"),  # not out yet
        ((9, 0), (), ""),
    ],
)
def test_nvlink_is_told_by_its_generation_and_the_links_that_are_up(
    gpu, monkeypatch, capability, up, said
):
    def state(handle, link):
        return 1 if link in up else 0 if link == 2 else refuse()

    gpu.major, gpu.minor = capability
    monkeypatch.setattr(pynvml, "nvmlDeviceGetNvLinkState", state)
    told = hardware.accelerator(torch.device("cuda", 0))
    assert told["accelerator_interconnect"] == said


@pytest.mark.parametrize(
    ("number", "said"), [(91002, "9.10.2"), (90100, "9.1.0"), (8902, "8.9.2"), (None, "")]
)
def test_cudnn_has_the_version_that_its_maker_writes(monkeypatch, number, said):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: number)
    assert hardware.cudnn() == said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_real_gpu_is_told():
    told = hardware.accelerator(torch.device("cuda", 0))
    assert re.fullmatch(r"up to \d{3,4} MHz", told["accelerator_frequency"])
    assert re.fullmatch(r"PCIe Gen\d x\d+", told["accelerator_host_interconnect"])
    assert re.fullmatch(r"(NVLink( \d)?, \d+ links?)?", told["accelerator_interconnect"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", hardware.cudnn())


def system(tmp_path, *overrides):
    config.register()
    run = config.resolve(config.compose([f"data.root={tmp_path}", *overrides]))
    return description.system(run, Solo(CPU))


@pytest.mark.parametrize("ruleset", ["4.0.0", "5.1.0", "6.1.0"])
def test_the_official_checker_accepts_it(tmp_path, ruleset):
    told = system(tmp_path)["description"]
    path = tmp_path / "system.json"
    path.write_text(json.dumps(told))
    assert check_system_desc(path, "training", ruleset)[0]
    assert list(told) == FIELDS
    assert all(isinstance(value, str) for value in told.values())
    assert told["framework"] == f"PyTorch {torch.__version__}"
    assert told["accelerators_per_node"] == "0"
    assert socket.gethostname() not in [word for text in told.values() for word in text.split()]


def test_dali_has_the_name_of_the_package_that_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(installed, "dali", lambda: {"nvidia-dali-cuda130": "2.4.0"})
    stack = system(tmp_path)["description"]["other_software_stack"].split(", ")
    assert [part for part in stack if "dali" in part] == ["nvidia-dali-cuda130 2.4.0"]
    packages = environment(CPU, [])["packages"]
    assert {name: packages[name] for name in packages if "dali" in name} == installed.dali()


def test_what_a_person_says_counts_more_than_what_the_machine_says(tmp_path):
    told = system(
        tmp_path,
        "submission.org=Acme",
        "submission.status=onprem",
        "system.description.system_name=Big One",
        "system.description.host_processors_per_node=4",
        "system.description.cooling=liquid",
    )
    fields = told["description"]
    version = torch.__version__.split("+")[0]
    assert told["id"] == f"Big_One_n1_pytorch{version}"
    assert fields["submitter"] == "Acme"
    assert fields["status"] == "Available on-premise"
    assert (fields["host_processors_per_node"], fields["cooling"]) == ("4", "liquid")
    assert system(tmp_path, "system.id=big_n1")["id"] == "big_n1"


def test_a_system_without_a_name_is_called_by_what_computes_in_it(tmp_path):
    model = "system.description.accelerator_model_name='NVIDIA(R) H100 80GB'"
    told = system(tmp_path, "system.description.accelerators_per_node=8", model)
    assert told["description"]["system_name"] == "8x NVIDIA H100 80GB"
    hosts = "system.description.host_processor_model_name='Acme(TM) 9000 @ 2/3 GHz'"
    told = system(tmp_path, "system.description.host_processors_per_node=2", hosts)
    assert told["description"]["system_name"] == "2x Acme 9000 @ 2/3 GHz"
    assert told["id"].startswith("2x_Acme_9000_2_3_GHz_n1_pytorch")
