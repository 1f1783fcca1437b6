"""What launchers' own words say of a process that had none: who died first, and of what."""

import json
import signal
from pathlib import Path

import pytest

from run_folders import died
from ttt import run_folder
from ttt.launch.job import explain, last_words
from ttt.report.read.find import find
from ttt.signals import Interrupted
from ttt.supervise import deaths, failure

# As torchrun 2.13 prints it when both ranks were gone at its next look: the survivor comes first,
# with the time of its error.
BOTH = """
E1123 18:02:31 661 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 5) \
local_rank: 0 (pid: 31976) of binary: python
ttt.worker FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-23_18:02:44
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 31977)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 31977
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-23_18:02:43
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 5 (pid: 31976)
  error_file: /tmp/error.json
  traceback : RuntimeError: Connection closed by peer
"""
SENT = "W1123 18:02:31 661 torch/x/api.py:1028] Sending process {} closing signal SIGTERM\n"

OPEN_MPI_KILLED = """
prterun noticed that process rank 3 with PID 24781 on node n7 exited on
signal 9 (Killed).
"""
OPEN_MPI_4_KILLED = """
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
mpirun noticed that process rank 3 with PID 0 on node n7 exited on signal 11 (Segmentation fault).
"""
OPEN_MPI_EXIT = """
thus causing the job to be terminated. The first process to do so was:

   Process name: [prterun-vm-25027@1,12]
   Exit code:    5
"""
OPEN_MPI_4_EXIT = OPEN_MPI_EXIT.replace("prterun-vm-25027@1", "[2252,1]")

# As srun 22.05 prints it; the shell above a process tells a signal as an exit code.
SRUN = """\
srun: error: n2: task 2: {}
srun: launch/slurm: _step_signal: Terminating StepId=4.0
slurmstepd-n1: error: *** STEP 4.0 ON n1 CANCELLED AT 2026-11-30T09:55:46 ***
srun: error: n2: task 3: Terminated
Terminated
srun: error: n1: tasks 0-1: Exited with exit code 143
srun: Force Terminated StepId=4.0
"""
SRUN_CANCELLED = """\
srun: Job step aborted: Waiting up to 5 seconds for job step to finish.
srun: error: n2: task 1: Terminated
slurmstepd-n1: error: *** STEP 6.0 ON n1 CANCELLED AT 2026-11-30T09:55:48 {}***
srun: error: n1: task 0: Terminated
"""


def table(*ranks: tuple[int, int], sent: tuple[int, ...] = ()) -> str:
    """What torchrun prints of ranks and their exit codes, of which it had ended some."""
    rows = [
        f"  time      : 2026-11-23_18:02:44\n  host      : n{rank}\n  rank      : {rank} (x)\n"
        f"  exitcode  : {code} (pid: 7{rank})\n"
        for rank, code in ranks
    ]
    return "".join(SENT.format(f"7{rank}") for rank in sent) + "".join(rows)


@pytest.mark.parametrize("told", [(), (0,)])
def test_the_killed_rank_is_named_whoever_comes_first_in_the_list(told: tuple[int, ...]):
    death = deaths.first(deaths.of_torchrun(BOTH, told, "here"))
    assert str(death).startswith("rank 1 on here was ended by SIGKILL (by a user")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (table((1, -15), (0, -9)), "rank 0 on n0 was ended by SIGKILL"),
        (table((1, -9), (0, -11), sent=(1,)), "rank 0 on n0 was ended by SIGSEGV"),
        (table((1, -11), (0, -9), sent=(0,)), "rank 1 on n1 was ended by SIGSEGV"),
        (table((0, -6), (1, -9)), "rank 1 on n1 was ended by SIGKILL"),
        (table((0, -6), (1, 1)), "rank 1 on n1 ended with exit code 1 and left no word"),
        (table((0, -9), (1, 7), sent=(0,)), "rank 1 on n1 ended with exit code 7"),
        (table((1, -15), (2, 1)), "rank 2 on n2 ended with exit code 1"),
        (table((1, -15), (2, -15), sent=(1,)), "rank 2 on n2 was ended by SIGTERM"),
        (table((0, -6), (1, -15)), "rank 1 on n1 was ended by SIGTERM"),
        (table((1, -40)), "rank 1 on n1 was ended by signal 40"),
    ],
)
def test_the_culprit_is_not_who_was_ended_for_it(log: str, said: str):
    assert str(deaths.first(deaths.of_torchrun(log))).startswith(said)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (OPEN_MPI_KILLED, "rank 3 on n7 was ended by SIGKILL"),
        (OPEN_MPI_4_KILLED, "rank 3 on n7 was ended by SIGSEGV"),
        (OPEN_MPI_EXIT, "rank 12 ended with exit code 5 and left no word"),
        (OPEN_MPI_4_EXIT, "rank 12 ended with exit code 5 and left no word"),
    ],
)
def test_what_mpirun_saw_becomes_a_sentence(log: str, said: str):
    assert str(deaths.first(deaths.of_mpirun(log))).startswith(said)
    assert deaths.of_mpirun(log, {3, 12}) == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("Killed", "rank 2 on n2 was ended by SIGKILL"),
        ("Segmentation fault (core dumped)", "rank 2 on n2 was ended by SIGSEGV"),
        ("Out Of Memory", "rank 2 on n2 was ended by SIGKILL"),
        ("Exited with exit code 137", "rank 2 on n2 was ended by SIGKILL"),
        ("Exited with exit code 3", "rank 2 on n2 ended with exit code 3"),
        ("Terminated", "rank 2 on n2 was ended by SIGTERM"),
    ],
)
def test_the_first_task_is_the_one_that_srun_did_not_end(tmp_path: Path, word: str, said: str):
    (tmp_path / run_folder.SRUN).write_text(SRUN.format(word))
    cause = deaths.cause(tmp_path)
    assert cause is not None
    assert cause.startswith(said)
    other = deaths.cause(tmp_path, [(2, "n2", "lost its peer")])
    assert other is not None
    assert "SIGTERM" in other


def test_of_agents_the_rank_is_named_and_else_the_agent(tmp_path: Path):
    (tmp_path / run_folder.SRUN).write_text(SRUN.format("Exited with exit code 1"))
    (tmp_path / "torchrun_0.log").write_text(table((0, 5)))
    (tmp_path / "torchrun_1.log").write_text(table((1, -9)))
    assert str(deaths.cause(tmp_path, [(0, "n0", "lost its peer")])).startswith(
        "rank 1 on n1 was ended by SIGKILL"
    )
    (tmp_path / "torchrun_1.log").write_text("")
    (tmp_path / run_folder.SRUN).write_text(SRUN.format("Killed"))
    assert str(deaths.cause(tmp_path, [(0, "n0", "lost its peer")])).startswith(
        "torchrun on n2 was ended by SIGKILL"
    )


@pytest.mark.parametrize(
    ("why", "said"),
    [("", "SLURM cancelled the job on n1"), ("DUE TO TIME LIMIT ", ": time limit")],
)
def test_a_job_that_was_cancelled_has_no_culprit(tmp_path: Path, why: str, said: str):
    (tmp_path / run_folder.SRUN).write_text(SRUN_CANCELLED.format(why))
    assert str(deaths.cause(tmp_path)).endswith(said)


# What torchrun and mpirun printed of two ranks of which rank 1 got SIGTERM or SIGINT from outside.
ASKED = """
W1130 19:20:17.040000 31210 torch/x/api.py:1028] Sending process 31223 closing signal SIGTERM
Failures:
[1]:
  time      : 2026-11-30_19:20:17
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : {} (pid: 31223)
  error_file: <N/A>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-30_19:20:17
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : {} (pid: 31224)
  error_file: <N/A>
"""
MPI_ASKED = OPEN_MPI_EXIT.replace("1,12]", "1,1]").replace("    5", "    {}")


def left(logs: Path, rank: int, error: BaseException) -> None:
    """Let a rank write a reason that is not primary."""
    word = failure.describe(rank, error, lost_peer=not isinstance(error, Interrupted))
    failure.write(failure.replace(word, host=f"n{rank}"), logs, by=rank)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("name", "log"),
    [
        (run_folder.TORCHRUN, ASKED.format(5, "{}")),
        (run_folder.TORCHRUN, ASKED.format(143, "{}")),
        (run_folder.TORCHRUN, ASKED.format(1, "{}")),
        (run_folder.MPIRUN, MPI_ASKED),
        (run_folder.SRUN, SRUN.replace("task 2: {}", "task 1: Exited with exit code {}")),
    ],
    ids=["torchrun", "torchrun-asks", "torchrun-asks-twice", "mpirun", "srun"],
)
def test_the_rank_that_a_signal_stopped_first_is_named(
    tmp_path: Path, name: str, log: str, number: signal.Signals
):
    folder = died(tmp_path / "launch", 4, "")
    logs = folder / "logs"
    logs.mkdir()
    (logs / name).write_text(log.replace("{}", str(128 + number)))
    if "exitcode  : 143 (pid: 31223)" in log:
        left(logs, 0, Interrupted(signal.SIGTERM))
    elif "exitcode  : 1 " not in log:  # there it is asked again before it can write
        left(logs, 0, ConnectionError("connection closed by peer"))
    left(logs, 1, Interrupted(number))
    said = f"rank 1 on n1 was stopped by {number.name}"
    assert find([folder]).runs[0].reason == said
    error = explain(folder, "the launcher failed: =====")
    assert str(error) == f"{said}\nlogs: {logs}"
    assert error.exit_code == 5


def test_a_rank_is_not_named_where_its_launcher_was_stopped(tmp_path: Path):
    """All ranks are stopped then, and the launcher says so or names none."""
    folder = died(tmp_path / "launch", 4, "")
    logs = folder / "logs"
    logs.mkdir()
    left(logs, 0, Interrupted(signal.SIGTERM))
    left(logs, 1, Interrupted(signal.SIGTERM))
    (logs / run_folder.TORCHRUN).write_text("SignalException: Process 17462 got signal: 15")
    assert str(explain(folder, "torchrun failed")).startswith("torchrun failed\n")
    (logs / run_folder.TORCHRUN).write_text(table((0, 143), (1, 143), sent=(0, 1)))
    assert str(explain(folder, "torchrun failed")).startswith("torchrun failed\n")
    (logs / run_folder.TORCHRUN).unlink()
    (logs / run_folder.SRUN).write_text(SRUN_CANCELLED.format("DUE TO TIME LIMIT "))
    assert str(explain(folder, "")).startswith("SLURM cancelled the job on n1: time limit\n")


def test_a_launcher_that_names_no_rank_has_its_last_line_first(tmp_path: Path):
    log = tmp_path / run_folder.TORCHRUN
    assert " with exit code 2 and left no word" in last_words("torchrun", log, 2)
    log.write_text("\n  \n")
    assert " with exit code 2 and left no word" in last_words("torchrun", log, 2)
    log.write_text("usage: torchrun\nno such option: --surprise\n\n")
    said = last_words("torchrun", log, 2)
    assert said == "torchrun failed: no such option: --surprise\nusage: torchrun"
    assert "torchrun on " in last_words("torchrun", log, -9)


def test_a_report_says_what_the_launcher_knew(tmp_path: Path):
    folder = died(tmp_path / "launch", 4, "")
    (folder / "logs").mkdir(exist_ok=True)
    error = explain(folder, "rank 1 on here was ended by SIGKILL")
    assert "SIGKILL" in str(error)
    [run] = find([folder]).runs
    assert (run.status, run.reason) == ("died", "rank 1 on here was ended by SIGKILL")
    failure.write(failure.hang(0, "there", "x.png cannot be read"), folder / "logs", by=0)
    assert find([folder]).runs[0].reason == "rank 1 on here was ended by SIGKILL"  # came first
    (folder / "logs" / "launcher.failure.json").unlink()
    assert find([folder]).runs[0].reason == "rank 0 on there: x.png cannot be read"
    (folder / "logs" / "rank_0.failure.json").write_text("[")
    assert "no events" in str(find([folder]).runs[0].reason)


def test_a_report_reads_the_launchers_logs_where_nobody_waited(tmp_path: Path):
    folder = died(tmp_path / "launch", 4, "")
    logs = folder / "logs"
    logs.mkdir()
    (logs / run_folder.SRUN).write_text(SRUN.format("Killed"))
    reason = find([folder]).runs[0].reason
    assert str(reason).startswith("rank 2 on n2 was ended by SIGKILL")
    # The others lost it, or were told to stop: they are not the cause.
    lost = failure.describe(0, ConnectionError("connection closed by peer"), lost_peer=True)
    failure.write(lost, logs, by=0)
    assert find([folder]).runs[0].reason == reason
    # What a rank could say on a full disk stands in its reserve.
    full = failure.hang(1, "there", "events.jsonl cannot be written")
    (logs / "rank_1.reserved").write_text(json.dumps(failure.asdict(full)) + " " * 100)
    assert find([folder]).runs[0].reason == "rank 1 on there: events.jsonl cannot be written"
    failure.forget(logs)
    assert list(logs.glob("*.failure.json")) == []


def test_a_run_that_missed_its_target_has_no_culprit(tmp_path: Path):
    """Every rank ends with 3 then, which torchrun calls a failure."""
    folder = died(tmp_path / "launch", 4, "")
    (folder / "summary.json").write_text('{"status": "aborted", "reason": "target.max_epochs=8"}')
    (folder / "logs").mkdir()
    (folder / "logs" / run_folder.TORCHRUN).write_text(table((0, 3), (1, 3)))
    assert find([folder]).runs[0].reason == "target.max_epochs=8"
