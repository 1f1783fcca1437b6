"""What becomes of an image file on its way to a batch, as values; needs no DALI to be named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ttt.data.images import ImageSet
from ttt.data.order import Draws, crop_corners, flips

Arrays = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one pipeline does.

    Attributes:
        augment: As in `ImageDataConfig`; evaluation has "none".
        flip: Whether the drawn mirror images are made.
        shorter: Scale the shorter side to this and keep the centre; None: scale the whole image.
        normalize: float32 [3, S, S], mean subtracted and divided by std; else uint8 [S, S, 3].
        channels_last: Lay normalized pixels out as [S, S, 3] in memory.
    """

    augment: str
    flip: bool
    shorter: int | None
    normalize: bool
    channels_last: bool


def inputs(images: ImageSet, recipe: Recipe, draws: Draws) -> Arrays:
    """What a pipeline is fed after names, ends and labels: mirrors, and where to cut."""
    mirror = (flips(draws),) if recipe.flip else ()
    if recipe.augment == "pad_crop":
        return (*mirror, crop_corners(draws, images.pad))
    if recipe.augment == "random_resized_crop":
        return (*mirror, draws)
    return mirror
