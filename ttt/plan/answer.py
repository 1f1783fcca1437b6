"""The answer of `ttt plan`, as data and as lines."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ttt import config, utilization
from ttt.errors import counted as plural
from ttt.machine import datasheets
from ttt.plan.count import count
from ttt.plan.figures import UNCOUNTED, Figures, easier, passes
from ttt.schema.run import RunConfig

_GIGA = 1e9


def answer(made: Any, processes: int, nodes: int) -> dict[str, Any]:
    """What one process holds and sends, and whether that fits.

    Args:
        made: The configuration, without problems on so many processes.
        processes: Of the run.
        nodes: Of the run.
    """
    run = config.resolve(made, processes=processes)
    name = run.system.description.get("accelerator_model_name")
    memory = _memory(run, name)
    local_size = processes // nodes
    figures, parts = count(run, processes, local_size, fused=memory is not None)
    mesh = run.parallel.mesh(processes)
    flop, unknown = _flop_per_sample(run, parts)
    batch = run.data.global_batch
    fits, (typed, less) = figures.fits(memory), (None, None)
    if memory is not None and fits is False:
        typed, less = _nearest(made, figures, processes, local_size, memory)
    return {
        "benchmark": run.benchmark.id,
        "processes": processes,
        "nodes": nodes,
        "mesh": asdict(mesh),
        "precision": str(run.precision),
        "checkpointing": str(run.parallel.checkpointing),
        "global_batch": batch,
        "micro_batch": mesh.micro_batch(batch, run.accumulate),
        "accelerator": name,
        "memory_bytes": memory,
        "fits": fits,
        "nearest": typed,
        "nearest_needs": less,
        **asdict(figures),
        "flop_per_sample": flop,
        "flop_per_step_and_process": None if flop is None else flop * batch / processes,
        "flop_unknown": unknown,
    }


def _flop_per_sample(run: RunConfig, parts: Any) -> tuple[float | None, str | None]:
    if hasattr(parts.data, "lengths"):
        return None, "how long the samples are is known where the data set is"
    return utilization.flop_per_sample(run, parts)


def _memory(run: RunConfig, name: str | None) -> float | None:
    """Of one accelerator, in bytes; None if nothing says it."""
    stated = run.system.memory_gb
    return datasheets.memory_bytes(name) if stated is None else stated * _GIGA


def _nearest(
    made: Any, figures: Figures, processes: int, local_size: int, memory: float
) -> tuple[str | None, int | None]:
    """The least change that fits, as it is typed, and what is then needed; None if none does."""
    run = config.resolve(made, processes=processes)
    mesh = run.parallel.mesh(processes)
    micro = mesh.micro_batch(run.data.global_batch, run.accumulate)
    more = passes(figures, memory, micro)
    for values in easier(mesh, run.accumulate, more, local_size):
        changed = config.resolve(config.changed(made, values), processes=processes)
        if changed.problems(processes):
            continue
        typed = " ".join(f"{name}={value}" for name, value in values.items())
        print(f"ttt: does not fit; tries {typed}", file=sys.stderr, flush=True)
        found, _ = count(changed, processes, local_size, fused=True)
        if found.fits(memory):
            return typed, found.needed
    return None, None


def shown(answer: dict[str, Any]) -> Iterator[str]:
    """The answer as lines."""
    mesh = " x ".join(f"{name} {size}" for name, size in answer["mesh"].items())
    nodes = plural(answer["nodes"], "node")
    yield f"{answer['benchmark']} on {answer['processes']:,} processes of {nodes}: {mesh}"
    yield (
        f"{answer['precision']}, global batch {answer['global_batch']:,}, of which"
        f" {answer['micro_batch']:,} in a forward pass, checkpointing {answer['checkpointing']}"
    )
    yield ""
    yield from _verdict(answer)
    yield ""
    yield "a process holds"
    for label, name in (
        ("parameters", "parameters"),
        ("gradients", "gradients"),
        ("optimizer state", "optimizer"),
        ("at most in a step, with activations and buffers", "peak"),
        ("at most while the model is made", "making"),
    ):
        yield f"  {label:<49} {_size(answer[name]):>10}"
    if answer["remark"]:
        yield f"  {answer['remark']}"
    yield ""
    yield from _sent(answer)
    yield ""
    if answer["flop_per_sample"] is None:
        yield f"FLOPs unknown: {answer['flop_unknown']}"
        return
    each = answer["flop_per_step_and_process"] / 1e12
    yield f"{answer['flop_per_sample'] / 1e12:,.3g} TFLOP a sample, {each:,.3g} a step and process"


def _verdict(answer: dict[str, Any]) -> Iterator[str]:
    memory = answer["memory_bytes"]
    what = f"{answer['accelerator'] or 'the accelerator'}: {_size(memory)}"
    if answer["unknown"]:
        yield f"fits: unknown; a step cannot be counted without values: {answer['unknown']}"
    elif answer["fits"] is None:
        yield "fits: unknown; no memory of an accelerator is known; system.memory_gb=80"
    elif answer["fits"]:
        rest = f"{UNCOUNTED:.0%} left for what is not counted"
        yield f"fits: yes, {what}, {rest}"
    else:
        yield f"fits: no, {what}, of which {UNCOUNTED:.0%} are left for what is not counted"
        nearest = answer["nearest"]
        if nearest:
            yield f"  fits with {nearest}: {_size(answer['nearest_needs'])} at most"
        else:
            yield "  nor with less of what ttt can change"


def _sent(answer: dict[str, Any]) -> Iterator[str]:
    if answer["traffic"] is None:
        yield "collectives of a step: unknown"
        return
    yield "collectives of a step" if answer["traffic"] else "no collectives"
    for one in answer["traffic"]:
        where = "between nodes" if one["leaves_node"] else "within a node"
        yield (
            f"  {one['kind']:<15} {one['axis']:<17} {where:<14} {one['count']:>6,} of"
            f" at most {_size(one['largest']):>7} = {_size(one['size']):>7} {one['dtype']}"
        )


def _size(size: float | None) -> str:
    """Bytes with three digits and a unit."""
    if size is None:
        return "unknown"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return (
                f"{size / factor:.3g} {unit}"
                if size < 1e3 * factor
                else f"{size / factor:,.0f} {unit}"
            )
    return f"{size:.0f} B"
