"""How a process that failed tells its launcher why: one small JSON file beside its log."""

import json
import os
import socket
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from ttt.errors import LAUNCH_FAILED, TttError
from ttt.stop import Interrupted

# Set by our launchers, which show the first failure themselves; a worker without it shows its own.
LAUNCHED_BY_TTT = "TTT_LAUNCHED"


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
    else:
        text, code = "".join(traceback.format_exception(error)), LAUNCH_FAILED
    primary = not (lost_peer or isinstance(error, Interrupted))
    return Failure(rank, socket.gethostname(), time.time(), text, code, primary)


def hang(rank: int, host: str, text: str) -> Failure:
    """The failure of a rank that keeps all of them from going on."""
    return Failure(rank, host, time.time(), text, LAUNCH_FAILED, primary=True)


def write(failure: Failure, logs: Path, *, by: int) -> None:
    """Leave the failure where the launcher looks.

    Args:
        failure: What to say.
        logs: The folder of the run's logs.
        by: The rank that says it.
    """
    draft = logs / f"rank_{by}.failure.tmp"
    draft.write_text(json.dumps(asdict(failure)))
    os.replace(draft, draft.with_suffix(".json"))


def read(logs: Path) -> list[Failure]:
    """All failures of a run, those that explain something first, the earliest before others."""
    found = [Failure(**json.loads(path.read_text())) for path in logs.glob("rank_*.failure.json")]
    return sorted(found, key=lambda failure: (not failure.primary, failure.time))
