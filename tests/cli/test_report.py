import csv
import json
import re
from pathlib import Path

import pytest

from run_folders import died, finished
from ttt.cli import report


def test_runs_are_shown_and_written(tmp_path, capsys):
    for seed in (1, 2, 3):
        finished(tmp_path / "launch", seed)
    assert report.main([str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    shown = capsys.readouterr()
    assert "olympic mean of 3 runs" in shown.out
    assert shown.err == ""
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert result["score_minutes"] == 10 / 60


def test_nothing_to_report_is_wrong_use(tmp_path, capsys):
    assert report.main([str(tmp_path / "absent"), "--json", str(tmp_path / "out.json")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "does not exist" in shown.err
    assert "no run that can be reported" in shown.err
    assert json.loads((tmp_path / "out.json").read_text())["results"] == []


def test_a_json_file_that_cannot_be_written_is_wrong_use(tmp_path, capsys):
    finished(tmp_path, 1)
    assert report.main([str(tmp_path), "--json", str(tmp_path / "no" / "out.json")]) == 2
    assert "--json" in capsys.readouterr().err


def test_every_form_in_one_command(tmp_path, monkeypatch, capsys):
    for module in ("matplotlib", "jinja2", "wandb"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2, 3):
        finished(tmp_path / "launch", seed, world_size=1, time_to_train_s=18.0)
        finished(tmp_path / "wider", seed)
    forms = ["--csv", "out.csv", "--html", "out.html", "--figures", "figures", "--wandb"]
    assert report.main(["launch", "wider", *forms]) == 0
    said = capsys.readouterr().out
    assert "page: out.html" in said
    assert "ttt report launch wider" in (tmp_path / "out.html").read_text()
    with (tmp_path / "out.csv").open() as written:
        scores = [float(line["score_minutes"]) for line in csv.DictReader(written)]
    assert sorted(scores) == [10 / 60, 18 / 60]
    figures = re.findall(r"figure: (.*)", said)
    assert figures
    assert sorted(map(Path, figures)) == sorted(Path("figures").iterdir())
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 7  # six runs and what they say


@pytest.mark.parametrize("ruleset", ["9.9.9", "four"])
def test_an_unknown_ruleset_is_wrong_use(tmp_path, capsys, ruleset):
    finished(tmp_path, 1)
    assert report.main([str(tmp_path), "--ruleset", ruleset]) == 2
    assert ruleset in capsys.readouterr().err


def test_a_price_makes_a_cost(tmp_path, capsys):
    folder = finished(tmp_path, 1, elapsed_s=36.0)
    (folder / "system.json").write_text('{"id": "box"}')
    out = tmp_path / "out.json"
    assert report.main([str(tmp_path), "--price", "box=50", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["results"][0]["cost"] == 0.5
    assert report.main([str(tmp_path), "--price", "bix=50"]) == 2
    assert "no run was on bix; allowed: box" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--price", "box"],
        ["--price", "=1"],
        ["--price", "box=-1"],
        ["--jobs", "0"],
        ["--jobs", "many"],
    ],
)
def test_what_cannot_be_understood_is_told_in_a_sentence(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        report.main(["somewhere", *words])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"{words[1]!r} is not" in said
    assert "_count" not in said


def test_attempts_that_never_started_stand_by_themselves(tmp_path, capsys):
    finished(tmp_path / "2026-11-26_1", 1)
    begun = '{"kind": "init_start", "time": 1.0, "step": 0, "data": {}}\n'
    attempt = died(tmp_path / "2026-11-26_2", 1, events=begun, batch=128)
    running = begun + '{"kind": "run_start", "time": 2.0, "step": 0, "data": {}}\n'
    died(tmp_path / "2026-11-26_3", 1, events=running, batch=256)
    (attempt / "logs").mkdir()
    told = {"rank": 0, "host": "n1", "primary": True, "text": "no GPU", "time": 1.0}
    (attempt / "logs" / "rank_0.failure.json").write_text(json.dumps(told))
    assert report.main([str(tmp_path), "--json", str(tmp_path / "r.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"never started: {attempt}: rank 0 on n1: no GPU" in shown
    content = json.loads((tmp_path / "r.json").read_text())
    reason = "rank 0 on n1: no GPU"
    assert content["attempts"] == [{"path": str(attempt), "seed": 1, "reason": reason}]
    assert [each["statuses"] for each in content["results"]] == [["success"], ["died"]]
    assert report.main([str(attempt)]) == 0  # alone it is what is asked about
    shown = " ".join(capsys.readouterr().out.split())
    assert "seed 1: rank 0 on n1: no GPU" in shown
    assert "never started" not in shown


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("--wandb RUNS", "offline"),
        ("RUNS --wandb", "offline"),
        ("--wandb --json F RUNS", "offline"),
        ("--wandb online RUNS", "online"),
        ("--wandb=online RUNS", "online"),
        ("RUNS", None),
    ],
)
def test_paths_stand_wherever_one_likes(words, mode, monkeypatch):
    seen = []
    monkeypatch.setattr(report, "_report", seen.append)
    assert report.main(words.split()) == 0
    assert [(one.path, one.wandb) for one in seen] == [(["RUNS"], mode)]
