"""Sentence pairs: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from ttt.errors import fault
from ttt.schema.parallel import Mesh
from ttt.schema.rules import not_positive


class BatchBy(StrEnum):
    """What the size of a batch of sentence pairs counts."""

    tokens = "tokens"
    sentences = "sentences"


@dataclass
class TextDataConfig:
    """Sentence pairs as tokens; see `ttt.data.text`. Lengths are in tokens with the end mark."""

    looks: ClassVar[str] = "ttt.data.corpus_looks"  # finds out what is wrong with the set
    counted: ClassVar[tuple[str, ...]] = (  # null: as the set's manifest has it
        *("train_samples", "eval_samples", "vocabulary", "max_length"),
    )
    _target_: str = "ttt.data.text.ParallelText"
    prepare: str | None = None  # module with prepare(out), for sets ttt can make itself
    root: str = ""
    train_samples: int | None = None  # null: as many as there are, counted where it is typed
    eval_samples: int | None = None
    vocabulary: int | None = None
    max_length: int | None = 64  # of a sentence trained on; the set was prepared with it
    batch_by: BatchBy = BatchBy.tokens
    global_batch: int = 4096  # target tokens per update, over all processes; or sentences
    eval_batch: int = 100  # sentences translated at a time by a process
    pieces: int = 1  # runs of like length in a batch: more mix lengths and pad more
    accumulate: int = "${accumulate}"  # type: ignore[assignment]

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = "train_samples eval_samples vocabulary max_length global_batch eval_batch pieces"
        yield from not_positive("data", self, names)
        if self.pieces <= 0:
            return
        if self.batch_by is BatchBy.tokens:
            yield from self._token_problems(mesh, accumulate)
        elif self.global_batch % self.pieces:
            yield fault(
                "data.global_batch",
                self.global_batch,
                f"sentences cannot be made of data.pieces={self.pieces} equal runs",
                allowed=f"multiples of {self.pieces}",
                typed=str(max(1, self.global_batch // self.pieces) * self.pieces),
            )

    def _token_problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        least = (self.max_length or 1) * max(self.pieces, mesh.parts(accumulate))
        if 0 < self.global_batch < least:
            why = (
                f"tokens do not hold a sentence of data.max_length={self.max_length} for each of"
                f" data.pieces={self.pieces} runs and "
                f"{mesh.named_parts(accumulate)}"
            )
            allowed = f"{least} or more"
            batch = self.global_batch
            yield fault("data.global_batch", batch, why, allowed=allowed, typed=str(least))

    def logged(self) -> dict[str, Any]:
        """Keys of the MLPerf log and their values."""
        return {"max_sequence_length": {"value": self.max_length, "method": "discard"}}
