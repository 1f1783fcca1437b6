"""Unpack what vendors have published, rebuild it: MLCommons' own tools say the same of both."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from submissions import SYSTEM
from ttt.report.read.find import find
from ttt.submission.build import build
from ttt.submission.entry import read
from ttt.submission.judges import judge
from ttt.submission.plan import plan
from ttt.submission.rules import Request

# Systems of each tree, and what the tools say: package, systems, rcp, repository.
VENDORS = [
    ("v5.1/AMD", "5.1.0", ["*"], [True, True, True, True]),
    ("v4.0/tinycorp", "4.0.0", ["*"], [False, False, True, True]),
    (
        "v4.0/NVIDIA",
        "4.0.0",
        ["eos_ngc24.04_*"],
        [False, False, False, True, True, True],
    ),
    ("v0.7/NVIDIA", "0.7.0", ["dgxa100*"], [True, True, None, None, None]),
]


def unpacked(shared: Path, tree: str, systems: list[str], target: Path) -> Path:
    """Some systems of a published tree, without what the tools have left in it."""
    for pattern in systems:
        for folder in (shared / "mlperf_results" / tree / "results").glob(pattern):
            ignored = shutil.ignore_patterns("scaling.json")
            shutil.copytree(folder, target / tree / "results" / folder.name, ignore=ignored)
            described = folder.parents[1] / "systems" / f"{folder.name}.json"
            (target / tree / "systems").mkdir(exist_ok=True)
            shutil.copy(described, target / tree / "systems")
    return target / tree


def summaries(roots: list[Path], ruleset: str, folder: Path) -> list[list[str]]:
    """The lines of MLCommons' summary of trees below a folder, which it makes in one go."""
    table = folder / "table.csv"
    trees = ",".join(str(root.relative_to(folder)) for root in roots)
    subprocess.run(
        [
            *(sys.executable, "-m", "mlperf_logging.result_summarizer"),
            *(f"{folder}/{{{trees}}}", "training", ruleset, "--csv", str(table)),
        ],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    with table.open() as file:
        return sorted(list(csv.reader(file))[1:])


def contents(root: Path) -> dict[str, bytes]:
    files = (file for part in ("results", "systems") for file in (root / part).rglob("*"))
    return {str(file.relative_to(root)): file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize(("tree", "ruleset", "systems", "verdicts"), VENDORS)
def test_a_rebuilt_tree_gets_the_same_verdicts_and_scores(
    shared: Path, tmp_path: Path, tree: str, ruleset: str, systems: list[str], verdicts: list[bool]
):
    original = unpacked(shared, tree, systems, tmp_path)
    wish = Request(submitter=original.name, ruleset=ruleset)
    planned = plan([read(run, ruleset) for run in find([original]).runs], wish)
    (tmp_path / "out").mkdir()
    rebuilt = build(planned, tmp_path / "out")
    assert contents(rebuilt) == contents(original)

    theirs, ours = judge(original, ruleset), judge(rebuilt, ruleset)
    assert ours == theirs
    assert [one.passed for one in ours] == verdicts
    assert bool(planned.problems) is (False in verdicts)  # refused is what would be rejected
    lines = summaries([original, rebuilt], ruleset, tmp_path)
    assert len(lines) == 2 * len({result.system for result in planned.results})
    assert lines[0::2] == lines[1::2]
    assert contents(rebuilt) == contents(original)  # package_checker left scaling.json in both
    published = shared / "mlperf_results" / tree
    for name, text in contents(rebuilt).items():
        if name.endswith("scaling.json"):
            factor = json.loads((published / name).read_text())["scaling_factor"]
            assert json.loads(text)["scaling_factor"] == pytest.approx(factor, rel=1e-12)


def test_a_tool_that_crashes_has_not_passed(tmp_path: Path):
    root = tmp_path / "Lab"
    (root / "results" / "box" / "resnet").mkdir(parents=True)
    (root / "systems").mkdir()
    numbers = SYSTEM | {"accelerators_per_node": 8}  # which the tool joins as text
    (root / "systems" / "box.json").write_text(json.dumps(numbers))
    whole, described, points, repository = judge(root, "4.0.0")
    assert [whole.passed, described.passed, points.passed] == [False, False, None]
    assert repository.passed is True
    assert "crashed: TypeError" in described.lines[-1]
    assert "closed division" in points.lines[0]
    assert not any(file.suffix == ".log" for file in Path.cwd().glob("*_checker.log"))
