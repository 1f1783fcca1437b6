"""What is shipped: a wheel that works by itself, without the repository and without torch."""

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import ttt
from ground import PROJECT
from ttt.submission import source

# All that composing a configuration and reading results may need. No torch: login nodes have none.
LOGIN_NODE = (
    "hydra-core omegaconf antlr4-python3-runtime PyYAML packaging mlperf-logging rich Pygments"
    " markdown-it-py mdurl nvidia-ml-py numpy psutil"
).split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source tree."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def login_node(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and the few packages a login node needs."""
    home = tmp_path_factory.mktemp("login")
    venv.create(home, with_pip=False)
    [site] = (home / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    ours = Path(sysconfig.get_path("purelib"))
    tops = (
        importlib.metadata.packages_distributions()
    )  # of an old pip's installs, all that is known
    for name in LOGIN_NODE:
        files = importlib.metadata.files(name) or []
        parts = {file.parts[0] for file in files} | {top for top in tops if name in tops[top]}
        for part in parts - {"..", "__pycache__"}:
            if (ours / part).exists() and not (site / part).exists():
                (site / part).symlink_to(ours / part)
    return home


def python(home: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(home / "bin" / "python"), *arguments],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_configuration_and_nothing_foreign(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert "ttt/conf/benchmark/digits.yaml" in names
    assert "ttt/conf/config.yaml" in names
    assert "ttt/slurm/job.sbatch" in names
    assert "ttt/share/pyproject.toml" in names
    assert {name.split("/")[0] for name in names} == {"ttt", "time_to_train-0.1.0.dist-info"}
    assert "time_to_train-0.1.0.dist-info/licenses/LICENSE" in names


def test_an_installed_ttt_can_be_packaged_and_built_again(wheel: Path, tmp_path, monkeypatch):
    """Runs of an installed ttt know no commit: a package holds what is installed."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.setattr(source, "_PACKAGE", tmp_path / "site" / "ttt")
    told = source.write({"ttt": ttt.__version__, "git": None}, tmp_path / "source")
    assert "as it was installed where this was packaged" in told
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(tmp_path / "source")], check=True, capture_output=True)
    again = zipfile.ZipFile(tmp_path / wheel.name)
    assert sorted(again.namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--cfg", "job"], "threshold: 0.97"),
        (["run", "--help"], "benchmark=cifar10"),
        (["run", "data.rot=1"], "data.root=1"),
        (["check", "--help"], "usage: ttt check"),
        (["report", "--help"], "usage: ttt report"),
        (["doctor"], "torch            not installed on"),
    ],
)
def test_an_installed_ttt_needs_neither_repository_nor_torch(
    login_node: Path, tmp_path: Path, arguments: list[str], said: str
):
    without = python(login_node, "-c", "import torch", cwd=tmp_path)
    assert "No module named 'torch'" in without.stderr
    done = python(login_node, "-m", "ttt", *arguments, cwd=tmp_path)
    assert said in done.stdout + done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_installed_ttt_has_the_batch_script(login_node: Path, tmp_path: Path):
    asked = ["launcher=slurm", "launcher.dry_run=true", "data.prepare=null", "data.root=/data"]
    done = python(login_node, "-m", "ttt", "run", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#!/usr/bin/env bash\n")


def test_an_installed_ttt_writes_a_benchmark(login_node: Path, tmp_path: Path):
    done = python(login_node, "-m", "ttt", "new", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "parts.py").is_file()
    typed = ["--config-dir", "mine", "benchmark=mine", "--cfg", "job"]
    shown = python(login_node, "-m", "ttt", "run", *typed, cwd=tmp_path)
    assert "_target_: mine.parts.Data" in shown.stdout


def test_a_missing_extra_is_named_with_what_to_type(login_node: Path, tmp_path: Path):
    done = python(login_node, "-m", "ttt", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'time-to-train[digits]'" in done.stderr
    assert "Traceback" not in done.stderr
