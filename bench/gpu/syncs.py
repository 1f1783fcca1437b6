"""Where the host waits for the device in an update: torch's own warnings, with file and line.

A table whose gradient has only the rows of a batch makes the host wait for how many different rows
there are; `ttt.distributed.tables` says so. Any other wait is a failure.
"""

from __future__ import annotations

import warnings
from collections import Counter

import torch

from gpu import figures, parts

_UPDATES = 2


def check(section: figures.Section, name: str, built: parts.Built) -> None:
    """Count the waits of some updates.

    Raises:
        AssertionError: There are some that are not expected.
    """
    if not section.cuda:
        section.add(f"{name} waits", None, why="needs a GPU")
        return
    places = waits(section, built, built.synthetic.train[0])
    section.add(f"{name} waits", sum(places.values()) / _UPDATES, "an update")
    for place, count in places.most_common():
        print(f"  {count / _UPDATES:g} at {place}")
    sparse = any(getattr(module, "sparse", False) for module in built.learner.model.modules())
    assert sparse or not places, f"the host waits at {places.most_common(1)[0][0]}"


def waits(section: figures.Section, built: parts.Built, batch: object) -> Counter[str]:
    """How often some updates, and looks at the loss, made the host wait, by file and line."""
    section.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if section.cuda:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(_UPDATES):
                built.learner.step(batch)
                built.learner.health()
        finally:
            if section.cuda:
                torch.cuda.set_sync_debug_mode("default")
    found = [each for each in caught if "synchronizing CUDA operation" in str(each.message)]
    return Counter(f"{each.filename}:{each.lineno}" for each in found)
