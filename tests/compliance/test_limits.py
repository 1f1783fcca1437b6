"""Numbers of MLCommons' that ttt judges by are those that MLCommons' tools judge by."""

import re
from pathlib import Path

import pytest
from mlperf_logging.rcp_checker import rcp_checker

from compliance_logs import find, resnet, write
from ttt.compliance import check_file, init_minutes, reference_batches
from ttt.compliance.rulesets import ENGINE, rulesets

POINTS = sorted(
    re.search(r"(training|hpc)_([\d.]+)/rcps_(\w+)\.json", str(file)).groups()
    for file in Path(rcp_checker.__file__).parent.glob("*/rcps_*.json")
)


@pytest.mark.parametrize("division", ["closed", "open"])
@pytest.mark.parametrize("ruleset", ["0.7.0", "1.0.0", "1.1.0", "2.0.0", "3.1.0", "4.0.0"])
def test_the_limit_of_initialization_is_the_engines(tmp_path, ruleset, division):
    limit = init_minutes("resnet", ruleset, division)
    log = resnet()
    find(log, "submission_division")["value"] = division
    start = find(log, "init_start")["time_ms"]
    for minutes, over in ((limit - 1, False), (limit, True)):
        find(log, "init_stop")["time_ms"] = start + 60_000 * minutes
        said = check_file(write(tmp_path / "log", log), ruleset).problems
        assert any("first_init_start" in problem for problem in said) is over, said


def test_limits_that_the_rules_give_by_name():
    assert init_minutes("transformer", "0.7.0", "closed") == 20
    assert init_minutes("resnet", "4.0.0", "closed") == init_minutes("resnet", "4.0.0", None) == 30
    assert init_minutes("resnet", "4.0.0", "open") == 240
    assert init_minutes("gpt3", "3.0.0", "closed") == 60  # "v3.0 Specific Rules"
    assert init_minutes("cosmoflow", "3.0.0", "open") == 30
    for ruleset in rulesets("hpc"):
        assert "(30*60*1e3)" in (ENGINE / f"hpc_{ruleset}" / "common.yaml").read_text()


@pytest.mark.parametrize(("usage", "ruleset", "benchmark"), POINTS)
def test_the_bounds_of_a_batch_are_those_of_the_pruned_points(usage, ruleset, benchmark):
    if benchmark not in rcp_checker.submission_runs[usage]:
        with pytest.raises(KeyError):  # the checker cannot judge what its table has not
            rcp_checker.RCP_Checker(usage, ruleset, benchmark, False)
        return
    checker = rcp_checker.RCP_Checker(usage, ruleset, benchmark, False)
    batches = [point["BS"] for point in checker.pruned_rcp_data.values()]
    assert reference_batches(benchmark, ruleset) == (min(batches), max(batches))


def test_there_are_no_bounds_where_there_are_no_points():
    assert reference_batches("resnet", "0.7.0") is None
    assert reference_batches("digits", "6.1.0") is None
