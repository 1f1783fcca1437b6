"""One owner for a run folder: a process may not start a run that another process runs.

A lock marks the owner. It ends with its process, also after SIGKILL. The file's text is for people.
"""

import fcntl
import os
import socket
from pathlib import Path

from ttt.errors import LaunchError
from ttt.run_folder import Logs, RunFolder

# Names the folder that the batch script owns for all its processes; see slurm/job.sbatch.
OWNS = "TTT_OWNS"


def take(folder: Path) -> None:
    """Own a run folder until this process ends.

    On a file system without locks no process is refused. A job that SLURM has started again is not
    refused, either: the lock of a node that failed may stay for a while.

    Raises:
        LaunchError: Another process owns it.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if os.environ.get(OWNS) == str(folder):
        return
    path = Logs(RunFolder(folder).logs).owner
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # never closed
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(file, 200).decode(errors="replace").strip()
        if not (job and owner.startswith(f"job {job} ")):
            os.close(file)
            raise LaunchError(
                f"{folder} is run by {owner or 'another process'} already; wait until that is over,"
                " or start another run: ttt run"
            ) from error
    except OSError:
        pass
    who = f"job {job} " if job else f"process {os.getpid()} "
    os.ftruncate(file, 0)
    os.pwrite(file, f"{who}on {socket.gethostname()}\n".encode(), 0)
