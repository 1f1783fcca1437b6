"""Flights that left New York in 2013 and whether they arrived late: 327,346 real records.

From the data of the R package nycflights13 (H. Wickham; US BTS, FAA and NOAA). A sample is a flight
with a known arrival. Its label is whether that was more than 15 minutes late. Its features are what
is known when the flight is planned, and the weather at its scheduled hour. The times it really left
and flew are never read.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.data.records import pack
from ttt.errors import DataError
from ttt.prepare.csv_tables import Floats, rows, standardized
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder
from ttt.prepare.logs import numbered, write_manifest, write_parts

NEEDS = "the folder of nycflights13's CSV files: flights, planes and weather, plain or zipped"
TOTAL = 327_346
COUNTS = {"train": 261_877, "eval": 65_469}
LATE_MINUTES = 15
_MOST = 1_000_000  # rows of a table; the largest has 336,776
_LONGEST = 100  # characters of a field; each takes as much memory as the longest of its column
SPLITS = ("time", "random")
SEED = 0
CATEGORIES = ("carrier", "flight", "tailnum", "origin", "dest", "route", "weekday", "hour", "model")
# Not the temperature: over the year it tells the season, which the held-out months do not share.
WEATHER = ("humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
PLANES = ("year", "seats")
DENSE = ("distance", "minute of day", "minutes planned", *WEATHER, *PLANES)

# All that is ever looked at; nothing that is known only when a flight has left.
COLUMNS = {
    "flights": (
        *("carrier", "flight", "tailnum", "origin", "dest", "sched_dep_time", "sched_arr_time"),
        *("distance", "hour", "minute", "time_hour", "arr_delay"),
    ),
    "planes": ("tailnum", "model", *PLANES),
    "weather": ("origin", "time_hour", *WEATHER),
}

Row = dict[str, str]
Column = npt.NDArray[np.str_]


def options(parser: ArgumentParser) -> None:
    """What can be chosen beyond where from and where to."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default=SPLITS[0],
        help="evaluate on the last fifth of the year (time), or on every fifth flight by chance",
    )


def prepare(
    out: Path,
    sources: Sequence[Path] = (),
    progress: Progress = silent,
    *,
    split: str = SPLITS[0],
) -> None:
    """Write `out`/train.bin, eval.bin and manifest.json; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: The CSV files, or the folder they are in.
        progress: Called with (flights read, flights in all).
        split: "time": evaluate on the latest fifth, as one who predicts has to; "random": on a
            fifth drawn by chance, whose days and planes are all known from training.

    Raises:
        DataError: A table is absent or not nycflights13's, or something else lies at `out`.
    """
    if is_complete(out, COUNTS):
        return
    tables = find(sources)
    with _understood(tables):
        flights = list(read_flights(tables["flights"], progress))
    if len(flights) != TOTAL:
        raise DataError(
            f"{tables['flights']} has {len(flights)} flights with a known arrival; nycflights13"
            f" has {TOTAL}"
        )
    held_out = held_out_flights([flight["time_hour"] for flight in flights], split)
    with _understood(tables):
        ids, counts, dense, late = _features(tables, flights, held_out)
    records = pack(late, dense.astype(np.float32), np.column_stack(ids))
    with whole_folder(out) as folder:
        write_parts(folder, {"train": records[~held_out], "eval": records[held_out]})
        write_manifest(
            folder,
            "nycflights13",
            counts=COUNTS,
            dense=len(DENSE),
            rows=counts,
            hots=[1] * len(counts),
            split=split,
            features={"dense": DENSE, "ids": CATEGORIES},
        )


@contextmanager
def _understood(tables: Mapping[str, Path]) -> Iterator[None]:
    """Within it, an error names the text that stands in place of a number or a time."""
    try:
        yield
    except (ValueError, OverflowError, TypeError) as error:
        there = ", ".join(map(str, tables.values()))
        raise DataError(f"{there}: {error}; allowed: {NEEDS}") from error


def _features(
    tables: Mapping[str, Path], flights: Sequence[Row], held_out: npt.NDArray[np.bool_]
) -> tuple[Sequence[npt.NDArray[np.int32]], Sequence[int], Floats, npt.NDArray[np.bool_]]:
    """Ids of each categorical feature, how many there are, dense features, and who was late."""
    planes = {row["tailnum"]: row for row in read(tables["planes"], COLUMNS["planes"])}
    skies = read(tables["weather"], COLUMNS["weather"])
    weather = {(row["origin"], row["time_hour"]): row for row in skies}
    categories = columns(flights, planes)
    ids, counts = zip(*(numbered(column, ~held_out) for column in categories), strict=True)
    dense = standardized(measures(flights, planes, weather), ~held_out)
    late = np.array([float(flight["arr_delay"]) > LATE_MINUTES for flight in flights])
    return ids, counts, dense, late


def find(sources: Sequence[Path]) -> dict[str, Path]:
    """The file of each table among the sources and what lies in them.

    Raises:
        DataError: There is none.
    """
    paths = [path for one in sources for path in (sorted(one.iterdir()) if one.is_dir() else [one])]
    found = {name: [p for p in paths if p.name.startswith(f"{name}.csv")] for name in COLUMNS}
    for name, candidates in found.items():
        if not candidates or not candidates[0].is_file():
            given = " ".join(map(str, sources)) or "nothing"
            raise DataError(f"--src is {given} and holds no {name}.csv; allowed: {NEEDS}")
    return {name: candidates[0] for name, candidates in found.items()}


def read(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """These columns of a table, row by row; what is missing is "NA".

    Raises:
        DataError: It cannot be read, has no such column, or far more rows than there are flights.
    """
    table = rows(path)
    header = next(table)
    if lacking := [name for name in columns if name not in header]:
        raise DataError(f"{path} has no column {lacking[0]}; allowed: {NEEDS}")
    wanted = itemgetter(*(header.index(name) for name in columns))
    for number, fields in enumerate(table):
        if number == _MOST:
            raise DataError(f"{path} has more than {_MOST:,} rows; allowed: {NEEDS}")
        values = wanted(fields)
        if max(map(len, values)) > _LONGEST:
            raise DataError(
                f"{path} has a field of more than {_LONGEST} characters in row {number + 1};"
                f" allowed: {NEEDS}"
            )
        yield dict(zip(columns, values, strict=True))


def read_flights(path: Path, progress: Progress) -> Iterator[Row]:
    """The flights with a known arrival, in the order in which they were to leave."""
    known = [row for row in read(path, COLUMNS["flights"]) if row["arr_delay"] != "NA"]
    known.sort(key=lambda row: (row["time_hour"], int(row["minute"])))
    for done, row in enumerate(known, start=1):
        if done % 10_000 == 0 or done == len(known):
            progress(done, len(known))
        yield row


def held_out_flights(hours: Sequence[str], split: str) -> npt.NDArray[np.bool_]:
    """Which flights are for evaluation, given the hours they were to leave, in order."""
    held_out = np.zeros(len(hours), np.bool_)
    if split == "time":
        held_out[COUNTS["train"] :] = True
    else:
        held_out[np.random.RandomState(SEED).permutation(len(hours))[: COUNTS["eval"]]] = True
    return held_out


def columns(flights: Sequence[Row], planes: Mapping[str, Row]) -> Iterator[Column]:
    """The categorical features, as text, in the order of `CATEGORIES`."""
    yield from (np.array([row[name] for row in flights]) for name in CATEGORIES[:5])
    yield np.array([f"{row['origin']} {row['dest']}" for row in flights])
    days = np.array([row["time_hour"][:10] for row in flights], dtype="datetime64[D]")
    yield (days.astype(np.int64) % 7).astype(np.str_)
    yield np.array([row["hour"] for row in flights])
    yield np.array([planes.get(row["tailnum"], {}).get("model", "NA") for row in flights])


def measures(
    flights: Sequence[Row],
    planes: Mapping[str, Row],
    weather: Mapping[tuple[str, str], Row],
) -> Floats:
    """The dense features [N, D] in the order of `DENSE`; NaN where one is not known."""
    left = np.array([_minute_of_day(row["sched_dep_time"]) for row in flights])
    arrives = np.array([_minute_of_day(row["sched_arr_time"]) for row in flights])
    distance = np.array([float(row["distance"]) for row in flights])
    skies = [weather.get((row["origin"], row["time_hour"]), {}) for row in flights]
    machines = [planes.get(row["tailnum"], {}) for row in flights]
    return np.column_stack(
        [distance, left, (arrives - left) % 1440]
        + [_numbers(row.get(name, "NA") for row in skies) for name in WEATHER]
        + [_numbers(row.get(name, "NA") for row in machines) for name in PLANES]
    )


def _minute_of_day(clock: str) -> int:
    hours, minutes = divmod(int(clock), 100)
    return 60 * hours + minutes


def _numbers(texts: Iterable[str]) -> Floats:
    return np.array([float("nan") if text == "NA" else float(text) for text in texts])
