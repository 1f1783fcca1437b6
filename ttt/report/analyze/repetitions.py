"""Which runs repeat each other, so that their times may be averaged. Pure."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ttt.report.run import Run

_ALIKE: tuple[Callable[[Run], Hashable], ...] = (
    lambda run: run.benchmark,
    lambda run: run.division,
    lambda run: run.submitter,
    lambda run: run.system,
    lambda run: run.global_batch,
)


def repetitions(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Put together the runs that repeat each other, in the order of the first of each.

    Those of ttt have the same benchmark, target and configuration on the same machine. A run that
    died left no word of its machine: it belongs to the one its launch used. Where seeds come again
    from launch to launch, a user repeated the whole launch: each launch is by itself. MLPerf logs
    repeat each other if they lie in the same folder and say the same of benchmark, division,
    submitter, system and batch. What a damaged one does not say is as in the others.
    """
    runs = list(runs)
    found: dict[Hashable, list[Run]] = {}
    for run, key in zip(runs, _keys(runs), strict=True):
        found.setdefault(key, []).append(run)
    return [part for members in found.values() for part in _launches(members)]


def _keys(runs: Sequence[Run]) -> list[Hashable]:
    machines: dict[Hashable, Hashable] = {}
    known: dict[Hashable, Any] = {}
    for run in runs:
        if run.world_size is not None:
            machines.setdefault(_launch(run), _machine(run))
        for place, ask in enumerate(_ALIKE):
            if (answer := ask(run)) is not None:
                known.setdefault((run.digest, place), answer)
    return [
        _log_key(run, known) if run.source == "MLPerf log" else _key(run, machines) for run in runs
    ]


def _log_key(run: Run, known: dict[Hashable, Any]) -> Hashable:
    answers = (ask(run) for ask in _ALIKE)
    return (
        run.source,
        run.digest,
        *(
            known.get((run.digest, place)) if answer is None else answer
            for place, answer in enumerate(answers)
        ),
    )


def _key(run: Run, machines: dict[Hashable, Hashable]) -> Hashable:
    machine = _machine(run) if run.world_size is not None else machines.get(_launch(run))
    configuration = run.digest or _launch(run)
    return run.source, configuration, run.benchmark, run.target, machine


def _launch(run: Run) -> tuple[Path, str | None]:
    return run.path.resolve().parent, run.digest


def _machine(run: Run) -> Hashable:
    processor = run.description.get("host_processor_model_name")
    return run.world_size, run.nodes, run.accelerator_name, run.system, str(processor)


def _launches(members: Sequence[Run]) -> Iterable[tuple[Run, ...]]:
    """All as they are; or launch by launch if no seed comes twice only within these."""
    if any(run.source == "MLPerf log" for run in members) or not repeated_seeds(members):
        return [tuple(members)]
    launches: dict[Path, list[Run]] = {}
    for run in members:
        launches.setdefault(run.path.resolve().parent, []).append(run)
    if any(map(repeated_seeds, launches.values())):
        return [tuple(members)]
    return map(tuple, launches.values())


def repeated_seeds(runs: Iterable[Run]) -> list[int]:
    """The seeds of more than one run."""
    seeds = [run.seed for run in runs if run.seed is not None]
    return sorted({seed for seed in seeds if seeds.count(seed) > 1})


def copies(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs that are the same as an earlier one: no two end in the same millisecond by chance."""
    first: dict[tuple[float, float], Run] = {}
    found = []
    for run in runs:
        if run.stopped is None or run.elapsed_s is None:
            continue
        before = first.setdefault((run.stopped, run.elapsed_s), run)
        if before is not run:
            found.append((run, before))
    return found
