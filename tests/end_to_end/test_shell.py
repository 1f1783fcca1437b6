"""What shells and people do around a run: readers that leave, closed outputs, odd folders."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from ground import Command, command, environment
from processes import EASY, TINY
from run_folders import finished
from ttt import signals, streams
from ttt.__main__ import main
from ttt.doctor import __main__ as doctor
from ttt.errors import BROKEN_PIPE
from ttt.events import Event, EventLog, Kind
from ttt.launch.process import worker_environment
from ttt.terminal import Terminal

SMALL = ["target.max_epochs=1", *EASY]


def statuses(root: Path) -> list[str]:
    return [json.loads(file.read_text())["status"] for file in root.glob("*/*/*/summary.json")]


def test_a_run_outlives_its_reader_and_a_file_called_like_a_module(tmp_path: Path, digits: Path):
    """`| head -1` in a folder where somebody keeps a profile.py, which torch imports."""
    (tmp_path / "profile.py").write_text("raise SystemExit('profile.py was run')\n")
    typed = ["run", "launcher=torchrun", "launcher.procs=2", f"data.root={digits}", *SMALL]
    with subprocess.Popen(
        command(*typed),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "page cache" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(120) == 0
        assert process.stderr is not None
        assert "profile.py was run" not in (told := process.stderr.read())
        assert "the run is in runs/digits/" in told
    assert statuses(tmp_path / "runs") == ["success"]
    [events] = (tmp_path / "runs").glob("*/*/*/events.jsonl")
    assert "Console stopped: [Errno 32] Broken pipe" in events.read_text()


def test_folders_are_shown_as_they_are_and_quoted_for_the_shell(
    ttt: Command, tmp_path: Path, digits: Path
):
    done = ttt("run", 'run_root="[lab]/x[/lab] y"', f"data.root={digits}", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "next:  ttt report '[lab]/x[/lab] y/digits/" in done.stdout
    assert "run folder        [lab]/x[/lab] y/digits/" in done.stdout
    assert statuses(tmp_path / "[lab]" / "x[/lab] y") == ["success"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "</dev/null >&- 2>&-"])
def test_closed_outputs_are_no_reason_to_fail(closed: str, tmp_path: Path):
    typed = " ".join([*command("--version"), closed])
    done = subprocess.run(["sh", "-c", typed], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path):
    typed = " ".join([*command("--version"), ">/dev/full"])
    done = subprocess.run(
        ["sh", "-c", typed],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "ttt: the output cannot be written: No space left on device\n"


def test_an_ascii_terminal_gets_signs_in_other_words(tmp_path: Path):
    code = "from ttt import streams; streams.prepare(); print('\\xb1 \\u2192')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "\\xb1 \\u2192\n")


def test_no_text_is_markup():
    shown = StringIO()
    Terminal(file=shown, width=200).print("[/x] [bold]a[/bold] :smile:")
    assert shown.getvalue() == "[/x] [bold]a[/bold] :smile:\n"


class Failing(StringIO):
    """A stream that fails as the system says."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize(
    ("number", "raised"),
    [(errno.EPIPE, BrokenPipeError), (errno.ENOSPC, streams.UnwritableError)],
)
def test_a_terminal_that_fails_raises_and_does_not_exit(number: int, raised: type[Exception]):
    with pytest.raises(raised):
        Terminal(file=Failing(number)).print("x")


@pytest.mark.parametrize(
    ("number", "done", "ended"),
    [(errno.EPIPE, 0, 141), (errno.ENOSPC, 0, 1), (errno.EPIPE, 4, 4), (errno.ENOSPC, 4, 4)],
)
def test_a_stream_that_fails_is_silent_and_told_at_the_end(number, done, ended, monkeypatch):
    shown = StringIO()
    monkeypatch.setattr(sys, "stdout", Failing(number))
    monkeypatch.setattr(sys, "stderr", shown)
    streams.prepare()
    streams.prepare()
    print("x")
    handler = logging.StreamHandler(sys.stdout)
    handler.emit(logging.LogRecord("x", 0, "x", 0, "x", (), None))
    Terminal().print("x")
    assert streams.close(done) == ended
    told = f"ttt: the output cannot be written: {os.strerror(number)}\n"
    assert shown.getvalue() == ("" if number == errno.EPIPE else told)
    streams.forgive()
    assert streams.close(0) == 0


def test_every_form_is_written_whoever_reads_the_screen(tmp_path: Path, monkeypatch):
    for module in ("matplotlib", "jinja2"):
        pytest.importorskip(module)
    finished(tmp_path / "launch" / "one", 1, world_size=1, time_to_train_s=18.0)
    finished(tmp_path / "launch" / "two", 1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", Failing(errno.EPIPE))
    forms = ["--json", "o.json", "--csv", "o.csv", "--html", "o.html", "--figures", "figures"]
    assert main(["report", "launch", *forms]) == BROKEN_PIPE
    assert (tmp_path / "o.html").read_text().rstrip().endswith("</html>")
    assert json.loads((tmp_path / "o.json").read_text())["results"]
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 3
    assert list((tmp_path / "figures").iterdir())


def test_a_doctor_ends_as_other_commands_do(monkeypatch):
    monkeypatch.setattr(doctor.signals, "install", lambda: None)
    monkeypatch.setattr(sys, "stdout", Failing(errno.EPIPE))
    monkeypatch.setattr(doctor, "consult", lambda text, place: print("x") or 5)
    assert doctor.main(["-"]) == 5
    monkeypatch.setattr(doctor, "consult", lambda text, place: print("x") or 0)
    assert doctor.main(["-"]) == BROKEN_PIPE


def test_a_display_that_fails_is_dropped_and_the_record_goes_on(caplog):
    kept: list[Event] = []

    class Record:
        def write(self, event: Event) -> None:
            kept.append(event)

        def close(self) -> None:
            pass

    class Display(Record):
        def write(self, event: Event) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    log = EventLog(lambda: 1.0, [Record(), Display()])
    log.emit(Kind.INIT_START)
    log.emit(Kind.RUN_START)
    assert [event.kind for event in kept] == [Kind.INIT_START, Kind.WARNING, Kind.RUN_START]
    assert kept[1].data["message"] == "Display stopped: [Errno 32] Broken pipe"
    assert caplog.records == []  # a sentence, no traceback


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["run_root=file"], "run_root=file cannot be written: Not a directory"),
        (["run_root=/proc/runs"], "run_root=/proc/runs cannot be written: No such file"),
        (["data.root=/proc/digits"], "data.root=/proc/digits cannot be written: No such file"),
    ],
)
def test_a_place_that_cannot_be_written_is_a_sentence(
    ttt: Command, tmp_path: Path, digits: Path, asked: list[str], said: str
):
    (tmp_path / "file").touch()
    done = ttt("run", f"data.root={digits}", *asked)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("preparing")]
    assert len(told) == 1
    assert told[0].startswith(f"ttt: {said}")


def test_a_home_in_a_file_is_the_users(ttt: Command, tmp_path: Path, digits: Path):
    asked = ["run", "launcher=slurm", "launcher.dry_run=true", 'run_root="~/here"']
    done = ttt(*asked, f"data.root={digits}", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["here"]


def test_signals_ignored_at_the_start_stay_ignored():
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from ttt import signals; signals.install()\n"
        "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,"
        " signal.getsignal(signal.SIGTERM) is signals.interrupt)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "True True\n"
    assert signals.SIGNALS[2].name == "SIGHUP"


def test_workers_do_not_look_in_the_current_folder_first(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    given = worker_environment(2)
    assert given["PYTHONSAFEPATH"] == "1"
    assert "PYTHONPATH" not in given


def test_a_run_leaves_nothing_behind_and_makes_room_when_asked(tmp_path: Path, digits: Path):
    """SIGUSR1 to `ttt run` itself goes on to the workers; temporary files go with the run."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    typed = ["run", "launcher=torchrun", "launcher.procs=2", f"data.root={digits}"]
    typed += [*TINY, "target.threshold=1.0", "target.max_epochs=100000"]
    with subprocess.Popen(
        command(*typed),
        cwd=tmp_path,
        env=environment(TMPDIR=str(scratch)),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        process.send_signal(signal.SIGUSR1)
        rest = process.stdout.read()
        assert process.wait(60) == 75
    assert "SIGUSR1 asked for room; checkpoint of" in rest
    assert list(scratch.iterdir()) == []
