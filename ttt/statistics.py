"""What is known only once the clock has stopped: measurements over ranks, MLCommons' verdict."""

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ttt import claim, compliance
from ttt.loop import Parts
from ttt.measurements import Rank
from ttt.run_folder import RunFolder
from ttt.schema.run import RunConfig
from ttt.sinks.power import write_power
from ttt.telemetry import memory
from ttt.telemetry.power import PowerMeter, energy
from ttt.telemetry.timing import BlockTimes


def statistics(parts: Parts) -> dict[str, Any]:
    """What the ranks measured, under the names of `ttt.measurements`.

    Taken after the clock has stopped, by all ranks together.
    """
    clock, meter, world = parts.clock, parts.meter, parts.world
    position, train_s = parts.position(parts.learner.steps), clock.total("train")
    recorded = world.gather((_rank(parts), meter.blocks, meter.recompiles, parts.data.skipped()))
    ranks, blocks, recompiles, names = zip(*recorded, strict=True)
    skipped = sorted(frozenset().union(*names))
    steps = {f"step_ms_{name}": value for name, value in meter.step_milliseconds().items()}
    waited = max(rank["data_wait_s"] for rank in ranks)
    return {
        **position,
        **steps,
        "train_s": train_s,
        "eval_s": clock.total("eval"),
        "samples_per_s": position["samples"] / train_s if train_s else None,
        "data_wait_fraction": waited / train_s if train_s else None,
        "eval_fraction": clock.total("eval") / clock.elapsed,
        "communication_fraction": communication_fraction(ranks),
        "recompiles": max(recompiles),
        **largest(ranks, memory.peaks(world.device)),
        "accelerator_memory_bytes": memory.total_bytes(world.device),
        "data": dict(parts.data.details()),
        "skipped_samples": len(skipped),
        "skipped": skipped[:100],
        "ranks": ranks,
        "blocks": block_times(parts.learner.steps, blocks),
    }


def skipped_sentence(measured: Mapping[str, Any]) -> str:
    """What was replaced, of what `statistics` tells, with the first names of many."""
    count, named = measured["skipped_samples"], measured["skipped"][:3]
    rest = f" and {count - len(named)} more" if count > len(named) else ""
    return (
        f"data.on_error=skip replaced {count} unreadable sample{'s' if count > 1 else ''}"
        f": {', '.join(named)}{rest}; why each cannot be read: data.on_error=error"
    )


def _rank(parts: Parts) -> dict[str, Any]:
    """What this process says of itself: the fields of `Rank`."""
    breakdown = parts.learner.breakdown()
    measured = Rank(
        rank=parts.world.rank,
        host=socket.gethostname(),
        data_wait_s=parts.meter.wait_seconds,
        step_ms_p50=parts.meter.step_milliseconds().get("p50"),
        compute_ms=breakdown.compute_ms,
        communication_ms=breakdown.communication_ms,
        exposed_ms=breakdown.exposed_ms,
    )
    return asdict(measured) | memory.peaks(parts.world.device)


def largest(ranks: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, int | None]:
    """The largest of some values over all ranks; None where no rank knows its own."""
    known = {name: [rank[name] for rank in ranks if rank[name] is not None] for name in names}
    return {name: max(values, default=None) for name, values in known.items()}


def communication_fraction(ranks: Sequence[dict[str, Any]]) -> float | None:
    """Share of forward, backward and exchange in which a rank computed nothing, worst rank.

    Both parts are medians of the same updates, those that the reducer timed: these are few, and
    slower than the median of all where a run is short. None where a rank does not know them.
    """
    shares: list[float] = []
    for rank in ranks:
        computed, exposed = rank["compute_ms"], rank["exposed_ms"]
        if exposed is None or (exposed and computed is None):
            return None
        shares.append(exposed / (computed + exposed) if exposed else 0.0)
    return max(shares)


def block_times(last: int, ranks: Sequence[Sequence[BlockTimes]]) -> list[dict[str, Any]]:
    """Every block of training, by the update it ended with, and how long each rank waited in it.

    A run that was resumed has those since then.

    Args:
        last: Updates at the end of the last block.
        ranks: The blocks of every rank, as many on each.
    """
    timed = []
    for block in reversed(list(zip(*ranks, strict=True))):
        waits = [times.wait_s for times in block]
        timed.append({"step": last, "seconds": block[0].seconds, "wait_s": waits})
        last -= block[0].steps
    return timed[::-1]


def spent(parts: Parts, power: PowerMeter, folder: Path) -> dict[str, Any]:
    """Energy of all nodes; their power logs go into the run folder if it is known of every one.

    Logs of some of the nodes, or until a counter failed, would pass for those of the whole run.
    """
    nodes = parts.world.gather_nodes(power.spent)
    measured = energy(nodes, parts.clock.elapsed, parts.position(parts.learner.steps)["samples"])
    if parts.world.rank == 0 and measured["energy_j"] is not None:
        for number, node in enumerate(nodes):
            write_power(RunFolder(folder).power_log(number), node)
    return measured


def check(run_config: RunConfig, folder: Path) -> dict[str, Any]:
    """What MLCommons' checker says of the log just written.

    A log with an official id is an official benchmark's only where the run keeps its definition.
    """
    named = run_config.benchmark
    ruleset = named.ruleset or compliance.newest_ruleset(named.id, named.division)
    verdict = compliance.check_file(RunFolder(folder).result(run_config.run), ruleset)
    if not verdict.official:
        compliance.write_rules(RunFolder(folder).rules, verdict.ruleset)
    claimed = claim.problems(run_config)
    return {
        "ruleset": verdict.ruleset,
        "division": verdict.division,
        "official": claim.holds(run_config),
        "passed": verdict.passed and not claimed,
        "problems": [*claimed, *verdict.problems],
    }
