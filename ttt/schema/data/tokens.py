"""Tokens of a language model: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ttt.errors import fault
from ttt.schema.parallel import Mesh
from ttt.schema.rules import not_positive


@dataclass
class TokensDataConfig:
    """Documents as tokens, in files of Megatron-LM; see `ttt.data.tokens`.

    Attributes:
        prepare: Module with prepare(out), for sets that ttt can make itself.
        root: Folder with the files.
        train: Name of the training files in it, without .bin and .idx.
        eval: Name of the evaluation files.
        sequence_length: Tokens of a sample, which is one sequence.
        vocabulary: Token ids there are; null: as the set's manifest has it.
        train_samples: Sequences of an epoch, which follow from the files: (tokens - 1) divided by
            sequence_length, rounded down; null: counted where the run is typed.
        eval_samples: Sequences to evaluate, the first ones of their file; null: all.
        global_batch: Sequences of an update, over all processes.
        eval_batch: Sequences of a forward pass in an evaluation, by process.
        planned_steps: Updates whose sequences are shuffled together, over as many epochs as they
            take: as Megatron-LM does with all it may train. It takes 4 bytes for each document and
            epoch in each process. null: each epoch is shuffled by itself.
        prefetch: Batches gathered ahead.
    """

    looks: ClassVar[str] = "ttt.data.tokens_looks"  # finds out what is wrong with the set
    counted: ClassVar[tuple[str, ...]] = ("train_samples", "eval_samples", "vocabulary")
    may_be_fewer: ClassVar[tuple[str, ...]] = ("eval_samples",)  # than the set has
    _target_: str = "ttt.data.tokens.TokenData"
    prepare: str | None = None
    root: str = ""
    train: str = "train"
    eval: str = "eval"
    sequence_length: int = 1024
    vocabulary: int | None = None
    train_samples: int | None = None
    eval_samples: int | None = None
    global_batch: int = 32
    eval_batch: int = 32
    planned_steps: int | None = None
    prefetch: int = 2

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = "sequence_length vocabulary train_samples eval_samples global_batch eval_batch"
        names += " planned_steps prefetch"
        yield from not_positive("data", self, names)
        for name in ("train", "eval"):
            value = getattr(self, name)
            if not value or outside(value):
                allowed = "names of files in data.root, without .bin and .idx"
                yield fault(f"data.{name}", value, allowed=allowed, typed=name)
        yield from mesh.indivisible(self.global_batch, self.train_samples or 0, accumulate)

    def logged(self) -> dict[str, Any]:
        """Keys of the MLPerf log and their values."""
        return {"max_sequence_length": self.sequence_length}


def outside(name: str) -> bool:
    """Whether the name of a file leads out of its folder."""
    return Path(name).is_absolute() or ".." in Path(name).parts
