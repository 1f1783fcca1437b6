"""Augmentation of images that are kept decoded, as bytes on the device: cut, mirror, normalize.

The same as the decoding graph does to "none" and "pad_crop", number for number; only the place
where it is computed differs. Knows which row of a store to take, not how it came there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ttt.data.images import ImageSet
from ttt.data.order import Draws, Ids, crop_corners, flips


class Crops:
    """What becomes of stored images.

    Args:
        images: Size, padding and statistics; the augmentation is not "random_resized_crop".
        device: Where the images are kept.
        channels_last: Give pixels in the channels-last memory format.

    Attributes:
        side: Height and width of a stored image, S + 2 pad.
    """

    def __init__(self, images: ImageSet, device: torch.device, *, channels_last: bool) -> None:
        self._images = images
        self._pad = images.pad if images.augment == "pad_crop" else 0
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._mean = _channels(images.mean, device)
        self._scale = _channels(images.std, device).reciprocal()
        self.side = images.size + 2 * self._pad

    def store(self, count: int) -> Tensor:
        """Room for images, all of the mean colour, uint8 [count, side, side, 3]."""
        colour = torch.tensor(
            self._images.mean_colour(), dtype=torch.uint8, device=self._mean.device
        )
        return colour.repeat(count, self.side, self.side, 1)

    def inner(self, store: Tensor) -> Tensor:
        """What the images themselves fill of a store, [N, S, S, 3]; the rest is their border."""
        within = slice(self._pad, self.side - self._pad)
        return store[:, within, within]

    def cut(self, store: Tensor, labels: Tensor, rows: Ids, draws: Draws) -> tuple[Tensor, Tensor]:
        """One batch: float32 [B, 3, S, S] and labels [B].

        Args:
            store: uint8 [N, side, side, 3].
            labels: int64 [N].
            rows: Which rows of the store, int64 [B].
            draws: What each sample drew, [B, DRAWS].
        """
        size = self._images.size
        corners = crop_corners(draws, self._pad) + self._pad
        mirrored = flips(draws) if self._images.flip else np.zeros_like(rows)
        # One small transfer, from pinned memory so that the host does not wait for it.
        plan = torch.from_numpy(np.column_stack([rows, corners, mirrored]))
        if store.is_cuda:
            plan = plan.pin_memory().to(store.device, non_blocking=True)
        places, top, left, mirror = plan.unbind(1)
        steps = torch.arange(size, device=store.device)
        columns = torch.where(mirror.bool()[:, None], size - 1 - steps, steps) + left[:, None]
        lines = (places * self.side + top)[:, None] + steps
        flat = lines[:, :, None] * self.side + columns[:, None, :]
        pixels = store.view(-1, 3).index_select(0, flat.view(-1))
        return self.normalized(pixels.view(-1, size, size, 3)), labels.index_select(0, places)

    def normalized(self, pixels: Tensor) -> Tensor:
        """Bytes [B, S, S, 3] as float32 [B, 3, S, S], mean subtracted and divided by std."""
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=self._format)
        return planes.sub_(self._mean).mul_(self._scale)


def _channels(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor([255 * value for value in values], device=device).view(3, 1, 1)
