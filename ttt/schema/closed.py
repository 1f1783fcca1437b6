"""What the closed division bounds although a run may choose it, and which file defines what.

The official checker reads values, not how often a run looked at its quality, nor what it leaves to
a person to check. Each rule below is pure: a configuration goes in, sentences come out. All that a
run may not choose is compared with the shipped definition instead; see `ttt.claim`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ttt.errors import fault
from ttt.schema.adjustable import rule
from ttt.schema.run import RunConfig

_LARGE_BATCH = 32_768

# Files of conf/benchmark that define an official benchmark, one for each optimizer it may have.
DEFINITIONS: Mapping[str, tuple[str, ...]] = {
    "resnet": ("resnet", "resnet_sgd"),
    "transformer": ("transformer",),
    "gnmt": ("gnmt",),
    "dlrm_dcnv2": ("dlrm_dcnv2",),
    "llama31_8b": ("llama31_8b",),
    "bert": ("bert",),
}


@dataclass(frozen=True, slots=True)
class Fixed:
    """A setting with a short list of allowed values; an absent setting is not one of them."""

    setting: str
    allowed: tuple[Any, ...]

    def __call__(self, run: RunConfig) -> Iterator[str]:
        """A sentence if the value is another."""
        value: Any = run
        for name in self.setting.split("."):
            value = getattr(value, name, None)
        if value not in self.allowed:
            words = " or ".join(word(one) for one in self.allowed)
            yield _refused(self.setting, word(value), words, word(self.allowed[0]))


def _refused(setting: str, value: str, allowed: str, typed: str) -> str:
    return fault(
        setting,
        value,
        "is not allowed in the closed division",
        allowed=f"{allowed} ({rule(setting)})",
        typed=f"{setting}={typed}, or benchmark.division=open",
    )


def lars_momentum(run: RunConfig) -> Iterator[str]:
    """LARS: momentum 0.9 for batches below 32k, otherwise any (`lars_opt_momentum`)."""
    if run.optim.name == "lars" and run.data.global_batch < _LARGE_BATCH:
        for each in Fixed("optim.momentum", (0.9,))(run):
            yield f"{each}; any from data.global_batch={_LARGE_BATCH} on"


def sgd_momentum(run: RunConfig) -> Iterator[str]:
    """SGD: momentum 0.9 (`sgd_opt_momentum`)."""
    if run.optim.name == "sgd":
        yield from Fixed("optim.momentum", (0.9,))(run)


def sgd_warmup(run: RunConfig) -> Iterator[str]:
    """SGD: `opt_learning_rate_warmup_epochs` is an integer >= 0."""
    if run.optim.name == "sgd" and run.schedule.warmup_epochs % 1:
        whole = round(run.schedule.warmup_epochs)
        yield from Fixed("schedule.warmup_epochs", (whole,))(run)


def one_epoch_at_most(run: RunConfig) -> Iterator[str]:
    """DLRM is "trained for at most one epoch"; to give up earlier is allowed."""
    if run.target.max_epochs > 1:
        yield from Fixed("target.max_epochs", (1.0,))(run)


def starts_from_a_checkpoint(run: RunConfig) -> Iterator[str]:
    """BERT is "defined as starting from a fixed set of weights": the checkpoint of step 28,252.

    training_rules.adoc, "Pre-training is not allowed" and "Weight and Bias Initialization".
    """
    if run.model.initial is None:
        yield _refused("model.initial", "null", "the reference's checkpoint", "FILE")


def word(value: Any) -> str:
    """A value as it is typed."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float() if float(f"{value:g}") == value:
            return f"{value:g}"
        case list() | tuple():
            return f"[{','.join(word(one) for one in value)}]"
    return str(value)


Rule = Callable[[RunConfig], Iterator[str]]

# Of every closed run.
_CLEARED = Fixed("clear_cache", ("auto", "drop_caches", "fadvise"))
# Of one benchmark: the constraints of what it lets a run choose, `adjustable.TUNABLE`.
RULES: Mapping[str, tuple[Rule, ...]] = {
    "resnet": (
        # "Every 4 epochs with offset 0 or 1 or 2 or 3"
        Fixed("target.first_eval_epochs", (3.0, 2.0, 1.0, 4.0, None)),
        Fixed("task.label_smoothing", (0.1, 0.0)),
        lars_momentum,
        sgd_momentum,
        sgd_warmup,
    ),
    "transformer": (),
    "gnmt": (),
    "dlrm_dcnv2": (one_epoch_at_most,),
    "llama31_8b": (),
    "bert": (starts_from_a_checkpoint,),
}


def broken_rules(run: RunConfig) -> list[str]:
    """A sentence for every choice of a run that is out of the closed division's bounds."""
    rules: tuple[Rule, ...] = (_CLEARED, *RULES.get(run.benchmark.id, ()))
    return [problem for one in rules for problem in one(run)]


def typed_seed(run: RunConfig) -> list[str]:
    """A closed run's seed is drawn at launch, so the user may not set it."""
    return list(Fixed("seed", (None,))(run))
