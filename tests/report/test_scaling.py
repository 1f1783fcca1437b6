import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_runs import experiment, of_size
from ttt.report.analyze.grouping import group
from ttt.report.analyze.laws import amdahl, gustafson
from ttt.report.analyze.scaling import sweeps
from ttt.report.read.find import find
from ttt.report.run import Block

SHARES = st.floats(0.0, 1.0)
SIZES = st.lists(st.integers(1, 100_000), min_size=2, max_size=6, unique=True)


@given(SHARES, SIZES, st.floats(0.1, 1e5))
def test_times_by_amdahl_give_back_the_serial_share(serial, sizes, seconds):
    times = [(n, seconds * (serial + (1 - serial) * min(sizes) / n)) for n in sizes]
    share, error = amdahl(times)
    assert error < 1e-5
    assert abs(share - serial) < 1e-4 or max(sizes) / min(sizes) < 1.01  # nearly one point


@given(SHARES, SIZES, st.floats(0.1, 1e9))
def test_rates_by_gustafson_give_back_the_serial_share(serial, sizes, rate):
    growth = {n: n / min(sizes) for n in sizes}
    share, error = gustafson([(n, rate * (g - serial * (g - 1))) for n, g in growth.items()])
    assert share == pytest.approx(serial, abs=1e-6)
    assert error < 1e-6


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0.1, 1e6)), min_size=2, max_size=6))
def test_a_serial_share_is_a_share_whatever_was_measured(points):
    points = list(dict(points).items())
    if len(points) > 1:
        for law in (amdahl, gustafson):
            share, error = law(points)
            assert 0 <= share <= 1
            assert math.isfinite(error)


def test_one_size_is_no_sweep():
    assert sweeps([of_size(8, 100.0), of_size(8, 90.0, global_batch=160)]) == []


def test_an_experiment_without_a_score_is_no_point():
    assert sweeps([of_size(8, 100.0), experiment([None], accelerators=16)]) == []


def test_the_product_of_the_efficiencies_is_that_of_the_time():
    slower = of_size(32, 40.0, global_batch=160, epochs=12.0, samples_per_s=310.0)
    (sweep,) = sweeps([slower, of_size(8, 100.0)])
    first, second = sweep.points
    assert [point.workers for point in sweep.points] == [8, 32]
    assert dataclasses.astuple(first.efficiency) == (1, 1, 1, 1)
    assert (first.bottleneck, first.speed_up, second.speed_up) == (None, 1, 2.5)
    part = second.efficiency
    assert part.time_to_train == 2.5 / 4
    assert part.throughput == pytest.approx(3.1 / 4)
    assert part.statistical == pytest.approx(10 / 12)
    product = part.throughput * part.statistical * part.overhead
    assert product == pytest.approx(part.time_to_train)


@pytest.mark.parametrize(
    ("batches", "modes", "of_all", "laws"),
    [
        ((80, 80, 80), ["strong", "strong", "strong"], "strong", ["Amdahl"]),
        ((80, 160, 320), ["weak", "weak", "weak"], "weak", ["Gustafson"]),
        ((80, 80, 320), ["mixed", "strong", "weak"], "mixed", []),  # two points fit any law
        ((80, 100, 120), ["mixed", "mixed", "mixed"], "mixed", []),
        ((80, None, 80), ["unknown", "unknown", "strong"], "unknown", []),
    ],
)
def test_strong_and_weak_by_the_batch(batches, modes, of_all, laws):
    points = [
        of_size(8 * 2**place, 100.0 / 1.5**place, global_batch=batch)
        for place, batch in enumerate(batches)
    ]
    (sweep,) = sweeps(points)
    assert [point.mode for point in sweep.points] == modes
    assert sweep.mode == of_all
    assert [fit.law for fit in sweep.fits] == laws


def test_amdahl_is_put_through_the_times_of_a_sweep():
    times = {8: 100.0, 16: 55.0, 32: 32.5}  # 10% do not get faster
    (sweep,) = sweeps([of_size(n, seconds) for n, seconds in times.items()])
    (fit,) = sweep.fits
    assert (fit.law, fit.sizes) == ("Amdahl", (8, 16, 32))
    assert fit.serial == pytest.approx(0.1, abs=1e-6)


def test_the_fastest_of_a_size_is_its_point():
    fast, slow = of_size(16, 60.0, global_batch=160), of_size(16, 70.0)
    (sweep,) = sweeps([of_size(8, 100.0), slow, fast])
    assert [point.time_to_train_s for point in sweep.points] == [100, 60]


def test_the_smallest_size_is_the_one_with_the_batch_of_the_others():
    sweep_of = {1: 2.3, 2: 1.8}
    launches = [of_size(n, seconds, global_batch=1008) for n, seconds in sweep_of.items()]
    others = [of_size(1, 1.4, global_batch=504), of_size(1, 3.0, global_batch=2016)]
    (sweep,) = sweeps([*launches, *others])
    assert [(point.global_batch, point.time_to_train_s) for point in sweep.points] == [
        (1008, 2.3),
        (1008, 1.8),
    ]
    assert sweep.mode == "strong"
    (sweep,) = sweeps([launches[1], *others])  # no such batch: the fastest
    assert ([point.time_to_train_s for point in sweep.points], sweep.mode) == ([1.4, 1.8], "weak")


@pytest.mark.parametrize(
    "change",
    [
        {"accelerator_name": "H200"},
        {"submitter": "Them"},
        {"division": "open"},
        {"ruleset": "5.1.0"},
        {"target": 0.98},
        {"benchmark": "clicks"},
        {"precision": "bf16"},
        {"trained": "another model"},
    ],
)
def test_what_is_not_alike_is_not_one_sweep(change):
    assert sweeps([of_size(8, 100.0), of_size(16, 60.0, **change)]) == []


def test_a_joint_submission_belongs_to_the_first_named():
    (sweep,) = sweeps([of_size(8, 100.0), of_size(16, 60.0, submitter="Us+Them")])
    assert (sweep.submitter, sweep.accelerator, sweep.unit) == ("Us", "H100", "accelerator")


def test_without_accelerators_processes_are_counted():
    cpu = {"accelerators": 0, "accelerator_name": None}
    cpu["description"] = {"host_processor_model_name": "Xeon"}
    one, two = experiment([9.0], world_size=1, **cpu), experiment([6.0], world_size=2, **cpu)
    (sweep,) = sweeps([one, two])
    assert [point.workers for point in sweep.points] == [1, 2]
    assert (sweep.unit, sweep.accelerator) == ("process", "Xeon")


def test_progress_is_that_of_the_runs_that_are_scored():
    """An outlier that the olympic mean dropped must not turn up as an overhead below nothing."""
    base = of_size(8, 100.0)
    runs = [(50.0, 10.0), (51.0, 10.0), (52.0, 10.0), (53.0, 10.0), (90.0, 18.0)]
    alike = experiment([time for time, _ in runs], accelerators=16, world_size=16)
    changed = [
        dataclasses.replace(run, epochs=epochs)
        for run, (_, epochs) in zip(alike.runs, runs, strict=True)
    ]
    (sweep,) = sweeps([base, *group(changed)])
    assert sweep.points[1].epochs == 10.0


def test_a_single_run_does_not_name_the_bottleneck():
    """Of three runs one is scored; what explains its time is asked of all."""
    base = of_size(8, 100.0, communication_fraction=0.0)
    three = experiment([70.0, 80.0, 90.0], accelerators=16, world_size=16, samples_per_s=130.0)
    shares = (0.05, 0.4, 0.06)
    (wide,) = group(
        dataclasses.replace(run, communication_fraction=share)
        for run, share in zip(three.runs, shares, strict=True)
    )
    (sweep,) = sweeps([base, wide])
    assert "nothing hides" not in sweep.points[1].bottleneck


def bottleneck(base=None, **changes):
    (sweep,) = sweeps([of_size(8, 100.0, **(base or {})), of_size(32, 50.0, **changes)])
    return sweep.points[1].bottleneck


def test_nothing_is_said_of_a_size_that_scales():
    (sweep,) = sweeps([of_size(8, 100.0), of_size(32, 25.5, samples_per_s=395.0)])
    assert sweep.points[1].bottleneck is None


def test_the_batch_is_the_bottleneck_where_epochs_grow():
    said = bottleneck(samples_per_s=400.0, epochs=20.0, global_batch=320)
    assert (
        said == "batch size: 2.00 times the epochs at 4 times the batch leave 50% of the speed-up"
    )


def test_samples_stand_in_for_epochs():
    said = bottleneck(
        {"epochs": None}, samples_per_s=400.0, epochs=None, samples=20_000.0, global_batch=320
    )
    assert said.startswith("batch size: 2.00 times the samples")


def test_the_input_pipeline_is_the_bottleneck_where_waiting_explains_the_rate():
    said = bottleneck(
        {"data_wait_fraction": 0.01}, data_wait_fraction=0.5, samples_per_s=200.0, global_batch=80
    )
    assert said == (
        "input pipeline: batches are waited for in 50% of the time (1.0% among 8), and each"
        " accelerator does 50% of the samples a second it does among 8"
    )


def test_the_network_is_the_bottleneck_where_exchange_explains_the_rate():
    known = {"data_wait_fraction": 0.01, "communication_fraction": 0.05}
    said = bottleneck(known, **(known | {"communication_fraction": 0.5}), samples_per_s=200.0)
    assert said.startswith("network: nothing hides the exchange of gradients in 50% of the time")
    alone = known | {"nodes": 1}
    said = bottleneck(alone, **(alone | {"communication_fraction": 0.5}), samples_per_s=200.0)
    assert said.startswith("communication: nothing hides the exchange of gradients in 50%")


def test_without_measures_network_and_little_work_cannot_be_told_apart():
    said = bottleneck(samples_per_s=200.0)
    assert said == (
        "network, or too little work for each accelerator: each accelerator does 50% of the samples"
        " a second it does among 8; a step of 2.5 samples each takes 400 ms, one of 10 samples each"
        " 800 ms among 8"
    )
    weak = bottleneck(samples_per_s=200.0, global_batch=320)
    assert weak.startswith("network, or what workers of a machine share")


def test_overheads_have_names():
    assert bottleneck({"eval_s": 1.0}, eval_s=20.0, samples_per_s=400.0) == (
        "evaluation takes 40% of the time (1.0% among 8)"
    )
    known = {"steady_samples_per_s": 100.0, "train_s": 100.0}
    even = (Block(0.0, 10.0, 1000.0),) * 3
    cold = (Block(0.0, 22.5, 1000.0), *(Block(30.0, 2.5, 1000.0),) * 2)
    said = bottleneck(
        known | {"blocks": even},
        **known | {"blocks": cold, "steady_samples_per_s": 400.0, "train_s": 50.0},
    )
    assert said == "start-up: the cold first block takes 40% of the time (0% among 8)"
    assert bottleneck(train_s=25.0, samples_per_s=400.0) == (
        "time between training and evaluation takes 50% of the time (0% among 8)"
    )
    assert bottleneck({"train_s": None}, samples_per_s=400.0).startswith("overhead: 50% is lost")


def test_the_second_cause_follows_the_first():
    said = bottleneck(samples_per_s=250.0, epochs=12.5, global_batch=160)
    first, second = said.split("; next ")
    assert first.startswith("network")
    assert second.startswith("batch size: 1.25 times the epochs at 2 times the batch")


@pytest.fixture
def h100(shared):
    """NVIDIA's four sizes of ResNet-50 in v4.0, the largest with CoreWeave."""
    return find([shared / "mlperf_results" / "v4.0" / "NVIDIA"], jobs=1).runs


def table(runs):
    (sweep,) = [sweep for sweep in sweeps(group(runs)) if sweep.benchmark == "resnet"]
    points = sweep.points
    assert [point.workers for point in points] == [8, 64, 2528, 3584]
    assert [point.mode for point in points[1:]] == ["strong", "mixed", "mixed"]
    parts = [point.efficiency for point in points]
    return [
        [f"{100 * part.time_to_train:.0f}" for part in parts],
        [f"{100 * part.throughput:.0f}" for part in parts],
        [f"{100 * part.statistical:.0f}" for part in parts],
        [f"{part.overhead:.2f}" for part in parts],
    ]


def test_published_logs_give_the_published_table(h100):
    assert table([run for run in h100 if run.path.name == "result_0.txt"]) == [
        ["100", "66", "18", "16"],
        ["100", "69", "38", "39"],
        ["100", "100", "50", "45"],
        ["1.00", "0.97", "0.95", "0.91"],
    ]


def test_over_all_runs_it_differs_by_a_point_in_one_place(h100):
    """At 2,528 two of the five runs took 66 epochs instead of 70."""
    assert table(h100) == [
        ["100", "66", "18", "16"],
        ["100", "69", "38", "39"],
        ["100", "100", "51", "45"],
        ["1.00", "0.97", "0.95", "0.91"],
    ]
