"""Who stands still? Every process leaves a beat at every turn; a thread watches that they come.

All ranks walk through the same sequence of turns, so when nobody gets on, the rank with the fewest
beats is the one the others wait for. What processes tell each other goes over a `Board`, apart from
the communication that may be stuck.

A process that waits for its GPU may wait for another rank: the GPU may be in a collective. So of
ranks that are equally far, only one that is outside of torch, and whose GPU has nothing left to do,
is taken for the one that holds the others up.
"""

import contextlib
import faulthandler
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from ttt.protocols import Board

_LISTEN_PERIODS = 3  # how long to hear from the others, once one finds that nothing moves
# How long a main thread may take to learn by itself that a process has ended, and end in order.
_LOST_PERIODS = 3
_LAST_SECONDS = 8.0  # from an alarm to the end of the process, listening not included
_STDERR = 2  # the file of this rank, whatever became of sys.stderr


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


@dataclass(frozen=True, slots=True)
class Note:
    """What a process says of itself.

    Attributes:
        rank: Which.
        host: Where.
        phase: What it is doing.
        step: Updates done.
        beats: Turns taken so far.
        place: The code it is in, outside of torch; "" while it gets on.
        waits: Whether it may wait for another rank: it is inside torch, or its GPU has work left.
        alarmed: Whether it knows that nothing moves: so it lives.
    """

    rank: int
    host: str
    phase: str
    step: int
    beats: int
    place: str = ""
    waits: bool = False
    alarmed: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """Who holds everybody up, and a sentence about it.

    Attributes:
        rank: The one that does; the lowest, if several do.
        host: Where it is.
        text: What to tell the user.
        teller: The lowest rank that lives: the one to tell it.
        gone: Whether the rank gives no sign of life, for example because its node lost its power.
        ended: Whether its process is known to have ended; that process or its launcher reports why.
    """

    rank: int
    host: str
    text: str
    teller: int
    gone: bool = False
    ended: bool = False


class Watchdog(threading.Thread):
    """Watches one process, and with it the run: calls `on_hang` when it no longer gets on.

    From the alarm there is no way back: the others end too, and whoever is first breaks the calls
    that the others are in. What those calls raise then says less than `on_hang` does.

    Attributes:
        alarmed: Whether this process knows that nothing moves, and is about to end.

    Args:
        heartbeat: Of this process.
        board: For what the others say.
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
        """Find out who it is and end this process, whatever fails or hangs on the way."""
        self.alarmed = True
        listening = 2 * _LISTEN_PERIODS * self._period if lost is None else 0.0
        # Ends the process with code 1 even if a library hangs and holds the GIL, as torch's dump of
        # NCCL's flight record does (`_dump_nccl_trace` in torch/csrc/distributed/c10d/init.cpp):
        # the thread that does this is not Python's. The log then shows where each thread hangs.
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
            # Whoever ends first makes the launcher end the rest: first the one that tells, please.
            time.sleep(_LISTEN_PERIODS * self._period)
        return stuck

    def _listen(self) -> list[Note | None]:
        """Tell the others that nothing moves; what each says of itself."""
        self._board.ring()
        # On a GPU not to know is to wait: the next line may hang like the main thread.
        self._board.put(self._note(alarmed=True, device_waits=self._has_work is not None))
        if self._has_work is not None:
            with contextlib.suppress(Exception):  # CUDA's, of a GPU that is broken
                self._board.put(self._note(alarmed=True, device_waits=self._has_work()))
        time.sleep(_LISTEN_PERIODS * self._period)
        return [Note(**json.loads(note)) if note else None for note in self._board.notes()]

    def _ended(self, rank: int) -> Stuck:
        """What to say of a rank whose process has ended while this one waits."""
        host, doing = "unknown host", "never seen"
        with contextlib.suppress(Exception):
            last = Note(**json.loads(self._board.notes()[rank] or ""))
            host, doing = last.host, f"last seen {last.phase} at step {last.step}"
        text = f"has ended, {doing}, and the others wait for it"
        return Stuck(rank, host, text, rank, gone=True, ended=True)

    def _note(self, *, alarmed: bool = False, device_waits: bool = False) -> str:
        place, waits = _whereabouts(self._main) if alarmed else ("", False)
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


def _whereabouts(thread: int | None) -> tuple[str, bool]:
    """The line a thread is at, in the innermost code that is not torch's, and whether it waits."""
    frame = sys._current_frames().get(thread or 0)
    waits = frame is not None and _torchs(frame.f_code.co_filename)
    while frame is not None and _torchs(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return "", waits
    file = "/".join(frame.f_code.co_filename.split("/")[-2:])
    return f"{frame.f_code.co_name} ({file}:{frame.f_lineno})", waits


def _torchs(file: str) -> bool:
    return "/torch/" in file or file.endswith("ttt/distributed/world.py")


def diagnose(notes: Sequence[Note | None], teller: int, size: int, seconds: float) -> Stuck:
    """Who holds the others up.

    Args:
        notes: What each rank said last, in rank order; empty if nothing could be heard.
        teller: The rank that asks.
        size: Number of ranks.
        seconds: How long nothing has moved.
    """
    waited = f"for {seconds:.0f} s"
    if not notes:
        text = f"rank 0 does not answer, and nothing has moved {waited}: it is stopped or gone"
        return Stuck(0, "unknown host", text, teller, gone=True)
    alive = [note for note in notes if note and note.alarmed]
    teller = min((note.rank for note in alive), default=teller)
    silent = [rank for rank, note in enumerate(notes) if not (note and note.alarmed)]
    if silent:
        last = notes[silent[0]]
        host = last.host if last else "unknown host"
        doing = f"last seen {last.phase} at step {last.step}" if last else "never seen"
        others = f", and so do ranks {silent[1:]}" if len(silent) > 1 else ""
        text = f"gives no sign of life {waited} (stopped, or its node is gone), {doing}{others}"
        return Stuck(silent[0], host, text, teller, gone=True)
    fewest = min(note.beats for note in alive)
    behind = [note for note in alive if note.beats == fewest]
    if len(behind) == size:  # equally far: then one that does not wait is what others wait for
        behind = [note for note in alive if not note.waits]
    if behind and len(behind) < size:
        one = behind[0]
        others = f"; so are ranks {[note.rank for note in behind[1:]]}" if len(behind) > 1 else ""
        text = f"is stuck {waited} {one.phase} at step {one.step}, in {one.place}{others}"
        return Stuck(one.rank, one.host, text, teller)
    one = alive[0]
    text = (
        f"and all other ranks are stuck {waited} {one.phase} at step {one.step}, in {one.place}:"
        " messages between them do not arrive"
    )
    return Stuck(one.rank, one.host, text, teller)
