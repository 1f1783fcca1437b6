"""What it costs to read many MLPerf logs, beside MLCommons' own result_summarizer.

    python bench/read_logs.py TREE ... [--logs 2000] [--jobs 1]

Each TREE is a submitter's folder in a folder of its round, as results/v4.0/NVIDIA. Its systems are
copied beside each other until there are as many logs as asked for; then the same logs are read by
`ttt report` (read, check, score, reference convergence points) and summarized by the official
command, submitter by submitter, as it takes no more. Time and peak memory are those of a command
with all its children.
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

OURS = """
import sys
from ttt.report.read.find import find
from ttt.report.analyze.rcp import judge
from ttt.report.analyze.grouping import group
if __name__ == "__main__":
    found = find([sys.argv[1]], jobs=int(sys.argv[2]) or None)
    groups = group(found.runs, judge)
    scored = sum(each.score.seconds is not None for each in groups)
    print(len(found.runs), "logs,", len(found.rejected), "rejected,", scored, "scores")
"""


def build(trees: list[Path], logs: int, into: Path) -> list[tuple[Path, str]]:
    """Copy the systems of trees until there are enough logs; submitters and their rulesets."""
    made: dict[Path, str] = {}
    count = number = 0
    while count < logs:
        for tree in trees:
            copy = into / tree.parent.name / tree.name
            made[copy] = f"{tree.parent.name.removeprefix('v')}.0"
            (copy / "systems").mkdir(parents=True, exist_ok=True)
            for system in (tree / "results").iterdir():
                shutil.copytree(system, copy / "results" / f"{system.name}_{number}")
                count += len(list(system.rglob("result_*.txt")))
                described = copy / "systems" / f"{system.name}_{number}.json"
                shutil.copy(tree / "systems" / f"{system.name}.json", described)
        number += 1
    return list(made.items())


@dataclass
class Cost:
    """What commands took: seconds on the clock and of processors, and the most memory of any."""

    seconds: float
    processor_s: float
    mib: float
    printed: str

    def __str__(self) -> str:
        return (
            f"{self.seconds:8.1f} s, {self.processor_s:8.1f} s of processors, {self.mib:6.0f} MiB"
        )


def measured(*commands: list[str], folder: Path) -> Cost:
    """Run commands one after the other; keeps the last line that the last one printed."""
    cost, begin = Cost(0, 0, 0, ""), time.perf_counter()
    for command in commands:
        watch = [sys.executable, str(Path(__file__).resolve()), "--watch", *command]
        done = subprocess.run(watch, check=True, capture_output=True, text=True, cwd=folder)
        *lines, last = done.stdout.splitlines()
        mib, processor_s = map(float, last.split())
        cost.processor_s += processor_s
        cost.mib, cost.printed = max(cost.mib, mib), (lines or [""])[-1]
    cost.seconds = time.perf_counter() - begin
    return cost


def watch(command: list[str]) -> None:
    """Run a command; print its peak memory, an upper bound where it has children, and its time."""
    process = subprocess.Popen(command)
    most = 0
    while process.poll() is None:
        most = max(most, _resident(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    # A short command may be gone before it was seen.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    most = max(most, used.ru_maxrss * 1024)
    print(most / 2**20, used.ru_utime + used.ru_stime, flush=True)


def _resident(pid: int) -> int:
    """Bytes in memory of a process and its descendants; pages they share count for each."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return (int(found[1]) * 1024 if found else 0) + sum(_resident(int(child)) for child in children)


def main() -> None:
    """Build, measure, print."""
    if sys.argv[1:2] == ["--watch"]:
        watch(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tree", nargs="+", type=Path)
    parser.add_argument("--logs", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=0, help="0: one for each core")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copies = build(arguments.tree, arguments.logs, folder / "trees")
        (folder / "ours.py").write_text(OURS)
        ours = [sys.executable, "ours.py", "trees", str(arguments.jobs)]
        theirs = [
            [
                *(sys.executable, "-m", "mlperf_logging.result_summarizer", str(copy), "training"),
                *(ruleset, "--csv", "summary.csv"),
            ]
            for copy, ruleset in copies
        ]
        mine = measured(ours, folder=folder)
        print(f"ttt report         {mine}: {mine.printed}")
        official = measured(*theirs, folder=folder)
        print(f"result_summarizer  {official}: {len(copies)} commands")
        print(
            f"times as long      {official.seconds / mine.seconds:8.1f}  "
            f" {official.processor_s / mine.processor_s:8.1f}"
        )


if __name__ == "__main__":
    main()
