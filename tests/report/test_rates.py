import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_runs import experiment, of_size, run
from ttt.report.analyze.rates import Rate, clock_rate, rate, remarks
from ttt.report.analyze.scaling import sweeps
from ttt.report.read import mllogs
from ttt.report.run import Block, Evaluation

POSITIVE = st.floats(1e-3, 1e6)


def test_witnesses_that_agree_need_no_word():
    assert rate(run()) == Rate(100.0, 100.0, 100.0, confirmed=True)
    assert remarks([run(1), run(2)]) == []


def test_what_the_clock_had_beside_training_is_said():
    slow = run(samples_per_s=200.0, train_s=50.0, eval_s=49.0)
    found = rate(slow)
    assert (found.on_clock, found.training, found.confirmed) == (100.0, 200.0, True)
    assert found.remark == "200/s in steady training, 100/s on the clock, of which evaluation 49%"
    assert remarks([run(1), slow]) == [f"1 of 2 runs: {found.remark}"]


def test_a_clock_that_contradicts_itself_is_no_witness():
    changes = {"steady_samples_per_s": None, "samples_per_s": None, "tracked_samples_per_s": 90.0}
    assert rate(run(**changes)).on_clock == 100.0
    assert rate(run(clock_trusted=False, **changes)) == Rate(tracked=90.0)


def test_a_tracked_rate_that_the_clock_forbids_is_not_used():
    """As MLPerf HPC v3.0's oc20: half of what 34 epochs in 645 s take."""
    found = rate(run(tracked_samples_per_s=50.0))
    assert (found.on_clock, found.training, found.confirmed) == (100.0, 100.0, True)
    assert found.remark.startswith(
        "the log tracked 50.0/s, by which its samples would take 2 times"
    )


def test_two_units_of_which_one_is_wrong_print_nothing():
    """As a log that gives steps for samples: 16/s where 4,032/s were tracked."""
    found = rate(run(tracked_samples_per_s=4032.0, samples_certain=False))
    assert (found.on_clock, found.training) == (None, None)
    assert "one of them counts something else" in found.remark


def test_a_clock_of_another_unit_gives_no_rate():
    """As a log whose time_ms are seconds: a thousand times what was tracked."""
    found = rate(run(tracked_samples_per_s=0.1))
    assert (found.on_clock, found.training) == (None, None)
    assert "no unit explains that" in found.remark


def test_pieces_that_leave_the_clock_open_are_not_believed():
    """As Google's v0.7 transformer, whose blocks take a hundredth of the time."""
    found = rate(run(steady_samples_per_s=9000.0, tracked_samples_per_s=None, train_s=1.0))
    assert (found.on_clock, found.training, found.confirmed) == (100.0, None, False)
    assert "do not account for the time" in found.remark
    tracked = rate(run(steady_samples_per_s=9000.0, tracked_samples_per_s=400.0, train_s=1.0))
    assert (tracked.training, tracked.confirmed) == (None, False)
    assert "does not tell what else took time" in tracked.remark


def test_pieces_that_account_for_the_time_go_before_a_higher_tracked_rate():
    found = rate(run(tracked_samples_per_s=140.0))
    assert (found.training, found.confirmed) == (100.0, False)
    assert found.remark.endswith("give 100/s, which is used")


def test_a_run_without_an_end_has_what_both_say():
    died = {"elapsed_s": None, "time_to_train_s": None}
    assert rate(run(**died)) == Rate(None, 100.0, 100.0, confirmed=True)
    assert rate(run(tracked_samples_per_s=None, **died)).training is None


@given(st.none() | POSITIVE, st.none() | POSITIVE, st.none() | POSITIVE, st.booleans())
def test_no_rate_differs_from_its_witness_without_a_word(steady, tracked, train_s, certain):
    told = rate(
        run(
            samples_per_s=steady,
            tracked_samples_per_s=tracked,
            train_s=train_s,
            samples_certain=certain,
        )
    )
    if told.remark is None and told.on_clock is not None:
        for other in (told.training, told.tracked):
            assert other is None or other == pytest.approx(told.on_clock, rel=0.18)


@pytest.mark.parametrize(
    ("place", "expected"),
    [  # samples over time on the clock, each to the last digit known
        ("hpc_v3.0/NVIDIA/results/eos_n260_ngc23.09_pytorch/strong/openfold", 279),
        ("hpc_v3.0/NVIDIA/results/eos_n80_ngc23.09_pytorch/strong/oc20", 106_000),
        ("v5.0/NVIDIA/results/tyche_ngpu8_ngc25.04_pytorch/retinanet", 3_490),
        ("v5.0/NVIDIA/results/tyche_ngpu512_ngc25.04_nemo/stable_diffusion", 55_000),
        ("v0.7/Google/results/tpu-v3-8192-TF/transformer", 1_200_000),
        # 1.75 epochs in this log are three quarters of one: it counts from 1.
        ("v2.1/Intel/results/1-node-SPR-pytorch/dlrm", 882_000),
    ],
)
def test_published_rates_on_the_clock(shared, place, expected):
    logs = sorted((shared / "mlperf_results" / place).glob("result_*.txt"))
    rates = sorted(clock_rate(mllogs.read(log)) for log in logs)
    assert rates[len(rates) // 2] == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize(
    ("place", "training", "beside"),
    [
        ("hpc_v3.0/NVIDIA/results/eos_n80_ngc23.09_pytorch/strong/oc20", 106_200, 258),
        ("hpc_v3.0/NVIDIA/results/eos_n260_ngc23.09_pytorch/strong/openfold", 376, 395),
        ("v5.0/NVIDIA/results/tyche_ngpu8_ngc25.04_pytorch/retinanet", 4_030, 21),
        ("v5.0/NVIDIA/results/tyche_ngpu512_ngc25.04_nemo/stable_diffusion", 55_600, 66),
        ("v5.0/NVIDIA/results/tyche_ngpu512_ngc25.04_nemo/llama31_405b", 43.7, None),
        ("v4.0/NVIDIA/results/eos_ngc24.04_mxnet/resnet", 57_280, 0),
    ],
)
def test_evaluations_beside_training_cost_no_time(shared, place, training, beside):
    log = mllogs.read(shared / "mlperf_results" / place / "result_0.txt")
    found = rate(log)
    assert found.training == pytest.approx(training, rel=0.005)
    assert found.confirmed
    assert log.eval_beside_s == (None if beside is None else pytest.approx(beside, abs=1))
    assert (log.eval_s or 0) + log.train_s <= log.elapsed_s * 1.001


def test_evaluations_off_the_clock_have_the_time_of_what_they_evaluate(shared):
    """Of stable diffusion checkpoints are evaluated later, here not even in their order."""
    place = "mlperf_results/v5.0/NVIDIA/results/tyche_ngpu512_ngc25.04_nemo/stable_diffusion"
    log = mllogs.read(shared / place / "result_6.txt")
    assert [round(each.seconds, 1) for each in log.evaluations] == [36.2, 45.6]
    assert (log.evaluations[-1].samples, log.samples) == (2_557_440, 2_557_440)
    assert log.quality == pytest.approx(89, abs=1)


def test_a_superlinear_factor_needs_a_second_witness():
    def twice(**changes):
        (sweep,) = sweeps([of_size(8, 100.0), of_size(16, 25.0, **changes)])
        return sweep.points[1]

    sure = twice(samples_per_s=400.0)
    assert (sure.efficiency.throughput, sure.remarks) == (2.0, ())
    alone = twice(samples_per_s=400.0, tracked_samples_per_s=None)
    assert alone.efficiency.throughput is None
    assert "is withheld" in alone.remarks[0]


def test_an_overhead_below_nothing_is_withheld():
    """What it costs at the smaller size was misread: here its rate is half of the truth."""
    base = of_size(8, 100.0, tracked_samples_per_s=None, samples_per_s=115.0, train_s=95.0)
    odd = of_size(16, 40.0, tracked_samples_per_s=None, samples_per_s=230.0, train_s=38.0)
    (sweep,) = sweeps([base, odd])
    point = sweep.points[1]
    assert point.efficiency.overhead is None
    assert point.efficiency.time_to_train == pytest.approx(1.25)


def test_fewer_epochs_are_told_with_the_interval_that_explains_them():
    places = tuple(Evaluation(10.0 * n, 0.9, epochs=2.0 * n) for n in range(1, 5))
    (sweep,) = sweeps([of_size(8, 100.0), of_size(16, 45.0, epochs=8.0, evaluations=places)])
    assert sweep.points[1].remarks == (
        "statistical 125%: 8 epochs instead of 10, seen every 2 epochs",
    )


def test_one_evaluation_later_is_called_that():
    places = tuple(Evaluation(10.0 * n, 0.9, epochs=2.0 * n) for n in range(1, 7))
    changes = {"epochs": 12.0, "evaluations": places, "samples_per_s": 200.0, "global_batch": 85}
    (sweep,) = sweeps([of_size(8, 100.0), of_size(16, 60.0, **changes)])
    assert sweep.points[1].bottleneck == (
        "convergence: the target was seen no more than one evaluation later, at 12 epochs instead"
        " of 10, which leaves 83% of the speed-up"
    )


def test_step_times_decide_between_network_and_too_little_work():
    """As NVIDIA's resnet of v4.0 on 2,528 and 3,584 GPUs: the same local batch, the same step."""
    base = of_size(8, 100.0)
    some = of_size(64, 25.0, global_batch=80, samples_per_s=400.0)
    more = of_size(128, 12.5, global_batch=160, samples_per_s=800.0)
    (sweep,) = sweeps([base, some, more])
    assert sweep.points[2].bottleneck.startswith(
        "too little work for each accelerator, not the network (a step takes 200 ms among 64 with"
        " as much work each): each accelerator does 50% of the samples a second"
    )
    slower = of_size(128, 20.0, global_batch=160, samples_per_s=500.0)
    (sweep,) = sweeps([base, some, slower])
    assert sweep.points[2].bottleneck.startswith(
        "network (with as much work each a step takes 200 ms among 64): each accelerator does"
    )
    assert [point.step_ms for point in sweep.points] == [800, 200, 320]


def test_work_is_that_of_a_copy_of_the_model():
    cut = {"global_batch": 32, "samples_per_s": 100.0}
    (sweep,) = sweeps([of_size(8, 100.0), of_size(64, 60.0, replicas=8, **cut)])
    assert "a step of 4 samples in each copy of the model" in sweep.points[1].bottleneck
    (sweep,) = sweeps([of_size(8, 100.0), of_size(64, 60.0, **cut)])
    assert "a step of 32 samples over all" in sweep.points[1].bottleneck  # 0.5 of one is none


def test_no_law_is_told_of_what_does_not_follow_it():
    times = {8: 100.0, 16: 55.0, 32: 90.0}
    (sweep,) = sweeps([of_size(n, seconds) for n, seconds in times.items()])
    assert sweep.fits == ()
    (sweep,) = sweeps([of_size(8, 100.0), of_size(16, 60.0)])
    assert sweep.fits == ()


def test_a_run_with_blocks_and_no_time_is_no_reason_to_fail():
    odd = dataclasses.replace(run(), elapsed_s=0.0, blocks=(Block(0.0, 0.0, None),) * 3)
    assert rate(odd).on_clock is None
    assert experiment([None]).score.seconds is None
