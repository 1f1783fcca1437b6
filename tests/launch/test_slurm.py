"""The batch script: its text, what bash makes of it, and what a user can get wrong. No cluster.

After a change to slurm/job.sbatch or to its rendering, write the golden files anew and read the
difference: PYTHONPATH=.:tests/support python tests/launch/test_slurm.py
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest

from ground import PROJECT, Command
from ttt import config
from ttt.cli.run import problems
from ttt.errors import LaunchError
from ttt.launch import sbatch, slurm, slurm_job
from ttt.launch.job import Job
from ttt.report.read.find import find
from ttt.schema.launcher import Mode, SlurmConfig, limit_seconds
from ttt.supervise import deaths

GOLDEN = PROJECT / "tests" / "golden"
LAUNCH = Path("/scratch/ada/runs/digits/2026-01-31_12-00-00_c0de")

EVERYTHING = [
    *("launcher.nodes=4", "launcher.gpus_per_node=8", "launcher.mode=agent", "launcher.array=true"),
    *("launcher.partition=h100", "launcher.account=mlperf", "launcher.qos=high"),
    *("launcher.time=1-12:30", "launcher.constraint='nvlink&ib'", "launcher.exclusive=true"),
    *("launcher.cpus_per_task=12", "launcher.mem=0", "launcher.requeue=false"),
    *("launcher.signal=USR2", "launcher.signal_seconds=300"),
    "launcher.lines=['--mail-type=END','--comment=\"time to train\"']",
    "launcher.setup=[module load cuda/12.8,'export NCCL_DEBUG=WARN']",
    "launcher.container_image='nvcr.io#nvidia/pytorch:25.01-py3'",
    "launcher.container_mounts=['/data:/data:ro']",
    "launcher.srun=['--network=sn_all']",
]
CASES = {
    "digits.sbatch": [
        "launcher.nodes=2",
        "launcher.procs=2",
        "runs=2",
        "launcher.python=/ttt/bin/python",
    ],
    "everything.sbatch": EVERYTHING,
}


def rendered(name: str) -> str:
    config.register()
    run = config.resolve(config.compose(["launcher=slurm", *CASES[name]]))
    job = Job(tuple(LAUNCH / f"seed_{seed}" for seed in range(1, run.runs + 1)), "digits")
    asked = {key: value for key, value in vars(run.launcher).items() if key != "_target_"}
    given = SlurmConfig(**asked)
    return sbatch.render(sbatch.template(), given, job, slurm.interpreter(given))


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_the_golden_one(name: str):
    assert rendered(name) == (GOLDEN / name).read_text()


def test_shellcheck_has_nothing_to_say():
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here: apt-get install shellcheck")
    scripts = [*PROJECT.glob("slurm/*.s*"), *GOLDEN.glob("*.sbatch"), *PROJECT.glob("launch/*.sh")]
    scripts += [*PROJECT.glob("ttt/cli/shells/*.bash"), *PROJECT.glob("bench/*.sh")]
    assert len(scripts) >= 4
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_dry_run_prints_the_script_and_nothing_else(ttt: Command, tmp_path: Path, digits: Path):
    root = tmp_path / "it's here, 100%"
    asked = ["launcher=slurm", "launcher.dry_run=true", f"data.root={digits}", "seed=3"]
    done = ttt("run", *asked, f'run_root="{root}"', PATH=os.defpath)
    assert done.returncode == 0, done.stderr
    [folder] = root.glob("digits/*/seed_3")  # frozen: the printed script can be submitted
    job = Job((folder,), "digits")
    asked_for = SlurmConfig(dry_run=True)
    assert done.stdout == sbatch.render(sbatch.template(), asked_for, job, sys.executable)
    assert done.stderr == ""
    assert (folder / "config.yaml").is_file()
    assert not (folder.parent / "job.sbatch").exists()
    assert [run.status for run in find([folder]).runs] == ["not started"]


TIMES = {
    "90": 5400,
    "0": 0,
    "1:30": 90,
    "1:30:00": 5400,
    "2-0": 172800,
    "1-12:30": 131400,
    "1-00:00:05": 86405,
    "1h": None,
    "1:2:3:4": None,
    "": None,
}


@pytest.mark.parametrize(("time", "seconds"), TIMES.items())
def test_time_limits_are_read_as_sbatch_reads_them(time: str, seconds: int | None):
    assert limit_seconds(time) == seconds


def test_processes_are_those_asked_for_or_one_a_gpu_or_two():
    assert sbatch.processes_per_node(SlurmConfig()) == 2
    assert sbatch.processes_per_node(SlurmConfig(gpus_per_node="8")) == 8
    assert sbatch.processes_per_node(SlurmConfig(gpus_per_node="8", procs=4)) == 4
    assert sbatch.processes_per_node(SlurmConfig(gpus_per_node="a100:4")) == 4


MISTAKES = [
    ("nodes=0", "launcher.nodes=0 is not allowed"),
    ("procs=0", "launcher.procs=0 is not allowed"),
    ("gpus_per_node=0", "launcher.gpus_per_node=0 is not allowed"),
    ("gpus_per_node=a100", "launcher.gpus_per_node=a100 is not allowed"),
    ("cpus_per_task=0", "launcher.cpus_per_task=0 is not allowed"),
    ("time=tomorrow", "launcher.time=tomorrow is not a time; allowed: MINUTES, "),
    ("time=3", "launcher.time=3 is 180 s, and launcher.signal_seconds=120"),
    ("mem=lots", "launcher.mem=lots is not a size"),
    ("signal=TERM", "launcher.signal=TERM is not one that a process answers to"),
    ("lines=['mail-type=END']", "'mail-type=END' is not an option of sbatch"),
    ("container_mounts=['/data:/data']", "no effect without launcher.container_image=IMAGE"),
]


@pytest.mark.parametrize(("override", "said"), MISTAKES)
def test_an_impossible_setting_is_one_problem(override: str, said: str):
    config.register()
    asked = ["launcher=slurm", "launcher.dry_run=true", f"launcher.{override}"]
    [found] = problems(config.resolve(config.compose(asked)))
    assert said in found


def test_gpus_limit_processes_unless_they_train_on_cpus():
    config.register()
    asked = ["launcher=slurm", "launcher.dry_run=true", "launcher.gpus_per_node=2"]
    asked.append("launcher.procs=4")
    [found] = problems(config.resolve(config.compose(asked)))
    assert "launcher.procs=4 is more than launcher.gpus_per_node=2; launcher.procs=2" in found
    assert problems(config.resolve(config.compose([*asked, "device=cpu"]))) == []


def test_what_is_missing_here_may_be_there():
    config.register()
    asked = ["launcher=slurm", "launcher.dry_run=true", "device=cuda"]
    asked += ["data.prepare=null", "data.root=/only/on/the/nodes"]
    assert problems(config.resolve(config.compose(asked))) == []


def test_a_mode_that_is_none_is_refused_with_those_that_are(ttt: Command):
    done = ttt("run", "launcher=slurm", "launcher.mode=tasks", "launcher.dry_run=true")
    assert done.returncode == 2
    assert "launcher.mode=tasks is not allowed; allowed: task, agent" in done.stderr


def test_without_sbatch_nothing_is_made(ttt: Command, tmp_path: Path):
    done = ttt("run", "launcher=slurm", PATH=str(tmp_path))
    assert done.returncode == 2
    assert "sbatch is not on the PATH of " in done.stderr
    assert "launcher.dry_run=true" in done.stderr
    assert list(tmp_path.iterdir()) == []


def executable(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"partition": "gpu"}, "gpu is not a partition here; allowed: debug, long"),
        ({"partition": "long,gpu"}, "gpu is not a partition here"),
        ({"nodes": 5}, "launcher.nodes=5 is more than the 4 nodes of partition debug"),
        ({"nodes": 9, "partition": "debug,long"}, "launcher.nodes=8"),
        ({"time": "11"}, "launcher.time=11 is more than partition debug allows, 10:00"),
    ],
)
def test_what_the_cluster_does_not_have_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict, said: str
):
    executable(tmp_path, "sbatch", "exit 1")
    executable(tmp_path, "sinfo", "echo 'debug* 4 10:00'; echo 'long 8 infinite'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    [found] = slurm.cluster_problems(SlurmConfig(**asked))
    assert said in found
    assert slurm.cluster_problems(SlurmConfig(nodes=4, time="10")) == []
    assert slurm.cluster_problems(SlurmConfig(time="7-0", partition="debug,long")) == []
    executable(tmp_path, "sinfo", "echo 'sinfo: error: Unable to contact' >&2; exit 1")
    assert slurm.cluster_problems(SlurmConfig(**asked)) == []  # sbatch will say so


NO_CLUSTER = """\
sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
sbatch: error: fetch_config: DNS SRV lookup failed
sbatch: fatal: Could not establish a configuration source
"""
DOWN = "Batch job submission failed: Unable to contact slurm controller (connect failure)"
MUNGE = "If munged is up, restart with --num-threads=10\nMunge encode failed: Failed to access\n"


@pytest.mark.parametrize(
    ("told", "why", "typed"),
    [
        (NO_CLUSTER, "no cluster: SLURM finds no slurm.conf", "on a login node of the cluster"),
        (f"sbatch: error: {DOWN}", "(slurmctld) does not answer", "`scontrol ping`"),
        (MUNGE, "munged does not answer on this machine", "start munge"),
    ],
)
def test_where_there_is_no_cluster_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, why: str, typed: str
):
    (tmp_path / "told").write_text(told)
    executable(tmp_path, "sbatch", f"cat {tmp_path}/told >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    (tmp_path / "launch").mkdir()
    with pytest.raises(LaunchError) as error:
        slurm.submit(tmp_path / "launch")
    [line] = str(error.value).splitlines()
    assert why in line
    assert typed in line
    assert "launcher=torchrun" in line
    assert not (tmp_path / "launch").exists()
    assert slurm_job.refused("sbatch: error: Invalid account") == "sbatch: error: Invalid account"


SHOWN = """\
JobId=12 JobName=ttt-digits UserId=ada(1000) JobState=PENDING Reason=Resources Requeue=1 \
Restarts=1 BatchFlag=1 ExitCode=0:0 NodeList=(null) NumNodes=2 Command=/a b/job.sbatch
JobId=13 ArrayJobId=12 ArrayTaskId=0 JobState=RUNNING Reason=None Requeue=1 Restarts=0 \
ExitCode=0:0 NodeList=n[1-2] BatchHost=n1 NumNodes=2
JobId=14 ArrayJobId=12 ArrayTaskId=1 JobState=RUNNING Reason=None Requeue=1 Restarts=0 \
ExitCode=0:0 NodeList=n[1-2] BatchHost=n1 NumNodes=2
"""


def test_what_slurm_says_of_a_job_is_read():
    states = slurm_job.parse(SHOWN)
    said = slurm_job.described(states)
    assert said == "pending (Resources), requeued 1 x, 2 x running on n[1-2]"
    assert not slurm_job.ended(states)
    assert slurm_job.ended(slurm_job.parse(SHOWN.replace("PENDING", "CANCELLED"))[:1])
    assert slurm_job.parse("") == []


def test_a_log_is_shown_line_by_line_as_it_grows(tmp_path: Path):
    out = BytesIO()
    log = slurm_job.Log(tmp_path, "slurm-7.out", out)
    log.show()
    (tmp_path / "slurm-7.out").write_bytes(b"one\ntw")
    log.show()
    assert out.getvalue() == b"one\n"
    (tmp_path / "slurm-7.out").write_bytes(b"one\ntwo\nthree")
    log.show()
    log.show(to_the_end=True)
    log.show(to_the_end=True)
    assert out.getvalue() == b"one\ntwo\nthree"


def test_lines_of_an_array_say_whose_they_are(tmp_path: Path):
    out = BytesIO()
    for task in (0, 1):
        (tmp_path / f"slurm-7_{task}.out").write_text("a\nb\n")
    slurm_job.Log(tmp_path, "slurm-7_*.out", out).show()
    assert out.getvalue() == b"0: a\n0: b\n1: a\n1: b\n"


class Bash:
    """The script, run by bash where srun and scontrol only note what they are asked for.

    A run does what its `act` says, with its folder as $run.
    """

    SRUN = """
        echo "srun $*" >>"$CALLS"
        if [[ ${@: -1} == true ]]; then exit "${DEAD:-0}"; fi
        echo "requeue ${TTT_REQUEUE:-no}" >>"$CALLS"
        [[ $MASTER_PORT =~ ^[23][0-9]{4}$ ]] || exit 99
        echo "meet at $MASTER_ADDR" >>"$CALLS"
        run=${@: -1}
        if [[ -d $run ]]; then echo "$TTT_KEY" >>"$CALLS.keys"; . "$run/act"; fi
    """
    SCONTROL = """
        case $* in
            "show hostnames n[1-2]") printf 'n1\\nn2\\n' ;;
            "show node n1") printf 'NodeName=n1 Arch=x86_64\\n   NodeAddr=127.0.0.1 Port=6818\\n' ;;
            "show job 12") echo "  EligibleTime=now PreemptTime=${PREEMPTED:-None}" ;;
            requeue*) echo "scontrol $*" >>"$CALLS" ;;
        esac
    """
    SUCCESS = """echo '{"status": "success"}' >"$run/summary.json" """
    ABORTED = """echo '{"status": "aborted"}' >"$run/summary.json"; exit 3"""
    SUSPENDED = """touch "$run/suspended"; exit 75"""
    STOPPED = """echo stopped by SIGTERM >"$run/suspended"; exit 143"""
    LOST = """echo another process is gone >"$run/suspended"; exit 5"""
    DEFECT = f"""echo '{{"primary": true}}' >"$run/logs/rank_1.failure.json"; {LOST}"""
    BROKEN = f"""touch "$run/logs/rank_1.failure.json"; {ABORTED[:-1]}2"""
    KILLED = "exit 137"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.touch()
        executable(folder / "bin", "srun", self.SRUN)
        executable(folder / "bin", "scontrol", self.SCONTROL)

    def __call__(
        self, *acts: str, asked: SlurmConfig | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the script of a job whose runs do this."""
        runs = tuple(self.folder / f"seed_{number}" for number, _ in enumerate(acts))
        for run, act in zip(runs, acts, strict=True):
            (run / "logs").mkdir(parents=True, exist_ok=True)
            (run / "act").write_text(act)
        asked = asked or SlurmConfig(nodes=2)
        script = sbatch.render(sbatch.template(), asked, Job(runs, "digits"), "/py thon")
        return self.run(script, **variables)

    def run(
        self, script: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "job.sbatch").write_text(script)
        given = {
            "PATH": f"{self.folder / 'bin'}:{os.defpath}",
            "CALLS": str(self.calls),
            "SLURM_JOB_ID": "12",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_NTASKS": "4",
            "SLURM_CPUS_ON_NODE": "8",
        }
        command = ["bash", str(self.folder / "job.sbatch"), *arguments]
        return subprocess.run(
            command, env=given | variables, capture_output=True, text=True, check=False
        )

    def started(self) -> list[str]:
        """What each srun was asked to start, behind its own options."""
        lines = self.calls.read_text().splitlines()
        return [line.partition(" exit $code ")[2] for line in lines if " exit $code " in line]


@pytest.fixture
def bash(tmp_path: Path) -> Bash:
    return Bash(tmp_path)


def test_runs_follow_one_another_and_a_missed_target_is_no_failure(bash: Bash):
    done = bash(Bash.SUCCESS, Bash.ABORTED, Bash.SUCCESS)
    assert done.returncode == 3
    assert done.stderr == ""
    first, _, third = bash.started()
    assert first == f"USR1 /py thon -m ttt.worker {bash.folder}/seed_0"
    assert third.endswith("seed_2")
    said = bash.calls.read_text()
    assert said.count("meet at 127.0.0.1") == 3
    assert "--nodes=2 --ntasks=4 --ntasks-per-node=2 --kill-on-bad-exit=1" in said
    assert "--cpus-per-task" not in said
    assert bash(Bash.SUCCESS).returncode == 0


def test_a_finished_run_is_not_run_again(bash: Bash):
    (bash.folder / "seed_0").mkdir()
    (bash.folder / "seed_0" / "summary.json").write_text('{"status": "aborted"}')
    assert bash(Bash.SUCCESS, Bash.SUCCESS).returncode == 3  # it did not reach its target
    assert [words.split("/")[-1] for words in bash.started()] == ["seed_1"]


@pytest.mark.parametrize(
    ("act", "code"), [(Bash.BROKEN, 2), (Bash.KILLED, 137), ("exit 0", 5)], ids=str
)
def test_a_failure_ends_the_job(bash: Bash, act: str, code: int):
    assert bash(act, Bash.SUCCESS).returncode == code
    assert len(bash.started()) == 1


def test_a_suspended_run_goes_back_to_the_queue(bash: Bash):
    done = bash(Bash.SUSPENDED, Bash.SUCCESS)
    assert "scontrol requeue 12\n" in bash.calls.read_text()
    assert f"ttt: {bash.folder}/seed_0 is suspended; job 12 is back in the queue" in done.stderr
    assert len(bash.started()) == 1


@pytest.mark.parametrize(
    ("act", "dead", "back"),
    [
        (Bash.STOPPED, "1", True),
        (Bash.STOPPED, "0", False),  # so does SLURM with those that survive a killed one
        (Bash.LOST, "1", True),
        (Bash.KILLED, "1", True),  # rank 0 was killed: nobody has left a word
        (Bash.LOST, "0", False),  # the kernel killed a process: it would again
        (Bash.KILLED, "0", False),
        (Bash.DEFECT, "1", False),
        (Bash.ABORTED, "1", False),
    ],
)
def test_a_run_that_was_ended_from_outside_goes_back_to_the_queue(
    bash: Bash, act: str, dead: str, back: bool
):
    done = bash(act, DEAD=dead, TTT_REQUEUE="of a job around this")
    said = bash.calls.read_text()
    assert "requeue 1\n" in said
    assert ("scontrol requeue 12\n" in said) == back
    assert (done.returncode == 75) == back
    if back:
        assert (bash.folder / "seed_0" / "suspended").read_text()  # why, for reports


def test_a_job_that_is_preempted_goes_back_before_its_time_of_grace_is_over(bash: Bash):
    done = bash(Bash.STOPPED, PREEMPTED="2026-01-31T12:00:00")
    assert done.returncode == 75
    assert "scontrol requeue 12\n" in bash.calls.read_text()


def test_a_job_that_may_not_come_back_hands_on_no_other_promise(bash: Bash):
    done = bash(Bash.KILLED, asked=SlurmConfig(nodes=2, requeue=False), DEAD="1", TTT_REQUEUE="1")
    assert done.returncode == 137
    assert "requeue no\n" in bash.calls.read_text()
    assert "scontrol" not in bash.calls.read_text()


def test_a_suspended_run_that_is_refused_does_not_go_back_for_ever(bash: Bash):
    """Others may write its folder: the worker ends with 2, and leaves no word there."""
    (bash.folder / "seed_0").mkdir()
    (bash.folder / "seed_0" / "suspended").touch()
    assert bash("exit 2").returncode == 2
    assert "scontrol" not in bash.calls.read_text()


def test_what_the_script_makes_only_its_user_may_write(bash: Bash):
    umask = os.umask(0o002)
    try:
        assert bash("""touch "$run/made"; exit 137""").returncode == 137
    finally:
        os.umask(umask)
    run = bash.folder / "seed_0"
    made = [run / "made", run / "logs" / "owner", run / "logs" / "srun.log"]
    assert [file.stat().st_mode & 0o777 for file in made] == [0o644] * 3


def test_a_suspended_run_of_an_array_goes_back_alone(bash: Bash):
    asked = SlurmConfig(nodes=2, array=True)
    array = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"}
    bash(Bash.SUCCESS, Bash.SUSPENDED, asked=asked, **array)
    assert [words.split("/")[-1] for words in bash.started()] == ["seed_1"]
    assert "scontrol requeue 12_1\n" in bash.calls.read_text()


def test_a_job_inside_another_takes_nothing_of_that_for_its_own(bash: Bash):
    """Somebody submits from a task of an array: what sbatch hands on is not this job's."""
    outer = {"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "64"}
    bash(Bash.SUCCESS, Bash.SUSPENDED, **outer, SLURM_MEM_PER_NODE="1")
    said = bash.calls.read_text()
    assert [words.split("/")[-1] for words in bash.started()] == ["seed_0", "seed_1"]
    assert "scontrol requeue 12\n" in said
    assert "--cpus-per-task" not in said


def test_sbatch_hears_what_was_asked_for_and_nothing_of_a_job_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    executable(tmp_path / "bin", "sbatch", 'echo "$*" >"$CALLS"; env >>"$CALLS"; echo 12')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    around = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "64", "SBATCH_ARRAY_INX": "0-9"}
    for name, value in (around | {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "a"}).items():
        monkeypatch.setenv(name, value)
    asked = SlurmConfig(time="60", partition="gpu", lines=['--comment="a b"'])
    job = Job((tmp_path / "seed_1",), "digits")
    assert slurm.submit(tmp_path, sbatch.options(asked, job)) == "12"
    command, *variables = (tmp_path / "calls").read_text().splitlines()
    for option in ("--time=60", "--partition=gpu", "--comment=a b"):
        assert option in command
    assert command.endswith(str(tmp_path / "job.sbatch"))
    assert {"SLURM_CONF=/etc/slurm.conf", "SBATCH_ACCOUNT=a"} <= set(variables)
    assert not [line for line in variables if line.partition("=")[0] in around]


def test_without_requeue_a_suspended_run_says_what_to_do(bash: Bash):
    done = bash(Bash.SUSPENDED, asked=SlurmConfig(nodes=2, requeue=False))
    assert done.returncode == 75
    assert "it goes on when this script is submitted again" in done.stderr
    assert "scontrol requeue" not in bash.calls.read_text()


def test_nodes_that_cannot_be_found_are_no_reason_to_guess(bash: Bash):
    done = bash(Bash.SUCCESS, SLURM_JOB_NODELIST="remote")
    assert done.returncode == 5
    assert "does not know the nodes of job 12" in done.stderr
    assert bash.started() == []


def test_an_agent_is_one_torchrun_on_each_node_with_all_the_cores(bash: Bash):
    asked = SlurmConfig(nodes=2, procs=4, cpus_per_task=3, mode=Mode.agent, srun=["--x=a b"])
    bash(Bash.SUCCESS, asked=asked, SLURM_CPUS_PER_TASK="3", SLURM_GPUS_ON_NODE="4")
    said = bash.calls.read_text()
    assert "--nodes=2 --ntasks=2 --ntasks-per-node=1" in said
    assert "--cpus-per-task=12 --gres=gpu:4" in said
    assert "--x=a b sh -c" in said  # the user's own come last, and win
    [words] = bash.started()
    assert "-m torch.distributed.run --nnodes=2 --nproc-per-node=4 --rdzv-id=" in words
    assert "--master-addr=127.0.0.1 --master-port=" in words


def test_an_agent_alone_listens_for_no_other_node(bash: Bash):
    asked = SlurmConfig(nodes=1, mode=Mode.agent)
    bash(Bash.SUCCESS, asked=asked, SLURM_JOB_NUM_NODES="1", SLURM_JOB_NODELIST="n[1-2]")
    [words] = bash.started()
    assert "--rdzv-backend=c10d --rdzv-endpoint= --rdzv-conf=store_type=file" in words
    assert "--local-addr=127.0.0.1" in words
    assert "--master-addr" not in words


@pytest.mark.parametrize("mode", Mode)
def test_every_run_gets_a_key_of_its_own_that_no_command_shows(bash: Bash, mode: Mode):
    done = bash(Bash.SUCCESS, Bash.SUCCESS, asked=SlurmConfig(nodes=2, mode=mode))
    keys = (bash.folder / "calls.keys").read_text().split()
    assert [len(bytes.fromhex(key)) for key in keys] == [32, 32]
    assert keys[0] != keys[1]
    said = bash.calls.read_text() + (bash.folder / "job.sbatch").read_text()
    assert not any(key in said + done.stdout + done.stderr for key in keys)
    ids = re.findall(r"--rdzv-id=(\w+)", said)
    assert len(set(ids)) == (2 if mode is Mode.agent else 0)


TORCHRUN = """\
ttt: rank 1 on n2: Traceback (most recent call last):
  File "task.py", line 3, in loss
ZeroDivisionError: its own words
E0131 12:00:00.000000 7 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 5)
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""


def test_of_what_torchrun_says_the_words_of_the_worker_are_shown(bash: Bash):
    asked = SlurmConfig(nodes=2, mode=Mode.agent)
    (bash.folder / "said").write_text(TORCHRUN)
    fails = f"""touch "$run/logs/torchrun_0.log"
        cat {bash.folder}/said >"$run/logs/torchrun_1.log"; exit 137"""
    assert bash(fails, asked=asked).stderr == "".join(TORCHRUN.splitlines(True)[:3])
    (bash.folder / "said").write_text("E0131 12:00:00.000000 7 api.py:1002] exitcode: -9\n")
    assert "exitcode: -9" in bash(fails, asked=asked).stderr
    assert f"--error={bash.folder}/seed_0/logs/torchrun_%n.log" in bash.calls.read_text()


def test_what_srun_says_is_kept_and_an_earlier_start_is_no_cause(bash: Bash):
    says = "echo 'srun: error: n2: task 1: {}' >&2; echo trains; exit {}"
    first = bash(says.format("Segmentation fault", 139))
    assert (first.returncode, first.stdout) == (139, "trains\n")
    assert first.stderr == "srun: error: n2: task 1: Segmentation fault\n"
    logs = bash.folder / "seed_0" / "logs"
    assert str(deaths.cause(logs)).startswith("rank 1 on n2 was ended by SIGSEGV")
    (logs / "rank_1.failure.json").write_text("{}")
    assert bash(says.format("Killed", 137)).returncode == 137
    assert str(deaths.cause(logs)).startswith("rank 1 on n2 was ended by SIGKILL")
    assert list(logs.glob("*.failure.json")) == []


def test_a_second_job_with_the_same_script_is_refused(bash: Bash):
    assert bash(Bash.KILLED).returncode == 137
    file = bash.folder / "seed_0" / "logs" / "owner"
    assert file.read_text().startswith("job 12 on ")
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = bash(Bash.SUCCESS, SLURM_JOB_ID="13")
        assert done.returncode == 5
        assert re.search("seed_0 is run by job 12 on .* already; wait", done.stderr)
        assert len(bash.started()) == 1
        assert bash(Bash.SUCCESS).returncode == 0  # SLURM has started the first again


def test_a_task_takes_its_temporary_files_along_and_hears_no_wish_for_room(bash: Bash):
    runs = '[[ " $* " == *" sh "* ]] || exit 0; while [[ $1 != sh ]]; do shift; done; exec "$@"'
    executable(bash.folder / "bin", "srun", runs)
    scratch = bash.folder / "tmp"
    scratch.mkdir()
    look = """kill -USR1 $$; touch "$TMPDIR/left"; echo "$PET_NODE_RANK $TMPDIR"
        echo "${TORCHINDUCTOR_CACHE_DIR:-none}"; kill -TERM $PPID; kill -KILL $$"""
    executable(bash.folder / "bin", "python", look)
    run = bash.folder / "seed_0"
    (run / "logs").mkdir(parents=True)
    python = str(bash.folder / "bin" / "python")
    job = Job((run,), "digits")
    script = sbatch.render(sbatch.template(), SlurmConfig(nodes=2), job, python)
    done = bash.run(script, SLURM_NODEID="3", TMPDIR=str(scratch))
    assert done.stdout, done.stderr
    rank, compiled = done.stdout.splitlines()
    assert rank.startswith(f"3 {scratch}/ttt-")
    assert compiled == "none"  # the worker finds a place; see ttt.scratch
    assert done.returncode == 137, done.stderr
    assert list(scratch.iterdir()) == []


def test_submitted_by_hand_it_starts_ttt_run_once_a_process(bash: Bash):
    script = (PROJECT / "slurm" / "job.sbatch").read_text()
    assert bash.run(script, "benchmark=digits", "seed=3").returncode == 0
    assert bash.started() == ["USR1 python3 -m ttt run benchmark=digits seed=3"]
    assert "--ntasks=4 --ntasks-per-node=2" in bash.calls.read_text()


if __name__ == "__main__":
    for golden in CASES:
        (GOLDEN / golden).write_text(rendered(golden))
