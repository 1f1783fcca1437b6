"""The files of a result together: what MLCommons' package_checker says of the same folder."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compliance_logs import find, write
from submissions import SYSTEM, log_of, run_folder
from ttt.cli import check
from ttt.compliance import Verdict
from ttt.report.read.results import Folder
from ttt.submission.whole import judge_whole


def result(root: Path, runs: int = 5, division: str = "open") -> Path:
    """A result of resnet in a tree of round v4.0."""
    folder = root / "v4.0" / "somebody" / "results" / "box" / "resnet"
    folder.mkdir(parents=True)
    systems = folder.parents[2] / "systems"
    systems.mkdir()
    (systems / "box.json").write_text(json.dumps(SYSTEM | {"division": division}))
    for run in range(runs):
        write(folder / f"result_{run}.txt", log_of("resnet", division, run, 10 * run))
    return folder


def change(file: Path, how: str) -> None:
    log = log_of("resnet", "open", 3, 0)
    match how:
        case "missed":  # in the open division any share is a quality
            for each in log:
                each["value"] = 1.5 if each["key"] == "eval_accuracy" else each["value"]
        case "cut off":
            log = log[:-1]
        case "breaks a rule":
            log.remove(find(log, "train_samples"))
        case "empty":
            log = []
    write(file, log)


def package_checker(folder: Path) -> bool:
    command = [sys.executable, "-m", "mlperf_logging.package_checker", str(folder.parents[2])]
    done = subprocess.run(
        [*command, "training", "4.0.0"],
        cwd=folder.parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    (verdict,) = re.findall(r"PACKAGE CHECKER FOUND (NO )?ERRORS", done.stderr)
    return bool(verdict)


@pytest.mark.parametrize(
    ("changes", "runs", "said"),
    [
        ([], 5, "of 1 whole results 1 passed"),
        (["missed"], 5, "result_0.txt did not converge: scored as the slowest and dropped"),
        (["cut off"], 5, "result_0.txt did not converge: scored as the slowest and dropped"),
        (["breaks a rule"], 5, "result_0.txt breaks a rule: scored as the slowest and dropped"),
        (["missed", "cut off"], 5, "2 of 5 runs cannot be scored; allowed: 1"),
        ([], 4, "4 result files; allowed: exactly 5"),
        ([], 6, "6 result files; allowed: exactly 5"),
    ],
)
def test_the_verdict_is_that_of_package_checker(tmp_path, capsys, changes, runs, said):
    folder = result(tmp_path, runs)
    for number, how in enumerate(changes):
        change(folder / f"result_{number}.txt", how)
    code = check.main([str(tmp_path), "--json", str(tmp_path / "out.json")])
    out = capsys.readouterr().out
    assert said in out
    assert (code == 0) is package_checker(folder)
    content = json.loads((tmp_path / "out.json").read_text())
    (whole,) = content["wholes"]
    assert (whole["passed"], whole["benchmark"], whole["runs"]) == (code == 0, "resnet", runs)
    assert content["excused"] == len(whole["not_scored"]) == (len(changes) if code == 0 else 0)
    assert content["failed"] == (0 if code == 0 else len(changes))


def test_a_file_that_is_no_log_of_the_benchmark_is_not_excused(tmp_path, capsys):
    folder = result(tmp_path)
    change(folder / "result_2.txt", "empty")
    assert check.main([str(folder)]) == 4
    assert "result_2.txt is a log of None; allowed: of resnet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ruleset", "seeds", "problem", "remark"),
    [
        ("4.1.0", [()] * 5, "5 of 5 runs log no seed; the closed division wants one", ""),
        ("4.0.0", [()] * 5, "", "5 of 5 runs log no seed; the rules want one since v4.1"),
        ("4.0.0", [(7,)] * 5, "result_4.txt has seed 7 of result_0.txt; allowed: another", ""),
        ("4.0.0", [(1,), (2,), (3,), (4, 1), (5,)], "result_3.txt has seed 1 of result_0.txt", ""),
        ("4.1.0", [(1,), (2,), (3,), (4,), (5,)], "", ""),
        ("0.7.0", [(7,)] * 5, "", ""),
    ],
)
def test_seeds_are_those_of_the_round(ruleset, seeds, problem, remark):
    verdicts = [
        Verdict(
            path=Path(f"result_{run}.txt"),
            benchmark="ssd",
            official=True,
            ruleset=ruleset,
            division="closed",
            passed=True,
            converged=True,
            seeds=tuple(("main.py", "12", each) for each in found),
        )
        for run, found in enumerate(seeds)
    ]
    files = tuple(one.path for one in verdicts)
    whole = judge_whole(Folder(Path("ssd"), files, submitted=True, weak=False), verdicts)
    assert whole is not None
    for said, wanted in (whole.problems, problem), (whole.remarks, remark):
        assert len(said) == bool(wanted)
        assert wanted in "".join(said)


def test_single_files_and_run_folders_are_judged_one_by_one(tmp_path, capsys):
    folder = result(tmp_path)
    change(folder / "result_0.txt", "missed")
    files = sorted(map(str, folder.iterdir()))
    assert check.main(files) == 0  # all of them, as a shell writes out a pattern
    assert check.main(files[1:]) == 0
    assert "whole" not in capsys.readouterr().out.splitlines()[-1]
    assert check.main(files[:2]) == 4
    assert check.main(files[:1]) == 4
    for run in range(5):
        run_folder(tmp_path / "results" / "resnet", run)
    assert check.main([str(tmp_path / "results")]) == 0
    change(tmp_path / "results" / "resnet" / "seed_1" / "result_0.txt", "missed")
    assert check.main([str(tmp_path / "results")]) == 4
    assert "whole" not in capsys.readouterr().out.splitlines()[-1]


def test_files_that_lie_about_are_a_result_only_if_complete(tmp_path, capsys):
    for run in range(5):
        write(tmp_path / f"result_{run}.txt", log_of("resnet", "open", run, 10 * run))
    change(tmp_path / "result_0.txt", "missed")
    assert check.main([str(tmp_path)]) == 0
    (tmp_path / "result_4.txt").unlink()
    capsys.readouterr()
    assert check.main([str(tmp_path)]) == 4
    assert "result files" not in capsys.readouterr().out
