"""Is each precision what its name says: products and convolutions against float64 on the CPU.

A GPU that computes fp32 in tf32 is ten times faster and loses thirteen bits. cuDNN does so unless
it is configured otherwise, and an environment variable can have cuBLAS do so.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ttt.doctor import compute
from ttt.doctor.findings import Finding, Observation, failure, ok, ranks, warning

_SIZE = 512  # rows and columns
# Largest relative error when a number is rounded to so many bits: 11 of fp16 and tf32, 8 of bf16.
_ROUNDING = {"tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}
# Two factors and the result are rounded, by independent errors: together below the root of three of
# them. Tensor cores may cut bits off instead of rounding, which doubles the error.
_ROUNDINGS = 4
# Rounding to the 24 bits of fp32 and adding 512 terms is below 2e-6, a fast convolution by
# Winograd's method below 2e-5; tf32 is above 2e-4.
_FP32 = 5e-5
_UNSET = "unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and NVIDIA_TF32_OVERRIDE; if neither is set, "


@dataclass(frozen=True, slots=True)
class Precision:
    """How far one rank's device is from float64.

    Attributes:
        product: ||C - C64|| / ||C64|| (Frobenius) of a product of random matrices, by kind.
        convolution: The same of a convolution.
    """

    product: dict[str, float]
    convolution: dict[str, float]


@compute.one_thread()
def look(device: torch.device) -> Precision:
    """Compute the same on the device and, in float64, on the CPU."""
    drawn = torch.Generator().manual_seed(1)  # the global generator stays as it is
    left, right = (torch.randn(_SIZE, _SIZE, generator=drawn) for _ in range(2))
    images = torch.randn(4, 32, 16, 16, generator=drawn)
    filters = torch.randn(32, 32, 3, 3, generator=drawn)
    product = left.double() @ right.double()
    convolution = F.conv2d(images.double(), filters.double())
    found = Precision({}, {})
    for kind in compute.kinds(device):
        with compute.arithmetic(kind) as dtype:
            a, b, x, w = (one.to(device, dtype) for one in (left, right, images, filters))
            found.product[kind] = error(a @ b, product)
            found.convolution[kind] = error(F.conv2d(x, w), convolution)
    return found


def error(value: Tensor, reference: Tensor) -> float:
    """The norm of the difference, as a share of the reference's norm."""
    difference = value.detach().cpu().double() - reference
    return float(difference.norm() / reference.norm())


def judge(seen: Sequence[Observation[Precision]]) -> Iterator[Finding]:
    """Whether every precision is as exact as it has to be, and tf32 no more than that."""
    kinds = list(dict.fromkeys(kind for one in seen for kind in one.facts.product))
    problems = [problem for kind in kinds for problem in _judge(kind, seen)]
    yield from problems
    if not problems:
        worst = {kind: _worst(kind, seen) for kind in kinds}
        listed = ", ".join(f"{kind} {value:.1e}" for kind, value in worst.items())
        yield ok("precision", f"relative errors against float64: {listed}", relative_error=worst)


def _judge(kind: str, seen: Sequence[Observation[Precision]]) -> Iterator[Finding]:
    limit = _ROUNDINGS * _ROUNDING[kind] if kind in _ROUNDING else _FP32
    for operation in ("product", "convolution"):
        known = [one for one in seen if kind in getattr(one.facts, operation)]
        errors = {one.rank: getattr(one.facts, operation)[kind] for one in known}
        # Written so that NaN is bad.
        bad = [one for one in known if not errors[one.rank] <= limit]
        finite = {rank: v if math.isfinite(v) else None for rank, v in errors.items()}
        data: dict[str, Any] = {
            "operation": operation,
            "kind": kind,
            "limit": limit,
            "relative_error": finite,
        }
        data["why"] = {"relative_error": "the result is not finite"}
        if bad:
            yield failure(
                "precision",
                f"the {kind} {operation} has a relative error of {errors[bad[0].rank]:.1e} against"
                f" float64; allowed is {limit:.0e}: {ranks(bad)}",
                (_UNSET if kind == "fp32" else "") + "test the GPU: dcgmi diag -r 3",
                **data,
            )
        exact = [one for one in known if errors[one.rank] <= _FP32]
        if kind == "tf32" and exact:
            yield warning(
                "precision",
                f"precision=tf32 does not compute the {operation} in tf32: {ranks(exact)}",
                "unset NVIDIA_TF32_OVERRIDE, which forbids it",
                **data,
            )


def _worst(kind: str, seen: Sequence[Observation[Precision]]) -> float:
    every = [one.facts.product for one in seen] + [one.facts.convolution for one in seen]
    return max(errors[kind] for errors in every if kind in errors)
