"""How the processes of a run divide its work: the mesh, and what follows from it. Pure.

A batch is divided among data shards. A data shard is one process, or several that hold one model
together, so that everything that divides or adds up samples asks the mesh and not the number of
processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ttt.errors import fault
from ttt.schema.choices import Checkpointing


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


@dataclass
class ParallelConfig:
    """How the processes of a run share its model; see `Mesh`.

    Of the three sizes at most one is -1: what the others leave of the processes.

    Attributes:
        replicate: Copies of the model.
        shard: Processes that keep a copy's weights, gradients and optimizer state in parts.
        tensor: Processes that compute each layer together.
        reshard: Whether a sharded unit's weights are freed after its forward pass and gathered
            again for its backward pass: less memory, more communication.
        checkpointing: Which activations are computed again in the backward pass.
        zero1: Whether copies of the model divide the state of its optimizer.
    """

    replicate: int = -1
    shard: int = 1
    tensor: int = 1
    reshard: bool = True
    checkpointing: Checkpointing = Checkpointing.none
    zero1: bool = False

    def mesh(self, processes: int) -> Mesh:
        """The mesh of so many processes; with one on the open side if their number is unknown (0).

        It is right if there are no `problems`.
        """
        sides = self._sides()
        rest = max(1, max(1, processes) // self._known())
        return Mesh(**{name: rest if size == -1 else max(1, size) for name, size in sides.items()})

    def problems(self, processes: int, precision: str) -> Iterator[str]:
        """What is wrong with the sizes on so many processes, in this arithmetic."""
        sides = self._sides()
        wrong = {name: size for name, size in sides.items() if size < 1 and size != -1}
        for name, size in wrong.items():
            yield fault(f"parallel.{name}", size, allowed="1 and up, or -1 for the rest", typed="1")
        left = [name for name, size in sides.items() if size == -1]
        if len(left) > 1:
            both = " and ".join(f"parallel.{name}" for name in left)
            yield f"{both} are -1; allowed: one of them, which takes the rest; parallel.{left[0]}=1"
        if wrong or len(left) > 1 or processes < 1:
            return
        mesh = self.mesh(processes)
        if precision == "fp16" and (mesh.shard * mesh.tensor > 1 or self.zero1):
            # The scaler would look for overflows in this process's part of the gradients alone.
            why = "scales losses by whole gradients, and these are in parts"
            yield fault("precision", precision, why, allowed="fp32, tf32, bf16", typed="bf16")
        if self.zero1 and mesh.shard * mesh.tensor > 1:
            why = "divides the state of whole copies, and this model is in parts"
            yield fault("parallel.zero1", "true", why, allowed="false", typed="false")
        known = self._known()
        if known == processes or (left and processes % known == 0):
            return
        largest = max((name for name in sides if sides[name] > 0), key=lambda name: sides[name])
        others = known // sides[largest]
        fits = [size for size in _divisors(processes) if not processes // size % others]
        fits = [size for size in fits if left or size * others == processes]
        why = f"makes {known} processes" if not left else "does not divide them"
        number = f"{processes} process{'es' if processes > 1 else ''}"
        why = f"is not of {number}: {self._typed()} {why}"
        typed = str(min(fits, key=lambda size: abs(size - sides[largest]))) if fits else "1"
        allowed = ", ".join(map(str, fits)) or f"another number of processes, as {known}"
        yield fault(f"parallel.{largest}", sides[largest], why, allowed=allowed, typed=typed)

    def cut_problems(self, model: Any, processes: int) -> Iterator[str]:
        """What of a model does not divide among the processes that compute a layer together.

        Args:
            model: Its settings; a user's own are judged when its plan is known.
            processes: Of the run.
        """
        tensor = self.mesh(processes).tensor
        if tensor == 1 or not hasattr(type(model), "_target_"):
            return
        cut = model.cut_by_tensor() if hasattr(model, "cut_by_tensor") else {}
        if not cut:
            name = type(model)._target_.rpartition(".")[2]
            why = f"cannot be of {name}, which has no plan for it"
            yield fault("parallel.tensor", tensor, why, allowed="1", typed="1")
        for setting, size in cut.items():
            if size % tensor:
                fits = ", ".join(map(str, _divisors(math.gcd(*cut.values()))))
                why = f"does not divide {setting}={size}"
                yield fault(
                    "parallel.tensor", tensor, why, allowed=fits, typed=fits.split(", ")[-1]
                )

    def _sides(self) -> dict[str, int]:
        return {"replicate": self.replicate, "shard": self.shard, "tensor": self.tensor}

    def _known(self) -> int:
        return math.prod(max(1, size) for size in self._sides().values())

    def _typed(self) -> str:
        return " ".join(f"parallel.{name}={size}" for name, size in self._sides().items())


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]
