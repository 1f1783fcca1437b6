"""Guards one process of a run: a failure leaves its reason behind, and the record gets an end.

The reason goes to the launcher (`ttt.supervise.failure`), the traceback to the log of this rank.
The worker calls the guard in the order of its methods; only `ttt.loop` ends the run itself.
"""

import contextlib
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ttt import redact, scratch, signals
from ttt.clock import Clock
from ttt.distributed import world as dist_world
from ttt.distributed.rank import Placement, to_go_on
from ttt.errors import ESCAPE, LAUNCH_FAILED, SUSPENDED, TttError, shown
from ttt.events import EventLog
from ttt.loop import Parts, abort
from ttt.protocols import World
from ttt.run_folder import Logs, RunFolder
from ttt.schema.run import TimeoutConfig
from ttt.signals import Interrupted
from ttt.supervise import failure, saver
from ttt.supervise.hang import Stuck
from ttt.supervise.heartbeat import Heartbeat, Watchdog, watch
from ttt.supervise.output import Output
from ttt.terminal import Terminal


class Guard:
    """One process of a run, in the order of its life.

    Attributes:
        placement: Where a launcher put it; None when it is alone.
        rank: Its rank.
        folder: The run folder, as far as it may write there; None until rank 0 sends it to a
            process given "-", and in a process that refuses it.
        output: Its output streams.
        heartbeat: What it is doing, for the watchdog.
    """

    def __init__(self, placement: Placement | None, folder: Path | None) -> None:
        self.placement = placement
        self.rank = placement.rank if placement else 0
        self.folder = folder
        self.output = Output()
        self.heartbeat = Heartbeat()
        self._admitted = False
        self._log: EventLog | None = None
        self._parts: Parts | None = None
        self._clock: Clock | None = None  # of these parts, also when they are gone
        self._shown: TttError | None = None  # on the terminal already
        self._watchdog: Watchdog | None = None
        self._ending = threading.Lock()  # taken by the thread that ends the record, for good

    @property
    def logs(self) -> Path | None:
        """The folder of the run's logs; None where this process cannot see it."""
        logs = None if self.folder is None else RunFolder(self.folder).logs
        return logs if logs and logs.is_dir() else None

    def _own_log(self) -> Path:
        assert self.logs is not None
        return Logs(self.logs).rank(self.rank)

    def refuse(self) -> None:
        """Write nothing in the run folder: it is not trusted, or another process runs it."""
        self.folder = None

    def admit(self, folder: Path) -> Path:
        """Rank 0 has let this process in: it may write in the run folder.

        Args:
            folder: Where rank 0 sees it, for a process that was given none.

        Returns:
            Where this process sees it.
        """
        self.folder = self.folder or folder
        self._admitted = True
        return self.folder

    def redirect(self, *, alone: bool) -> None:
        """Send output to the log of this rank; of a process that is alone only its libraries'."""
        if self.logs is None:
            return
        if alone:
            self.output.libraries_to_log(self._own_log())
        else:
            failure.reserve(self.logs, self.rank)
            self.output.to_log(self._own_log())

    def terminal(self) -> Terminal:
        """The terminal that this process was started on."""
        # Open MPI gives rank 0 a terminal of its own, wherever its output goes in the end.
        plain = bool(self.placement and self.placement.launcher == "mpi")
        return self.output.terminal(plain=plain)

    @contextlib.contextmanager
    def watched(self, world: World, timeout: TimeoutConfig) -> Iterator[None]:
        """Within it, a process that no longer gets on is found out, and ends all of them.

        At its end all processes wait for rank 0, which still writes results when others are done.
        """
        with watch(self.heartbeat, world, timeout, self.hang) as self._watchdog:
            yield
            self.heartbeat.leaving = True  # after the barrier the others may end at any moment
            world.barrier()
            signals.ignore_signals()

    @contextlib.contextmanager
    def recording(self, log: EventLog) -> Iterator[EventLog]:
        """Within it, an error ends the run in its record; at its end the record is closed."""
        self._log = log
        try:
            yield log
        except BaseException as error:
            with signals.ending():
                self.abort(error)
            raise
        finally:
            log.close()
            self._parts = None  # what communicates goes before that by which it does

    def protect(self, parts: Parts) -> None:
        """From now on, what ends this process ends the run of these parts, if its clock runs."""
        self._parts, self._clock = parts, parts.clock if parts else None

    def abort(self, error: BaseException) -> None:
        """Stop the clock, if it runs, and write the reason into the record.

        A run that may be requeued is only suspended, unless a rank has failed by itself: the
        others have lost that one, too.
        """
        self.heartbeat.leaving = True
        if self._watchdog and self._watchdog.alarmed:
            self._watchdog.join()  # it knows why, and ends this process
        error = signals.cause(error)
        lost = dist_world.lost_peer(error)
        reason = "another process of the run is gone" if lost else failure.brief(error)
        # First: the launcher may end this process before `fail`, and an aborted record without a
        # failure is that of a run which missed its target.
        self._report(failure.describe(self.rank, error, lost_peer=lost), aloud=False)
        self._end(reason, goes_on=signals.ended_from_outside(error, lost_peer=lost))

    @property
    def _handed_on(self) -> bool:
        return self._clock is not None and self._clock.handed_on

    def _end(self, reason: str, *, goes_on: bool) -> None:
        if self._handed_on and self.rank == 0 and self.folder:
            with contextlib.suppress(OSError):  # the signal may have come right before the mark
                RunFolder(self.folder).suspended.touch()
        if self._clock and self._clock.over:  # a mark would take a finished run for a suspended one
            return
        failures = failure.read(self.logs) if self.logs else []
        goes_on = goes_on and not any(one.primary for one in failures)
        if goes_on and self.rank == 0 and self.folder and self._admitted:
            with contextlib.suppress(OSError):
                RunFolder(self.folder).suspended.write_text(reason + "\n")
        parts = self._parts
        if parts and parts.clock.running and self._ending.acquire(blocking=False):
            abort(parts, reason, goes_on=goes_on)
            if not goes_on and self.rank == 0 and self.folder:
                saver.forget(self.folder)

    def last_words(self, number: int) -> None:
        """End the record in another thread, where the main thread does not obey a stop signal."""
        error = Interrupted(number)
        goes_on = signals.ended_from_outside(error, lost_peer=False)
        reason = failure.describe(self.rank, error, lost_peer=False)
        _attempt(
            partial(self._report, reason, aloud=False),  # first, as in `abort`
            partial(self._end, str(error), goes_on=goes_on),
            self._close,
        )

    def show(self, error: TttError) -> None:
        """Leave the reason of an end that is near, before the launcher may end this process."""
        self._shown = error
        self._report(failure.describe(self.rank, error, lost_peer=False), aloud=True)

    def fail(self, error: BaseException) -> int:
        """Record an exception: in the log, for the launcher, and on the screen.

        Returns:
            The exit code.
        """
        cause = signals.cause(error)
        if self._shown and isinstance(cause, Interrupted):  # the launcher, because the others ended
            cause = self._shown
        reason = failure.describe(self.rank, cause, lost_peer=dist_world.lost_peer(cause))
        if self.logs:
            with contextlib.suppress(OSError), self._own_log().open("a", errors=ESCAPE) as log:
                log.write(redact.text(shown("".join(traceback.format_exception(error)))))
        self._report(reason, aloud=reason.primary and cause is not self._shown)
        return SUSPENDED if self._handed_on and not reason.primary else reason.exit_code

    def hang(self, stuck: Stuck) -> None:
        """End this process from beside its main thread, which does not come back.

        Every rank that lives does this at about the same time, its traceback in its log already.
        The record of what NCCL was doing goes where torch's `torchfrtrace` can read it. A failure
        here, such as a full disk, does not keep the process; if something hangs, the watchdog's
        timer ends it.
        """
        try:
            reason = failure.hang(stuck.rank, stuck.host, stuck.text)
            goes_on = stuck.gone and signals.REQUEUE in os.environ
            # A process that has ended, or its launcher, reports why.
            reason = replace(reason, primary=not (goes_on or stuck.ended))
            sentence = f"rank {stuck.rank} on {stuck.host} {stuck.text}"
            _attempt(
                partial(self._report, reason, aloud=self.rank == stuck.teller),
                partial(self._end, sentence, goes_on=goes_on),
                self._close,
                self._keep_flight_record,  # last: NCCL may be what hangs
            )
        finally:
            scratch.end(LAUNCH_FAILED)

    def _close(self) -> None:
        if self._log:
            self._log.close()

    def _keep_flight_record(self) -> None:
        record = dist_world.flight_record()
        if record and self.logs:
            Logs(self.logs).flight_record(self.rank).write_bytes(record)

    def leave(self, *, suspended: bool) -> None:
        """Leave without a failure; show how a suspended run goes on, where nothing else does.

        Args:
            suspended: The run is not over.
        """
        if self.logs:
            failure.release(self.logs, self.rank)
        others = failure.LAUNCHED_BY_TTT in os.environ or signals.REQUEUE in os.environ
        if suspended and self.rank == 0 and self.folder and not others:
            with contextlib.suppress(OSError):  # its reader is gone
                self.output.say(f"next:  {to_go_on(self.placement, self.folder)}\n")

    def _report(self, reason: failure.Failure, *, aloud: bool) -> None:
        """Leave a failure for the launcher, and show it if no launcher of ours does.

        What ends the processes of a run that goes on in others is no failure of it.
        """
        if self._handed_on and not reason.primary:
            return
        if self.logs and (reason.primary or self._admitted):  # else the folder may be another's
            with contextlib.suppress(OSError):  # a folder may go at any moment
                failure.write(reason, self.logs, by=self.rank)
        if aloud and not (self.logs and os.environ.get(failure.LAUNCHED_BY_TTT)):
            self.output.say(f"ttt: rank {reason.rank} on {reason.host}: {reason.text.rstrip()}\n")


def _attempt(*steps: Callable[[], None]) -> None:
    """Do all of them; the log of this rank has the traceback of one that fails."""
    for step in steps:
        try:
            step()
        except Exception:
            with contextlib.suppress(Exception):  # the log may be on the disk that is full
                traceback.print_exc()
