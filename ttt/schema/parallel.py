"""How the processes of a run divide its work: the mesh, and what follows from it. Pure.

A batch is divided among data shards. A data shard is one process, or several that hold one model
together, so that everything that divides or adds up samples asks the mesh and not the number of
processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ttt.errors import fault


@dataclass(frozen=True, slots=True)
class Mesh:
    """The processes of a run as a box of three sides.

    Ranks count along `tensor` first: the processes of one data shard are neighbours, and as a rule
    on one node.

    Attributes:
        replicate: Copies of the model. Each sees other samples, and gradients are averaged.
        shard: Processes that keep one copy's weights in parts; each sees other samples.
        tensor: Processes that compute each layer together, on the same samples.
    """

    replicate: int = 1
    shard: int = 1
    tensor: int = 1

    @classmethod
    def of(cls, processes: int) -> Mesh:
        """The mesh of so many processes; of one if their number is not known yet (0)."""
        return cls(replicate=max(1, processes))

    @property
    def processes(self) -> int:
        """Of all sides together."""
        return self.data_shards * self.tensor

    @property
    def data_shards(self) -> int:
        """Parts that a batch is divided into, each with samples of its own."""
        return self.replicate * self.shard

    def data_shard(self, rank: int) -> int:
        """Which part of a batch a process reads, from 0."""
        return rank // self.tensor

    def replicas(self) -> list[list[int]]:
        """Ranks that differ in their samples alone: one of each data shard, in their order.

        Every rank is in one of the lists, of which there are `tensor`.
        """
        return [list(range(first, self.processes, self.tensor)) for first in range(self.tensor)]

    def micro_batch(self, global_batch: int, accumulate: int) -> int:
        """Samples, or tokens, in one forward pass of a data shard."""
        return global_batch // self.data_shards // max(1, accumulate)

    def parts(self, accumulate: int) -> int:
        """Parts of a batch, over all data shards and forward passes of an update."""
        return self.data_shards * accumulate

    def named_parts(self, accumulate: int) -> str:
        """What a batch is divided among, in words."""
        sharers = "processes" if self.data_shards == self.processes else "data shards"
        return f"{self.data_shards} {sharers} x accumulate={accumulate}"

    def indivisible(self, global_batch: int, train_samples: int, accumulate: int) -> Iterator[str]:
        """What is wrong with a batch of so many samples that is to be divided evenly.

        Args:
            global_batch: Samples of an update.
            train_samples: Of the training set; 0 if not known.
            accumulate: Forward passes of an update.
        """
        parts = self.parts(accumulate)
        if global_batch > 0 and global_batch % parts:
            near = max(parts, round(global_batch / parts) * parts)
            instead = f"data.global_batch={near}"
            if 0 < train_samples < near:  # no such batch is in the set
                instead = "accumulate=1"
            why = f"does not divide among {self.named_parts(accumulate)}"
            allowed = f"multiples of {parts}"
            yield fault("data.global_batch", global_batch, why, allowed=allowed, typed=instead)
        if global_batch > train_samples > 0:
            largest = max(1, train_samples // parts) * parts
            why = "is more than the whole training set"
            allowed = f"up to data.train_samples={train_samples}"
            yield fault("data.global_batch", global_batch, why, allowed=allowed, typed=str(largest))

    def disclosed(self, global_batch: int, accumulate: int) -> dict[str, int]:
        """What ruleset 6.1.0 of MLPerf asks a log to say of how a model is spread.

        Pipeline, context and expert parallelism do not exist in ttt.

        Args:
            global_batch: Samples, or tokens, of an update.
            accumulate: Forward and backward passes of an update.
        """
        return {
            "tensor_parallelism": self.tensor,
            "pipeline_parallelism": 1,
            "context_parallelism": 1,
            "expert_parallelism": 1,
            "micro_batch_size": self.micro_batch(global_batch, accumulate),
        }
