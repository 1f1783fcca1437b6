"""Real published logs must get the verdicts that MLCommons' own command gives them."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from compliance_logs import official_says
from ground import PROJECT
from ttt.cli import check
from ttt.compliance import check_file, usage_of
from ttt.report.read.find import find

SHARED = Path(os.environ.get("TTT_SHARED", PROJECT.parent / "shared"))
RESULTS = SHARED / "mlperf_results"

pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason=f"no vendors' logs in {RESULTS}")

FAIL = {
    "v4.0/NVIDIA/results/eos_n8_ngc24.04_mxnet/resnet/result_4.txt",  # aborted below the target
    "v4.0/tinycorp/results/tinybox_green/resnet/result_0.txt",  # no run_stop
}
ROUNDS = ["v0.7", "v2.1", "v4.0", "v5.0", "v5.1", "hpc_v3.0"]


@pytest.mark.parametrize("round_", ROUNDS)
def test_a_published_log_is_judged_by_its_round_as_the_bare_engine_does(round_):
    files = sorted((RESULTS / round_).rglob("result_*.txt"))
    assert files
    ruleset, failed = f"{round_.partition('v')[2]}.0", set()
    for file in files:
        verdict = check_file(file)
        assert (verdict.ruleset, verdict.reason) == (ruleset, f"by the folder {round_}")
        config = f"{usage_of(verdict.benchmark)}_{ruleset}/common.yaml"
        assert verdict.passed is official_says(file, ruleset, config)
        if not verdict.passed:
            failed.add(str(file.relative_to(RESULTS)))
    assert failed == {name for name in FAIL if name.startswith(round_)}


def test_check_and_report_say_the_same_of_every_log():
    runs = find([RESULTS]).runs
    assert len(runs) == len(list(RESULTS.rglob("result_*.txt")))
    for run in runs:
        verdict = check_file(run.path)
        assert (run.ruleset, run.passed) == (verdict.ruleset, verdict.passed)
        assert run.ruleset_reason == verdict.reason


@pytest.mark.parametrize("round_", ROUNDS)
def test_without_its_folder_a_log_is_of_the_round_after_its_date(round_, tmp_path):
    """One result was handed in again a year later: its rules were those of the year before, too."""
    found = Counter[str | None]()
    for number, file in enumerate(sorted((RESULTS / round_).rglob("result_*.txt"))):
        (tmp_path / f"result_{number}.txt").symlink_to(file)
        verdict = check_file(tmp_path / f"result_{number}.txt")
        assert verdict.passed is (str(file.relative_to(RESULTS)) not in FAIL)
        found[verdict.ruleset] += 1
    again = found.pop("3.0.0", 0) if round_ == "v4.0" else 0
    assert list(found) == [f"{round_.partition('v')[2]}.0"]
    assert again == (5 if round_ == "v4.0" else 0)


@pytest.mark.parametrize("round_", ROUNDS)
def test_published_results_are_whole_and_a_run_that_missed_does_not_fail_them(round_, capsys):
    """Fails a result whose run did not converge, or where a round is judged by another's rules."""
    assert check.main([str(RESULTS / round_)]) == 0
    out = capsys.readouterr().out
    folders = {file.parent for file in (RESULTS / round_).rglob("result_*.txt")}
    assert f"of {len(folders)} whole results {len(folders)} passed" in out
    missed = [name for name in FAIL if name.startswith(round_)]
    assert out.count("did not converge: scored as the slowest and dropped, as one of 5 may be") == (
        len(missed)
    )
    for name in missed:  # by itself it fails
        assert check.main([str(RESULTS / name)]) == 4


@pytest.mark.parametrize(
    ("name", "ruleset"),
    [(name, "4.0.0") for name in sorted(FAIL)]
    + [("v4.0/tinycorp/results/tinybox_green/resnet/result_1.txt", "4.0.0")]
    + [("v0.7/NVIDIA/results/dgxa100_ngc20.06_pytorch/gnmt/result_3.txt", "0.7.0")],
)
def test_the_official_command_agrees(tmp_path, name, ruleset):
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--ruleset", ruleset]
    for more in ([], ["--werror"]):
        done = subprocess.run(
            [*command, *more, str(RESULTS / name)], cwd=tmp_path, capture_output=True, check=False
        )
        verdict = check_file(RESULTS / name, ruleset, werror=bool(more))
        assert verdict.passed is (done.returncode == 0)


@pytest.mark.parametrize("metric", ["5", "null"])
def test_a_rule_about_all_evaluations_together_is_broken_in_a_sentence(metric, tmp_path):
    """The engine makes one record of them, which is in no line of the log."""
    file = next((RESULTS / "v5.0").rglob("stable_diffusion/result_0.txt"))
    log = tmp_path / "result_0.txt"
    log.write_text(file.read_text().replace('"metric": "CLIP"', f'"metric": {metric}', 1))
    verdict = check_file(log)
    assert not verdict.passed
    assert any("all evaluations together" in problem for problem in verdict.problems)
