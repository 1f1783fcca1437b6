"""How fast each device multiplies matrices, and with which libraries. Needs torch.

All ranks compute at once, as in training: a node whose GPUs share too little power or cooling shows
it only then.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ttt.dist.rank import gpu_index
from ttt.doctor.findings import Finding, Seen, failure, names, ok, slow, warning

_SECONDS = 0.3  # for one kind of number
_SIZES = {
    "cuda": 8192,
    "cpu": 768,
}  # rows and columns: large enough to be busy, small enough to end
_BURST = {"cuda": 10, "cpu": 1}  # products that are timed together
_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
# GPUs of one model differ by a few percent (silicon, temperature); a tenth is a fault worth
# finding, because every step waits for the slowest.
_SHARE = 0.9


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
    """

    device: str
    threads: int
    flop_per_s: dict[str, float]
    cuda: str | None
    cudnn: str | None
    nccl: str | None
    gpus: bool


def choose(device: str, local_rank: int) -> torch.device:
    """The device this rank would train on, or the CPU where there is none left for it.

    Args:
        device: What the run asks for: "auto", "cpu" or "cuda".
        local_rank: This process on its node.
    """
    index = None if device == "cpu" else gpu_index(local_rank, torch.cuda.device_count())
    return torch.device("cpu") if index is None else torch.device("cuda", index)


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
        flop_per_s={name: rate(device, dtype) for name, dtype in _DTYPES.items()},
        cuda=torch.version.cuda,
        cudnn=None if cudnn is None else str(cudnn),
        nccl=".".join(map(str, torch.cuda.nccl.version())) if gpu else None,
        gpus=gpus,
    )


def rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best burst of matrix products; fp32 is fp32, never tf32."""
    size, burst = _SIZES[device.type], _BURST[device.type]
    torch.backends.cuda.matmul.allow_tf32 = False
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


def judge_libraries(seen: Sequence[Seen[Compute]]) -> Iterator[Finding]:
    """Whether torch can use the GPUs, and with the same libraries everywhere."""
    kinds = defaultdict(list)
    for one in seen:
        kinds[one.facts.cuda, one.facts.cudnn, one.facts.nccl].append(f"{one.rank} on {one.host}")
    cuda, cudnn, nccl = next(iter(kinds))
    data = {"cuda": cuda, "cudnn": cudnn, "nccl": nccl}
    if len(kinds) > 1:
        told = "; ".join(
            f"CUDA {c}, cuDNN {d}, NCCL {n}: rank {names(r)}" for (c, d, n), r in kinds.items()
        )
        yield failure("libraries", told, "install the same torch everywhere", **data)
    elif cuda is None and any(one.facts.gpus for one in seen):
        advice = "pip install torch for your CUDA, see pytorch.org"
        yield failure("libraries", "GPUs are there, and this torch has no CUDA", advice, **data)
    elif cuda is not None:
        yield ok("libraries", f"CUDA {cuda}, cuDNN {cudnn}, NCCL {nccl}", **data)


def judge(seen: Sequence[Seen[Compute]]) -> Iterator[Finding]:
    """Whether devices of one model are equally fast."""
    models = defaultdict(list)
    for one in seen:
        models[one.facts.device].append(one)
    for model, alike in models.items():
        for dtype in _DTYPES:
            yield _judge_rates(model, dtype, alike)


def _judge_rates(model: str, dtype: str, alike: Sequence[Seen[Compute]]) -> Finding:
    rates = {one.rank: one.facts.flop_per_s[dtype] for one in alike}
    hosts = {one.rank: one.host for one in alike}
    low, high = min(rates.values()) / 1e12, max(rates.values()) / 1e12
    told = f"{low:.3g}" if len(rates) == 1 else f"{low:.3g} to {high:.3g}"
    said = f"{dtype} {told} TFLOP/s on {model}"
    if model == "CPU":
        threads = sorted({one.facts.threads for one in alike})
        said += f", {names(threads)} thread{'s' if threads != [1] else ''} each"
    name, data = "matrix product", {"dtype": dtype, "device": model, "flop_per_s": rates}
    behind = slow(rates, _SHARE)
    if not behind:
        return ok(name, said, **data)
    worst = [
        f"rank {rank} on {hosts[rank]} at {share:.0%} of the median"
        for rank, share in sorted(behind.items(), key=lambda item: item[1])
    ]
    return warning(
        name,
        f"{said}; slow: {names(worst)}",
        "look for other processes, heat and power caps there (top, nvidia-smi), or leave it out",
        outliers=sorted(behind),
        **data,
    )


def _multiply(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor, times: int) -> None:
    for _ in range(times):
        torch.mm(left, right, out=out)
    if out.device.type == "cuda":
        torch.cuda.synchronize(out.device)
