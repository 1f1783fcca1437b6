"""What experiments are called, so that a reader tells them apart. Pure.

By the machine; where that is the same, by who ran it, the system, and the settings that differ:
never by a folder or a time, which say nothing of what was done.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from ttt.errors import counted, one_line
from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.format import PLURAL

_SETTINGS = 3  # in one name; more would be its configuration
_COUNTED = re.compile(r"(?:^| )\([0-9]+\)$")
_LAST = "_target_"  # a class follows from the setting that chose it


def size(of: Experiment) -> str:
    """Such as "8 accelerators", "2 processes" or "4 nodes"; empty if unknown."""
    return "" if of.workers is None else counted(of.workers, of.unit, PLURAL[of.unit])


def machine(of: Experiment) -> str:
    """Such as "8 x NVIDIA H100" or "4 nodes, 2 x Xeon each"; as `size` if the model is unknown."""
    count, processors = of.workers, of.described("host_processors_per_node")
    if not count or of.part is None or of.unit == "process":
        return size(of)
    if of.unit == "accelerator":
        return one_line(f"{count:,} x {of.part}")
    name = f"{processors} x {of.part}" if processors else of.part
    return one_line(f"{size(of)}, {name}{' each' if count > 1 else ''}")


def names(experiments: Sequence[Experiment]) -> list[str]:
    """The shortest name for each that differs from the others here."""
    shown = _machines(experiments)
    texts = [joined(*each) for each in zip(shown, differences(experiments, shown), strict=True)]
    return [f"this experiment {each}".strip() if each[:1] in ("", "(") else each for each in texts]


def beside_machines(experiments: Sequence[Experiment]) -> list[str]:
    """What the name of each experiment has besides its machine; often nothing."""
    return differences(experiments, _machines(experiments))


def _machines(experiments: Sequence[Experiment]) -> list[str]:
    """The machine of each, as briefly as it differs from those of the others."""
    kinds = {each.accelerator_name for each in experiments}
    shown = [machine(each) if len(kinds) > 1 else size(each) for each in experiments]
    if len(set(shown)) < len(set(map(machine, experiments))):
        shown = [machine(each) for each in experiments]
    return shown


def differences(experiments: Sequence[Experiment], shown: Sequence[Hashable]) -> list[str]:
    """What else sets each experiment apart from those that show the same so far.

    Args:
        experiments: All that are shown together.
        shown: What a reader knows of each.

    Returns:
        Empty where the name is enough; a number, as "(2)", where nothing that
        is known differs.
    """
    found = [""] * len(experiments)
    for places in _alike(shown):
        if len(places) > 1:
            apart = _apart([experiments[place] for place in places], _ASKED)
            for place, text in zip(places, apart, strict=True):
                found[place] = text
    return found


def whereabouts(name: str, experiment: Experiment) -> str | None:
    """Where the runs are that only a number tells apart; None where something else does.

    Args:
        name: One of `names` or `differences`.
        experiment: What is called so.
    """
    if _COUNTED.search(name) is None:
        return None
    alone = len(experiment.runs) == 1
    paths = dict.fromkeys(run.path if alone else run.path.parent for run in experiment.runs)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{name}: {next(iter(paths))}{more}; no known setting tells it from the others"


def _alike(values: Iterable[Hashable]) -> list[list[int]]:
    """The places of each value."""
    places: dict[Hashable, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(value, []).append(place)
    return list(places.values())


def _apart(
    experiments: Sequence[Experiment], asked: Sequence[Callable[[Experiment], str]]
) -> list[str]:
    all_answers = [[ask(experiment) for experiment in experiments] for ask in asked]
    for place, answers in enumerate(all_answers, 1):
        if len({*answers} - {""}) > 1:
            return _then(experiments, answers, asked[place:])
    answers = _settings(experiments)
    if len(set(answers)) > 1:
        return _then(experiments, answers, ())
    for place, answers in enumerate(
        all_answers, 1
    ):  # an experiment without an answer differs least
        if len(set(answers)) > 1:
            return _then(experiments, answers, asked[place:])
    return [f"({place})" for place in range(1, len(experiments) + 1)]


def _then(
    experiments: Sequence[Experiment],
    answers: Sequence[str],
    asked: Sequence[Callable[[Experiment], str]],
) -> list[str]:
    """The answers; those that are the same get one more difference."""
    texts = list(answers)
    for places in _alike(answers):
        if len(places) > 1:
            rest = _apart([experiments[place] for place in places], asked)
            for place, text in zip(places, rest, strict=True):
                texts[place] = joined(answers[place], text)
    return texts


def joined(first: str, second: str) -> str:
    """A name and the settings that differ."""
    comma = ", " if first and second and not second.startswith("(") else " "
    return f"{first}{comma}{second}".strip()


def _settings(experiments: Sequence[Experiment]) -> list[str]:
    """The settings of each that differ between these, as one would type them."""
    known = [experiment.runs[0].settings for experiment in experiments]  # repetitions have the same
    differing = [
        name
        for name in dict.fromkeys(name for each in known for name in each)
        if len({repr(each.get(name)) for each in known}) > 1
    ]
    differing.sort(key=lambda name: name.endswith(_LAST))
    chosen: list[str] = []
    for name in differing:  # first those without which two would be called the same
        if _kinds(known, [*chosen, name]) > _kinds(known, chosen):
            chosen.append(name)
    others = [name for name in differing if name not in chosen and not name.endswith(_LAST)]
    chosen += others[: max(0, _SETTINGS - len(chosen))]
    chosen.sort(key=differing.index)
    usual = {name: _usual([repr(each.get(name)) for each in known]) for name in chosen}
    return [_unusual(each, chosen, usual) for each in known]


def _unusual(
    values: Mapping[str, Any], chosen: Sequence[str], usual: Mapping[str, str | None]
) -> str:
    """Settings as one would type them, without what is as usual; the first if everything is."""
    present = [name for name in chosen if name in values]
    unusual = [name for name in present if repr(values[name]) != usual[name]]
    return one_line(", ".join(f"{name}={_typed(values[name])}" for name in unusual or present[:1]))


def _usual(values: Sequence[str]) -> str | None:
    """What more than half of them are; None without such a value, or among two."""
    [(value, count)] = Counter(values).most_common(1)
    return value if len(values) > 2 and 2 * count > len(values) else None


def _kinds(known: Sequence[Any], names: Sequence[str]) -> int:
    return len({tuple(repr(each.get(name)) for name in names) for each in known})


def _typed(value: Any) -> str:
    return (
        value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    )


def _scaling(experiment: Experiment) -> str:
    """Whether MLPerf HPC's result is one model on all of a machine, or many side by side."""
    kinds = {run.path.parent.parent.name for run in experiment.runs if run.official}
    return kinds.pop() if len(kinds) == 1 and kinds <= {"strong", "weak"} else ""


def _batch(experiment: Experiment) -> str:
    return "" if experiment.global_batch is None else f"batch {experiment.global_batch:,}"


# In the order in which a reader would ask.
_ASKED: tuple[Callable[[Experiment], str], ...] = (
    lambda experiment: one_line(experiment.submitter or ""),
    lambda experiment: one_line(experiment.system or ""),
    _scaling,
    lambda experiment: one_line(experiment.ruleset or ""),
    _batch,
    lambda experiment: one_line(experiment.precision or ""),
)
