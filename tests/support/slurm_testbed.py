"""A real SLURM cluster on one machine, for the tests and for trying things by hand.

    python tests/support/slurm_testbed.py                           a shell; leave it to end both
    python tests/support/slurm_testbed.py --nodes 2 -- srun -N2 env one command, its exit code

The daemons are those of Debian's `slurm-wlm` and `munge`: a slurmctld, a munged, and a slurmd for
each node, told apart by port. All they read and write lies in one folder, so that clusters run side
by side and /etc/slurm and /run/munge stay as they are. Knows nothing of ttt.

slurmctld looks at time limits twice a minute and no setting changes that: `sbatch --signal` comes
up to 30 s early, TIMEOUT up to 30 s late. Who cannot wait has `scancel --signal`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "sinfo", "sbatch", "srun", "scancel")
BOOT_SECONDS = 180  # two on a machine that does nothing else

# SLURM's defaults spare large clusters; a small one may answer at once:
#   cred_expire       a requeued job waits until its old credential has expired (120 s)
#   SlurmdTimeout     a node silent for so long is DOWN, once two messages more have failed (300 s)
#   MessageTimeout    what each of those takes to fail (10 s)
#   MinJobAge         how long `scontrol show job` knows an ended job, without a database (300 s)
#   config_overrides  a node has the CPUs and memory written here, whatever this machine has
SLURM_CONF = """\
ClusterName=testbed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n/spool
SlurmdPidFile={folder}/%n/slurmd.pid
SlurmdLogFile={folder}/%n/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdTimeout=3
MessageTimeout=5
KillWait=3
MinJobAge=900
ReturnToService=2
SlurmdParameters=config_overrides
DefMemPerCPU=1000
GresTypes=gpu
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.[1-{nodes}] Port=[{first}-{last}] \
    CPUs=8 RealMemory=16000 Gres=gpu:2
PartitionName=debug Nodes=ALL Default=YES DefaultTime=5 MaxTime=10
PartitionName=long Nodes=ALL DefaultTime=60 MaxTime=1-0
"""
ALIVE = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING"}  # other states are final


def missing() -> str | None:
    """Why a cluster cannot run here, in a sentence; None where it can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"no {', '.join(absent)} on PATH: apt-get install slurm-wlm munge"
    return "slurmd starts jobs as their users, which only root can" if os.geteuid() else None


class Cluster:
    """SLURM with nodes n1, n2, ..., each of 8 CPUs, 16 GB and 2 GPUs as far as SLURM knows.

    Partitions are `debug` (the default, 10 minutes at most) and `long`. Logs are `slurmctld.log`
    and `n1/slurmd.log` in the folder. `environment` is what a program needs to see this cluster.
    """

    def __init__(self, folder: Path, nodes: int = 4) -> None:
        self.folder = folder.resolve()
        self.nodes = [f"n{index}" for index in range(1, nodes + 1)]
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._held = ExitStack()  # the claim on our ports

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return when all nodes are idle; else RuntimeError with what the daemons had to say."""
        munge = self.folder / "munge"
        files = [f"--{kind}-file={munge}.{kind}" for kind in ("key", "pid", "seed", "log")]
        try:
            self._configure()
            # --force: the folder may be closed to others, since only root is served.
            self._spawn("munged", "--foreground", "--force", f"--socket={munge}.socket", *files)
            self._until(munge.with_suffix(".socket").exists)
            self._spawn("slurmctld", "-D")
            for node in self.nodes:
                self.revive_node(node)
            self._until(lambda: set(self.node_states().values()) == {"idle"})
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every daemon, job step and task at once; in whatever state, and as often as asked."""
        for name in list(self._daemons):
            self._end(name)
        self._kill()
        self._held.close()

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command as on a login node and wait for it, with its output captured."""
        environment = outside() | self.environment | variables
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def kill_node(self, node: str, *, power: bool = False) -> None:
        """SIGKILL a node's slurmd; with `power`, whatever runs there, as when its power fails.

        Either way it is down in 7 to 16 s and its jobs are requeued. Without `power` their tasks
        live on, until slurmd is back and ends them.
        """
        self._end(node)
        if power:
            self._kill(node)

    def revive_node(self, node: str) -> None:
        """Start a node's slurmd; the node is idle in about a second."""
        self._spawn("slurmd", "-D", "-N", node, node=node)

    def node_states(self) -> dict[str, str]:
        """Such as idle, mixed or down, with a * where slurmd is silent; {} if slurmctld is."""
        lines = self.run("sinfo", "--noheader", "-N", "-p", "debug", "-o", "%N %T").stdout
        return dict(line.split() for line in lines.splitlines())

    def job(self, identifier: str) -> dict[str, str]:
        """The fields of `scontrol show job`, each up to a blank; LookupError if there is none."""
        shown = self.run("scontrol", "--oneliner", "show", "job", identifier)
        if shown.returncode:
            raise LookupError(f"job {identifier}: {shown.stderr.strip()}")
        return dict(field.split("=", 1) for field in shown.stdout.split() if "=" in field)

    def job_state(self, identifier: str) -> str:
        """PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL or the like."""
        return self.job(identifier)["JobState"]

    def wait(self, identifier: str, state: str | None = None, seconds: float = 240) -> str:
        """Wait for a job to be in `state`, or to end where none is given; return its state."""
        deadline = time.monotonic() + seconds
        while (now := self.job_state(identifier)) != state and (state or now in ALIVE):
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {identifier} is {now}, not {state or 'over'}: {seconds} s")
            time.sleep(0.1)
        return now

    def processes(self, node: str | None = None) -> set[psutil.Process]:
        """What runs of this cluster, or on a node of it: daemons, steps, tasks, their children."""
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended meanwhile
                name = self._node_of(process)
                if name and node in (None, name):
                    found |= {process, *process.children(recursive=True)}
        return found

    def _node_of(self, process: psutil.Process) -> str | None:
        """The node a process runs on, where `head` is everybody's; None for a stranger."""
        if process.name() == "slurmstepd":  # its title covers its environment; a log is open
            for file in process.open_files():
                if self.folder in Path(file.path).parents:
                    return Path(file.path).parent.name
        variables = process.environ()
        if variables.get("SLURM_CONF") != self.environment["SLURM_CONF"]:
            return None
        # A task has both variables, whatever `sbatch --export` says; a user's shell has the first.
        # So has a user's srun, but it would wait for minutes for a cluster that has ended.
        login = "head" if process.name() in ("srun", "salloc", "sbatch") else None
        return variables.get("SLURMD_NODENAME", login)

    def _end(self, name: str) -> None:
        with self._daemons.pop(name) as daemon:
            daemon.kill()

    def _kill(self, node: str | None = None) -> None:
        # All stand still before the first one dies, as when the power fails: a slurmstepd that sees
        # its task die tells slurmctld, and the job has failed instead of going back to its queue.
        # Until no other is found: a process may have been forked while we looked.
        still: set[psutil.Process] = set()
        while moving := self.processes(node) - still:
            for process in moving:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            still |= moving
        for process in still:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        while self.processes(node):
            time.sleep(0.02)

    def _configure(self) -> None:
        """Write every file and make every folder that the daemons expect."""
        (self.folder / "state").mkdir(parents=True)
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o600)
        for node in self.nodes:
            (self.folder / node / "spool").mkdir(parents=True)
        for gpu in range(2):  # SLURM wants a device behind each
            (self.folder / f"gpu{gpu}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-1]\n")
        claim, control = claim_ports(1 + len(self.nodes))
        self._held.enter_context(claim)
        text = SLURM_CONF.format(
            folder=self.folder,
            host=socket.gethostname().split(".")[0],
            control=control,
            first=control + 1,
            last=control + len(self.nodes),
            nodes=len(self.nodes),
        )
        (self.folder / "slurm.conf").write_text(text)

    def _spawn(self, *command: str, node: str = "head") -> None:
        """Start a daemon; its job steps and their tasks inherit the mark `processes` looks for."""
        name = command[0] if node == "head" else node
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                command,
                env=outside() | self.environment | {"SLURMD_NODENAME": node},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the user's shell is not for the daemons
            )

    def _until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while not ready():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = [f"SLURM has not started in {BOOT_SECONDS} s, or one of its daemons ended:"]
                for name in ended or self._daemons:
                    said += [name, *(self.folder / f"{name}.out").read_text().splitlines()[-10:]]
                raise RuntimeError("\n".join(said))
            time.sleep(0.05)


def claim_ports(count: int) -> tuple[socket.socket, int]:
    """The first of `count` free ports, kept from other clusters while the socket is open."""
    # So low that no outgoing connection is given one: a node that comes back finds its own free.
    for base in range(17_000, 29_000, 100):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", base))
            for port in range(base + 1, base + 1 + count):
                socket.create_server(("", port)).close()
        except OSError:
            claim.close()
        else:
            return claim, base + 1
    raise RuntimeError("no free ports between 17000 and 29000")


def outside() -> dict[str, str]:
    """The environment, without what a SLURM job around us has put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}


def main() -> int:
    """Run a command, or the user's shell, beside a cluster that lives as long."""
    parser = argparse.ArgumentParser(description="A real SLURM cluster on this machine.")
    parser.add_argument("--nodes", type=int, default=4, help="how many nodes (4)")
    parser.add_argument("command", nargs="*", help="what to run beside it (your shell)")
    arguments = parser.parse_args()
    if reason := missing():
        parser.error(reason)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        Cluster(Path(folder), arguments.nodes) as cluster,
        suppress(KeyboardInterrupt),
    ):
        if not arguments.command:
            print("A SLURM cluster, up while this shell is. Try: sinfo; srun -N2 hostname")
            print(f"In another terminal: export SLURM_CONF={folder}/slurm.conf")
        command = arguments.command or [os.environ.get("SHELL", "/bin/bash")]
        return subprocess.run(command, env=outside() | cluster.environment, check=False).returncode
    return 130


if __name__ == "__main__":
    sys.exit(main())
