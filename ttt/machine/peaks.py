"""What a GPU could compute at most, from what it reports and what its architecture does per cycle.

Peak = SMs x highest SM clock x operations per SM and cycle. NVIDIA's data sheets take a lower clock
for some products (1.83 GHz for an H100 SXM that goes up to 1.98 GHz), so that their peak is lower.
"""

# FLOP per SM and cycle, dense, a multiply-add being two: fp32 of the CUDA cores, and of the tensor
# cores with sums in fp32, as torch has them: tf32, bf16, fp16. None: the architecture has none.
# NVIDIA's whitepapers: "Tesla V100 GPU Architecture" (64 multiply-adds in each of 8 tensor cores),
# "Turing GPU Architecture" (the same), "A100 Tensor Core GPU Architecture" (256 in each of 4),
# "Ampere GA102 GPU Architecture" (128 in each of 4), "Ada GPU Architecture" (the same), "H100
# Tensor Core GPU Architecture" (512 in each of 4), "RTX Blackwell GPU Architecture" (as Ada). 10.0
# is worked out from the data sheet of HGX B200: 2.25 PFLOP/s of dense bf16 on 148 SMs at 1.85 GHz.
_PER_CYCLE: dict[tuple[int, int], dict[str, int | None]] = {
    (7, 0): {"fp32": 128, "tf32": None, "bf16": None, "fp16": 1024},
    (7, 5): {"fp32": 128, "tf32": None, "bf16": None, "fp16": 1024},
    (8, 0): {"fp32": 128, "tf32": 1024, "bf16": 2048, "fp16": 2048},
    (8, 6): {"fp32": 256, "tf32": 512, "bf16": 1024, "fp16": 1024},
    (8, 9): {"fp32": 256, "tf32": 512, "bf16": 1024, "fp16": 1024},
    (9, 0): {"fp32": 256, "tf32": 2048, "bf16": 4096, "fp16": 4096},
    (10, 0): {"fp32": 256, "tf32": 4096, "bf16": 8192, "fp16": 8192},
    (12, 0): {"fp32": 256, "tf32": 512, "bf16": 1024, "fp16": 1024},
}
# With sums in fp32, the tensor cores of a GeForce do half of that (GA102 whitepaper, table 2).
_HALVED = "GeForce"


def flop_per_s(
    kind: str, capability: tuple[int, int], name: str, sms: int, megahertz: int | None
) -> float | None:
    """The peak of one kind of number, in FLOP/s; None where a part of it is not known.

    Args:
        kind: "fp32", "tf32", "bf16" or "fp16".
        capability: CUDA's compute capability.
        name: The model.
        sms: Its streaming multiprocessors, or those of a MIG instance.
        megahertz: Highest clock of an SM.
    """
    per_cycle = _PER_CYCLE.get(capability, {}).get(kind)
    if per_cycle is None or megahertz is None:
        return None
    halved = kind != "fp32" and _HALVED in name
    return per_cycle * sms * megahertz * 1e6 / (2 if halved else 1)
