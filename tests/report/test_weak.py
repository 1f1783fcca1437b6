from dataclasses import replace
from pathlib import Path

import pytest

import studies
from ttt.report.analyze.comparison import comparisons
from ttt.report.analyze.grouping import group
from ttt.report.analyze.rcp import Rcp
from ttt.report.analyze.scaling import sweeps
from ttt.report.analyze.weak import Weak
from ttt.report.render.export import as_json


def model(number, seconds=600.0, *, benchmark="deepcam", start=1.7e9, **changes):
    """One of many models; the second starts a second after the first."""
    values = {
        "path": Path("results/big/weak") / benchmark / f"result_{number}.txt",
        "benchmark": benchmark,
        "official": True,
        "ruleset": "3.0.0",
        "instance_scale": 32,
        "accelerators": 2048,
        "stopped": start + number + seconds,
    }
    return studies.run("big", number, seconds, **values | changes)


def test_models_are_counted_by_the_minute():
    [each] = group([model(number) for number in range(8)])
    assert each.weak == Weak(8, 8, 32, 607.0, 607000 / 60 / 1000, 8 / (607000 / 60 / 1000))
    assert (each.score.seconds, each.problems, each.verdict) == (None, (), "yes")
    assert each.score.method == "models trained side by side are scored by models a minute"


def test_models_that_did_not_converge_may_be_left_out():
    lost = model(7, 900.0, status="aborted", time_to_train_s=None)
    [each] = group([*(model(number) for number in range(5)), lost])
    assert (each.weak.models, each.weak.converged, each.weak.seconds) == (6, 5, 604.0)
    assert each.verdict == "yes"


@pytest.mark.parametrize("converged", [0, 4])
def test_too_few_models_are_no_result(converged):
    lost = [model(9 + n, status="died", time_to_train_s=None) for n in range(2)]
    [each] = group([*(model(number) for number in range(converged)), *lost])
    assert (each.weak, each.verdict) == (None, "no")
    assert each.problems == (
        f"deepcam takes 5 or more models trained side by side, here are {converged} that converged",
    )


def test_what_the_rules_refuse():
    runs = [model(number) for number in range(6)]
    [each] = group([*runs, *(replace(model(n), passed=False, problems=("bad",)) for n in (7, 8))])
    assert each.problems == (
        "2 runs that break the rules, 1 may be",
        "result_7.txt: bad",
        "result_8.txt: bad",
    )
    [each] = group([*runs, replace(model(9), seed=3)])
    assert each.problems == ("seed 3 was run more than once; the rules want such models left out",)


def test_more_accelerators_than_there_are():
    def remarks(**changes):
        [each] = group([model(number, instance_scale=64, **changes) for number in range(5)])
        return each.remarks

    assert remarks(accelerators=320) == remarks(accelerators=None) == ()
    assert remarks(accelerators=319) == (
        "the logs give each of 5 models at the same time 64 accelerators, and the system has 319",
    )
    assert remarks(accelerators=64, seconds=0.5) == ()  # one after the other


def test_a_clock_in_doubt_counts_and_is_told():
    [each] = group([model(number, clock_trusted=number != 2, energy_j=1.0) for number in range(5)])
    assert (each.weak.converged, each.energy_j) == (5, None)
    assert each.remarks == (
        "result_2.txt counts as it does officially, but its clock contradicts itself",
    )


@pytest.mark.parametrize("stopped", [1e300, 1e307])
def test_clocks_that_no_machine_has_leave_no_throughput(stopped):
    runs = [model(number) for number in range(6)]
    [each] = group([*runs, replace(model(7), stopped=stopped)])
    assert each.weak is None
    [each] = group([replace(run, stopped=stopped + 1e301 * run.seed) for run in runs])
    assert each.weak is None


def test_scales_that_differ_are_unknown():
    [each] = group([model(number, instance_scale=32 + number // 5) for number in range(6)])
    assert each.weak.instance_scale is None


def test_reference_points_and_scaling_are_for_scores():
    runs = [model(number, scaling_factor=1.5) for number in range(6)]
    [each] = group(runs, lambda _: Rcp("failed", "too fast"))
    assert (each.problems, each.scaling, each.scaled_seconds) == ((), None, None)
    assert each.remarks[0].startswith("reference convergence points: too fast; package_checker")


def test_it_is_no_time_to_train_to_compare():
    strong = [
        [
            model(n, 50.0 * size, path=Path(f"a{size}/strong/deepcam/result_{n}.txt"),
                  digest=f"a{size}", system=f"a{size}", accelerators=8 * size)
            for n in range(5)
        ]
        for size in (1, 2)
    ]  # fmt: skip
    weak = [model(number) for number in range(6)]
    [first, second, side] = group([*strong[0], *strong[1], *weak])
    assert side.weak is not None
    assert first.weak is second.weak is None
    assert all(side is not point.experiment for sweep in sweeps([first, second, side])
               for point in sweep.points)  # fmt: skip
    compared = [
        each for pair in comparisons([first, second, side]) for each in (pair.first, pair.second)
    ]
    assert len(compared) == 2
    assert side not in compared
    assert side.interval is None


def test_it_is_in_the_json():
    study = studies.of([model(number) for number in range(6)])
    [result] = as_json(study)["results"]
    assert result["weak"]["converged"] == 6
    assert result["score_minutes"] is result["interval_s"] is None


def test_a_folder_called_weak_of_a_training_benchmark_is_any_folder():
    runs = [model(number, benchmark="resnet") for number in range(5)]
    [each] = group(runs)
    assert (each.weak, each.score.seconds) == (None, 600.0)
