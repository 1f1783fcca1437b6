"""Model tensor FLOPs of training one sample of MLPerf's closed benchmarks, whose model is fixed.

Causal attention is halved. BERT is missing: its samples differ in length, and padding does not
count. Sources are the reference implementations in mlcommons/training.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ttt.flops.formulas import decoder, dlrm_dcnv2, low_rank_adaptation, resnet50

_SEQUENCE = 8192


def _gpt_oss_20b() -> float:
    """small_llm_moe_pretraining/primus: 24 layers, 4 of 32 experts, and the router, for each token.

    Queries of 64 heads of 64 see all before them in every other layer, in the others 128 and
    themselves.
    """
    layers, width, inner, keys = 24, 2880, 64 * 64, 8 * 64
    attention = 2 * width * inner + 2 * width * keys
    experts = 4 * 3 * width * 2880 + width * 32
    weights = layers * (attention + experts) + width * 128_256
    products = 4 * inner * layers / 2 * (_SEQUENCE**2 / 2 + _SEQUENCE * 129)
    return 3 * (2 * weights * _SEQUENCE + products)


def _flux1() -> float:
    """text_to_image/torchtitan, flux-schnell: 19 double and 38 single blocks of width 3072.

    Each has 12 weights x width^2 for every one of 256 text and 256 image tokens, which attend to
    each other. What makes the modulation, once a sample, is a thousandth of that and left out.
    """
    blocks, width, tokens = 19 + 38, 3072, 512
    return 3 * blocks * (24 * width**2 * tokens + 4 * width * tokens**2)


_FORMULAS: Mapping[str, Callable[[], float]] = {
    # image_classification: 224 pixels, 1,000 classes.
    "resnet": partial(resnet50, size=224, classes=1000),
    # recommendation_v2/torchrec_dlrm.
    "dlrm_dcnv2": partial(
        dlrm_dcnv2,
        dense=13,
        tables=26,
        dim=128,
        bottom=(512, 256, 128),
        cross_layers=3,
        cross_rank=512,
        top=(1024, 1024, 512, 256, 1),
    ),
    # small_llm_pretraining/nemo: Llama 3.1 8B. NVIDIA's v5.1 entry states the same 421.6 TFLOP.
    "llama31_8b": partial(
        decoder,
        layers=32,
        width=4096,
        heads=32,
        kv_heads=8,
        head_width=128,
        feedforward=14336,
        vocabulary=128_256,
        sequence=_SEQUENCE,
    ),
    # llama2_70b_lora: rank 16 on queries, keys and values together, and on the output of attention.
    # NVIDIA states 2,598 TFLOP, 3 % more, and not how it counts.
    "llama2_70b_lora": partial(
        low_rank_adaptation,
        frozen=80 * (2 * 8192**2 + 2 * 8192 * 1024 + 3 * 8192 * 28672) + 8192 * 32000,
        adapters=80 * 16 * (8192 + 10240 + 2 * 8192),
        layers=80,
        width=8192,
        sequence=_SEQUENCE,
    ),
    "gpt_oss_20b": _gpt_oss_20b,
    "flux1": _flux1,
}


def flop_per_sample(benchmark: str | None) -> float | None:
    """Of training one sample of a closed benchmark, forward and backward; None if not known."""
    formula = _FORMULAS.get(benchmark or "")
    return None if formula is None else formula()
