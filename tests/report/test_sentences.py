"""The answer in a sentence, and what comparisons say."""

import dataclasses
import re

import pytest

import studies
from ttt.report.analyze.rcp import Rcp
from ttt.report.analyze.sentences import (
    answer,
    compared,
    comparisons,
    held_back,
    laws,
    rates,
)


def said(*groups):
    (task,) = studies.of(*groups).tasks
    return answer(task), [compared(each) for each in task.comparisons]


def test_the_fastest_is_told_and_how_sure_that_is():
    text, _ = said(studies.runs("a", 600.0), studies.runs("b", 900.0, submitter="Beta"))
    assert text == "10.20 min on 8 x H100 (Acme), the fastest of 2."


def test_what_no_test_tells_apart_is_not_called_the_fastest():
    text, (sentence,) = said(studies.runs("a", 600.0), studies.runs("b", 606.0))
    assert text == (
        "10.20 min on 8 x H100 (Acme), 8 accelerators, a: the lowest of 2, not told apart"
        " from 8 accelerators, b."
    )
    assert sentence == (
        "8 accelerators, a: 1.010 times as fast as 8 accelerators, b; Welch's t-test does not tell"
        " them apart (p = 0.28); it would take 17 runs of each to tell them apart (80% power)."
    )
    text, (sentence,) = said([studies.run("a", 1)], [studies.run("b", 1, 900.0)])
    assert "not told apart" in text
    assert "too few runs" in sentence


def test_what_differs_by_next_to_nothing_is_as_fast():
    _, (sentence,) = said(studies.runs("a", 600.0), studies.runs("b", 601.8, epochs=36.0))
    assert sentence.startswith(
        "8 accelerators, a: as fast as 8 accelerators, b, within 0.3%, a difference below one"
        " evaluation interval; Welch's t-test does not tell them apart (p = 0.7"
    )


def test_runs_that_nobody_would_do():
    _, (sentence,) = said(studies.runs("a", 600.0), studies.runs("b", 600.001))
    assert sentence == (
        "8 accelerators, a: as fast as 8 accelerators, b, within 0.1%; Welch's t-test does not"
        " tell them apart (p = 1); it would take more runs than are practical."
    )


def test_a_law_says_of_what_and_by_which_sizes():
    strong = [(8, 800.0), (16, 410.0), (32, 215.0)]
    (task,) = studies.of(*(studies.runs(f"n{n}", time, accelerators=n) for n, time in strong)).tasks
    (sweep,) = task.sweeps
    assert re.fullmatch(
        r"serial share: [\d.]+% of the time-to-train on 8 accelerators by Amdahl's law"
        r" \(at 8, 16, 32; within [\d.]+%\)",
        laws(sweep),
    )
    assert held_back(sweep)[-1] == laws(sweep)


def test_what_is_odd_about_a_factor_stands_with_what_holds_it_back():
    (task,) = studies.sweep().tasks
    (sweep,) = task.sweeps
    odd = dataclasses.replace(sweep.points[1], remarks=("overhead withheld",))
    lines = held_back(dataclasses.replace(sweep, points=(sweep.points[0], odd)))
    assert lines[-1] == "64: overhead withheld"


def test_which_witness_of_a_rate_was_believed_is_told():
    tracked = studies.runs("a", tracked_samples_per_s=2e6, steady_samples_per_s=None)
    (line,) = rates(studies.of(tracked).tasks)
    assert line.startswith("resnet, 8 accelerators: the log tracked 2,000,000/s")


@pytest.mark.parametrize(
    ("slower", "said_of_it"),
    [
        (1.0004, "1.0004 times as fast as"),
        (1.006, "1.006 times as fast as"),
        (1.034, "1.034 times as fast as"),
        (1.25, "1.25 times as fast as"),
        (11.0, "11.0 times as fast as"),
    ],
)
def test_a_ratio_has_digits_that_say_something(slower, said_of_it):
    """Runs that scatter by a millionth, which a test tells apart."""
    exact = [
        [studies.run(name, seed, seconds * (1 + 1e-6 * seed)) for seed in range(3)]
        for name, seconds in (("a", 600.0), ("b", 600.0 * slower))
    ]
    _, (sentence,) = said(*exact)
    assert f"8 accelerators, a: {said_of_it} 8 accelerators, b" in sentence
    assert sentence.endswith("; Welch's t-test tells them apart (p < 0.001).")


def test_machines_of_other_accelerators_are_named_and_other_sizes_left_to_the_scaling_table():
    (task,) = studies.of(
        studies.runs("h", 600.0),
        studies.runs("h64", 90.0, accelerators=64),
        studies.runs("m", 900.0, accelerator_name="MI300X"),
    ).tasks
    (sentence,) = comparisons(task)
    assert sentence.startswith("8 x H100: 1.50 times as fast as 8 x MI300X; ")


def test_the_answer_is_the_score_as_it_is_published():
    """NVIDIA's llama31_405b of v5.0 took 105.5 min; the table of results says 121.8."""
    what = studies.of(studies.runs("a", official=True), studies.runs("b", 700.0, official=True))
    (task,) = what.tasks
    first, _ = task.experiments
    first.rcp = Rcp("passed", "", scaling=1.154)
    first.scaled_seconds = 1.154 * first.score.seconds
    assert [each.name for each in task.ranked] == ["8 accelerators, a", "8 accelerators, b"]
    assert answer(task).startswith("11.77 min (scaled by 1.154 for its convergence) on 8 x H100")
    first.scaled_seconds = 900.0
    assert [each.name for each in task.ranked] == ["8 accelerators, b", "8 accelerators, a"]


def test_runs_that_ended_before_their_rules_were_known_are_with_the_others():
    early = [studies.run("b", 1, status="aborted", ruleset=None, division=None, passed=None)]
    (task,) = studies.of(early, studies.runs("a")).tasks
    assert task.title == "resnet to top1 0.759, rules 4.0.0"
    assert [each.name for each in task.experiments] == ["8 accelerators, b", "8 accelerators, a"]
    old = studies.runs("c", ruleset="3.1.0")  # of two that it could be it is neither
    titles = [task.title for task in studies.of(early, studies.runs("a"), old).tasks]
    assert titles == [
        f"resnet to top1 0.759{end}" for end in ("", ", rules 4.0.0", ", rules 3.1.0")
    ]


def test_sizes_that_were_not_checked_yet_are_a_sweep_of_the_task():
    """Their goal has no ruleset; the task is that of the checked ones."""
    grown = [
        studies.runs(f"u{size}", 600.0 / size**0.7, accelerators=8 * size, ruleset=None)
        for size in (1, 8, 64)
    ]
    (task,) = studies.of(*grown, studies.runs("checked", 900.0)).tasks
    assert [len(sweep.points) for sweep in task.sweeps if len(sweep.points) > 1] == [3]
    assert "With 64 times as many accelerators as the smallest of its sweep, 8" in answer(task)
    assert any(each.first.name.startswith("512") for each in task.comparisons)


def test_machines_whose_clocks_cannot_be_trusted_are_compared_by_their_scores_alone():
    (task,) = studies.of(
        studies.runs("a", clock_trusted=False), studies.runs("b", 900.0, clock_trusted=False)
    ).tasks
    (one,) = task.comparisons
    assert (one.ratio, one.p_value, one.runs_to_tell) == (pytest.approx(1.5), None, None)
