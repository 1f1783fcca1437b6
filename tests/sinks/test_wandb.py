"""The W&B sink, by the real SDK and its own reader; nothing here needs a network."""

import json
import subprocess
import sys
import threading

import pytest

from fakes import FakeTime, Recorder
from ground import HUNG, PROJECT, environment
from processes import EASY, TINY
from run_events import CONFIG, tell
from ttt.errors import OK
from ttt.events import Event, EventLog, Kind
from ttt.schema.tracking import TrackingConfig, WandbConfig
from ttt.sinks.series import Series, folder_identity, scalars, sweep_point
from ttt.sinks.summary import Summary
from ttt.sinks.wandb import UNTRACKED, Wandb, mode_of
from wandb_folders import inspect

# Stands before the real package on the path: everything works, but logging never comes back.
STUCK = """
import time

class Settings:
    def __init__(self, **_): pass

class Run:
    config = {}
    def define_metric(self, *_, **__): pass
    def log(self, row): time.sleep(3600)

def setup(settings): pass
def init(**_): return Run()
"""
# The events of a run, told to a sink that cannot reach its server.
# W&B leaves its folder for media to Python to remove, which warns where that is late.
IMPLICITLY = "ignore:Implicitly cleaning up:ResourceWarning"
CUT_OFF = """
import sys, time
from pathlib import Path
from fakes import Recorder
from run_events import CONFIG
from ttt.events import EventLog, Kind
from ttt.sinks.summary import Summary
from ttt.sinks.wandb import Wandb

record = Recorder()
tracker = Wandb(Path(sys.argv[1]), Summary(), mode="online", timeout_seconds=2)
log = EventLog(time.time, [record, tracker])
for kind in (Kind.CONFIG, Kind.INIT_STOP, Kind.RUN_START):
    log.emit(kind, **(CONFIG if kind is Kind.CONFIG else {}))
log.close()
print(*(event.data.get("message", event.kind) for event in record.events), sep="\\n")
"""


def test_a_run_is_tracked_as_its_folder_tells_it(ttt, digits, tmp_path):
    size = ("launcher=torchrun", "launcher.procs=2", "data.global_batch=72", "target.max_epochs=1")
    size += TINY
    done = ttt("run", f"data.root={digits}", "tracking=wandb", "tracking.tags=[a]", *size)
    assert "warning" not in done.stdout + done.stderr
    [folder] = tmp_path.glob("runs/digits/*/seed_1")
    [found] = folder.glob("wandb/offline-run-*")  # rank 0 alone
    told, records = inspect(found)
    summary = json.loads((folder / "summary.json").read_text())
    assert told["project"] == "digits"
    assert told["run_id"] == folder_identity(folder)
    assert told["state"] == ("finished" if summary["status"] == "success" else "failed")
    assert told["tags"] == ["a"]
    assert told["summary"] | scalars(summary) == told["summary"]
    config = told["config"]
    assert (config["workers"], config["accelerators"], config["nodes"]) == (2, 0, 1)
    assert (config["global_batch"], config["precision"], config["lr"]) == (72, "fp32", 0.2)
    assert config["ttt"]["data"]["root"] == str(digits)
    assert config["system"]["host"]
    assert "variables" not in config["system"]
    [run] = [record["run"] for record in records if record["type"] == "run"][:1]
    assert run["run_group"] == "digits, 2 x CPU process, batch 72, fp32"
    assert run["job_type"] == "train"
    axes = {
        each["metric"].get("glob_name"): each["metric"].get("step_metric")
        for each in records
        if each["type"] == "metric"
    }
    assert axes["eval/*"] == axes["train/*"] == "seconds"
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    [evaluation] = [row for row in rows if "eval/quality" in row]
    assert evaluation["eval/quality"] == summary["quality"]
    assert evaluation["seconds"] == pytest.approx(summary["elapsed_s"])
    assert evaluation["samples"] == summary["samples"]
    assert any("train/loss" in row for row in rows)


def test_a_tracker_that_never_answers_neither_stops_the_clock_nor_holds_up_the_end(
    ttt, digits, tmp_path
):
    (tmp_path / "stuck").mkdir()
    (tmp_path / "stuck" / "wandb.py").write_text(STUCK)
    done = ttt(
        *("run", *EASY, f"data.root={digits}", "tracking=wandb", "tracking.timeout_seconds=1"),
        PYTHONPATH=f"{tmp_path / 'stuck'}:{PROJECT}",
    )
    assert done.returncode == OK, done.stderr
    assert "warning" not in done.stdout
    assert "W&B was not done within 1 s" in done.stderr
    [summary] = tmp_path.glob("runs/digits/*/seed_1/summary.json")
    assert json.loads(summary.read_text())["status"] == "success"


def test_without_its_server_a_run_goes_on_untracked(tmp_path):
    variables = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", IMPLICITLY, "-c", CUT_OFF, str(tmp_path)],
        env=environment(PYTHONPATH=f"{PROJECT}:{PROJECT / 'tests' / 'support'}", **variables),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
    )
    assert done.stderr == ""
    config, init_stop, warning, run_start = done.stdout.splitlines()
    assert (config, init_stop, run_start) == ("config", "init_stop", "run_start")
    assert warning.startswith("W&B")
    assert "goes on untracked" in warning
    assert f"ttt report {tmp_path} --wandb" in warning
    assert UNTRACKED in warning


class FakeRun:
    """W&B's side of a run, as far as a sink sees it; logging waits until it is let go."""

    def __init__(self, *, open: bool = True) -> None:
        self.rows, self.finished = [], None
        self.config, self.summary = {}, {}
        self.preempted = False
        self.gate = threading.Event()
        if open:
            self.gate.set()

    def log(self, row):
        self.gate.wait()
        self.rows.append(row)

    def mark_preempting(self):
        self.preempted = True

    def finish(self, exit_code):
        self.finished = exit_code


def sink(tmp_path, connect, *, resumed=False, seconds=0.1):
    own = {"resumed": resumed, "connect": connect}
    return Wandb(tmp_path, Summary(), **own, timeout_seconds=seconds)


def emit(log, *kinds, **data):
    for kind in kinds:
        log.emit(kind, **(CONFIG if kind is Kind.CONFIG else data))


def test_events_are_taken_at_once_however_long_w_and_b_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("ttt.sinks.wandb._HASTY_SECONDS", 0.2)
    tracker = FakeRun(open=False)
    own = sink(tmp_path, lambda *_, **__: tracker, seconds=60)
    log = EventLog(FakeTime(), [Recorder(), own])
    emit(log, Kind.CONFIG, Kind.INIT_STOP, Kind.RUN_START)
    for _ in range(1000):
        emit(log, Kind.QUALITY, value=0.5, target=0.9, epoch=1, samples=10)
    assert tracker.rows == []  # and yet all of them were taken
    log.close()  # not the end of a whole run: waits for the hasty time, not 60 s
    assert tracker.finished is None
    tracker.gate.set()


@pytest.mark.parametrize("why", ["slow", "broken"])
def test_what_is_not_ready_before_the_clock_is_given_up_with_one_warning(tmp_path, why):
    gate, record = threading.Event(), Recorder()

    def connect(*_, **__):
        if why == "broken":
            raise ValueError("no such entity")
        gate.wait()

    log = EventLog(FakeTime(), [record, sink(tmp_path, connect)])
    emit(log, Kind.CONFIG, Kind.INIT_STOP, Kind.RUN_START)
    gate.set()
    expected = [Kind.CONFIG, Kind.INIT_STOP, Kind.WARNING, Kind.RUN_START]
    if record.kinds() != expected:  # a quick failure is told with CONFIG already
        assert record.kinds() == [Kind.CONFIG, Kind.WARNING, Kind.INIT_STOP, Kind.RUN_START]
    said = record.last(Kind.WARNING).data["message"]
    assert ("no such entity" if why == "broken" else "timeout_seconds=0.1") in said


def test_a_run_that_is_resumed_waits_for_nothing_and_keeps_its_clock(tmp_path):
    gate, tracker = threading.Event(), FakeRun()

    def connect(*_, **__):
        gate.wait()
        return tracker

    log = EventLog(FakeTime(1100.0), [Recorder(), sink(tmp_path, connect, resumed=True)])
    emit(log, Kind.CONFIG, Kind.INIT_STOP)  # the clock runs: this must not wait for the gate
    emit(log, Kind.RESUMED, started=1000.0, lost_s=5.0)
    emit(log, Kind.QUALITY, value=0.5, target=0.9, epoch=1, samples=10)
    emit(log, Kind.SUSPENDED)
    gate.set()
    log.close()
    assert [row["seconds"] for row in tracker.rows] == [100.0]
    assert tracker.preempted
    assert tracker.finished == 1


def test_the_loss_is_shown_once_a_second_and_the_rate_of_each_block(tmp_path):
    time, series, rows = FakeTime(), Series(), []

    class Rows(Recorder):
        def write(self, event: Event) -> None:
            rows.append(series.row(event))

    log = EventLog(time, [Rows()])
    tell(log, time)
    rows = [row for row in rows if row]
    assert [row["seconds"] for row in rows] == [2, 4, 5, 7, 9, 10]
    assert rows[1]["train/samples_per_s"] == pytest.approx(1472 / 4)
    assert (rows[5]["eval/quality"], rows[5]["eval/target"], rows[5]["samples"]) == (
        0.98,
        0.97,
        2944,
    )
    at_once = [
        Event(Kind.PROGRESS, 1011.0 + i / 10, 46, {"loss": 1, "epoch": 2, "samples": 9})
        for i in range(20)
    ]
    assert len([event for event in at_once if series.row(event)]) == 2


def test_names_say_what_repetitions_share_and_ids_follow_the_folder(tmp_path):
    assert sweep_point(CONFIG) == "digits, 2 x CPU process, batch 64, bf16"
    gpus = CONFIG | {"accelerators": 8, "accelerator_name": "NVIDIA H100"}
    assert sweep_point(gpus) == "digits, 8 x NVIDIA H100, batch 64, bf16"
    assert sweep_point(CONFIG | {"seed": 9, "run": 4}) == sweep_point(CONFIG)
    here, there = (tmp_path / place / "digits" / "launch" / "seed_1" for place in "ab")
    assert folder_identity(here) == folder_identity(there)
    assert folder_identity(here) != folder_identity(here.with_name("seed_2"))


def test_a_missing_package_is_told_before_anything_starts(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [problem] = WandbConfig().problems()
    assert "pip install 'time-to-train[wandb]'" in problem
    assert list(WandbConfig(_target_="mine.Tracker").problems()) == []
    assert list(TrackingConfig().problems()) == []
    wrong, idle = TrackingConfig(timeout_seconds=0).problems()
    assert "allowed: above 0" in wrong
    assert "has no effect" in idle


def test_a_run_without_a_tracker_does_not_load_one():
    code = "import sys, ttt.sinks.wandb; sys.exit('wandb' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment(), check=False).returncode == 0


@pytest.mark.parametrize(
    ("variable", "mode"),
    [
        (None, "offline"),
        ("", "offline"),
        ("nonsense", "offline"),
        ("dryrun", "offline"),
        ("online", "online"),
        ("disabled", None),
    ],
)
def test_the_environment_says_how_to_track(variable, mode):
    assert mode_of("offline", variable) == mode


def test_disabled_means_no_tracking_said_once(ttt, digits, tmp_path):
    size = (*TINY, "target.max_epochs=1", "tracking=wandb")
    done = ttt("run", f"data.root={digits}", *size, WANDB_MODE="disabled")
    assert done.returncode in (0, 3)
    assert (done.stdout + done.stderr).count("WANDB_MODE=disabled in the environment") == 1
    assert not list(tmp_path.rglob("wandb"))
