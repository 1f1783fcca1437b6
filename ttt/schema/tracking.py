"""Where a run is shown while it goes on. What it measured is in its folder, tracked or not."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field

from ttt.errors import install
from ttt.schema.choices import Tracker, TrackingMode
from ttt.schema.rules import not_positive


@dataclass
class TrackingConfig:
    """How a tracker learns of a run, and under which names.

    Attributes:
        name: Which tracker.
        mode: offline writes files that `wandb sync` uploads later; online uploads at once.
        project: Null is the benchmark's id.
        entity: User or team; null is the default of who is logged in.
        dir: Folder to keep its files in; null is the run folder.
        group: What the run is a repetition of; null is made of its size and precision.
        tags: Words to find it by.
        timeout_seconds: To be ready before the clock starts, and to be done after it has stopped.
    """

    name: Tracker = Tracker.none
    mode: TrackingMode = TrackingMode.offline
    project: str | None = None
    entity: str | None = None
    dir: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    timeout_seconds: float = 30.0

    def problems(self) -> Iterator[str]:
        """What is wrong with the settings, or not installed."""
        yield from not_positive("tracking", {"timeout_seconds": self.timeout_seconds})
        if self.name is Tracker.wandb and importlib.util.find_spec("wandb") is None:
            yield (
                f"tracking=wandb needs wandb, which is not installed: {install('wandb')}, or"
                " tracking=none; a run that was not tracked can be rebuilt with ttt report --wandb"
            )
