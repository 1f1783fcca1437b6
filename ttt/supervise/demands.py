"""Checks that a run makes before its clock starts, when all processes have joined.

`ttt run` has already checked what one process can see. These checks need every process or node: the
world has the right size, and each node sees the data set and drops it from its page cache.
"""

import socket
from dataclasses import asdict
from pathlib import Path

from ttt import claim
from ttt.distributed.agreement import LostRankZero
from ttt.errors import ConfigError, DataError, LaunchError, fault
from ttt.events import EventLog, Kind
from ttt.machine import page_cache
from ttt.protocols import World
from ttt.schema.run import RunConfig


def world_size(run_config: RunConfig, world: World, *, begun: bool) -> None:
    """Refuse to train on another number of processes than was asked for.

    Args:
        run_config: The run.
        world: Those that came.
        begun: Whether the run's clock has started.

    Raises:
        LaunchError: The launcher started another number of processes, or each took itself for the
            only one.
    """
    if run_config.processes and world.size != run_config.processes:
        plural = "es" if world.size > 1 else ""
        sentence = (
            f"{world.size} process{plural} found each other, and this run is for"
            f" {run_config.processes}; is its launcher's environment passed on to them?"
        )
        if begun:
            typed = f"processes={world.size}"
            sentence += f" For a run to go on with so many, type it behind its folder: {typed}"
        raise LaunchError(sentence) if world.rank == 0 else LostRankZero(sentence)


def claim_kept(run_config: RunConfig, world: World) -> None:
    """Refuse to write the log of an official benchmark for a run that is not that benchmark.

    `ttt run` has checked the same; a frozen configuration may have been changed since then.

    Raises:
        ConfigError: The run is not the benchmark that its id names.
    """
    found = world.agree(claim.problems(run_config) if world.rank == 0 else [])
    if found:
        raise ConfigError(found) if world.rank == 0 else LostRankZero("\n".join(found))


def data_on_every_node(run_config: RunConfig, world: World) -> None:
    """Refuse to start where a node does not see the data set.

    Raises:
        DataError: On the nodes named.
    """
    root = Path(run_config.data.root)
    seen = world.gather_nodes((socket.gethostname(), root.is_dir()))
    blind = sorted(host for host, sees in seen if not sees)
    if blind:
        why = f"is not a folder on {', '.join(blind)} (seen from {Path.cwd()})"
        allowed = "a folder that every node sees"
        sentence = fault("data.root", root, why, allowed=allowed, typed="DIR")
        raise DataError(sentence) if world.rank == 0 else LostRankZero(sentence)


def clear_cache(run_config: RunConfig, world: World, log: EventLog) -> None:
    """Every node drops the data set from memory; cache_clear is logged only if all of them did.

    Raises:
        ConfigError: A node did not, and the run claims the closed division, where it must
            (training_rules.adoc, "Data State at Start of Run").
    """
    if run_config.clear_cache == "off":
        log.emit(Kind.WARNING, message="clear_cache=off: the data set may be in memory already")
        return
    root, mine = Path(run_config.data.root), None
    if world.local_rank == 0:
        mine = page_cache.clear(root, run_config.clear_cache)
    nodes = [evidence for evidence in world.gather_nodes(mine) if evidence is not None]
    if all(evidence.cleared for evidence in nodes):
        log.emit(Kind.CACHE_CLEAR, nodes=[asdict(evidence) for evidence in nodes])
        return
    kept = [evidence for evidence in nodes if not evidence.cleared]
    sentence = (
        f"the page cache was not cleared on {', '.join(one.host for one in kept)}:"
        f" {kept[0].after_bytes / 1e6:.1f} MB in {kept[0].files} files of the data set are still in"
        f" memory after {kept[0].method or 'drop_caches (not permitted)'}"
    )
    advice = "clear_cache=drop_caches as root empties the whole page cache"
    if run_config.benchmark.division == "closed":
        sentence += (
            '; the closed division does not allow that (training_rules.adoc, "Data State at Start'
            f' of Run"); {advice}, or benchmark.division=open'
        )
        raise ConfigError([sentence]) if world.rank == 0 else LostRankZero(sentence)
    log.emit(Kind.WARNING, message=f"{sentence}; cache_clear is not logged; {advice}")
