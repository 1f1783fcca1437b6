"""How a process that failed tells its launcher why: one small JSON file beside its log."""

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

# Set by our launchers, which show the first failure themselves; a worker without it shows its own.
LAUNCHED_BY_TTT = "TTT_LAUNCHED"
_RESERVED = 8192  # bytes; a JSON text escapes a character to six at most


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one rank failed.

    Attributes:
        rank: Which; not always the one that says so.
        host: Where.
        time: When, in seconds since the epoch.
        text: What to show the user: a sentence, or the rank's own traceback.
        exit_code: What the whole launch should end with.
        primary: False for a rank that only lost its peers or was told to stop.
    """

    rank: int
    host: str
    time: float
    text: str
    exit_code: int
    primary: bool


def describe(rank: int, error: BaseException, *, lost_peer: bool) -> Failure:
    """The failure behind an exception being handled on this rank.

    Args:
        rank: This process.
        error: What was raised.
        lost_peer: Whether it only says that another process is gone.
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
    """The failure of a rank that keeps all of them from going on."""
    return Failure(rank, host, time.time(), text, LAUNCH_FAILED, primary=True)


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a device or a host; told by name, without importing torch."""
    named = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)
    return named or "can't allocate memory" in str(error)


def _memory_sentence(error: BaseException) -> str:
    reason = str(error).partition("\n")[0] or "no reason given"
    return (
        f"out of memory: {reason}; a smaller data.global_batch, accumulate=2 or precision=bf16 need"
        " less"
    )


def reserve(logs: Path, rank: int) -> None:
    """Make room for a failure's word: the disk may be what fails."""
    _reserved(logs, rank).write_bytes(b" " * _RESERVED)


def release(logs: Path, rank: int) -> None:
    """Nothing failed."""
    _reserved(logs, rank).unlink(missing_ok=True)


def _reserved(logs: Path, rank: int) -> Path:
    return Logs(logs).reserved(rank)


def write(failure: Failure, logs: Path, *, by: int) -> None:
    """Leave the failure where the launcher looks, in the room reserved for it if need be.

    Args:
        failure: What to say.
        logs: The folder of the run's logs.
        by: The rank that says it.
    """
    file = Logs(logs).failure(by)
    draft = file.with_suffix(".tmp")
    try:
        draft.write_text(json.dumps(asdict(failure)))
        os.replace(draft, file)
    except OSError:
        short = replace(failure, text=failure.text[: _RESERVED // 8])
        with _reserved(logs, by).open("r+b") as room:
            room.write(json.dumps(asdict(short)).encode())
    else:
        release(logs, by)


def write_by_launcher(text: str, logs: Path, *, primary: bool = True) -> None:
    """Write what the launcher saw of ranks that died without a word, for the readers of the run.

    Args:
        text: What it saw.
        logs: The folder of the run's logs.
        primary: False if it only ended them, as it was asked to.
    """
    record = {"text": redact.text(shown(text)), "time": time.time(), "primary": primary}
    with contextlib.suppress(OSError):  # the user sees it on the terminal all the same
        Logs(logs).launcher_failure.write_text(json.dumps(record))


def forget(logs: Path) -> None:
    """Remove all reasons: the run starts again, and the end of an earlier start is no cause."""
    for file in Logs(logs).failures():
        file.unlink(missing_ok=True)


def read(logs: Path) -> list[Failure]:
    """All failures of a run, those that explain something first, the earliest before others."""
    said = [text for path in Logs(logs).rank_failures() if (text := _text(path).strip())]
    found = [Failure(**json.loads(text)) for text in said]
    return sorted(found, key=lambda failure: (not failure.primary, failure.time))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # released in between
        return ""
