"""Where the host waits for the device in an update: torch's own warnings, with file and line.

Needs a GPU. A table whose gradient has only the rows of a batch makes the host wait for how many
different rows there are; `ttt.dist.embedding` says so. Any other wait is a failure.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Sequence

import torch

from gpu import figures, parts
from gpu.steps import ALL, PRECISIONS, SMALL

_UPDATES = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Look; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", nargs="+", default=None)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    options = figures.options(parser, arguments)
    section = figures.Section("syncs", options)
    names = options.benchmarks or (ALL if section.cuda else SMALL)

    def look(section: figures.Section) -> None:
        for precision in options.precisions:
            for name in names:
                section.part(f"{name} {precision}", one, name, precision)
        if not section.cuda:
            raise figures.Skip("needs a GPU: updates were made, and a CPU has nothing to wait for")

    return figures.run(section, look)


def one(section: figures.Section, name: str, precision: str) -> None:
    """Count the waits of a benchmark's updates.

    Raises:
        AssertionError: There are some that are not expected.
    """
    built = parts.build(name, section.device, precision=precision)
    batch = built.synthetic.train[0]
    built.learner.step(batch)
    built.learner.health()
    places = waits(section, built, batch)
    total = sum(places.values()) / _UPDATES
    section.add(f"{name} {precision} host waits an update", total if section.cuda else None)
    for place, count in places.most_common():
        print(f"  {count / _UPDATES:g} at {place}")
    sparse = any(getattr(module, "sparse", False) for module in built.learner.model.modules())
    assert sparse or not places, f"the host waits at {places.most_common(1)[0][0]}"


def waits(section: figures.Section, built: parts.Built, batch: object) -> Counter[str]:
    """How often some updates made the host wait, by file and line."""
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
    told = [each for each in caught if "synchronizing CUDA operation" in str(each.message)]
    return Counter(f"{each.filename}:{each.lineno}" for each in told)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
