"""Click logs: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ttt.errors import fault
from ttt.schema.parallel import Mesh
from ttt.schema.rules import not_positive


@dataclass
class ClickDataConfig:
    """A click log as `ttt data` writes it; see `ttt.data.clicks`."""

    looks: ClassVar[str] = "ttt.data.records_looks"  # finds out what is wrong with the set
    counted: ClassVar[tuple[str, ...]] = (  # what the manifest tells where it is null
        *("train_samples", "eval_samples", "dense", "rows", "hots"),
    )
    _target_: str = "ttt.data.clicks.Clicks"
    prepare: str | None = None  # module with prepare(out), for sets ttt can make itself
    root: str = ""
    train_samples: int | None = None  # null: as many as there are, counted where it is typed
    eval_samples: int | None = None
    dense: int | None = None  # dense features of a sample
    rows: list[int] | None = None  # ids of each categorical feature: 0 to below
    hots: list[int] | None = None  # ids a sample has of each of them
    global_batch: int = 512  # samples per update, over all processes
    eval_batch: int = 4096  # samples per forward pass and process
    shuffle: bool = True  # the whole training set anew each epoch; false: in its own order
    prefetch: int = 2  # batches gathered ahead

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = "train_samples eval_samples dense global_batch eval_batch prefetch"
        yield from not_positive("data", {name: getattr(self, name) for name in names.split()})
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
