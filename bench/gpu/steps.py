"""How fast updates are, what memory they take, and whether the host is ahead or waits.

    PYTHONPATH=.:bench python3 -m gpu.steps [--benchmarks digits clicks ...] [--precisions bf16 ...]

It takes the GPU if torch sees one, and otherwise the CPU, or what --device names; the figures are
printed and added to figures.jsonl, or to what --figures names.

For each benchmark and precision: milliseconds an update by events around many of them, queued one
after the other; milliseconds the host needs to queue one, measured on an idle device; memory.
The host is ahead where it queues an update in less time than the device takes for it. And where, in
an update, the host waits for the device: see `gpu.syncs`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice

import torch

from gpu import figures, parts, syncs
from gpu.parts import ALL, PRECISIONS, SMALL

_ON_A_CPU = ("fp32", "bf16")  # there tf32 is fp32, and fp16 is as slow as bf16
_COMPILED = ("digits", "clicks", "cifar10", "resnet")  # as torch.compile takes its time

_SECONDS = 1.0  # that the updates timed together should take
_FEWEST, _MOST = 5, 200
_ALONE = 10  # updates whose queueing is timed one by one


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--benchmarks", nargs="+", choices=ALL, help="default: what the device can do"
    )
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--updates", type=int, help=f"timed together; default: {_SECONDS:g} s")
    parser.add_argument("--compile", action="store_true")
    options = figures.options(parser, arguments)
    section = figures.Section("compiled" if options.compile else "steps", options)
    possible = ALL if section.cuda else SMALL
    usual = [name for name in possible if name in _COMPILED or not options.compile]
    if not options.precisions:
        options.precisions = PRECISIONS if section.cuda else _ON_A_CPU
        if options.compile:
            options.precisions = ("bf16",)

    def measure(section: figures.Section) -> None:
        for precision in options.precisions:
            for name in options.benchmarks or usual:
                section.part(f"{name} {precision}", one, name, precision, options)

    return figures.run(section, measure)


def one(section: figures.Section, name: str, precision: str, options: argparse.Namespace) -> None:
    """Measure one benchmark in one precision."""
    if section.cuda:
        torch.cuda.reset_peak_memory_stats(section.device)
    begin = time.perf_counter()
    built = parts.build(name, section.device, precision=precision, compile=options.compile)
    section.synchronize()
    label = f"{name} {precision}" + (" compiled" if options.compile else "")
    section.add(f"{label} build and warm-up", time.perf_counter() - begin, "s", built.label)
    batches = built.synthetic.train[:1]
    timed(section, built, batches, 2)
    if section.cuda:
        section.add(f"{label} peak in warm-up", torch.cuda.max_memory_allocated() / 1e9, "GB")
        torch.cuda.reset_peak_memory_stats(section.device)
    trial = timed(section, built, batches, 3)
    count = options.updates or max(_FEWEST, min(_MOST, round(1000 * _SECONDS / trial)))
    each = timed(section, built, batches, count)
    section.add(f"{label} step", each, "ms")
    section.add(f"{label} rate", 1000 * len(batches[0][0]) / each, "samples/s")
    if hasattr(batches[0], "target_out"):
        words = int((batches[0].target_out != 0).sum())
        section.add(f"{label} words", 1000 * words / each, "target tokens/s")
    if section.cuda:
        resources(section, label, built, each)
    section.part(f"{label} waits", syncs.check, label, built)


def resources(section: figures.Section, label: str, built: parts.Built, each: float) -> None:
    """Whether the host is ahead, and memory, since the warm-up."""
    host = queueing(section, built, built.synthetic.train[:1])
    section.add(f"{label} host", host, "ms")
    section.add(f"{label} host ahead", host < each)
    section.add(f"{label} allocated", torch.cuda.max_memory_allocated() / 1e9, "GB")
    section.add(f"{label} reserved", torch.cuda.max_memory_reserved() / 1e9, "GB")


def timed(section: figures.Section, built: parts.Built, batches: Sequence, count: int) -> float:
    """Milliseconds an update, of `count` that are queued one after the other."""
    section.synchronize()
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if section.cuda else []
    begin = time.perf_counter()
    if ends:
        ends[0].record()
    for batch in islice(cycle(batches), count):
        built.learner.step(batch)
    if ends:
        ends[1].record()
        section.synchronize()
        return float(ends[0].elapsed_time(ends[1])) / count
    return 1000 * (time.perf_counter() - begin) / count


def queueing(section: figures.Section, built: parts.Built, batches: Sequence) -> float:
    """Milliseconds the host needs to queue an update on an idle device, the median."""
    found = []
    for batch in islice(cycle(batches), _ALONE):
        section.synchronize()
        begin = time.perf_counter()
        built.learner.step(batch)
        found.append(1000 * (time.perf_counter() - begin))
    section.synchronize()
    return statistics.median(found)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
