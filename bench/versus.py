"""What a setting costs: runs with it and without, in turn, as the noise of a machine disturbs both.

    python bench/versus.py tracking=wandb [--against tracking=none] [--repeat 10] [overrides ...]

Prints medians of fresh runs with it and without, and the median of the ratios of neighbours with
their quartiles.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIGURES = ("elapsed_s", "step_ms_p50", "step_ms_p99", "init_s")


def run_once(overrides: list[str]) -> dict[str, float]:
    """One `ttt run`: the figures of its summary, and the wall time of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ttt", "run", f"run_root={folder}", *overrides]
        begin = time.time()
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        whole = time.time() - begin
        if ended.returncode not in (0, 3):  # 3: not to the target, which may be what is asked for
            sys.exit(ended.stderr)
        [summary] = Path(folder).glob("*/*/*/summary.json")
        found = json.loads(summary.read_text())
    return {name: found[name] for name in FIGURES} | {"whole command_s": whole}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setting")
    parser.add_argument("--against", default=None)
    parser.add_argument("--repeat", type=int, default=10)
    options, both = parser.parse_known_args()
    against = [] if options.against is None else [options.against]
    pairs = []
    for turn in range(options.repeat):
        with_it, without = [options.setting, *both], [*against, *both]
        if turn % 2:  # whoever goes second profits from what the first left in caches
            after, before = run_once(without), run_once(with_it)
            pairs.append((before, after))
        else:
            pairs.append((run_once(with_it), run_once(without)))
    for name in pairs[0][0]:
        ratios = [one[name] / other[name] for one, other in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        one, other = (statistics.median(pair[side][name] for pair in pairs) for side in (0, 1))
        print(f"{name:16} {one:9.3f} {other:9.3f}   {middle:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
