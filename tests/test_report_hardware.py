import dataclasses

import pytest

from report_runs import experiment, of_size
from ttt.report.analysis.hardware import hardware, profiles
from ttt.report.analysis.score import group


def test_a_row_has_what_buyers_ask():
    made = experiment(
        [100.0, 110.0, 120.0],
        system="dgx",
        nodes=2,
        description={
            "accelerator_memory_capacity": "80 GB",
            "accelerator_interconnect": " NVLink  900 GB/s",
            "host_networking": "InfiniBand NDR",
            "host_processor_model_name": "Xeon",
            "framework": "PyTorch",
        },
        precision="bf16",
        samples_per_j=3.0,
        cost=7.0,
    )
    (row,) = hardware([made])
    assert (row.submitter, row.system, row.nodes, row.accelerators) == ("Us", "dgx", 2, 8)
    assert (row.accelerator, row.processor, row.memory) == ("H100", "Xeon", "80 GB")
    assert (row.seconds, row.samples_per_s, row.samples_per_j, row.cost) == (110, 100, 3, 7)
    assert row.features == ("NVLink 900 GB/s", "InfiniBand NDR", "PyTorch", "bf16")


def test_a_run_without_a_time_makes_nothing_cheaper_nor_faster():
    timed = [100.0, 100.0, 100.0]
    made = group(
        dataclasses.replace(run, cost=0.1 if time is None else 10.0, samples_per_j=time)
        for run, time in zip(experiment([*timed, None]).runs, [*timed, None], strict=True)
    )
    (row,) = hardware(made)
    assert (row.cost, row.samples_per_j, row.samples_per_s) == (10.0, 100.0, 100.0)


def test_runs_of_several_prices_have_no_cost():
    runs = experiment([100.0, 100.0], cost=10.0).runs
    made = group(dataclasses.replace(run, price_per_hour=run.seed + 1.0) for run in runs)
    assert hardware(made)[0].cost is None


def test_what_is_unknown_stays_unknown():
    (row,) = hardware([experiment([9.0], accelerators=None, accelerator_name=None)])
    assert (row.system, row.nodes, row.processor, row.memory) == (None,) * 4
    assert (row.samples_per_j, row.cost, row.features) == (None, None, ())


def test_one_node_has_no_network_to_speak_of():
    (row,) = hardware([experiment([9.0], nodes=1, description={"host_networking": "Ethernet"})])
    assert row.features == ()


def test_memory_is_that_of_the_host_without_accelerators_and_measured_where_nobody_says():
    (row,) = hardware([experiment([9.0], accelerator_memory_bytes=80 * 2**30)])
    assert row.memory == "80 GiB"
    host = {"description": {"host_memory_capacity": "2 TB"}, "accelerator_name": None}
    (row,) = hardware([experiment([9.0], accelerators=0, **host)])
    assert row.memory == "2 TB"


def test_the_fastest_is_first_within_its_benchmark_and_the_scoreless_last():
    groups = [
        experiment([None]),
        of_size(8, 90.0, benchmark="clicks"),
        of_size(8, 90.0),
        of_size(16, 50.0),
        of_size(16, 60.0, benchmark="clicks"),
    ]
    order = [(row.group.runs[0].benchmark, row.seconds) for row in hardware(groups)]
    digits = [("digits", 50.0), ("digits", 90.0), ("digits", None)]
    assert order == [*digits, ("clicks", 60.0), ("clicks", 90.0)]


def test_profiles_are_algoperfs():
    """By hand: A is fastest once and 2 times as slow once, B 1 and 2.5, C has one of two at 4.5."""
    groups = [
        of_size(8, 10.0, system="A"),
        of_size(8, 25.0, system="B"),
        of_size(8, 45.0, system="C"),
        of_size(8, 200.0, system="A", benchmark="clicks"),
        of_size(8, 100.0, system="B", benchmark="clicks"),
        experiment([None], system="C", benchmark="clicks"),
        of_size(8, 1.0, system="D", benchmark="clicks"),
    ]
    a, b, c = profiles(groups)
    assert a.system == "Us, A, 8 accelerators"
    assert a.ratios == {"digits": 1.0, "clicks": 2.0}
    assert (a.factors, a.shares) == ((1.0, 2.0, 4.0), (0.5, 1.0, 1.0))
    assert a.score == pytest.approx((0.5 * 1 + 1.0 * 2) / 3)
    assert b.score == pytest.approx((0.5 * 1.5 + 1.0 * 1.5) / 3)
    assert c.ratios == {"digits": 4.5, "clicks": None}
    assert (c.factors, c.shares, c.score) == ((1.0, 4.0), (0.0, 0.0), 0.0)


def test_one_benchmark_is_no_profile():
    assert profiles([of_size(8, 10.0), of_size(16, 5.0)]) == []


def test_systems_that_never_met_have_no_profile():
    met = [of_size(8, 10.0, system=name) for name in "AB"]
    assert profiles([*met, *(of_size(8, 9.0, benchmark=name) for name in "cd")]) == []


def test_nobody_is_judged_by_what_others_did_not_try():
    groups = [of_size(8, 10.0, benchmark=task, system=name) for name in "AB" for task in "cd"]
    alone = of_size(8, 10.0, system="A", benchmark="e")
    assert [(each.system[4], each.score) for each in profiles([*groups, alone])] == [
        ("A", 1.0),
        ("B", 1.0),
    ]


def test_a_system_is_as_fast_as_its_best_configuration():
    slow, fast = of_size(8, 30.0), of_size(8, 20.0, precision="bf16")
    other = [of_size(16, 20.0), of_size(16, 9.0, benchmark="clicks")]
    mine, _ = profiles([slow, fast, of_size(8, 9.0, benchmark="clicks"), *other])
    assert mine.score == 1.0


def test_systems_files_of_several_frameworks_are_one_system():
    name = {"description": {"system_name": "Eos"}}
    groups = [
        of_size(8, 10.0, system="eos_mxnet", **name),
        of_size(8, 10.0, system="eos_hugectr", benchmark="clicks", **name),
        of_size(16, 5.0, system="eos_n2", **name),
        of_size(16, 10.0, system="eos_n2_hugectr", benchmark="clicks", **name),
    ]
    assert [(each.system, each.score) for each in profiles(groups)] == [
        ("Us, Eos, 16 accelerators", 1.0),
        ("Us, Eos, 8 accelerators", pytest.approx((2 / 3 + 1) / 2)),
    ]


def test_another_target_is_another_benchmark():
    targets = (0.97, 0.5)
    one, _ = profiles([of_size(n, 80.0 / n, target=each) for n in (8, 16) for each in targets])
    assert set(one.ratios) == {"digits to 0.97", "digits to 0.5"}
