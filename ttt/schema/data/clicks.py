"""Click logs: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ttt.errors import fault
from ttt.schema.parallel import Mesh
from ttt.schema.rules import not_positive


@dataclass
class ClickDataConfig:
    """A click log as `ttt data` writes it.

    Attributes:
        prepare: Module with prepare(out), for sets that ttt can make itself.
        root: Folder with train.bin, eval.bin and manifest.json.
        train_samples: Training samples there must be; null: as many as there are, counted where
            the run is typed.
        eval_samples: Evaluation samples there must be; null as above.
        dense: Dense features of a sample; null as above.
        rows: Ids each categorical feature may have: 0 to below this; null as above.
        hots: Ids a sample has of each categorical feature; null as above.
        global_batch: Samples of an update, over all processes.
        eval_batch: Samples of a forward pass in an evaluation, by process.
        shuffle: Go through the training set in an order drawn for each epoch; false: as it lies.
            Drawing takes 28 bytes a training sample in each process.
        prefetch: Batches gathered ahead.
    """

    looks: ClassVar[str] = "ttt.data.records_looks"  # finds out what is wrong with the set
    counted: ClassVar[tuple[str, ...]] = (  # null: as the set's manifest has it
        *("train_samples", "eval_samples", "dense", "rows", "hots"),
    )
    _target_: str = "ttt.data.clicks.Clicks"
    prepare: str | None = None
    root: str = ""
    train_samples: int | None = None
    eval_samples: int | None = None
    dense: int | None = None
    rows: list[int] | None = None
    hots: list[int] | None = None
    global_batch: int = 512
    eval_batch: int = 4096
    shuffle: bool = True
    prefetch: int = 2

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = "train_samples eval_samples dense global_batch eval_batch prefetch"
        yield from not_positive("data", self, names)
        rows, hots = self.rows, self.hots
        if rows is not None and hots is not None and (len(rows) != len(hots) or not rows):
            yield (
                f"data.rows has {len(rows)} values and data.hots {len(hots)}; both must have one"
                " for each categorical feature, as manifest.json in data.root says; data.rows=null"
                " data.hots=null takes them from there"
            )
        for name, values in (("rows", rows or []), ("hots", hots or [])):
            if any(value <= 0 for value in values):
                typed = f"data.{name}=null takes them from the set"
                yield fault(f"data.{name}", values, allowed="numbers above 0", typed=typed)
        yield from mesh.indivisible(self.global_batch, self.train_samples or 0, accumulate)
