"""What one process knows of where it sits, and how it leaves when something goes wrong.

Whatever happens, the launcher gets a word (`ttt.supervise.failure`), the record gets an end, and
the log of this rank gets the traceback.
"""

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ttt import redact, scratch, signals
from ttt.distributed import world as dist_world
from ttt.distributed.device import has_work
from ttt.distributed.rank import Placement, to_go_on
from ttt.errors import ESCAPE, LAUNCH_FAILED, LaunchError, TttError, shown
from ttt.events import EventLog
from ttt.loop import Parts, abort
from ttt.protocols import World
from ttt.schema.run import TimeoutConfig
from ttt.signals import Interrupted
from ttt.supervise import failure, owner, saver
from ttt.supervise.heartbeat import Heartbeat, Stuck, Watchdog
from ttt.terminal import Terminal

# The watchdog speaks first; only then may torch's own time-outs, which know less.
_LATER_SECONDS = 60.0


class Guard:
    """One process of a run.

    Attributes:
        placement: Where a launcher put it; None when it is alone.
        rank: Which.
        folder: The run folder; unknown to a process given "-" until rank 0 sends it.
        joined: Whether rank 0 has let it in.
        terminal: Copies of the output streams it was started with, before they go to a file.
        heartbeat: Where it is, for the watchdog.
        log: Its events, as soon as there are any.
        parts: What it runs, as soon as it is built.
    """

    def __init__(self, placement: Placement | None, folder: Path | None) -> None:
        self.placement = placement
        self.rank = placement.rank if placement else 0
        self.folder = folder
        self.joined = False
        self.terminal = (os.dup(1), os.dup(2))
        self.heartbeat = Heartbeat()
        self.log: EventLog | None = None
        self.parts: Parts | None = None
        self._shown: TttError | None = None  # on the terminal already
        self._dog: Watchdog | None = None
        self._expected = 0.0  # seconds that torch waits for peers
        self._ending = threading.Lock()  # taken by the thread that ends the record, for good

    def screen(self) -> Terminal:
        """The terminal that this process was started with."""
        # Open MPI gives rank 0 a terminal of its own, wherever its output goes in the end.
        plain = False if self.placement and self.placement.launcher == "mpi" else None
        return Terminal(file=os.fdopen(self.terminal[0], "w", errors=ESCAPE), force_terminal=plain)

    @property
    def logs(self) -> Path | None:
        """The folder of the run's logs, where it is to be seen from here."""
        logs = None if self.folder is None else self.folder / "logs"
        return logs if logs and logs.is_dir() else None

    def own(self, folder: Path) -> None:
        """Keep the run folder from others that are started on it.

        Raises:
            LaunchError: Another process runs it; nothing of this process is written there.
        """
        try:
            owner.take(folder)
        except LaunchError:
            self.folder = None
            raise

    def redirect(self) -> None:
        """Send what this process and its libraries print to a file, where the folder is here."""
        if self.logs is None:
            return
        failure.reserve(self.logs, self.rank)
        sys.stdout.flush()
        self._to_log(1, 2)

    def hush(self) -> None:
        """Send to the file only what libraries print past Python, as decoders do of bad images.

        For a process alone: its own words, and a debugger's, stay on the terminal.
        """
        if self.logs is None:
            return
        self._to_log(2)
        sys.stderr = open(self.terminal[1], "w", 1, errors=ESCAPE, closefd=False)  # noqa: SIM115

    def _to_log(self, *streams: int) -> None:
        sys.stderr.flush()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        file = os.open(self._own_log(), flags, 0o666)
        for stream in streams:
            os.dup2(file, stream)
        os.close(file)

    def _own_log(self) -> Path:
        assert self.logs is not None
        return self.logs / f"rank_{self.rank}.log"

    @contextlib.contextmanager
    def watched(self, world: World, timeout: TimeoutConfig) -> Iterator[None]:
        """Within it, a process that no longer gets on is found out, and ends all of them.

        A process alone is not watched: it may stand at a breakpoint as long as it likes.
        """
        board = world.board()
        if board is None:
            yield
            return
        patience = partial(self._patience, world, timeout)
        asks = partial(has_work, world.device) if world.device.type == "cuda" else None
        self._dog = Watchdog(self.heartbeat, board, patience, self.hang, asks)
        self._dog.start()
        try:
            yield
        finally:
            self._dog.stop()

    def _patience(self, world: World, timeout: TimeoutConfig) -> float | None:
        """Long until the first step is done and after the last, short between."""
        limit = timeout.step_seconds if self.heartbeat.steady else timeout.init_seconds
        if limit is not None and limit != self._expected:
            self._expected = limit
            with contextlib.suppress(Exception):  # the watch goes on with torch's time-outs as is
                world.expect_answers_within(limit + _LATER_SECONDS)
        return limit

    def abort(self, error: BaseException) -> None:
        """Stop the clock, if it runs, and say why in the record.

        A run that may be requeued is only suspended, unless a rank has failed by itself: the
        others have lost that one, too.
        """
        self.heartbeat.leaving = True
        if self._dog and self._dog.alarmed:
            self._dog.join()  # it knows why, and ends this process
        error = signals.cause(error)
        lost = dist_world.lost_peer(error)
        reason = "another process of the run is gone" if lost else brief(error)
        self._end(reason, goes_on=signals.ended_from_outside(error, lost_peer=lost))

    def _end(self, reason: str, *, goes_on: bool) -> None:
        failures = failure.read(self.logs) if self.logs else []
        goes_on = goes_on and not any(one.primary for one in failures)
        if goes_on and self.rank == 0 and self.folder and self.joined:
            with contextlib.suppress(OSError):
                (self.folder / signals.SUSPENDED).write_text(reason + "\n")
        parts = self.parts
        if parts and parts.clock.running and self._ending.acquire(blocking=False):
            abort(parts, reason, goes_on=goes_on)
            if not goes_on and self.rank == 0 and self.folder:
                saver.forget(self.folder)

    def last_words(self, number: int) -> None:
        """End the record in another thread, if the main thread was asked to stop but does not."""
        error = Interrupted(number)
        goes_on = signals.ended_from_outside(error, lost_peer=False)
        _attempt(partial(self._end, str(error), goes_on=goes_on), self._close)

    def show(self, error: TttError) -> None:
        """Leave word of what is about to end this process, before its launcher may end it."""
        self._shown = error
        self._tell(failure.describe(self.rank, error, lost_peer=False), aloud=True)

    def fail(self, error: BaseException) -> int:
        """Record an exception: in the log, for the launcher, and on the screen."""
        cause = signals.cause(error)
        if self._shown and isinstance(cause, Interrupted):  # the launcher, because the others ended
            cause = self._shown
        reason = failure.describe(self.rank, cause, lost_peer=dist_world.lost_peer(cause))
        if self.logs:
            with contextlib.suppress(OSError), self._own_log().open("a", errors=ESCAPE) as log:
                log.write(redact.text(shown("".join(traceback.format_exception(error)))))
        self._tell(reason, aloud=reason.primary and cause is not self._shown)
        return reason.exit_code

    def hang(self, stuck: Stuck) -> None:
        """End this process from beside its main thread, which does not come back.

        Every rank that lives does this at about the same time, its traceback in its log already;
        what NCCL was doing goes where torch's `torchfrtrace` can read it. What fails here, such as
        a full disk, does not keep the process; of what hangs the watchdog's timer takes care.
        """
        try:
            reason = failure.hang(stuck.rank, stuck.host, stuck.text)
            goes_on = stuck.gone and signals.REQUEUE in os.environ
            # A process that has ended, or its launcher, reports why.
            reason = replace(reason, primary=not (goes_on or stuck.ended))
            sentence = f"rank {stuck.rank} on {stuck.host} {stuck.text}"
            _attempt(
                partial(self._tell, reason, aloud=self.rank == stuck.teller),
                partial(self._end, sentence, goes_on=goes_on),
                self._close,
                self._keep_flight_record,  # last: NCCL may be what hangs
            )
        finally:
            scratch.end(LAUNCH_FAILED)

    def _close(self) -> None:
        if self.log:
            self.log.close()

    def _keep_flight_record(self) -> None:
        record = dist_world.flight_record()
        if record and self.logs:
            (self.logs / f"rank_{self.rank}.nccl_trace").write_bytes(record)

    def leave(self, *, suspended: bool) -> None:
        """Leave, as nothing failed; say how a suspended run goes on, unless others say or do it.

        Args:
            suspended: The run is not over.
        """
        if self.logs:
            failure.release(self.logs, self.rank)
        others = failure.LAUNCHED_BY_TTT in os.environ or signals.REQUEUE in os.environ
        if suspended and self.rank == 0 and self.folder and not others:
            line = f"next:  {to_go_on(self.placement, self.folder)}\n"
            with contextlib.suppress(OSError):  # its reader is gone
                os.write(self.terminal[1], shown(line).encode())

    def _tell(self, reason: failure.Failure, *, aloud: bool) -> None:
        if self.logs and (reason.primary or self.joined):  # else the folder may be another's
            with contextlib.suppress(OSError):  # a folder may go at any moment
                failure.write(reason, self.logs, by=self.rank)
        if aloud and not (self.logs and os.environ.get(failure.LAUNCHED_BY_TTT)):
            sentence = f"ttt: rank {reason.rank} on {reason.host}: {reason.text.rstrip()}\n"
            os.write(self.terminal[1], shown(sentence).encode())


def _attempt(*steps: Callable[[], None]) -> None:
    """Do all of them; the log of this rank has the traceback of one that fails."""
    for step in steps:
        try:
            step()
        except Exception:
            with contextlib.suppress(Exception):  # the log may be on the disk that is full
                traceback.print_exc()


def brief(error: BaseException) -> str:
    """An error in a line: the log has all of it."""
    text = redact.text(str(error).partition("\n")[0])
    return text if isinstance(error, TttError | Interrupted) else f"{type(error).__name__}: {text}"
