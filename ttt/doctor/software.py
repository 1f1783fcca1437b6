"""Which software is installed, and whether all ranks have the same. Imports none of it."""

import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

import ttt
from ttt.doctor.findings import Finding, Seen, failure, names, ok, warning
from ttt.schema.run import RunConfig

# One rank with another torch computes something else, or cannot talk to the others at all.
_MUST_AGREE = ("python", "ttt", "torch")
_OTHERS = ("numpy", "hydra-core", "mlperf-logging", "mpi4py")
_DALI = ("nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-dali-cuda110")  # one wheel per CUDA


@dataclass(frozen=True, slots=True)
class Software:
    """Versions by name; None for what is not installed."""

    versions: dict[str, str | None]


def look() -> Software:
    """The versions that this process would import."""
    versions: dict[str, str | None] = {
        "python": platform.python_version(),
        "ttt": ttt.__version__,
    }
    for name in ("torch", *_OTHERS):
        versions[name] = _version(name)
    versions["dali"] = next(filter(None, map(_version, _DALI)), None)
    return Software(versions)


def judge(seen: Sequence[Seen[Software]], run: RunConfig) -> Iterator[Finding]:
    """Whether all ranks have the same, and what is missing."""
    first = seen[0].facts.versions
    said = ", ".join(f"{name} {version}" for name, version in first.items() if version)
    differing = [name for name in first if len({one.facts.versions[name] for one in seen}) > 1]
    if not differing:
        yield ok("versions", said + (", the same on all ranks" if len(seen) > 1 else ""), **first)
    for name in differing:
        ranks = defaultdict(list)
        for one in seen:
            ranks[one.facts.versions[name] or "none"].append(f"{one.rank} on {one.host}")
        told = "; ".join(f"{version} on rank {names(who)}" for version, who in ranks.items())
        report = failure if name in _MUST_AGREE else warning
        yield report("versions", f"{name}: {told}", "install the same everywhere", **{name: ranks})
    lacking = [one.host for one in seen if one.facts.versions["torch"] is None]
    if lacking:
        yield warning(
            "torch",
            f"not installed on {names(sorted(set(lacking)))}: arithmetic, collectives and clocks"
            " were not measured",
            "start `ttt doctor` where training will run, or pip install torch",
            arithmetic=None,
            collectives=None,
            clock_spread_s=None,
        )
    loader = getattr(run.data, "loader", None)  # a user's own data may come without
    if loader is not None and first["dali"] is None:
        yield warning(
            "dali",
            f"nvidia-dali is not installed, and data.loader={loader} decodes with it",
            "pip install 'ttt[dali]' where training will run",
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
