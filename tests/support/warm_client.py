"""Stands in for the interpreter where something else than a test starts it, as srun or mpirun.

`warm.interpreter` makes a program of it. What `ttt` is asked of this program is forked from the
server of warm programs, with this process's streams, variables, folder, cores and umask. This
process stays in its place: it passes signals on, dies as the program dies, and takes it along.
Anything else becomes the interpreter itself.
"""

import json
import os
import signal
import socket
import struct
import sys


def family(first: int) -> list[int]:
    """A process and those that it started, and so on: SLURM signals all of a step."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = [first]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def main(interpreter: str, address: str, programs: tuple[str, ...]) -> int:
    """Run `interpreter ARGUMENTS`.

    Args:
        interpreter: The real one.
        address: Of the server.
        programs: The modules that it starts.
    """
    words = [interpreter, *sys.argv[1:]]
    plain = [word for word in words if word != "-u"]
    if plain[1:2] != ["-m"] or plain[2:3] not in [[program] for program in programs]:
        os.execv(interpreter, words)
    mask = os.umask(0)
    passed = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    asked = {
        "words": words,
        "variables": dict(os.environ),
        "folder": os.getcwd(),
        "session": True,
        "bound": True,
        "cores": sorted(os.sched_getaffinity(0)),
        "umask": mask,
        "ignored": [number for number in passed if signal.getsignal(number) is signal.SIG_IGN],
    }
    request = json.dumps(asked).encode()
    pid = 0
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        for one in family(pid) if pid else ():
            os.kill(one, number)
        if not pid:
            early.append(number)

    for number in passed:
        signal.signal(number, pass_on)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        line.sendall(struct.pack("q", len(request)) + request)
        socket.send_fds(line, [bytes([3])], [0, 1, 2])
        [pid] = struct.unpack("q", line.recv(8, socket.MSG_WAITALL))
        for number in early:
            os.kill(pid, number)
        [status] = struct.unpack("q", line.recv(8, socket.MSG_WAITALL))
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
