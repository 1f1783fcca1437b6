"""What a run spends: joules by the counters of GPUs and processors, read beside the run.

One process of each node reads the GPUs this run uses there and all processors of the node, once a
second in a thread, and a last time when the clock has stopped. The counters are those of the
components: NVML's total energy, and RAPL (Intel SDM, volume 3, "Power and Thermal Management";
powercap in the Linux documentation). Fans, disks, network cards and the losses of the power supply
are not in it, and MLPerf wants power measured where the node is plugged in: this is no MLPerf power
result. Processors are counted whole, although other processes may use them too.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ttt.distributed.device import identity
from ttt.distributed.rank import node_name
from ttt.errors import MissingExtra
from ttt.protocols import World
from ttt.schema.choices import Energy
from ttt.telemetry.counters import Counter, counters

_LAST_SECONDS = 5.0  # for the last reading
_PERIOD_SECONDS = 1.0  # MLPerf's power rules: at least a sample a second


@dataclass(slots=True)
class Spent:
    """What one node spent.

    Attributes:
        host: The node.
        begin: First reading, in seconds on the clock of the node.
        end: The last.
        joules: Between the two, by part.
        watts: (seconds, mean power of all parts since the reading before).
        reason: Why nothing is known, if so.
    """

    host: str
    begin: float = 0.0
    end: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)
    watts: list[tuple[float, float]] = field(default_factory=list)
    reason: str | None = None


class PowerMeter:
    """Reads counters for as long as it is entered. Where there are none it does nothing.

    Args:
        found: The counters; or why there are none.
        now: Seconds, as the event log has them.
        period: Seconds between readings.
    """

    def __init__(
        self,
        found: Sequence[Counter] | str,
        now: Callable[[], float],
        period: float = _PERIOD_SECONDS,
    ) -> None:
        reason = found if isinstance(found, str) else None
        self._counters: Sequence[Counter] = () if isinstance(found, str) else found
        self._now, self._period = now, period
        self._last: tuple[float, list[float]] = (0.0, [])
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="power", daemon=True)
        self.spent = Spent(socket.gethostname(), reason=reason)

    def __enter__(self) -> Self:
        if not self._counters:
            return self
        with self._excused():
            self._last = self._read()
            self.spent.begin = self.spent.end = self._last[0]
            self.spent.joules = dict.fromkeys((counter.part for counter in self._counters), 0.0)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._done.set()
            self._thread.join(_LAST_SECONDS)  # NVML may never answer for a GPU that is lost
            if self._thread.is_alive():
                self.spent.reason = f"a counter did not answer within {_LAST_SECONDS:g} s"

    def _watch(self) -> None:
        """Read once a second, and once more at the end."""
        ended = False
        while not ended and self.spent.reason is None:
            ended = self._done.wait(self._period)
            with self._excused():
                self._add(*self._read())

    @contextmanager
    def _excused(self) -> Iterator[None]:
        """A counter that fails makes the energy unknown, and the run goes on."""
        try:
            yield
        except Exception as error:  # as many kinds as there are counters
            self.spent.reason = f"{type(error).__name__}: {error}"

    def _read(self) -> tuple[float, list[float]]:
        # MLPerf's power logs have milliseconds; power times time is then what the counters showed.
        return round(self._now(), 3), [counter.read() for counter in self._counters]

    def _add(self, moment: float, values: list[float]) -> None:
        before, spent = self._last, self.spent
        spent_now = [
            counter.since(old, new)
            for counter, old, new in zip(self._counters, before[1], values, strict=True)
        ]
        for counter, joules in zip(self._counters, spent_now, strict=True):
            spent.joules[counter.part] += joules
        if moment > before[0]:
            spent.watts.append((moment, sum(spent_now) / (moment - before[0])))
        spent.end, self._last = moment, (moment, values)


def open_meter(
    setting: Energy, world: World, now: Callable[[], float], *, past: bool
) -> PowerMeter:
    """The meter of this process; that of the first on each node does the measuring.

    Args:
        setting: Of the configuration.
        world: The processes of the run.
        now: Seconds, as the event log has them.
        past: Whether earlier processes did a part of this run; what they spent is unknown.
    """
    if setting is Energy.off:
        return PowerMeter("system.energy=off", now)
    if past:
        return PowerMeter("the run was resumed, and nothing is known of its first part", now)
    gpus = world.gather((node_name(), identity(world.device)))
    if world.local_rank:
        return PowerMeter("measured by local rank 0", now)
    here = [gpu for node, gpu in gpus if gpu and node == node_name()]
    try:
        return PowerMeter(counters(world.device, here), now)
    except (MissingExtra, ImportError, OSError, ValueError) as error:  # a file may hold no number
        return PowerMeter(str(error), now)


def energy(nodes: Sequence[Spent], elapsed: float, samples: float) -> dict[str, Any]:
    """What all nodes together spent on a run: mean power times the time on the clock.

    That is how MLCommons' result_summarizer has it; the readings begin and end a moment outside of
    the run. A part that is not known of every node is left out of the sum, and of the scope.

    Args:
        nodes: One for each.
        elapsed: Seconds from RUN_START to RUN_STOP.
        samples: Training samples used by then.

    Returns:
        `energy_j`, `energy_reason`, `samples_per_j`, and `energy`: {gpu_j, cpu_j, scope}, where the
        memory of the host is part of cpu_j if the scope says dram.
    """
    nothing = {"energy_j": None, "samples_per_j": None, "energy": None}
    for node in nodes:
        where = f"{node.host}: " if len(nodes) > 1 else ""
        if node.reason or node.end <= node.begin:
            why = node.reason or "no time between readings"
            return nothing | {"energy_reason": where + why}
        if dead := _dead_counter(node):
            return nothing | {"energy_reason": f"{where}the counter of {dead} did not move"}
    scope = [part for part in nodes[0].joules if all(part in node.joules for node in nodes)]
    if not scope:
        return nothing | {"energy_reason": "no part can be read on every node"}

    def total(parts: Sequence[str]) -> float | None:
        known = [part for part in parts if part in scope]
        if not known:
            return None
        return sum(_joules(node, known, elapsed) for node in nodes)

    joules = total(scope) or 0.0
    return {
        "energy_j": joules,
        "energy_reason": None,
        "samples_per_j": samples / joules if joules else None,
        "energy": {
            "gpu_j": total(["gpu"]),
            "cpu_j": total(["cpu", "dram"]),
            "scope": " + ".join(scope),
        },
    }


def _dead_counter(node: Spent) -> str | None:
    """A part that spent nothing in longer than a second: its counter is dead, not the machine."""
    if node.end - node.begin <= 1.0:
        return None
    return next((part for part, joules in node.joules.items() if not joules), None)


def _joules(node: Spent, parts: Sequence[str], elapsed: float) -> float:
    return sum(node.joules[part] for part in parts) / (node.end - node.begin) * elapsed
