import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlperf_logging.result_summarizer import result_summarizer

import studies
from compliance_logs import find as pick
from compliance_logs import ours, resnet, write
from run_folders import aborted, died, finished
from ttt.report.analyze.comparison import comparisons
from ttt.report.analyze.grouping import group
from ttt.report.analyze.hardware import row
from ttt.report.analyze.price import priced
from ttt.report.analyze.rcp import Rcp
from ttt.report.analyze.score import Score, olympic, spread, valid_time
from ttt.report.analyze.stability import stability
from ttt.report.read.find import find
from ttt.report.run import Found

TIMES = st.lists(st.floats(1e-3, 1e6), min_size=3, max_size=12)


@pytest.mark.parametrize(
    ("times", "score"),
    [
        ([5.0], 5.0),
        ([5.0, 7.0], 6.0),
        ([5.0, 7.0, 100.0], 7.0),
        ([9.0, 1.0, 5.0, 6.0, 7.0], 6.0),
        ([None, 1.0, 5.0, 6.0, 7.0], 6.0),
        ([None, 1.0, 5.0], 5.0),
        ([None], None),
        ([None, 5.0], None),
        ([None, None, 5.0, 5.0, 5.0], None),
    ],
)
def test_by_hand(times, score):
    assert olympic(times).seconds == score


def test_the_reason_says_what_was_done():
    assert olympic([1.0]).method == "a single run, no olympic mean"
    assert "plain mean of 2" in olympic([1.0, 2.0]).method
    assert "fastest and slowest dropped" in olympic([1.0, 2.0, 3.0]).method
    assert "the one without a valid time" in olympic([1.0, None, 3.0]).method
    assert "2 of 5 runs" in olympic([1.0, None, None, 2.0, 3.0]).method


@given(TIMES, st.randoms())
def test_order_does_not_matter(times, random):
    shuffled = list(times)
    random.shuffle(shuffled)
    assert math.isclose(olympic(shuffled).seconds, olympic(times).seconds)


@given(TIMES)
def test_it_lies_between_the_runs_that_count(times):
    second, second_last = sorted(times)[1], sorted(times)[-2]
    score = olympic(times).seconds
    assert score >= second * (1 - 1e-12)
    assert score <= max(second, second_last) * (1 + 1e-12)


@given(TIMES)
def test_a_failure_counts_like_the_slowest_run_of_all(times):
    assert math.isclose(
        olympic([*times, None]).seconds, olympic([*times, max(times) * 100]).seconds
    )


@given(TIMES)
def test_two_failures_leave_no_score(times):
    assert olympic([*times, None, None]).seconds is None


@given(TIMES, st.floats(0.1, 10))
def test_it_scales_with_the_unit(times, factor):
    scaled = olympic([factor * time for time in times]).seconds
    assert math.isclose(scaled, factor * olympic(times).seconds, rel_tol=1e-9)


def test_spread():
    assert spread([]) is None
    assert spread([3.0]).std is None
    of = spread([1.0, 2.0, 3.0, 6.0])
    assert (of.mean, of.min, of.max) == (3.0, 1.0, 6.0)
    assert of.std == pytest.approx(math.sqrt(14 / 3))


def test_seeds_are_repetitions_and_other_settings_or_machines_are_not(tmp_path):
    for seed in (1, 2):
        finished(tmp_path / "a", seed)
    finished(tmp_path / "b", 3)
    finished(tmp_path / "c", 1, batch=128)
    finished(tmp_path / "d", 1, world_size=4)
    finished(tmp_path / "e", 1, accelerator_name="NVIDIA H100 80GB HBM3")
    groups = group(find([tmp_path]).runs)
    assert [[run.seed for run in each.runs] for each in groups] == [[1, 2, 3], [1], [1], [1]]


def test_a_run_that_died_counts_as_a_failure_of_its_launch(tmp_path):
    died(tmp_path / "a", 1)
    for seed, seconds in enumerate((10.0, 20.0, 30.0), 2):
        finished(tmp_path / "a", seed, time_to_train_s=seconds)
    finished(tmp_path / "b", 1, world_size=4)
    died(tmp_path / "b", 2)
    first, second = group(find([tmp_path]).runs)
    assert first.times == (None, 10.0, 20.0, 30.0)
    assert first.score.seconds == 25.0
    assert second.times == (10.0, None)
    assert second.score.seconds is None


def test_what_counts_is_success_that_the_rules_accept(tmp_path):
    failed = {"ruleset": "6.1.0", "division": "open", "passed": False, "official": False}
    finished(tmp_path, 1)
    aborted(tmp_path, 2)
    finished(tmp_path, 3, compliance=failed)
    finished(tmp_path, 4, compliance=None)
    assert list(map(valid_time, find([tmp_path]).runs)) == [10.0, None, None, 10.0]


def test_a_group_says_how_finely_time_was_seen(tmp_path):
    finished(tmp_path, 1, eval_interval_s=0.5, epochs=7)
    finished(tmp_path, 2, eval_interval_s=0.75, epochs=9)
    finished(tmp_path, 3, eval_interval_s=None, epochs=None)
    (each,) = group(find([tmp_path]).runs)
    assert each.resolution == 0.625
    assert each.epochs.mean == 8.0
    assert each.time.std == 0.0


def test_seeds_that_one_launch_ran_twice_leave_no_score(tmp_path):
    for launch in ("first", "second"):
        finished(tmp_path / launch, 7)
        finished(tmp_path / launch, 8)
    runs = find([tmp_path]).runs
    [found] = group([replace(run, path=tmp_path / str(place)) for place, run in enumerate(runs)])
    why = "seeds 7, 8 were run more than once; give ttt report fewer of the folders"
    assert found.score == Score(None, why)


def _official(folder, count, *, seeds=None, status="success", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        log = resnet()
        pick(log, "seed")["value"] = seeds[number] if seeds else number
        pick(log, "run_stop")["time_ms"] += 1000 * number
        for key, value in changes.items():
            pick(log, key)["value"] = value
        write(folder / f"result_{number}.txt", log)
    return folder


def test_logs_repeat_each_other_in_a_folder(tmp_path):
    _official(tmp_path / "a", 3)
    _official(tmp_path / "b", 2)
    (tmp_path / "a" / "result_1.txt").write_text(":::MLLOG torn")
    write(tmp_path / "b" / "result_2.txt", ours())
    groups = group(find([tmp_path]).runs)
    assert [len(each.runs) for each in groups] == [3, 2, 1]
    assert groups[0].score.seconds == 122.0


def test_who_and_where_if_all_agree(tmp_path):
    [each] = group(find([_official(tmp_path, 5)]).runs)
    assert (each.submitter, each.system, each.official) == ("somebody", "a machine", True)
    assert (each.problems, each.score.seconds) == ((), 122.0)
    log = tmp_path / "result_0.txt"
    log.write_text(log.read_text().replace("somebody", "another"))
    groups = group(find([tmp_path]).runs)
    assert [each.submitter for each in groups] == ["another", "somebody"]


def test_an_official_result_takes_so_many_runs(tmp_path):
    [each] = group(find([_official(tmp_path, 4)]).runs)
    assert each.problems == ("resnet takes exactly 5 runs, here are 4",)
    assert each.score.seconds == 121.5


def test_seeds_are_a_matter_of_the_rules_from_v4_1_on(tmp_path):
    [each] = group(find([_official(tmp_path, 5, seeds=[1, 1, 2, 3, None])]).runs)
    assert (each.score.seconds, each.problems) == (122.0, ())
    refused = "package_checker refuses that, the rules do from v4.1"
    assert each.remarks == (
        f"seed 1 was run more than once; {refused}",
        f"1 of 5 runs log no seed; {refused}",
    )
    runs = [
        replace(_clock(number, 600.0 + number, ruleset="4.1.0", benchmark="ssd"), seed=seed)
        for number, seed in enumerate((1, 1, 2, 3, None))
    ]
    [each] = group(runs)
    assert each.problems == ("seed 1 was run more than once", "1 of 5 runs log no seed")
    assert each.remarks == ()
    [each] = group([replace(run, division="open") for run in runs])
    assert each.problems == each.remarks == ()


def _clock(seed, seconds, **changes):
    return studies.run("a", seed, seconds, official=True, **changes)


def test_a_clock_that_contradicts_itself_counts_for_the_score_and_for_nothing_else(tmp_path):
    good = [_clock(seed, 100.0 + seed) for seed in range(4)]
    bad = _clock(4, 55000.0, clock_trusted=False, eval_interval_s=None, blocks=(), evaluations=())
    [each] = group([*good, bad])
    assert each.times == (100.0, 101.0, 102.0, 103.0, 55000.0)
    assert each.score == group([*good, replace(bad, clock_trusted=True)])[0].score
    assert each.score.seconds == 102.0
    assert (each.time.max, each.trusted_times) == (103.0, [100.0, 101.0, 102.0, 103.0])
    assert each.remarks == ()
    low, high = each.interval
    assert 98 < low < 102 < high < 105
    assert not any(line.startswith("the times scatter") for line in stability(each).warnings)
    slow = group([_clock(seed, 110.0 + seed, system="b", digest="b") for seed in range(5)])
    [compared] = comparisons([each, *slow])
    assert compared.p_value < 1e-3
    [each] = group(priced(Found((*good, bad), ()), {"a": 3600.0}).runs)
    assert row(each).cost == 101.5


def test_a_clock_in_doubt_that_counts_for_the_mean_is_told(tmp_path):
    runs = [_clock(seed, 100.0 + seed, clock_trusted=seed != 2) for seed in range(5)]
    [each] = group(runs)
    assert each.score.seconds == 102.0
    assert each.remarks == (
        "result_2.txt counts as it does officially, but its clock contradicts itself",
    )


def test_a_published_clock_that_was_typed_in(shared):
    ssd = shared / "mlperf_results/v0.7/Google/results/tpu-v3-8192-TF/ssd"
    [each] = group(find([ssd]).runs)
    assert [run.clock_trusted for run in each.runs] == [False, True, True, True, True]
    assert each.runs[0].problems == (
        "run_start says it was 55321.3 s before init_stop, which comes first",
    )
    assert (each.runs[0].time_to_train_s, each.runs[0].blocks) == (55349.75, ())
    assert each.score.minutes == 0.46215
    assert each.resolution < 3
    assert each.time.max < 29
    assert each.interval[1] < 29


@pytest.mark.parametrize(
    ("content", "factor", "said"),
    [
        ('{"scaling_factor": 1.25}', 1.25, None),
        ('{"scaling_factor": 1}', 1.0, None),
        ("", None, "is damaged"),
        ("[" * 4000, None, "is damaged"),
        ("\0" * 9000, None, "is damaged"),
        ("[1.25]", None, "holds no mapping"),
        ('{"scaling_factor": "1.25"}', None, "holds no number"),
        ('{"scaling_factor": true}', None, "holds no number"),
        ('{"scaling_factor": 0}', None, "is 0; allowed: more than 0, at most 10"),
        ('{"scaling_factor": -1e400}', None, "beyond any number"),
        ('{"scaling_factor": NaN}', None, "beyond any number"),
        ('{"scaling_factor": 1' + "0" * 400 + "}", None, "beyond any number"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_scaling_json_is_the_authority(tmp_path, content, factor, said):
    _official(tmp_path, 5)
    (tmp_path / "scaling.json").write_text(content)
    [each] = group(find([tmp_path]).runs, lambda _: Rcp("passed", "", scaling=2.0))
    assert each.score.seconds == 122.0
    if said is None:
        assert (each.scaled_seconds, each.problems) == (122.0 * factor, ())
        assert (each.scaling, each.scaling_source) == (factor, "scaling.json")
    else:
        assert (each.scaled_seconds, each.scaled_minutes, each.scaling_source) == (None,) * 3
        [problem] = each.problems
        assert problem.startswith("scaling.json")
        assert said in problem


def test_scaling_json_of_somebody_else_is_none_of_ours(tmp_path):
    for number in range(3):
        log = ours()
        pick(log, "seed")["value"] = number
        pick(log, "run_stop")["time_ms"] += number
        write(tmp_path / f"result_{number}.txt", log)
    (tmp_path / "scaling.json").write_text("rubbish")
    [each] = group(find([tmp_path]).runs)
    assert (each.scaling, each.problems) == (None, ())


def test_a_tool_may_have_written_the_scaling_of_an_hpc_result(tmp_path):
    """package_checker leaves its own file behind, and HPC's trees were published without."""
    for benchmark, left in (("openfold", None), ("resnet", 1.25)):
        runs = [_clock(n, 100.0 + n, benchmark=benchmark, scaling_factor=1.25) for n in range(5)]
        alike, other = (
            group(runs, lambda _, scaling=scaling: Rcp("passed", "", scaling=scaling))[0]
            for scaling in (1.25, 1.5)
        )
        assert (alike.scaling, other.scaling) == (left, 1.25)
        told = [each for each in alike.remarks if each.startswith("scaling.json says 1.2500")]
        assert len(told) == (left is None)


def test_energy_is_that_of_the_runs_in_the_mean(tmp_path):
    joules = {100.0: 9.0, 101.0: 1.0, 102.0: 2.0, 103.0: 3.0, 104.0: 9.0}
    runs = [_clock(n, time, energy_j=each) for n, (time, each) in enumerate(joules.items())]
    assert group(runs)[0].energy_j == 2.0
    assert group(runs, lambda _: Rcp("passed", "", scaling=1.5))[0].energy_j == 3.0
    assert group([replace(runs[0], status="aborted"), *runs[1:]])[0].energy_j == 14 / 3
    assert group([*runs[:2], replace(runs[2], energy_j=None), *runs[3:]])[0].energy_j is None
    assert group([replace(run, status="aborted") for run in runs])[0].energy_j is None


def test_a_copy_of_an_official_log_is_a_problem(tmp_path):
    _official(tmp_path, 4, submission_benchmark="resnet")
    (tmp_path / "result_4.txt").write_bytes((tmp_path / "result_1.txt").read_bytes())
    [each] = group(find([tmp_path]).runs)
    assert each.problems == ("result_4.txt is a copy of result_1.txt",)


def test_too_many_failures_are_told_one_by_one(tmp_path):
    _official(tmp_path, 5)
    for number in (1, 3):
        path = tmp_path / f"result_{number}.txt"
        path.write_text(path.read_text().replace("0.7591", "0.7589"))
    [each] = group(find([tmp_path]).runs)
    assert each.score.seconds is None
    assert each.problems[0] == "2 runs without a valid time, 1 may be"
    assert [problem.split(":")[0] for problem in each.problems[1:]] == [
        "result_1.txt",
        "result_3.txt",
    ]


def test_unet3d_drops_four(tmp_path):
    times = [float(time) for time in range(40)]
    score = olympic(times, 4)
    assert score.seconds == 19.5
    assert score.method == "olympic mean of 40 runs, 4 fastest and 4 slowest dropped"
    assert olympic([None] * 4 + times[4:], 4).seconds == statistics.fmean(times[8:])
    assert olympic([None] * 5 + times[5:], 4).seconds is None
    assert olympic(times[:8], 4).method == "plain mean of 8 runs, no olympic mean"
    assert olympic([None, *times[:7]], 4).seconds is None


def test_a_judge_is_asked_for_each_experiment(tmp_path):
    _official(tmp_path / "a", 5)
    _official(tmp_path / "b", 3)
    asked = []

    def judge(runs):
        asked.append(len(runs))
        return Rcp("passed", "", scaling=2.0) if len(runs) == 5 else Rcp("failed", "too fast")

    first, second = group(find([tmp_path]).runs, judge)
    assert asked == [5, 3]
    assert (first.scaled_seconds, first.problems) == (244.0, ())
    assert second.scaled_seconds is None
    assert second.problems[-1] == "reference convergence points: too fast"


@given(TIMES, st.integers(0, 2), st.sampled_from([1, 4]))
def test_it_is_the_summarizers_mean(times, failed, drop):
    official = result_summarizer._compute_olympic_average(list(times), failed, drop)
    runs = len(times) + failed
    mine = olympic([*times, *[None] * failed], drop).seconds
    if failed > drop:
        assert mine is None
    elif runs >= 2 * drop + 1:
        assert math.isclose(mine, official, rel_tol=1e-12)
