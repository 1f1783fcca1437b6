"""A study as plain values: JSON for programs, CSV for spreadsheets. Unknown is null, or empty.

May not compute anything: what is here, a study says.
"""

import csv
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ttt.errors import ESCAPE, one_line, writing
from ttt.report.analyze.caveats import grain, overstated, problems, replaced, why_failed
from ttt.report.analyze.efficiency import Efficiency
from ttt.report.analyze.experiment import Experiment, Observation
from ttt.report.analyze.rcp import Rcp
from ttt.report.analyze.score import Spread
from ttt.report.analyze.sentences import rate_remarks
from ttt.report.analyze.study import Study
from ttt.report.analyze.weak import Weak

_AGREED = (
    "submitter system benchmark official ruleset division metric target accelerators"
    " accelerator_name nodes world_size global_batch precision ruleset_reason"
).split()
_MEMORY = ("peak_memory_bytes", "peak_memory_reserved_bytes", "device_memory_used_bytes")
_KEYS = {"experiment": "result"}  # of a point, as the place of its experiment in `results`
_PARTS = {"time_s": Spread, "epochs_to_target": Spread, "rcp": Rcp, "weak": Weak}
# Wide forms, too, which some take for the same. Tabs and ends of lines are visible by then.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBERS = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?(; [-+]?[\d.]*(e[-+]?\d+)?)*", re.ASCII | re.I)


def as_json(study: Study) -> dict[str, Any]:
    """Everything a study says, for strict JSON.

    `first` and `second` of a comparison and `result` of a point of a sweep are places in `results`.
    """
    unit = {each: task.unit for task in study.tasks for each in task.experiments}
    shown = [each for each in study.experiments if each in unit]
    content = {
        "results": [_result(each, unit[each]) for each in shown],
        "sweeps": study.sweeps,
        "comparisons": study.comparisons,
        "attempts": [
            {"path": run.path, "seed": run.seed, "reason": why_failed(run)}
            for run in study.attempts
        ],
        "rejected": study.rejected,
    }
    strict: dict[str, Any] = _strict(content, {each: place for place, each in enumerate(shown)})
    return strict


def write_csv(study: Study, path: str | Path) -> None:
    """Write one row for each result; times are in seconds where a name does not say minutes.

    Text that a spreadsheet would take for a formula begins with an apostrophe, as OWASP has it
    (owasp.org/www-community/attacks/CSV_Injection); what is a number stays one.

    Raises:
        ConfigError: The file cannot be written.
    """
    rows = [_flat(result) for result in as_json(study)["results"]]
    # A file name on Linux may be no text: escaped, it is at least readable.
    opened = partial(Path(path).open, "w", newline="", encoding="utf-8", errors=ESCAPE)
    with writing("--csv", path), opened() as file:
        writer = csv.DictWriter(file, rows[0] if rows else _AGREED)
        writer.writeheader()
        writer.writerows({name: _cell(each) for name, each in row.items()} for row in rows)


def _result(of: Experiment, unit: str) -> dict[str, Any]:
    point, row = of.point, of.row

    def every(name: str) -> list[Any]:
        return [getattr(run, name) for run in of.runs]

    return {
        **{name: getattr(of, name) for name in _AGREED},
        "name": of.name,
        "runs": len(of.runs),
        "converged": len(of.converged),
        "score_minutes": of.score.minutes,
        "score_method": of.score.method,
        "scaled_score_minutes": of.scaled_minutes,
        "scaling_factor": of.scaling,
        "scaling_source": of.scaling_source,
        "weak": of.weak,
        "rcp": of.rcp,
        "resolution_s": of.resolution,
        "evaluation_interval_s": of.resolution,
        "interval_s": of.interval,
        "efficiency": point.efficiency if point else Efficiency(),
        **{name: getattr(point, name, None) for name in ("speed_up", "mode", "bottleneck")},
        "samples_per_s": row.samples_per_s,
        "samples_per_j": row.samples_per_j,
        "flop_per_sample": every("flop_per_sample"),
        "peak_flop_per_s": every("peak_flop_per_s"),
        "model_flop_per_s": row.used.flop_per_s,
        "utilization_fraction": row.used.share,
        "utilization_reason": row.used.reason,
        "accelerator_hours": row.accelerator_hours,
        "price_per_hour": of.price_per_hour,
        "cost": row.cost,
        "energy_to_train_j": of.energy_j,
        "energy_j": every("energy_j"),
        "energy_source": of.energy_source,
        "energy_reason": of.energy_reason,
        **{name: every(name) for name in _MEMORY},
        "seeds": every("seed"),
        "statuses": every("status"),
        "skipped_samples": every("skipped_samples"),
        "compliant": every("passed"),
        "times_s": of.times,
        "clocks_trusted": every("clock_trusted"),
        "epochs": every("epochs"),
        "time_s": of.time,
        "epochs_to_target": of.epochs,
        "problems": problems(of),
        "remarks": of.remarks,
        "rate_remarks": rate_remarks(of),
        "reasons": [
            {"seed": run.seed, "status": run.status, "reason": why_failed(run)} for run in of.failed
        ],
        "warnings": [
            *(*of.stability.warnings, *replaced(of), *overstated(of)),
            *filter(None, [grain(of, unit)]),
        ],
        "findings": [_finding(each) for each in of.seen],
        "paths": every("path"),
    }


def _finding(seen: Observation) -> dict[str, Any]:
    return dataclasses.asdict(seen.finding) | {"paths": [run.path for run in seen.runs]}


def _strict(value: Any, place: Mapping[Experiment, int]) -> Any:
    """The same for JSON, with null for what it has no number for, and the place of experiments."""
    if isinstance(value, Experiment):
        return place[value]
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return _strict({_KEYS.get(name, name): getattr(value, name) for name in names}, place)
    if isinstance(value, dict):
        return {name: _strict(each, place) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each, place) for each in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """One value for each column: `efficiency` becomes `efficiency_throughput` and so on."""
    flat: dict[str, Any] = {}
    for name, value in result.items():
        if name in _PARTS:  # an object or null, which is as many columns of nothing
            flat |= {
                f"{name}_{each.name}": value and value[each.name]
                for each in dataclasses.fields(_PARTS[name])
            }
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
