import json
import re
import shlex
import subprocess
import sys

import pytest

from compliance_logs import find, ours, resnet, write
from submissions import run_folder
from ttt.cli import check
from ttt.compliance import LABEL, write_rules


@pytest.fixture
def launch(tmp_path):
    """A launch of our own with ten passing results and a failing one."""
    for index in range(11):
        folder = tmp_path / "launch" / f"seed_{index}"
        folder.mkdir(parents=True)
        log = ours()
        if index == 2:
            find(log, "run_stop")["metadata"]["status"] = "aborted"
        write(folder / f"result_{index}.txt", log)
        write_rules(folder / "rules.yaml")
    return tmp_path / "launch"


def test_every_file_is_judged_in_order(launch, capsys):
    assert check.main([str(launch), "--json", str(launch / "out.json")]) == 4
    out = capsys.readouterr().out
    assert "10 passed, 1 failed" in out
    assert out.count(LABEL) == 11
    assert "== 'success'" in out
    content = json.loads((launch / "out.json").read_text())
    assert (content["passed"], content["failed"]) == (10, 1)
    assert [each["passed"] for each in content["results"]].count(False) == 1
    assert content["results"][2]["problems"]
    assert content["results"][0]["ruleset"] == "6.1.0"


def test_result_10_comes_after_result_9(tmp_path, capsys):
    for index in (10, 9, 1):
        write(tmp_path / f"result_{index}.txt", ours())
    assert check.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    places = [out.index(f"result_{index}.txt") for index in (1, 9, 10)]
    assert places == sorted(places)


def test_the_command_it_prints_repeats_the_check(launch, capsys):
    assert check.main([str(launch / "seed_1")]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "without ttt: " in each]
    command = [sys.executable, *shlex.split(line.removeprefix("without ttt: "))[1:]]
    assert subprocess.run(command, cwd=launch, capture_output=True, check=False).returncode == 0


def test_an_official_log_names_its_ruleset(tmp_path, capsys):
    write(tmp_path / "result_0.txt", resnet())
    assert check.main([str(tmp_path / "result_0.txt"), str(tmp_path)]) == 0
    out = capsys.readouterr().out
    why = "by the log's date 2023-11-14"
    assert f"resnet, ruleset 4.0.0 ({why}), closed division, official MLPerf rules" in out
    assert "1 passed, 0 failed" in out
    assert "without ttt" not in out
    assert check.main(["--ruleset", "6.1.0", str(tmp_path)]) == 4


def test_a_run_folder_is_judged_by_what_it_was_run_under(tmp_path, capsys):
    runs = tmp_path / "training_v5.1" / "runs"
    run_folder(runs, 0)
    write(runs / "seed_1" / "result_0.txt", resnet())
    assert check.main([str(runs)]) == 0
    assert "ruleset 4.0.0 (by the run's own summary.json)" in capsys.readouterr().out
    (runs / "seed_1" / "summary.json").unlink()
    (runs / "seed_1" / "config.yaml").write_text("benchmark: {id: resnet, ruleset: 3.1.0}\n")
    assert check.main([str(runs)]) == 0
    assert "ruleset 3.1.0 (by the run's own config.yaml)" in capsys.readouterr().out


def test_a_summary_that_cannot_be_read_is_told(tmp_path, capsys):
    run_folder(tmp_path, 0)
    (tmp_path / "seed_1" / "summary.json").write_text('{"epochs": ' + "9" * 5000 + "}")
    assert check.main([str(tmp_path)]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "remark: " in each]
    assert "summary.json is damaged: a number has more than 1,000 digits" in line
    (tmp_path / "seed_1" / "summary.json").unlink()
    assert check.main([str(tmp_path)]) == 0
    assert "remark: " not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ({"summary.json": '{"status": "aborted", "reason": "target.max_epochs=8"}'}, "max_epochs"),
        ({"events.jsonl": "", "suspended": "asked to make room [soon]"}, "make room [soon]"),
        ({"events.jsonl": ""}, "(no events)"),
    ],
)
def test_a_run_that_ended_early_has_a_line_instead_of_broken_rules(tmp_path, capsys, left, reason):
    folder = tmp_path / "seed_1"
    folder.mkdir()
    log = ours()
    find(log, "run_stop")["metadata"]["status"] = "aborted"
    short = [each for each in log if each["key"] != "eval_accuracy"]
    write(folder / "result_0.txt", short)
    said = "the run ended before it reached its target ("
    rule = "EXACTLY_ONE|AT_LEAST_ONE|== 'success'"
    assert check.main([str(folder)]) == 4
    out = capsys.readouterr().out
    assert re.search(rule, out)  # no run of ttt
    assert said not in out
    (folder / "config.yaml").write_text("benchmark: {id: digits}\n")
    for name, content in left.items():
        (folder / name).write_text(content)
    assert check.main([str(folder), "--json", str(tmp_path / "out.json")]) == 4
    out = capsys.readouterr().out
    (line,) = [each for each in out.splitlines() if said in each]
    assert reason in line
    assert line.endswith("); there is no result to check")
    assert not re.search(rule, out)
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert re.search(rule, " ".join(result["problems"]))


def test_the_rules_of_our_own_say_which_they_are(tmp_path, capsys):
    write(tmp_path / "result_0.txt", ours())
    write_rules(tmp_path / "rules.yaml", "5.1.0")
    assert check.main([str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert (result["ruleset"], result["ruleset_reason"]) == ("5.1.0", "by the run's own rules.yaml")


def test_warnings_fail_where_that_is_asked_for(tmp_path, capsys):
    log = resnet()
    log.insert(5, find(log, "global_batch_size"))  # twice the same
    write(tmp_path / "result_0.txt", log)
    assert check.main([str(tmp_path)]) == 0
    assert "warning: Required EXACTLY_ONE occurrence of 'global_batch" in capsys.readouterr().out
    assert check.main([str(tmp_path), "--werror"]) == 4
    assert "warning:" not in capsys.readouterr().out
    bare = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--ruleset", "4.0.0"]
    for more, code in ([], 0), (["--werror"], 1):
        done = subprocess.run(
            [*bare, *more, str(tmp_path / "result_0.txt")],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code


def test_a_file_is_taken_by_any_name_and_judged_by_its_content(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("[bold]no log[/bold]\n")
    assert check.main([str(tmp_path / "notes.txt")]) == 4
    assert "no :::MLLOG record" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent"], "absent does not exist"),
        (["."], "there is no result_*.txt under ."),
        (["result.txt", "--ruleset", "9.0.0"], "'9.0.0' is not in the installed"),
        (["result.txt", "--json", "no/out.json"], "--json no/out.json cannot be written"),
    ],
)
def test_wrong_use_is_a_sentence(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "result.txt", ours())
    assert check.main(arguments) == 2
    assert said in capsys.readouterr().err
