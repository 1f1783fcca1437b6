"""The caching image loader: streams like `ttt.data.dali`, and decodes no image twice if it can.

Of a set that does not fit as a whole, as `ttt.data.resident` needs it to, each process keeps the
first images it comes upon, `cache_mb` of them, decoded and scaled, on the device. Reading, order
and augmentation are the other loaders'. DALI's decoder has a cache of its own, which needs a GPU
and knows images by a name that only DALI's own readers attach to them.

A random crop that is decoded alone (`random_resized_crop`) leaves nothing that could be used again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ttt.data import dali
from ttt.data.crops import Crops
from ttt.data.decoder import Decoded, Decoder
from ttt.data.images import Setting
from ttt.data.order import DRAWS, Ids, Rows, train_rows
from ttt.data.recipe import Recipe
from ttt.data.samples import list_train
from ttt.errors import ConfigError, fault
from ttt.protocols import Shard, Synthetic, World


class Images(dali.Images):
    """An image set, streamed, with a memory.

    Args:
        world: Gives the device, and with how many processes this one shares its node.
        channels_last: Give pixels in the channels-last memory format.
        settings: The settings of `ttt.schema.data.images.ImageDataConfig`.

    Raises:
        ConfigError: There is nothing to keep, or no room for it.
        MissingExtra: DALI is not installed.
    """

    def __init__(self, *, world: World, channels_last: bool = False, **settings: Setting) -> None:
        super().__init__(world=world, channels_last=channels_last, **settings)
        images = self._images
        if images.augment == "random_resized_crop" or not images.cache_mb:
            why = (
                f"keeps decoded images: data.augment={images.augment} must be none or pad_crop and"
                f" data.cache_mb={images.cache_mb} above 0"
            )
            raise ConfigError([fault("data.loader", "cached", why, typed="dali")])
        self._crops = Crops(images, world.device, channels_last=channels_last)
        self._kept = min(
            int(1e6 * images.cache_mb) // (3 * self._crops.side**2), self.train_samples
        )
        self._part = images.global_batch // world.data.count
        whole = Recipe("none", False, None, False, False)
        self._train = Decoder(images, whole, world, batch=self._part, evaluation=False)
        self._stored: tuple[Tensor, Tensor] | None = None

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in every shape to come; builds the pipelines and takes the memory."""
        images = self._images
        for batch in self._train.warm([self._part]):
            self._keep(batch, np.arange(self._part))  # a row is written anew before its first use
        ids, draws = np.zeros(self._part, np.int64), np.zeros((self._part, DRAWS), np.float32)
        train = Decoded(*self._crops.cut(*self._store(), ids, draws), ids)
        evaluation = self._eval.warm(dali.eval_sizes(images, shard))
        return Synthetic(
            train=[dali.noise(train, images.classes) for _ in range(2)],
            eval=[dali.noise(batch, images.classes) for batch in evaluation],
        )

    def train_with_ids(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Decoded]:
        """`train`, with the sample ids of each batch."""

        def batches() -> Iterator[Rows]:
            return train_rows(
                seed=seed,
                samples=self.train_samples,
                global_batch=self._images.global_batch,
                shard=shard,
                start=start,
            )

        stored = self._store()
        decoded = self._train.run(list_train(self._images), self._missing(batches()))
        places = _Places(self.train_samples, self._kept)
        for rows in batches():
            taken, fresh = places.take(rows.ids)
            if len(fresh):
                self._keep(next(decoded), taken[fresh])
            yield Decoded(*self._crops.cut(*stored, taken, rows.draws), rows.ids)

    def close(self) -> None:
        """Free the pipelines, their threads and the kept images."""
        super().close()
        self._stored = None

    def _missing(self, batches: Iterator[Rows]) -> Iterator[Rows]:
        """Of each batch what must be decoded; ends once nothing will ever be missing again.

        The pipeline asks for this ahead of the training, so it follows the same rule on its own.
        """
        places = _Places(self.train_samples, self._kept)
        while not places.complete():
            rows = next(batches)
            _, fresh = places.take(rows.ids)
            if len(fresh):
                yield Rows(rows.ids[fresh], rows.draws[fresh])

    def _keep(self, batch: Decoded, places: Ids) -> None:
        """Write a decoded batch into these rows of the store."""
        store, labels = self._store()
        where = torch.from_numpy(places)
        if store.is_cuda:
            where = where.pin_memory().to(store.device, non_blocking=True)
        self._crops.inner(store).index_copy_(0, where, batch.pixels)
        labels.index_copy_(0, where, batch.labels)

    def _store(self) -> tuple[Tensor, Tensor]:
        """Rows for the images that are kept, then rows for those of one batch that are not."""
        if self._stored is None:
            store = self._crops.store(self._kept + self._part)
            self._stored = store, torch.zeros(len(store), dtype=torch.int64, device=store.device)
        return self._stored


class _Places:
    """Which row of the store each sample has: first come, first kept."""

    def __init__(self, samples: int, kept: int) -> None:
        self._row = np.full(samples, -1, np.int64)
        self._used, self._kept = 0, kept

    def complete(self) -> bool:
        """Whether every sample has a row of its own."""
        return self._used == len(self._row)

    def take(self, ids: Ids) -> tuple[Ids, Ids]:
        """The row of each sample of a batch, and which of them are not decoded in it yet."""
        rows = self._row[ids]
        # A batch that spans two epochs may hold a sample twice: the second finds the first's row.
        missing = np.flatnonzero(rows < 0)
        first = np.unique(ids[missing], return_index=True)[1]
        fresh = missing[np.sort(first)]
        new = fresh[: self._kept - self._used]
        self._row[ids[new]] = np.arange(self._used, self._used + len(new))
        self._used += len(new)
        rows = self._row[ids]
        passing = np.flatnonzero(rows < 0)
        rows[passing] = self._kept + np.unique(ids[passing], return_inverse=True)[1]
        return rows, fresh
