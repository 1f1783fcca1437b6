"""How fast the data set is read from where it lies, and can it be put out of memory first.

Knows no torch. All ranks read at once, each files of its own, as in training: a file system that
serves one reader well may not serve all. The files read are evicted from the page cache before; no
other page is touched, so that the doctor disturbs no other user of the machine.
"""

import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ttt.data.listing import is_litter, walk
from ttt.doctor.findings import Finding, Observation, names, ok, reference, slow, warning
from ttt.machine import page_cache
from ttt.schema.run import RunConfig

_FILES = 4000  # looked at over all ranks: listing a million takes minutes
_SECONDS = 1.0  # of reading
_BYTES = 256 << 20  # or this much, whichever comes first
_CHUNK = 1 << 20
_NO_SET = "no data set here"
_EVIDENCE = 200  # files whose pages are counted
_EVIDENCE_BYTES = 1 << 30  # a larger file has too many pages to count quickly
_LEFT = 0.01  # share of the sample that may stay, as for cache_clear
# One spinning disk seeks some 100 to 200 times and reads 100 to 200 MB a second. What is slower in
# both ways than this will starve any accelerator; small files keep MB/s low on the best disk.
_SLOW_BYTES = 50e6
_SLOW_FILES = 500.0
_SHARE = 0.5  # of the median node: disks and networks vary, by less than a factor of two


@dataclass(frozen=True, slots=True)
class Reading:
    """What one rank read.

    Attributes:
        files: Files opened.
        bytes: Bytes read.
        seconds: What it took; 0 if there was nothing to read for this rank.
        before_bytes: Bytes of the sample in memory before it was evicted.
        after_bytes: And after.
        sample_bytes: Size of the sample whose pages were counted.
        drop_caches: Whether this user may empty the whole page cache.
    """

    files: int
    bytes: int
    seconds: float
    before_bytes: int
    after_bytes: int
    sample_bytes: int
    drop_caches: bool

    @property
    def evicted(self) -> bool:
        """Whether the sample was read from the file system, for all that can be seen."""
        return self.after_bytes <= _LEFT * self.sample_bytes


def look(run: RunConfig, rank: int, size: int) -> Reading | None:
    """Read a part of the data set; None if there is none here."""
    root = Path(getattr(run.data, "root", "") or os.devnull)
    if not root.is_dir():
        return None
    files = list(islice(_files(root), _FILES))[rank::size]
    random.Random(rank).shuffle(files)  # training does not read in order
    counted = [path for path in files[:_EVIDENCE] if path.stat().st_size <= _EVIDENCE_BYTES]
    before = page_cache.resident_bytes(counted)
    for path in files:
        page_cache.evict(path)
    after = page_cache.resident_bytes(counted)
    sample = sum(path.stat().st_size for path in counted)
    begin = time.perf_counter()
    opened, read = _read(files, begin + _SECONDS)
    seconds = time.perf_counter() - begin if files else 0.0
    return Reading(opened, read, seconds, before, after, sample, page_cache.may_drop_caches())


def judge(seen: Sequence[Observation[Reading | None]], method: str) -> Iterator[Finding]:
    """Whether the set is read fast enough, and can be forgotten.

    Args:
        seen: What the ranks read.
        method: See `judge_cache`.
    """
    yield from judge_rate(seen)
    yield from judge_cache(seen, method)


def judge_rate(seen: Sequence[Observation[Reading | None]]) -> Iterator[Finding]:
    """Whether the set is read fast enough, and alike everywhere."""
    known = [(one.host, one.facts) for one in seen if one.facts and one.facts.seconds]
    if not known:
        why = dict.fromkeys(("bytes_per_s", "files_per_s"), _NO_SET)
        text = f"not measured: {_NO_SET}"
        yield ok("read rate", text, bytes_per_s=None, files_per_s=None, why=why)
        return
    bytes_: dict[str, float] = defaultdict(float)  # per second, by node
    files: dict[str, float] = defaultdict(float)
    for host, fact in known:
        bytes_[host] += fact.bytes / fact.seconds
        files[host] += fact.files / fact.seconds
    cold = all(fact.evicted for _, fact in known)
    total, opened = sum(bytes_.values()), sum(files.values())
    summary = f"{total / 1e6:,.0f} MB/s, {opened:,.0f} files/s" + (
        f" ({min(bytes_.values()) / 1e6:,.0f} MB/s on the slowest of {len(bytes_)} nodes)"
        if len(bytes_) > 1
        else ""
    )
    summary += "" if cold else ", in part from memory"
    data = {
        "bytes_per_s": total,
        "files_per_s": opened,
        "uncached": cold,
        "node_bytes_per_s": dict(bytes_),
        "node_files_per_s": dict(files),
    }
    behind = slow(bytes_, _SHARE)
    behind_a_disk = [h for h in bytes_ if bytes_[h] < _SLOW_BYTES and files[h] < _SLOW_FILES]
    if behind:
        listed = [f"{host} ({share:.0%} of {reference(bytes_)})" for host, share in behind.items()]
        advice = "look at its disk and network; or copy the set to local disks"
        yield warning("read rate", f"{summary}; slow: {names(listed)}", advice, **data)
    elif behind_a_disk:
        advice = "a copy of the set on local disks: data.root=DIR"
        yield warning("read rate", f"{summary}; slower than one disk", advice, **data)
    else:
        yield ok("read rate", summary, **data)


def judge_cache(seen: Sequence[Observation[Reading | None]], method: str) -> Iterator[Finding]:
    """Whether every node can forget the data set before a run, as MLPerf asks.

    Args:
        seen: What the ranks read.
        method: The run's clear_cache: "auto", "drop_caches", "fadvise" or "off".
    """
    if method == "off":
        yield warning(
            "page cache",
            "clear_cache=off: the MLPerf log will have no cache_clear and will not be compliant",
            "clear_cache=auto",
            method=None,
            why={"method": "clear_cache=off"},
        )
        return
    known = [(one.host, one.facts) for one in seen if one.facts]
    if not known:
        yield ok("page cache", f"not tried: {_NO_SET}", method=None, why={"method": _NO_SET})
        return
    drops = {host for host, fact in known if fact.drop_caches}
    evicts = {host for host, _ in known} - {host for host, fact in known if not fact.evicted}
    able = {"auto": evicts, "drop_caches": drops, "fadvise": evicts}[method]
    unable = sorted({host for host, _ in known} - able)
    data = {"drop_caches": sorted(drops), "fadvise": sorted(evicts), "unable": unable}
    if unable:
        yield warning(
            "page cache",
            f"cannot be cleared on {names(unable)} with clear_cache={method}; without cache_clear"
            " an MLPerf log is not compliant",
            "own the files of the data set, or clear_cache=drop_caches as root",
            **data,
        )
        return
    ways = "drop_caches is permitted" if method == "drop_caches" else "fadvise evicts the data set"
    yield ok("page cache", f"can be cleared: {ways}", **data)


def _files(root: Path) -> Iterator[Path]:
    for folder, below, found in walk(os.fsencode(root)):
        below[:] = [name for name in below if not is_litter(name)]
        for name in found:
            path = Path(os.fsdecode(os.path.join(folder, name)))
            if not is_litter(name) and path.is_file():  # a pipe would keep a reader waiting
                yield path


def _read(files: Sequence[Path], deadline: float) -> tuple[int, int]:
    opened, read, buffer = 0, 0, bytearray(_CHUNK)
    for path in files:
        opened += 1
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                read += count
                if read >= _BYTES or time.perf_counter() >= deadline:
                    return opened, read
    return opened, read
