"""What happened in a run, as one stream of events: stamped once, fanned out to sinks.

The order of a run is the order of `Kind`. Nothing flows back: a sink may fail, the clock goes on.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ttt import redact
from ttt.errors import TttError, encodable, where_failed

if TYPE_CHECKING:
    from ttt.protocols import Sink


class Kind(StrEnum):
    """Every kind of event, in the order of a run.

    CACHE_CLEAR          the data set left the page cache of every node    {nodes}
    INIT_START           the model is about to be built
    CONFIG               what is being run                                 {benchmark, seed, ...}
    INIT_STOP            everything is built and warm
    RUN_START            the clock starts; from here on data may be touched
    while running:
        BLOCK_START      training towards the next evaluation              {first_epoch, ...}
        PROGRESS*        about once a second                               {samples, rate, loss}
        BLOCK_STOP
        EVAL_START
        EVAL_STOP
        QUALITY          one value of the metric, the same on all ranks    {value, target, ...}
        CHECKPOINT       the state of `saved_step` is on the disk          {bytes, copy_s, ...}
    SUSPENDED            these processes end, and the clock goes on        {reason, bytes, save_s}
    RESUMED              the same run in new processes                     {started, lost_s, moved}
    RUN_STOP             the verdict exists; the clock stops               {status, reason}
    STATISTICS           what was measured on every rank: data_wait_s, {train_s, ranks, blocks,
                         communication, memory; and energy              energy_j, ...}
    COMPLIANCE           what the official checker says of the result      {passed, problems}
    KEPT                 what `keep` asked for is written                  {files, quality}
    WARNING              anything a reader of the result should know       {message}
    """

    CACHE_CLEAR = "cache_clear"
    INIT_START = "init_start"
    CONFIG = "config"
    INIT_STOP = "init_stop"
    RUN_START = "run_start"
    BLOCK_START = "block_start"
    PROGRESS = "progress"
    BLOCK_STOP = "block_stop"
    EVAL_START = "eval_start"
    EVAL_STOP = "eval_stop"
    QUALITY = "quality"
    CHECKPOINT = "checkpoint"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    RUN_STOP = "run_stop"
    STATISTICS = "statistics"
    COMPLIANCE = "compliance"
    KEPT = "kept"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: What.
        time: When, in seconds since the epoch, by the clock of rank 0.
        step: Optimizer updates finished by then.
        data: JSON-able details.
    """

    kind: Kind
    time: float
    step: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


def _encodable(value: Any) -> Any:
    """The value with text that every sink can write, for any bytes in a file's name."""
    match value:
        case str():
            return value if value.isascii() else encodable(value)
        case dict():
            return {_encodable(name): _encodable(item) for name, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
    return value


class EventLog:
    """Stamps events and hands each to every sink.

    Only rank 0 is given sinks. The first sink keeps the record: if it cannot be written the run is
    worth nothing, so its errors end the run. Any other sink is dropped at its first error, with a
    WARNING in the record: a full disk or a lost dashboard may not stop the clock.

    Args:
        now: The clock that stamps events.
        sinks: Where they go.
        recalled: What earlier processes recorded of this run, oldest first.

    Attributes:
        reached: The last event with the progress of training; None before there was one. An abort
            takes it from there: the data set, asked again, might fail or hang again.
    """

    def __init__(
        self,
        now: Callable[[], float],
        sinks: Sequence["Sink"] = (),
        recalled: Sequence[Event] = (),
    ) -> None:
        self._now = now
        self._sinks = list(sinks)
        self.reached: Event | None = None
        for event in recalled:
            self._remember(event)

    def emit(self, kind: Kind, step: int = 0, *, time: float | None = None, **data: Any) -> Event:
        """Record one event, without secrets.

        Args:
            kind: What happened.
            step: Optimizer updates finished by then.
            time: Only if the event happened before now.
            data: JSON-able details.
        """
        event = Event(
            kind, self._now() if time is None else time, step, redact.settings(_encodable(data))
        )
        self._remember(event)
        for sink in tuple(self._sinks):
            self._write(sink, event)
        return event

    def _remember(self, event: Event) -> None:
        if "epoch" in event.data and "samples" in event.data:
            self.reached = event

    def _write(self, sink: "Sink", event: Event) -> None:
        if sink is self._sinks[0]:
            sink.write(event)
            return
        try:
            sink.write(event)
        except TttError as error:  # says all there is to say
            self._drop(sink, event, str(error))
        except OSError as error:  # a disk, a connection, a terminal that went away
            reason = str(error) if error.errno else f"{type(error).__name__}: {error}"
            self._drop(sink, event, f"{type(sink).__name__} stopped: {reason}")
        except Exception as error:
            message = f"{type(sink).__name__} stopped: {where_failed(error)}"
            if _is_ours(sink):  # a defect of ttt
                logging.getLogger(__name__).exception(message)
            self._drop(sink, event, message)

    def _drop(self, sink: "Sink", event: Event, message: str) -> None:
        self._sinks.remove(sink)
        self.emit(Kind.WARNING, event.step, message=message)

    def close(self) -> None:
        """Close every sink, the record last."""
        for sink in reversed(self._sinks):
            try:
                sink.close()
            except Exception as error:
                log, name = logging.getLogger(__name__), type(sink).__name__
                why = redact.text(where_failed(error))
                log.warning("%s did not close: %s", name, why, exc_info=_is_ours(sink))
        self._sinks.clear()


def _is_ours(sink: "Sink") -> bool:
    """Whether it is no tracker of a user's own, whose author needs a sentence with the place."""
    return type(sink).__module__.partition(".")[0] == "ttt"
