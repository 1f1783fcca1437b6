"""The streaming image loader: every image is read and decoded anew each time it is used.

For sets of any size. Batches come from DALI's threads, which work `prefetch` batches ahead.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ttt.data.decoder import Decoded, Decoder
from ttt.data.images import ImageSet, Setting
from ttt.data.loader import ImageLoader
from ttt.data.order import eval_ids, plain_rows, train_rows
from ttt.data.recipe import Recipe
from ttt.data.samples import list_train
from ttt.protocols import Shard, Synthetic, World


class Images(ImageLoader):
    """An image set, streamed.

    A batch is (pixels float32 [B, 3, S, S], labels int64 [B]), both on `world.device`.

    Args:
        world: Gives the device, and with how many processes this one shares its node.
        channels_last: Give pixels in the channels-last memory format.
        settings: The settings of `ttt.schema.data.images.ImageDataConfig`.

    Raises:
        MissingExtra: DALI is not installed.
    """

    def __init__(self, *, world: World, channels_last: bool = False, **settings: Setting) -> None:
        images = ImageSet(**settings)
        super().__init__(images)
        train = Recipe(images.augment, images.flip, None, True, channels_last)
        evaluate = Recipe("none", False, images.eval_resize, True, channels_last)
        part = images.global_batch // world.data.count
        self._train = Decoder(images, train, world, batch=part, evaluation=False)
        self._eval = Decoder(images, evaluate, world, batch=images.eval_batch, evaluation=True)

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in every shape to come; builds both pipelines and runs made-up files through."""
        part = self._images.global_batch // shard.count
        sizes = eval_sizes(self._images, shard)
        return Synthetic(
            train=[noise(batch, self._images.classes) for batch in self._train.warm([part, part])],
            eval=[noise(batch, self._images.classes) for batch in self._eval.warm(sizes)],
        )

    def train_with_ids(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Decoded]:
        """`train`, with the sample ids of each batch."""
        images = self._images
        rows = train_rows(
            seed=seed,
            samples=images.train_samples,
            global_batch=images.global_batch,
            shard=shard,
            start=start,
        )
        yield from self._train.run(list_train(images), rows)

    def eval_with_ids(self, shard: Shard) -> Iterator[Decoded]:
        """`eval`, with the sample ids of each batch."""
        ids = eval_ids(self._images.eval_samples, shard)
        if not len(ids):  # more shards than samples: this one has nothing to read
            return
        yield from self._eval.run(self._listed(), plain_rows(ids, self._images.eval_batch))


def eval_sizes(images: ImageSet, shard: Shard) -> list[int]:
    """The distinct batch sizes of one shard's evaluation, largest first; none if it has no part."""
    batches = plain_rows(eval_ids(images.eval_samples, shard), images.eval_batch)
    return sorted({len(rows.ids) for rows in batches}, reverse=True)


def noise(like: Decoded, classes: int) -> tuple[Tensor, Tensor]:
    """Random pixels and labels with the shape, place and memory format of a real batch."""
    return torch.randn_like(like.pixels), torch.randint_like(like.labels, classes)
