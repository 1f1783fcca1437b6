import dataclasses

import pytest

import studies
from ttt.report.analysis.score import group
from ttt.report.forms.grids import hardware, overview, verdict
from ttt.report.forms.view import answer, compared, identity, recount, tasks


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


def test_official_runs_compete_whether_their_logs_name_the_metric_or_not():
    named = studies.runs("ours", 500.0, official=True)
    (task,) = tasks(studies.of(named, studies.runs("vendor", official=True, metric=None)))
    assert task.title == "resnet to top1 0.759, rules 4.0.0"
    assert answer(task).startswith("8.5 ± 1.7 min on 8 x H100 (Acme), the fastest of 2.")
    (comparison,) = task.comparisons
    assert "ours: 1.2 times as fast as 8" in compared(
        comparison, {identity(each.group): each.name for each in task.results}
    )


def test_divisions_are_told_apart():
    opened = studies.runs("a", official=True, division="open")
    titles = [task.title for task in tasks(studies.of(opened, studies.runs("b", official=True)))]
    assert titles[0] == f"{titles[1]}, open division"


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
