"""FLOPs and peak of an MLPerf log: of a closed benchmark the rules fix the model."""

from typing import Any

from ttt.flops import formulas, published
from ttt.machine import datasheets


def of_log(
    benchmark: str | None, accelerator: str | None, precision: str | None, **course: Any
) -> dict[str, Any]:
    """What is known of a log's utilization, under the names of `ttt.measurements`.

    Args:
        benchmark: Id of the closed benchmark whose rules the log keeps; None for any other.
        accelerator: Its name.
        precision: The lowest in a product, as logged.
        course: `samples`, `workers` and `seconds` of `ttt.flops.formulas.utilization`.
    """
    flop = published.flop_per_sample(benchmark)
    if flop is None:
        return {}
    peak = datasheets.flop_per_s(accelerator, precision)
    share = formulas.utilization(flop_per_sample=flop, peak_flop_per_s=peak, **course)
    impossible = formulas.impossible(share)
    return {
        "flop_per_sample": flop,
        "peak_flop_per_s": peak,
        "utilization_fraction": None if impossible else share,
        "utilization_reason": impossible or _unknown(accelerator, precision, peak),
    }


def _unknown(accelerator: str | None, precision: str | None, peak: float | None) -> str | None:
    if peak is not None:
        return None
    if precision is None:
        return "the log does not say in which precision products were computed"
    return f"no peak of {accelerator or 'this machine'} in {precision} is known"
