"""Stand-ins for what a test cannot have: time that obeys, and parts that do as they are told."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ttt.events import Event, Kind
from ttt.protocols import Shard, Synthetic, World
from ttt.watcher import NEVER


class FakeTime:
    """Seconds that pass only when told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.seconds = now

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Recorder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = False

    def write(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed = True

    def kinds(self) -> list[Kind]:
        return [event.kind for event in self.events]

    def last(self, kind: Kind) -> Event:
        return [event for event in self.events if event.kind is kind][-1]


@dataclass
class FakeData:
    """Batches of nothing; time passes while they are read."""

    time: FakeTime
    train_samples: int = 100
    eval_samples: int = 10
    steps_per_epoch: float = 10
    reads: list[str] = field(default_factory=list)

    def samples_after(self, step: int) -> int:
        return 10 * step

    def steps_to(self, samples: int) -> int:
        return -(-samples // 10)

    def synthetic(self, shard: Shard) -> Synthetic:
        return Synthetic([], [])

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[int]:
        number = start
        while True:
            self.reads.append("train")
            yield number
            number += 1

    def eval(self, shard: Shard) -> Iterator[int]:
        self.reads.append("eval")
        yield from range(self.eval_samples)

    def skipped(self) -> frozenset[str]:
        return frozenset()

    def details(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


@dataclass
class FakeLearner:
    """Each step takes a second; the loss breaks where it is told to."""

    time: FakeTime
    bad_step: int = NEVER
    steps: int = 0
    model: nn.Module = field(default_factory=nn.Identity)

    def step(self, batch: Any) -> None:
        self.time.sleep(1)
        self.steps += 1

    @contextmanager
    def eval_mode(self) -> Iterator[nn.Module]:
        self.time.sleep(2)
        yield self.model

    def in_step(self, batches: Iterable[Any], spare: Any) -> Iterator[tuple[Any, bool]]:
        return ((batch, True) for batch in batches)

    def health(self, *, wait: bool = False) -> tuple[int, float | None]:
        return (self.bad_step if self.steps > self.bad_step else NEVER), 1.0


@dataclass
class FakeTask:
    """Qualities in the order given, whatever was learned."""

    qualities: Sequence[float]
    evaluations: int = 0

    def loss(self, model: nn.Module, batch: Any) -> Any:
        raise NotImplementedError

    def predict(self, model: nn.Module, batch: Any) -> Any:
        return batch

    def metric(self) -> "FakeMetric":
        quality = self.qualities[self.evaluations]
        self.evaluations += 1
        return FakeMetric(quality)


@dataclass
class FakeMetric:
    """Counts what it is shown and answers what it was told."""

    quality: float
    name: str = "top1"
    seen: int = 0

    def details(self) -> dict[str, str]:
        return {}

    def update(self, prediction: Any, batch: Any) -> None:
        self.seen += 1

    def compute(self, world: World) -> tuple[float, int]:
        return self.quality, self.seen
