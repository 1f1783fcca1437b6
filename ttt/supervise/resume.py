"""What earlier processes left of a run, and what these leave to later ones.

A run may be preempted, or lose its node, and start again on its folder. The record shows whether
the run had started; the checkpoint, if there is one, how far it got. Only rank 0 reads them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ttt import signals, trusted
from ttt.distributed import checkpoint
from ttt.distributed.checkpoint import Progress
from ttt.distributed.state import restore_random
from ttt.distributed.tables import spread_in
from ttt.errors import LaunchError, counted
from ttt.events import Event, Kind
from ttt.loop import Parts, ResumePoint
from ttt.protocols import World
from ttt.run_folder import RunFolder
from ttt.supervise import failure, saver
from ttt.supervise.saver import Saver

_BEFORE = (Kind.CACHE_CLEAR, Kind.INIT_START, Kind.CONFIG, Kind.INIT_STOP, Kind.WARNING)


def recall(folder: Path) -> list[Event]:
    """The events of earlier processes, without lines that were cut short or are damaged.

    Raises:
        ConfigError: Others could have written them.
    """
    try:
        lines = trusted.read(RunFolder(folder).events).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [event for event in map(_event, lines) if event]


def _event(line: str) -> Event | None:
    """The event in a line of the record; None if the line holds no event."""
    try:
        event = json.loads(line)
        kind, time, step = Kind(event["kind"]), event["time"], event["step"]
        possible = math.isfinite(time) and isinstance(step, int) and isinstance(event["data"], dict)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None
    return Event(kind, time, step, event["data"]) if possible else None


def past(folder: Path) -> ResumePoint | None:
    """Where this run stands; None if its clock has never started: then its record is removed.

    Raises:
        LaunchError: The run is over, or its record is damaged where its clock started.
    """
    events = recall(folder)
    stopped = [event for event in events if event.kind is Kind.RUN_STOP]
    if stopped:
        raise LaunchError(
            f"{folder} holds a finished run ({stopped[0].data.get('reason')}); start another one"
        )
    begun = any(event.kind is Kind.RUN_START for event in events)
    if not begun and any(event.kind not in _BEFORE for event in events):
        raise LaunchError(
            f"{RunFolder(folder).events} is damaged: it no longer shows when the clock started, so"
            " this run cannot go on; start another one"
        )
    run = RunFolder(folder)
    failure.forget(run.logs)
    run.suspended.unlink(missing_ok=True)
    if not begun:
        run.events.unlink(missing_ok=True)
        for log in run.results():
            log.unlink()
        return None
    return _past(events, checkpoint.find(run.checkpoint))


def _past(events: Sequence[Event], saved: Progress | None) -> ResumePoint:
    """Where a started run stands; it goes on from a checkpoint, or from the beginning."""
    started = [event.time for event in events if event.kind is Kind.RUN_START]
    resumed = [event.time for event in events if event.kind is Kind.RESUMED]
    accounted = max([*started, *resumed, *([saved.time] if saved else [])])
    if saved is None:
        return ResumePoint(started[0], accounted, 0, {})
    return ResumePoint(started[0], accounted, saved.step, saved.totals)


def prepare(
    parts: Parts, past: ResumePoint | None, folder: Path, every: float | None
) -> tuple[Parts, ResumePoint | None]:
    """Load the saved state into freshly built parts, and save the run from now on.

    Args:
        parts: Warm; the clock does not run yet.
        past: What earlier processes did; a run that was never saved begins anew.
        folder: The run folder.
        every: Seconds between checkpoints; None for none.

    Returns:
        The parts to run, and the past they go on from. This past is older than `past` if the
        newest checkpoint is damaged.

    Raises:
        LaunchError: A process does not see the folder, or the checkpoint does not fit.
    """
    if past:
        past = _undamaged(parts, past, folder)
        if past.step:
            _restore(parts, past.step, RunFolder(folder).checkpoint)
        if parts.world.rank == 0:  # no file of a later step may count among those to be written
            checkpoint.sweep(RunFolder(folder).checkpoint, keep=[past.step])
    return (parts if every is None else replace(parts, saver=Saver(parts, folder, every))), past


def _restore_random(parts: Parts, saved: Mapping[str, Tensor], step: int, folder: Path) -> None:
    """The random numbers of each data shard; new ones where a batch has another number of them."""
    said, world = checkpoint.where(folder, step), parts.world
    if said is None or said.data_shards == world.mesh.data_shards:
        restore_random(dict(saved), world)
        return
    torch.manual_seed(parts.seed + 1_000_003 * (world.data.index + 1) + step)
    sentence = f"a batch was divided among {counted(said.data_shards, 'data shard')} and now among"
    sentence += f" {world.mesh.data_shards}: from step {step} on the run draws other random numbers"
    sentence += " (dropout) than it would have"
    parts.log.emit(Kind.WARNING, step, message=sentence)


def _undamaged(parts: Parts, past: ResumePoint, folder: Path) -> ResumePoint:
    """The past up to the newest checkpoint that is not damaged; all ranks agree on it."""
    world, saved = parts.world, RunFolder(folder).checkpoint
    bad = checkpoint.unclear(saved) if world.rank == 0 else []
    while past.step and (files := checkpoint.damaged(saved, past.step, world)):
        bad += files
        if world.rank == 0:
            earlier = _past(recall(folder), checkpoint.find(saved, before=past.step))
            past = replace(earlier, moved=past.moved)
        past = world.agree(past)
    point = f"goes on from step {past.step}" if past.step else "begins anew"
    for file in bad:
        parts.log.emit(Kind.WARNING, message=f"{file} is damaged: the run {point}")
    return past


def _restore(parts: Parts, step: int, folder: Path) -> None:
    """Load a checkpoint; if one rank cannot, all ranks raise its reason."""
    problem, model = None, parts.learner.model
    try:
        _demand_tables(model, step, folder, parts.world)
        statistics = {f"model.{name}" for name, _ in model.named_buffers()}
        alike, own = checkpoint.read(folder, step, parts.world, statistics)
        parts.learner.restore(alike | own)
        _restore_random(parts, own["random"], step, folder)
        parts.meter.resume(own["wait_seconds"])
    except LaunchError as error:
        problem = str(error)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        problem = (
            f"the checkpoint {folder / f'step_{step}'} does not fit this run, another model may"
            f" have saved it: {checkpoint.reason(error)}; {checkpoint.without(folder, step)}"
        )
    problems = [one for one in parts.world.gather(problem) if one]
    if problems:
        raise LaunchError(problems[0])


def _demand_tables(model: nn.Module, step: int, folder: Path, world: World) -> None:
    """Refuse other processes where each had rows of tables of its own.

    Raises:
        LaunchError: Another number of processes saved them.
    """
    said = checkpoint.where(folder, step)
    if said and said.ranks != world.size and spread_in(model):
        raise LaunchError(
            f"{said.ranks} processes saved tables that are spread over them (model.sharding), and"
            f" {world.size} are here; such a run goes on with as many; processes={said.ranks}"
        )


def suspend(parts: Parts, folder: Path) -> None:
    """Save everything that the run needs to go on, and record that it is suspended.

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
        checkpoint.write(content, where, RunFolder(folder).checkpoint, world.rank, total=size)
    except Exception as error:  # of any kind: the run goes on from an older one
        failed = checkpoint.reason(error)
    asking = [name.name for name in world.gather(signals.preemption_requested()) if name]
    failures = [reason for reason in world.gather(failed) if reason]
    if failures:
        log.emit(Kind.WARNING, step, message=f"the checkpoint was not written: {failures[0]}")
    saved = {} if failures else {"bytes": size, "save_s": parts.clock.now() - begin}
    asked = f"{asking[0]} asked for room"
    position = parts.position(step)
    parts.clock.hand_on()  # from here on a signal or an error does not end the run
    if world.rank == 0:
        RunFolder(folder).suspended.touch()
    log.emit(Kind.SUSPENDED, step, reason=asked, **saved, **position)
