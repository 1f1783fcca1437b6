"""Scores, scaled and not, must be those of MLCommons' own summarizer."""

import pytest
from mlperf_logging.rcp_checker import rcp_checker
from mlperf_logging.result_summarizer import result_summarizer

import summaries
from compliance_logs import find as pick
from compliance_logs import ours, record, resnet, write
from run_folders import finished
from ttt.report.analyze.grouping import group
from ttt.report.analyze.rcp import Rcp, judge
from ttt.report.read.find import find


@pytest.mark.filterwarnings("default")  # of the official code
def test_without_a_file_the_scaling_is_what_the_summarizer_will_write(shared, tmp_path):
    copy = summaries.copied(shared / "mlperf_results/v4.0/NVIDIA", tmp_path)
    for scaling in copy.rglob("scaling.json"):
        scaling.unlink()
    groups = group(find([copy]).runs, judge)
    first, second = (summaries.summarized(copy, "training", "4.0.0") for _ in range(2))
    assert {summaries.key(each): each.score.minutes for each in groups} == first["scores"]
    assert {summaries.key(each): each.scaled_minutes for each in groups} == second["scores"]
    assert first != second
    # The tool has left its file, which is now the authority: it says the same, to the last digit.
    assert [each.scaling_source for each in group(find([copy]).runs, judge)] == [
        "scaling.json" if each.scaling != 1 else "reference convergence points, by ttt"
        for each in groups
    ]


def test_what_the_checker_says_of_a_published_result(shared):
    found = find([shared / "mlperf_results/v4.0/NVIDIA/results/eos_ngc24.04_mxnet/resnet"])
    before = rcp_checker.logging
    [each] = group(found.runs, judge)
    assert rcp_checker.logging is before
    assert (each.rcp.verdict, each.rcp.mean_epochs) == ("passed", 35.0)
    assert each.rcp.min_epochs == pytest.approx(34.2476, abs=1e-4)
    assert each.rcp.reference_epochs == pytest.approx(35.1478, abs=1e-4)
    assert each.rcp.scaling == each.rcp.reference_epochs / 35.0
    assert each.problems == ()


def _resnet(folder, number, *, batch=3264, epoch=36, **changes):
    log = resnet()
    pick(log, "seed")["value"] = number
    pick(log, "global_batch_size")["value"] = batch
    pick(log, "eval_accuracy", 1)["metadata"]["epoch_num"] = epoch
    for key, value in changes.items():
        pick(log, key)["value"] = value
    for each in log:
        each["time_ms"] += number  # two logs of the same times are copies
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder / f"result_{number}.txt", log)


def _judged(folder):
    [each] = group(find([folder]).runs, judge)
    return each


def test_too_fast_to_be_true(tmp_path):
    for number in range(5):
        _resnet(tmp_path, number, epoch=20)
    each = _judged(tmp_path)
    assert each.rcp.verdict == "failed"
    assert "20 on average are fewer than the 34." in each.rcp.reason
    assert each.score.seconds == 120.0
    assert each.scaled_seconds is None
    assert "fewer than the 34." in each.problems[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"result_{n}.txt" for n in range(5)]


def test_a_batch_larger_than_any_reference(tmp_path):
    for number in range(5):
        _resnet(tmp_path, number, batch=10**6)
    each = _judged(tmp_path)
    assert each.rcp.verdict == "missing"
    assert each.problems == (
        "reference convergence points: Missing RCP, please submit RCP with BS = 1000000",
    )


def test_a_slow_result_passes_and_is_not_scaled(tmp_path):
    for number in range(5):
        _resnet(tmp_path, number)
    each = _judged(tmp_path)
    assert (each.rcp.verdict, each.rcp.scaling, each.problems) == ("passed", 1.0, ())
    assert each.scaled_seconds == each.score.seconds == 120.0


def test_who_is_not_judged(tmp_path):
    for number in range(3):
        _resnet(tmp_path / "open", number, submission_division="open")
        _resnet(tmp_path / "v0.7" / "old", number)
        (tmp_path / "ours").mkdir(exist_ok=True)
        log = ours()
        pick(log, "seed")["value"] = number
        write(tmp_path / "ours" / f"result_{number}.txt", log)
    assert [each.rcp for each in group(find([tmp_path]).runs, judge)] == [None] * 3


def test_logs_in_run_folders_are_judged_together(tmp_path):
    compliance = {"ruleset": "4.0.0", "division": "closed", "passed": True, "official": True}
    for number in range(5):
        folder = finished(tmp_path, number, benchmark="resnet", compliance=compliance)
        _resnet(folder, number, epoch=35)
    each = _judged(tmp_path)
    assert (each.rcp.verdict, each.rcp.mean_epochs) == ("passed", 35.0)


def test_a_damaged_log_leaves_no_verdict(tmp_path):
    for number in range(5):
        log = _resnet(tmp_path, number)
    log.write_text(log.read_text().replace('"epoch_num": 36, ', ""))
    each = _judged(tmp_path)
    assert each.rcp.verdict is None
    assert "cannot read the logs" in each.problems[-1]


@pytest.mark.parametrize("epoch", [float("nan"), 0, -3, float("inf")])
def test_epochs_that_cannot_be_leave_no_verdict(tmp_path, epoch):
    for number in range(5):
        _resnet(tmp_path, number, epoch=epoch)
    each = _judged(tmp_path)
    assert each.rcp == Rcp(None, f"the runs took {float(epoch)} epochs, says a log")
    assert each.scaled_seconds is None


def test_too_few_runs_are_not_judged(tmp_path):
    for number in range(2):
        _resnet(tmp_path, number)
    assert _judged(tmp_path).rcp is None


def test_the_official_summarizer_takes_the_same_start_and_stop(tmp_path):
    again = [record("run_start", minute=2), *resnet(), record("run_stop", minute=90)]
    again.insert(0, record("run_start", minute=-5))
    path = write(tmp_path / "result_0.txt", again)
    lines, _ = result_summarizer.parse_file(str(path), ruleset="4.0.0")
    start, stop = result_summarizer._query_run_start_stop(lines)
    [run] = find([path]).runs
    assert run.elapsed_s == (stop - start) / 1000
