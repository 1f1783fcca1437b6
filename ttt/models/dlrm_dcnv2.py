"""DLRM-DCNv2: the recommendation model of MLPerf Training since v3.0.

Numbers go through a small network, ids through embedding tables. A cross network multiplies all of
it with itself, and another network makes one logit of the result (Naumov et al. 2019,
arXiv:1906.00091; cross network: Wang et al. 2020, DCN V2, arXiv:2008.13535). Shapes and first
values are those of torchrec's `DLRM_DCN`, which the MLPerf reference trains (mlcommons/training,
recommendation_v2/torchrec_dlrm). It is a plain `nn.Module` that knows nothing of processes.

Shape suffixes: B batch, H ids of a sample, N width of the cross network.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from ttt.distributed.tables import spread_tables
from ttt.models.embedding_bags import EmbeddingBags
from ttt.protocols import Plan, Style


class LowRankCross(nn.Module):
    """Cross layers, each with a low-rank matrix: x_{l+1} = x_0 * (W_l (V_l x_l) + b_l) + x_l.

    DCN V2, equation 2 with the decomposition of section 3.5 (arXiv:2008.13535). Matrices begin
    normal by Glorot and Bengio's rule, biases at 0, as in torchrec's `LowRankCrossNet`.

    Args:
        width: N, of input and output.
        layers: Number of layers.
        rank: Rows of V_l, columns of W_l.
    """

    def __init__(self, width: int, layers: int, rank: int) -> None:
        super().__init__()
        down = [nn.Linear(width, rank, bias=False) for _ in range(layers)]
        up = [nn.Linear(rank, width) for _ in range(layers)]
        for linear in (*up, *down):
            nn.init.xavier_normal_(linear.weight)
        for linear in up:
            nn.init.zeros_(linear.bias)
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    def forward(self, x_BN: Tensor) -> Tensor:
        """Map [B, N] to [B, N]."""
        x0_BN = x_BN
        for down, up in zip(self.down, self.up, strict=True):
            x_BN = torch.addcmul(x_BN, x0_BN, up(down(x_BN)))
        return x_BN


def _mlp(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers from size to size with a ReLU after each."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers


class DlrmDcnV2(nn.Module):
    """Click probability from numbers and ids.

    Args:
        dense: Numbers of a sample.
        rows: Rows of each feature's embedding table.
        hots: Ids a sample has of each feature.
        dim: Width of an embedding row.
        bottom: Widths of the network that the numbers go through.
        cross_layers: Layers of the cross network.
        cross_rank: Rank of their matrices.
        top: Widths of the network after it; the last, 1, is the logit's.
        sharding: Where the tables go; see `ttt.distributed.sharding_plan`. With "off" they are made
            here; else they stay on the meta device until they are spread, as `plan` asks.
        memory_gb: What each process may keep of tables and optimizer state, in 10^9 bytes.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the configuration
        self,
        dense: int,
        rows: Sequence[int],
        hots: Sequence[int],
        *,
        dim: int,
        bottom: Sequence[int],
        cross_layers: int,
        cross_rank: int,
        top: Sequence[int],
        sharding: str = "off",
        memory_gb: float | None = None,
    ) -> None:
        super().__init__()
        self._sharding, self._memory_gb = sharding, memory_gb
        device = None if sharding == "off" else "meta"
        self.tables: nn.Module = EmbeddingBags(rows, hots, dim, device=device)
        self.bottom = nn.Sequential(*_mlp([dense, *bottom]))
        width = bottom[-1] + len(rows) * dim
        self.cross = LowRankCross(width, cross_layers, cross_rank)
        self.top = nn.Sequential(*_mlp([width, *top])[:-1])

    def plan(self) -> Plan:
        """Tables may be spread; the networks are cut by inner widths, two layers at a time."""
        styles: dict[str, Style] = {}
        for name, network in (("bottom", self.bottom), ("top", self.top)):
            linear = [place for place, each in enumerate(network) if isinstance(each, nn.Linear)]
            for first, second in zip(linear[::2], linear[1::2], strict=False):
                styles |= {f"{name}.{first}": "column", f"{name}.{second}": "row"}
        for number in range(len(self.cross.up)):
            styles |= {f"cross.down.{number}": "column", f"cross.up.{number}": "row"}
        if self._sharding == "off":
            return Plan(tensor=styles)
        spread = partial(spread_tables, mode=self._sharding, memory_gb=self._memory_gb)
        return Plan(tensor=styles, swap={"tables": spread})

    def forward(self, dense: Tensor, ids: Tensor) -> Tensor:
        """The logits of a batch, which may be empty.

        Args:
            dense: Numbers, float32 [B, dense].
            ids: Ids, int64 [B, H], the features' side by side.

        Returns:
            Logits [B].
        """
        rows_BFD = self.tables(ids)
        x_BN = torch.cat([self.bottom(dense), rows_BFD.flatten(1)], dim=1)
        logits_B1: Tensor = self.top(self.cross(x_BN))
        return logits_B1.squeeze(1)
