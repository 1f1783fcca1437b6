"""Which software is installed, and whether all ranks have the same. Imports none of it."""

import platform
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ttt
from ttt.doctor.findings import Finding, Observation, failure, names, ok, warning
from ttt.errors import install
from ttt.machine import installed
from ttt.schema.run import RunConfig

# A rank with another torch computes something else, or cannot communicate with the others.
_MUST_AGREE = ("python", "ttt", "torch")
_OTHERS = ("numpy", "hydra-core", "mlperf-logging", "mpi4py")


@dataclass(frozen=True, slots=True)
class Software:
    """What one process would import.

    Attributes:
        versions: Versions by name; None for what is not installed.
        dali: Names of the DALI packages that are installed.
        cuda: Version of CUDA that torch was built for; None without CUDA, or without torch.
    """

    versions: dict[str, str | None]
    dali: tuple[str, ...] = ()
    cuda: str | None = None


def look() -> Software:
    """The versions that this process would import."""
    versions: dict[str, str | None] = {
        "python": platform.python_version(),
        "ttt": ttt.__version__,
    }
    for name in ("torch", *_OTHERS):
        versions[name] = installed.version(name)
    dali = installed.dali()
    named = ", ".join(f"{version} ({name})" for name, version in dali.items())
    versions["dali"] = named or None
    return Software(versions, tuple(dali), installed.torch_cuda())


def judge(seen: Sequence[Observation[Software]], run: RunConfig) -> Iterator[Finding]:
    """Whether all ranks have the same, and what is missing."""
    first = seen[0].facts.versions
    summary = ", ".join(f"{name} {version}" for name, version in first.items() if version)
    differing = [name for name in first if len({one.facts.versions[name] for one in seen}) > 1]
    if not differing:
        same = ", the same on all ranks" if len(seen) > 1 else ""
        why = dict.fromkeys(first, "not installed")
        yield ok("versions", summary + same, why=why, **first)
    for name in differing:
        ranks = defaultdict(list)
        for one in seen:
            ranks[one.facts.versions[name] or "none"].append(f"{one.rank} on {one.host}")
        listed = "; ".join(f"{version} on rank {names(who)}" for version, who in ranks.items())
        report = failure if name in _MUST_AGREE else warning
        yield report(
            "versions", f"{name}: {listed}", "install the same everywhere", **{name: ranks}
        )
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
            why=dict.fromkeys(("arithmetic", "collectives", "clock_spread_s"), "torch is absent"),
        )
    loader = getattr(run.data, "loader", None)  # a user's own data may come without
    if loader is not None:
        yield from _dali(seen, loader)


def _dali(seen: Sequence[Observation[Software]], loader: str) -> Iterator[Finding]:
    """Whether DALI is there, once, and built for the same CUDA as torch."""
    if not seen[0].facts.dali:
        _, extra = installed.dali_for(seen[0].facts.cuda)
        yield warning(
            "dali",
            f"nvidia-dali is not installed, and data.loader={loader} decodes with it",
            f"{install(extra)} where training will run",
        )
    hosts = defaultdict(set)
    for one in seen:
        hosts[one.facts.dali, one.facts.cuda].add(one.host)
    for (present, cuda), where in hosts.items():
        wanted, extra = installed.dali_for(cuda)
        replace = f"pip uninstall {' '.join(present)}, then {install(extra)}"
        if len(present) > 1:
            text = f"{names(present)} overwrite each other's files, on {names(sorted(where))}"
            yield warning("dali", text, replace)
        elif present and not installed.dali_fits(present[0], cuda):
            yield warning(
                "dali",
                f"{present[0]} is not built for CUDA {cuda}, as torch is, on"
                f" {names(sorted(where))}; {wanted} is",
                replace,
            )
