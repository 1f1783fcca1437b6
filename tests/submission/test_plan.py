"""What goes where, and every sentence that refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from submissions import SYSTEM
from ttt.compliance import Verdict
from ttt.submission.entry import Entry
from ttt.submission.plan import plan
from ttt.submission.rules import Request
from ttt.submission.window import median_window

WISH = Request(submitter="somebody", ruleset="4.0.0")


def entry(number: int, *, passed: bool = True, **changes: object) -> Entry:
    log = Path(f"seed_{number}/result_{number}.txt")
    problems = () if passed else ("no eval_accuracy meets the rule",)
    good = Entry(
        path=log.parent,
        ours=True,
        log=log,
        verdict=Verdict(log, "resnet", True, "4.0.0", "closed", passed, problems),
        benchmark="resnet",
        division="closed",
        org="Some-Body",
        global_batch=3200,
        statuses=("success",),
        started=1000.0 * number,
        seconds=100.0 + number,
        seeds=(("sink.py", "7", number),),
        digest="abc",
        processes=8,
        system="box",
        description=SYSTEM | {"division": "closed"},
        environment={"git": {"commit": "abc", "dirty": False}},
    )
    return replace(good, **changes)


FIVE = [entry(number) for number in range(5)]


def with_one(**changes: object) -> list[Entry]:
    return [*FIVE[:4], replace(FIVE[4], **changes)]


def all_with(**changes: object) -> list[Entry]:
    return [replace(one, **changes) for one in FIVE]


def test_five_good_runs_are_a_result():
    planned = plan(FIVE, WISH)
    assert (planned.problems, planned.notes) == ((), ())
    [result] = planned.results
    assert (result.system, result.benchmark) == ("box", "resnet")
    assert result.entries == tuple(FIVE)


REFUSED = [
    (FIVE[:4], "box/resnet has 4 results; allowed: exactly 5; runs=5"),
    ([], "there is no run to package"),
    (
        [*FIVE[:3], entry(3, passed=False), entry(4, statuses=("aborted",))],
        "did not converge: run_stop has status aborted; at most 1 of 5 runs may",
    ),
    (
        [*FIVE[:3], entry(3, passed=False), entry(4, statuses=("aborted",))],
        "breaks ruleset 4.0.0: no eval_accuracy meets the rule; at most 1",
    ),
    (with_one(global_batch=64), "mixes runs of global_batch_size 3200, 64; allowed: one"),
    (with_one(digest="other"), "configuration seed_0 and 3 more, seed_4; allowed"),
    (with_one(division="open"), "mixes runs of division closed, open"),
    (with_one(seeds=()), "logs no seed"),
    (with_one(seeds=FIVE[0].seeds), "repeats seed 0 of seed_0/result_0.txt"),
    (
        with_one(started=FIVE[1].started, seconds=FIVE[1].seconds),
        "result_4.txt: is a copy of seed_1/result_1.txt",
    ),
    (with_one(environment={"git": {"commit": "other"}}), "mixes runs of commit abc, other"),
    (all_with(environment={}), "seed_0 and 4 more: ran from an unknown commit"),
    (
        all_with(description=SYSTEM | {"division": "closed", "accelerators_per_node": "2x"}),
        "has accelerators_per_node '2x'; allowed: a number",
    ),
    (
        [*FIVE, replace(entry(9, digest="other"), seconds=1.0)],
        "box/resnet mixes runs of folder or configuration seed_0 and 4 more, seed_9; allowed",
    ),
    (
        [*FIVE, *(replace(one, system="another", processes=None) for one in FIVE)],
        "is a copy of seed_0/result_0.txt",
    ),
    (with_one(resumed=True), "seed_4: was suspended and resumed"),
    (with_one(environment={"git": {"commit": "abc", "dirty": True}}), "uncommitted changes"),
    (
        with_one(log=None, status="not started", why="status not started, no events"),
        "seed_4: has no result file (status not started, no events); remove it or start another",
    ),
    (
        with_one(log=None, status="running", why="status running"),
        "(status running), and every run counts; let it end",
    ),
    (with_one(log=None, why="status died, no events"), "has no finished result file (status died"),
    (all_with(system=None), "--system FILE.json describes it"),
    (all_with(system="my box"), "system 'my box' is not a name"),
    (all_with(org="unspecified"), "submission_org is 'unspecified', not 'somebody'"),
    (all_with(org="Dell EMC"), "submission.org=somebody or --submitter Dell_EMC"),
    (all_with(org="Dell", ours=False), "no log may be edited; --submitter Dell"),
    (all_with(benchmark="digits"), "--unofficial builds the same tree"),
    (all_with(benchmark="cosmoflow"), "is of MLPerf HPC"),
    (
        all_with(benchmark="gnmt"),
        "ruleset 4.0.0 cannot judge gnmt in the closed division; allowed:",
    ),
    (all_with(description={}), "systems/box.json: lacks all of the 33 fields"),
    (all_with(description=SYSTEM), "has division 'open', its logs closed"),
    (
        all_with(description=SYSTEM | {"division": "closed", "status": "onprem"}),
        "has status 'onprem'; allowed since ruleset 4.0.0: 'Available on-premise'",
    ),
    (
        with_one(description=SYSTEM | {"division": "closed", "cooling": "water"}),
        "seed_4: has another cooling than seed_0",
    ),
]


@pytest.mark.parametrize(("entries", "said"), REFUSED)
def test_what_would_be_rejected_is_refused_with_the_reason(entries: list[Entry], said: str):
    problems = plan(entries, WISH).problems
    assert any(said in problem for problem in problems), problems


def test_the_same_reason_of_many_runs_is_told_once():
    [problem] = plan(all_with(org="unspecified"), WISH).problems
    assert problem.startswith("seed_0 and 4 more: submission_org")


@pytest.mark.parametrize("name", ["../elsewhere", "my lab", ".hidden", ""])
def test_a_submitter_that_is_no_folder_is_built_nowhere(name: str):
    planned = plan(FIVE, replace(WISH, submitter=name))
    assert planned.results == ()
    assert f"submitter {name!r} is not a name" in planned.problems[0]


def test_the_open_division_is_free_of_what_only_closed_forbids():
    free = all_with(
        division="open",
        description=SYSTEM,
        seeds=(),
        resumed=True,
        environment={"git": {"commit": "abc", "dirty": True}},
    )
    assert plan(free, WISH).problems == ()


def test_before_seeds_and_status_words_there_were_no_rules_about_them():
    old = all_with(
        benchmark="transformer", seeds=(), description=FIVE[0].description | {"status": "onprem"}
    )
    assert plan(old * 2, replace(WISH, ruleset="0.7.0")).problems == ()


def test_one_failed_run_is_said_and_allowed():
    planned = plan([*FIVE[:4], entry(4, passed=False)], WISH)
    assert planned.problems == ()
    assert "result_4.txt is scored as the slowest; it breaks ruleset 4.0.0" in planned.notes[0]


def test_the_other_division_is_left_out_and_said():
    planned = plan([*FIVE, entry(9, division="open")], replace(WISH, division="closed"))
    assert planned.problems == ()
    assert planned.notes == ("1 runs are not of the closed division and left out",)


def test_a_run_that_left_no_word_of_its_division_is_not_left_out():
    died = entry(9, log=None, division=None, why="died")
    [problem] = plan([*FIVE, died], replace(WISH, division="closed")).problems
    assert problem.startswith("seed_9: has no finished result file")


def test_a_machine_in_two_sizes_is_two_systems():
    later = [replace(one, processes=16, started=one.started + 1e6) for one in FIVE]
    planned = plan([*FIVE, *later], WISH)
    assert planned.problems == ()
    assert [result.system for result in planned.results] == ["box_8procs", "box_16procs"]


def test_logs_keep_their_numbers_and_get_new_ones_by_time_where_they_cannot():
    backwards = [replace(one, started=-one.started) for one in FIVE]
    [kept] = plan(backwards, WISH).results
    assert kept.entries == tuple(backwards)
    [twice] = plan(
        all_with(log=Path("seed_1/result_0.txt"), started=None)[:1] + FIVE[:4], WISH
    ).results
    assert twice.entries[:2] == (FIVE[0], FIVE[1])


def timed(seconds: list[float]) -> list[Entry]:
    return [entry(number, seconds=value) for number, value in enumerate(seconds)]


def test_of_too_many_runs_the_consecutive_ones_with_the_median_score_are_taken():
    # Scores of the windows of three are their middle values: 50, 40, 30, 20.
    runs = timed([60, 50, 40, 30, 20, 10])
    chosen = median_window(list(reversed(runs)), 3)
    assert [one.seconds for one in chosen] == [50, 40, 30]  # of 40 and 30 the slower
    [result] = plan(timed([60, 50, 40, 30, 20, 10, 5]), WISH).results
    assert [one.seconds for one in result.entries] == [50, 40, 30, 20, 10]


def test_a_window_without_a_score_is_the_slowest():
    runs = [*timed([10, 10]), *[entry(n, passed=False) for n in (2, 3)], entry(4, seconds=10)]
    assert median_window(runs, 3)[0].started == 1000.0  # scores: 10, none, none
