import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from run_folders import CONFIG, aborted, died, finished
from ttt.errors import LaunchError
from ttt.events import Event, Kind
from ttt.measurements import Rank
from ttt.report.read.find import find
from ttt.report.run import Block, Evaluation
from ttt.sinks.jsonl import JsonLines


def test_a_finished_run(tmp_path):
    folder = finished(tmp_path / "launch", 3, quality=0.98)
    (run,) = find([folder]).runs
    assert (run.path, run.benchmark, run.seed, run.status) == (folder, "digits", 3, "success")
    assert (run.quality, run.time_to_train_s, run.epochs) == (0.98, 10.0, 8.0)
    assert (run.passed, run.official, run.ruleset, run.division) == (True, False, "6.1.0", "open")
    assert run.accelerator_name is None


def test_any_path_leads_to_the_run_and_only_once(tmp_path):
    launch = tmp_path / "runs" / "digits" / "a launch"
    folders = [finished(launch, seed) for seed in (9, 10, 11)]
    for path in (launch, tmp_path, folders[0].parent):
        assert [run.seed for run in find([path]).runs] == [9, 10, 11]
    mixed = find([folders[1], tmp_path, folders[1] / "summary.json", launch / ".." / "a launch"])
    assert [run.seed for run in mixed.runs] == [10, 9, 11]
    assert mixed.rejected == ()


def test_hydras_and_other_peoples_config_is_no_run(tmp_path):
    for name in (".hydra", "conf"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("a: 1\n")
    assert find([tmp_path]).runs == ()


def test_what_the_record_tells_of_the_course(tmp_path):
    folder = finished(tmp_path, 1)
    lines = [
        ("config", 90.0, {"train_samples": 600}),
        ("run_start", 100.0, {}),
        ("block_start", 100.5, {"samples": 0, "epoch": 0}),
        ("progress", 101.0, {"samples": 64}),
        ("block_stop", 104.5, {"samples": 600, "epoch": 1}),
        ("quality", 105.0, {"value": 0.9, "samples": 600, "epoch": 1}),
        ("block_start", 105.0, {"samples": 600, "epoch": 1}),
        ("block_stop", 107.0, {"samples": 1200, "epoch": 2}),
        ("quality", 107.5, {"value": 0.975, "samples": 1200, "epoch": 2}),
        ("run_stop", 107.5, {"status": "success"}),
    ]
    record = [
        json.dumps({"kind": kind, "time": time, "step": 0, "data": data})
        for kind, time, data in lines
    ]
    (folder / "events.jsonl").write_text("\n".join([*record, '{"kind": "quali']))
    (run,) = find([folder]).runs
    assert run.blocks == (Block(0.5, 4.0, 600.0), Block(5.0, 2.0, 600.0))
    assert run.evaluations == (
        Evaluation(5.0, 0.9, 1.0, 600.0),
        Evaluation(7.5, 0.975, 2.0, 1200.0),
    )
    assert (run.steady_samples_per_s, run.stopped) == (300.0, 107.5)
    assert (run.train_samples, run.global_batch, run.precision) == (600, 64, None)


def test_what_other_files_tell(tmp_path):
    ranks = [{"rank": 0, "host": "a", "data_wait_s": 1}, {"rank": 1, "exposed_ms": 2.5}]
    ranks[1]["peak_memory_reserved_bytes"] = 7
    told = {"peak_memory_bytes": 5, "peak_memory_reserved_bytes": 7, "device_memory_used_bytes": 9}
    folder = finished(tmp_path, 1, ranks=ranks, communication_fraction=0.25, energy_j=9.5, **told)
    (folder / "system.json").write_text('{"id": "box", "description": {"cooling": "air"}}')
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{config}submission: {{org: Acme}}\nprecision: bf16\n")
    (run,) = find([folder]).runs
    assert run.ranks == (Rank(0, "a", 1.0), Rank(1, exposed_ms=2.5, peak_memory_reserved_bytes=7))
    assert (run.system, run.description) == ("box", {"cooling": "air"})
    assert (run.submitter, run.precision, run.communication_fraction) == ("Acme", "bf16", 0.25)
    assert run.energy_j == 9.5
    assert {name: getattr(run, name) for name in told} == told


def test_nobody_submits_by_default(tmp_path):
    folder = finished(tmp_path, 1)
    with (folder / "config.yaml").open("a") as config:
        config.write("submission: {org: unspecified}\n")
    assert find([folder]).runs[0].submitter is None


def test_the_digest_is_the_configuration_without_the_seed(tmp_path):
    one, two, other = (
        find([finished(tmp_path / name, seed, batch=batch)]).runs[0].digest
        for name, seed, batch in (("a", 1, 64), ("b", 2, 64), ("c", 1, 128))
    )
    assert one == two != other


def test_what_a_node_costs_makes_no_other_experiment(tmp_path):
    digests = []
    for name, system in (("a", "{id: x, price_per_hour: 2.5}"), ("b", "{id: x}"), ("c", "{id: y}")):
        folder = finished(tmp_path / name, 1)
        with (folder / "config.yaml").open("a") as config:
            config.write(f"system: {system}\ntracking: {{mode: {name}}}\n")
        digests.append(find([folder]).runs[0].digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ("", "no events"),
        ("garbage\n\xff", "no events"),
        (
            '{"kind":"run_start","time":1700000000.5,"step":0,"data":{}}\n{"kind":"eval_st',
            "no summary; last event run_start at 2023-11-14 22:13:20+00:00",
        ),
        ('{"kind":"run_start","time":1e300}\n', "no events"),
    ],
)
def test_a_run_without_summary_died_with_its_last_sign_of_life(tmp_path, events, said):
    (run,) = find([died(tmp_path / "launch", 4, events)]).runs
    assert (run.status, run.reason) == ("died", said)
    assert (run.benchmark, run.seed, run.target) == ("digits", 4, 0.97)
    assert run.time_to_train_s is None


def test_a_run_without_any_sign_of_life_is_not_called_dead(tmp_path):
    folder = died(tmp_path, 1)
    (folder / "logs").mkdir()
    (run,) = find([folder]).runs
    assert (run.status, run.reason, run.seed) == ("not started", "no events", 1)
    (folder / "logs" / "rank_1.failure.json").write_text("{}")  # it failed before the first event
    (run,) = find([folder]).runs
    assert (run.status, run.reason) == ("died", "no events")


def test_a_run_that_still_runs_is_told_from_one_that_died(tmp_path):
    folder = died(tmp_path, 1)
    record = JsonLines(folder / "events.jsonl")
    record.write(Event(Kind.RUN_START, 1700000000.0))
    assert find([folder]).runs[0].status == "running"
    with pytest.raises(LaunchError, match="another process"):
        JsonLines(folder / "events.jsonl")
    record.close()
    assert find([folder]).runs[0].status == "died"


def test_a_suspended_run_is_not_called_dead(tmp_path):
    line = '{"kind":"suspended","time":1700000000,"step":1,"data":{}}\n'
    (run,) = find([died(tmp_path, 1, line)]).runs
    assert run.status == "suspended"


def test_a_run_that_lost_its_processes_says_why_it_is_suspended(tmp_path):
    line = '{"kind":"suspended","time":1700000000,"step":1,"data":{"reason":"a peer is gone"}}\n'
    (run,) = find([died(tmp_path, 1, line)]).runs
    assert run.reason == "a peer is gone; suspended at 2023-11-14 22:13:20+00:00"
    # Nobody could write the record's end: slurm/job.sbatch says that it goes on.
    folder = died(tmp_path, 2, line.replace("suspended", "progress"))
    (folder / "suspended").write_text("a node of the job does not answer\n")
    (run,) = find([folder]).runs
    assert (run.status, run.reason) == ("suspended", "a node of the job does not answer")


def test_what_was_done_again_after_a_loss_counts_once(tmp_path):
    told = [
        ("run_start", 100, {}),
        ("block_start", 100, {"samples": 0}),
        ("block_stop", 110, {"samples": 50}),
        ("quality", 111, {"value": 0.5, "samples": 50, "epoch": 1}),
        ("block_start", 111, {"samples": 50}),
        ("block_stop", 121, {"samples": 100}),
        ("quality", 122, {"value": 0.6, "samples": 100, "epoch": 2}),
        ("block_start", 122, {"samples": 100}),  # and its end was lost
        ("resumed", 200, {"samples": 60, "epoch": 1.2, "lost_s": 87.0}),
        ("block_start", 200, {"samples": 60}),
        ("block_stop", 208, {"samples": 100}),
        ("quality", 209, {"value": 0.6, "samples": 100, "epoch": 2}),
    ]
    lines = [
        json.dumps({"kind": kind, "time": time, "step": 0, "data": data})
        for kind, time, data in told
    ]
    (run,) = find([died(tmp_path, 1, "\n".join(lines) + "\n")]).runs
    assert [(one.seconds, one.quality) for one in run.evaluations] == [(11, 0.5), (109, 0.6)]
    assert [(each.begin, each.samples) for each in run.blocks] == [(0, 50), (100, 40)]


def test_the_last_event_is_found_at_the_end_of_a_long_file(tmp_path):
    line = '{"kind":"progress","time":1700000000,"step":1,"data":{}}\n'
    (run,) = find([died(tmp_path, 1, line * 5000 + line.replace("progress", "block_stop"))]).runs
    assert "block_stop" in run.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300])
def test_what_nothing_can_have_measured_is_unknown(tmp_path, value):
    (run,) = find([finished(tmp_path, 1, eval_interval_s=value, peak_memory_bytes=10**400)]).runs
    assert (run.eval_interval_s, run.peak_memory_bytes) == (None, None)


def test_a_quality_may_be_below_zero(tmp_path):
    (run,) = find([finished(tmp_path, 1, quality=-2.5, target=-3.0)]).runs
    assert (run.quality, run.target) == (-2.5, -3.0)


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        ("{", "summary.json is damaged"),
        ("[]", "holds no mapping"),
        (json.dumps({"time_to_train_s": "fast"}), "time_to_train_s is 'fast', not a number"),
        (json.dumps({"seed": True}), "seed is True, not a whole number or null"),
        (json.dumps({"epochs": 10**400}), "summary.json: epochs is 1000"),
        (
            '{"epochs": 1' + "0" * 5000 + "}",
            "summary.json is damaged: a number has more than 1,000",
        ),
        (None, "summary.json cannot be read: it is not a regular file"),
        (json.dumps({"compliance": "yes"}), "compliance is 'yes'"),
        (json.dumps({"ranks": {"0": 1}}), "ranks is {'0': 1}, not a list"),
        (json.dumps({"ranks": [{"rank": "0"}]}), "rank is '0', not a whole number"),
        (json.dumps({"compliance": {"passed": "yes"}}), "passed is 'yes', not true, false or null"),
    ],
)
def test_an_unreadable_summary_is_told_and_is_no_death_and_no_time(tmp_path, summary, why):
    finished(tmp_path, 1)
    bad = finished(tmp_path, 2)
    if summary is None:
        (bad / "summary.json").unlink()
        os.mkfifo(bad / "summary.json")
    else:
        (bad / "summary.json").write_text(summary)
    (bad / "logs").mkdir()
    (bad / "logs" / "rank_1.failure.json").write_text('{"text": "it was lost", "time": 1}')
    found = find([tmp_path])
    assert found.rejected == ()
    assert [(run.seed, run.status) for run in found.runs] == [(1, "success"), (2, "unreadable")]
    assert why in found.runs[1].reason
    (bad / "config.yaml").unlink()
    found = find([tmp_path])
    assert [each.path for each in found.rejected] == [bad]
    assert why in found.rejected[0].reason


def test_a_damaged_configuration_and_paths_that_lead_nowhere_are_told(tmp_path):
    bad = finished(tmp_path / "launch", 1)
    (bad / "config.yaml").write_text("a: [1\n")
    (tmp_path / "notes.txt").write_text("")
    found = find([tmp_path / "absent", tmp_path / "notes.txt", bad])
    assert found.runs == ()
    reasons = [each.reason for each in found.rejected]
    assert reasons[:2] == ["does not exist", "the file is empty"]
    assert reasons[2].startswith("config.yaml is damaged")


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_makes_it_raise(tmp_path, data):
    folder = tmp_path / "seed_1"
    if not folder.exists():
        aborted(tmp_path, 1)
        (folder / "events.jsonl").touch()
    good = {
        "summary.json": (folder / "summary.json").read_text().encode(),
        "config.yaml": CONFIG.format(seed=1, batch=64).encode(),
        "events.jsonl": b'{"kind":"run_start","time":1,"step":0,"data":{}}\n' * 2,
    }
    name = data.draw(st.sampled_from(sorted(good)))
    content = bytearray(good[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content[: data.draw(st.integers(0, len(content)))])
    summary = (folder / "summary.json").read_bytes()
    if data.draw(st.booleans()):
        (folder / "summary.json").unlink()
    found = find([tmp_path])
    assert len(found.runs) + len(found.rejected) == 1
    (folder / "summary.json").write_bytes(good.get("summary.json", summary))
    (folder / "config.yaml").write_bytes(good["config.yaml"])
