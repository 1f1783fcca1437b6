"""The resident image loader: the training set is decoded once and kept, as bytes, on the device.

For sets that fit: N x 3 x (S + 2 pad)^2 bytes, 240 MB for 50,000 images of 32 px and a 4 px pad.
Order and augmentation are the streaming loader's, number for number; only the place where they
are computed differs, so the two give equal batches up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ttt.data.crops import Crops
from ttt.data.dali import eval_sizes, noise
from ttt.data.decoder import Decoded, Decoder
from ttt.data.images import ImageSet, Setting
from ttt.data.loader import ImageLoader
from ttt.data.order import DRAWS, eval_ids, plain_rows, train_rows
from ttt.data.recipe import Recipe
from ttt.data.samples import list_train
from ttt.errors import ConfigError, fault
from ttt.protocols import Shard, Synthetic, World

CHUNK = 512  # images decoded at a time while the set is loaded


class Images(ImageLoader):
    """An image set, resident on the device.

    A batch is (pixels float32 [B, 3, S, S], labels int64 [B]), both on `world.device`. The first
    training batch loads the training set: each process decodes one part and all parts are joined
    on every process, so all processes must ask for it together. The first evaluation loads this
    shard's own part.

    Args:
        world: Gives the device, and joins what the processes decoded.
        channels_last: Give pixels in the channels-last memory format.
        settings: The settings of `ttt.schema.data.images.ImageDataConfig`.

    Raises:
        ConfigError: The augmentation needs the undecoded image.
        MissingExtra: DALI is not installed.
    """

    def __init__(self, *, world: World, channels_last: bool = False, **settings: Setting) -> None:
        images = ImageSet(**settings)
        super().__init__(images)
        if images.augment == "random_resized_crop":
            why = "keeps images of one size and cannot do data.augment=random_resized_crop"
            typed = "data.loader=dali, data.augment=pad_crop or data.augment=none"
            raise ConfigError([fault("data.loader", "resident", why, typed=typed)])
        self._world = world
        # Parts go by process, not by shard: `concat` joins what the processes give, in rank order.
        bounds = [images.train_samples * rank // world.size for rank in range(world.size + 1)]
        self._mine = np.arange(*bounds[world.rank : world.rank + 2], dtype=np.int64)
        self._crops = Crops(images, world.device, channels_last=channels_last)
        whole = Recipe("none", False, None, False, False)
        middle = Recipe("none", False, images.eval_resize, False, False)
        self._train = Decoder(images, whole, world, batch=CHUNK, evaluation=False)
        self._eval = Decoder(images, middle, world, batch=CHUNK, evaluation=True)
        self._stored: tuple[Tensor, Tensor] | None = None
        self._eval_stored: tuple[Tensor, Tensor] | None = None

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in every shape to come.

        Both sets are loaded as they will be, in their whole size but with a chunk of made-up
        photographs. The pipelines, the exchange between processes and every kernel have then run,
        and what loading needs of a GPU's memory fits. The memory itself is given back.
        """
        images = self._images
        part = images.global_batch // shard.count
        ids, draws = np.zeros(part, np.int64), np.zeros((part, DRAWS), np.float32)
        stored = self._exchanged(self._train.warm(_chunk(len(self._mine))))
        train = Decoded(*self._crops.cut(*stored, ids, draws), ids)
        del stored
        count, sizes = len(eval_ids(images.eval_samples, shard)), eval_sizes(images, shard)
        pixels, labels = self._joined(self._eval.warm(_chunk(count)), count)
        evaluation = [
            Decoded(self._crops.normalized(pixels[:size]), labels[:size], ids) for size in sizes
        ]
        return Synthetic(
            train=[noise(train, images.classes) for _ in range(2)],
            eval=[noise(batch, images.classes) for batch in evaluation],
        )

    def train_with_ids(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Decoded]:
        """`train`, with the sample ids of each batch."""
        images = self._images
        if self._stored is None:
            self._stored = self._load_train()
        store, labels = self._stored
        for rows in train_rows(
            seed=seed,
            samples=images.train_samples,
            global_batch=images.global_batch,
            shard=shard,
            start=start,
        ):
            yield Decoded(*self._crops.cut(store, labels, *rows), rows.ids)

    def eval_with_ids(self, shard: Shard) -> Iterator[Decoded]:
        """`eval`, with the sample ids of each batch."""
        ids = eval_ids(self._images.eval_samples, shard)
        if not len(ids):  # more shards than samples: this one has nothing to read
            return
        if self._eval_stored is None:
            batches = self._eval.run(self._listed(), plain_rows(ids, CHUNK))
            self._eval_stored = self._joined(batches, len(ids))
            self._eval.close()
        step = self._images.eval_batch
        parts = (torch.split(stored, step) for stored in self._eval_stored)
        for rows, pixels, labels in zip(plain_rows(ids, step), *parts, strict=True):
            yield Decoded(self._crops.normalized(pixels), labels, rows.ids)

    def close(self) -> None:
        """Free the pipelines, their threads and the stored images."""
        super().close()
        self._stored = self._eval_stored = None

    def _load_train(self) -> tuple[Tensor, Tensor]:
        chunks = plain_rows(self._mine, CHUNK)
        stored = self._exchanged(self._train.run(list_train(self._images), chunks))
        self._train.close()
        return stored

    def _exchanged(self, batches: Iterable[Decoded]) -> tuple[Tensor, Tensor]:
        """The whole training set, from this process's part of it and those of the others."""
        pixels, labels = self._joined(batches, len(self._mine))
        return self._padded(self._world.concat(pixels)), self._world.concat(labels)

    def _joined(self, batches: Iterable[Decoded], count: int) -> tuple[Tensor, Tensor]:
        """Batches one after another: uint8 [count, S, S, 3] and int64 [count].

        They are copied as they come, so that the pipeline's memory is that of a few chunks.
        """
        size, device = self._images.size, self._world.device
        pixels = torch.empty(count, size, size, 3, dtype=torch.uint8, device=device)
        labels = torch.empty(count, dtype=torch.int64, device=device)
        place = 0
        for batch in batches:
            end = place + len(batch.labels)
            pixels[place:end], labels[place:end] = batch.pixels, batch.labels
            place = end
        return pixels, labels

    def _padded(self, pixels: Tensor) -> Tensor:
        """Put a border of the mean colour around each image, uint8 [N, side, side, 3]."""
        if self._crops.side == self._images.size:
            return pixels
        store = self._crops.store(len(pixels))
        self._crops.inner(store).copy_(pixels)
        return store


def _chunk(count: int) -> list[int]:
    """The size of the first chunk of so many images, if there is any."""
    return [min(CHUNK, count)] if count else []
