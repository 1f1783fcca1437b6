"""The stages from days of text to shuffled records; each is done once, however often it is begun.

    read        a day's text: labels, numbers and a file of words for each feature
    number      a feature's words of all days: ids
    expand      the further ids that go with each id, drawn once for all days
    scatter     a training day's samples, each to a bucket drawn by chance
    bucket      a bucket's samples of all days, shuffled and expanded: a run of train.bin
    eval        the first half of the last day, expanded: eval.bin

Every stage writes files of its own, or a place of its own in a file, so that beginning it again
does no harm. What it has read is removed only when its end is noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.data.records import file_of, pack, width
from ttt.errors import DataError
from ttt.prepare.criteo_ids import Expansion, Numbering, write_expansions
from ttt.prepare.criteo_lines import CATEGORIES, NUMBERS, read_lines
from ttt.prepare.stages import Found, Stages

SEED = 0
BUCKET = 1 << 27  # bytes of the days' files that become one bucket: under 2 GB of records
BLOCK = 1 << 20  # samples handled at a time
_FEATURES = range(CATEGORIES)
_SLIM = width(NUMBERS, [1] * CATEGORIES)  # words of a record with one id a feature

Records = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        days: The files; the last is for evaluation.
        sizes_of_days: Their sizes in bytes.
        rows: Rows of each feature's table.
        hots: Ids a sample has of each feature.
        buckets: Over how many buckets training samples are spread.
    """

    days: Sequence[Path]
    sizes_of_days: Sequence[int]
    rows: Sequence[int]
    hots: Sequence[int]
    buckets: int

    @classmethod
    def of(cls, days: Sequence[Path], rows: Sequence[int], hots: Sequence[int]) -> Plan:
        """A plan for these days, with buckets of about `BUCKET` bytes."""
        sizes = [day.stat().st_size for day in days]
        return cls(days, sizes, rows, hots, max(1, -(-sum(sizes) // BUCKET)))

    def disk(self) -> int:
        """About the most bytes on disk at one time: the records, and the files needed to make them.

        Criteo's 24 days, 1.04 TB as text or 342 GB packed, make 3.9 TB of records, and
        0.7 TB of other files.
        """
        packed = (3 if day.suffix == ".gz" else 1 for day in self.days)
        return round(4.4 * sum(n * s for n, s in zip(packed, self.sizes_of_days, strict=True)))

    def sizes(self) -> dict[str, int]:
        """Roughly the bytes each stage handles, in the unit of the days' files."""
        whole = sum(self.sizes_of_days)
        read = {f"read {day}": size for day, size in enumerate(self.sizes_of_days)}
        number = {f"number {feature}": whole // 40 for feature in _FEATURES}
        expand = {"expand": 4 * sum(r * (h - 1) for r, h in zip(self.rows, self.hots, strict=True))}
        scatter = {f"scatter {day}": size for day, size in enumerate(self.sizes_of_days[:-1])}
        bucket = {f"bucket {bucket}": 4 * whole // self.buckets for bucket in range(self.buckets)}
        return read | number | expand | scatter | bucket | {"eval": 2 * self.sizes_of_days[-1]}


class Days:
    """The days on their way through the stages.

    Args:
        plan: What is to be done.
        work: A folder for what is between.
        out: The folder for the records.
        stages: Remembers what is done.
    """

    def __init__(self, plan: Plan, work: Path, out: Path, stages: Stages) -> None:
        self._plan, self._work, self._out, self._stages = plan, work, out, stages
        # What later stages need of earlier ones, from when those are done.
        self._read: list[Found]
        self._expansion: Expansion
        self._scattered: list[tuple[Records, npt.NDArray[np.int64]]]

    def prepare(self) -> dict[str, int]:
        """Go through all stages; the samples of each part."""
        days, run = range(len(self._plan.days)), self._stages.run
        self._read = [run(f"read {day}", partial(self._read_day, day)) for day in days]
        for feature in _FEATURES:
            run(f"number {feature}", partial(self._number, feature))
            self._remove(f"words_{feature:02d}", days)
        run("expand", self._expand)
        for day in days[:-1]:
            run(f"scatter {day}", partial(self._scatter, day))
            self._remove("ids_*", [day])
        self._expansion = Expansion(self._work, self._plan.rows, self._plan.hots)
        self._scattered = [self._open_scattered(day) for day in days[:-1]]
        samples = 0
        for bucket in range(self._plan.buckets):
            samples += run(f"bucket {bucket}", partial(self._bucket, bucket, samples))["samples"]
        return {"train": samples, "eval": run("eval", self._evaluation)["samples"]}

    def _folder(self, day: int) -> Path:
        folder = self._work / f"day_{day}"
        folder.mkdir(exist_ok=True)
        return folder

    def _remove(self, pattern: str, days: Sequence[int]) -> None:
        for day in days:
            for path in self._folder(day).glob(pattern):
                path.unlink()

    def _read_day(self, day: int) -> Found:
        """Text to columns."""
        folder, samples, least = self._folder(day), 0, 0
        names = ["labels", "numbers", *(f"words_{feature:02d}" for feature in _FEATURES)]
        with ExitStack() as stack:
            files = [stack.enter_context((folder / name).open("wb")) for name in names]
            for lines in read_lines(self._plan.days[day], self._stages.reading):
                samples += len(lines.labels)
                least = min(least, int(lines.numbers.min()))
                columns = [lines.labels, lines.numbers, *lines.categories.T]
                for file, values in zip(files, columns, strict=True):
                    file.write(values.tobytes())
        if not samples:
            raise DataError(f"{self._plan.days[day]} is empty; get the file again")
        return {"samples": samples, "least": least}

    def _number(self, feature: int) -> Found:
        """Words to ids, in the order of the days."""
        numbering = Numbering()
        for day in range(len(self._plan.days)):
            with (
                (self._folder(day) / f"words_{feature:02d}").open("rb") as words,
                (self._folder(day) / f"ids_{feature:02d}").open("wb") as ids,
            ):
                while len(block := np.fromfile(words, np.uint32, 4 * BLOCK)):
                    (numbering(block) % self._plan.rows[feature]).tofile(ids)
        return {"words": numbering.known}

    def _expand(self) -> Found:
        for size in write_expansions(self._work, self._plan.rows, self._plan.hots):
            self._stages.reading(size)
        return {}

    def _slim(self, day: int, samples: int) -> Iterator[Records]:
        """A day's first samples as records with one id a feature, a block at a time."""
        folder, least = self._folder(day), self._read[day]["least"]
        names = ["labels", "numbers", *(f"ids_{feature:02d}" for feature in _FEATURES)]
        with ExitStack() as stack:
            files = [stack.enter_context((folder / name).open("rb")) for name in names]
            for first in range(0, samples, BLOCK):
                size = min(BLOCK, samples - first)
                labels = np.fromfile(files[0], np.uint8, size)
                numbers = np.fromfile(files[1], np.int32, size * NUMBERS).reshape(size, NUMBERS)
                ids = np.column_stack([np.fromfile(file, np.int32, size) for file in files[2:]])
                above = numbers.astype(np.int64) - (least - 2)
                yield pack(labels, np.log(above.astype(np.float32)), ids)

    def _scatter(self, day: int) -> Found:
        """A training day's records, each block of them sorted by bucket, and how many go where."""
        counts = []
        with (self._folder(day) / "scattered").open("wb") as file:
            for number, records in enumerate(self._slim(day, self._read[day]["samples"])):
                random = np.random.RandomState([SEED, day, number])
                buckets = random.randint(self._plan.buckets, size=len(records))
                records[np.argsort(buckets, kind="stable")].tofile(file)
                counts.append(np.bincount(buckets, minlength=self._plan.buckets))
        np.save(self._folder(day) / "counts.npy", np.array(counts, np.int64))
        return {"blocks": len(counts)}

    def _open_scattered(self, day: int) -> tuple[Records, npt.NDArray[np.int64]]:
        """A day's scattered records, and where in them each block's part of each bucket begins."""
        counts = np.load(self._folder(day) / "counts.npy")
        starts = np.concatenate([[0], counts.ravel().cumsum()])
        shape = (int(starts[-1]), _SLIM)
        records = np.memmap(self._folder(day) / "scattered", np.int32, "r", shape=shape)
        return records, starts

    def _bucket(self, bucket: int, first: int) -> Found:
        """One bucket of all days, shuffled and expanded, to its place in train.bin."""
        parts = [
            records[starts[place] : starts[place + 1]]
            for records, starts in self._scattered
            for place in range(bucket, len(starts) - 1, self._plan.buckets)
        ]
        slim = np.concatenate(parts)
        order = np.random.RandomState([SEED, bucket]).permutation(len(slim))
        path = file_of(self._out, "train")
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(4 * width(NUMBERS, self._plan.hots) * first)
            self._expanded(slim[order]).tofile(file)
        self._stages.reading(slim.nbytes)
        return {"samples": len(slim)}

    def _evaluation(self) -> Found:
        """The first half of the last day, the odd sample with it."""
        samples = -(-self._read[-1]["samples"] // 2)
        with file_of(self._out, "eval").open("wb") as file:
            for slim in self._slim(len(self._plan.days) - 1, samples):
                self._expanded(slim).tofile(file)
        return {"samples": samples}

    def _expanded(self, slim: Records) -> Records:
        """Records with all ids."""
        ids = self._expansion(slim[:, 1 + NUMBERS :])
        return np.concatenate([slim[:, : 1 + NUMBERS], ids], axis=1)
