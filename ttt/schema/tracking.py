"""Where a run is shown while it goes on. What it measured is in its folder, tracked or not.

A tracker is a class by `_target_`, as every part of a run; see `ttt.sinks.open`. A node without a
`_target_` is a run that nothing tracks.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ttt.errors import fault, install
from ttt.schema.choices import TrackingMode
from ttt.schema.rules import not_positive

_OLD = "name"  # of the tracker, in a config.yaml from before trackers had a `_target_`


@dataclass
class TrackingConfig:
    """How a tracker learns of a run, and under which names.

    Attributes:
        mode: offline writes files that `wandb sync` uploads later; online uploads at once.
        project: Null is the benchmark's id.
        entity: User or team; null is the default of the user who is logged in.
        dir: Folder to keep its files in; null is the run folder.
        group: What the run is a repetition of; null is made of its size and precision.
        tags: Words to find it by.
        timeout_seconds: How long ttt waits for it, before the clock starts and after it stops.
    """

    mode: TrackingMode = TrackingMode.offline
    project: str | None = None
    entity: str | None = None
    dir: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    timeout_seconds: float = 30.0

    def problems(self) -> Iterator[str]:
        """What is wrong with the settings."""
        yield from not_positive("tracking", self, "timeout_seconds")
        if hasattr(self, "_target_"):
            return
        usual = TrackingConfig()
        for one in fields(TrackingConfig):
            value = getattr(self, one.name)
            if value != getattr(usual, one.name):
                why = "has no effect: the run is not tracked"
                typed = f"tracking=wandb, or leave tracking.{one.name}= out"
                yield fault(f"tracking.{one.name}", value, why, typed=typed)


@dataclass
class WandbConfig(TrackingConfig):
    """Weights & Biases; see `ttt.sinks.wandb`."""

    _target_: str = "ttt.sinks.wandb.Wandb"

    def problems(self) -> Iterator[str]:
        """What is wrong with the settings, or not installed."""
        yield from super().problems()
        own = self._target_ != WandbConfig._target_
        if not own and importlib.util.find_spec("wandb") is None:
            yield (
                f"tracking=wandb needs wandb, which is not installed: {install('wandb')}, or"
                " tracking=none; a run that was not tracked can be rebuilt with ttt report --wandb"
            )


def by_target(node: Any) -> Any:
    """The node of a frozen configuration, also of one that names its tracker as `name: wandb`."""
    if not isinstance(node, Mapping) or "_target_" in node or _OLD not in node:
        return node
    settings = {name: value for name, value in node.items() if name != _OLD}
    return settings | ({"_target_": WandbConfig._target_} if node[_OLD] == "wandb" else {})
