import os
import subprocess

import pytest

import ttt.__main__ as ttt_main
from conftest import command, environment
from ttt.errors import BROKEN_PIPE, OK, USAGE


@pytest.mark.parametrize("words", [["run", "--help"], ["--help"]])
def test_a_reader_that_has_seen_enough_gets_no_traceback(words):
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does, before anything is written
    done = subprocess.run(
        command(*words),
        check=False,
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(PYTHONUNBUFFERED=""),  # as for most: little is written before the end
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


def test_commands_are_listed(capsys):
    assert ttt_main.main([]) == OK
    listed = capsys.readouterr().out
    assert all(name in listed for name in ttt_main.COMMANDS)


@pytest.mark.parametrize("word", ["trian", "--all"])
def test_a_word_that_is_no_command(word, capsys):
    assert ttt_main.main([word]) == USAGE
    assert f"{word!r} is not a command; allowed: run," in capsys.readouterr().err
