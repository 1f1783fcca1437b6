"""Peaks and memory of accelerators as their makers print them, for one accelerator.

`peaks` works them out of what a GPU reports; this table needs no more than a name, as
MLPerf's systems files and logs have it. Peaks are dense, by data type. A name that does not say
which product it is has none: a bare "H100" may be any of three, and a MIG instance is a part of
one. Makers print figures with structured sparsity, too: these are halved here. Figures that could
not be confirmed are not here.

AMD's MI250X is missing: PyTorch shows each of its two dies as a device, and systems files may
count modules.
"""

import re

_TFLOP, _GIGA = 1e12, 1e9
# What systems, logs and settings call the same data type.
_TYPES = {
    "fp32": ("fp32", "float32"),
    "tf32": ("tf32", "tensorfloat32"),
    "bf16": ("bf16", "bfloat16"),
    "fp16": ("fp16", "float16"),
    "fp8": ("fp8", "float8", "mxfp8"),
    "fp4": ("fp4", "float4", "nvfp4", "mxfp4"),
}
_ALIASES = {alias: name for name, aliases in _TYPES.items() for alias in aliases}


def _half(value: float, **others: float) -> dict[str, float]:
    """bf16 and fp16, which have the same peak, beside the others."""
    return {"bf16": value, "fp16": value, **others}


# NVIDIA's fp32 is that of the CUDA cores, which compute fp32 products; AMD's that of matrix cores.
# H100 SXM and PCIe: "NVIDIA H100 Tensor Core GPU Architecture" whitepaper, tables of peak rates.
_H100_SXM = _half(989.4, fp32=66.9, tf32=494.7, fp8=1978.9)
# "AMD Instinct MI300X" and "MI325X" data sheets and product pages.
_MI300X = _half(1307.4, fp32=163.4, tf32=653.7, fp8=2614.9)
# A pattern of a whole name's words, and the peaks in TFLOP/s.
_SHEETS: tuple[tuple[str, dict[str, float]], ...] = (
    # "NVIDIA V100 Tensor Core GPU" data sheet, January 2020.
    (r"V100[ -]SXM2", {"fp32": 15.7, "fp16": 125}),
    (r"V100[ -]PCI-?E", {"fp32": 14, "fp16": 112}),
    # "NVIDIA A100 Tensor Core GPU" data sheet, r4: the same for SXM and PCIe, 40 and 80 GB.
    (r"A100", _half(312, fp32=19.5, tf32=156)),
    (r"H100[ -]SXM5?|H100 80GB HBM3", _H100_SXM),
    (r"H100[ -]PCIe", _half(756, fp32=51.2, tf32=378, fp8=1513)),
    # "NVIDIA H100 Tensor Core GPU" data sheet, the edition with H100 NVL.
    (r"H100[ -]NVL", _half(835)),
    # "NVIDIA H200 Tensor Core GPU" data sheet, SXM: that of an H100 SXM.
    (r"H200[ -]SXM5?|H200", _H100_SXM),
    # "NVIDIA Blackwell Architecture" technical brief and the data sheets of HGX B200, GB200 NVL72.
    (r"B200", _half(2250, fp8=4500, fp4=9000)),
    (r"GB200", _half(2500, tf32=1250, fp8=5000, fp4=10000)),
    # Data sheets of HGX B300 and GB300 NVL72 (360 PFLOP/s of fp8 on 72); fp4 is not confirmed.
    (r"B300", _half(2250, fp8=4500)),
    (r"GB300", _half(2500, fp8=5000)),
    # "NVIDIA L40S" data sheet.
    (r"L40S", _half(362.05, fp32=91.6, tf32=183, fp8=733)),
    (r"MI300X", _MI300X),
    (r"MI325X", _MI300X),
    # "AMD CDNA 4 Architecture" whitepaper: 4096 of bf16 per compute unit and cycle on 256 units at
    # 2.2 and 2.4 GHz; AMD's product pages round to 2.3 and 2.5 PFLOP/s.
    (r"MI350X", _half(2306.9, fp8=4613.7)),
    (r"MI355X", _half(2516.6, fp8=5033.2)),
    # Google Cloud TPU documentation, "System architecture" of each, per chip.
    (r"TPU[ -]?v4", {"bf16": 275}),
    (r"TPU[ -]?v5e", {"bf16": 197}),
    (r"TPU[ -]?v5p", {"bf16": 459}),
    (r"TPU[ -]?v6e|TPU[ -]?Trillium", {"bf16": 918}),
)
# Memory in GB as makers print it, of the same data sheets; of a name that has it in it, that.
_MEMORY: tuple[tuple[str, float], ...] = (
    (r"H100[ -]NVL", 94),
    (r"H100[ -]SXM5?|H100[ -]PCIe", 80),
    (r"H200[ -]SXM5?|H200", 141),
    (r"B200", 180),  # HGX B200: 1,440 GB of eight
    (r"L40S", 48),
    (r"MI300X", 192),
    (r"MI325X", 256),
    (r"MI350X|MI355X", 288),
)
_GIGABYTES = re.compile(r"(?<![A-Z0-9.])(\d{2,3}) ?GB(?![A-Z0-9])", re.IGNORECASE)
# Another product than the word before says.
_OTHERS = re.compile(r"\bMIG\b|\bGH200\b|\bH200[ -]NVL\b|/| or ", re.IGNORECASE)


def flop_per_s(name: str | None, kind: str | None) -> float | None:
    """The peak of one accelerator in FLOP/s; None where name or data type say too little.

    Args:
        name: The model, as "NVIDIA H100-SXM5-80GB" or "NVIDIA Blackwell GPU (GB200)".
        kind: The data type of the products, as "bf16" or "bfloat16".
    """
    if name is None or kind is None or _OTHERS.search(name):
        return None
    found = [peaks for words, peaks in _SHEETS if _pattern(words).search(name)]
    value = found[0].get(_ALIASES.get(kind.lower(), "")) if len(found) == 1 else None
    return None if value is None else value * _TFLOP


def memory_bytes(name: str | None) -> float | None:
    """Memory of one accelerator; None where its name says too little.

    What a driver shows of it may be up to 7 % more: some makers print GB and mean GiB.

    Args:
        name: As for `flop_per_s`.
    """
    if name is None or _OTHERS.search(name):
        return None
    printed = {float(each) for each in _GIGABYTES.findall(name)}
    found = printed or {size for words, size in _MEMORY if _pattern(words).search(name)}
    return found.pop() * _GIGA if len(found) == 1 else None


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Z0-9])(?:{words})(?![A-Z0-9])", re.IGNORECASE)
