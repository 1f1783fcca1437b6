"""Finds the process that died first and left no reason, in the logs of torchrun, mpirun and srun.

One death ends the other processes: the launcher ends them, or they lose their peer and abort. Pure,
except for reading the logs of a run folder. `ttt.supervise.failure` has the reasons that processes
wrote.
"""

import re
import signal
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt import foreign
from ttt.errors import LAUNCH_FAILED
from ttt.run_folder import Logs

# Signals that people send to stop a process, and launchers to the processes that survive.
_REQUESTS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_STOPPED = frozenset(f"stopped by {number.name}" for number in _REQUESTS)  # as `ttt.signals` has it
# What SLURM, and a shell above the process, call a signal.
_SRUN_WORDS = {
    "Killed": signal.SIGKILL,
    "Terminated": signal.SIGTERM,
    "Aborted": signal.SIGABRT,
    "Segmentation fault": signal.SIGSEGV,
    "Bus error": signal.SIGBUS,
    "Illegal instruction": signal.SIGILL,
    "Floating point exception": signal.SIGFPE,
    "Interrupt": signal.SIGINT,
    "Hangup": signal.SIGHUP,
    "Out Of Memory": signal.SIGKILL,
}
_TORCHRUN_RANK = re.compile(
    r"^ +time +: (\S+)\n +host +: (\S+)\n +rank +: ([0-9]{1,9}) .*\n"
    r" +exitcode +: (-?[0-9]{1,9})(?: \(pid: ([0-9]{1,9})\))?",
    re.MULTILINE,
)
_TORCHRUN_SENT = re.compile(r"(?:Sending|Unable to shutdown) process ([0-9]{1,9}) ")
_MPIRUN_SIGNAL = re.compile(
    r"process rank ([0-9]{1,9}) with .{1,80} on node (\S{1,255}) exited on\s{1,80}"
    r"signal ([0-9]{1,9})"
)
_MPIRUN_CODE = re.compile(
    r"Process name: \[.{1,80},([0-9]{1,9})\]\s{1,80}Exit code:\s{1,80}([0-9]{1,9})"
)
_SRUN_TASK = re.compile(
    r"^srun: error: (\S{1,255}): tasks? ([0-9]{1,9})(?:[^0-9\s]\S{,4096})?:"
    r" (?:Exited with exit code ([0-9]{1,9})|([A-Z][A-Za-z ]{1,80}))",
    re.MULTILINE,
)
_SRUN_CANCELLED = re.compile(
    r"error: \*\*\* \S{1,80} \S{1,80} ON (\S{1,255}) CANCELLED AT \S{1,80}?"
    r"(?: DUE TO (.{,80}?))? \*\*\*"
)
_SRUN_ENDS_ALL = "_step_signal: Terminating StepId="


@dataclass(frozen=True, slots=True)
class Death:
    """One process that ended and left no reason.

    Attributes:
        who: Such as "rank 3".
        host: Where it was; None if the launcher does not print it.
        code: Its exit code; of a signal, the negative number.
        time: When, as the launcher prints it; "" if it does not. Texts of one launcher compare.
        asked: Whether its launcher asked it to end.
    """

    who: str
    host: str | None
    code: int
    time: str = ""
    asked: bool = False

    def __str__(self) -> str:
        """The sentence for the user."""
        where = f"{self.who} on {self.host}" if self.host else self.who
        if self.code >= 0:
            return f"{where} ended with exit code {self.code} and left no word"
        return ended_by(where, -self.code)

    @property
    def exit_code(self) -> int:
        """The exit code of a launch in which this death came first."""
        return self.code if self.code > 0 else LAUNCH_FAILED


def ended_by(who: str, number: int) -> str:
    """A sentence about a process that a signal ended before it could write a reason.

    Args:
        who: Such as "rank 3 on n1".
        number: The signal.
    """
    hint = " (by a user, or by the kernel when memory ran out: see dmesg)"
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        name = f"signal {number}"
    return f"{who} was ended by {name}{hint if number == signal.SIGKILL else ''}"


def first(found: Sequence[Death]) -> Death | None:
    """The death that came first and ended the other processes; None if there is none.

    Processes that their launcher asked to end come last. Among the others a signal comes before an
    exit code, and a request to end after both. An abort comes last, because libraries abort when
    they lose a peer, also one that was asked to end. Times decide only between equals: launchers
    print whole seconds, and torchrun prints the time of the error for one rank and of its next
    check for another.
    """
    return min(found, key=_order, default=None)


def _order(death: Death) -> tuple[bool, int, str]:
    number = -death.code
    if number in _REQUESTS:
        kind = 2
    elif number == signal.SIGABRT:
        kind = 3
    else:
        kind = 0 if number > 0 else 1
    return death.asked, kind, death.time


def _ended(code: int) -> int:
    """An exit code as Python writes it; a shell, and ttt, add 128 to the number of a signal."""
    return 128 - code if 128 < code < 128 + signal.NSIG else code


def of_torchrun(log: str, explained: Container[int] = (), here: str | None = None) -> list[Death]:
    """The ranks in torchrun's own list.

    Args:
        log: What torchrun printed.
        explained: Ranks that left a reason for their end; they are left out.
        here: What torchrun calls localhost.
    """
    sent = set(_TORCHRUN_SENT.findall(log))
    return [
        Death(
            f"rank {rank}",
            here if host == "localhost" else host,
            _ended(int(code)),
            time,
            pid in sent,
        )
        for time, host, rank, code, pid in _TORCHRUN_RANK.findall(log)
        if int(rank) not in explained
    ]


def of_mpirun(log: str, explained: Container[int] = ()) -> list[Death]:
    """The rank that Open MPI's mpirun names, as above; other MPIs name no rank."""
    found = [(rank, host, -int(number)) for rank, host, number in _MPIRUN_SIGNAL.findall(log)]
    found += [(rank, None, _ended(int(code))) for rank, code in _MPIRUN_CODE.findall(log)]
    return [Death(f"rank {rank}", host, n) for rank, host, n in found if int(rank) not in explained]


def of_srun(log: str, who: str, explained: Container[int] = ()) -> list[Death]:
    """The tasks that srun names.

    Args:
        log: What srun printed.
        who: What a task is: a rank, or torchrun.
        explained: Ranks that left a reason; they are left out.
    """
    found = []
    ended_all = log.find(_SRUN_ENDS_ALL)
    for match in _SRUN_TASK.finditer(log):
        host, task, code, word = match.groups()
        ended = _ended(int(code)) if code else -_SRUN_WORDS.get(word.strip(), 0)
        asked = 0 <= ended_all < match.start()
        if who == "rank" and int(task) not in explained and ended:
            found.append(Death(f"rank {task}", host, ended, asked=asked))
        elif who != "rank" and ended < 0:  # its exit code stands for that of a rank
            found.append(Death(who, host, ended, asked=asked))
    return found


def cancelled(log: str) -> str | None:
    """A sentence if SLURM ended the job from outside, with the reason; None if it did not."""
    found = _SRUN_CANCELLED.search(log)
    if found is None or _SRUN_ENDS_ALL in log[: found.start()]:
        return None
    return f"SLURM cancelled the job on {found[1]}" + (f": {found[2].lower()}" if found[2] else "")


def cause(
    logs: Path, words: Iterable[tuple[int, str, str]] = (), here: str | None = None
) -> str | None:
    """Why a run ended, if its ranks could not write it; None if the launchers do not know either.

    A rank that wrote only that a signal stopped it may be the cause: its launcher knows whether it
    sent that signal. A rank that lost a peer is not the cause.

    Args:
        logs: The folder of a run's logs.
        words: Rank, host and text of each reason that a rank left; none of them is primary.
        here: The host that a torchrun of one node calls localhost.
    """
    left = list(words)
    explained = {rank for rank, _, text in left if text not in _STOPPED}
    stopped = {
        f"rank {rank}": f"{host} was {text}" for rank, host, text in left if text in _STOPPED
    }
    files = Logs(logs)
    srun, agents = _text(files.srun), files.of_torchrun()
    silent = [death for log in agents for death in of_torchrun(_text(log), explained, here)]
    silent += of_mpirun(_text(files.mpirun), explained)
    tasks = of_srun(srun, "torchrun" if agents else "rank", explained)
    # A rank that its launcher asked to end is not the cause, either.
    silent = [death for death in silent if not (death.asked and death.who in stopped)]
    tasks = [death for death in tasks if not (death.asked and death.who in stopped)]
    for death in filter(None, map(first, (silent, tasks))):
        if not (death.asked or -death.code in _REQUESTS):
            return str(death)
    last = first([*silent, *tasks])
    if (sentence := cancelled(srun)) or last is None:
        return sentence
    return f"{last.who} on {stopped[last.who]}" if last.who in stopped else str(last)


def _text(path: Path) -> str:
    """The end of a log, where launchers print what ended their processes."""
    return foreign.tail(path, inside=path.parent)
