"""Masked sequences: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ttt.errors import fault
from ttt.schema.parallel import Mesh
from ttt.schema.rules import not_positive


@dataclass
class MaskedDataConfig:
    """Masked sequences in TFRecord files; see `ttt.data.masked`. Defaults: MLPerf's BERT.

    Attributes:
        prepare: Module with prepare(out), for sets that ttt can make itself.
        root: Folder of the files.
        train: Files to train on, by the beginning of their names below `root`.
        eval: File to evaluate on, below `root`.
        train_samples: Training samples there must be.
        eval_samples: Evaluation samples there must be.
        length: Words of a sequence, padding included.
        predictions: Places for masked words in a sequence.
        vocabulary: Words there are.
        global_batch: Samples of an update, over all processes.
        eval_batch: Samples of a forward pass in an evaluation, by process.
        mixed: Training files that are shuffled together.
        prefetch: Batches read ahead.
        accumulate: Parts the learner takes a batch apart into.
    """

    looks: ClassVar[str] = "ttt.data.masked_looks"  # finds out what is wrong with the set
    _target_: str = "ttt.data.masked.MaskedSequences"
    prepare: str | None = None
    root: str = ""
    train: str = "part-"
    eval: str = "eval_10k"
    train_samples: int = 156_725_653
    eval_samples: int = 10_000
    length: int = 512
    predictions: int = 76
    vocabulary: int = 30_522
    global_batch: int = 256
    eval_batch: int = 32
    mixed: int = 1
    prefetch: int = 2
    accumulate: int = "${accumulate}"  # type: ignore[assignment]

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = "train_samples eval_samples length predictions vocabulary global_batch eval_batch"
        yield from not_positive("data", self, f"{names} mixed prefetch")
        if self.predictions > self.length:
            allowed = f"1 to data.length={self.length}"
            typed = str(self.length)
            yield fault("data.predictions", self.predictions, allowed=allowed, typed=typed)
        yield from mesh.indivisible(self.global_batch, self.train_samples, accumulate)
