import dataclasses

import pytest

import studies
from ttt.report.analysis.score import group
from ttt.report.forms.grids import hardware, overview, verdict
from ttt.report.forms.view import recount, tasks


def test_a_column_nobody_fills_is_left_out():
    (task,) = tasks(studies.sweep())
    heads = [head.text for head in overview(task.results).heads]
    assert "score (min)" in heads
    assert "scaled (min)" not in heads
    grid = hardware(studies.sweep().rows)
    assert all(len(row) == len(grid.heads) for row in grid.rows)
    assert "cost" not in [head.text for head in grid.heads]


def test_the_fastest_is_first_and_those_without_a_score_last():
    failed = studies.runs("failed", status="aborted", time_to_train_s=None)
    (task,) = tasks(studies.of(failed, studies.runs("slow", 900.0), studies.runs("fast")))
    grid = overview(task.results)
    place = [head.text for head in grid.heads].index("system")
    assert [row[place].key for row in grid.rows] == ["fast", "slow", "failed"]


@pytest.mark.parametrize(
    ("changes", "official", "problems", "said"),
    [
        ({}, False, (), "unofficial"),
        ({}, True, (), "yes"),
        ({}, True, ("too few runs",), "no"),
        ({"passed": None}, False, (), "not checked"),
        ({"passed": False}, False, (), "no"),
    ],
)
def test_a_verdict(changes, official, problems, said):
    (each,) = group(studies.runs("a", **changes))
    each = dataclasses.replace(each, official=official, problems=problems)
    assert verdict(each) == said


def test_one_failed_log_may_be_dropped_from_an_official_result():
    runs = [*studies.runs("a", count=4), studies.run("a", 5, passed=False)]
    (each,) = group(runs)
    assert verdict(dataclasses.replace(each, official=True, problems=())) == "yes"


def test_a_finding_says_whose_it_is():
    runs = [
        studies.run("a", seed, data_wait_fraction=0.1 * seed, train_s=600.0) for seed in range(8)
    ]
    (result,) = tasks(studies.of(runs))[0].results
    seen = next(each for each in result.seen if each.finding.what == "waiting for data")
    assert recount(seen, result.group) == "7 of 8 runs, seeds 1, 2, 3, 4, 5, …"
    assert "70%" in seen.finding.measured
