"""Whether a run is the official benchmark that it says it is; the one place that decides.

An official id stands for a definition: the file of that name that ttt ships, even if a folder of a
user's own has under it. In the closed division a run equals it in every setting but those of
`ttt.schema.adjustable`; in the open one it keeps at least the data set, the metric and the target.
Asked before the launch, by rank 0 before the run begins, and once more for summary.json. May not
know launchers, logs or torch.
"""

import math
import random
import re
from functools import cache
from typing import Any

from ttt import compliance, config
from ttt.errors import fault
from ttt.schema import adjustable
from ttt.schema.closed import DEFINITIONS, broken_rules, word
from ttt.schema.run import RunConfig

_ABSENT = "absent"
_ID = re.compile(r"[^\W_][\w.-]{0,99}")
_SEEDS = 2**31  # what every random number generator of a run takes


def problems(run: RunConfig) -> list[str]:
    """Why a run may not claim what it claims, a sentence each; empty if it may.

    ttt accepts any claim of a name that no ruleset knows.
    """
    return examine(run)[0]


def examine(run: RunConfig) -> tuple[list[str], RunConfig | None]:
    """`problems`, and what the run is held to; both from one comparison, which takes a while.

    Returns:
        The problems; and the official benchmark with all that this run may choose as the run has
        it, and what is derived from a choice, as the interval between evaluations from the batch.
        Of several files that define the benchmark it is the most similar one; of an id that is not
        in `DEFINITIONS`, None.
    """
    found = _problems_of_names(run)
    if run.benchmark.id not in DEFINITIONS:
        return found, None
    defined, changes = _nearest(run)
    found += [_refusal(run, name, *values) for name, values in changes.items()]
    if run.benchmark.division == "closed":
        found += broken_rules(defined) + _batch_problems(defined)
    return found, defined


def holds(run: RunConfig) -> bool:
    """Whether this is a run of an official benchmark, as its definition has it."""
    return _official(run) and not problems(run)


def remarks(run: RunConfig) -> list[str]:
    """What the runner of a closed benchmark should know; nothing that keeps it from starting."""
    bounds = _batches(run)
    if bounds is None or run.data.global_batch >= bounds[0]:
        return []
    why = (
        f"is below {bounds[0]}, the batch of the smallest reference convergence point of"
        f" {run.benchmark.id} (ruleset {run.benchmark.ruleset}): MLCommons' rcp_checker will want"
        " as many epochs of it as of that one"
    )
    return [fault("data.global_batch", run.data.global_batch, why)]


def seeds(run: RunConfig) -> list[int]:
    """A seed for each run of a launch.

    In the closed division they come from the system's randomness, /dev/urandom
    (training_rules.adoc, "Random numbers"); else they count from `seed`.
    """
    if run.benchmark.division == "closed":
        return random.SystemRandom().sample(range(_SEEDS), run.runs)
    first = 1 if run.seed is None else run.seed
    return list(range(first, first + run.runs))


def own_id(run: RunConfig) -> list[str]:
    """What to type for a run that is like an official benchmark and is not it."""
    return [f"benchmark.id=my_{run.benchmark.id.strip().lower()}", "benchmark.division=open"]


def _official(run: RunConfig) -> bool:
    return run.benchmark.id in compliance.official_ids()


def _problems_of_names(run: RunConfig) -> list[str]:
    """What is wrong with id, division and ruleset; a definition has its own to say of the last."""
    benchmark, found = run.benchmark, []
    known = compliance.rulesets()
    if benchmark.ruleset not in (None, *known) and benchmark.id not in DEFINITIONS:
        allowed = ", ".join(known)
        typed = "benchmark.ruleset=null for the newest that has the benchmark"
        why = "is not a ruleset"
        found.append(
            fault("benchmark.ruleset", benchmark.ruleset, why, allowed=allowed, typed=typed)
        )
    if _official(run):
        if benchmark.id not in DEFINITIONS:
            why = "is an MLPerf benchmark that ttt has no definition of to hold this run to"
            allowed = f"{', '.join(DEFINITIONS)}, or {_own_id(run)}"
            found.append(fault("benchmark.id", benchmark.id, why, allowed=allowed))
    elif (bare := benchmark.id.strip().lower()) in compliance.official_ids():
        why, allowed = f"reads like MLPerf's {bare}", f"benchmark={bare}, or {_own_id(run)}"
        found.append(fault("benchmark.id", repr(benchmark.id), why, allowed=allowed))
    elif not _ID.fullmatch(benchmark.id):
        allowed = (
            "letters, digits, _, - and . of which a folder can be named, beginning with a letter or"
            " digit"
        )
        given = repr(benchmark.id)
        found.append(fault("benchmark.id", given, "is not a name", allowed=allowed, typed="mine"))
    elif benchmark.division == "closed":
        why = f"is not possible: {benchmark.id} is not an MLPerf benchmark"
        found.append(fault("benchmark.division", "closed", why, typed="open"))
    return found


def _batches(run: RunConfig) -> tuple[int, int] | None:
    """The bounds of a closed run's global batch; None where there are none."""
    ruleset = run.benchmark.ruleset
    if run.benchmark.division != "closed" or ruleset is None:
        return None
    return compliance.reference_batches(run.benchmark.id, ruleset)


def _batch_problems(run: RunConfig) -> list[str]:
    """A batch above the largest reference point, which rcp_checker rejects as "Missing RCP"."""
    bounds = _batches(run)
    if bounds is None or run.data.global_batch <= bounds[1]:
        return []
    return [
        fault(
            "data.global_batch",
            run.data.global_batch,
            f"is above the largest reference convergence point of {run.benchmark.id} (ruleset"
            f" {run.benchmark.ruleset}); points: {bounds[0]} to {bounds[1]}"
            f" ({adjustable.rule('data.global_batch')})",
            typed=f"data.global_batch={bounds[1]}, or benchmark.division=open",
        )
    ]


@cache
def _shipped(name: str) -> Any:
    """What `benchmark=name` composes to from ttt's own files; a user's folder has no part in it."""
    config.register()
    return config.compose([f"benchmark={name}"])


def _nearest(run: RunConfig) -> tuple[RunConfig, dict[str, tuple[Any, Any]]]:
    """What `_chosen` makes of the file that a run differs least from, and `_changes` of it."""
    chosen = [(file, _chosen(run, file)) for file in DEFINITIONS[run.benchmark.id]]
    found = [(defined, _changes(run, file, defined)) for file, defined in chosen]
    return min(found, key=lambda pair: len(pair[1]))


def _chosen(run: RunConfig, file: str) -> RunConfig:
    """A shipped file with the run's own choices, as far as they have the right type."""
    free = adjustable.adjustable(run.benchmark.id, run.benchmark.division)
    choices = {
        name: value for name, value in config.plain(run).items() if adjustable.covered(name, free)
    }
    return config.resolve(config.changed(_shipped(file), choices))


def _changes(run: RunConfig, file: str, defined: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that are not as a shipped file has them, each with its value and the right one.

    What is derived from others is right if it follows from the run's own: the sentence names the
    cause, not what comes of it. For a part of another class it names only the class.
    """
    shipped, mine = _shipped(file), config.plain(run)
    free = adjustable.adjustable(run.benchmark.id, run.benchmark.division)
    written = config.settings(shipped)
    derived = {name for name, value in written.items() if isinstance(value, str) and "${" in value}
    causes = {name: value for name, value in mine.items() if name not in derived}
    followed = config.plain(config.resolve(config.changed(shipped, causes)))
    logged = followed.keys() - written.keys()  # by parts, of themselves
    typed = {name: mine[name] for name in derived & mine.keys() if mine[name] != followed[name]}
    if typed:  # instead of what follows; the log that says so is right
        logs = config.plain(config.resolve(config.changed(shipped, causes | typed)))
        followed |= {name: logs[name] for name in logged & logs.keys()}
    derived |= logged
    right = config.plain(defined)
    right |= {name: followed[name] for name in derived if not adjustable.covered(name, free)}
    found = {}
    for name in dict.fromkeys([*right, *mine]):
        values = mine.get(name, _ABSENT), right.get(name, _ABSENT)
        unwritten = _ABSENT in values or name not in written
        if not _same(*values) and not (unwritten and adjustable.covered(name, free)):
            found[name] = values
    classes = {name.rpartition(".")[0] for name in found if name.endswith("._target_")}
    return {
        name: values
        for name, values in found.items()
        if name.endswith("._target_") or name.partition(".")[0] not in classes
    }


def _same(mine: Any, right: Any) -> bool:
    """Whether two values are the same; NaN equals NaN, and other checks refuse it."""
    return bool(mine == right) or all(isinstance(v, float) and math.isnan(v) for v in (mine, right))


def _refusal(run: RunConfig, name: str, value: Any, allowed: Any) -> str:
    """A sentence about a setting that is not as the benchmark has it, and what to type instead."""
    instead, otherwise = f"{name}={word(allowed)}", _own_id(run)
    if name.endswith("._target_"):
        instead = f"leave {name.partition('.')[0]}= and {name}= out"
    elif allowed == _ABSENT:
        instead = f"leave {name}= out"
    why, right = "is not allowed in the closed division", word(allowed)
    if run.benchmark.division == "open":
        why = (
            f"is not {run.benchmark.id}, whose data set, metric, target and ruleset hold in the"
            " open division too"
        )
    else:
        right += f" ({adjustable.rule(name)})"
        if adjustable.covered(name, adjustable.adjustable(run.benchmark.id, "open")):
            otherwise = "benchmark.division=open"
    return fault(name, word(value), why, allowed=right, typed=f"{instead}, or {otherwise}")


def _own_id(run: RunConfig) -> str:
    return f"an id of its own: {' '.join(own_id(run))}"
