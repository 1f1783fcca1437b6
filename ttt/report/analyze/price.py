"""What runs cost at prices that the reader gives. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ttt.errors import ConfigError
from ttt.report.run import Found, Run


def priced(found: Found, prices: Mapping[str, float]) -> Found:
    """The same runs, with what they cost.

    Published results do not say a price, and that of one's own machine may change.

    Args:
        found: What was read.
        prices: Of a node for an hour, by the name of a system as the hardware table has it.

    Raises:
        ConfigError: A price is of a system that no run was on.
    """
    demand_known("--price", found.runs, prices)
    return replace(found, runs=_at(found.runs, prices))


def demand_known(option: str, runs: Sequence[Run], systems: Iterable[str]) -> None:
    """Demand that an option names only systems that runs were on.

    Raises:
        ConfigError: No run was on one of them.
    """
    known = dict.fromkeys(run.system for run in runs if run.system is not None)
    if unknown := [name for name in systems if name not in known]:
        allowed = ", ".join(known) or "none, as no run says what it was on"
        raise ConfigError(
            [f"{option} {name}=...: no run was on {name}; allowed: {allowed}" for name in unknown]
        )


def _at(runs: Sequence[Run], prices: Mapping[str, float]) -> tuple[Run, ...]:
    return tuple(
        run
        if (price := prices.get(run.system or "")) is None
        else replace(run, price_per_hour=price, cost=_cost(run, price))
        for run in runs
    )


def _cost(run: Run, price: float) -> float | None:
    if run.nodes is None or run.elapsed_s is None or not run.clock_trusted:
        return None
    if run.lost_s:  # a queue costs nothing
        return None
    return price * run.nodes * run.elapsed_s / 3600
