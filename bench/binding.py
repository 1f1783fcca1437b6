"""Bound ranks against unbound ones: how much `binding=always` is worth on this machine.

    python bench/binding.py [--repeat 5] [ttt run arguments ...]

Trains with both in turn, the first of a pair alternating, so that a noisy machine disturbs both
alike. Prints the median of each and, of the pairs, the median ratio with its quartiles: a ratio
whose quartiles are on both sides of 1 shows nothing. Use a machine of your own: a bound rank cannot
get out of the way of somebody else's process, and loses to an unbound one where there are any.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ttt.errors import NOT_REACHED, OK

SETTINGS = ("off", "always")
MEASURES = {"samples/s in training": "samples_per_s", "ms of the median step": "step_ms_p50"}
RUN = [sys.executable, "-m", "ttt", "run", "launcher=torchrun"]


def run_once(binding: str, arguments: list[str]) -> dict[str, float]:
    """What one run says of its speed; whether it reached its target does not matter."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*RUN, f"binding={binding}", f"run_root={folder}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (OK, NOT_REACHED):
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        [record] = Path(folder).glob("*/*/*/summary.json")
        summary = json.loads(record.read_text())
    return {name: summary[key] for name, key in MEASURES.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    options, arguments = parser.parse_known_args()
    pairs = []
    for number in range(options.repeat):
        order = SETTINGS if number % 2 else SETTINGS[::-1]
        pairs.append({binding: run_once(binding, arguments) for binding in order})
    for name in MEASURES:
        free, bound = ([pair[binding][name] for pair in pairs] for binding in SETTINGS)
        ratios = [bound / free for bound, free in zip(bound, free, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        print(
            f"{name}: unbound {statistics.median(free):.4g}, bound {statistics.median(bound):.4g},"
            f" bound / unbound {middle:.3f} (quartiles {low:.3f} to {high:.3f})"
        )


if __name__ == "__main__":
    main()
