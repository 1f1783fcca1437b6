"""The same updates on any mesh: gradients, losses and evaluation, to compare with one process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ttt.data.text import Pairs
from ttt.data.tokens import Tokens
from ttt.distributed.parallelize import parallelize
from ttt.learner import StandardLearner
from ttt.models.dlrm_dcnv2 import DlrmDcnV2
from ttt.models.gnmt import Gnmt
from ttt.models.llama import Llama
from ttt.models.resnet_small import ResNetSmall
from ttt.models.transformer import Transformer
from ttt.optim import adamw, lamb, lars
from ttt.parity.compare import Found, trained
from ttt.protocols import Parallel, Task, World
from ttt.schema.parallel import ParallelConfig
from ttt.tasks.image import ImageClassification
from ttt.tasks.language import Language
from ttt.tasks.recommendation import ClickPrediction
from ttt.tasks.translation import Translation

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "adamw": lambda model: adamw.build(model, lr=1e-3, weight_decay=0.1),
    "lamb": lambda model: lamb.build(model, lr=1e-3),
    "lars": lambda model: lars.build(model, lr=1e-3, weight_decay=0.1),
}
BATCH = 24  # divides by 1 to 4 processes, and by 2 passes of each
WORDS = 37  # divides by no number of processes


@dataclass(frozen=True)
class Setting:
    """What is trained, and how.

    Attributes:
        family: A key of `FAMILIES`.
        precision: As in the configuration.
        accumulate: Passes of an update.
        settings: Beside the mesh.
        fault: Planted into the parallel model.
        optimizer: A key of `OPTIMIZERS`.
    """

    family: str
    precision: str = "fp32"
    accumulate: int = 1
    settings: ParallelConfig = field(default_factory=ParallelConfig)
    fault: Callable[[Parallel], None] | None = None
    optimizer: str = "adamw"


def llama() -> tuple[nn.Module, Task]:
    """A small decoder whose head knows 37 words."""
    sizes = {"layers": 2, "width": 32, "heads": 4, "kv_heads": 4, "feedforward": 52}
    return Llama(vocabulary=WORDS, sequence_length=12, rope_factor=None, **sizes), Language()


def tied() -> tuple[nn.Module, Task]:
    """One whose head has the embedding's weights."""
    sizes = {"layers": 1, "width": 16, "heads": 4, "kv_heads": 4, "feedforward": 32}
    model = Llama(vocabulary=WORDS, sequence_length=12, rope_factor=None, tied=True, **sizes)
    return model, Language()


def translation() -> Task:
    """Of any two languages."""
    return Translation(
        label_smoothing=0.1,
        beam=2,
        length_penalty=0.6,
        coverage_penalty=0.0,
        extra_length=4,
        lowercase=False,
        tokenize="13a",
    )


def transformer() -> tuple[nn.Module, Task]:
    """A small translator without dropout."""
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "width": 16, "heads": 2, "feedforward": 24}
    off = {"dropout": 0.0, "attention_dropout": 0.0, "relu_dropout": 0.0}
    return Transformer(vocabulary=WORDS, **sizes, **off), translation()


def gnmt() -> tuple[nn.Module, Task]:
    """A small one of LSTMs."""
    return Gnmt(vocabulary=WORDS, layers=2, width=8, dropout=0.0), translation()


def resnet() -> tuple[nn.Module, Task]:
    """A small one whose norms see one image each: those over a batch would see a shard's."""
    return ResNetSmall(5, [8, 16], [1, 1], norm="group"), ImageClassification(label_smoothing=0.0)


def dlrm() -> tuple[nn.Module, Task]:
    """A small recommender whose tables every process has."""
    sizes = {"dim": 4, "bottom": [8, 6, 4], "cross_layers": 2, "cross_rank": 8, "top": [16, 8, 1]}
    return DlrmDcnV2(3, [11, 7], [1, 2], **sizes), ClickPrediction()


FAMILIES = {
    "llama": llama,
    "tied": tied,
    "transformer": transformer,
    "gnmt": gnmt,
    "resnet": resnet,
    "dlrm": dlrm,
}
TRANSLATES = ("transformer", "gnmt")


def batch(family: str, shard: slice) -> Any:
    """A shard's part of the batch that every update has."""
    made = torch.Generator().manual_seed(3)
    first, second = (torch.randint(4, WORDS, (BATCH, 12), generator=made)[shard] for _ in range(2))
    if family == "dlrm":
        dense = torch.randn(BATCH, 3, generator=made)[shard]
        return dense, first[:, :3] % 7, (first[:, 0] % 2).float()
    if family == "resnet":
        return torch.randn(BATCH, 3, 8, 8, generator=made)[shard], first[:, 0] % 5
    if family not in TRANSLATES:
        return Tokens(first, second)
    # Gradients are averaged over shards: weights make it the mean over words.
    weights = torch.full((len(first),), (BATCH / len(first)) / (BATCH * 12))
    return Pairs(first, second.roll(1, 1), second, weights)


def made(world: World, asked: Setting) -> tuple[StandardLearner, Any]:
    """A learner on one process of a world, and its part of the batch that every update has."""
    torch.manual_seed(0)
    model, task = FAMILIES[asked.family]()
    parallel = parallelize(
        model,
        world,
        optimizer=OPTIMIZERS[asked.optimizer],
        settings=asked.settings,
        precision=asked.precision,
    )
    if asked.fault:
        asked.fault(parallel)
    learner = StandardLearner(
        parallel,
        task,
        world,
        schedule=lambda step: 1e-3,
        precision=asked.precision,
        accumulate=asked.accumulate,
        clip_norm=0.5,
    )
    length = BATCH // world.data.count
    shard = slice(world.data.index * length, (world.data.index + 1) * length)
    return learner, batch(asked.family, shard)


def updates(world: World, asked: Setting, count: int) -> Found:
    """Make some updates on one process of a world.

    Args:
        world: The processes; their mesh says how the model is shared.
        asked: What to train.
        count: Updates.
    """
    learner, mine = made(world, asked)
    gradients, losses = trained(learner, learner._parallel.optimizer, world, mine, count)
    return Found(gradients, losses, judged(world, learner, mine, asked.family))


def judged(world: World, learner: StandardLearner, mine: Any, family: str) -> Tensor:
    """What is predicted of the batch; later shards are asked once more than the first."""
    if family in TRANSLATES:
        with learner.eval_mode() as model:
            logits = model(mine.source, mine.target_in)
        return world.replicas.concat(logits.float().sum(dim=(1, 2)))
    again = 1 + (world.data.index > 0)
    with learner.eval_mode() as model:
        for one, counts in learner.in_step([mine] * again, mine):
            prediction = learner._task.predict(model, one)
            assert counts or world.data.index == 0
    result: Tensor = world.replicas.concat(prediction)
    return result
