"""Every process leaves a beat at every turn; a thread watches that the beats come.

What processes tell each other goes over a `Board`, apart from the communication that may be stuck.
When no rank gets on, `ttt.supervise.hang` finds out which one holds the others up.
"""

import contextlib
import faulthandler
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from ttt.distributed.device import has_work
from ttt.protocols import Board, World
from ttt.schema.run import TimeoutConfig
from ttt.supervise.hang import Note, Stuck, diagnose, whereabouts

_LISTEN_PERIODS = 3  # how long to hear from the others, once one finds that nothing moves
# How long a main thread may take to learn by itself that a process has ended, and end in order.
_LOST_PERIODS = 3
_LAST_SECONDS = 8.0  # from an alarm to the end of the process, listening not included
# The watchdog reports first; only then may torch's own time-outs, which know less.
_LATER_SECONDS = 60.0
_STDERR = 2  # the log of this rank, even if sys.stderr is another


@dataclass
class Heartbeat:
    """Where this process is. Written by its main thread, read by the watchdog's."""

    phase: str = "starting"
    step: int = 0
    beats: int = 0
    steady: bool = False  # past what may take long: compiling, the first batch
    leaving: bool = False  # ends by itself, whether others have ended or not

    def beat(self, phase: str, step: int) -> None:
        """Leave a beat: this process gets on."""
        self.phase, self.step = phase, step
        self.beats += 1


class Watchdog(threading.Thread):
    """Watches one process, and with it the run: calls `on_hang` when it no longer gets on.

    From the alarm there is no way back: the others end too, and the first that ends breaks the
    calls that the others are in. What those calls raise then says less than `on_hang` does.

    Attributes:
        alarmed: Whether this process knows that no rank gets on, and is about to end.

    Args:
        heartbeat: Of this process.
        board: Holds the notes of all processes.
        patience: Seconds without a beat that are allowed right now; None for any number.
        on_hang: Called in this thread, once; must end the process.
        has_work: Whether this process's GPU is not done with what was queued, asked once nothing
            moves; None on a CPU.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        board: Board,
        patience: Callable[[], float | None],
        on_hang: Callable[[Stuck], None],
        has_work: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._heartbeat, self._board = heartbeat, board
        self._patience, self._on_hang, self._has_work = patience, on_hang, has_work
        self._main = threading.main_thread().ident
        self._done = threading.Event()
        self.alarmed = False
        # A store serves thousands of notes a second; a big world speaks less often.
        self._period = max(1.0, board.size / 500)

    def run(self) -> None:
        """Watch until `stop`."""
        beats, since, lost = -1, time.monotonic(), None
        while not self._done.wait(self._period):
            rung, gone = self._exchange()
            if self._heartbeat.beats != beats or (lost is None and gone is not None):
                beats, since = self._heartbeat.beats, time.monotonic()
                lost = gone if lost is None else lost  # the first: others end because of it
            seconds, patience = time.monotonic() - since, self._patience()
            too_long = seconds > _LOST_PERIODS * self._period
            if lost is not None and too_long and not self._heartbeat.leaving:
                return self._alarm(seconds, lost)
            if rung or (patience is not None and seconds > patience):
                return self._alarm(seconds)

    def _exchange(self) -> tuple[bool, int | None]:
        """Leave a note; whether another rank found that nothing moves, and a rank that ended."""
        rung = False
        with contextlib.suppress(Exception):  # the board is on another rank, which may be stuck
            self._board.put(self._note())
            rung = self._board.rung()
        with contextlib.suppress(Exception):
            return rung, self._board.lost()
        return rung, None

    def stop(self) -> None:
        """Stop watching; a thread still inside the store would crash the interpreter's end.

        After an alarm this returns only if `on_hang` does.
        """
        self._done.set()
        self.join()

    def _alarm(self, seconds: float, lost: int | None = None) -> None:
        """Find the rank to blame and end this process, also if something fails or hangs here."""
        self.alarmed = True
        listening = 2 * _LISTEN_PERIODS * self._period if lost is None else 0.0
        # Ends the process with code 1, by a thread that is not Python's. So it also works where a
        # library hangs and holds the GIL, as torch's dump of NCCL's flight record does
        # (`_dump_nccl_trace` in torch/csrc/distributed/c10d/init.cpp). The log then shows where
        # each thread hangs.
        faulthandler.dump_traceback_later(listening + _LAST_SECONDS, exit=True, file=_STDERR)
        with contextlib.suppress(Exception):
            faulthandler.dump_traceback(_STDERR, all_threads=True)  # while all are where they hang
        self._on_hang(self._find_out(seconds) if lost is None else self._ended(lost))

    def _find_out(self, seconds: float) -> Stuck:
        rank, size = self._board.rank, self._board.size
        try:
            known = self._listen()
        except Exception:
            known = []  # then rank 0, which keeps the board, does not answer
        stuck = diagnose(known, rank, size, seconds)
        if rank != stuck.teller:
            # The first to end makes the launcher end the rest: that should be the one that reports.
            time.sleep(_LISTEN_PERIODS * self._period)
        return stuck

    def _listen(self) -> list[Note | None]:
        """Alarm the others; the notes that all ranks then leave of themselves."""
        self._board.ring()
        # On a GPU, not to know counts as to wait: the next line may hang like the main thread.
        self._board.put(self._note(alarmed=True, device_waits=self._has_work is not None))
        if self._has_work is not None:
            with contextlib.suppress(Exception):  # CUDA's, of a GPU that is broken
                self._board.put(self._note(alarmed=True, device_waits=self._has_work()))
        time.sleep(_LISTEN_PERIODS * self._period)
        return [Note(**json.loads(note)) if note else None for note in self._board.notes()]

    def _ended(self, rank: int) -> Stuck:
        """About a rank whose process has ended while this one waits."""
        host, doing = "unknown host", "never seen"
        with contextlib.suppress(Exception):
            last = Note(**json.loads(self._board.notes()[rank] or ""))
            host, doing = last.host, f"last seen {last.phase} at step {last.step}"
        text = f"has ended, {doing}, and the others wait for it"
        return Stuck(rank, host, text, rank, gone=True, ended=True)

    def _note(self, *, alarmed: bool = False, device_waits: bool = False) -> str:
        place, waits = whereabouts(self._main) if alarmed else ("", False)
        heartbeat, host, waits = self._heartbeat, socket.gethostname(), waits or device_waits
        note = Note(
            self._board.rank,
            host,
            heartbeat.phase,
            heartbeat.step,
            heartbeat.beats,
            place,
            waits,
            alarmed,
        )
        return json.dumps(asdict(note))


@contextlib.contextmanager
def watch(
    heartbeat: Heartbeat, world: World, timeout: TimeoutConfig, on_hang: Callable[[Stuck], None]
) -> Iterator[Watchdog | None]:
    """Within it, a process that no longer gets on is found out, and ends all of them.

    A process alone is not watched: it may stand at a breakpoint as long as it likes.
    """
    board = world.board()
    if board is None:
        yield None
        return
    asks = partial(has_work, world.device) if world.device.type == "cuda" else None
    watchdog = Watchdog(heartbeat, board, Patience(heartbeat, world, timeout), on_hang, asks)
    watchdog.start()
    try:
        yield watchdog
    finally:
        watchdog.stop()


class Patience:
    """Seconds without a beat: many until the first step is done and after the last, few between.

    Torch's own time-outs follow.
    """

    def __init__(self, heartbeat: Heartbeat, world: World, timeout: TimeoutConfig) -> None:
        self._heartbeat, self._world, self._timeout = heartbeat, world, timeout
        self._expected = 0.0  # that torch waits for peers

    def __call__(self) -> float | None:
        """What is allowed right now; None for any number."""
        timeout = self._timeout
        limit = timeout.step_seconds if self._heartbeat.steady else timeout.init_seconds
        if limit is not None and limit != self._expected:
            self._expected = limit
            with contextlib.suppress(Exception):  # the watch goes on with torch's time-outs as is
                self._world.expect_answers_within(limit + _LATER_SECONDS)
        return limit
