"""Embedding tables spread over the world: ids go to the rows, sums of rows come back.

Each process sends every other one the ids of the features that the other has rows of. Every process
sums the rows it has for all samples of the global batch, and the sums go back to where the samples
are. A table cut by rows takes the same way: each process answers with a part of the sum, and the
parts are added where they arrive. The backward pass goes the same way in reverse.

Why not TorchRec (1.8.0, tried on two gloo processes, both table-wise and row-wise): it updates the
tables inside the backward pass, in a kernel fused with it. Nothing can come between, so that with
`accumulate` every part of a batch is an update of its own, and a GradScaler would find an overflow
that has been applied. Its kernel that leaves the update alone makes gradients as large as the
tables. What the fused one keeps of past gradients is in an optimizer of its own beside the run's,
and `DistributedModelParallel` breaks torch's `get_state_dict`, by which ttt saves a run. The price:
a fused kernel moves fewer bytes than `embedding_bag`, its sparse gradient and an update do one
after the other.

On a GPU the host waits in two places: for how many ids fall to a process's rows of a cut table, and
for how many different rows an update has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ttt.distributed.sharding_plan import Piece, Plan, plan
from ttt.protocols import Axis, World

# fp32 weights and Adagrad's sums. The warm-up copies the rows that it changes, not the tables.
_BYTES_PER_WEIGHT = 8
# Of a GPU's free memory; the rest is for activations, gradients, messages and the warm-up's copies.
_TABLES_SHARE = 0.8
_ROWS_AT_ONCE = 65_536  # sent to process 0 where tables are written down


class Tables(Protocol):
    """What a model's own tables have to offer; see `ttt.models.embedding_bags`."""

    rows: list[int]
    hots: list[int]
    dim: int

    def part(self, pieces: Sequence[Piece], *, sparse: bool, device: torch.device) -> Any:
        """A module of these pieces alone: ids [B, H] to sums [B, pieces, D].

        Its `weight` holds their rows below each other, [sum of rows, D].
        """


def spread_tables(
    tables: Any, world: World, *, mode: str, memory_gb: float | None
) -> ShardedTables:
    """Make a model's tables, on every process its own; a model's plan swaps them for this.

    Args:
        tables: The whole, which may be without memory; see `Tables`.
        world: The processes to spread them over.
        mode: Where they go; see `ttt.distributed.sharding_plan.plan`.
        memory_gb: What each process may keep of tables and optimizer state, in 10^9 bytes; None for
            most of a GPU, or as much as a host has.

    Raises:
        ConfigError: The tables do not fit.
    """
    chosen = plan(
        mode,
        tables.rows,
        tables.hots,
        dim=tables.dim,
        row_bytes=tables.dim * _BYTES_PER_WEIGHT,
        size=world.replicas.size,
        memory=_memory(memory_gb, world),
    )
    return ShardedTables(tables, chosen, world)


def spread_in(model: nn.Module) -> dict[str, ShardedTables]:
    """The tables of a model that are spread, by their place in it."""
    return {
        name: module for name, module in model.named_modules() if isinstance(module, ShardedTables)
    }


def _memory(wish: float | None, world: World) -> int | None:
    """Bytes a process may keep, the same on all of them; None where there is no limit."""
    if wish is not None:
        return int(wish * 1e9)
    if world.device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(world.device)
    return int(_TABLES_SHARE * world.minimum_later([free])()[0])


class ShardedTables(nn.Module):
    """Takes the place of a model's tables and gives what they would, with any plan.

    Training batches are of one size on all processes. Others may differ, down to no sample at all,
    but every process has to come along with one, as for any collective.

    Shape suffixes: B samples here, S samples of all processes, F tables, D width of a row.

    Args:
        tables: The whole, of which parts are made; its own rows are never looked at.
        chosen: Which part is where.
        world: The processes; the plan is of one of each data shard, as each has its own samples.
    """

    _sent: Tensor
    _kept: Tensor
    _order: Tensor

    def __init__(self, tables: Tables, chosen: Plan, world: World) -> None:
        super().__init__()
        axis = self._axis = world.replicas
        self._device, self._dim, self._cut = world.device, tables.dim, len(chosen.cut)
        self._plan = chosen
        self.exchanges = chosen.sharded and axis.size > 1
        self.placement = str(chosen) if chosen.sharded else None  # None: each process has all
        held = [chosen.tables(rank) for rank in range(axis.size)]
        columns = [_columns(some, tables.hots) for some in held]
        self._counts = [len(some) for some in held]  # tables that each process has rows of
        self._widths = [len(some) for some in columns]  # and their ids of one sample
        self.replicated: nn.Module | None = None
        if chosen.replicated:
            whole = [Piece(table, 0, tables.rows[table]) for table in chosen.replicated]
            self.replicated = tables.part(whole, sparse=False, device=world.device)
        # Named by rank, because a checkpoint takes what has one name for one thing.
        self._shard = f"shard_{axis.rank}_of_{axis.size}"
        if held[axis.rank]:
            pieces = chosen.pieces(axis.rank)
            self.add_module(self._shard, tables.part(pieces, sparse=True, device=world.device))
        self._index("_sent", [column for some in columns for column in some])
        self._index("_kept", _columns(chosen.replicated, tables.hots))
        own = [table for some in held for table in some[self._cut :]]
        came = [*chosen.cut, *own, *chosen.replicated]  # in the order that forward() has them
        self._index("_order", [came.index(table) for table in range(len(tables.rows))])

    def _index(self, name: str, places: Sequence[int]) -> None:
        numbers = torch.tensor(places, dtype=torch.int64, device=self._device)
        self.register_buffer(name, numbers, persistent=False)

    def local_names(self) -> list[str]:
        """Names of the parameters and buffers that no other process has."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return [name for name, _ in named if name.startswith(self._shard)]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of all tables below each other, and their width: the `weight` of whole tables."""
        return sum(self._plan.rows), self._dim

    @property
    def dtype(self) -> torch.dtype:
        """Of the rows; fp32 on a process that has none."""
        return next((weight.dtype for weight in self.parameters()), torch.float32)

    @torch.no_grad()
    def in_order(self) -> Iterator[Tensor]:
        """All rows of all tables, a part after the other, on the host of process 0.

        Other processes get empty parts. All of them have to go through it together.
        """
        for table in range(len(self._plan.rows)):
            if table in self._plan.replicated:
                if self._axis.rank == 0:
                    whole = [Piece(t, 0, self._plan.rows[t]) for t in self._plan.replicated]
                    rows = _rows_of(self.replicated, whole, table)
                    yield from (part.cpu() for part in rows.split(_ROWS_AT_ONCE))
                continue
            owner = self._plan.owners.get(table)
            for rank in range(self._axis.size) if owner is None else [owner]:
                yield from self._sent_from(rank, table)

    def _sent_from(self, rank: int, table: int) -> Iterator[Tensor]:
        """The rows of a table that one process has, as they reach process 0."""
        pieces = self._plan.pieces(rank)
        count = next(piece.rows for piece in pieces if piece.table == table)
        dtype = self._axis.gather(self.dtype)[0]
        nothing = torch.empty(0, self._dim, dtype=dtype, device=self._device)
        rows = nothing
        if rank == self._axis.rank:
            rows = _rows_of(self._modules[self._shard], pieces, table)
        for first in range(0, count, _ROWS_AT_ONCE):
            given = rows[first : first + _ROWS_AT_ONCE]
            came = self._axis.exchange([given, *[nothing] * (self._axis.size - 1)])
            yield came[rank].cpu()

    def forward(self, ids: Tensor) -> Tensor:
        """Look up and sum.

        Args:
            ids: int64 [B, H], the columns of the tables side by side.

        Returns:
            Sums [B, F, D], of all tables in their own order.
        """
        sums = self._remote(ids) if any(self._counts) else []
        if self.replicated is not None:
            sums.append(self.replicated(ids.index_select(1, self._kept)))
        return torch.cat(sums, dim=1).index_select(1, self._order)

    def _remote(self, ids: Tensor) -> list[Tensor]:
        """Sums of the tables that are cut, then of each process's own."""
        samples, here = self._samples(len(ids)), self._axis.rank
        parts = ids.index_select(1, self._sent).split(self._widths, dim=1)
        received = self._axis.transfer(
            torch.cat([part.flatten() for part in parts]).to(torch.int32),  # half the bytes
            [len(ids) * width for width in self._widths],
            [count * self._widths[here] for count in samples],
        )
        pooled = self._look_up(received.long().view(sum(samples), self._widths[here]))
        answers = _Exchange.apply(  # type: ignore[no-untyped-call]
            pooled.flatten(0, 1),
            self._axis,
            [count * self._counts[here] for count in samples],
            [len(ids) * count for count in self._counts],
        )
        blocks = answers.split([len(ids) * count for count in self._counts])
        shaped = [
            block.view(len(ids), count, self._dim)
            for block, count in zip(blocks, self._counts, strict=True)
        ]
        own = [block[:, self._cut :] for block in shaped]
        if not self._cut:
            return own
        return [torch.stack([block[:, : self._cut] for block in shaped]).sum(dim=0), *own]

    def _samples(self, count: int) -> list[int]:
        """How many samples each process has come with."""
        size, rank = self._axis.size, self._axis.rank
        if self.training:
            return [count] * size
        return self._axis.sum([count if other == rank else 0 for other in range(size)])

    def _look_up(self, ids: Tensor) -> Tensor:
        """Sums [S, F, D] over this process's rows, for the samples of all."""
        if shard := self._modules.get(self._shard):
            sums: Tensor = shard(ids)
            return sums
        # It takes part in the backward pass as well, though nothing of it is its own.
        return torch.zeros(len(ids), 0, self._dim, device=ids.device, requires_grad=True)


def _rows_of(module: Any, pieces: Sequence[Piece], table: int) -> Tensor:
    """What a module of these pieces has of a table, [rows, D]."""
    place = [piece.table for piece in pieces].index(table)
    first = sum(piece.rows for piece in pieces[:place])
    rows: Tensor = module.weight[first : first + pieces[place].rows]
    return rows


def _columns(tables: Sequence[int], hots: Sequence[int]) -> list[int]:
    """Columns of the ids that belong to these tables, table by table."""
    ends = list(itertools.accumulate(hots))
    return [column for t in tables for column in range(ends[t] - hots[t], ends[t])]


class _Exchange(torch.autograd.Function):
    """`Axis.transfer` that gradients go back through.

    Every process starts from the mean loss over its own samples, and training minimises the mean of
    those. DistributedDataParallel averages the gradients of other parameters for that; here the
    division by the number of processes does it.
    """

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, axis: Axis, giving: list[int], taking: list[int]
    ) -> Tensor:
        ctx.axis, ctx.counts = axis, (giving, taking)
        return axis.transfer(given, giving, taking)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        giving, taking = ctx.counts
        back = ctx.axis.transfer(gradients[0], taking, giving)
        return back / ctx.axis.size, None, None, None
