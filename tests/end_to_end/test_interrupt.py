"""Ctrl-C is over soon at any moment and leaves nothing: no process, traceback, temporary file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ground import HUNG, command, environment
from processes import ENDLESS, end_all, events, workers

# Seconds; two on a machine that does nothing else, and 20 where Ctrl-C waits as long as SIGTERM.
SOON = 15.0

STUCK = """
import hashlib, threading
from ttt import signals
signals._GRACE_SECONDS = 1000  # what SIGTERM has
signals.install(lambda number: print("last words", number, flush=True))
threading.Timer(1, lambda: print("ready", flush=True)).start()
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # a library that does not come back
"""
FINALIZER = """
import os, signal, time
from ttt import signals
class Asked:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(10**5))
asked = [Asked()]
try:
    with signals.raising():
        asked.clear()
        time.sleep(100)
except signals.Interrupted as interrupted:
    print("raised", interrupted)
"""
LOADING = """
import time
from ttt import signals
signals.begin()
print("ready", flush=True)
time.sleep(20)
"""
LEAVING = """
import tempfile
from ttt import scratch
scratch.take()
tempfile.mkstemp()  # as libraries do, which remove it when Python ends
"""
LOST = """
import os, signal, sys, time, types
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from ttt.__main__ import main
from ttt.cli import check, overrides
def asked():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
compose = ConfigLoaderImpl.load_configuration
def broken(*words, **named):
    ConfigLoaderImpl.load_configuration = compose
    try:
        asked()
    finally:
        None._invalidate_flags_cache
def swallowed(words):
    try:
        asked()
    except BaseException:
        return 0
overrides.diagnose = lambda *_: sys.exit("diagnosed")
ConfigLoaderImpl.load_configuration = broken
"""
EXEC = """
import os, signal, sys
from ttt import signals
signals.remember_preemption()
signal.raise_signal(signal.SIGUSR1)
signals.hold_preemption()
heard = "from ttt import signals; signals.begin(); print(signals.preemption_requested().name)"
os.execv(sys.executable, [sys.executable, "-c", heard])
"""


def script(text: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    """Exit code, what it said, and seconds, of a process that is interrupted once it is ready."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=HUNG)
    return process.returncode, out, errors, time.monotonic() - began


def test_a_process_stuck_in_a_library_says_its_last_words_and_ends(tmp_path: Path):
    code, out, errors, seconds = stopped(script(LEAVING + STUCK, TMPDIR=str(tmp_path)))
    assert (code, out, errors) == (130, "last words 2\n", "")
    assert seconds < SOON
    assert list(tmp_path.iterdir()) == []


def test_while_libraries_load_it_ends_at_once():
    code, out, errors, _ = stopped(script(LOADING))
    assert (code, out, errors) == (-signal.SIGINT, "", "")


def test_an_exception_that_python_drops_is_raised_again():
    out, errors = script(FINALIZER).communicate(timeout=HUNG)
    assert (out, errors) == ("raised stopped by SIGINT\n", "")


@pytest.mark.parametrize(
    "words",
    [
        "['run', 'target.max_epochs=1']",
        "['doctor', 'target.max_epochs=1']",
        "['check', '.']; check.main = broken",
        "['check', '.']; check.main = swallowed",
    ],
)
def test_a_stop_that_a_library_loses_is_what_ends_it(words: str):
    """OmegaConf did: what it restores on the way out was not there yet."""
    process = script(f"{LOST}\nwords = {words}\nsys.exit(main(words))")
    out, errors = process.communicate(timeout=HUNG)
    assert (process.returncode, out, errors) == (143, "", "ttt: stopped by SIGTERM\n")


@pytest.mark.parametrize("end", ["scratch.end(3)", "raise SystemExit(3)"])
def test_temporary_files_go_with_a_process(tmp_path: Path, end: str):
    process = script(LEAVING + end, TMPDIR=str(tmp_path))
    assert process.communicate(timeout=HUNG) == ("", "")
    assert process.returncode == 3
    assert list(tmp_path.iterdir()) == []


def test_a_wish_for_room_survives_an_exec():
    out, errors = script(EXEC).communicate(timeout=HUNG)
    assert (out, errors) == ("SIGUSR1\n", "")


def typed(tmp_path: Path, digits: Path, *arguments: str) -> subprocess.Popen[str]:
    """`ttt run`, in a group of its own, as a shell starts it, with a TMPDIR of its own."""
    (tmp_path / "tmp").mkdir()
    return subprocess.Popen(
        command("run", f"run_root={tmp_path}/runs", f"data.root={digits}", *ENDLESS, *arguments),
        env=environment(TMPDIR=str(tmp_path / "tmp")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def until_loading(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    """Wait for a worker, which begins with importing torch."""
    deadline = time.monotonic() + HUNG
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for worker in workers(tmp_path):
            if [word for word in worker.info["cmdline"] if word != "-u"][1:3] == [
                "-m",
                "ttt.worker",
            ]:
                return
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def left(tmp_path: Path) -> list[str]:
    """What lies in its TMPDIR."""
    return [each.name for each in (tmp_path / "tmp").iterdir()]


@pytest.mark.parametrize("launcher", ["local", "torchrun", "mpi"])
def test_ctrl_c_while_workers_load(tmp_path: Path, digits: Path, launcher: str):
    process = typed(tmp_path, digits, f"launcher={launcher}")
    until_loading(tmp_path, process)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, errors = process.communicate(timeout=HUNG)
    seconds = time.monotonic() - began
    assert (process.returncode, out, errors) == (130, "", "ttt: stopped by SIGINT\n")
    assert seconds < SOON
    assert left(tmp_path) == []
    assert end_all(tmp_path) == []


@pytest.mark.parametrize("launcher", ["local", "mpi"])
def test_a_wish_for_room_waits_until_a_worker_can_answer(
    tmp_path: Path, digits: Path, launcher: str
):
    process = typed(tmp_path, digits, f"launcher={launcher}", "runs=2")
    until_loading(tmp_path, process)
    process.send_signal(signal.SIGUSR1)
    out, errors = process.communicate(timeout=HUNG)
    assert process.returncode == 75, out + errors
    [run] = [record.parent for record in tmp_path.glob("runs/*/*/*/events.jsonl")]
    [event] = events(run, "suspended")  # and no other run has begun
    assert "SIGUSR1" in str(event["data"])
    assert "Traceback" not in out + errors
    lines = out.splitlines()
    [line] = [line for line in lines if line.startswith("next:")]
    assert line.endswith(f"python -m ttt.worker {run}")
    assert ("mpirun" in line) == (launcher == "mpi")
    assert lines[lines.index(line) + 1].split()[:2] == ["ttt", "report"]
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["check", "report", "package"])
def test_other_commands_remove_their_temporary_files(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    """SIGTERM is an exception in every command: what cleans up behind itself does."""
    text = f"""
import os, signal, sys, tempfile, time, types
from ttt.__main__ import main
def command(words):
    with tempfile.TemporaryDirectory(prefix="ttt-"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
sys.modules["ttt.cli.{name}"] = types.SimpleNamespace(main=command)
sys.exit(main(["{name}"]))
"""
    process = script(text, TMPDIR=str(tmp_path))
    _, errors = process.communicate(timeout=HUNG)
    assert (process.returncode, errors) == (143, "ttt: stopped by SIGTERM\n")
    assert list(tmp_path.iterdir()) == []
