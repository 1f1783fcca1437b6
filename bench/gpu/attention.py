"""Which kernel attention takes in each precision, what a new shape costs, and the type of an LSTM.

torch chooses among flash, memory-efficient and cuDNN's attention by type, shape and mask. cuDNN
builds a plan for each shape it has not seen, and a run over text sees new ones all the time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gpu import figures, parts
from gpu.parts import PRECISIONS

_MARKS = ("_scaled_dot_product", "_fused_attention", "_cudnn_attention", "_flash_attention")
_SHAPES = 20
_HEADS, _WIDTH = 16, 64  # of MLPerf's transformer
_WORDS = 4096  # of a batch, about; its rows and their length change


def main(arguments: Sequence[str] | None = None) -> int:
    """Look; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", default=None, help="transformer on a GPU, dates without")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    options = figures.options(parser, arguments)
    section = figures.Section("attention", options)
    name = options.benchmark or ("transformer" if section.cuda else "dates")

    def look(section: figures.Section) -> None:
        for precision in options.precisions:
            section.part(f"kernels {precision}", kernels, name, precision)
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            section.part(f"shapes {dtype}", shapes, dtype)
        section.part("LSTM", lstm)

    return figures.run(section, look)


def kernels(section: figures.Section, name: str, precision: str) -> None:
    """The attention operators of one update, by how often they are called."""
    built = parts.build(name, section.device, precision=precision)
    batch = built.synthetic.train[-1]  # the shortest
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        built.learner.step(batch)
        section.synchronize()
    counts = Counter(
        {
            event.key.removeprefix("aten::"): event.count
            for event in profiler.key_averages()
            if any(mark in event.key for mark in _MARKS)
        }
    )
    found = ", ".join(f"{key} x{count}" for key, count in counts.most_common())
    section.add(
        f"{name} {precision} attention", found or None, why="" if found else "none was seen"
    )


@contextmanager
def cudnn_attention(allowed: bool) -> Iterator[None]:
    """Let torch choose cuDNN's attention, or not."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(allowed)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def shapes(section: figures.Section, dtype: torch.dtype) -> None:
    """Milliseconds of forward and backward in a shape that is new, and of the same once more."""
    lengths = range(24, 24 + _SHAPES) if section.cuda else range(24, 27)
    for allowed in (True, False):
        first, again = [], []
        with cudnn_attention(allowed):
            attend(section, dtype, 16)  # libraries are loaded
            for length in lengths:
                # Another length for each setting, so that no plan of the first serves the second.
                here = 2 * length + allowed
                first.append(attend(section, dtype, here))
                again.append(attend(section, dtype, here))
        label = f"{str(dtype).removeprefix('torch.')} attention, cuDNN {'on' if allowed else 'off'}"
        section.add(f"{label}, new shape, median", statistics.median(first), "ms")
        section.add(f"{label}, known shape, median", statistics.median(again), "ms")


def attend(section: figures.Section, dtype: torch.dtype, length: int) -> float:
    """Milliseconds of one causal attention, forward and backward."""
    rows = max(1, _WORDS // length) if section.cuda else 2
    shape = (rows, _HEADS, length, _WIDTH)
    q, k, v = (torch.randn(shape, device=section.device, dtype=dtype) for _ in range(3))
    q.requires_grad_()
    section.synchronize()
    begin = time.perf_counter()
    F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    section.synchronize()
    return 1000 * (time.perf_counter() - begin)


def lstm(section: figures.Section) -> None:
    """In which type cuDNN's LSTM computes under autocast to bf16; CPUs without bf16 have none."""
    name = "LSTM under autocast to bf16 gives"
    if not section.cuda:
        section.add(name, None, why="needs a GPU")
        return
    module = nn.LSTM(64, 64).to(section.device)
    with torch.autocast(section.device.type, dtype=torch.bfloat16):
        out, _ = module(torch.randn(5, 4, 64, device=section.device))
    section.add(name, str(out.dtype).removeprefix("torch."))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
