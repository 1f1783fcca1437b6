"""Clicks or other records of your own with a label of two kinds: from a CSV file to records.

--label names the column to predict. Of the others, numbers become dense features and texts
categorical ones, unless --numeric and --categorical say so. Left out is what says nothing: columns
that are the same in every row, number the rows or have another text in each; and times. Values that
are missing may be empty, NA, NaN, NULL and the like. Type --leave-out for what is known only
afterwards: a column that gives the label away makes any quality worthless.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.data.records import pack
from ttt.errors import ConfigError, counted, fault
from ttt.prepare import columns as table
from ttt.prepare import split
from ttt.prepare.columns import Column, Rows
from ttt.prepare.folder import Progress, is_prepared, silent, whole_folder
from ttt.prepare.logs import numbered, write_manifest, write_parts
from ttt.prepare.roles import Roles, roles_of

NEEDS = "a table NAME.csv with a header, plain or packed (gz, bz2, xz, zip), or several parts of it"
BENCHMARK = None  # none of ttt's: `ttt new` writes one
# Pairs of values (no, yes) in small letters.
_CLEAR = (("0", "1"), ("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"))
_MANY = 10  # values or columns in a sentence


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What can be chosen.

    Attributes:
        label: The column to predict.
        positive: Its value that says yes; None: the clear one of two.
        above: Or the number above which it says yes.
        categorical: Columns that name something.
        numeric: Columns that are numbers.
        leave_out: Columns that are no features.
        time: Column by which the latest rows are held out; None: they are drawn by chance.
        delimiter: Between fields; None: the one the header has most of.
        eval_share: Share of the rows that are held out.
        seed: Of what is drawn by chance.
    """

    label: str | None = None
    positive: str | None = None
    above: float | None = None
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    leave_out: list[str] = field(default_factory=list)
    time: str | None = None
    delimiter: str | None = None
    eval_share: float = 0.2
    seed: int = 0

    def problems(self) -> list[str]:
        """Faults of the options that do not depend on the table."""
        wrong = split.problems(self.eval_share, self.seed)
        if self.delimiter is not None and len(self.delimiter) != 1:
            given = repr(self.delimiter)
            wrong.append(fault("--delimiter", given, "is not one character", typed="';'"))
        if self.positive is not None and self.above is not None:
            wrong.append("--positive and --above are both given; type one of them")
        return wrong

    def columns(self) -> dict[str, list[str]]:
        """Names of columns by the option that names them."""
        return {
            "label": [self.label] if self.label is not None else [],
            "time": [self.time] if self.time is not None else [],
            "categorical": self.categorical,
            "numeric": self.numeric,
            "leave-out": self.leave_out,
        }


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this set asks for."""
    some: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "COLUMN"}
    parser.add_argument("--label", metavar="COLUMN", help="what is to be predicted")
    parser.add_argument("--positive", metavar="VALUE", help="the label's value that says yes")
    parser.add_argument("--above", type=float, metavar="X", help="or: numbers above X say yes")
    parser.add_argument("--categorical", help="columns that name something, as codes do", **some)
    parser.add_argument("--numeric", help="columns that are numbers", **some)
    parser.add_argument("--leave-out", help="columns that are no features", **some)
    parser.add_argument(
        "--time", metavar="COLUMN", help="evaluate on the latest rows by this; else drawn by chance"
    )
    parser.add_argument("--delimiter", help="between fields (the one the header has most of)")
    split.options(parser)


def prepare(
    out: Path, sources: Sequence[Path] = (), progress: Progress = silent, **options: Any
) -> list[str]:
    """Write `out`/train.bin, eval.bin and manifest.json; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: The file of the table, or files with the same header.
        progress: Called with (rows written, rows in all).
        options: The fields of `Asked`.

    Returns:
        What people should know of the set.

    Raises:
        ConfigError: The options do not fit the table.
        DataError: The table cannot be read, or something else lies at `out`.
    """
    asked = Asked(**options)
    if wrong := asked.problems():
        raise ConfigError(wrong)
    identity = {
        "source": [path.name for path in sources],
        "bytes": [path.stat().st_size if path.is_file() else 0 for path in sources],
        "asked": asdict(asked),
    }
    if is_prepared(out, identity):
        return []
    roles = roles_of(table.read(sources, asked.delimiter), asked.columns())
    labels, meaning = _labels(roles.label, asked.positive, asked.above)
    used = roles.label.known & _times_known(roles.time)
    labels = labels[used]
    held_out = _held_out(roles, used, labels, asked)
    dense, measured = table.numeric(roles.numeric, used, ~held_out)
    numbers = [numbered(table.ranked(column, used), ~held_out) for column in roles.categorical]
    numbers = numbers or [(np.zeros(len(labels), np.int32), 1)]
    ids, counts = zip(*numbers, strict=True)
    features = dense.astype(np.float32)
    records = pack(labels, features, np.column_stack(ids))
    with whole_folder(out) as folder:
        write_parts(folder, {"train": records[~held_out], "eval": records[held_out]})
        write_manifest(
            folder,
            counts={"train": int((~held_out).sum()), "eval": int(held_out.sum())},
            dense=dense.shape[1],
            rows=counts,
            hots=[1] * len(counts),
            label={"column": roles.label.name, "positive": meaning},
            features={
                "dense": measured,
                "ids": [column.name for column in roles.categorical] or ["nothing"],
            },
            left_out={"rows": int((~used).sum()), "columns": roles.useless},
            **identity,
        )
    progress(len(records), len(records))
    lines = _remarks(roles, labels, held_out, ~used, meaning)
    return lines + roles.remarks + _merged(roles, used, measured, features)


def _merged(
    roles: Roles, used: Rows, measured: Sequence[str], features: npt.NDArray[np.float32]
) -> list[str]:
    """A remark on each column in which different numbers become the same by scaling."""
    by_name = {column.name: column for column in roles.numeric}
    scaled = zip(measured, features.T, strict=True)
    lost = [table.merged(by_name[name], used, one) for name, one in scaled if name in by_name]
    return [remark for remark in lost if remark]


def _times_known(time: Column | None) -> Rows | bool:
    return True if time is None else time.known


def _labels(
    label: Column, positive: str | None, above: float | None
) -> tuple[npt.NDArray[np.bool_], str]:
    """Each row's label, [N], and what it says in words.

    Raises:
        ConfigError: It is not clear which value says yes.
    """
    values, allowed = label.values, f"--label {label.name}"
    positive = positive if positive is None else positive.strip()  # as `columns.read` has values
    if above is not None:
        if label.numbers is None:
            why = f"needs numbers, and {label.name} has others"
            raise ConfigError([fault("--above", above, why)])
        over: npt.NDArray[np.bool_] = label.numbers > above
        return over, f"above {above:g}"
    if positive is None:
        positive = _clear(values)
    if positive is None:
        some = ", ".join(values[:_MANY]) + (", ..." if len(values) > _MANY else "")
        numbers = " or --above X" if label.numbers is not None else ""
        raise ConfigError(
            [
                f"{allowed} has {len(values)} different values ({some}), and which of them say yes"
                f" is not clear; type --positive VALUE{numbers}"
            ]
        )
    if positive not in values:
        near = difflib.get_close_matches(positive, values, n=1) or values[:1]
        why = f"is no value of {label.name}"
        raise ConfigError([fault("--positive", positive, why, typed=near[0])])
    says: npt.NDArray[np.bool_] = label.rows == label.places[positive]
    return says, positive


def _clear(values: Sequence[str]) -> str | None:
    """Which of two values says yes, if that is clear."""
    if len(values) != 2:
        return None
    numbers = [table.number(value) for value in values]
    if None not in numbers:
        return max(values, key=float)
    by_name = {value.lower(): value for value in values}
    yes = [pair[1] for pair in _CLEAR if {*pair} == {*by_name}]
    return by_name[yes[0]] if yes else None


def _held_out(roles: Roles, used: Rows, labels: Rows, asked: Asked) -> Rows:
    """Which of the rows that are used are for the evaluation, [N].

    Raises:
        ConfigError: A part would have one kind of label only: nothing could be learnt or judged.
    """
    positive, name = int(labels.sum()), roles.label.name
    if min(positive, len(labels) - positive) < 2:
        raise ConfigError(
            [
                f"of {len(labels)} rows, {name} says yes in {positive}; each kind is needed twice"
                " at least, to train on and to evaluate on; --positive VALUE or --above X"
            ]
        )
    if roles.time is None:
        return split.by_class(labels.astype(np.int64), asked.eval_share, asked.seed)
    moments = roles.time.numbers if roles.time.numbers is not None else roles.time.times
    assert moments is not None
    held_out = split.by_time(moments[used], asked.eval_share)
    wrong = []
    for part, rows in (("to train on", ~held_out), ("to evaluate on", held_out)):
        positive, total = int(labels[rows].sum()), int(rows.sum())
        if not 0 < positive < total:
            wrong.append(
                f"of {total} rows {part}, {name} says yes in {positive}; both kinds are needed in"
                " both parts; another --eval-share, or no --time"
            )
    if wrong:
        raise ConfigError(wrong)
    return held_out


def _remarks(
    roles: Roles, labels: npt.NDArray[np.bool_], held_out: Rows, unused: Rows, meaning: str
) -> list[str]:
    """What was made of the table."""
    share = 100 * float(labels[~held_out].mean())
    by = f"the latest by {roles.time.name}" if roles.time else "drawn by chance"
    lines = [
        f"{int((~held_out).sum())} rows to train on and {int(held_out.sum())} to evaluate on, {by}",
        f"label: {roles.label.name} is {meaning} in {share:.1f} % of the training rows",
        f"numbers: {table.names(roles.numeric)}",
        f"categories: {table.names(roles.categorical)}",
    ]
    lines += [f"left out: {name}, {reason}" for name, reason in roles.useless.items()]
    if unused.any():
        lines.append(f"left out: {counted(int(unused.sum()), 'row')} without a label or time")
    return lines
