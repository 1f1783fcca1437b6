"""Embedding tables whose looked-up rows are summed: one table a feature, or any pieces of them.

All tables of a module lie below each other in one tensor. A batch is then one kernel forward and
one backward, for any number of features. `ttt.distributed` decides which process holds which piece.
Here a row's first value depends on the seed, its table and its place in it alone. So a piece that
is made by itself holds what the whole would.

Shape suffixes: B batch, H ids of a sample, F tables (or pieces of tables), D width of a row.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt.distributed.sharding_plan import Piece

_PHILOX_FLOATS = 8  # 32-bit numbers in one count of numpy's Philox, which can skip whole counts
_CHUNK_ROWS = 65_536  # made at once: bounds the host memory of filling a table


class EmbeddingBags(nn.Module):
    """Sums of embedding rows, one sum a sample and table.

    Ids of table t are in [0, rows[t]), each table's side by side in `hots[t]` columns; the
    loader checks that. An id outside its table would read another one.

    Args:
        rows: Rows of every table.
        hots: Ids a sample has in every table.
        dim: Width of a row, D.
        seed: Names the first values: uniform in +-1/sqrt(rows), as torchrec 1.8.0, on which the
            MLPerf reference builds, fills its tables (`get_weight_init_max`). Drawn from torch's
            generator if not given.
        pieces: What this module holds, in the order of its input and output; all tables if not
            given. Ids that fall outside a piece add nothing.
        sparse: Gradients hold only the rows of the batch. A dense one is as large as all tables.
        device: Where the tables are; on "meta" they take no memory and have no values.

    Attributes:
        weight: All pieces below each other, [sum of their rows, D].
    """

    shift: Tensor
    first: Tensor
    limit: Tensor
    starts: Tensor

    def __init__(
        self,
        rows: Sequence[int],
        hots: Sequence[int],
        dim: int,
        *,
        seed: int | None = None,
        pieces: Sequence[Piece] | None = None,
        sparse: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.rows, self.hots, self.dim, self.sparse = list(rows), list(hots), dim, sparse
        self.seed = int(torch.randint(2**63 - 1, (), device="cpu")) if seed is None else seed
        whole = [Piece(table, 0, count) for table, count in enumerate(rows)]
        self.pieces = whole if pieces is None else list(pieces)
        self._complete = all(piece == whole[piece.table] for piece in self.pieces)
        counts = [piece.rows for piece in self.pieces]
        self.weight = nn.Parameter(torch.empty(sum(counts), dim, device=device))
        places = np.cumsum([0, *counts])[:-1]
        widths = [self.hots[piece.table] for piece in self.pieces]
        first = np.array([piece.first for piece in self.pieces], np.int64)
        columns = {
            "shift": np.repeat(places - first, widths),  # from an id to its row of `weight`
            "first": np.repeat(first, widths),
            "limit": np.repeat(first + counts, widths),
            "starts": np.cumsum([0, *widths])[:-1],  # first column of each piece
        }
        for name, values in columns.items():
            numbers = torch.tensor(values, dtype=torch.int64, device=device)
            self.register_buffer(name, numbers, persistent=False)
        if not self.weight.is_meta:
            self._fill()

    def part(self, pieces: Sequence[Piece], *, sparse: bool, device: torch.device) -> EmbeddingBags:
        """These pieces of the tables alone, with the values they have in the whole."""
        return EmbeddingBags(
            self.rows,
            self.hots,
            self.dim,
            seed=self.seed,
            pieces=pieces,
            sparse=sparse,
            device=device,
        )

    def forward(self, ids: Tensor) -> Tensor:
        """Sum the rows of every sample, piece by piece.

        Args:
            ids: int64 [B, H], the columns of this module's pieces side by side.

        Returns:
            Sums [B, F, D], zeros where no id of a sample is in a piece.
        """
        B, H = ids.shape
        starts = torch.arange(B, device=ids.device)[:, None] * H + self.starts
        places, offsets = (ids + self.shift).flatten(), starts.flatten()
        if not self._complete:
            # How many ids are here is known to the device only: on a GPU the host waits for it.
            here = ((ids >= self.first) & (ids < self.limit)).flatten()
            places = places[here]
            offsets = (here.cumsum(0) - here.long())[offsets]
        sums = F.embedding_bag(places, self.weight, offsets, mode="sum", sparse=self.sparse)
        return sums.view(B, len(self.pieces), self.dim)

    def extra_repr(self) -> str:
        """What `print(model)` says of it."""
        return f"{len(self.pieces)} pieces, {len(self.weight):,} rows x {self.dim}"

    @torch.no_grad()
    def _fill(self) -> None:
        place = 0
        for piece in self.pieces:
            for done in range(0, piece.rows, _CHUNK_ROWS):
                count = min(_CHUNK_ROWS, piece.rows - done)
                values = self._first_values(piece.table, piece.first + done, count)
                self.weight[place : place + count] = values
                place += count

    def _first_values(self, table: int, first: int, count: int) -> Tensor:
        """Rows of one table as they are before training, [count, D], on the host.

        Philox counts: its key names the table's stream and its counter leads to any place in it.
        """
        counts = -(-self.dim // _PHILOX_FLOATS)  # of the counter, for one row
        bits = np.random.Philox(key=np.array([self.seed, table], dtype=np.uint64))
        bits.advance(first * counts)
        numbers = np.random.Generator(bits).random(
            (count, counts * _PHILOX_FLOATS), dtype=np.float32
        )
        bound = self.rows[table] ** -0.5
        return torch.from_numpy(numbers[:, : self.dim]).mul_(2 * bound).sub_(bound)
