import errno
import fcntl
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from fakes import FakeTime, Recorder
from run_events import CONFIG, tell
from run_folders import finished
from ttt import compliance
from ttt.errors import LaunchError
from ttt.events import Event, EventLog, Kind
from ttt.report.read.find import find
from ttt.schema.logged import RESERVED
from ttt.sinks.console import Console, result_rows
from ttt.sinks.jsonl import JsonLines
from ttt.sinks.mllog import MlperfLog, records
from ttt.sinks.summary import Summary
from ttt.terminal import Terminal


def test_the_mlperf_log_passes_the_checker_and_says_only_what_happened(tmp_path, capfd):
    path, time = tmp_path / "result_0.txt", FakeTime(1_700_000_000)
    log = EventLog(time, [MlperfLog(path)])
    tell(log, time)
    log.close()
    verdict = compliance.check_file(path)
    assert verdict.problems == ()
    assert verdict.passed
    lines = [json.loads(line.split(":::MLLOG ")[1]) for line in path.read_text().splitlines()]
    by_key = {line["key"]: line for line in lines}
    assert by_key["run_stop"]["time_ms"] - by_key["run_start"]["time_ms"] == 10_000
    assert by_key["eval_accuracy"]["value"] == 0.98
    assert by_key["eval_accuracy"]["metadata"]["epoch_num"] == 2
    assert by_key["eval_accuracy"]["metadata"]["samples_count"] == 2944
    assert by_key["lowest_numerical_precision_in_linear"]["value"] == "bfloat16"
    assert by_key["opt_name"]["value"] == "sgd"
    assert by_key["seed"]["metadata"]["file"] == "ttt/sinks/mllog.py"
    assert capfd.readouterr().out == ""  # MLCommons' logger would print every record


def test_epochs_are_counted_from_one_in_blocks():
    time = FakeTime()
    log = EventLog(time)
    event = log.emit(Kind.BLOCK_START, epoch=3, samples=4416, until={"epoch": 5, "samples": 7360})
    [record] = records(event)
    assert record.metadata == {"first_epoch_num": 4, "epoch_count": 2, "samples_count": 4416}


def test_what_a_run_says_of_itself_is_logged_once_and_nothing_else_can_be_said():
    told = {"seed": 8, "submission_benchmark": "resnet", "x": 1}
    event = EventLog(FakeTime()).emit(Kind.CONFIG, **CONFIG | {"mlperf": told})
    keys = [record.key for record in records(event)]
    assert len(keys) == len(set(keys))
    by_key = {record.key: record.value for record in records(event)}
    assert (by_key["seed"], by_key["submission_benchmark"], by_key["x"]) == (3, "digits", 1)


def test_every_key_that_a_run_logs_by_itself_is_reserved():
    time, kept = FakeTime(), Recorder()
    log = EventLog(time, [kept])
    tell(log, time)
    log.emit(Kind.RESUMED, 46, epoch=1, samples=1472, lost_s=3.0)
    keys = {record.key for event in kept.events for record in records(event)}
    assert keys - {"opt_name"} <= RESERVED
    assert RESERVED - keys == {"epoch_start", "epoch_stop"}  # which rulesets know besides


def test_values_may_have_metadata_and_the_target_says_how_it_is_measured():
    told = {"max_sequence_length": {"value": 64, "method": "discard"}}
    details = {"signature": "nrefs:1"}
    event = EventLog(FakeTime()).emit(
        Kind.CONFIG, **CONFIG | {"mlperf": told}, metric_details=details
    )
    by_key = {record.key: record for record in records(event)}
    assert by_key["max_sequence_length"].value == 64
    assert by_key["max_sequence_length"].metadata == {"method": "discard"}
    assert by_key["target_accuracy"].metadata["signature"] == "nrefs:1"


def test_the_record_is_strict_json_and_appends(tmp_path):
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        log = EventLog(FakeTime(), [JsonLines(path)])
        log.emit(Kind.PROGRESS, 1, loss=float("nan"), nested={"values": [1, float("-inf")]})
        log.close()
    first, _second = path.read_text().splitlines()
    read = json.loads(first, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert read["kind"] == "progress"
    assert read["data"] == {"loss": "nan", "nested": {"values": [1, "-inf"]}}


def test_a_killed_writer_leaves_whole_lines(tmp_path):
    program = (
        "import itertools, sys; from pathlib import Path\n"
        "from ttt.events import EventLog, Kind; from ttt.sinks.jsonl import JsonLines\n"
        "log = EventLog(lambda: 0.0, [JsonLines(Path(sys.argv[1]))])\n"
        "for n in itertools.count(): log.emit(Kind.PROGRESS, n); n == 500 and print('go', flush=1)"
    )
    path = tmp_path / "events.jsonl"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        writer.kill()
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == list(range(len(steps)))
    assert len(steps) > 500


def test_a_full_disk_is_an_error(monkeypatch):
    def no_locks(*_):  # /dev/full is one: another run of the tests may hold its lock
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(LaunchError, match="/dev/full cannot be written: No space left on device"):
        EventLog(FakeTime(), [JsonLines(Path("/dev/full"))]).emit(Kind.RUN_START)


def test_a_record_that_was_removed_is_an_error(tmp_path):
    log = EventLog(FakeTime(), [JsonLines(tmp_path / "events.jsonl")])
    log.emit(Kind.INIT_START)
    (tmp_path / "events.jsonl").unlink()
    with pytest.raises(LaunchError, match="removed while the run was going on"):
        log.emit(Kind.INIT_STOP)


def test_a_resumed_run_says_so_in_log_and_summary(tmp_path):
    path, time = tmp_path / "result_0.txt", FakeTime()
    summary = Summary()
    for kind in (Kind.INIT_START, Kind.INIT_STOP, Kind.RUN_START):
        summary.write(Event(kind, time()))
        time.sleep(1)
    log = EventLog(time, [summary, MlperfLog(path, resumed=True)])
    log.emit(Kind.INIT_START)
    time.sleep(5)
    log.emit(Kind.INIT_STOP)
    log.emit(Kind.RESUMED, 7, started=1002.0, lost_s=60.0, epoch=1, samples=70)
    log.emit(Kind.RUN_STOP, 9, status="success", reason="", epoch=2, samples=90)
    log.close()
    keys = [json.loads(line.split(":::MLLOG ")[1])["key"] for line in path.read_text().splitlines()]
    assert keys == ["resumed", "run_stop"]
    result = summary.result()
    assert (result["resumed"], result["lost_s"]) == (1, 60.0)
    assert result["init_s"] == 1.0  # of the processes that started the clock
    assert result["elapsed_s"] == 6.0


def test_what_was_saved_and_what_was_lost_is_in_the_summary_and_on_the_screen():
    summary, text = Summary(), io.StringIO()
    console = Console(RichConsole(file=text, width=100), summary, "runs/one")
    log = EventLog(time := FakeTime(), [summary, console])
    for kind in (Kind.INIT_START, Kind.INIT_STOP, Kind.RUN_START):
        log.emit(kind)
    for epoch, step in ((1, 10), (2, 20)):
        time.sleep(1)
        log.emit(
            Kind.QUALITY, step, epoch=epoch, samples=step, value=0.5, metric="top1", target=0.9
        )
        log.emit(Kind.CHECKPOINT, step, saved_step=step - 2, bytes=2_000_000, copy_s=0.25)
    log.emit(Kind.SUSPENDED, 20, epoch=2, samples=20, reason="stopped by SIGTERM")
    moved = {"now": "1 process", "before": "shard=2", "processes": [2, 1]}
    log.emit(Kind.RESUMED, 18, started=1000.0, lost_s=60.0, moved=moved, epoch=2, samples=18)
    result = summary.result()
    told = ("checkpoints", "checkpoint_s", "checkpoint_bytes", "resumed", "lost_s")
    assert [result[name] for name in told] == [2, 0.5, 2_000_000, 1, 60.0]
    rows = dict(result_rows(result | {"target": 1, "metric": "top1", "world_size": 1}))
    assert rows["checkpoints"] == "2 of 2.0 MB; 0.50 s on the clock"
    shown = text.getvalue()
    assert "suspended at step 20: stopped by SIGTERM; it goes on from its newest" in shown
    assert "resumed as 1 process after shard=2 at step 18" in shown
    assert result["moved"] == "1 process after shard=2"
    assert result["utilization_reason"] == "the run went on with another number of processes"
    assert rows["resumed"].endswith("60.0 s lost are in the time; as 1 process after shard=2")
    assert "60.0 s of them lost" in shown


def test_the_summary_holds_what_was_measured_and_null_for_the_rest(tmp_path):
    path, time = tmp_path / "summary.json", FakeTime()
    log = EventLog(time, [Summary(path)])
    tell(log, time)
    assert not path.exists()
    log.close()
    summary = json.loads(path.read_text())
    assert summary["time_to_train_s"] == summary["elapsed_s"] == 10
    assert summary["init_s"] == 2
    assert summary["eval_interval_s"] == 5
    assert summary["quality"] == 0.98
    assert summary["epochs"] == 2
    assert summary["steps"] == 46
    assert summary["samples"] == 2944
    assert summary["world_size"] == 2
    assert summary["energy_j"] is summary["cost"] is summary["peak_memory_bytes"] is None
    assert summary["peak_memory_reserved_bytes"] is summary["device_memory_used_bytes"] is None
    assert summary["compliance"] == dict.fromkeys(
        ("ruleset", "division", "passed", "official", "problems")
    )


def test_a_run_costs_its_nodes_for_the_time_on_the_clock():
    summary, time = Summary(), FakeTime()
    log = EventLog(time, [summary])
    log.emit(Kind.CONFIG, **CONFIG | {"nodes": 3, "price_per_hour": 24.0})
    log.emit(Kind.RUN_START)
    assert summary.result()["cost"] is None  # it is not over yet
    time.sleep(60)
    log.emit(Kind.RUN_STOP, 1, epoch=1, samples=10, status="aborted", reason="")
    assert summary.result()["cost"] == pytest.approx(1.2)
    summary.write(Event(Kind.RESUMED, 1002.0, 7, {"started": 1000.0, "lost_s": 60.0}))
    assert summary.result()["cost"] is None  # nobody paid for the time in the queue


def test_an_aborted_run_has_no_time_to_train(tmp_path):
    summary, time = Summary(), FakeTime()
    tell(EventLog(time, [summary]), time, status="aborted", quality=0.95)
    assert summary.result()["status"] == "aborted"
    assert summary.result()["time_to_train_s"] is None
    assert summary.result()["elapsed_s"] == 10


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_sees_progress_and_the_result(terminal):
    text, time = io.StringIO(), FakeTime()
    console = RichConsole(
        file=text,
        force_terminal=terminal,
        width=100,
        highlight=False,
        _environ={"TERM": "xterm"},
    )
    summary = Summary()
    log = EventLog(time, [summary, Console(console, summary, "runs/digits/x/seed_3")])
    tell(log, time)
    log.close()
    said = text.getvalue()
    for words in ("top1 0.9800", "success", "10.00 s", "runs/digits/x/seed_3", "7.0 MB"):
        assert words in said
    assert ("\x1b[" in said) == terminal
    assert "unknown" not in said  # of peak memory and others nothing is known, so nothing is said
    assert "170.0 ms median" in said
    assert "p99" not in said


@pytest.mark.parametrize(
    ("reason", "higher", "said"),
    [
        (
            "target.max_epochs=2 passed at top1 0.8, not >= 0.97",
            True,
            "not reached after 10.00 s: target.max_epochs=2 passed;"
            " best top1 0.9000 at epoch 1 of 2",
        ),
        (
            "target.max_seconds=9 passed",
            False,
            "not reached after 10.00 s: target.max_seconds=9 passed;"
            " best top1 0.8000 at epoch 2 of 2",
        ),
        ("SIGTERM was received", True, "aborted after 10.00 s: SIGTERM was received"),
    ],
)
def test_a_person_reads_not_reached_and_the_best_quality(reason, higher, said):
    summary, time, kept = Summary(), FakeTime(), Recorder()
    tell(EventLog(time, [kept]), time, status="aborted", quality=0.8)
    text = io.StringIO()
    console = Console(RichConsole(file=text, width=120), summary, "runs/x")
    for event in kept.events:
        changed = {Kind.CONFIG: {"higher_is_better": higher}, Kind.RUN_STOP: {"reason": reason}}
        data = {**event.data, **changed.get(event.kind, {})}
        for sink in (summary, console):
            sink.write(Event(event.kind, event.time, event.step, data))
    assert said in text.getvalue().splitlines()
    assert summary.result()["status"] == "aborted"  # the record keeps its words


def test_the_best_quality_is_a_number():
    summary = Summary()
    for step, value in enumerate((float("nan"), "nan", 0.5, 0.5)):
        summary.write(Event(Kind.QUALITY, 0.0, step, {"value": value}))
    assert summary.best().step == 2
    assert Summary().best() is None


def test_a_person_is_told_where_tables_are_and_what_the_loader_says_of_its_batches():
    text, time, summary = io.StringIO(), FakeTime(), Summary()
    console = RichConsole(file=text, width=100)
    log = EventLog(time, [summary, Console(console, summary, "runs/x")])
    log.emit(Kind.INIT_START)
    log.emit(Kind.CONFIG, **CONFIG, tables="table 0 on process 1", price_per_hour=36.0)
    log.emit(Kind.INIT_STOP)
    log.emit(Kind.RUN_START)
    log.emit(Kind.RUN_STOP, 1, epoch=1, samples=10, status="success", reason="")
    told = {"energy_j": 1234.5, "samples_per_j": 0.5, "energy": {"scope": "gpu + cpu"}}
    told |= {"communication_fraction": 0.25, "data": {"padding": 0.0125}}
    log.emit(Kind.STATISTICS, 1, epoch=1, samples=10, **told)
    log.close()
    assert "table 0 on process 1" in text.getvalue()
    for words in (
        "1,234 J (gpu + cpu counters), 0.5 samples/J",
        "25.0% of forward and backward",
        "a node-hour",
    ):
        assert words in text.getvalue()
    assert "padding 0.0125" in text.getvalue()
    assert summary.result()["data"] == {"padding": 0.0125}


def ended(**parts):
    """A summary of nothing but these."""
    return Summary().result() | {"metric": "top1", "target": 0.97, "steps": 46} | parts


def test_a_failed_check_says_why():
    failed = {"passed": False, "official": False, "ruleset": "6.1.0", "division": "open"}
    by = "(MLPerf-style, not an MLPerf benchmark, rules 6.1.0, open)"
    for seconds, problems, said in (
        (1.0, ["opt_name is missing", "b"], f"FAILED: opt_name is missing, and 1 more {by}"),
        (1.0, ["opt_name is missing"], f"FAILED: opt_name is missing {by}"),
        (1.0, None, f"FAILED: ttt check says which rules the log breaks {by}"),
        (None, ["run_stop is aborted", "b"], f"FAILED: not reached {by}"),
    ):
        rows = result_rows(
            ended(time_to_train_s=seconds, compliance=failed | {"problems": problems})
        )
        assert dict(rows)["compliance"] == said


def test_of_what_is_not_known_there_is_no_line():
    assert [name for name, _ in result_rows(ended(world_size=1))] == ["time to train", "compliance"]
    assert dict(result_rows(ended(step_ms_p99=2.0)))["step time"] == "2.0 ms p99"


def test_memory_is_said_as_far_as_it_is_known():
    said = ended(peak_memory_bytes=1_234_500_000)
    assert dict(result_rows(said))["peak memory"] == "1,234 MB in one process"
    said |= {"peak_memory_reserved_bytes": 2e9, "device_memory_used_bytes": 3e9}
    assert dict(result_rows(said))["peak memory"] == (
        "1,234 MB in one process, 2,000 MB reserved, 3,000 MB of its GPU in use at the end"
    )


def test_a_line_stays_one_in_a_pipe_and_wraps_in_a_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    sentence = "word " * 40
    for terminal, columns, lines in ((False, None, 1), (True, "80", 3), (False, "80", 3)):
        if columns:
            monkeypatch.setenv("COLUMNS", columns)
        text = io.StringIO()
        Terminal(file=text, force_terminal=terminal).print(sentence)
        assert len(text.getvalue().splitlines()) == lines


def test_a_report_reads_the_summary_that_a_run_writes(tmp_path):
    folder, time = finished(tmp_path, 3), FakeTime()
    log = EventLog(time, [Summary(folder / "summary.json")])
    tell(log, time)
    checked = {"ruleset": "6.1.0", "division": "open", "official": False}
    log.emit(Kind.COMPLIANCE, 46, **checked, passed=False, problems=["opt_name is missing"])
    log.close()
    [run] = find([tmp_path]).runs
    assert (run.status, run.passed, run.problems) == ("success", False, ("opt_name is missing",))
