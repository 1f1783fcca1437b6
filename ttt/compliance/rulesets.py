"""Which rulesets the installed `mlperf_logging` has, and which benchmarks each can really check.

Everything is read from the package's own files, so that a newer package brings newer answers. May
not know any log.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from mlperf_logging import benchmark_meta
from mlperf_logging.compliance_checker import mlp_compliance

Usage = Literal["training", "hpc"]

USAGES: tuple[Usage, ...] = ("training", "hpc")
ENGINE = Path(mlp_compliance.__file__).parent
_POINTS = ENGINE.parent / "rcp_checker"

# Rulesets from which package_checker looks at seeds, and from which the rules want one in the log
# of every run (training_rules.adoc, "Random numbers").
SEEDS_CHECKED, SEEDS_RULED = "1.0.0", "4.1.0"
# Minutes from init_start to init_stop that are not on the clock: since which ruleset, closed, open
# (training_rules.adoc, "Run Results", and the engine's common.yaml of each ruleset).
_INIT_MINUTES = (("2.0.0", 30, 240), ("1.0.0", 30, 30), ("0.7.0", 20, 20))
_INIT_MINUTES_HPC = 30  # in every ruleset and division
# "v3.0 Specific Rules"; the engine does not know of it.
_INIT_EXCEPTIONS = {("gpt3", "3.0.0", "closed"): 60}


def is_official(rules: str | Path) -> bool:
    """Whether a rule file, after all links, is the engine's own; rule files are code."""
    try:
        return Path(rules).resolve(strict=True).is_relative_to(ENGINE.resolve())
    except (OSError, RuntimeError, ValueError):  # absent, a loop of links, a name with a NUL
        return False


def load(rules: Path) -> list[dict[str, Any]]:
    """The records of a rule file as the engine reads them: every scalar is a string."""
    records: list[dict[str, Any]] = yaml.load(rules.read_text("utf-8"), Loader=yaml.BaseLoader)
    return records


@cache
def rulesets(usage: Usage = "training") -> tuple[str, ...]:
    """Rulesets for logs of this usage, newest first.

    Ruleset 0.6.0 is left out: it reads a line format from before `mllog`, and has no divisions.
    """
    pattern = re.compile(rf"{usage}_(\d+\.\d+\.\d+)")
    found = [
        match[1]
        for folder in ENGINE.iterdir()
        if (match := pattern.fullmatch(folder.name)) and (folder / "closed_common.yaml").is_file()
    ]
    return tuple(sorted(found, key=_version, reverse=True))


@cache
def _allowed(usage: Usage, ruleset: str, division: str) -> frozenset[str]:
    """The ids that a division's rules allow as `submission_benchmark`.

    The list stands in the text of the record's check, as in `v['value'] in ['bert', 'ssd']`.
    """
    for record in load(ENGINE / f"{usage}_{ruleset}" / f"{division}_common.yaml"):
        key = record.get("KEY", {})
        if key.get("NAME") == "submission_benchmark":
            check = ast.parse(key["CHECK"].strip(), mode="eval").body
            assert isinstance(check, ast.Compare)
            return frozenset(ast.literal_eval(check.comparators[0]))
    return frozenset()


@cache
def _ids(usage: Usage) -> frozenset[str]:
    allowed = [
        _allowed(usage, ruleset, division)
        for ruleset in rulesets(usage)
        for division in ("closed", "open")
    ]
    return frozenset(benchmark_meta.get_result_file_counts(usage)).union(*allowed)


def official_ids() -> frozenset[str]:
    """Every benchmark id that any installed ruleset, training or HPC, has ever used."""
    return _ids("training") | _ids("hpc")


def usage_of(benchmark: str | None) -> Usage:
    """The working group an id belongs to; training for an unknown one."""
    return "hpc" if benchmark in _ids("hpc") else "training"


@cache
def rulesets_of(benchmark: str, division: str = "closed") -> tuple[str, ...]:
    """The rulesets that can pass a log of this benchmark, newest first.

    A benchmark that has retired stays behind in places: in the list of ids without a rule file
    (resnet in 4.1.0) or with a rule file but out of the list (bert in 5.1.0). It takes the list,
    the file and `benchmark_meta` together.
    """
    usage = usage_of(benchmark)
    return tuple(
        ruleset
        for ruleset in rulesets(usage)
        if benchmark in _allowed(usage, ruleset, division)
        and (ENGINE / f"{usage}_{ruleset}" / f"{division}_{benchmark}.yaml").is_file()
        and benchmark in benchmark_meta.get_allowed_benchmarks(usage, ruleset)
    )


def newest_ruleset(benchmark: str, division: str = "closed") -> str | None:
    """The newest ruleset that can pass a log of this benchmark, None if there is none."""
    return next(iter(rulesets_of(benchmark, division)), None)


def runs_needed(benchmark: str) -> int | None:
    """How many runs make a result; None for an unknown id."""
    needed: int | None = benchmark_meta.get_result_file_counts(usage_of(benchmark)).get(benchmark)
    return needed


@cache
def target_of(benchmark: str, ruleset: str) -> tuple[float, bool] | None:
    """The target of the closed division, and whether higher is better.

    It stands at the beginning of a check, as in `v['value'] >= 0.7590 and v['value'] < 1.0`. None
    if there are several targets, if it depends on more, or if there are no such rules.
    """
    rules = ENGINE / f"{usage_of(benchmark)}_{ruleset}" / f"closed_{benchmark}.yaml"
    if benchmark not in official_ids() or not rules.is_file():
        return None
    for record in load(rules):
        key = record.get("KEY", {})
        if key.get("NAME") in ("eval_accuracy", "eval_error"):
            check = key.get("ATLEAST_ONE_CHECK", "")
            found = re.match(r"\s*\(?v\['value'\] (>=|<=) ([0-9.]+)", check)
            if found and " if " not in check:
                return float(found[2]), found[1] == ">="
    return None


def init_minutes(benchmark: str | None, ruleset: str, division: str | None) -> int:
    """Minutes that initialization may take before the clock has to run.

    Args:
        benchmark: An id; an unknown one counts as a training benchmark's.
        ruleset: Of the benchmark's usage.
        division: The closed one's limit holds wherever it is not "open".
    """
    if exception := _INIT_EXCEPTIONS.get((benchmark or "", ruleset, division or "closed")):
        return exception
    if usage_of(benchmark) == "hpc":
        return _INIT_MINUTES_HPC
    closed, opened = next(limits for since, *limits in _INIT_MINUTES if at_least(ruleset, since))
    return opened if division == "open" else closed


@cache
def reference_batches(benchmark: str, ruleset: str) -> tuple[int, int] | None:
    """The global batches of the smallest and the largest reference convergence point.

    MLCommons' rcp_checker interpolates between points, wants of a smaller batch as many epochs as
    of the smallest, and rejects a larger one: "Missing RCP". Like it, this leaves out points with a
    batch below that of the fastest one.

    Returns:
        None if the ruleset has no points for this benchmark.
    """
    file = _POINTS / f"{usage_of(benchmark)}_{ruleset}" / f"rcps_{benchmark}.json"
    if not file.is_file():
        return None
    points = sorted(json.loads(file.read_text("utf-8")).values(), key=lambda point: point["BS"])
    fastest = min(points, key=_olympic_mean)
    return fastest["BS"], points[-1]["BS"]


def _olympic_mean(point: dict[str, Any]) -> float:
    runs = point.get("Epochs to converge") or point["samples to converge"]
    dropped = 4 if point["Benchmark"] == "unet3d" else 1  # at either end
    kept = sorted(runs)[dropped:-dropped]
    return float(sum(kept) / len(kept))


def at_least(ruleset: str, other: str) -> bool:
    """Whether a ruleset is another or newer."""
    return _version(ruleset) >= _version(other)


def _version(ruleset: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ruleset.split("."))
