"""Criteo's 1 TB click logs, as MLPerf's DLRM-DCNv2 reads them: 24 days to multi-hot records.

Follows the MLPerf reference (mlcommons/training, recommendation_v2/torchrec_dlrm, steps 2 and 3 of
its README, built on torchrec.datasets.criteo). Numbers become log(x - least of the day + 2). Words
get numbers in the order in which all days first show them, modulo the rows of their table. Each id
brings along the further ids that are drawn for it once. The days before the last are shuffled once.
The first half of the last day is for evaluation, in its own order. Its second half is not used.

It differs in two things. Shuffling draws another order: the reference permutes 660 GB in memory.
Here each sample goes to a bucket drawn by chance, and each bucket is then shuffled by itself. That
makes every order equally likely, too. And ids stay integers. The reference shuffles them as fp32,
which makes one id of several neighbours above 2^24 in the training days, but not in the last.

Memory is bounded for any number of lines: under 2 GB, and 5 GB while the words of the largest
features are numbered. Disk: 3.9 TB of records and, until they are done, 0.7 to 1.2 TB of what is
between. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import re
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttt.data.manifest import MANIFEST
from ttt.errors import DataError
from ttt.prepare import room
from ttt.prepare.criteo_days import Days, Plan
from ttt.prepare.folder import Progress, manifest_of, silent
from ttt.prepare.logs import write_manifest
from ttt.prepare.stages import STAGES, Stages, resumable_folder

NEEDS = "day_0 to day_23 of Criteo's 1 TB click logs, plain or .gz"
BENCHMARK = "dlrm_dcnv2"
DENSE = 13
# Rows of the tables and ids a sample has of each feature; step 3 of the reference's README.
MAX_ROWS = 40_000_000
ROWS = (
    *(MAX_ROWS, 39_060, 17_295, 7424, 20_265, 3, 7122, 1543, 63, MAX_ROWS, 3_067_956, 405_282, 10),
    *(2209, 11_938, 155, 4, 976, 14, MAX_ROWS, MAX_ROWS, MAX_ROWS, 590_152, 12_973, 108, 36),
)
HOTS = (3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1)


def options(parser: ArgumentParser) -> None:
    """What can be chosen beyond where from and where to."""
    parser.add_argument(
        "--max-rows",
        type=int,
        default=MAX_ROWS,
        help=f"rows of the largest tables; {MAX_ROWS} is MLPerf's, fewer make a model to try out",
    )


def prepare(
    out: Path,
    sources: Sequence[Path] = (),
    progress: Progress = silent,
    *,
    max_rows: int = MAX_ROWS,
) -> None:
    """Write `out`/train.bin, eval.bin and manifest.json; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: day_0, day_1, ..., in any order; the last is for evaluation.
        progress: Called with (kB done, kB in all).
        max_rows: No table has more rows.

    Raises:
        DataError: A day is missing or broken, there is no room, or something else lies at `out`.
    """
    days = in_order(sources)
    rows = [min(count, max_rows) for count in ROWS]
    source = {"days": [[day.name, day.stat().st_size] for day in days], "max_rows": max_rows}
    if is_prepared(out, source):
        return
    plan = Plan.of(days, rows, HOTS)
    with resumable_folder(out) as folder:
        room.need(out, plan.disk() - room.used(folder))
        work = folder / "work"
        work.mkdir(exist_ok=True)
        stages = Stages(folder / STAGES, source, plan.sizes(), progress)
        counts = Days(plan, work, folder, stages).prepare()
        write_manifest(folder, source, counts=counts, dense=DENSE, rows=rows, hots=HOTS)
        shutil.rmtree(work)
        stages.forget()


def in_order(sources: Sequence[Path]) -> list[Path]:
    """The days by their numbers.

    Raises:
        DataError: They are not day_0 to day_N, N at least 1.
    """
    found: dict[int, Path] = {}
    for path in sources:
        match = re.fullmatch(r"day_(\d+)(\.gz)?", path.name)
        if not match or not path.is_file():
            raise DataError(f"{path} is no file of a day; allowed: {NEEDS}; --src FILES")
        found[int(match[1])] = path
    if len(found) < 2 or sorted(found) != list(range(len(sources))):
        numbers = ", ".join(map(str, sorted(found))) or "none"
        raise DataError(
            f"--src has the days {numbers}; allowed: 0, 1, ... to the last, each once, at least two"
        )
    return [found[number] for number in sorted(found)]


def is_prepared(out: Path, source: Any) -> bool:
    """Whether `out` holds this set already.

    Raises:
        DataError: Something else is in the way.
    """
    manifest = out / MANIFEST
    if manifest_of(manifest).get("source") == source:
        return True
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(
            f"{out} exists and is not what these days make (no {MANIFEST} that says so): remove"
            " it, or type --out DIR"
        )
    return False
