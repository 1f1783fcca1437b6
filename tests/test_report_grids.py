import dataclasses

import pytest

import studies
from ttt.report.analysis.score import group
from ttt.report.forms.doubts import cautions, problems, verdict
from ttt.report.forms.grids import hardware, overview
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
    assert answer(task).startswith(
        "8.5 ± 1.7 min on 8 x H100 (Acme), 8 accelerators, ours, the fastest"
    )
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


def test_a_run_that_may_fail_is_told_as_such_and_breaks_nothing():
    fallen = studies.run(
        "a",
        9,
        status="died",
        time_to_train_s=None,
        passed=False,
        reason="no run_stop",
        problems=("Required EXACTLY_ONE of run_stop",),
    )
    (task,) = tasks(studies.of([*studies.runs("a"), fallen]))
    (each,) = task.results
    assert verdict(each.group) == "unofficial"
    assert problems(each) == ["seed 9 is dropped, as it may be: no run_stop"]


def test_why_there_is_no_score_is_told_in_few_lines():
    failed = studies.runs("a", count=8, status="aborted", time_to_train_s=None, reason="too late")
    (task,) = tasks(studies.of(failed))
    told = problems(task.results[0])
    assert told[0].startswith("no score: 8 of 8 runs without a valid time")
    assert told[1:] == [*(f"seed {seed}: too late" for seed in range(1, 6)), "and 3 more"]


def test_what_a_finding_says_is_no_caution_as_well():
    runs = studies.runs("a", eval_s=1.0, train_s=500.0)
    (each,) = tasks(studies.of(runs))[0].results
    assert "evaluations far apart" in [seen.finding.what for seen in each.seen]
    assert any("apart" in line for line in each.stability.warnings)
    assert cautions(each) == []


def test_experiments_that_a_system_does_not_tell_apart_have_names():
    alike = [
        studies.runs(name, batch, system="box", global_batch=batch)
        for name, batch in (("a", 64), ("b", 128))
    ]
    (task,) = tasks(studies.of(*alike))
    for grid in (overview(task.results), hardware(studies.of(*alike).rows)):
        place = [head.text for head in grid.heads].index("experiment")
        assert {row[place].text.rpartition("batch ")[2] for row in grid.rows} == {"64", "128"}
    (task,) = tasks(studies.sweep())
    assert "experiment" not in [head.text for head in overview(task.results).heads]
