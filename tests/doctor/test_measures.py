"""Clocks, arithmetic, collectives: judged from made-up numbers, measured for real."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ranks import on_ranks
from ttt import config
from ttt.distributed import bench
from ttt.distributed.bench import Measured, Timing
from ttt.doctor import clocks, compute, exchange, show
from ttt.doctor.findings import Level, Observation


def seen(*facts, hosts="abcdefgh"):
    return [Observation(rank, hosts[rank], fact) for rank, fact in enumerate(facts)]


@given(
    st.floats(-1e3, 1e3),
    st.lists(st.tuples(*[st.floats(0, 1)] * 6), min_size=1, max_size=5),
)
def test_the_true_offset_is_within_the_uncertainty(ahead, rounds):
    """Whatever the delays: both begin, both have begun, each ends some time later."""
    mine, theirs, now = [], [], 1e6
    for wait, other_wait, end, other_end, rest, other_rest in rounds:
        begin, other_begin = now + wait, now + other_wait
        all_begun = max(begin, other_begin)
        mine.append((begin, all_begun + end))
        theirs.append((other_begin + ahead, all_begun + other_end + ahead))
        now = all_begun + 1 + rest + other_rest
    found = clocks.offset(mine, theirs)
    assert abs(found.seconds - ahead) <= found.uncertainty + 1e-6


def ticking(ahead, round_trip=0.001):
    return [(10.0 + i + ahead, 10.0 + i + ahead + round_trip) for i in range(3)]


@pytest.mark.parametrize(
    ("ahead", "level"), [(0.004, Level.ok), (-0.2, Level.warning), (5.0, Level.failure)]
)
def test_clocks_that_are_apart_are_named(ahead, level):
    [finding] = clocks.judge(seen(ticking(0), ticking(0.001), ticking(ahead)))
    assert finding.level is level
    assert finding.data["spread_s"] == pytest.approx(abs(ahead), abs=0.0021)
    assert 0 < finding.data["uncertainty_s"] < 0.01
    if level is not Level.ok:
        assert (
            f"{'c' if ahead > 0 else 'b'} is ahead of {'a' if ahead > 0 else 'c'}" in finding.text
        )


def test_one_node_has_one_clock():
    [finding] = clocks.judge(seen(ticking(0), ticking(3), hosts="aa"))
    assert (finding.level, finding.data["spread_s"]) == (Level.ok, None)


def speeds(*rates, device="CPU", **changed):
    facts = {"threads": 1, "cuda": None, "cudnn": None, "nccl": None, "gpus": False, **changed}
    return [
        compute.Compute(device, flop_per_s={"bf16": rate, "fp32": rate / 2}, **facts)
        for rate in rates
    ]


def test_a_slow_rank_is_named_with_its_host():
    bf16, fp32 = compute.judge(seen(*speeds(1e12, 1e12, 0.85e12, 1e12)))
    for finding in (bf16, fp32):
        assert finding.level is Level.warning
        assert "rank 2 on c at 85% of the median" in finding.text
        assert finding.data["outliers"] == [2]
    assert {one.level for one in compute.judge(seen(*speeds(1e12, 0.95e12)))} == {Level.ok}


def test_a_cpu_without_16_bit_instructions_is_named():
    [fact] = speeds(1e9)
    slower = replace(fact, flop_per_s={"bf16": 1e9, "fp32": 50e9})
    bf16, fp32 = compute.judge(seen(slower))
    assert (bf16.level, bf16.advice) == (Level.ok, "precision=fp32 on this CPU")
    assert bf16.text.endswith("; 50.0 times slower than fp32")
    assert fp32.advice is None
    assert "-> precision=fp32 on this CPU" in show.line(bf16, 80).plain
    assert {one.advice for one in compute.judge(seen(*speeds(1e12)))} == {None}


def test_devices_are_compared_with_their_like():
    mixed = seen(*speeds(9e14, 9e14, device="H100"), *speeds(3e14, 3e14, device="A100"))
    assert {one.level for one in compute.judge(mixed)} == {Level.ok}


def test_libraries_must_agree_and_fit_the_machine():
    cuda = {"cuda": "12.9", "cudnn": "91002", "nccl": "2.27.3", "gpus": True}
    [fine] = compute.judge_libraries(seen(*speeds(1, 1, **cuda)))
    assert fine.text == "CUDA 12.9, cuDNN 91002, NCCL 2.27.3"
    other = speeds(1, **cuda | {"nccl": "2.26.2"})
    [differs] = compute.judge_libraries(seen(*speeds(1, **cuda), *other))
    assert differs.level is Level.failure
    [useless] = compute.judge_libraries(seen(*speeds(1, gpus=True)))
    assert useless.level is Level.failure
    assert list(compute.judge_libraries(seen(*speeds(1)))) == []


def test_this_cpu_multiplies():
    found = compute.look(torch.device("cpu"), gpus=False)
    assert all(rate > 0 for rate in found.flop_per_s.values())
    assert compute.choose("cpu", 0) == torch.device("cpu")


@given(st.lists(st.integers(1, 40 << 20).map(lambda n: n * 4), min_size=1, max_size=60))
def test_buckets_are_those_of_torch(parameters):
    tensors = [torch.empty(size // 4, device="meta") for size in reversed(parameters)]
    caps = [exchange.FIRST_BUCKET_BYTES, exchange.BUCKET_BYTES]
    indices, _ = bench.dist._compute_bucket_assignment_by_size(tensors, caps)
    theirs = [sum(tensors[i].numel() * 4 for i in bucket) for bucket in indices]
    assert exchange.buckets(parameters) == theirs


def test_message_sizes_are_the_models_own():
    config.register()
    run = config.resolve(config.compose(["benchmark=cifar10", "data.root=x"]))
    model = config.instantiate("model", run.model)
    count = sum(parameter.numel() for parameter in model.parameters())
    sizes = exchange.message_sizes(exchange.parameter_bytes(run))
    assert sizes[0] == 4
    assert sizes[-1] == count * 4
    assert exchange.message_sizes([8]) == [4, 8]
    mib = 1 << 20
    assert exchange.message_sizes([20 * mib, 20 * mib, mib]) == [4, mib, 40 * mib, 41 * mib]


@pytest.mark.parametrize(
    ("operation", "rate"), [("all-reduce", 1.5e9), ("all-gather", 0.75e9), ("all-to-all", 0.75e9)]
)
def test_bus_bandwidth_is_that_of_nccl_tests(operation, rate):
    assert bench.bus(operation, 10**9, 1.0, 4) == pytest.approx(rate)


def measured(backend="gloo", latency=1e-4, bulk=1e9, links=(1e9,) * 4):
    size = 8 << 20
    timings = (Timing("all-reduce", 4, latency, 1.0), Timing("all-reduce", size, size / bulk, bulk))
    return Measured(backend, timings, links)


@pytest.mark.parametrize(
    ("one", "nodes", "level", "said"),
    [
        (measured(), 2, Level.ok, "   8 MiB     8.39 ms        1 GB/s"),
        (measured(latency=0.02), 1, Level.warning, "takes 20 ms"),
        (measured(bulk=0.1e9), 2, Level.warning, "slower than 1 Gbit/s Ethernet"),
        (measured(bulk=0.1e9), 1, Level.ok, "0.1 GB/s"),
        (measured("nccl", bulk=0.5e9), 1, Level.warning, "slower than gloo"),
        (measured("nccl", bulk=5e9), 2, Level.ok, "5 GB/s"),
    ],
)
def test_collectives_are_judged(one, nodes, level, said):
    gloo = measured() if one.backend == "nccl" else None
    [finding] = exchange.judge_operations(one, nodes, gloo)
    assert finding.level is level
    assert said in finding.text
    assert finding.name == f"all-reduce, {one.backend}"


def test_a_slow_link_is_named_by_both_its_ends():
    links = measured(links=(10e9, 200e9, 3e9, 205e9, 11e9, 200e9))
    inside, between = exchange.judge_links(links, "aabbcc")
    assert inside.level is Level.ok
    assert between.level is Level.warning
    assert "rank 1 on a to rank 2 on b at 30% of the median" in between.text
    assert between.data["slow"] == [2]
    [only] = exchange.judge_links(measured(), "aaaa")
    assert only.level is Level.ok


def test_what_nccl_refuses_is_told():
    finding = exchange.refused("NCCL error in: x.cpp:1\nLast error:\nDuplicate GPU detected\n")
    assert finding.level is Level.failure
    assert finding.text.endswith("Duplicate GPU detected")


@given(st.integers(2, 40))
def test_nobody_sends_and_receives_in_one_turn(ranks):
    for turn in range(3):
        senders = [rank for rank in range(ranks) if bench.turn_of(rank, ranks) == turn]
        receivers = [(rank + 1) % ranks for rank in senders]
        assert not set(senders) & set(receivers)


def collectives(world):
    return bench.gloo(world, [4, 1000, 100_000])


def test_collectives_are_measured_by_real_processes():
    answers = on_ranks(3, collectives)
    assert answers[0] == answers[1] == answers[2]
    kinds = [(one.operation, one.bytes) for one in answers[0].timings]
    divided = (12, 1008, 100_008)  # whole numbers for each of three ranks
    expected = [("all-reduce", size) for size in (4, 1000, 100_000)]
    expected += [("all-gather", size) for size in divided]
    expected += [("all-to-all", size) for size in divided]
    assert kinds == expected
    assert all(one.seconds > 0 and one.bus_bytes_per_s > 0 for one in answers[0].timings)
    assert len(answers[0].links) == 3
    assert all(rate > 0 for rate in answers[0].links)


def stamps(world):
    return world.gather(clocks.look(world.gather))


def test_processes_on_one_machine_have_one_clock():
    [first, second, *_] = on_ranks(2, stamps)[0]
    assert len(first) == clocks.ROUNDS
    found = clocks.offset(first, second)
    assert abs(found.seconds) <= found.uncertainty


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_multiplies_and_nvml_knows_it():
    from ttt.doctor import gpus

    device = compute.choose("auto", 0)
    assert device.type == "cuda"
    found = compute.look(device, gpus=True)
    assert found.flop_per_s["bf16"] > found.flop_per_s["fp32"] > 0
    shown = gpus.look(0)
    assert shown.visible[shown.own].name == found.device


@pytest.mark.parametrize("name", ["transformer", "gnmt", "dlrm_dcnv2", "resnet", "clicks"])
def test_the_largest_models_take_no_memory_to_look_at(name: str):
    """And 105 GB of tables, which no all-reduce ever sees, do not count."""
    config.register()
    run = config.resolve(config.compose([f"benchmark={name}"]))
    assert 1e4 < sum(exchange.parameter_bytes(run)) < 1e9
