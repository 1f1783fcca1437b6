import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from report_runs import run
from ttt.measurements import Rank
from ttt.report.analyze.comparison import comparisons
from ttt.report.analyze.diagnosis import diagnose
from ttt.report.analyze.grouping import group
from ttt.report.analyze.hardware import in_order, row
from ttt.report.analyze.names import names
from ttt.report.analyze.scaling import sweeps
from ttt.report.analyze.stability import stability
from ttt.report.analyze.study import study
from ttt.report.render.table import show_study
from ttt.report.run import Block, Found

GIB = 2**30


def only(**changes):
    (finding,) = diagnose(run(**changes))
    return finding


def test_a_run_with_nothing_wrong_or_known_has_no_findings():
    assert diagnose(run()) == []
    assert diagnose(run(train_s=None, eval_s=None, elapsed_s=None)) == []


def test_waiting_for_data():
    ranks = tuple(Rank(number, "abc"[number], data_wait_s=20.0 + 20 * number) for number in (0, 1))
    found = only(data_wait_fraction=0.4, train_s=90.0, ranks=ranks, loader="dali")
    assert (found.what, found.share) == ("waiting for data", pytest.approx(0.36))
    assert found.measured == "40% of the training time, most of all rank 1 on b"
    assert "data.loader=resident" in found.advice
    assert "data." not in only(data_wait_fraction=0.4).advice
    assert diagnose(run(data_wait_fraction=0.05)) == []


def test_communication():
    found = only(communication_fraction=0.25)
    assert (found.what, found.share) == ("communication not hidden", 0.25)
    assert diagnose(run(communication_fraction=0.1)) == []


@pytest.mark.parametrize(
    ("compute", "hosts", "named"),
    [
        ([10, 10, 10, 12], "aabb", "rank 3 on b"),
        ([10, 10, 14, 12], "aabb", "ranks 2, 3 on b"),
        ([10, 12], [None, None], "rank 1"),
    ],
)
def test_stragglers_are_named_with_their_hosts(compute, hosts, named):
    ranks = tuple(
        Rank(number, host, compute_ms=float(ms))
        for number, (ms, host) in enumerate(zip(compute, hosts, strict=True))
    )
    found = only(ranks=ranks, step_ms_p50=20.0)
    assert found.what == "stragglers"
    assert found.measured.startswith(f"{named}: {max(compute)} ms of computation a step, 10 ms on")
    assert found.share == pytest.approx((max(compute) - 10) / 20)
    assert ("leave it out" in found.advice) == (len(set(hosts)) > 1)  # there is only this one


def test_ranks_that_compute_alike_are_no_stragglers():
    ranks = tuple(Rank(number, "a", compute_ms=10.0 + number / 2) for number in range(4))
    assert diagnose(run(ranks=ranks, step_ms_p50=20.0)) == []
    assert diagnose(run(ranks=ranks[:1], step_ms_p50=20.0)) == []


def test_evaluation_and_what_helps():
    """Fewer evaluations help only where they cost more than the longer wait for the next one."""
    many = only(eval_s=30.0, train_s=70.0, eval_interval_s=5.0)
    assert (many.what, many.share) == ("evaluation", 0.3)
    assert many.advice.startswith("fewer evaluations: target.eval_every_epochs=N")
    few = only(eval_s=30.0, train_s=70.0, eval_interval_s=50.0)
    assert few.advice == "a larger evaluation batch: data.eval_batch=N"


def test_evaluations_far_apart_and_never_both():
    far = only(eval_s=1.0, train_s=99.0, eval_interval_s=50.0)
    assert (far.what, far.share) == ("evaluations far apart", 0.25)
    assert "one every 50.0 s" in far.measured
    assert far.advice == (
        "evaluate more often: target.eval_every_epochs=N or target.eval_every_samples=N"
    )
    assert diagnose(run(eval_s=None, eval_interval_s=50.0)) == []


def test_official_rules_say_how_often_to_evaluate():
    changes = {"source": "MLPerf log", "official": True}
    far = only(eval_s=1.0, train_s=99.0, eval_interval_s=50.0, **changes)
    assert far.advice.startswith("the rules say how often")
    many = only(eval_s=30.0, train_s=70.0, eval_interval_s=5.0, **changes)
    assert many.advice == "a larger evaluation batch, or evaluation beside training"
    beside = only(eval_s=30.0, eval_beside_s=9.0, train_s=70.0, eval_interval_s=5.0, **changes)
    assert beside.advice == "more of it beside training, where a part is already"


def test_a_cold_first_block():
    blocks = (Block(0.0, 15.0, 1000.0), Block(20.0, 10.0, 1000.0), Block(40.0, 10.0, 1000.0))
    found = only(blocks=blocks, steady_samples_per_s=100.0)
    assert (found.what, found.share) == ("cold first block", 0.05)
    assert found.measured.startswith("the first block took 15.0 s, 5.00 s more")
    assert diagnose(run(blocks=blocks[:2], steady_samples_per_s=100.0)) == []
    assert diagnose(run(blocks=(Block(0.0, 15.0), *blocks[1:]), steady_samples_per_s=100.0)) == []


def test_neither_training_nor_evaluation():
    found = only(train_s=80.0, eval_s=5.0)
    assert (found.what, found.share) == ("neither training nor evaluation", 0.15)


@pytest.mark.parametrize(
    ("changes", "what", "measured"),
    [
        ({"recompiles": 3}, "compiled on the clock", "3 graphs after RUN_START"),
        (
            {"step_ms_p50": 2.0, "step_ms_p99": 7.0, "steps": 500},
            "some steps take very long",
            "one step in 100 takes over 7 ms, the median is 2 ms",
        ),
        (
            {"peak_memory_bytes": 75 * GIB, "accelerator_memory_bytes": 80 * GIB},
            "memory nearly full",
            "75 of 80 GiB (94%)",
        ),
        (
            {"peak_memory_bytes": 8 * GIB, "accelerator_memory_bytes": 80 * GIB},
            "memory unused",
            "8 of 80 GiB (10%)",
        ),
        (
            {"init_s": 2400.0, "division": "closed"},
            "long initialisation",
            "40 min before the clock, 30 min are free in MLPerf",
        ),
        (
            {"init_s": 1500.0, "division": "closed", "ruleset": "0.7.0"},
            "long initialisation",
            "25 min before the clock, 20 min are free in MLPerf",
        ),
    ],
)
def test_findings_that_are_no_share_of_the_time(changes, what, measured):
    found = only(**changes)
    assert (found.what, found.measured, found.share) == (what, measured, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"recompiles": 0},
        {"step_ms_p50": 2.0, "step_ms_p99": 7.0, "steps": 50},  # the 99th of so few is one step
        {"step_ms_p50": 2.0, "step_ms_p99": 6.0, "steps": 500},
        {"peak_memory_bytes": 60 * GIB, "accelerator_memory_bytes": 80 * GIB},
        {"peak_memory_bytes": GIB, "accelerator_memory_bytes": 80 * GIB, "accelerators": 0},
        {"init_s": 2400.0, "division": "open"},
        {"init_s": 1500.0, "division": "closed", "ruleset": "4.0.0"},
        {"init_s": 1500.0, "division": "closed", "ruleset": "<b>"},
        {"init_s": 3000.0, "division": "closed", "ruleset": "3.0.0", "benchmark": "gpt3"},
        {"lost_s": 0.0},
        {"checkpoints": 0, "checkpoint_s": 0.0},
    ],
)
def test_nothing_is_found_below_the_limits(changes):
    assert diagnose(run(**changes)) == []


def test_an_interruption():
    found = only(lost_s=30.0)
    assert (found.what, found.share) == ("interrupted", 0.3)


def test_what_saving_a_run_cost():
    found = only(checkpoints=4, checkpoint_s=2.0, checkpoint_bytes=3_000_000)
    assert (found.what, found.share) == ("checkpoints", 0.02)
    assert found.measured == "4 of 3.0 MB each took 2.00 s on the clock"


def test_lost_time_counts_once():
    found = diagnose(run(elapsed_s=200.0, train_s=90.0, eval_s=5.0, lost_s=100.0))
    assert [each.what for each in found] == ["interrupted"]


def test_the_most_expensive_is_first():
    found = diagnose(run(recompiles=1, lost_s=10.0, data_wait_fraction=0.2))
    assert [each.what for each in found] == [
        "waiting for data",
        "interrupted",
        "compiled on the clock",
    ]


NUMBER = st.none() | st.sampled_from([-1.0, 0.0, 1e-300, 1e300]) | st.floats(1e-3, 1e6)
COUNT = st.none() | st.integers(-1, 9) | st.integers(10, 10**9)
FLOATS = (
    "time_to_train_s elapsed_s train_s eval_s init_s eval_interval_s epochs samples samples_per_s"
    " steady_samples_per_s step_ms_p50 step_ms_p99 data_wait_fraction eval_fraction"
    " communication_fraction samples_per_j cost lost_s"
).split()
COUNTS = (
    "steps recompiles peak_memory_bytes accelerator_memory_bytes world_size nodes accelerators"
    " global_batch"
).split()
BLOCKS = st.lists(st.builds(Block, st.just(0.0), st.floats(0, 1e6), NUMBER), max_size=4)
RANKS = st.lists(
    st.builds(Rank, st.integers(0, 9), st.none(), NUMBER, NUMBER, NUMBER, NUMBER), max_size=3
)
ANYTHING = st.fixed_dictionaries(
    {name: NUMBER for name in FLOATS}
    | {name: COUNT for name in COUNTS}
    | {"blocks": BLOCKS.map(tuple), "ranks": RANKS.map(tuple)}
)


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(ANYTHING, min_size=2, max_size=4), st.booleans())
def test_damaged_records_are_no_reason_to_fail(records, repeated):
    """A file may say anything; a report says what it can."""
    runs = [
        run(seed, digest="d" if repeated else str(seed), **record)
        for seed, record in enumerate(records)
    ]
    groups = group(runs)
    for each in (sweeps, comparisons, in_order, names):
        each(groups)
    for made in groups:
        stability(made)
        row(made)
    for each in runs:
        diagnose(each)
    console = Console(file=io.StringIO(), width=120)
    for details in (True, False):
        show_study(study(Found(tuple(runs), ())), console, details=details)
