"""`ttt package` on a tree of somebody who means harm: nothing runs, nothing private is copied."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import compliance_logs
from submissions import SYSTEM, launch, log_of
from ttt.cli import package
from ttt.errors import NOT_COMPLIANT, OK, USAGE
from ttt.submission.build import draft, settle

SECRET = "-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Somebody's results of an official benchmark, five runs."""
    submitter = tmp_path / "tree"
    folder = submitter / "results" / "box" / "resnet"
    folder.mkdir(parents=True)
    (submitter / "systems").mkdir()
    (submitter / "systems" / "box.json").write_text(json.dumps(SYSTEM))
    for run in range(5):
        compliance_logs.write(folder / f"result_{run}.txt", log_of("resnet", "open", run, 10 * run))
    return submitter


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder of the packager's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "id_ed25519").write_text(SECRET)
    (folder / "config.json").write_text(json.dumps(SYSTEM | {"system_name": SECRET}))
    return folder


def typed(tree: Path, *more: str) -> int:
    out = str(tree.parent / "out")
    return package.main(
        [str(tree), "--out", out, "--submitter", "somebody", "--ruleset", "4.0.0", *more]
    )


def test_a_sound_tree_is_packaged_with_a_warning_about_the_bare_tools(tree: Path, capsys):
    assert typed(tree) == OK
    assert "without ttt: (these execute a rule file that a log names" in capsys.readouterr().out
    assert stat.S_IMODE((tree.parent / "out").stat().st_mode) & 0o077  # no longer a draft


def test_no_tool_executes_the_rule_file_that_a_log_names(tree: Path, tmp_path: Path, capsys):
    evil, trace = tmp_path / "evil", tmp_path / "executed"
    evil.mkdir()
    code = f"- BEGIN:\n    CODE: |\n      open({str(trace)!r}, 'a').write('x')\n"
    (evil / "x_common.yaml").write_text(code)
    log = log_of("resnet", "open", 2, 20)
    compliance_logs.find(log, "submission_division")["value"] = "../" * 30 + str(evil)[1:] + "/x"
    compliance_logs.write(tree / "results" / "box" / "resnet" / "result_2.txt", log)
    assert typed(tree, "--unofficial") == NOT_COMPLIANT
    assert "package_checker" in capsys.readouterr().out  # it ran
    assert not trace.exists()


def test_a_log_that_tools_would_take_hours_to_read_is_refused(tree: Path, capsys):
    with (tree / "results" / "box" / "resnet" / "result_2.txt").open("a") as log:
        log.write(":::MLLOG " + "x" * 40_000 + "\n")
    assert typed(tree, "--unofficial") == USAGE
    assert "characters, over 32768" in capsys.readouterr().err


def power_file(tree: Path, private: Path) -> None:
    folder = tree / "results" / "box" / "resnet" / "power" / "result_0"
    folder.mkdir(parents=True)
    (folder / "node_0.txt").symlink_to(private / "id_ed25519")


def power_folder(tree: Path, private: Path) -> None:
    folder = tree / "results" / "box" / "resnet" / "power"
    folder.mkdir()
    (folder / "result_0").symlink_to(private)


def system_file(tree: Path, private: Path) -> None:
    file = tree / "systems" / "box.json"
    file.unlink()
    file.symlink_to(private / "config.json")


def parameters(tree: Path, private: Path) -> None:
    (tree / "results" / "box" / "package_checker_params").symlink_to(private / "config.json")


def implementation(tree: Path, private: Path) -> None:
    (tree / "benchmarks").mkdir()
    (tree / "benchmarks" / "resnet").symlink_to(private)


def link_in_implementation(tree: Path, private: Path) -> None:
    folder = tree / "benchmarks" / "resnet"
    folder.mkdir(parents=True)
    (folder / "key").symlink_to(os.path.relpath(private / "id_ed25519", folder))


def pipe_in_implementation(tree: Path, private: Path) -> None:
    folder = tree / "benchmarks" / "resnet"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "train.py")


@pytest.mark.timeout(60)  # a pipe that is opened would wait for ever
@pytest.mark.parametrize(
    "harm",
    [
        power_file,
        power_folder,
        system_file,
        parameters,
        implementation,
        link_in_implementation,
        pipe_in_implementation,
    ],
)
def test_only_regular_files_inside_the_tree_are_copied(
    harm: Callable[[Path, Path], None], tree: Path, private: Path, capsys
):
    harm(tree, private)
    assert typed(tree, "--unofficial") == USAGE
    assert "allowed: regular files" in capsys.readouterr().err
    assert {each.name for each in tree.parent.iterdir()} == {"tree", "home"}  # no draft is left


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("config.yaml", NOT_COMPLIANT),  # the run is not used, and there are too few others
        ("environment.json", USAGE),
        ("manifest.json", USAGE),
        ("power/node_1.txt", USAGE),
    ],
)
def test_only_regular_files_of_a_run_folder_are_read(name, code, tmp_path: Path, private, capsys):
    runs = launch(tmp_path / "runs")
    file = runs / "seed_3" / name
    content = file.read_text() if file.exists() else "{}"
    (private / "file").write_text(content)
    file.unlink(missing_ok=True)
    file.symlink_to(private / "file")
    assert typed(runs, "--unofficial") == code
    said = capsys.readouterr()
    assert f"{name} leads to" in said.out + said.err


def test_a_run_folder_names_no_folder_outside(tmp_path: Path, capsys):
    runs = launch(tmp_path / "runs")
    for folder in runs.iterdir():
        file = folder / "config.yaml"
        harm = 'processes: "x/../../../../victim"'
        file.write_text(file.read_text().replace("processes: 2", harm))
    assert typed(runs, "--unofficial") == USAGE
    said = capsys.readouterr().err
    assert "has processes 'x/../../../../victim'; allowed: a number" in said
    assert [each.name for each in tmp_path.iterdir()] == ["runs"]


def test_a_draft_is_open_to_its_owner_only(tmp_path: Path):
    with draft(tmp_path / "out") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        mask = os.umask(0o027)
        try:
            settled = settle(folder, tmp_path / "out")
        finally:
            os.umask(mask)
    assert stat.S_IMODE(settled.stat().st_mode) == 0o750
