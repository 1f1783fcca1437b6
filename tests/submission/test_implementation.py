"""What a reviewer finds in a package: source, and scripts that really run."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import token_files
from ground import HUNG, PROJECT, environment
from ground import Command as Ttt
from processes import EASY
from submissions import commit, launch
from ttt import config
from ttt.cli import package
from ttt.data import manifest
from ttt.submission import dataset, scripts, source, typed, verify_dataset

SCRIPTS = ("setup.sh", "init_datasets.sh", "run_and_time.sh")


def packaged(runs: Path, out: Path, *more: str) -> Path:
    arguments = [str(runs), "--out", str(out), "--submitter", "somebody", "--unofficial"]
    assert package.main([*arguments, *more]) == 0
    [folder] = (out / "somebody" / "benchmarks").glob("*/implementations/*")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The implementation of five runs with uncommitted changes."""
    root = tmp_path_factory.mktemp("package")
    return packaged(launch(root / "runs", dirty=True), root / "out")


def script(folder: Path, name: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one in another folder, with the packages of this test as if setup.sh had been there."""
    return subprocess.run(
        ["sh", str(folder / name), *arguments],
        cwd=cwd,
        env=environment(VENV=sys.prefix),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
    )


def test_the_scripts_of_a_package_make_its_result_again(ttt: Ttt, tmp_path: Path):
    data = f"data.root={tmp_path / 'images'}"  # as on a machine where data sets have their disk
    done = ttt("run", "launcher=torchrun", "launcher.procs=2", data, *EASY)
    assert done.returncode == 0, done.stderr
    folder = packaged(tmp_path / "runs", tmp_path / "out")
    text = "".join(file.read_text() for file in folder.iterdir() if file.is_file())
    assert str(tmp_path) not in text
    assert "DATADIR=${DATADIR:-data/images}" in text
    [log] = (tmp_path / "out").rglob("result_0.txt")
    [named] = re.findall(r'"config_filename", "value": "([^"]+)"', log.read_text())
    assert config.load((folder / named).read_text()).target.threshold == 0.05

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(tmp_path / "images")
    done = script(folder, "init_datasets.sh", elsewhere)
    assert done.returncode == 0, done.stderr
    assert "data/images: counts and hashes are those of the results" in done.stdout
    done = script(folder, "run_and_time.sh", elsewhere, "seed=5")
    assert done.returncode == 0, done.stderr
    [again] = elsewhere.glob("runs/digits/*/seed_5/result_0.txt")
    assert '"status": "success"' in again.read_text()
    (elsewhere / "data" / "images" / "manifest.json").write_text('{"counts": {"train": 1}}')
    done = script(folder, "init_datasets.sh", elsewhere)
    assert done.returncode == 1
    assert "manifest.json says counts {'train': 1}, not {'train': 1437" in done.stderr


def test_scripts_are_plain_shell_and_tell_what_they_do(folder: Path, tmp_path: Path):
    for name in SCRIPTS:
        subprocess.run(["sh", "-n", str(folder / name)], check=True)
        done = script(folder, name, tmp_path, "--help")
        assert (done.returncode, "Usage: " in done.stdout) == (0, True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", *(str(folder / name) for name in SCRIPTS)], check=True)


def test_the_source_is_that_of_the_commit_and_not_of_the_working_tree(folder: Path, tmp_path: Path):
    archive = tmp_path / "commit.tar"
    subprocess.run(["git", "-C", str(PROJECT), "archive", "-o", str(archive), commit()], check=True)
    with tarfile.open(archive) as tar:
        wanted = {
            member.name: tar.extractfile(member).read()
            for member in tar
            if member.isfile() and not any(part[0] == "." for part in Path(member.name).parts)
        }
    tree = folder / "source"
    found = {str(file.relative_to(tree)): file for file in tree.rglob("*") if file.is_file()}
    assert {name: file.read_bytes() for name, file in found.items()} == wanted
    assert "Dockerfile" in found
    readme = (folder / "README.md").read_text()
    assert "**The runs were made with uncommitted changes, which are not in it.**" in readme


def environment_of(runs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runs / "seed_1" / "environment.json").read_text())
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"git": {"commit": "0" * 40, "dirty": False}}, f"ran from commit {'0' * 40}, which"),
        ({"git": None, "ttt": "0.0.1"}, "ran from ttt 0.0.1 and an unknown commit"),
    ],
)
def test_without_its_source_nobody_can_review_a_result(tmp_path: Path, capsys, changes, said):
    runs = launch(tmp_path / "runs")
    for file in runs.glob("*/environment.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    arguments = [str(runs), "--out", str(tmp_path / "out"), "--submitter", "somebody"]
    assert package.main(arguments) == 2
    assert f"seed_1 and 4 more: {said}" in capsys.readouterr().err
    told = source.write(environment_of(runs), tmp_path / "source")
    assert not (tmp_path / "source").exists()
    assert told.startswith(f"The source is not here: the program {said}")


def versions(file: Path) -> list[str]:
    return sorted(line for line in file.read_text().splitlines() if not line.startswith("#"))


def test_versions_that_were_not_tested_together_are_not_mixed(folder: Path, tmp_path: Path):
    """The tested sympy is too new for an older torch, and pip would refuse both."""
    tested = versions(folder / "source" / "constraints.txt")
    assert len(tested) > 100
    assert versions(folder / "constraints.txt") == tested  # the runs had the torch of the tests
    runs = launch(tmp_path / "runs", benchmark="digits", runs=1)
    file = runs / "seed_1" / "environment.json"
    older = {"packages": {"torch": "2.6.0+cu124", "rich": "15.0.0"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | older))
    found = packaged(runs, tmp_path / "out") / "constraints.txt"
    assert versions(found) == ["rich==15.0.0", "torch==2.6.0"]


def test_the_dali_of_the_runs_is_installed():
    said = scripts.setup([frozen()], "3.12.3", {"nvidia-dali-cuda130": "2.4.0", "torch": "2.13.0"})
    assert "[dali-cuda13,digits,text]" in said
    assert "[dali,digits,text]" in scripts.setup([frozen()], None, {"nvidia-dali-cuda130": None})


@pytest.mark.parametrize(
    "tracking", [{"_target_": "ttt.sinks.wandb.Wandb", "mode": "online"}, {"name": "wandb"}]
)
def test_so_is_the_tracker_of_the_runs(tracking):
    configs = [frozen(), frozen(tracking=tracking)]
    assert "[dali,digits,text,wandb]" in scripts.setup(configs, None, {})
    assert "wandb" not in scripts.setup([frozen(tracking={"_target_": "mine.T"})], None, {})


def test_of_a_project_around_an_installed_ttt_nothing_is_taken(tmp_path: Path, monkeypatch):
    """A virtual environment often lies in somebody's repository, whose commits are not ttt's."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(source, "_PACKAGE", tmp_path / "ttt")
    assert "which is not in the clone" in str(source.problem({"git": {"commit": "HEAD"}}))


def frozen(*command: str, **settings: object) -> dict[str, object]:
    return {
        "command": ["ttt", "run", *command],
        "data": {"root": "/raid/sets/ImageNet", "train_samples": 100, "eval_samples": 10},
        "launcher": {"_target_": "ttt.launch.local.Local", "procs": 2},
        "processes": 1,
        "run_root": "/scratch/me/runs",
    } | settings


TAIL = 'data.root="$DATADIR" run_root="$RUNS" "$@"'


@pytest.mark.parametrize(
    ("config", "nodes", "line"),
    [
        (frozen("benchmark=resnet", "data.root=/raid/x"), 1, f"ttt run benchmark=resnet {TAIL}"),
        (frozen("run_root=/scratch/me/runs", "a=b c"), 1, f"ttt run 'a=b c' {TAIL}"),
        (
            frozen("x", processes=8),
            1,
            f"torchrun --standalone --nproc-per-node 8 -m ttt run x {TAIL}",
        ),
        (
            frozen("x", processes=16),
            2,
            'torchrun --nnodes 2 --rdzv-endpoint "${HEAD:?HOST:PORT of the first node}"'
            f" --nproc-per-node 8 -m ttt run x {TAIL}",
        ),
        (
            frozen("--multirun", "launcher=torchrun", "launcher.procs=1,2"),
            1,
            f"ttt run launcher=torchrun launcher.procs=2 {TAIL}",
        ),
        (
            frozen("--multirun", "model=a,b", "launcher.procs=1,2"),
            1,
            f"ttt run --multirun model=a,b launcher.procs=1,2 {TAIL}",
        ),
        (
            frozen("launcher.hostfile=/etc/hosts"),
            1,
            'ttt run launcher.hostfile="${LAUNCHER_HOSTFILE:?a path, for launcher.hostfile}"'
            f" {TAIL}",
        ),
        (
            frozen("--config-dir", "/home/me/conf", "benchmark=mine"),
            1,
            f'ttt run --config-dir "$here/config_dir" benchmark=mine {TAIL}',
        ),
    ],
)
def test_what_is_typed_again_has_no_path_of_the_machine(config, nodes, line):
    assert typed.command_line(config, nodes) == line


def test_a_strangers_run_folder_puts_nothing_of_its_own_into_a_script(tmp_path: Path):
    evil = "x\ntouch made\n$(touch made)`touch made`"
    config = frozen(f"a={evil}", f"$(touch made)=/{evil}", f"b$(touch made)={evil}")
    config["data"] = {"root": f"data/{evil}"}
    texts = {
        "setup.sh": scripts.setup([config], evil, {"nvidia-dali-cuda130": evil}),
        "init_datasets.sh": scripts.init_datasets(config, None),
        "run_and_time.sh": scripts.run_and_time([config], 1).replace("\nttt run", "\necho"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        script(tmp_path, name, tmp_path, *([] if name != "setup.sh" else ["--help"]))
        assert not (tmp_path / "made").exists(), name


def test_a_frozen_configuration_is_told_without_the_paths_of_the_machine():
    dirs = {"dir": "/scratch/me", "short": "/d", "kept": "data/digits"}
    config = frozen("data.root=/raid/sets/ImageNet", tracking=dirs)
    text = typed.relative(yaml.safe_dump(config), config)
    assert "/raid" not in text
    assert "/scratch" not in text
    again = yaml.safe_load(text)
    assert (again["data"]["root"], again["run_root"]) == ("data/ImageNet", "runs")
    assert again["tracking"] == {"dir": "me", "short": "d", "kept": "data/digits"}


def test_a_data_set_is_known_by_what_the_run_kept_and_not_by_what_its_folder_names(tmp_path: Path):
    root, run = tmp_path / "data", tmp_path / "run"
    root.mkdir()
    run.mkdir()
    (root / "manifest.json").write_text('{"source": "/raid/x", "counts": {"all": 3}}')
    config = {"data": {"root": str(root), "train_samples": 3}}
    assert dataset.expected(config, run)["manifest"] is None
    manifest.keep("", run)
    manifest.keep(str(tmp_path / "absent"), run)
    assert list(run.iterdir()) == []
    manifest.keep(str(root), run)
    assert dataset.expected(config, run)["manifest"] == {"counts": {"all": 3}}


@pytest.mark.parametrize(
    ("command", "prepared"),
    [
        ([], "ttt data digits"),
        (["benchmark=dates"], "ttt data dates"),
        (["benchmark=cifar10"], "ttt data cifar10"),
        (["benchmark=resnet"], "ttt data imagenet"),
        (["benchmark=transformer", "data.vocabulary=8000"], "ttt data wmt --vocabulary 8000"),
        (["benchmark=resnet", "data.format=folder"], "ttt data imagenet --format folder"),
        (["benchmark=transformer"], "ttt data wmt"),
        (["benchmark=dlrm_dcnv2"], "ttt data criteo"),
    ],
)
def test_every_benchmark_tells_how_its_data_set_is_prepared(command, prepared):
    config.register()
    run = config.resolve(config.compose(command), command=["ttt", "run", *command])
    found = dataset.preparation(yaml.safe_load(config.freeze(run)))
    assert found is not None
    assert found[0].startswith(prepared)


def test_a_data_set_that_ttt_does_not_prepare_is_asked_for(tmp_path: Path):
    config = frozen("benchmark=mine")
    assert dataset.preparation(config) is None
    (tmp_path / "init_datasets.sh").write_text(scripts.init_datasets(config, None))
    done = script(tmp_path, "init_datasets.sh", tmp_path)
    assert done.returncode == 2
    assert "data/ImageNet is not there, and ttt does not prepare this data set" in done.stderr


def test_a_data_set_made_from_sources_asks_for_them(tmp_path: Path):
    prepared = ("echo made", "a folder with train/<class>/, such as ImageNet's")
    (tmp_path / "init_datasets.sh").write_text(scripts.init_datasets(frozen(), prepared))
    (tmp_path / "verify_dataset.py").write_text("")
    done = script(tmp_path, "init_datasets.sh", tmp_path)
    assert done.returncode == 2
    assert "no SOURCE; allowed: a folder with train/<class>/, such as ImageNet's" in done.stderr
    done = script(tmp_path, "init_datasets.sh", tmp_path, "a b", "c")
    assert done.stdout == "made --out data/ImageNet --src a b c\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A configuration of somebody's own."""
    own = tmp_path / "conf"
    (own / "benchmark").mkdir(parents=True)
    (own / "benchmark" / "mine.yaml").write_text("# mine\n")
    (own / "id_rsa").write_text("secret\n")
    (own / "linked.yaml").symlink_to(own / "id_rsa")
    return own


def with_configuration(runs: Path, own: Path) -> Path:
    """A run that was typed with a configuration of one's own."""
    launch(runs, benchmark="digits", runs=1)
    file = runs / "seed_1" / "config.yaml"
    typed_so = f"[ttt, run, --config-dir, {own}, benchmark=mine, "
    file.write_text(file.read_text().replace("[ttt, run, ", typed_so))
    return runs


def test_a_configuration_of_ones_own_comes_along_if_the_packager_names_it(
    tmp_path: Path, own: Path
):
    runs = with_configuration(tmp_path / "runs", own)
    folder = packaged(runs, tmp_path / "out", "--config-dir", str(own))
    copied = {
        str(each.relative_to(folder / "config_dir")) for each in folder.glob("config_dir/**/*")
    }
    assert copied == {"benchmark", "benchmark/mine.yaml"}
    line = (folder / "run_and_time.sh").read_text().splitlines()[-1]
    assert '--config-dir "$here/config_dir" benchmark=mine' in line
    assert str(tmp_path) not in (folder / "config.yaml").read_text()
    assert "must be importable" in (folder / "README.md").read_text()


def test_what_a_run_folder_names_is_not_copied_unasked(tmp_path: Path, own: Path, capsys):
    folder = packaged(with_configuration(tmp_path / "runs", own), tmp_path / "out")
    assert f"is left out; to have it copied: --config-dir {own}" in capsys.readouterr().out
    assert not (folder / "config_dir").exists()
    assert "it is not here, since `ttt package`" in (folder / "README.md").read_text()
    asked = [str(tmp_path / "runs"), "--out", str(tmp_path / "o"), "--submitter", "somebody"]
    assert package.main([*asked, "--config-dir", str(tmp_path / "absent")]) == 2
    assert "absent is no folder; allowed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "expected", "said"),
    [
        ({"train/a": "", "val/b": ""}, {}, []),
        ({"train/a": ""}, {}, ["val holds 0 files; allowed: 1"]),
        ({}, {"train_dir": None}, ["has no manifest.json"]),
        (
            {"manifest.json": '{"counts": {"a": 2, "b": 1}}'},
            {},
            ["allowed: 1 to train, 1 to judge"],
        ),
        (
            {"manifest.json": '{"sha256": "x"}'},
            {"manifest": {"sha256": "y"}},
            ["says sha256 'x', not"],
        ),
    ],
)
def test_a_data_set_is_compared_with_that_of_the_runs(tmp_path: Path, files, expected, said):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    known = {"train_samples": 1, "eval_samples": 1, "train_dir": "train", "eval_dir": "val"}
    found = list(verify_dataset.differences(tmp_path, known | {"manifest": None} | expected))
    assert len(found) == len(said)
    for sentence, wanted in zip(found, said, strict=True):
        assert wanted in sentence


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, []),
        ({"eval_samples": 2}, []),
        ({"train_samples": 11}, ["train.idx lists 12 sequences; allowed: 11"]),
        ({"eval_samples": 4}, ["eval.idx lists 3 sequences; allowed: 4"]),
        ({"train": "none"}, ["none.idx cannot be read"]),
        ({"eval": "text"}, ["text.idx cannot be read: it is no index"]),
        ({"eval": "cut"}, ["cut.idx cannot be read: it is cut short"]),
        ({"manifest": {"sha256": "x"}}, ["says sha256 None, not 'x'"]),
    ],
)
def test_tokens_without_a_manifest_are_counted(tmp_path: Path, settings, said):
    token_files.write(tmp_path / "train", [[1] * 60, [2] * 40])
    token_files.write(tmp_path / "eval", [[1] * 30])
    (tmp_path / "text.idx").write_text("no index, but as long as the head of one would be")
    (tmp_path / "cut.idx").write_bytes(token_files.pack([[1]] * 50)[1][:40])
    known = {"train_samples": 12, "eval_samples": 3, "train_dir": None, "sequence_length": 8}
    known |= {"train": "train", "eval": "eval", "manifest": None}
    if "manifest" in settings:
        (tmp_path / "manifest.json").write_text('{"counts": {"train": 99, "eval": 9}}')
    found = list(verify_dataset.differences(tmp_path, known | settings))
    assert len(found) == len(said)
    for sentence, wanted in zip(found, said, strict=True):
        assert wanted in sentence
