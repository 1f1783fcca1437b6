"""Why a process failed, for its launcher: one small JSON file beside its log."""

import contextlib
import json
import os
import socket
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ttt import redact
from ttt.errors import LAUNCH_FAILED, TttError, shown
from ttt.run_folder import Logs
from ttt.signals import Interrupted

# Our launchers set it: they show the first failure themselves. A worker without it shows its own.
LAUNCHED_BY_TTT = "TTT_LAUNCHED"
_RESERVED = 8192  # bytes; a JSON text escapes a character to six at most


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one rank failed.

    Attributes:
        rank: The rank that failed; another one may have written this.
        host: Where.
        time: When, in seconds since the epoch.
        text: What the user sees: a sentence, or the rank's own traceback.
        exit_code: The exit code of the whole launch.
        primary: False for a rank that only lost its peers or was asked to stop.
    """

    rank: int
    host: str
    time: float
    text: str
    exit_code: int
    primary: bool


def describe(rank: int, error: BaseException, *, lost_peer: bool) -> Failure:
    """The failure behind an exception of this rank.

    Args:
        rank: This process.
        error: The exception.
        lost_peer: Whether it only means that another process is gone.
    """
    if isinstance(error, TttError | Interrupted):
        text, code = str(error), error.exit_code
    elif _out_of_memory(error):
        text, code = _memory_sentence(error), LAUNCH_FAILED
    else:
        text, code = "".join(traceback.format_exception(error)), LAUNCH_FAILED
    primary = not (lost_peer or isinstance(error, Interrupted))
    return Failure(rank, socket.gethostname(), time.time(), redact.text(shown(text)), code, primary)


def brief(error: BaseException) -> str:
    """An error in a line; the log of its rank has all of it."""
    text = redact.text(str(error).partition("\n")[0])
    return text if isinstance(error, TttError | Interrupted) else f"{type(error).__name__}: {text}"


def hang(rank: int, host: str, text: str) -> Failure:
    """The failure of a rank that keeps all others from going on."""
    return Failure(rank, host, time.time(), text, LAUNCH_FAILED, primary=True)


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a device or a host; by its name, so that torch stays unloaded."""
    named = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    return named or "can't allocate memory" in str(error)


def _memory_sentence(error: BaseException) -> str:
    reason = str(error).partition("\n")[0] or "no reason given"
    return (
        f"out of memory: {reason}; a smaller data.global_batch, accumulate=2 or precision=bf16 need"
        " less"
    )


def reserve(logs: Path, rank: int) -> None:
    """Reserve space for a failure: a full disk may be what fails."""
    _reserved(logs, rank).write_bytes(b" " * _RESERVED)


def release(logs: Path, rank: int) -> None:
    """Free the space that `reserve` took."""
    _reserved(logs, rank).unlink(missing_ok=True)


def _reserved(logs: Path, rank: int) -> Path:
    return Logs(logs).reserved(rank)


def write(failure: Failure, logs: Path, *, by: int) -> None:
    """Write the failure where the launcher looks, into the reserved space if the disk is full.

    Args:
        failure: What to write.
        logs: The folder of the run's logs.
        by: The rank that writes it.
    """
    file = Logs(logs).failure(by)
    draft = file.with_suffix(".tmp")
    try:
        draft.write_text(json.dumps(asdict(failure)))
        os.replace(draft, file)
    except OSError:
        short = replace(failure, text=failure.text[: _RESERVED // 8])
        with _reserved(logs, by).open("r+b") as room:
            # All of the space: an earlier failure of this rank may be longer.
            room.write(json.dumps(asdict(short)).encode().ljust(_RESERVED))
    else:
        release(logs, by)


def write_by_launcher(text: str, logs: Path, *, primary: bool = True) -> None:
    """Write what the launcher knows of ranks that left no reason, for the readers of the run.

    Args:
        text: What it knows.
        logs: The folder of the run's logs.
        primary: False if it only ended them, as it was asked to.
    """
    record = {"text": redact.text(shown(text)), "time": time.time(), "primary": primary}
    with contextlib.suppress(OSError):  # the user sees it on the terminal all the same
        Logs(logs).launcher_failure.write_text(json.dumps(record))


def forget(logs: Path) -> None:
    """Remove all failures: the run starts again, and those of an earlier start are no cause."""
    for file in Logs(logs).failures():
        file.unlink(missing_ok=True)


def read(logs: Path) -> list[Failure]:
    """All failures of a run: primary ones first, the earliest before later ones."""
    written = [text for path in Logs(logs).rank_failures() if (text := _text(path).strip())]
    found = [Failure(**json.loads(text)) for text in written]
    return sorted(found, key=lambda failure: (not failure.primary, failure.time))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # released in between
        return ""
