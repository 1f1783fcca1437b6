"""`ttt report --wandb`, read back by W&B's own reader; nothing here needs a network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import run_folders
from fakes import FakeTime
from ground import HUNG, PROJECT, environment
from run_events import tell
from ttt.events import EventLog, Kind
from ttt.report.read.find import find
from ttt.report.render.tracking import _written, run_identity
from ttt.sinks.jsonl import JsonLines
from ttt.sinks.mllog import MlperfLog
from ttt.sinks.series import folder_identity
from ttt.sinks.wandb import UNTRACKED
from wandb_folders import inspect
from wandb_server import server

PUSH = """
import sys
from pathlib import Path
from ttt.report.read.find import find
from ttt.report.analyze.study import study
from ttt.report.render.tracking import push

paths, mode = sys.argv[1:-1], sys.argv[-1]
page = Path("page.html")
page.write_text("<p>the study</p>")
for line in push(study(find(paths)), mode=mode, page=page):
    print(line)
"""
DASHBOARD = "from ttt.report.render.dashboard import create; print(create('digits'))"


def python(folder: Path, code: str, *arguments: object, **variables: str) -> str:
    """What this code prints in a process of its own, which W&B changes more than one would like."""
    path = f"{PROJECT}:{os.environ.get('PYTHONPATH', '')}"
    quiet = {"WANDB_ERROR_REPORTING": "false", "WANDB_API_KEY": "", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=environment(**(quiet | {"PYTHONPATH": path} | variables)),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
    )
    return done.stdout + done.stderr


def log(path: Path) -> Path:
    """An MLPerf log."""
    path.parent.mkdir(parents=True)
    time = FakeTime(1_700_000_000)
    events = EventLog(time, [MlperfLog(path)])
    tell(events, time)
    events.close()
    return path


def record(folder: Path) -> None:
    """The events of a run, the last cut by a kill."""
    time = FakeTime(1_700_000_000)
    events = EventLog(time, [JsonLines(folder / "events.jsonl")])
    tell(events, time)
    events.close()
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"kind":"quality","time":17000')


def the_run(folder: Path, number: str) -> Path:
    [found] = folder.glob(f"wandb/offline-run-*-{number}")
    return found


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A sweep of two sizes in run folders and somebody's log, shown in W&B; and what was said."""
    folder = tmp_path_factory.mktemp("pushed")
    for workers, seconds in ((1, 20.0), (2, 12.0)):
        for seed in (1, 2, 3):
            run_folders.finished(
                folder / f"runs/digits/launch_{workers}",
                seed,
                world_size=workers,
                time_to_train_s=seconds + seed / 10,
                global_batch=64,
            )
    run_folders.died(folder / "runs/digits/launch_3", 1)
    tracked = folder / "runs/digits/launch_1/seed_3"
    (tracked / f"wandb/offline-run-20260101_000000-{folder_identity(tracked)}").mkdir(parents=True)
    killed = run_folders.died(folder / "runs/digits/launch_2", 4, '{"kind":"run_start","time":1}')
    (killed / f"wandb/offline-run-20260101_000000-{folder_identity(killed)}").mkdir(parents=True)
    lost = folder / "runs/digits/launch_1/seed_2"
    (lost / f"wandb/offline-run-20260101_000000-{folder_identity(lost)}").mkdir(parents=True)
    given_up = EventLog(FakeTime(), [JsonLines(lost / "events.jsonl")])
    given_up.emit(Kind.WARNING, message=f"W&B was not ready; {UNTRACKED}")
    given_up.close()
    record(folder / "runs/digits/launch_1/seed_1")
    log(folder / "results/machine/digits/result_0.txt")
    said = python(folder, PUSH, "runs", "results", "offline")
    return folder, said


def test_what_was_not_tracked_is_rebuilt_and_nothing_twice(pushed):
    folder, said = pushed
    assert "W&B: 7 runs and 1 summaries in wandb" in said  # the killed and the lost one among them
    assert "1 runs were there already" in said
    assert "left out" not in said  # the one that is not started yet is no run
    assert "upload: wandb sync wandb runs/digits/launch_1/seed_3/wandb" in said
    again = python(folder, PUSH, "runs", "results", "offline")
    assert "W&B: 0 runs and 0 summaries in wandb" in again
    sync = [sys.executable, "-m", "wandb", "sync", "--dry-run", "wandb"]
    told = subprocess.run(sync, cwd=folder, capture_output=True, text=True, check=True)
    assert "Would sync 8 run(s)" in told.stdout + told.stderr


def test_a_run_folder_is_shown_as_its_sink_would_have(pushed):
    folder, _ = pushed
    own = folder / "runs/digits/launch_1/seed_1"
    told, records = inspect(the_run(folder, folder_identity(own)))
    assert told["state"] == "finished"
    assert told["config"]["workers"] == 1
    assert told["config"]["ttt"]["target"]["threshold"] == 0.97
    assert told["summary"]["time_to_train_s"] == 20.1
    rows = [each["history"]["item"] for each in records if each["type"] == "history"]
    qualities = [(row["seconds"], row["eval/quality"]) for row in rows if "eval/quality" in row]
    assert qualities == [(5, 0.9), (10, 0.98)]
    assert len([row for row in rows if "train/loss" in row]) == 2
    [run] = [each["run"] for each in records if each["type"] == "run"][:1]
    assert run["run_group"] == "digits, 1 x CPU process, batch 64"


def test_a_stranger_s_log_is_shown_beside_them(pushed):
    folder, _ = pushed
    [run] = find([folder / "results"]).runs
    told, records = inspect(the_run(folder, run_identity(run)))
    assert told["project"] == "digits"
    assert told["config"]["global_batch"] == 64
    assert told["summary"]["time_to_train_s"] == 10
    rows = [each["history"]["item"] for each in records if each["type"] == "history"]
    qualities = [(row["seconds"], row["eval/quality"]) for row in rows if "eval/quality" in row]
    assert qualities == [(5, 0.9), (10, 0.98)]
    assert [row["train/samples_per_s"] for row in rows if "train/samples_per_s" in row] == [368] * 2


def test_the_summary_has_the_sweep_the_scores_and_the_page(pushed):
    folder, _ = pushed
    newest = max(folder.glob("wandb/offline-run-*"), key=lambda path: path.stat().st_mtime_ns)
    told, records = inspect(newest)
    [run] = [each["run"] for each in records if each["type"] == "run"][:1]
    assert run["job_type"] == "summary"
    scores = {key: value for key, value in told["summary"].items() if key.startswith("score_s/")}
    assert sorted(scores.values()) == [10, pytest.approx(12.25), pytest.approx(20.2)]
    assert told["summary"]["best_score_s"] == 10
    rows = [each["history"]["item"] for each in records if each["type"] == "history"]
    curve = [(row["workers"], row[key]) for row in rows for key in row if "speed_up/" in key]
    assert (2, pytest.approx(20.2 / 12.25)) in curve
    assert (2, 2) in curve  # the ideal
    [table] = newest.rglob("experiments*.table.json")
    content = json.loads(table.read_text())
    assert len(content["data"]) == 3
    lines = [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]
    known = [line for line in lines if line["ci95_low_s"] is not None]
    assert sorted(line["score_s"] for line in known) == pytest.approx([12.25, 20.2])
    assert all(line["ci95_low_s"] < line["score_s"] < line["ci95_high_s"] for line in known)
    assert len({line["experiment"] for line in lines}) == 3
    assert "report-digits" in json.dumps(records)


def test_what_was_never_uploaded_is_not_there_for_a_server(pushed):
    folder, _ = pushed
    said = python(folder, PUSH, "runs", "results", "online")
    assert "W&B has no login here" in said  # it had something to upload
    directory = next(iter((folder / "wandb").glob("offline-run-*")))
    number = directory.name.rpartition("-")[2]
    assert _written(folder, number, "offline") == directory
    assert _written(folder, number, "online") is None
    (directory / f"run-{number}.wandb.synced").touch()
    assert _written(folder, number, "online") == directory


def test_without_a_login_nothing_is_uploaded_and_the_way_out_is_told(pushed):
    folder, _ = pushed
    said = python(folder, PUSH, "results", "online")
    assert "W&B has no login here" in said
    assert "--wandb offline" in said


def test_a_dashboard_needs_a_login(tmp_path):
    pytest.importorskip("wandb_workspaces")
    assert "TttError: W&B refuses it: not logged in" in python(tmp_path, DASHBOARD)


def test_the_dashboard_has_scaling_convergence_and_differences(tmp_path):
    pytest.importorskip("wandb_workspaces")
    with server() as (address, asked):
        said = python(tmp_path, DASHBOARD, WANDB_BASE_URL=address, WANDB_API_KEY="0" * 40)
    assert f"{address}/us/digits/reports/" in said
    [sent] = [each for each in asked if "spec" in each]
    assert (sent["entityName"], sent["projectName"]) == ("us", "digits")
    grids = [
        block["metadata"] for block in json.loads(sent["spec"])["blocks"] if "metadata" in block
    ]
    panels = [panel for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    drawn = [panel["config"] for panel in panels]
    [scaling] = [each for each in drawn if each.get("yAxis") == "summary:time_to_train_s"]
    assert scaling["xAxis"] == "config:workers.value"
    assert scaling["xAxisLogScale"]
    assert scaling["yAxisLogScale"]
    [quality] = [each for each in drawn if each.get("xAxis") == "seconds"]
    assert quality["groupBy"] == "group"
    assert [panel["viewType"] for panel in panels].count("Run Comparer") == 1
