import dataclasses
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from report_runs import experiment, of_size
from ttt.report.analyze.comparison import between_machines, comparisons
from ttt.report.analyze.grouping import group
from ttt.report.analyze.significance import MANY, runs_needed, welch
from ttt.report.analyze.stability import stability

TIMES = st.lists(st.floats(1.0, 1e5), min_size=3, max_size=10)


def with_epochs(epochs, **changes):
    """An experiment of 10 s an epoch, evaluated every second one."""
    alike = experiment([10 * each for each in epochs], eval_interval_s=20.0, **changes)
    runs = zip(alike.runs, epochs, strict=True)
    (made,) = group([dataclasses.replace(run, epochs=each) for run, each in runs])
    return made


@given(TIMES)
def test_the_interval_is_that_of_a_trimmed_mean_or_students(times):
    low, high = experiment(times).interval
    mean, error = statistics.fmean(times), stats.sem(times)
    if len(times) >= 5:
        share = 1 / len(times)
        expected = stats.mstats.trimmed_mean_ci(np.sort(times), limits=(share, share), alpha=0.05)
        if (high - low) > 1e-9 * mean:
            assert (low, high) == pytest.approx((max(0, expected[0]), expected[1]), rel=1e-6)
    elif error > 1e-9 * mean:
        expected = stats.t.interval(0.95, len(times) - 1, mean, error)
        assert (low, high) == pytest.approx((max(0, expected[0]), expected[1]), rel=1e-6)


def test_one_slow_run_that_is_dropped_does_not_widen_the_interval():
    """As Intel's dlrm of v2.1 on two nodes: a score of 37.86 min is not "33 to 47"."""
    times = [37.92, 37.77, 37.53, 37.90, 50.11]
    low, high = experiment(times).interval
    assert 37.5 < low < statistics.fmean([37.92, 37.77, 37.90]) < high < 38.2
    assert experiment([*times[:4], None]).interval == (low, high)


@given(TIMES)
def test_the_score_lies_in_its_interval(times):
    made = experiment(times)
    low, high = made.interval
    assert low * (1 - 1e-9) <= made.score.seconds <= high * (1 + 1e-9)


def test_two_runs_have_no_interval():
    made = experiment([10.0, 11.0])
    assert made.interval is None
    assert (
        stability(made)
        .warnings[0]
        .startswith("2 runs with a time cannot tell how far seeds scatter")
    )


def test_runs_that_did_not_converge_have_no_epochs_in_it():
    made = experiment([None, 100.0, 101.0, 102.0, 100.5])
    assert stability(made).progress == (10.0,) * 4
    assert 98.5 < made.interval[0] < 99
    assert 103.5 < made.interval[1] < 104


def test_nothing_is_warned_of_a_result_without_score():
    assert stability(experiment([None, None, 90.0])).warnings == ()


def test_a_wide_spread_is_told():
    told = stability(experiment([100.0, 101.0, 150.0])).warnings
    assert told == (
        "the times scatter widely: standard deviation 24% of the mean, from 100 s to 150 s",
    )


def test_an_outlier_is_told_in_epochs():
    told = stability(with_epochs([70, 70, 70, 70, 72]))
    assert told.progress == (70, 70, 70, 70, 72)
    assert told.warnings[0] == "4 of 5 runs took 70 epochs, 1 took 72"


def test_a_coarse_interval_is_told():
    told = stability(with_epochs([20, 20, 20]))
    assert told.coarse == 0.1
    assert told.warnings == ()
    assert stability(with_epochs([60, 60, 60])).coarse is None


def test_no_spread_at_all_is_told_where_evaluations_could_hide_one():
    (told,) = stability(with_epochs([60, 60, 60])).warnings
    assert told.startswith("all 3 runs stopped at the same evaluation, and evaluations are")
    assert stability(with_epochs([200, 200, 200])).warnings == ()


@given(TIMES, TIMES)
def test_welch_is_that_of_scipy(first, second):
    ours = welch(first, second)
    if ours is None:
        assert len(set(first)) == len(set(second)) == 1
    elif min(map(statistics.stdev, (first, second))) > 1e-6 * max(*first, *second):
        theirs = stats.ttest_ind(first, second, equal_var=False).pvalue
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-12)


def test_too_few_runs_have_no_p_value():
    assert welch([1.0], [2.0, 3.0]) is None
    assert runs_needed([1.0], [2.0, 3.0]) is None
    assert runs_needed([2.0, 3.0], [2.0, 3.0]) is None


def _found(runs, distance, first, second):
    """How often Welch's test finds a difference, by scipy's noncentral t distribution."""
    parts = [first**2 / runs, second**2 / runs]
    freedom = sum(parts) ** 2 / sum(part**2 / (runs - 1) for part in parts)
    limit, shift = stats.t.ppf(0.975, freedom), distance / sum(parts) ** 0.5
    return stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [(1, 1, 20.0), (1, 1, 3.9), (1, 1, 3.0), (0.1, 1, 3.0), (1.5, 2.21, 10.2), (1, 2, 0.5)],
)
def test_the_runs_needed_have_the_power_promised_and_one_less_has_not(first, second, distance):
    count = runs_needed(
        [100 - first, 100, 100 + first], [100 + distance + d * second for d in (-1, 0, 1)]
    )
    assert _found(count, distance, first, second) >= 0.8
    assert count == 2 or _found(count - 1, distance, first, second) < 0.8


def test_differences_nobody_could_show_and_times_that_never_differ():
    assert runs_needed([1.0, 2.0, 3.0], [1.0, 2.0, 3.0 + 1e-9]) == MANY
    assert runs_needed([2.0] * 3, [3.0] * 3) is None
    assert runs_needed([2.0, 2.0, 2.0 + 1e-9], [3.0] * 3) == 2
    assert runs_needed([2.0, 2.1], [3.0, 3.1]) is None  # two say nothing of how they scatter


def test_scores_and_means_that_disagree_say_no_number_of_runs():
    lucky = experiment([10.0, 10.0, 40.0], accelerators=2)
    steady = experiment([12.0, 12.0, 12.1], accelerators=2, global_batch=9)
    [told] = comparisons([lucky, steady])
    assert (told.first, told.runs_to_tell) == (lucky, None)


def test_a_result_without_score_has_no_interval():
    assert experiment([None, None, 90.0, 91.0, 92.0]).interval is None


def test_times_are_told_in_the_unit_of_all_that_they_are_shown_with():
    wide = experiment([100.0, 101.0, 150.0])
    (told,) = stability(wide, [wide, experiment([900.0])]).warnings
    assert told.endswith("from 1.67 min to 2.50 min")


def test_two_sizes_of_a_machine_are_the_business_of_its_scaling():
    small, large = of_size(8, 90.0), of_size(16, 50.0)
    other = of_size(8, 80.0, accelerator_name="MI300X")
    found = comparisons([small, large, other])
    told = [(each.first, each.second) for each in between_machines(found)]
    assert told == [(large, other), (other, small)]
    (only,) = between_machines(comparisons([small, large]))  # else nothing would be said
    assert (only.first, only.second) == (large, small)


def test_neighbours_in_rank_are_compared():
    slow, fast, middle = (of_size(8, each, global_batch=int(each)) for each in (90.0, 40.0, 60.0))
    told = comparisons([slow, fast, middle])
    assert [(each.first, each.second) for each in told] == [(fast, middle), (middle, slow)]
    assert [each.ratio for each in told] == [1.5, 1.5]
    assert told[0].p_value is None


def test_neighbours_of_the_same_size_are_compared_past_others():
    small, big, large = (of_size(size, each) for size, each in ((8, 90.0), (16, 50.0), (8, 30.0)))
    told = [(each.first, each.second) for each in comparisons([small, big, large])]
    assert told == [(large, big), (large, small), (big, small)]


def test_the_same_runs_do_not_compete_nor_those_without_a_target():
    once, again = (of_size(8, 90.0, stopped=7.0, system=name) for name in ("a", "b"))
    assert comparisons([once, again]) == []
    aimless = [of_size(8, each, target=None) for each in (80.0, 90.0)]
    assert comparisons(aimless) == []


@pytest.mark.parametrize(
    "change", [{"target": 0.5}, {"benchmark": "x"}, {"ruleset": "5.1.0"}, {"division": "open"}]
)
def test_other_tasks_are_not_compared(change):
    assert comparisons([of_size(8, 90.0), of_size(8, 80.0, **change)]) == []


def test_no_score_no_comparison():
    assert comparisons([of_size(8, 90.0), experiment([None])]) == []


@pytest.mark.parametrize(
    ("change", "hidden"),
    [
        ({"epochs": 9.0}, True),
        ({"global_batch": 160}, True),
        ({"epochs": None}, True),
        ({"precision": "bf16"}, False),  # the same epochs and batch: faster, seen at the same place
        ({"epochs": 9.0, "eval_interval_s": 5.0}, False),
    ],
)
def test_a_difference_below_an_evaluation_interval_is_hidden(change, hidden):
    known = {"eval_interval_s": 20.0} | change
    slow = of_size(8, 100.0, eval_interval_s=known["eval_interval_s"])
    (told,) = comparisons([slow, of_size(8, 90.0, **known)])
    assert told.hidden is hidden


def test_a_difference_above_it_is_not():
    (told,) = comparisons(
        [of_size(8, 100.0, eval_interval_s=5.0), of_size(8, 90.0, eval_interval_s=9.0, epochs=1.0)]
    )
    assert not told.hidden
