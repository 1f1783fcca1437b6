"""summary.json: the numbers of one run in one object. What was not measured is null."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttt.events import Event, Kind
from ttt.flops import formulas
from ttt.measurements import NAMES, Source, taken_from


class Summary:
    """Gathers a run's events into its summary, and writes it when closed.

    Args:
        path: Where summary.json goes; None to only gather.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._last: dict[Kind, Event] = {}
        self._evaluations: list[Event] = []
        self._checkpoints: list[Event] = []
        self._lost: list[float] = []
        self._moved: list[Mapping[str, Any]] = []

    def write(self, event: Event) -> None:
        """Take in one event."""
        if event.kind in (Kind.INIT_START, Kind.INIT_STOP) and Kind.RUN_START in self._last:
            return  # of processes that go on with a run: for these the clock was not started anew
        self._last[event.kind] = event
        if event.kind is Kind.RESUMED:
            self._lost.append(event.data["lost_s"])
            if moved := event.data.get("moved"):
                self._moved.append(moved)
            # What was evaluated after the checkpoint is evaluated again.
            self._evaluations = [one for one in self._evaluations if one.step <= event.step]
        if event.kind is Kind.QUALITY:
            self._evaluations.append(event)
        if event.kind is Kind.CHECKPOINT:
            self._checkpoints.append(event)

    @property
    def complete(self) -> bool:
        """Whether the run has stopped, for any reason."""
        return Kind.RUN_STOP in self._last

    def best(self) -> Event | None:
        """The evaluation with the best quality, the first of equals; None if there is none."""
        sign = 1 if self._datum(Kind.CONFIG, "higher_is_better") else -1
        known = [one for one in self._evaluations if _is_number(one.data["value"])]
        return max(known, key=lambda one: sign * one.data["value"], default=None)

    def close(self) -> None:
        """Write the file, whole or not at all."""
        if self._path is None or not self.complete:
            return
        draft = self._path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.result(), indent=2) + "\n")
        os.replace(draft, self._path)

    def result(self) -> dict[str, Any]:
        """The summary so far; null for what is not known."""
        result: dict[str, Any] = dict.fromkeys(NAMES)
        self._take(result, Kind.CONFIG, taken_from(Source.CONFIG))
        self._take(result, Kind.STATISTICS, taken_from(Source.STATISTICS))
        self._take(result, Kind.RUN_STOP, ["status", "reason", "samples"])
        result["quality"] = self._datum(Kind.QUALITY, "value")
        result["epochs"] = self._datum(Kind.RUN_STOP, "epoch")
        result["init_s"] = self._between(Kind.INIT_START, Kind.INIT_STOP)
        result["elapsed_s"] = self._between(Kind.RUN_START, Kind.RUN_STOP)
        result["eval_interval_s"] = self._interval()
        if event := self._last.get(Kind.KEPT):
            result["kept"] = dict(event.data)
        result["resumed"], result["lost_s"] = len(self._lost), sum(self._lost)
        said = [f"{one['now']} after {one['before']}" for one in self._moved]
        result["moved"] = "; ".join(said) or None
        saved = [event.data for event in self._checkpoints]
        result["checkpoints"] = len(saved)
        result["checkpoint_s"] = sum(data["copy_s"] for data in saved)
        result["checkpoint_bytes"] = max((data["bytes"] for data in saved), default=None)
        result["cost"] = _cost(result)
        unknown = self._datum(Kind.STATISTICS, "utilization_reason")
        share = utilization(result)
        if any(before != now for before, now in (one["processes"] for one in self._moved)):
            share, unknown = None, "the run went on with another number of processes"
        result["utilization_fraction"] = share
        if impossible := formulas.impossible(share):
            result["utilization_fraction"] = None
        result["utilization_reason"] = impossible or unknown
        if stop := self._last.get(Kind.RUN_STOP):
            result["steps"] = stop.step
            if stop.data["status"] == "success":
                result["time_to_train_s"] = result["elapsed_s"]
        checked = ("ruleset", "division", "passed", "official", "problems")
        result["compliance"] = {name: self._datum(Kind.COMPLIANCE, name) for name in checked}
        return result

    def _take(self, result: dict[str, Any], kind: Kind, names: list[str]) -> None:
        for name in names:
            result[name] = self._datum(kind, name)

    def _datum(self, kind: Kind, name: str) -> Any:
        event = self._last.get(kind)
        return None if event is None else event.data.get(name)

    def _between(self, first: Kind, then: Kind) -> float | None:
        if first not in self._last or then not in self._last:
            return None
        return self._last[then].time - self._last[first].time

    def _interval(self) -> float | None:
        """Seconds between the last two evaluations: the target was reached somewhere in there."""
        start = self._last.get(Kind.RUN_START)
        if start is None or not self._evaluations:
            return None
        times = [start.time, *(event.time for event in self._evaluations)]
        return times[-1] - times[-2]


def _is_number(value: Any) -> bool:
    """Whether a quality is one; the record of earlier processes has NaN as text."""
    return isinstance(value, int | float) and math.isfinite(value)


def utilization(result: dict[str, Any]) -> float | None:
    """The share of the machine's peak over the time on the clock; above 1 it cannot be true."""
    return formulas.utilization(
        flop_per_sample=result["flop_per_sample"],
        samples=result["samples"],
        workers=result["accelerators"] or result["nodes"],
        peak_flop_per_s=result["peak_flop_per_s"],
        seconds=result["elapsed_s"],
    )


def _cost(result: dict[str, Any]) -> float | None:
    """Price of the machines for the time on the clock, in the currency of `price_per_hour`.

    None for a run that was resumed: the time it waited costs nothing, and its length is not known.
    """
    price, seconds = result["price_per_hour"], result["elapsed_s"]
    if price is None or seconds is None or result["lost_s"]:
        return None
    return float(price * result["nodes"] * seconds / 3600)
