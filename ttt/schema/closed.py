"""Rules of the closed division that no log can show, so that the official checker cannot see them.

The checker reads values, not how often a run looked at its quality, nor what a rule calls fixed to
the reference without repeating it. Each rule below is pure: a configuration goes in, sentences come
out. The text is MLCommons' training_rules.adoc (mlcommons/training_policies); sections by name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ttt.schema.run import RunConfig

HYPERPARAMETERS = 'training_rules.adoc, "Hyperparameters and Optimizer"'
QUALITY = 'training_rules.adoc, "Quality measure"'
_LARGE_BATCH = 32_768
_RECOMMENDATION_EVALUATIONS = 20  # an epoch, at equal distances


@dataclass(frozen=True, slots=True)
class Fixed:
    """A setting with a short list of allowed values; an absent setting is not one of them."""

    setting: str
    allowed: tuple[Any, ...]
    section: str = HYPERPARAMETERS

    def __call__(self, run: RunConfig) -> Iterator[str]:
        """A sentence if the value is another."""
        value: Any = run
        for name in self.setting.split("."):
            value = getattr(value, name, None)
        if value not in self.allowed:
            words = " or ".join(_word(one) for one in self.allowed)
            yield (
                f"{self.setting}={_word(value)} is not allowed in the closed division; allowed:"
                f" {words} ({self.section}); {self.setting}={_word(self.allowed[0])},"
                " or benchmark.division=open"
            )


def lars_momentum(run: RunConfig) -> Iterator[str]:
    """LARS: momentum 0.9 for batches below 32k, otherwise any (`lars_opt_momentum`)."""
    if run.optim.name == "lars" and run.data.global_batch < _LARGE_BATCH:
        yield from Fixed("optim.momentum", (0.9,))(run)


def sgd_momentum(run: RunConfig) -> Iterator[str]:
    """SGD: momentum 0.9 (`sgd_opt_momentum`)."""
    if run.optim.name == "sgd":
        yield from Fixed("optim.momentum", (0.9,))(run)


def every_20th_of_an_epoch(run: RunConfig) -> Iterator[str]:
    """DLRM: every FLOOR(train samples / (global batch * 20)) updates, one epoch at most."""
    every = evaluation_interval(
        run.data.train_samples, run.data.global_batch, _RECOMMENDATION_EVALUATIONS
    )
    yield from Fixed("target.eval_every_samples", (every,), QUALITY)(run)
    yield from Fixed("target.first_eval_epochs", (None,), QUALITY)(run)


def evaluation_interval(train_samples: int, global_batch: int, evaluations: int) -> int:
    """Samples between evaluations that come this often an epoch, in whole updates, rounded down."""
    updates = train_samples // max(1, global_batch * evaluations)  # a batch of 0 is told elsewhere
    return updates * global_batch


def _word(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


Rule = Callable[[RunConfig], Iterator[str]]

_EVERY_EPOCH: tuple[Rule, ...] = (
    Fixed("target.eval_every_epochs", (1.0,), QUALITY),
    Fixed("target.first_eval_epochs", (None, 1.0), QUALITY),
)
# The metric and the size of the evaluation set, by which the target is to be understood.
RULES: dict[str, tuple[Rule, ...]] = {
    "resnet": (
        # "Every 4 epochs with offset 0 or 1 or 2 or 3"
        Fixed("target.eval_every_epochs", (4.0,), QUALITY),
        Fixed("target.first_eval_epochs", (None, 4.0, 1.0, 2.0, 3.0), QUALITY),
        Fixed("task.label_smoothing", (0.1, 0.0)),
        Fixed("target.metric", ("top1",), QUALITY),
        Fixed("data.eval_samples", (50_000,), QUALITY),
        lars_momentum,
        sgd_momentum,
    ),
    "transformer": (
        *_EVERY_EPOCH,
        Fixed("target.metric", ("bleu",), QUALITY),
        Fixed("data.eval_samples", (3003,), QUALITY),
    ),
    "gnmt": (
        *_EVERY_EPOCH,
        Fixed("target.metric", ("bleu",), QUALITY),
        Fixed("data.eval_samples", (3003,), QUALITY),
        Fixed("schedule.decay_factor", (0.5,)),
        Fixed("schedule.decay_steps", (4,)),
    ),
    "dlrm_dcnv2": (
        every_20th_of_an_epoch,
        Fixed("target.metric", ("auc",), QUALITY),
        Fixed("target.max_epochs", (1.0,), HYPERPARAMETERS),
    ),
}


def broken_rules(run: RunConfig) -> list[str]:
    """A sentence for every rule of the closed division that the choices of a run break."""
    return [problem for rule in RULES.get(run.benchmark.id, ()) for problem in rule(run)]
