"""`ttt package`: a tree that stands only if MLCommons' own tools take it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from submissions import SYSTEM, commit, launch, run_folder
from ttt.cli import package
from ttt.errors import NOT_COMPLIANT, OK, USAGE


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def typed(runs: Path, out: Path, *more: str) -> int:
    return package.main([str(runs), "--out", str(out), "--submitter", "somebody", *more])


def test_an_official_benchmark_in_the_open_division_is_packaged(tmp_path: Path, capsys):
    runs, out = launch(tmp_path / "runs"), tmp_path / "out"
    assert typed(runs, out) == OK
    said = capsys.readouterr().out
    verdicts = [line.split()[-1] for line in said.splitlines() if "_checker  " in line]
    assert verdicts == ["passed", "passed", "judged", "passed"]
    assert f"python -m mlperf_logging.package_checker {out}/somebody training 4.0.0" in said
    files = [str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()]
    assert sorted(name for name in files if "/source/" not in name) == sorted(
        [
            *(f"somebody/results/box/resnet/result_{i}.txt" for i in range(5)),
            "somebody/systems/box.json",
            *(
                f"somebody/benchmarks/resnet/implementations/box/{name}"
                for name in (
                    *(f"config_{i}.yaml" for i in range(5)),
                    "README.md",
                    "config.yaml",
                    "constraints.txt",
                    "dataset.json",
                    "init_datasets.sh",
                    "run_and_time.sh",
                    "setup.sh",
                    "verify_dataset.py",
                )
            ),
        ]
    )
    for i in range(5):
        copied = out / "somebody" / "results" / "box" / "resnet" / f"result_{i}.txt"
        assert copied.read_bytes() == (runs / f"seed_{i + 1}" / copied.name).read_bytes()
    folder = out / "somebody" / "benchmarks" / "resnet" / "implementations" / "box"
    typed_again = (folder / "run_and_time.sh").read_text().splitlines()[-1]
    assert typed_again == (
        'ttt run launcher=torchrun runs=5 data.root="$DATADIR" run_root="$RUNS" "$@"'
    )
    assert "torch==2.13.0" in (folder / "constraints.txt").read_text().splitlines()
    assert (folder / "config_3.yaml").read_text() == (runs / "seed_4" / "config.yaml").read_text()
    readme = (folder / "README.md").read_text()
    assert f"`source/` is commit {commit()}" in readme
    assert "Read `run_and_time.sh` before you run it: settings can name classes" in readme
    assert "| result_3.txt | 4 | 2 | config_3.yaml |" in readme
    assert sorted(tmp_path.iterdir()) == [out, runs]


def test_what_a_tool_rejects_is_not_left_at_out(tmp_path: Path, capsys):
    """A toy converges faster than any reference: closed, rcp_checker has the last word."""
    runs, out = launch(tmp_path / "runs", division="closed"), tmp_path / "out"
    assert typed(runs, out) == NOT_COMPLIANT
    said = capsys.readouterr().out
    kept = tmp_path / "out.rejected"
    assert (out.exists(), kept.is_dir()) == (False, True)
    assert f"kept to be looked at: {kept}/somebody" in said
    assert "RCP test FAILED" in said


def test_what_the_plan_refuses_is_not_built_at_all(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs", runs=4, division="closed", dirty=True)
    assert typed(runs, tmp_path / "out") == USAGE
    out, said = capsys.readouterr()
    assert "benchmarks/ holds" not in out  # nothing is there
    assert "box/resnet has 4 results; allowed: exactly 5; runs=5" in said
    assert "seed_1 and 3 more: ran from uncommitted changes" in said
    assert list(tmp_path.iterdir()) == [runs]


def test_a_benchmark_of_our_own_is_for_an_archive(tmp_path: Path, capsys):
    runs, out = launch(tmp_path / "runs", runs=2, benchmark="digits"), tmp_path / "out"
    assert typed(runs, out) == USAGE
    assert "'digits' is not one of MLPerf's" in capsys.readouterr().err
    assert typed(runs, out, "--unofficial") == OK
    said = capsys.readouterr().out
    assert "package_checker: ruleset 6.1.0 has no digits: not judged" in said
    assert "before they are published" in said
    assert (out / "somebody" / "results" / "box" / "digits" / "result_1.txt").is_file()


def test_power_files_come_along_where_asked_for_and_only_for_all_runs(tmp_path: Path, capsys):
    runs, out = launch(tmp_path / "runs"), tmp_path / "out"
    assert typed(runs, out, "--power") == OK
    results = out / "somebody" / "results" / "box" / "resnet"
    for i in range(5):
        assert (results / "power" / f"result_{i}" / "node_0.txt").read_text() == "watts\n"
    shutil.rmtree(runs / "seed_3" / "power")
    assert typed(runs, tmp_path / "other", "--power") == USAGE
    assert "seed_3: has power files of 0 nodes, of 1; allowed" in capsys.readouterr().err


def test_a_run_that_goes_on_is_no_failure(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs")
    (runs / "seed_5" / "summary.json").unlink()
    (runs / "seed_5" / "events.jsonl").write_text('{"kind": "suspended", "time": 1700000000}\n')
    assert typed(runs, tmp_path / "out") == USAGE
    assert "has no finished result file (status suspended" in capsys.readouterr().err


def test_a_launch_that_never_started_and_a_summary_that_cannot_be_read(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs", runs=2)
    (runs / "seed_1" / "summary.json").write_text('{"epochs": ' + "9" * 5000 + "}")
    for name in ("summary.json", "events.jsonl", "result_1.txt"):
        (runs / "seed_2" / name).unlink(missing_ok=True)
    assert typed(runs, tmp_path / "out", "--ruleset", "4.0.0") == USAGE
    out, said = capsys.readouterr()
    assert "no events); remove it or start another, unless it still waits" in said
    assert "seed_1: summary.json is damaged: a number has more than 1,000 digits" in out
    assert "judged by its log alone" in out


def test_a_number_of_nodes_that_is_none_ends_in_no_crash(tmp_path: Path):
    runs = launch(tmp_path / "runs", runs=1)
    file = runs / "seed_1" / "system.json"
    said = json.loads(file.read_text())
    said["description"]["number_of_nodes"] = "9" * 5000
    file.write_text(json.dumps(said))
    assert typed(runs, tmp_path / "out", "--unofficial") == NOT_COMPLIANT  # one run, not five
    [script] = (tmp_path / "out").rglob("run_and_time.sh")
    assert "on every node" not in script.read_text()


def test_a_damaged_record_of_the_environment_is_told(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs", runs=1)
    (runs / "seed_1" / "environment.json").write_text("{")
    assert typed(runs, tmp_path / "out") == USAGE
    assert "environment.json is damaged" in capsys.readouterr().err


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    assert typed(launch(tmp_path / "runs"), tmp_path / "out") == USAGE
    assert f"{tmp_path}/out exists and is not an empty folder" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "runs"]


def test_a_submission_is_of_one_round(tmp_path: Path, capsys):
    runs = tmp_path / "runs"
    run_folder(runs / "a", 0)
    run_folder(runs / "b", 0, benchmark="digits")
    assert typed(runs, tmp_path / "out") == USAGE
    said = capsys.readouterr().err
    assert "several rulesets: 4.0.0 (resnet), 6.1.0 (digits)" in said


def test_nothing_to_package(tmp_path: Path, capsys):
    (tmp_path / "runs").mkdir()
    assert typed(tmp_path / "runs", tmp_path / "out") == USAGE
    assert "there is no run under" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "not json", "[]"])
def test_a_systems_file_that_is_none(tmp_path: Path, capsys, text: str | None):
    if text is not None:
        (tmp_path / "big.json").write_text(text)
    runs = launch(tmp_path / "runs", runs=1)
    assert typed(runs, tmp_path / "out", "--system", str(tmp_path / "big.json")) == USAGE
    assert f"--system {tmp_path}/big.json" in capsys.readouterr().err


def test_a_systems_file_written_by_a_person_is_taken(tmp_path: Path, capsys):
    (tmp_path / "big.json").write_text(json.dumps(SYSTEM | {"cooling": "water"}))
    out = tmp_path / "out"
    options = ("--unofficial", "--system", str(tmp_path / "big.json"))
    assert typed(launch(tmp_path / "runs", runs=1, benchmark="digits"), out, *options) == OK
    assert json.loads((out / "somebody/systems/big.json").read_text())["cooling"] == "water"


def test_a_systems_file_of_another_machine_is_refused(tmp_path: Path, capsys):
    (tmp_path / "big.json").write_text(json.dumps(SYSTEM | {"number_of_nodes": "4"}))
    runs = launch(tmp_path / "runs", runs=1, benchmark="digits")
    options = ("--unofficial", "--system", str(tmp_path / "big.json"))
    assert typed(runs, tmp_path / "out", *options) == USAGE
    assert "has number_of_nodes 4" in capsys.readouterr().err


def test_a_package_among_the_runs_would_be_packaged_itself(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs")
    assert typed(runs, runs / "package") == USAGE
    assert "allowed: a folder beside" in capsys.readouterr().err
    assert not (runs / "package").exists()


def test_a_link_to_an_empty_folder_is_one(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    assert typed(launch(tmp_path / "runs"), tmp_path / "out") == OK
    assert (tmp_path / "real" / "somebody" / "results").is_dir()


def test_code_with_links_is_copied_once_for_all_its_systems(tmp_path: Path, monkeypatch):
    assert typed(launch(tmp_path / "runs"), tmp_path / "first") == OK
    tree = tmp_path / "first" / "somebody"
    shutil.copytree(tree / "results" / "box", tree / "results" / "pod")
    for log in (tree / "results" / "pod" / "resnet").glob("*.txt"):  # on another day
        later = re.sub(
            r'("time_ms": )(\d+)', lambda at: f"{at[1]}{int(at[2]) + 10**8}", log.read_text()
        )
        log.write_text(later)
    shutil.copy(tree / "systems" / "box.json", tree / "systems" / "pod.json")
    (tree / "results" / "pod" / "package_checker_params").write_text("{}")
    (tree / "benchmarks" / "resnet" / "link").symlink_to("implementations")
    assert typed(tree, tmp_path / "second") == OK
    again = tmp_path / "second" / "somebody"
    assert (again / "benchmarks" / "resnet" / "link").is_symlink()
    assert (again / "results" / "pod" / "package_checker_params").read_text() == "{}"
