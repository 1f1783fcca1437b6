"""What utilization needs, once the clock has stopped: FLOPs of a sample, and the machine's peak.

A closed form says the FLOPs if model, data and task are ttt's; else one step is counted. What
cannot be known is None, with the reason.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from ttt import config
from ttt.errors import one_line
from ttt.loop import Parts
from ttt.machine import datasheets, environment
from ttt.protocols import Data, Task, World
from ttt.schema.nodes import SCHEMAS
from ttt.schema.run import RunConfig

_TERA = 1e12
# By the class of the model: a worker has its settings, not the schema that they are of.
_CLOSED_FORMS: dict[str, Callable[..., float | None]] = {
    getattr(schema, "_target_"): getattr(schema, "flop_per_sample")  # noqa: B009 - of any class
    for schema in SCHEMAS.values()
    if hasattr(schema, "flop_per_sample")
}


def measured(
    run_config: RunConfig, parts: Parts, samples_per_s: float | None
) -> dict[str, float | str | None]:
    """Under the names of `ttt.measurements`; rank 0 calls it alone, and asks no other.

    Args:
        run_config: The run.
        parts: What it was made of; its data set is still open.
        samples_per_s: While training.
    """
    length = getattr(run_config.data, "sequence_length", None)
    tokens = samples_per_s * length if samples_per_s is not None and length else None
    flop, unknown = flop_per_sample(run_config, parts)
    peak, no_peak = peak_flop_per_s(run_config, parts.world)
    return {
        "tokens_per_s": tokens,
        "flop_per_sample": flop,
        "peak_flop_per_s": peak,
        "utilization_reason": unknown or no_peak,
    }


class Counted(Protocol):
    """The parts of a run by which the FLOPs of a sample are known."""

    @property
    def data(self) -> Data:
        """The data set."""

    @property
    def task(self) -> Task:
        """Gives the loss."""

    @property
    def example(self) -> Sequence[Tensor]:
        """Tensors of a training batch, without values; empty if there was none."""


def flop_per_sample(run_config: RunConfig, parts: Counted) -> tuple[float | None, str | None]:
    """Model tensor FLOPs of training one sample, or why they are not known."""
    attended = run_config.benchmark.causal_flops.attended
    model, data, task = run_config.model, run_config.data, run_config.task
    closed_form = _CLOSED_FORMS.get(getattr(model, "_target_", ""))
    lengths = parts.data.lengths() if hasattr(parts.data, "lengths") else None
    if closed_form and _shipped(data) and _shipped(task):
        return closed_form(model, data, lengths, attended), None
    if lengths is not None:
        return None, "samples differ in length, and no closed form says the FLOPs of this model"
    if not parts.example:
        return None, "there was no batch to count the FLOPs of"
    make = partial(config.instantiate, "model", model)
    from ttt.flops import counter  # noqa: PLC0415 - takes its time, and few runs need it

    try:
        return counter.count(make, parts.task.loss, parts.example, attended=attended), None
    except Exception as error:  # a user's class; the run is over and stands
        why = one_line(f"{type(error).__name__}: {error}")
        return None, f"the FLOPs cannot be counted without values: {why:.300}"


def peak_flop_per_s(run_config: RunConfig, world: World) -> tuple[float | None, str | None]:
    """The peak of one accelerator, of one node where there is none, or why it is not known."""
    if (stated := run_config.system.peak_tflops) is not None:
        return stated * _TERA, None
    gpu = environment.accelerator(world.device)
    if gpu is None:
        return None, "no peak of a CPU is known; system.peak_tflops=N states that of a node"
    peak = datasheets.flop_per_s(gpu["name"], run_config.precision)
    if peak is None:
        return None, (
            f"no peak of {gpu['name']} in {run_config.precision} is known;"
            " system.peak_tflops=N states it"
        )
    return peak, None


def _shipped(node: Any) -> bool:
    return str(getattr(node, "_target_", "")).startswith("ttt.")
