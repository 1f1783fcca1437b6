"""Which embedding table goes where: a pure function of sizes, world and memory, and its table.

Small tables are replicated, as the rest of a model is. Big ones are cut into as many blocks of rows
as there are processes. The others live whole on one process each, so that bytes and look-ups are
even. Nothing here knows torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ttt.errors import ConfigError

# Of weights. A replicated table costs an exchange of all its gradients and an update of all its
# rows. A sharded one costs a row of each sample, there and back: as much for 2,048 samples of width
# 128.
_REPLICATED_BYTES = 2**20
_WEIGHT_BYTES = 4


class Piece(NamedTuple):
    """Consecutive rows of a table: `rows` of them from `first` on."""

    table: int
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where every table is.

    Attributes:
        rows: Rows of every table.
        row_bytes: Of one row: weights, optimizer state, and all else that is kept of it.
        size: Processes.
        replicated: Tables that every process has.
        cut: Tables of which process i has the i-th block of rows.
        owners: Of every other table, the one process that has it.
    """

    rows: tuple[int, ...]
    row_bytes: int
    size: int
    replicated: tuple[int, ...]
    cut: tuple[int, ...]
    owners: dict[int, int]

    @property
    def sharded(self) -> bool:
        """Whether any table is not replicated."""
        return bool(self.cut or self.owners)

    def tables(self, rank: int) -> list[int]:
        """The sharded tables of which this process has rows: the cut ones first, its own after."""
        return [*self.cut, *(table for table, owner in self.owners.items() if owner == rank)]

    def pieces(self, rank: int) -> list[Piece]:
        """What this process has of `tables(rank)`; a block may be empty."""
        return [
            self._block(table, rank) if table in self.cut else Piece(table, 0, self.rows[table])
            for table in self.tables(rank)
        ]

    def bytes(self, rank: int) -> int:
        """What this process keeps, replicated tables included."""
        here = sum(piece.rows for piece in self.pieces(rank))
        return self.row_bytes * (here + sum(self.rows[table] for table in self.replicated))

    def _block(self, table: int, rank: int) -> Piece:
        height = -(-self.rows[table] // self.size)
        first = min(rank * height, self.rows[table])
        return Piece(table, first, min(height, self.rows[table] - first))

    def __str__(self) -> str:
        """A line for each table and each process."""
        lines = [f"{'table':>7} {'rows':>13} {'MB':>11}  where"]
        for table, count in enumerate(self.rows):
            megabytes = count * self.row_bytes / 1e6
            lines.append(f"{table:>7} {count:>13,} {megabytes:>11,.1f}  {self._where(table)}")
        for rank in range(self.size):
            lines.append(f"process {rank:>2} keeps {self.bytes(rank) / 1e6:,.1f} MB")
        return "\n".join(lines)

    def _where(self, table: int) -> str:
        if table in self.owners:
            return f"process {self.owners[table]}"
        return f"rows over {self.size} processes" if table in self.cut else "every process"


def plan(
    mode: str,
    rows: Sequence[int],
    hots: Sequence[int],
    *,
    dim: int,
    row_bytes: int,
    size: int,
    memory: int | None,
) -> Plan:
    """Decide where every table goes.

    Args:
        mode: "table" puts each on one process, "row" cuts each, and "auto" does what suits the size
            of each: replicates up to 1 MiB of weights; cuts what is more than half a process's even
            share of the rest, which would not balance, and further tables, the largest first, until
            every process is within its memory.
        rows: Rows of every table.
        hots: Ids a sample has in every table.
        dim: Width of a row.
        row_bytes: What is kept of a row, optimizer state included, in bytes.
        size: Processes.
        memory: Bytes that each process may keep; None for any number.

    Raises:
        ConfigError: There is no room for them.
    """
    everything = range(len(rows))
    small = _REPLICATED_BYTES // (dim * _WEIGHT_BYTES) if mode == "auto" else -1
    replicated = [t for t in everything if rows[t] <= small]
    rest = sorted((t for t in everything if rows[t] > small), key=lambda t: -rows[t])
    share = sum(rows[t] for t in rest) / size
    big = sum(size > 1 and rows[t] > share / 2 for t in rest)
    cuts = {"table": 0, "row": len(rest), "auto": big}[mode]

    def made(cuts: int) -> Plan:
        owners = _owners(rest[cuts:], rows, hots, size)
        cut = tuple(sorted(rest[:cuts]))
        return Plan(tuple(rows), row_bytes, size, tuple(replicated), cut, owners)

    def most(chosen: Plan) -> int:
        return max(chosen.bytes(rank) for rank in range(size))

    chosen = made(cuts)
    while memory is not None and most(chosen) > memory:
        if mode != "auto" or cuts == len(rest) or size == 1:
            raise ConfigError([_no_room(mode, chosen, most(chosen), memory)])
        cuts += 1
        chosen = made(cuts)
    return chosen


def _owners(
    tables: Sequence[int], rows: Sequence[int], hots: Sequence[int], size: int
) -> dict[int, int]:
    """A process for each table, the heaviest first to the one that has least.

    A table's weight is its share of all bytes plus its share of all look-ups.
    """
    height, width = sum(rows[t] for t in tables), sum(hots[t] for t in tables)
    weight = {t: rows[t] / height + hots[t] / width for t in tables}
    loads, owners = [0.0] * size, {}
    for table in sorted(tables, key=lambda t: -weight[t]):
        owner = loads.index(min(loads))
        owners[table] = owner
        loads[owner] += weight[table]
    return dict(sorted(owners.items()))


def _no_room(mode: str, chosen: Plan, needed: int, memory: int) -> str:
    total = sum(chosen.rows) * chosen.row_bytes
    enough = -(-total // memory)
    remedy = f"at least {enough} processes" if mode == "auto" else "model.sharding=auto"
    return (
        f"embedding tables need {needed / 1e9:.3g} GB on a process with model.sharding={mode},"
        f" {total / 1e9:.3g} GB in all, and {memory / 1e9:.3g} GB are there; allowed: what fits;"
        f" {remedy}, or model.memory_gb={needed / 1e9:.3g} if a device has as much"
    )
