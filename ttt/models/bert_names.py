"""What checkpoints of others call the weights of `ttt.models.bert.Bert`. Pure.

TensorFlow's names are those of google-research/bert; PyTorch's those of Hugging Face's
BertForPreTraining, which conversions of MLPerf's checkpoint keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_EMBEDDINGS = {"words": "word", "positions": "position", "segments": "token_type"}
_PRODUCTS = {  # of a layer, in both families
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "feedforward.0": "intermediate.dense",
    "feedforward.2": "output.dense",
}
_NORMS = {"attention_norm": "attention.output.LayerNorm", "norm": "output.LayerNorm"}


class Source(NamedTuple):
    """Where a weight is in a checkpoint.

    Attributes:
        torch: Its name in a file of PyTorch's.
        tensorflow: Its name in one of TensorFlow's.
        transposed: Whether TensorFlow has it as [in, out].
    """

    torch: str
    tensorflow: str
    transposed: bool = False


def sources(layers: int) -> dict[str, Source]:
    """Each weight of a network of so many layers, by its name there."""
    found = {
        f"{own}.weight": Source(
            f"bert.embeddings.{theirs}_embeddings.weight", f"bert/embeddings/{theirs}_embeddings"
        )
        for own, theirs in _EMBEDDINGS.items()
    }
    found |= _norm("norm", "bert.embeddings.LayerNorm")
    for number in range(layers):
        own, theirs = f"layers.{number}", f"bert.encoder.layer.{number}"
        for name, there in _PRODUCTS.items():
            found |= _product(f"{own}.{name}", f"{theirs}.{there}")
        for name, there in _NORMS.items():
            found |= _norm(f"{own}.{name}", f"{theirs}.{there}")
    found |= _product("pooler", "bert.pooler.dense")
    found |= _product("transform", "cls.predictions.transform.dense")
    found |= _norm("transform_norm", "cls.predictions.transform.LayerNorm")
    found["bias"] = Source("cls.predictions.bias", "cls/predictions/output_bias")
    for name, there in (("weight", "output_weights"), ("bias", "output_bias")):
        found[f"follows.{name}"] = Source(
            f"cls.seq_relationship.{name}", f"cls/seq_relationship/{there}"
        )
    return found


def _product(own: str, theirs: str) -> dict[str, Source]:
    return dict(_pair(own, theirs, "kernel", "bias", transposed=True))


def _norm(own: str, theirs: str) -> dict[str, Source]:
    return dict(_pair(own, theirs, "gamma", "beta", transposed=False))


def _pair(
    own: str, theirs: str, weight: str, bias: str, *, transposed: bool
) -> Iterator[tuple[str, Source]]:
    there = theirs.replace("layer.", "layer_").replace(".", "/")
    yield f"{own}.weight", Source(f"{theirs}.weight", f"{there}/{weight}", transposed)
    yield f"{own}.bias", Source(f"{theirs}.bias", f"{there}/{bias}")
