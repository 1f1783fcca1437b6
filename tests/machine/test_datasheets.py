"""Which peak a name stands for, and which names stand for none."""

import pytest

from ttt.machine import datasheets, peaks


@pytest.mark.parametrize(
    ("name", "kind", "tflops"),
    [
        ("NVIDIA H100-SXM5-80GB", "bf16", 989.4),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4),
        ("NVIDIA H100 PCIe", "tf32", 378),
        ("NVIDIA H100 NVL", "fp16", 835),
        ("NVIDIA H200-SXM5-141GB", "fp8", 1978.9),
        ("NVIDIA H200", "bf16", 989.4),
        ("NVIDIA Blackwell GPU (GB200)", "bf16", 2500),
        ("NVIDIA Blackwell GPU (B200-SXM-180GB)", "nvfp4", 9000),
        ("NVIDIA GB300", "fp8", 5000),
        ("NVIDIA A100-SXM4-40GB (400W)", "tf32", 156),
        ("NVIDIA A100 80GB PCIe", "fp32", 19.5),
        ("NVIDIA V100-SXM2-16GB (300W)", "fp16", 125),
        ("Tesla V100-PCIE-32GB", "fp16", 112),
        ("AMD Instinct MI355X", "bf16", 2516.6),
        ("TPU v5p", "bf16", 459),
        ("tpu-v6e", "bf16", 918),
    ],
)
def test_a_name_of_systems_files_has_its_peak(name: str, kind: str, tflops: float):
    assert datasheets.flop_per_s(name, kind) == pytest.approx(tflops * 1e12)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100", "bf16"),  # SXM, PCIe or NVL
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16"),
        ("NVIDIA GH200 480GB", "bf16"),
        ("NVIDIA H200 NVL", "bf16"),
        ("NVIDIA H100-SXM5-80GB, NVIDIA H200-SXM5-141GB", "bf16"),
        ("Tesla V100S-PCIE-32GB", "fp16"),
        ("Tesla V100-SXM2-16GB", "bf16"),  # it has none
        ("NVIDIA A100X", "bf16"),
        ("NVIDIA H100-SXM5-80GB", "int8"),
        ("NVIDIA H100-SXM5-80GB", None),
        ("NVIDIA GeForce RTX 4090", "fp16"),
        ("TPU v3", "bf16"),
        ("N/A", "bf16"),
        ("", "bf16"),
        (None, "bf16"),
    ],
)
def test_what_says_too_little_has_no_peak(name: str | None, kind: str | None):
    assert datasheets.flop_per_s(name, kind) is None


@pytest.mark.parametrize(
    ("name", "capability", "sms", "megahertz"),
    [
        ("NVIDIA H100 80GB HBM3", (9, 0), 132, 1830),
        ("NVIDIA A100-SXM4-80GB", (8, 0), 108, 1410),
        ("NVIDIA B200", (10, 0), 148, 1850),
        ("NVIDIA L40S", (8, 9), 142, 2520),
    ],
)
def test_a_data_sheet_and_the_architecture_agree(
    name: str, capability: tuple[int, int], sms: int, megahertz: int
):
    printed = datasheets.flop_per_s(name, "bf16")
    worked_out = peaks.flop_per_s("bf16", capability, name, sms, megahertz)
    assert worked_out == pytest.approx(printed, rel=0.02)


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("NVIDIA H100-SXM5-80GB", 80),
        ("NVIDIA H100 NVL", 94),
        ("NVIDIA A100-SXM4-40GB (400W)", 40),
        ("NVIDIA Blackwell GPU (B200-SXM-180GB)", 180),
        ("NVIDIA H200", 141),
        ("AMD Instinct MI325X", 256),
    ],
)
def test_a_name_of_systems_files_has_its_memory(name: str, gigabytes: int):
    assert datasheets.memory_bytes(name) == gigabytes * 10**9


@pytest.mark.parametrize(
    "name",
    [
        None,
        "NVIDIA A100",  # of 40 or 80 GB
        "NVIDIA H100",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA H100-SXM5-80GB, NVIDIA H200-SXM5-141GB",
        "N/A",
    ],
)
def test_a_name_of_several_memories_has_none(name: str | None):
    assert datasheets.memory_bytes(name) is None
