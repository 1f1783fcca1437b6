"""A run that goes on on other processes, or with its model in other parts, than it had before.

`config.yaml` stays as it was typed. What is to change is typed behind the run folder. From then on
the record says how the run went on, also to processes that start later with nothing typed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from types import SimpleNamespace
from typing import Any

from ttt import config
from ttt.errors import ConfigError, counted, fault
from ttt.events import Event, Kind
from ttt.schema.nodes import SCHEMAS
from ttt.schema.parallel import ParallelConfig
from ttt.schema.run import RunConfig

_SIZES = ("replicate", "shard", "tensor")
_MODES = ("ddp", "fsdp", "hsdp", "tp", "tp_fsdp")
_NAMES = ("parallel", *(f"parallel.{each.name}" for each in fields(ParallelConfig)), "processes")
_WORD = re.compile(r"([\w.]+)=(.*)", re.DOTALL)


def moved(
    frozen: str, recalled: Sequence[Event], words: Sequence[str]
) -> tuple[str, Mapping[str, Any] | None]:
    """The configuration that a run goes on with, and what is other than before.

    Args:
        frozen: Text of the configuration in the run folder.
        recalled: The record of earlier processes.
        words: What was typed behind the run folder.

    Returns:
        The text, and for the record None if nothing is other; else `now` and `before` in words, the
        numbers of processes before and now, and the settings.

    Raises:
        ConfigError: The words are not allowed, or the run cannot go on so.
    """
    run = config.load(frozen)
    earlier = [event.data["moved"] for event in recalled if event.data.get("moved")]
    if earlier:
        run = _with(run, earlier[-1]["settings"])
        frozen = config.freeze(run)
    if not words:
        return frozen, None
    if found := [*_not_allowed(words, recalled)]:
        raise ConfigError(found)
    after = _with(run, _settings(run, words))
    if found := [*_problems(after, run.processes)]:
        raise ConfigError(found)
    return config.freeze(after), _difference(run, after)


def _not_allowed(words: Sequence[str], recalled: Sequence[Event]) -> Iterator[str]:
    """Words of which a run that goes on knows nothing."""
    if not any(event.kind is Kind.RUN_START for event in recalled):
        yield (
            f"{' '.join(words)} is for a run that goes on, and this one has not begun; leave it"
            " out, or start another run: ttt run"
        )
        return
    for word in words:
        match = _WORD.fullmatch(word)
        name, value = match.groups() if match else (word, "")
        if name not in _NAMES:
            yield (
                f"{word} cannot change while a run goes on; allowed: parallel=NAME,"
                " parallel.shard=N and the like, processes=N; leave it out, or start another run:"
                " ttt run"
            )
        elif name == "parallel" and value not in _MODES:
            yield fault(name, value, allowed=", ".join(_MODES), typed="ddp")


def _settings(run: RunConfig, words: Sequence[str]) -> dict[str, Any]:
    """What the words change, as values; what they do not name stays."""
    config.register()
    named = any(word.startswith("parallel=") for word in words)  # a name sets the sizes
    kept = {
        name: each for name, each in _plain(run.parallel).items() if not named or name not in _SIZES
    }
    stays = [f"processes={run.processes}"]
    stays += [f"parallel.{name}={_word(each)}" for name, each in kept.items()]
    try:
        asked = config.resolve(config.compose([*stays, *words]))
    except config.CompositionError as error:
        why = str(error).partition("\n")[0]
        raise ConfigError([f"{' '.join(words)}: {why}; allowed: whole numbers"]) from error
    return {"parallel": _plain(asked.parallel), "processes": asked.processes}


def _word(value: Any) -> str:
    return str(value).lower()


def _plain(parallel: ParallelConfig) -> dict[str, Any]:
    """Every setting as JSON has it."""
    plain = asdict(parallel)
    return plain | {"checkpointing": parallel.checkpointing.value}


def _with(run: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """A run with these settings of `_settings`."""
    known = dict(settings["parallel"])
    kind = type(run.parallel.checkpointing)
    parallel = ParallelConfig(**known | {"checkpointing": kind(known["checkpointing"])})
    return replace(run, parallel=parallel, processes=settings["processes"])


def _problems(run: RunConfig, before: int) -> Iterator[str]:
    """What is wrong with the processes, the parts of the model, and those of a batch.

    Args:
        run: As it is to go on.
        before: Processes that it had.
    """
    if run.processes < 1:
        yield fault("processes", run.processes, allowed="1 and up", typed="1")
        return
    found = [*run.parallel.problems(run.processes, run.precision)]
    yield from found or run.parallel.cut_problems(_typed(run.model), run.processes)
    data = _typed(run.data)
    if not found and hasattr(data, "problems"):
        for sentence in data.problems(run.parallel.mesh(run.processes), max(1, run.accumulate)):
            why = f"cannot be: {sentence.partition(';')[0]}, and a run that goes on keeps its batch"
            yield fault("processes", run.processes, why, typed=str(before))


def _typed(node: Any) -> Any:
    """A part of a frozen run with its schema's rules; as it is, if it is of a user's own."""
    if not isinstance(node, SimpleNamespace):
        return node
    for schema in SCHEMAS.values():
        ours = getattr(schema, "_target_", None) == getattr(node, "_target_", "")
        if ours and {each.name for each in fields(schema)} == set(vars(node)):
            return schema(**vars(node))
    return node


def _difference(before: RunConfig, after: RunConfig) -> dict[str, Any] | None:
    """What is other, for the record."""
    were, are = (_plain(run.parallel) for run in (before, after))
    if (were, before.processes) == (are, after.processes):
        return None
    first, then = (_named(run) for run in (before, after))
    if first == then:  # the processes have the same parts, and do something else beside
        first, then = (
            " ".join(
                f"parallel.{name}={_word(one[name])}" for name in are if were[name] != are[name]
            )
            for one in (were, are)
        )
    return {
        "now": then,
        "before": first,
        "processes": [before.processes, after.processes],
        "settings": {"parallel": are, "processes": after.processes},
    }


def _named(run: RunConfig) -> str:
    """The mesh in words."""
    mesh = run.parallel.mesh(run.processes)
    sides = {"replicate": mesh.replicate, "shard": mesh.shard, "tensor": mesh.tensor}
    found = " ".join(f"{name}={size}" for name, size in sides.items() if size > 1)
    return found or counted(1, "process")
