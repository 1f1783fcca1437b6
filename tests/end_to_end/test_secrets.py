"""Secrets that are typed as settings, and what is left of them in all that ttt writes."""

import hashlib
import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from ground import PROJECT, Command, Refused, command, environment
from slurm_testbed import Cluster
from submissions import launch
from tests.cli.test_package import typed
from ttt import config, errors
from ttt.cli import confided
from ttt.doctor.launch import left_over
from ttt.errors import OK
from ttt.machine.environment import variables
from ttt.report.read.find import find
from ttt.supervise import failure
from ttt.supervise.guard import Guard
from wandb_folders import inspect

CANARY = "canary"
OUTSIDE = PROJECT / "tests" / "outside"
# A user's own model that needs its secret, and a benchmark that chooses it.
PARTS = """
import os
from outside_parts import Linear

API_KEY = "canary_in_code"

class Locked(Linear):
    def __init__(self, classes, size, password):
        assert password[::-1] == "trap-a-fo-yranac", "not the true value"
        super().__init__(classes, size)
"""
BENCHMARK = """\
# @package _global_
defaults:
  - override /data: digits
benchmark: {id: locked}
target: {metric: top1, threshold: 0.85, max_epochs: 1}
data: {global_batch: 64}
optim: {lr: 0.05}
"""
MODEL = """\
_target_: locked_parts.Locked
classes: 10
size: 8
password: canary-of-a-part
"""
TYPED = (
    "+mlperf.api_key=canary_of_the_log",
    "+mlperf.source=https://me:canary_of_an_address@host/",
    "+system.description.api_token=canary_of_the_system",
    "+system.description.password=${oc.env:DB_PASSWORD}",
    "submission.org=somebody",
)
ENVIRONMENT = {
    "WANDB_API_KEY": "canary_of_the_shell" + "0" * 40,
    "TTT_KEY": "canary_of_ttt_a_key",
    "DB_PASSWORD": "canary_of_a_reference",
    "HTTPS_PROXY": "http://me:canary_of_a_proxy@127.0.0.1:9",
    "NCCL_PROXY": "http://me:canary_of_nccl@127.0.0.1:9",
    "TORCH_HUB_TOKEN": "canary_of_torch",
}


def holding(root: Path) -> dict[str, int]:
    """The files below a folder with a canary in their bytes or name, and their modes."""
    assert CANARY not in "".join(map(str, root.rglob("*")))
    files = (file for file in root.rglob("*") if file.is_file() and not file.is_symlink())
    return {
        str(file.relative_to(root)): stat.S_IMODE(file.stat().st_mode)
        for file in files
        if CANARY.encode() in file.read_bytes() and "source" not in file.parts  # ttt's own, by git
    }


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A folder where a run with secrets was made, tracked, reported and packaged."""
    root = tmp_path_factory.mktemp("tracked")
    for name, text in (("benchmark/locked", BENCHMARK), ("model/locked", MODEL)):
        file = root / "typed" / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (root / "typed" / "conf" / "locked_parts.py").write_text(PARTS)
    own = ("--config-dir", str(root / "typed" / "conf"), "benchmark=locked", "model=locked")
    path = f"{PROJECT}:{OUTSIDE}:{root / 'typed' / 'conf'}"
    variables = ENVIRONMENT | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(root / "out" / "cache")}
    (root / "out").mkdir()

    def ttt(*words: str) -> None:
        done = subprocess.run(
            command(*words),
            cwd=root / "out",
            env=environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
        number = len(list((root / "out").glob("*.said")))
        said = f"{done.returncode}\n{done.stdout}{done.stderr}"
        (root / "out" / f"{number}.said").write_text(said)

    ttt("run", *own, *TYPED, f"data.root={digits}", "clear_cache=off", "tracking=wandb")
    forms = ("--html", "r.html", "--json", "r.json", "--csv", "r.csv", "--wandb", "offline")
    ttt("report", "runs", *forms)
    package = ("package", "runs", *own[:2], "--out", "package", "--submitter", "somebody")
    ttt(*package, "--unofficial")
    return root / "out"


def said(root: Path, number: int) -> str:
    return (root / f"{number}.said").read_text()


def test_a_part_gets_its_secret_and_nobody_else_does(tracked: Path):
    [folder] = tracked.glob("runs/locked/*/seed_1")
    told = said(tracked, 0)
    assert json.loads((folder / "summary.json").read_text())["steps"] > 0, told
    inside = folder.relative_to(tracked)
    assert holding(tracked) == {f"{inside}/config.yaml": 0o600}
    assert stat.S_IMODE((folder / "environment.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "logs").stat().st_mode) == 0o700


def test_the_command_warns_once_which_settings_hold_secrets(tracked: Path):
    told = said(tracked, 0)
    [warning] = [line for line in told.splitlines() if "hold secrets" in line]
    for name in ("model.password", "mlperf.api_key", "mlperf.source"):
        assert name in warning
    better = "+mlperf.source=${oc.env:NAME}"
    assert warning.endswith(f" and {shlex.quote(better)}")  # as it was typed, for any shell
    [again] = [line for line in told.splitlines() if "runs=5" in line]
    assert shlex.quote(TYPED[-2]) in again
    assert "(type the setting of a secret again)" in again
    assert "redacted" not in again


def test_a_setting_from_the_environment_is_recorded_as_it_was_typed(tracked: Path):
    [folder] = tracked.glob("runs/locked/*/seed_1")
    settled = yaml.safe_load((folder / "config.yaml").read_text())
    hidden = {"api_token": "[redacted]", "password": "[redacted]"}
    assert settled["system"]["description"].items() >= hidden.items()
    told = json.loads((folder / "environment.json").read_text())
    for words in (settled["command"], told["command"]):
        assert TYPED[-2] in words
        assert "+system.description.api_token=[redacted]" in words
    described = json.loads((folder / "system.json").read_text())["description"]
    assert described.items() >= hidden.items()


def test_what_the_environment_says_is_no_reference(monkeypatch: pytest.MonkeyPatch):
    config.register()
    monkeypatch.setenv("ODD", "a${b\\${seed}")
    composed = config.compose(["+mlperf.odd=${oc.env:ODD}"])
    run = config.resolve(composed, command=["ttt", "run", "+mlperf.odd=${oc.env:ODD}"])
    run.model = SimpleNamespace(_target_="builtins.dict", own=["${seed}"], more={"a": "$\\${b"})
    again = config.load(config.freeze(run))
    assert again.mlperf["odd"] == "a${b\\${seed}"
    assert again.command[-1] == "+mlperf.odd=${oc.env:ODD}"
    assert again.model == run.model


def test_advice_on_a_setting_in_braces_and_in_a_file(capfd):
    config.register()
    inside = ["+mlperf={api_key: canary}"]
    confided.warn(config.compose(inside), inside)
    assert capfd.readouterr().err.endswith(" and '++mlperf.api_key=${oc.env:NAME}'\n")
    confided.warn(config.compose(["+model.password=canary"]), [])
    assert capfd.readouterr().err.endswith(" and 'model.password=${oc.env:NAME}'\n")


def test_a_copied_mark_is_no_secret(refused: Refused):
    [sentence] = refused("+data.password=[redacted]", "runs=5")
    assert sentence.startswith("+data.password=[redacted]: [redacted] stands where ttt has hidden")
    assert sentence.endswith("or '+data.password=${oc.env:NAME}'")


def test_wandb_gets_no_such_settings(tracked: Path):
    runs = [*tracked.glob("runs/*/*/*/wandb/offline-run-*"), *tracked.glob("wandb/offline-run-*")]
    assert len(runs) >= 2  # while it went on, and rebuilt
    for found in runs:
        summary, records = inspect(found)
        assert CANARY not in json.dumps([summary, records])
        if "ttt" in summary["config"]:
            assert "password" not in summary["config"]["ttt"]["model"]
            assert not {"api_key", "source"} & summary["config"]["ttt"]["mlperf"].keys()


def test_reports_and_packages_are_made_and_leave_them_out(tracked: Path):
    assert said(tracked, 1).startswith("0\n"), said(tracked, 1)
    for name in ("r.html", "r.json", "r.csv"):
        assert (tracked / name).is_file()
    [frozen] = tracked.glob("package/somebody/benchmarks/*/*/*/config.yaml")
    assert "password:" not in frozen.read_text()
    again = (frozen.parent / "run_and_time.sh").read_text()
    assert "api_key" not in again
    assert "submission.org=somebody" in again
    own = frozen.parent / "config_dir"
    assert "_target_: locked_parts.Locked" in (own / "model" / "locked.yaml").read_text()
    assert 'API_KEY = "[redacted]"' in (own / "locked_parts.py").read_text()


def test_a_folder_that_was_made_without_care_is_packaged_with_care(tmp_path: Path):
    runs = launch(tmp_path / "runs")
    for folder in runs.iterdir():
        file = folder / "config.yaml"
        words = ["ttt", "run", "launcher.setup=['export HF_TOKEN=canary']", "seed=3"]
        more = f"command: {json.dumps(words)}\nlauncher: {{setup: [export HF_TOKEN=canary, ls]}}\n"
        kept = [line for line in file.read_text().splitlines() if not line.startswith("command:")]
        file.write_text(f"# {shlex.join(words)}\n" + "\n".join([*kept, more]))
    (runs / "job.sbatch").write_text("export HF_TOKEN=canary\n")
    assert typed(runs, tmp_path / "out") == OK
    assert holding(tmp_path / "out") == {}
    [frozen] = (tmp_path / "out").glob("*/benchmarks/*/*/*/config.yaml")
    assert frozen.read_text().startswith("# ttt run seed=3\n")
    assert "- ls" in frozen.read_text()


SETUP = [
    "launcher.setup=['export HF_TOKEN=canary_a','printenv HF_TOKEN | md5sum > \"$OUT\"']",
    "launcher.lines=['--comment=https://me:canary_b@host']",
    "launcher.srun=['--export=ALL,DB_PASSWORD=canary_c']",
]


def test_a_dry_run_prints_the_true_script_and_records_the_hidden_one(ttt: Command, tmp_path: Path):
    asked = ("launcher=slurm", "launcher.dry_run=true", *SETUP)
    done = ttt("run", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(CANARY) == 3  # it is to be submitted
    assert CANARY not in done.stderr
    assert "launcher.lines, launcher.setup, launcher.srun hold secrets" in done.stderr
    assert "wandb login" in done.stderr
    assert holding(tmp_path) == {}
    [frozen] = tmp_path.glob("runs/*/*/*/config.yaml")
    assert "export HF_TOKEN=[redacted]" in frozen.read_text()
    assert stat.S_IMODE(frozen.stat().st_mode) == 0o600


def test_a_sweep_is_recorded_and_shown_by_hydra_without_secrets(ttt: Command, tmp_path: Path):
    asked = ("launcher=slurm", "launcher.dry_run=true", "seed=1,2", "hydra.output_subdir=hydra")
    done = ttt("run", "--multirun", *asked, SETUP[0], "+mlperf.password=12345678")
    assert done.returncode == 0, done.stderr
    hydra = [line for line in done.stdout.splitlines() if "[HYDRA]" in line]
    assert "HF_TOKEN=[redacted]" in hydra[1]
    assert CANARY not in "".join(hydra)
    assert done.stderr.count("hold secrets") == 1
    assert set(holding(tmp_path).values()) <= {0o600}
    assert holding(tmp_path / "runs" / "sweeps") == {}
    for file in (tmp_path / "runs" / "sweeps").rglob("*.yaml"):
        assert "12345678" not in file.read_text()
    assert len(list((tmp_path / "runs" / "sweeps").rglob("*.yaml"))) == 4


@pytest.mark.parametrize(
    "asked",
    ["--cfg job", "--cfg all --resolve", "-c job -p tracking", "--info config", "--info all"],
)
def test_what_is_only_shown_has_no_secrets(ttt: Command, monkeypatch, asked: str):
    """People paste it into issues."""
    monkeypatch.setenv("A_PLACE", "canary")
    typed = [
        *("+data.password=canary", "+model.my_api_key=${oc.env:A_PLACE}", "launcher=slurm"),
        *("launcher.setup=['export A_KEY=canary']", "tracking=wandb", "+tracking.token=canary"),
        "+tracking.credentials={user:me,word:canary}",
    ]
    done = ttt("run", *typed, *asked.split())
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert "[redacted]" in done.stdout
    assert "timeout_seconds: 30.0" in done.stdout


def test_a_refusal_shows_no_secret(ttt: Command):
    lines = "launcher.lines=['export HF_TOKEN=canary']"
    for asked in (["+modell.password=canary"], ["launcher=slurm", lines], ["--multirun", lines]):
        done = ttt("run", *asked)
        assert done.returncode == 2
        assert CANARY not in done.stdout + done.stderr
        assert "[redacted]" in done.stderr


def test_a_job_has_its_secret_from_the_one_file_that_needs_it(
    cluster: Cluster, tmp_path: Path, digits: Path
):
    words = ("launcher=slurm", "launcher.wait=true", "clear_cache=fadvise", f"data.root={digits}")
    setup = SETUP[0].replace("$OUT", str(tmp_path / "sum"))
    done = subprocess.run(
        command("run", *words, setup, *SETUP[1:]),
        cwd=tmp_path,
        env=environment(**cluster.environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    true = hashlib.md5(b"canary_a\n", usedforsecurity=False).hexdigest()
    assert (tmp_path / "sum").read_text().split()[0] == true
    [script] = tmp_path.glob("runs/*/*/job.sbatch")
    assert holding(tmp_path) == {str(script.relative_to(tmp_path)): 0o600}
    assert CANARY not in done.stdout + done.stderr


def test_variables_of_the_environment_are_recorded_without_secrets():
    told = variables(ENVIRONMENT | {"CUDA_HOME": "/usr", "NCCL_API_KEY": "canary"})
    assert told == {"CUDA_HOME": "/usr", "NCCL_PROXY": "http://[redacted]@127.0.0.1:9"}


def test_what_is_left_in_a_shell_is_told_without_secrets():
    left = {"SBATCH_EXPORT": "ALL,HF_TOKEN=canary", "SLURM_API_KEY": "canary", "PET_A": "b"}
    told = {"SBATCH_EXPORT": "ALL,HF_TOKEN=[redacted]", "SLURM_API_KEY": "[redacted]"}
    assert left_over(left, launched=True) == {"PET_A": "b"} | told


def test_a_failure_is_recorded_without_secrets(tmp_path: Path, capfd):
    error = RuntimeError(f"cannot start: {dict(HF_TOKEN='canary')}")
    (tmp_path / "logs").mkdir()
    guard = Guard(None, tmp_path)
    guard.fail(error)
    failure.write_by_launcher("mpirun -x HF_TOKEN=canary failed", tmp_path / "logs")
    assert holding(tmp_path) == {}
    assert "HF_TOKEN" in (tmp_path / "logs" / "rank_0.log").read_text()
    assert "canary" not in "".join(capfd.readouterr())
    assert "canary" not in failure.brief(error)
    errors.show(errors.LaunchError("srun: --export=HF_TOKEN=canary"))
    assert capfd.readouterr().err == "ttt: srun: --export=HF_TOKEN=[redacted]\n"


def test_a_reason_of_a_run_made_elsewhere_is_shown_without_secrets(tmp_path: Path):
    folder = launch(tmp_path, 1, status="aborted") / "seed_1"
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"status": "aborted", "reason": "login failed: HF_TOKEN=canary"}
    (folder / "summary.json").write_text(json.dumps(summary))
    [run] = find([folder]).runs
    assert run.reason == "login failed: HF_TOKEN=[redacted]"


@pytest.mark.parametrize("mask", [0o002, 0o077], ids=oct)
def test_all_files_have_the_modes_of_the_users_umask(mask: int, tmp_path: Path):
    """One command after the other, by one shell with that umask."""
    ttt = shlex.join([sys.executable, "-m", "ttt"])
    lines = [
        f"umask {mask:03o}",
        f"{ttt} data digits --out data/digits",
        f"{ttt} run clear_cache=off target.max_epochs=1 submission.org=somebody",
        f"{ttt} report runs --html r.html --json r.json --csv r.csv",
        f"{ttt} package runs --out package --submitter somebody --unofficial",
        f"{ttt} new mine",
    ]
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(list(tmp_path.glob("package*/somebody"))) == 1, done.stdout + done.stderr
    wrong = {}
    for path in tmp_path.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        program = bool(mode & 0o100)
        inside = path.relative_to(tmp_path)
        run = inside.parts[0] == "runs"
        shared = run and len(inside.parts) < 3  # above a launch; nobody moves the runs of another
        closed = mask if shared or not run else mask | 0o022
        sticky = 0o1000 if shared and ~mask & 0o022 else 0
        if mode != (0o777 if path.is_dir() or program else 0o666) & ~closed | sticky:
            wrong[str(inside)] = oct(mode)
    assert wrong == {}
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"events.jsonl", "owner", "environment.json", "r.html", "manifest.json"} <= names
    assert os.access(tmp_path / "r.json", os.R_OK)
