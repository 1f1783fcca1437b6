"""What earlier processes left of a run, and what these leave to later ones.

A run may be told to make room, or lose its node, and be started again on its folder. The record
says whether it had started; the checkpoint, if there is one, how far it got. Only rank 0 reads.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ttt import failure
from ttt.dist import checkpoint
from ttt.errors import LaunchError
from ttt.events import Event, Kind
from ttt.loop import Parts, Past

EVENTS, CHECKPOINT, SUSPENDED = "events.jsonl", "checkpoint", "suspended"
_PROGRESS = "progress.json"


def recall(folder: Path) -> list[Event]:
    """The events of earlier processes; a line that was cut short is none."""
    try:
        lines = (folder / EVENTS).read_text().splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        events.append(Event(Kind(event["kind"]), event["time"], event["step"], event["data"]))
    return events


def past(folder: Path) -> Past | None:
    """Where this run stands; None if its clock has never started. Forgets what came before then.

    Raises:
        LaunchError: The run is over.
    """
    events = recall(folder)
    stopped = [event for event in events if event.kind is Kind.RUN_STOP]
    if stopped:
        raise LaunchError(
            f"{folder} holds a finished run ({stopped[0].data['reason']}); start another one"
        )
    failure.forget(folder / "logs")
    (folder / SUSPENDED).unlink(missing_ok=True)
    started = [event.time for event in events if event.kind is Kind.RUN_START]
    if not started:
        (folder / EVENTS).unlink(missing_ok=True)
        for log in folder.glob("result_*.txt"):
            log.unlink()
        return None
    progress = folder / CHECKPOINT / _PROGRESS
    saved = json.loads(progress.read_text()) if progress.is_file() else {}
    return Past(started[0], events[-1].time, saved.get("step", 0), saved.get("totals", {}))


def suspend(parts: Parts, folder: Path) -> dict[str, Any]:
    """Save everything the run needs to go on; what the event about it says."""
    begin, world = parts.clock.now(), parts.world
    size = checkpoint.save(_state(parts), folder / CHECKPOINT, world)
    if world.rank == 0:
        progress = {"step": parts.learner.steps, "totals": parts.clock.totals}
        (folder / CHECKPOINT / _PROGRESS).write_text(json.dumps(progress))
    return {"bytes": size, "save_s": parts.clock.now() - begin}


def resume(parts: Parts, past: Past, folder: Path) -> None:
    """Bring freshly built parts to where the run was saved; a run never saved begins anew."""
    if not past.step:
        return
    state = _state(parts)
    checkpoint.load(state, folder / CHECKPOINT, parts.world)
    parts.learner.restore(state["learner"])
    mine = state[_rank(parts)]
    checkpoint.restore_random(mine["random"], parts.world)
    parts.meter.resume(mine["wait_seconds"])


def forget(folder: Path) -> None:
    """A run that is over needs no checkpoint."""
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)


def told(past: Past | None) -> dict[str, Any] | None:
    """`past` as it travels from rank 0 to the others."""
    return None if past is None else asdict(past)


def _rank(parts: Parts) -> str:
    return f"rank_{parts.world.rank}"


def _state(parts: Parts) -> dict[str, Any]:
    random = checkpoint.random_state(parts.world)
    return {
        "learner": parts.learner.state(),
        _rank(parts): {"random": random, "wait_seconds": parts.meter.wait_seconds},
    }
