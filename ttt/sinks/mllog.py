"""result_<i>.txt: the MLPerf log, written by MLCommons' own library.

`records` turns an event into MLPerf records and knows every rule about them; `MlperfLog` carries
them to the file. Fractions, never percentages; `epoch_num` and `samples_count` on every position,
because rulesets disagree on which they read; one record each where the rules want exactly one.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlperf_logging import mllog

import ttt
from ttt.events import Event, Kind
from ttt.schema.logged import common


@dataclass(frozen=True, slots=True)
class Record:
    """One line of an MLPerf log, but for its time."""

    type: Literal["start", "end", "event"]
    key: str
    value: Any = None
    metadata: dict[str, Any] | None = None


def records(event: Event) -> Iterator[Record]:
    """What MLPerf wants to read of one event; nothing for kinds it does not know."""
    data = event.data
    match event.kind:
        case Kind.CACHE_CLEAR:
            yield Record("event", "cache_clear", True)
        case Kind.INIT_START | Kind.RUN_START:
            yield Record("start", event.kind.value)
        case Kind.INIT_STOP:
            yield Record("end", "init_stop")
        case Kind.CONFIG:
            yield from _configuration(event)
        case Kind.BLOCK_START:
            count = data["until"]["epoch"] - data["epoch"]
            first = {"first_epoch_num": _next_epoch(data["epoch"]), "epoch_count": count}
            yield Record("start", "block_start", None, first | {"samples_count": data["samples"]})
        case Kind.BLOCK_STOP:
            first = {"first_epoch_num": _next_epoch(data["since"]["epoch"])}
            yield Record("end", "block_stop", None, first | {"samples_count": data["samples"]})
        case Kind.EVAL_START:
            yield Record("start", "eval_start", None, _position(event))
        case Kind.EVAL_STOP:
            yield Record("end", "eval_stop", None, _position(event))
        case Kind.QUALITY:
            yield Record("event", "eval_accuracy", data["value"], _position(event))
        case Kind.RESUMED:  # no MLPerf key: a reader of the log must know
            told = {name: data[name] for name in ("lost_s", "moved") if data.get(name) is not None}
            yield Record("event", "resumed", True, _position(event) | told)
        case Kind.RUN_STOP:
            metadata = _position(event) | {"status": data["status"]}
            yield Record("end", "run_stop", None, metadata)
        case Kind.STATISTICS:
            throughput = {"throughput": data["samples_per_s"]}
            yield Record("event", "tracked_stats", throughput, {"step": data["epoch"]})


def _configuration(event: Event) -> Iterator[Record]:
    data = event.data
    # What the run says of itself comes last: `mlperf` cannot say otherwise.
    for key, value in (data["mlperf"] | common(data)).items():
        if isinstance(value, Mapping):  # a value with metadata, as {value: 64, method: discard}
            metadata = dict(value)
            yield Record("event", key, metadata.pop("value"), metadata)
        else:
            yield Record("event", key, value)
    meaning = {"metric": data["metric"], "higher_is_better": data["higher_is_better"]}
    meaning |= data.get("metric_details", {})  # a rehearsal has no metric
    yield Record("event", "target_accuracy", data["target"], meaning)


def _position(event: Event) -> dict[str, Any]:
    return {"epoch_num": event.data["epoch"], "samples_count": event.data["samples"]}


def _next_epoch(epoch: float) -> float:
    """MLPerf counts epochs from 1: after 3 of them, number 4 begins."""
    return epoch + 1


class MlperfLog:
    """Writes the MLPerf log of one run. A process may have one: MLCommons' logger is global.

    Args:
        path: The file; appended to.
        resumed: Whether it has its initialization already: nothing is added before RESUMED.
    """

    def __init__(self, path: Path, *, resumed: bool = False) -> None:
        self._waits = resumed
        # Keeps the records out of the terminal, and the machine's folders out of the records.
        self._logger = mllog.get_mllogger()
        self._logger.logger.handlers.clear()
        mllog.config(
            filename=str(path),
            root_dir=re.escape(str(Path(ttt.__file__).parent.parent)),
            default_stack_offset=1,
        )
        self._handlers: list[logging.Handler] = list(self._logger.logger.handlers)

    def write(self, event: Event) -> None:
        """Append the event's records, stamped with the event's own time."""
        self._waits = self._waits and event.kind is not Kind.RESUMED
        if self._waits:
            return
        for record in records(event):
            emit = getattr(self._logger, record.type)
            emit(record.key, record.value, record.metadata, time_ms=round(event.time * 1000))

    def close(self) -> None:
        """Close the file."""
        for handler in self._handlers:
            handler.close()
        self._logger.logger.handlers.clear()
