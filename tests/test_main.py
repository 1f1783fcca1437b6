import os
import subprocess
from pathlib import Path

import pytest

import ttt.__main__ as ttt_main
from ground import command, environment
from ttt import __version__
from ttt.cli import shows
from ttt.errors import BROKEN_PIPE, OK, UNFORESEEN, USAGE


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [(["run", "--help"], ""), (["run", "--info", "plugins"], "1"), (["--help"], "")],
)
def test_a_reader_that_has_seen_enough_gets_no_traceback(words, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does, before anything is written
    done = subprocess.run(
        command(*words),
        check=False,
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(PYTHONUNBUFFERED=unbuffered),
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


FULL = b"ttt: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "stream", "code", "told"),
    [
        (["run", "--info", "plugins"], "stdout", UNFORESEEN, FULL),
        (["check", "--help"], "stdout", UNFORESEEN, FULL),
        (["trian"], "stderr", USAGE, b""),  # what was wrong decides, not that it cannot be told
    ],
)
def test_a_full_disk_is_told_once_and_hides_no_other_fault(words, stream, code, told):
    with Path("/dev/full").open("w") as full:
        to = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: full}
        done = subprocess.run(command(*words), check=False, env=environment(), **to)
    assert done.returncode == code
    assert (done.stderr or b"") == told


def test_help_knows_the_benchmarks_of_ones_own_and_the_version_is_ours(tmp_path, capsys):
    for file, text in {
        "benchmark/rings.yaml": "benchmark: {summary: circles}\ntarget: {metric: f1, threshold: 1}",
        "benchmark/cut.yaml": "benchmark: [",
        "data/rings.yaml": "",
        "data/more.yaml": "",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    shown = shows.benchmarks(str(tmp_path)).splitlines()
    assert f"  benchmark={'rings':<15}  {'f1 1':<20} circles" in shown
    assert "  benchmark=cut" in shown
    assert "  data=more|rings" in shown
    assert len(shows.benchmarks(None).splitlines()) == len(shown) - 3
    assert ttt_main.main(["run", "--version"]) == OK
    assert capsys.readouterr().out == f"ttt {__version__}\n"


def test_hydra_help_is_about_ttt(ttt, tmp_path):
    (tmp_path / "own" / "benchmark").mkdir(parents=True)
    (tmp_path / "own" / "benchmark" / "rings.yaml").touch()
    done = ttt("run", "--hydra-help")
    assert done.returncode == OK, done.stderr
    assert "--config-dir, -cd: Adds" in done.stdout
    assert "-sc" not in done.stdout
    assert "hydra/launcher: basic" in done.stdout
    done = ttt("run", "--config-dir", "own", "--help")
    assert "benchmark=rings" in done.stdout
    assert 'eval "$(ttt completion bash)"' in done.stdout
    assert done.stderr == ""


def test_the_help_is_what_hydra_would_make_of_it(ttt, tmp_path, capsys):
    (tmp_path / "own").mkdir()
    done = ttt("run", "--config-dir", "own", "--help")
    assert ttt_main.main(["run", "-h"]) == OK
    assert capsys.readouterr().out == done.stdout


def test_the_completion_of_hydra_is_refused(capsys):
    assert ttt_main.main(["run", "-sc", "install=bash"]) == USAGE
    assert 'eval "$(ttt completion bash)"' in capsys.readouterr().err


def test_commands_are_listed(capsys):
    assert ttt_main.main([]) == OK
    listed = capsys.readouterr().out
    assert all(name in listed for name in ttt_main.COMMANDS)


@pytest.mark.parametrize(
    ("words", "begins"), [(["help"], "usage: ttt COMMAND"), (["help", "data"], "usage: ttt data")]
)
def test_help_is_a_command_too(words, begins, capsys):
    assert ttt_main.main(words) == OK
    assert capsys.readouterr().out.startswith(begins)


@pytest.mark.parametrize("word", ["trian", "--all"])
def test_a_word_that_is_no_command(word, capsys):
    assert ttt_main.main([word]) == USAGE
    assert f"{word!r} is not a command; allowed: run," in capsys.readouterr().err
