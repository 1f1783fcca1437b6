import dataclasses

from report_runs import experiment, of_size
from ttt.report.analyze.grouping import group
from ttt.report.analyze.hardware import in_order, row


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
    found = row(made)
    assert (made.submitter, found.system, made.nodes, made.accelerators) == ("Us", "dgx", 2, 8)
    assert (made.accelerator_name, found.processor, found.memory) == ("H100", "Xeon", "80 GB")
    assert (made.score.seconds, found.samples_per_j, found.cost) == (110, 3, 7)
    assert found.samples_per_s == 10_000 / 110
    assert found.features == ("NVLink 900 GB/s", "InfiniBand NDR", "PyTorch", "bf16")


def test_a_run_without_a_time_makes_nothing_cheaper_nor_faster():
    timed = [100.0, 100.0, 100.0]
    made = group(
        dataclasses.replace(run, cost=0.1 if time is None else 10.0, samples_per_j=time)
        for run, time in zip(experiment([*timed, None]).runs, [*timed, None], strict=True)
    )
    (found,) = map(row, made)
    assert (found.cost, found.samples_per_j, found.samples_per_s) == (10.0, 100.0, 100.0)


def test_runs_of_several_prices_have_no_cost():
    runs = experiment([100.0, 100.0], cost=10.0).runs
    made = group(dataclasses.replace(run, price_per_hour=run.seed + 1.0) for run in runs)
    assert [row(each).cost for each in made] == [None]


def test_what_is_unknown_stays_unknown():
    made = experiment([9.0], accelerators=None, accelerator_name=None)
    found = row(made)
    assert made.nodes is None
    assert (found.system, found.processor, found.memory) == (None,) * 3
    assert (found.samples_per_j, found.cost, found.features) == (None, None, ())


def test_one_node_has_no_network_to_speak_of():
    found = row(experiment([9.0], nodes=1, description={"host_networking": "Ethernet"}))
    assert found.features == ()


def test_memory_is_that_of_the_host_without_accelerators_and_measured_where_nobody_says():
    found = row(experiment([9.0], accelerator_memory_bytes=80 * 2**30))
    assert found.memory == "80 GiB"
    host = {"description": {"host_memory_capacity": "2 TB"}, "accelerator_name": None}
    found = row(experiment([9.0], accelerators=0, **host))
    assert found.memory == "2 TB"


def test_the_fastest_is_first_within_its_benchmark_and_the_scoreless_last():
    experiments = [
        experiment([None]),
        of_size(8, 90.0, benchmark="clicks"),
        of_size(8, 90.0),
        of_size(16, 50.0),
        of_size(16, 60.0, benchmark="clicks"),
    ]
    order = [(each.benchmark, each.score.seconds) for each in in_order(experiments)]
    digits = [("digits", 50.0), ("digits", 90.0), ("digits", None)]
    assert order == [*digits, ("clicks", 60.0), ("clicks", 90.0)]
