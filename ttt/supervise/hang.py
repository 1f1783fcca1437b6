"""Finds the rank that keeps all others from going on, from what each says of itself. Pure.

All ranks go through the same sequence of turns, so when none gets on, the rank with the fewest
beats is the one that the others wait for. A process that waits for its GPU may wait for another
rank: the GPU may be in a collective. So of ranks that are equally far, only one that is outside of
torch, and whose GPU has nothing left to do, counts as the one that holds the others up.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


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
        alarmed: Whether it knows that no rank gets on; then it lives.
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
    """The rank that holds up all others, and a sentence about it.

    Attributes:
        rank: The one that does; the lowest, if several do.
        host: Where it is.
        text: The sentence for the user, after the name of the rank.
        teller: The lowest rank that lives: it shows the sentence.
        gone: Whether the rank gives no sign of life, for example because its node lost its power.
        ended: Whether its process is known to have ended; that process or its launcher reports why.
    """

    rank: int
    host: str
    text: str
    teller: int
    gone: bool = False
    ended: bool = False


def whereabouts(thread: int | None) -> tuple[str, bool]:
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
    """The rank that holds the others up.

    Args:
        notes: The last note of each rank, in rank order; empty if none could be read.
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
    if len(behind) == size:  # equally far: then the others wait for one that does not wait
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
