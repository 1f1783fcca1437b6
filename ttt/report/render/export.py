"""A study as plain values: JSON for programs, CSV for spreadsheets. Unknown is null, or empty.

May not compute anything: what is here, a study says.
"""

import csv
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt.errors import ESCAPE, ConfigError, one_line
from ttt.report.analyze.caveats import grain, problems, replaced, why_failed
from ttt.report.analyze.scaling import Efficiency, Fit, Point, Sweep
from ttt.report.analyze.score import Group, Rcp, Spread, agreed
from ttt.report.analyze.sentences import rate_remarks
from ttt.report.analyze.stability import Comparison
from ttt.report.analyze.study import Study
from ttt.report.analyze.view import Result, Seen, attempts, identity, tasks
from ttt.report.analyze.weak import Weak

_AGREED = (
    "submitter system benchmark official ruleset division metric target accelerators"
    " accelerator_name nodes world_size global_batch precision ruleset_reason"
).split()

_MEMORY = ("peak_memory_bytes", "peak_memory_reserved_bytes", "device_memory_used_bytes")
_SPREAD = tuple(each.name for each in dataclasses.fields(Spread))
_RCP = tuple(each.name for each in dataclasses.fields(Rcp))
_WEAK = tuple(each.name for each in dataclasses.fields(Weak))
# Wide forms, too, which some take for the same. Tabs and ends of lines are visible by then.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBERS = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?(; [-+]?[\d.]*(e[-+]?\d+)?)*", re.ASCII | re.I)
_PARTS = {"time_s": _SPREAD, "epochs_to_target": _SPREAD, "rcp": _RCP, "weak": _WEAK}


def as_json(study: Study) -> dict[str, Any]:
    """Everything a study says, for strict JSON.

    `first` and `second` of a comparison and `result` of a point of a sweep are places in `results`.
    """
    by_group = {
        identity(each.group): (each, task.unit) for task in tasks(study) for each in task.results
    }
    groups = [group for group in study.groups if identity(group) in by_group]
    place = {identity(group): number for number, group in enumerate(groups)}
    content = {
        "results": [_result(*by_group[identity(group)]) for group in groups],
        "sweeps": [_sweep(each, place) for each in study.sweeps],
        "comparisons": [_comparison(each, place) for each in study.comparisons],
        "attempts": [
            {"path": str(run.path), "seed": run.seed, "reason": why_failed(run)}
            for run in attempts(study)
        ],
        "rejected": [{"path": str(each.path), "reason": each.reason} for each in study.rejected],
    }
    strict: dict[str, Any] = _strict(content)
    return strict


def write_csv(study: Study, path: str | Path) -> None:
    """Write one row for each result; times are in seconds where a name does not say minutes.

    Text that a spreadsheet would take for a formula begins with an apostrophe, as OWASP has it
    (owasp.org/www-community/attacks/CSV_Injection); what is a number stays one.

    Raises:
        ConfigError: The file cannot be written.
    """
    rows = [_flat(result) for result in as_json(study)["results"]]
    try:
        # A file name on Linux may be no text: escaped, it is at least readable.
        with Path(path).open("w", newline="", encoding="utf-8", errors=ESCAPE) as file:
            writer = csv.DictWriter(file, rows[0] if rows else _AGREED)
            writer.writeheader()
            writer.writerows({name: _cell(each) for name, each in row.items()} for row in rows)
    except OSError as error:
        raise ConfigError([f"--csv {path} cannot be written: {error.strerror}"]) from error


def _result(result: Result, unit: str) -> dict[str, Any]:
    group, point, row = result.group, result.point, result.row
    said = {name: _agreed(group, name) for name in _AGREED}
    return said | {
        "name": result.name,
        "runs": len(group.runs),
        "converged": sum(time is not None for time in group.times),
        "score_minutes": group.score.minutes,
        "score_method": group.score.method,
        "scaled_score_minutes": group.scaled_minutes,
        "scaling_factor": group.scaling,
        "scaling_source": group.scaling_source,
        "weak": _object(group.weak),
        "rcp": _object(group.rcp),
        "resolution_s": group.resolution,
        "evaluation_interval_s": group.resolution,
        "interval_s": result.stability.interval and list(result.stability.interval),
        "efficiency": _object(point.efficiency if point else Efficiency()),
        "speed_up": point.speed_up if point else None,
        "mode": point.mode if point else None,
        "bottleneck": point.bottleneck if point else None,
        "samples_per_s": row.samples_per_s if row else None,
        "samples_per_j": row.samples_per_j if row else None,
        "accelerator_hours": row.accelerator_hours if row else None,
        "price_per_hour": _agreed(group, "price_per_hour"),
        "cost": row.cost if row else None,
        "energy_to_train_j": group.energy_j,
        "energy_j": [run.energy_j for run in group.runs],
        "energy_source": _agreed(group, "energy_source"),
        "energy_reason": _agreed(group, "energy_reason"),
        **{name: [getattr(run, name) for run in group.runs] for name in _MEMORY},
        "seeds": [run.seed for run in group.runs],
        "statuses": [run.status for run in group.runs],
        "skipped_samples": [run.skipped_samples for run in group.runs],
        "compliant": [run.passed for run in group.runs],
        "times_s": list(group.times),
        "clocks_trusted": [run.clock_trusted for run in group.runs],
        "epochs": [run.epochs for run in group.runs],
        "time_s": _object(group.time),
        "epochs_to_target": _object(group.epochs),
        "problems": problems(result),
        "remarks": list(group.remarks),
        "rate_remarks": rate_remarks(group),
        "reasons": [
            {"seed": run.seed, "status": run.status, "reason": why_failed(run)}
            for run, time in zip(group.runs, group.times, strict=True)
            if time is None
        ],
        "warnings": [
            *result.stability.warnings,
            *replaced(group),
            *filter(None, [grain(result, unit)]),
        ],
        "findings": [_finding(each) for each in result.seen],
        "paths": [str(run.path) for run in group.runs],
    }


def _agreed(group: Group, name: str) -> Any:
    return agreed(getattr(run, name) for run in group.runs)


def _object(of: Spread | Rcp | Weak | Efficiency | Fit | None) -> dict[str, Any] | None:
    return None if of is None else dataclasses.asdict(of)


def _finding(seen: Seen) -> dict[str, Any]:
    finding = seen.finding
    return {
        "what": finding.what,
        "measured": finding.measured,
        "advice": finding.advice,
        "share": finding.share,
        "paths": [str(run.path) for run in seen.runs],
    }


def _sweep(sweep: Sweep, place: Mapping[Path, int]) -> dict[str, Any]:
    return {
        "benchmark": sweep.benchmark,
        "submitter": sweep.submitter,
        "accelerator": sweep.accelerator,
        "unit": sweep.unit,
        "mode": sweep.mode,
        "fits": [_object(each) for each in sweep.fits],
        "points": [_point(each, place) for each in sweep.points],
    }


def _point(point: Point, place: Mapping[Path, int]) -> dict[str, Any]:
    return {
        "result": place[identity(point.group)],
        "workers": point.workers,
        "global_batch": point.global_batch,
        "time_to_train_s": point.seconds,
        "resolution_s": point.resolution,
        "samples_per_s": point.samples_per_s,
        "epochs": point.epochs,
        "speed_up": point.speed_up,
        "mode": point.mode,
        "efficiency": _object(point.efficiency),
        "bottleneck": point.bottleneck,
        "step_ms": point.step_ms,
        "remarks": list(point.remarks),
    }


def _comparison(each: Comparison, place: Mapping[Path, int]) -> dict[str, Any]:
    return {
        "first": place[identity(each.first)],
        "second": place[identity(each.second)],
        "ratio": each.ratio,
        "p_value": each.p_value,
        "runs_to_tell": each.runs,
        "hidden": each.hidden,
    }


def _strict(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """One value for each column: `efficiency` becomes `efficiency_throughput` and so on."""
    flat: dict[str, Any] = {}
    for name, value in result.items():
        if name in _PARTS:  # an object or null, which is as many columns of nothing
            flat |= {f"{name}_{part}": value and value[part] for part in _PARTS[name]}
        elif isinstance(value, dict):
            flat |= {f"{name}_{part}": each for part, each in value.items()}
        elif name == "reasons":
            flat[name] = "; ".join(f"seed {each['seed']}: {each['reason']}" for each in value)
        elif name == "findings":
            flat[name] = "; ".join(f"{each['what']}: {each['measured']}" for each in value)
        elif isinstance(value, list):
            flat[name] = _joined(value)
        else:
            flat[name] = value
    return flat


def _cell(value: Any) -> Any:
    """A value as a spreadsheet may have it: text in one line that can be seen, and no formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBERS.fullmatch(text) else text


def _joined(values: Sequence[Any]) -> str:
    """Values in their order, an empty place for an unknown one."""
    return "; ".join("" if each is None else str(each) for each in values)
