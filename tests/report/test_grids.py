import pytest

import studies
from ttt.report.analyze.caveats import cautions, objections, problems
from ttt.report.analyze.grouping import group
from ttt.report.analyze.score import Score
from ttt.report.analyze.sentences import answer, compared, recount, side_by_side
from ttt.report.analyze.weak import Weak
from ttt.report.render import grids
from ttt.report.render.experiment import score_lines
from ttt.report.render.grids import overview, scaling, stability


def hardware(study):
    return grids.hardware(study, lambda each: "some")


def test_a_column_nobody_fills_is_left_out():
    (task,) = studies.sweep().tasks
    heads = [head.text for head in overview(task).heads]
    assert "score (min)" in heads
    assert "scaled (min)" not in heads
    grid = hardware(studies.sweep())
    assert all(len(row) == len(grid.heads) for row in grid.rows)
    assert "cost" not in [head.text for head in grid.heads]


def test_the_fastest_is_first_and_those_without_a_score_last():
    failed = studies.runs("failed", status="aborted", time_to_train_s=None)
    (task,) = studies.of(failed, studies.runs("slow", 900.0), studies.runs("fast")).tasks
    grid = overview(task)
    place = [head.text for head in grid.heads].index("system")
    assert [row[place].key for row in grid.rows] == ["fast", "slow", "failed"]


def test_official_runs_compete_whether_their_logs_name_the_metric_or_not():
    named = studies.runs("ours", 500.0, official=True)
    (task,) = studies.of(named, studies.runs("vendor", official=True, metric=None)).tasks
    assert task.title == "resnet to top1 0.759, rules 4.0.0"
    assert answer(task).startswith("8.50 min on 8 x H100 (Acme), 8 accelerators, ours, the fastest")
    (comparison,) = task.comparisons
    assert "ours: 1.20 times as fast as 8" in compared(comparison)


def test_divisions_are_told_apart():
    opened = studies.runs("a", official=True, division="open")
    titles = [task.title for task in studies.of(opened, studies.runs("b", official=True)).tasks]
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
    (each,) = group(studies.runs("a", **changes, official=official))
    each.problems = problems
    assert each.verdict == said


def test_one_failed_log_may_be_dropped_from_an_official_result():
    failed = studies.run("a", 5, passed=False, official=True)
    (each,) = group([*studies.runs("a", count=4, official=True), failed])
    assert (each.problems, each.verdict) == ((), "yes")


def test_a_finding_says_whose_it_is():
    runs = [
        studies.run("a", seed, data_wait_fraction=0.1 * seed, train_s=600.0) for seed in range(8)
    ]
    (result,) = studies.of(runs).experiments
    seen = next(each for each in result.seen if each.finding.what == "waiting for data")
    assert recount(seen, result) == "7 of 8 runs"
    assert "70%" in seen.finding.measured


@pytest.mark.parametrize(
    ("official", "said"), [(False, "2 of 3 runs, seeds 1, 2"), (True, "2 of 3 runs")]
)
def test_few_seeds_are_told_to_who_can_run_them_again(official, said):
    slow = [studies.run("a", seed, data_wait_fraction=0.4, official=official) for seed in (1, 2)]
    (result,) = studies.of([*slow, studies.run("a", 3, official=official)]).experiments
    seen = next(each for each in result.seen if each.finding.what == "waiting for data")
    assert recount(seen, result) == said


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
    (task,) = studies.of([*studies.runs("a"), fallen]).tasks
    (each,) = task.experiments
    assert each.verdict == "unofficial"
    assert problems(each) == ["seed 9 is the one that may be dropped: no run_stop"]


def test_why_there_is_no_score_is_told_in_few_lines():
    failed = studies.runs("a", count=8, status="aborted", time_to_train_s=None, reason="too late")
    (task,) = studies.of(failed).tasks
    told = problems(task.experiments[0])
    assert told[0].startswith("no score: 8 of 8 runs without a valid time")
    assert told[1:] == [*(f"seed {seed}: too late" for seed in range(1, 6)), "and 3 more"]


def test_what_a_finding_says_is_no_caution_as_well():
    runs = studies.runs("a", eval_s=1.0, train_s=500.0)
    (each,) = studies.of(runs).experiments
    assert "evaluations far apart" in [seen.finding.what for seen in each.seen]
    assert each.stability.coarse == pytest.approx(0.2, rel=0.02)
    assert cautions([each], "min") == []


def test_what_is_the_same_of_all_experiments_is_told_once():
    fine = studies.runs("c", 300.0, eval_interval_s=1.0)
    (task,) = studies.of(studies.runs("a"), studies.runs("b", eval_interval_s=61.0)).tasks
    (line,) = cautions(task.experiments, task.unit)
    assert line.startswith("both experiments: evaluations are 10% to 20% of the score apart: that")
    (task,) = studies.of(studies.runs("a"), studies.runs("b"), fine).tasks
    (line,) = cautions(task.experiments, task.unit)
    assert line.startswith("8 accelerators, a; 8 accelerators, b: evaluations are 20% of the score")
    (task,) = studies.of(studies.runs("a")).tasks
    (line,) = cautions(task.experiments, task.unit)
    assert line.startswith("evaluations are 2.04 min apart, 20% of the score: that hides smaller")


def test_one_thing_that_is_wrong_with_several_results_is_told_once():
    (task,) = studies.of(*(studies.runs(name, official=True) for name in "ab")).tasks
    (line, *_) = objections(task.experiments)
    assert line == "both experiments: not valid: resnet takes exactly 5 runs, here are 3"
    (task,) = studies.of(*(studies.runs(name, official=True) for name in "abc")).tasks
    task.experiments[0].problems = ()
    (line, *_) = objections(task.experiments)
    assert line == (
        "8 accelerators, b; 8 accelerators, c: not valid: resnet takes exactly 5 runs, here are 3"
    )


def test_why_a_result_is_not_valid_stands_below_the_table_of_it():
    (result,) = studies.of(studies.runs("a", official=True)).experiments
    assert result.verdict == "no"
    assert objections([result])[0] == "not valid: resnet takes exactly 5 runs, here are 3"
    dropped = studies.run("a", 9, status="aborted", time_to_train_s=None, reason="too late")
    (result,) = studies.of([*studies.runs("a"), dropped]).experiments
    assert objections([result]) == ["seed 9 is the one that may be dropped: too late"]


def test_experiments_that_a_system_does_not_tell_apart_have_names():
    alike = [
        studies.runs(name, batch, system="box", global_batch=batch)
        for name, batch in (("a", 64), ("b", 128))
    ]
    study = studies.of(*alike)
    (task,) = study.tasks
    for grid in (overview(task), grids.hardware(study, lambda each: each.apart)):
        place = [head.text for head in grid.heads].index("experiment")
        assert {row[place].text.rpartition("batch ")[2] for row in grid.rows} == {"64", "128"}
    (task,) = studies.sweep().tasks
    [head] = [head for head in overview(task).heads if head.text == "experiment"]
    assert head.page  # a terminal can do without it


def column(grid, title):
    place = [head.text for head in grid.heads].index(title)
    return [row[place].text for row in grid.rows]


def test_the_interval_stands_beside_the_score_and_evaluations_have_a_column():
    few = studies.runs("few", 900.0, count=2)
    (task,) = studies.of(studies.runs("many"), few).tasks
    grid = overview(task)
    heads = [head.text for head in grid.heads]
    assert heads.index("95% interval") == heads.index("score (min)") + 1
    assert column(grid, "score (min)") == ["10.20", "15.2"]
    assert column(grid, "95% interval") == ["9.95 to 10.45", "-"]
    assert column(stability(task), "evaluated every (min)") == ["2.04", "3.04"]
    (task,) = studies.sweep().tasks
    grid = scaling(task.sweeps[0], task)
    assert column(grid, "95% interval")[0] == "9.95 to 10.45"
    assert column(grid, "evaluated every (min)") == ["2.04", "0.340", "0.136"]


def test_official_times_are_in_minutes_however_short():
    quick = studies.runs("a", 11.0, official=True)
    (task,) = studies.of(quick).tasks
    assert task.unit == "min"
    assert column(overview(task), "score (min)") == ["0.187"]
    assert answer(task).startswith("0.187 min on")
    assert cautions(task.experiments, task.unit)[0].startswith("evaluations are 0.0374 min apart")
    (task,) = studies.of(studies.runs("a", 11.0)).tasks
    assert column(overview(task), "score (s)") == ["11.22"]


def test_rates_have_three_digits_and_are_tokens_where_samples_have_as_many():
    llm = {"epochs": None, "samples": 5.031 * 612, "elapsed_s": 612.0}
    several = studies.of(studies.runs("a", **llm))
    assert column(hardware(several), "samples/s") == ["5.03"]
    several = studies.of(studies.runs("a", **llm, sequence_length=8192))
    assert column(hardware(several), "tokens/s") == ["41,200"]
    mixed = studies.of(
        studies.runs("a", **llm, sequence_length=8192),
        studies.runs("b", samples=57_284.0, elapsed_s=1.0, benchmark="ssd"),
    )
    assert column(hardware(mixed), "throughput") == ["41,200 tokens/s", "57,300 samples/s"]


@pytest.mark.parametrize(
    ("changes", "title", "told"),
    [
        ({"epochs": 0.0001249, "samples": 1_204_000.0}, "samples to the target", "1.20 M"),
        ({"epochs": None, "samples": 3072.0}, "samples to the target", "3,072"),
        ({"epochs": 0.82, "samples": 3072.0}, "epochs to the target", "0.82"),
        ({"epochs": None, "samples": None}, None, None),
    ],
)
def test_progress_is_in_samples_where_epochs_say_nothing(changes, title, told):
    (task,) = studies.of(studies.runs("a", **changes)).tasks
    grid = stability(task)
    if title is None:
        assert not any("target" in head.text for head in grid.heads)
    else:
        separator = ", " if "samples" in title else " "
        assert column(grid, title) == [separator.join([told] * 3)]


def test_the_progress_of_many_runs_is_counted():
    many = [studies.run("a", seed, epochs=35.0 + (seed > 9)) for seed in range(12)]
    (task,) = studies.of(many).tasks
    assert column(stability(task), "epochs to the target") == ["35 (10), 36 (2)"]


def test_models_side_by_side_have_a_score_of_their_own():
    weak = Weak(59, 59, 32, 765.03, 12.7505, 4.6273)
    runs = studies.runs("a", official=True)
    (task,) = studies.of(runs).tasks
    (only,) = task.experiments
    only.weak, only.score, only.problems = weak, Score(None, "weak"), ()
    only.remarks = ("a remark",)
    told = "59 models, 32 accelerators each, 12.75 min, 4.63 models/min"
    assert answer(task) == f"{told}."
    assert side_by_side(task) == [f"8 accelerators: {told}"]
    assert score_lines(only, "min", "epochs")[0] == f"weak scaling: {told}"
    assert column(overview(task), "models/min") == ["4.63"]
    assert only.verdict == "yes"
    assert objections(task.experiments) == ["a remark"]


def test_energy_is_told_where_it_was_measured():
    what = studies.of(studies.runs("a"))
    (only,) = what.experiments
    only.energy_j = 1.949e6
    assert column(hardware(what), "energy") == ["1.95 MJ"]
    assert "energy to the target: 1.95 MJ" in score_lines(only, "min", "epochs")
