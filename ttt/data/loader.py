"""What loaders share: how updates use samples, and for images all but how they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ttt.data.images import ImageSet
from ttt.data.order import Ids, eval_ids, plain_rows
from ttt.data.samples import Samples, list_eval, places
from ttt.protocols import Shard

if TYPE_CHECKING:
    from ttt.data.decoder import Decoded, Decoder


class Loader:
    """The methods of `ttt.protocols.Data` that most sets have in common.

    Every update uses one global batch, every sample can be read or ends the run, and the samples of
    the evaluation have no names but their places.

    Args:
        settings: Of the data set: its counts, and `global_batch`.
    """

    def __init__(self, settings: Any) -> None:
        self.train_samples: int = settings.train_samples
        self.eval_samples: int = settings.eval_samples
        self.steps_per_epoch: float = settings.train_samples / settings.global_batch
        self._global_batch: int = settings.global_batch

    def samples_after(self, step: int) -> int:
        """Training samples used by this many updates."""
        return step * self._global_batch

    def steps_to(self, samples: int) -> int:
        """The least number of updates that use this many training samples."""
        return -(-samples // self._global_batch)

    def names(self, ids: Ids) -> list[str]:
        """Places in the evaluation set, counted from 0."""
        return [str(sample) for sample in ids.tolist()]

    def skipped(self) -> frozenset[str]:
        """Nothing: a damaged sample ends the run."""
        return frozenset()

    def details(self) -> dict[str, Any]:
        """Nothing that the configuration leaves open."""
        return {}

    def close(self) -> None:
        """Nothing is held."""


class ImageLoader(Loader):
    """A set of images; a subclass makes `_train` and `_eval`, and the batches with their ids.

    Args:
        images: The image set. Its evaluation images are listed at the first use.
    """

    _train: Decoder
    _eval: Decoder

    def __init__(self, images: ImageSet) -> None:
        super().__init__(images)
        self._images = images
        self._eval_listing: Samples | None = None

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches; the first one asked for lists the images and reads the first of them."""
        return (batch[:2] for batch in self.train_with_ids(shard, seed, start=start))

    def eval(self, shard: Shard) -> Iterator[tuple[Tensor, Tensor]]:
        """This shard's evaluation samples, each once; the last batch may be smaller."""
        return (batch[:2] for batch in self.eval_with_ids(shard))

    def train_with_ids(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Decoded]:
        """`train`, with the sample ids of each batch."""
        raise NotImplementedError

    def eval_with_ids(self, shard: Shard) -> Iterator[Decoded]:
        """`eval`, with the sample ids of each batch."""
        raise NotImplementedError

    def eval_ids(self, shard: Shard) -> Iterator[Ids]:
        """The samples of each batch of `eval`."""
        ids = eval_ids(self.eval_samples, shard)
        return (rows.ids for rows in plain_rows(ids, self._images.eval_batch))

    def names(self, ids: Ids) -> list[str]:
        """The files of evaluation samples below the root, or their places in shards."""
        return places(self._listed(), ids, self._images.root)

    def skipped(self) -> frozenset[str]:
        """The unreadable images this process came upon and replaced."""
        return frozenset(self._train.unreadable | self._eval.unreadable)

    def close(self) -> None:
        """Free both pipelines and their threads."""
        self._train.close()
        self._eval.close()

    def _listed(self) -> Samples:
        if self._eval_listing is None:
            self._eval_listing = list_eval(self._images)
        return self._eval_listing
