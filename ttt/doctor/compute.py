"""How fast each device multiplies matrices, compared with its peak, and with which libraries.

Needs torch.

All ranks compute at once, as in training: a node whose GPUs share too little power or cooling shows
it only then.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ttt.distributed.device import identity
from ttt.distributed.rank import gpu_index
from ttt.doctor.findings import Finding, Observation, failure, names, ok, reference, slow, warning
from ttt.machine import nvml, peaks

_SECONDS = 0.3  # for one kind of number
# Rows and columns: large enough to be busy, small enough to end. A CPU without instructions for
# bf16 computes it a hundred times slower than fp32.
_SIZES = {"cuda": 8192, "cpu": 768}
_SMALL = {("cpu", "bf16"): 256}  # tried first; enough where it is as slow as that
_BURST = {"cuda": 10, "cpu": 1}  # products that are timed together
_DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# GPUs of one model differ by a few percent (silicon, temperature); a tenth is a fault worth
# finding, because every step waits for the slowest.
_SHARE = 0.9
# Of the peak. A large product on random numbers reaches two thirds to nine tenths of it; half is a
# clock that is held down, by a power cap, heat or a setting.
_OF_PEAK = 0.5
_TIMES_SLOWER = 1.2  # than fp32, on a CPU: less may be noise
_NO_PEAK = (
    "ttt knows no peak for a CPU, for other GPUs than in ttt/machine/peaks.py or without NVML"
)


@dataclass(frozen=True, slots=True)
class Compute:
    """One rank's device.

    Attributes:
        device: Its name; "CPU" without a GPU.
        threads: Threads that torch computes with on the CPU.
        flop_per_s: Of a square matrix product, by kind of number.
        cuda: Version torch was built with; None for a CPU build.
        cudnn: Version; None without.
        nccl: Version; None without.
        gpus: Whether the driver shows GPUs to this rank, usable or not.
        peaks: What the device could do at most, as `flop_per_s`; None is unknown.
    """

    device: str
    threads: int
    flop_per_s: dict[str, float]
    cuda: str | None
    cudnn: str | None
    nccl: str | None
    gpus: bool
    peaks: dict[str, float | None] = field(default_factory=dict)


def choose(device: str, local_rank: int) -> torch.device:
    """The device this rank would train on, or the CPU where there is none left for it.

    Args:
        device: What the run asks for: "auto", "cpu" or "cuda".
        local_rank: This process on its node.
    """
    index = None if device == "cpu" else gpu_index(local_rank, torch.cuda.device_count())
    return torch.device("cpu") if index is None else torch.device("cuda", index)


def kinds(device: torch.device) -> list[str]:
    """The kinds of number worth measuring on a device, by the names of `precision`."""
    if device.type == "cpu":
        return ["bf16", "fp32"]
    if torch.cuda.get_device_capability(device) >= (8, 0):  # Ampere: the first with tf32 and bf16
        return ["bf16", "fp16", "tf32", "fp32"]
    return ["fp16", "fp32"]


@contextmanager
def arithmetic(kind: str) -> Iterator[torch.dtype]:
    """Where fp32 is fp32, and tf32 is tf32, in products and convolutions; gives the tensors' type.

    cuDNN measures its kernels to choose one, as in a run.

    Args:
        kind: By the names of `precision`.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = kind == "tf32"
    cudnn.benchmark = True
    try:
        yield _DTYPES[kind]
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core: several wait longer for each other than a small computation takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def look(device: torch.device, *, gpus: bool) -> Compute:
    """Measure this rank's device.

    Args:
        device: Of this rank.
        gpus: Whether the driver shows GPUs here.
    """
    gpu, built = device.type == "cuda", torch.version.cuda is not None
    cudnn = torch.backends.cudnn.version() if built else None
    return Compute(
        device=torch.cuda.get_device_name(device) if gpu else "CPU",
        threads=torch.get_num_threads(),
        flop_per_s={kind: rate(device, kind) for kind in kinds(device)},
        cuda=torch.version.cuda,
        cudnn=None if cudnn is None else str(cudnn),
        nccl=".".join(map(str, torch.cuda.nccl.version())) if gpu else None,
        gpus=gpus,
        peaks=_peaks(device) if gpu else {},
    )


def _peaks(device: torch.device) -> dict[str, float | None]:
    own = torch.cuda.get_device_properties(device)
    with nvml.opened(identity(device)) as gpu:
        clock = gpu.most_sm_megahertz()
    capability, sms = (own.major, own.minor), own.multi_processor_count
    return {
        kind: peaks.flop_per_s(kind, capability, own.name, sms, clock) for kind in kinds(device)
    }


def rate(device: torch.device, kind: str) -> float:
    """FLOP/s of the best burst of matrix products; fp32 is fp32, never tf32."""
    with arithmetic(kind) as dtype:
        size, small = _SIZES[device.type], _SMALL.get((device.type, kind))
        if small:
            found = _best(device, dtype, small, _BURST[device.type])
            if 2 * size**3 / found > _SECONDS:  # one product of the usual size takes as long
                return found
        return _best(device, dtype, size, _BURST[device.type])


def _best(device: torch.device, dtype: torch.dtype, size: int, burst: int) -> float:
    left = torch.randn(size, size, device=device, dtype=dtype)
    right, out = torch.randn_like(left), torch.empty_like(left)
    _multiply(left, right, out, 1)  # the library loads and chooses a kernel
    best, deadline = float("inf"), time.perf_counter() + _SECONDS
    while True:
        begin = time.perf_counter()
        _multiply(left, right, out, burst)
        now = time.perf_counter()
        best = min(best, now - begin)
        if now > deadline:
            return 2 * size**3 * burst / best


def judge(seen: Sequence[Observation[Compute]]) -> Iterator[Finding]:
    """Whether the libraries fit, and the devices are fast."""
    yield from judge_libraries(seen)
    yield from judge_rates(seen)


def judge_libraries(seen: Sequence[Observation[Compute]]) -> Iterator[Finding]:
    """Whether torch can use the GPUs, and with the same libraries everywhere."""
    kinds = defaultdict(list)
    for one in seen:
        kinds[one.facts.cuda, one.facts.cudnn, one.facts.nccl].append(f"{one.rank} on {one.host}")
    cuda, cudnn, nccl = next(iter(kinds))
    data: dict[str, Any] = {"cuda": cuda, "cudnn": cudnn, "nccl": nccl}
    data["why"] = dict.fromkeys(data, "this torch has none, or this process uses no GPU")
    if len(kinds) > 1:
        listed = "; ".join(
            f"CUDA {c}, cuDNN {d}, NCCL {n}: rank {names(r)}" for (c, d, n), r in kinds.items()
        )
        yield failure("libraries", listed, "install the same torch everywhere", **data)
    elif cuda is None and any(one.facts.gpus for one in seen):
        advice = "pip install torch for your CUDA, see pytorch.org"
        yield failure(
            "libraries", "this node has GPUs, but this torch is built without CUDA", advice, **data
        )
    elif cuda is not None:
        yield ok("libraries", f"CUDA {cuda}, cuDNN {cudnn}, NCCL {nccl}", **data)


def judge_rates(seen: Sequence[Observation[Compute]]) -> Iterator[Finding]:
    """Whether devices of one model are equally fast."""
    models = defaultdict(list)
    for one in seen:
        models[one.facts.device].append(one)
    for model, alike in models.items():
        for dtype in alike[0].facts.flop_per_s:
            yield _judge_kind(model, dtype, alike)


def _judge_kind(model: str, dtype: str, alike: Sequence[Observation[Compute]]) -> Finding:
    rates = {one.rank: one.facts.flop_per_s[dtype] for one in alike}
    hosts = {one.rank: one.host for one in alike}
    low, high = min(rates.values()) / 1e12, max(rates.values()) / 1e12
    span = f"{low:.3g}" if len(rates) == 1 else f"{low:.3g} to {high:.3g}"
    summary = f"{dtype} {span} TFLOP/s on {model}"
    if model == "CPU":
        threads = sorted({one.facts.threads for one in alike})
        summary += f", {names(threads)} thread{'s' if threads != [1] else ''} each"
    peak = {one.rank: one.facts.peaks.get(dtype) for one in alike}
    shares = {rank: rates[rank] / most for rank, most in peak.items() if most}
    if shares:
        most = max(filter(None, peak.values())) / 1e12
        summary += (
            f", {min(shares.values()):.0%} of the peak of {most:,.0f} TFLOP/s at its highest clock"
        )
    name = "matrix product"
    data: dict[str, Any] = {
        "dtype": dtype,
        "device": model,
        "flop_per_s": rates,
        "peak_flop_per_s": peak,
    }
    data["why"] = {"peak_flop_per_s": _NO_PEAK}
    behind = slow(rates, _SHARE)
    if behind:
        worst = [
            f"rank {rank} on {hosts[rank]} at {share:.0%} of {reference(rates)}"
            for rank, share in sorted(behind.items(), key=lambda item: item[1])
        ]
        return warning(
            name,
            f"{summary}; slow: {names(worst)}",
            "look for other processes, heat and power caps there (top, nvidia-smi), or exclude"
            " that node",
            outliers=sorted(behind),
            **data,
        )
    if any(share < _OF_PEAK for share in shares.values()):
        return warning(
            name,
            f"{summary}; expected is at least {_OF_PEAK:.0%}",
            "look for a low clock, a power cap or other processes: nvidia-smi -q -d"
            " CLOCK,POWER,PERFORMANCE",
            **data,
        )
    finding = ok(name, summary, **data)
    times = _times_slower_than_fp32(model, dtype, alike)
    if times is None:
        return finding
    return replace(
        finding,
        text=f"{summary}; {times:.1f} times slower than fp32",
        advice="precision=fp32 on this CPU",
    )


def _times_slower_than_fp32(
    model: str, dtype: str, alike: Sequence[Observation[Compute]]
) -> float | None:
    """On the slowest rank; None where a CPU gains by this kind, and for GPUs, which always do."""
    if model != "CPU" or dtype == "fp32":
        return None
    times = max(one.facts.flop_per_s["fp32"] / one.facts.flop_per_s[dtype] for one in alike)
    return times if times > _TIMES_SLOWER else None


def _multiply(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor, times: int) -> None:
    for _ in range(times):
        torch.mm(left, right, out=out)
    if out.device.type == "cuda":
        torch.cuda.synchronize(out.device)
