"""What MLCommons' own result_summarizer says of a tree of results, for tests to equal."""

import math
import shutil
from pathlib import Path
from typing import Any

from mlperf_logging.benchmark_meta import get_allowed_benchmarks
from mlperf_logging.result_summarizer import result_summarizer

from ttt.report.analyze.experiment import Experiment

_WEAK = ("number_of_models", "instance_scale", "time_to_train_all")


def copied(tree: Path, folder: Path) -> Path:
    """A copy that may be written: the summarizer leaves scaling.json in it."""
    copy = folder / tree.parent.name / tree.name
    shutil.copytree(tree, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    return copy


def key(experiment: Experiment) -> tuple[str | None, str | None]:
    return experiment.system, experiment.runs[0].benchmark


def summarized(tree: Path, usage: str, ruleset: str) -> dict[str, dict[Any, Any]]:
    """Scores in minutes, energies in joules and throughputs, each by system and benchmark."""
    tables = result_summarizer.summarize_results(str(tree), usage, ruleset)
    found: dict[str, dict[Any, Any]] = {"scores": {}, "energies": {}, "weak": {}}
    strong, weak, detailed, _ = ([] if not len(each) else each.iterrows() for each in tables)
    benchmarks = get_allowed_benchmarks(usage, ruleset)
    for name, column, rows in (("scores", "{}", strong), ("energies", "{}:Energy", detailed)):
        for _, row in rows:
            values = {_key(row, each): row[column.format(each)] for each in benchmarks}
            found[name] |= {at: value for at, value in values.items() if _known(value)}
    for _, row in weak:
        for each in benchmarks:
            values = tuple(row[f"{each}:{column}"] for column in _WEAK)
            if _known(values[0]):
                found["weak"][_key(row, each)] = values
    return found


def _known(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def _key(row: Any, benchmark: str) -> tuple[str, str]:
    return row["details_url"].rpartition("/")[2].removesuffix(".json"), benchmark
