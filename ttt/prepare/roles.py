"""Decides what each column of a table is for: from the options, or from its values."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ttt.errors import ConfigError
from ttt.prepare.columns import Column, number


class Roles(NamedTuple):
    """What each column is for.

    Attributes:
        label: The one to predict.
        time: The one to split by; None: by chance.
        numeric: Features that are numbers.
        categorical: Features that are names of something.
        useless: Columns that are left out without having been asked, with the reason.
        remarks: What was made of columns whose values are mostly numbers, but not all.
    """

    label: Column
    time: Column | None
    numeric: list[Column]
    categorical: list[Column]
    useless: dict[str, str]
    remarks: list[str]


def roles_of(columns: Mapping[str, Column], typed: Mapping[str, Sequence[str]]) -> Roles:
    """Sort the columns by what they are for.

    Args:
        columns: All there are, by name.
        typed: Names of columns by the option that names them, without its dashes.

    Raises:
        ConfigError: There are no such columns, or they are of another kind; all of it at once.
    """
    if wrong := _names(columns, typed):
        raise ConfigError(wrong)
    remarks = [
        f"{name}: {columns[name].oddness()}; taken as missing"
        for name in typed["numeric"]
        if columns[name].odd
    ]
    columns = {
        name: column.without_odd() if name in typed["numeric"] and column.odd else column
        for name, column in columns.items()
    }
    label = columns[typed["label"][0]]
    time = columns[typed["time"][0]] if typed["time"] else None
    chosen = {*typed["numeric"], *typed["categorical"]}
    apart = {label.name, *typed["time"], *typed["leave-out"]}
    free = [column for column in columns.values() if column.name not in apart]
    reasons = {column.name: column.useless() for column in free if column.name not in chosen}
    useless = {name: reason for name, reason in reasons.items() if reason}
    features = [column for column in free if column.name not in useless]
    categorical = [
        column
        for column in features
        if column.name in typed["categorical"] or column.numbers is None
    ]
    wrong = _kinds(columns, typed, time)
    if not features:
        wrong.append("no column is left that could tell anything; name some by --categorical")
    if wrong:
        raise ConfigError(wrong)
    numeric = [column for column in features if column not in categorical]
    remarks += [
        f"{column.name}: taken as categories: {column.oddness()}; to take what is none as missing,"
        f" type --numeric {shlex.quote(column.name)}"
        for column in categorical
        if column.odd and column.name not in chosen
    ]
    return Roles(label, time, numeric, categorical, useless, remarks)


def _names(columns: Mapping[str, Column], typed: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with the names."""
    there = ", ".join(columns)
    wrong = [] if typed["label"] else [f"--label is not given; allowed: one of {there}"]
    every = [(option, name) for option, names in typed.items() for name in names]
    for option, name in every:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"; --{option} {near[0]}" if near else ""
            wrong.append(f"--{option} {name}: there is no such column, but {there}{hint}")
    for name in dict.fromkeys(name for _, name in every):
        options = [f"--{option}" for option, other in every if other == name]
        if len(options) > 1:
            wrong.append(f"{name} is named by {' and by '.join(options)}; name it once")
    return wrong


def _kinds(
    columns: Mapping[str, Column], typed: Mapping[str, Sequence[str]], time: Column | None
) -> list[str]:
    """What is wrong with the values of columns that were named."""
    wrong = []
    for name in typed["numeric"]:
        if columns[name].numbers is None:
            odd = [value for value in columns[name].values if number(value) is None]
            what = f"{odd[0]!r} is no number" if odd else "no value is known"
            wrong.append(f"--numeric {name}: {what}; --categorical {name}, or --leave-out {name}")
    if time is not None and time.times is None and time.numbers is None:
        wrong.append(
            f"--time {time.name}: not all values are numbers, or times as 2013-01-31T23:59:00;"
            " without --time rows are drawn by chance"
        )
    return wrong
