"""What is typed for bench/gpu.sh is checked before it begins; how a section ends is recorded."""

import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

from gpu import check, figures, summary
from ground import HUNG, PROJECT, environment
from tests.bench.test_gpu import HIDE, common, gpu_sh, lines


def ended(tmp_path: Path, seconds: int, limit: int, share: int, code: int) -> tuple[str, str, int]:
    """State, reason and exit code of `gpu.summary --record`."""
    (tmp_path / "log").write_text("a\nlast words\n")
    numbers = map(str, (seconds, limit, share, code))
    file = tmp_path / "figures.jsonl"
    failed = summary.main(["--record", str(file), "steps", *numbers, str(tmp_path / "log")])
    line = next(each for each in reversed(lines(file)) if each["name"] == "outcome")
    return line["value"], line.get("why", ""), failed


def test_what_is_stopped_says_by_which_limit(tmp_path: Path):
    hung = "stopped at its limit of 30 s; the last line it printed: last words"
    assert ended(tmp_path, 30, 30, 30, 124) == ("failed", hung, 1)
    cut = "BUDGET reached after its 9 s; what it measured until then counts"
    assert ended(tmp_path, 9, 9, 30, 124) == ("cut", cut, 0)
    assert ended(tmp_path, 14, 9, 30, 137) == ("cut", cut, 0)
    assert ended(tmp_path, 0, 0, 30, 124) == ("cut", "BUDGET reached before it began", 0)
    state, why, failed = ended(tmp_path, 3, 30, 30, 137)
    assert (state, failed) == ("failed", 1)
    assert why.startswith("killed by SIGKILL")


def test_a_part_that_failed_fails_a_section_that_is_cut(tmp_path: Path):
    section = figures.Section(
        "steps", figures.options(ArgumentParser(), common(tmp_path / "figures.jsonl"))
    )
    section.part("digits", lambda section: 1 / 0)
    state, why, failed = ended(tmp_path, 9, 9, 30, 124)
    assert (state, failed) == ("failed", 1)
    assert why.startswith("digits: ZeroDivisionError: ")


def test_the_parts_of_all_sections_are_the_budget():
    text = (PROJECT / "bench" / "gpu.sh").read_text()
    [table] = re.findall(r"^table='(.*?)'$", text, re.DOTALL | re.MULTILINE)
    [budget] = re.findall(r"BUDGET:-(\d+)", text)
    assert sum(int(line.split()[1]) for line in table.splitlines()) == int(budget)


@pytest.mark.parametrize(
    ("variables", "out", "sentences"),
    [
        ({"DEVICE": "tpu"}, ["x"], ["DEVICE=tpu is unknown; type DEVICE=cuda or DEVICE=cpu"]),
        ({"BUDGET": "abc"}, ["x"], ["BUDGET=abc is not a whole number of seconds above 0"]),
        ({"BUDGET": "0"}, ["x"], ["BUDGET=0 is not a whole number of seconds above 0"]),
        ({"SECTIONS": "steps x y"}, ["x"], ["SECTIONS names x, y; the sections are tests, steps"]),
        ({"SECTIONS": " "}, ["x"], ["SECTIONS names no section; the sections are tests, steps"]),
        ({"WHEELS": "/nope"}, ["x"], ["WHEELS=/nope is not a folder"]),
        ({"WHEELS": "."}, ["x"], ["WHEELS=. has no file *.whl or *.whl.part-*"]),
        ({}, ["file"], ["OUT=file: ", "/file is not a folder; type another one"]),
        ({}, ["file/below"], ["OUT=file/below: ", "/file is not a folder; type another one"]),
        ({}, ["old"], ["old/log.txt is there; type another folder: bench/gpu.sh OUT"]),
        ({}, ["--fast"], ["cannot read `--fast`; type bench/gpu.sh OUT, or bench/gpu.sh --help"]),
        ({}, ["a", "b"], ["cannot read `a b`"]),
        ({"BUDGET": "-1", "DEVICE": "x"}, ["file"], ["BUDGET=-1", "DEVICE=x", "OUT=file"]),
    ],
)
def test_what_cannot_be_run_is_refused_with_all_reasons(
    tmp_path: Path, monkeypatch, capfd, variables: dict[str, str], out: list[str], sentences
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("old").mkdir()
    Path("old", "log.txt").touch()
    for name in ("BUDGET", "SECTIONS", "WHEELS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"DEVICE": "cpu"} | variables).items():
        monkeypatch.setenv(name, value)
    assert check.main(["tests steps", *out]) == check.REFUSED
    shown = capfd.readouterr()
    assert not shown.out
    assert all(sentence in shown.err for sentence in sentences)
    assert sorted(os.listdir()) == ["file", "old"]


@pytest.mark.parametrize("asked", ["", "cuda"])
def test_a_gpu_that_is_absent_is_not_replaced_by_the_cpu(tmp_path: Path, monkeypatch, capfd, asked):
    monkeypatch.setenv("DEVICE", asked)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for cuda, cause in ((None, "is a build for CPUs"), ("13.0", "see what nvidia-smi prints")):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        assert check.main(["tests", str(tmp_path / "out")]) == check.REFUSED
        shown = capfd.readouterr().err
        assert "torch sees no GPU: " in shown
        assert cause in shown
        assert shown.endswith("; to try it on the CPU, type DEVICE=cpu\n")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert check.main(["tests", str(tmp_path / "out")]) == 0
    assert capfd.readouterr().out == "cuda\n"


def test_a_python_without_torch_or_psutil_is_refused_without_a_traceback(tmp_path: Path):
    hidden = HIDE.replace('"hydra",', '"torch", "psutil",')
    (tmp_path / "sitecustomize.py").write_text(hidden)
    done = gpu_sh(tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{sys.executable} has no psutil; install them, or activate" in done.stderr
    assert f"{sys.executable} cannot import torch (No module named 'torch')" in done.stderr
    assert "type PYTHON=.venv/bin/python bench/gpu.sh" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_python_that_is_absent_is_refused_and_help_is_printed(tmp_path: Path):
    done = gpu_sh(tmp_path / "out", PYTHON="/nope/python3")
    assert done.returncode == 2
    assert done.stderr.startswith("bench/gpu.sh: PYTHON=/nope/python3 is not a program; type ")
    shown = gpu_sh(Path("--help"), PYTHON="/nope/python3")
    assert shown.returncode == 0
    assert "What must be installed: " in shown.stdout
    assert not shown.stderr


def test_ctrl_c_ends_it_and_its_section(tmp_path: Path):
    variables = {"SECTIONS": "steps", "DEVICE": "cpu", "BUDGET": "200", "TMPDIR": str(tmp_path)}
    command = [str(PROJECT / "bench" / "gpu.sh"), str(tmp_path / "out")]
    script = subprocess.Popen(
        command,
        env=environment(PYTHON=sys.executable, **variables),
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert script.stdout
    assert script.stdout.readline().startswith("steps, at most")
    script.send_signal(signal.SIGINT)
    script.communicate(timeout=HUNG)  # a section that went on would hold its output open
    assert script.returncode == 130
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]  # no temporary folder
