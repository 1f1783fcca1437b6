"""Models that recommend: settings and their rules.

Defaults are those of MLPerf's `dlrm_dcnv2`; the model's class says what a setting means.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ttt.errors import fault
from ttt.flops import formulas
from ttt.flops.formulas import Lengths
from ttt.schema.choices import Precision
from ttt.schema.rules import not_positive


class Sharding(StrEnum):
    """Where embedding tables go; see `ttt.distributed.sharding_plan`."""

    off = "off"  # every process has all of them
    auto = "auto"  # small ones everywhere, big ones cut by rows, the others on a process each
    table = "table"  # each on a process of its own
    row = "row"  # each cut by rows


@dataclass
class DlrmDcnV2Config:
    """Embedding tables, a cross network, two others; see `ttt.models.dlrm_dcnv2`."""

    _target_: str = "ttt.models.dlrm_dcnv2.DlrmDcnV2"
    dense: int | None = "${data.dense}"  # type: ignore[assignment]
    rows: list[int] | None = "${data.rows}"  # type: ignore[assignment]
    hots: list[int] | None = "${data.hots}"  # type: ignore[assignment]
    dim: int = 128
    bottom: list[int] = field(default_factory=lambda: [512, 256, 128])
    cross_layers: int = 3
    cross_rank: int = 512
    top: list[int] = field(default_factory=lambda: [1024, 1024, 512, 256, 1])
    sharding: Sharding = Sharding.auto
    memory_gb: float | None = None  # of tables, a process; null: most of a GPU, any of a CPU

    def problems(self) -> Iterator[str]:
        """What is wrong with the network."""
        for name, widths in (("bottom", self.bottom), ("top", self.top)):
            if not widths or any(width <= 0 for width in widths):
                allowed = "numbers above 0, one a layer"
                yield fault(f"model.{name}", widths, allowed=allowed, typed="[64,1]")
        if self.top and self.top[-1] != 1:
            hidden = ",".join(str(width) for width in self.top)
            why = "must end with 1, the width of a logit"
            yield fault("model.top", self.top, why, typed=f"[{hidden},1]")
        yield from not_positive("model", self, "dim cross_layers cross_rank memory_gb")

    def cut_by_tensor(self) -> dict[str, int]:
        """Settings that the processes of a tensor axis have to divide."""
        widths = {"bottom": self.bottom, "top": self.top}
        inner = {
            f"model.{name}[{place}]": sizes[place]
            for name, sizes in widths.items()
            for place in range(0, len(sizes) - 1, 2)
        }
        return inner | {"model.cross_rank": self.cross_rank}

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one sample; see `ttt.flops`."""
        return formulas.dlrm_dcnv2(
            dense=self.dense or data.dense,
            tables=len(self.rows or data.rows),
            dim=self.dim,
            bottom=self.bottom,
            cross_layers=self.cross_layers,
            cross_rank=self.cross_rank,
            top=self.top,
        )

    def problems_with(self, precision: Precision, clip_norm: float | None) -> Iterator[str]:
        """What needs every gradient of the model on each process, which sharded tables deny."""
        if self.sharding is Sharding.off:
            return
        if precision is Precision.fp16:
            yield fault(
                "precision",
                precision,
                "with sharded tables would skip an update that overflowed on some processes and"
                " not on others",
                allowed="fp32, tf32, bf16",
                typed="precision=bf16, or model.sharding=off",
            )
        if clip_norm is not None:
            yield fault(
                "clip_norm",
                float(clip_norm),
                "needs the norm of all gradients, and no process has those of sharded tables",
                allowed="null",
                typed="clip_norm=null, or model.sharding=off",
            )
