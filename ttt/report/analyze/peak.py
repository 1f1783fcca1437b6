"""Utilization at peaks that the reader of the results gives. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from ttt.flops import formulas
from ttt.report.analyze.price import demand_known
from ttt.report.run import Found, Run

_TERA = 1e12


def with_peaks(found: Found, peaks: Mapping[str, float]) -> Found:
    """The same runs, with the share of these peaks that they used.

    Few published logs say the precision of their products, without which a data sheet says nothing.

    Args:
        found: What was read.
        peaks: Of an accelerator, or of a node without any, in 10^12 FLOP/s, by the name of a
            system.

    Raises:
        ConfigError: A peak is of a system that no run was on.
    """
    demand_known("--peak", found.runs, peaks)
    return replace(found, runs=tuple(_at(run, peaks.get(run.system or "")) for run in found.runs))


def _at(run: Run, tflops: float | None) -> Run:
    if tflops is None:
        return run
    share = formulas.utilization(
        flop_per_sample=run.flop_per_sample,
        samples=run.samples,
        workers=run.accelerators or run.nodes,
        peak_flop_per_s=tflops * _TERA,
        seconds=run.elapsed_s,
    )
    impossible = formulas.impossible(share)
    return replace(
        run,
        peak_flop_per_s=tflops * _TERA,
        utilization_fraction=None if impossible else share,
        utilization_reason=impossible,
    )
