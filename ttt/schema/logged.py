"""What every MLPerf log of ours says of its run, in MLPerf's words. Pure.

Ruleset 6.1.0 asks each run to disclose the lowest precision of linear layers, attention and
communication, and how the model is spread. A model without attention gives the precision of its
linear layers for it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ttt.run_folder import CONFIG
from ttt.schema.parallel import Mesh

# What autocast computes matrix products in; without it they are computed as the weights are.
_AUTOCAST = {"bf16": "bfloat16", "fp16": "fp16"}
_WEIGHTS = {
    "float64": "fp64",
    "complex128": "fp64",
    "float32": "fp32",
    "complex64": "fp32",
    "bfloat16": "bfloat16",
    "float16": "fp16",
}
_HIGHEST_FIRST = ("fp64", "fp32", "tf32", "bfloat16", "fp16", "fp8")


@dataclass(frozen=True, slots=True)
class Spread:
    """How the processes of a run share the work.

    Attributes:
        mesh: How a batch and the model are divided among them.
        weights: Data types of the trained weights, in torch's words without "torch.".
        gathered: Data types in which weights in parts travel, where these are others.
        tf32: Whether fp32 products may be computed in tf32, which only some GPUs can.
    """

    mesh: Mesh = field(default_factory=Mesh)
    weights: Collection[str] = ("float32",)
    gathered: Collection[str] = ()
    tf32: bool = False

    def disclosed(self, precision: str, global_batch: int, accumulate: int) -> dict[str, Any]:
        """The disclosures of ruleset 6.1.0.

        Gradients have the data type of the weights and are averaged in it; what spread tables
        exchange are sums of rows, in the same. Processes that compute a layer together exchange
        activations, as they were computed.

        Args:
            precision: The setting.
            global_batch: Samples, or tokens, of an update.
            accumulate: Forward and backward passes of an update.
        """
        kept = lowest(_word(weights) for weights in self.weights)
        computed = "tf32" if kept == "fp32" and self.tf32 else kept
        sent = [kept, *map(_word, self.gathered)]
        if precision in _AUTOCAST:
            computed = _AUTOCAST[precision]
            sent += [computed] if self.mesh.tensor > 1 else []
        return {
            "lowest_numerical_precision_in_linear": computed,
            "lowest_numerical_precision_in_attn": computed,
            "lowest_numerical_precision_in_comm": lowest(sent),
            **self.mesh.disclosed(global_batch, accumulate),
        }


def lowest(words: Iterable[str]) -> str:
    """The lowest of some precisions, in MLPerf's words."""
    return max(words, key=_HIGHEST_FIRST.index)


def _word(dtype: str) -> str:
    return "fp8" if dtype.startswith("float8") else _WEIGHTS[dtype]


def common(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Key and value of the records that every log of any benchmark has once.

    Args:
        claim: `RunConfig.claim`.
    """
    return {
        "submission_benchmark": claim["benchmark"],
        "submission_division": claim["division"],
        "submission_org": claim["submission"]["org"],
        "submission_platform": claim["submission"]["platform"],
        "submission_status": claim["submission"]["status"],
        "seed": claim["seed"],
        "global_batch_size": claim["global_batch"],
        "gradient_accumulation_steps": claim["accumulate"],
        "train_samples": claim["train_samples"],
        "eval_samples": claim["eval_samples"],
        **claim["disclosed"],
        "config_filename": CONFIG,
    }


# Keys that a run logs by itself, so that `mlperf` may not say something else of it.
RESERVED = frozenset(
    "submission_benchmark submission_division submission_org submission_platform submission_status"
    " seed global_batch_size gradient_accumulation_steps train_samples eval_samples"
    " lowest_numerical_precision_in_linear lowest_numerical_precision_in_attn"
    " lowest_numerical_precision_in_comm tensor_parallelism pipeline_parallelism"
    " context_parallelism expert_parallelism micro_batch_size config_filename target_accuracy"
    " cache_clear init_start init_stop run_start run_stop block_start block_stop epoch_start"
    " epoch_stop eval_start eval_stop eval_accuracy tracked_stats resumed".split()
)
