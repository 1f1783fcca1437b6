"""What earlier processes left of a run, and what these leave to later ones.

A run may be told to make room, or lose its node, and be started again on its folder. The record
says whether it had started; the checkpoint, if there is one, how far it got. Only rank 0 reads.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ttt import failure, saver, stop
from ttt.dist import checkpoint
from ttt.errors import LaunchError
from ttt.events import Event, Kind
from ttt.loop import Parts, Past
from ttt.saver import CHECKPOINT, Saver

EVENTS = "events.jsonl"


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
    (folder / stop.SUSPENDED).unlink(missing_ok=True)
    started = [event.time for event in events if event.kind is Kind.RUN_START]
    if not started:
        (folder / EVENTS).unlink(missing_ok=True)
        for log in folder.glob("result_*.txt"):
            log.unlink()
        return None
    saved = checkpoint.find(folder / CHECKPOINT)
    resumed = [event.time for event in events if event.kind is Kind.RESUMED]
    accounted = max([*started, *resumed, *([saved.time] if saved else [])])
    if saved is None:
        return Past(started[0], accounted, 0, {})
    return Past(started[0], accounted, saved.step, saved.totals)


def prepare(parts: Parts, past: Past | None, folder: Path, every: float | None) -> Parts:
    """Bring freshly built parts to where the run was saved, and have it saved from now on.

    Args:
        parts: Warm; the clock does not run yet.
        past: What earlier processes did; a run that was never saved begins anew.
        folder: The run folder.
        every: Seconds between checkpoints; None for none.

    Returns:
        The parts to run.

    Raises:
        LaunchError: A process does not see the folder, or the checkpoint is damaged.
    """
    if past and past.step:
        alike, own = checkpoint.read(folder / CHECKPOINT, past.step, parts.world)
        parts.learner.restore(alike | own)
        checkpoint.restore_random(own["random"], parts.world)
        parts.meter.resume(own["wait_seconds"])
    return parts if every is None else replace(parts, saver=Saver(parts, folder, every))


def suspend(parts: Parts, folder: Path) -> None:
    """Save everything the run needs to go on, and say so in the record.

    A checkpoint that cannot be written is a warning: the run then goes on from an older one.

    Raises:
        LaunchError: A process does not see the folder.
    """
    log, world, step = parts.log, parts.world, parts.learner.steps
    if parts.saver:
        parts.saver.finish()
    checkpoint.demand_shared(folder, world)
    begin = parts.clock.now()
    content = checkpoint.part(saver.state(parts), world, copy=False)
    [size] = world.sum([checkpoint.size_of(content)])
    failed = None
    try:
        where = saver.progress(parts)
        checkpoint.write(content, where, folder / CHECKPOINT, world.rank, total=size)
    except Exception as error:  # of any kind: the run goes on from an older one
        failed = checkpoint.reason(error)
    signals = [name.name for name in world.gather(stop.room_wanted()) if name]
    failures = [reason for reason in world.gather(failed) if reason]
    if failures:
        log.emit(Kind.WARNING, step, message=f"the checkpoint was not written: {failures[0]}")
    saved = {} if failures else {"bytes": size, "save_s": parts.clock.now() - begin}
    asked = f"{signals[0]} asked for room"
    log.emit(Kind.SUSPENDED, step, reason=asked, **saved, **parts.position(step))
    if world.rank == 0:
        (folder / stop.SUSPENDED).touch()


def told(past: Past | None) -> dict[str, Any] | None:
    """`past` as it travels from rank 0 to the others."""
    return None if past is None else asdict(past)
