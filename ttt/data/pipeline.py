"""The DALI graph both image loaders decode with, on the CPU or the GPU, from one definition.

Turns (file names or encoded images, labels, numbers drawn elsewhere) into tensors. Knows no order,
no shard and no bad file: those come from outside. Nothing random happens here, so that a batch
depends only on what is fed, never on how often a pipeline was built or warmed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ttt.data.images import ImageSet
from ttt.data.recipe import Arrays, Recipe
from ttt.errors import MissingExtra, one_line
from ttt.machine import installed

try:
    from nvidia.dali import fn, math, pipeline_def, types
    from nvidia.dali.pipeline import do_not_convert
except ImportError as error:
    broken = one_line(str(error)) if installed.dali() else None
    wanted = installed.dali_for(torch.version.cuda)
    raise MissingExtra(*wanted, "reading images", broken) from error

Node = Any  # DALI has no types of its own: a value inside the graph, one tensor a sample
Pipeline = Any  # nvidia.dali.Pipeline


def build(
    images: ImageSet,
    recipe: Recipe,
    source: Callable[[], Arrays],
    *,
    batch: int,
    threads: int,
    device: torch.device,
) -> Pipeline:
    """A built pipeline giving (pixels [B, ...], labels int64 [B]) on `device`.

    Args:
        images: Sizes, crops and statistics.
        recipe: What becomes of an image file.
        source: Asked for each batch's arrays: names and ends as in `Listing`, a row an image, or
            the encoded images where they do not come as files; then labels, then `inputs`;
            StopIteration ends.
        batch: Largest batch; smaller ones may be fed.
        threads: CPU threads that read and decode.
        device: On a GPU, JPEGs are decoded and everything after is computed there.
    """
    pipeline = pipeline_def(_graph, enable_conditionals=True)(
        images,
        recipe,
        source,
        device.type == "cuda",
        batch_size=batch,
        num_threads=threads,
        device_id=device.index if device.type == "cuda" else None,
        prefetch_queue_depth=images.prefetch,
        # This executor's outputs live until their last reader lets go, so batches need no copy.
        exec_dynamic=True,
    )
    pipeline.build()
    return pipeline


def _graph(
    images: ImageSet, recipe: Recipe, source: Callable[[], Arrays], gpu: bool
) -> tuple[Node, Node]:
    """What DALI's AutoGraph has to rewrite, since `_fit` decides by image; it takes long over more.

    All else is called as it is: to rewrite that too took each process another half second.
    """
    pixels, shape, labels, drawn = _decoded(images, recipe, source, gpu)
    if recipe.augment != "random_resized_crop" and recipe.shorter is None:
        pixels = _fit(pixels, shape, images.size)
    return _finished(pixels, drawn, images, recipe), labels


@do_not_convert  # type: ignore[untyped-decorator]
def _decoded(
    images: ImageSet, recipe: Recipe, source: Callable[[], Arrays], gpu: bool
) -> tuple[Node, Node, Node, list[Node]]:
    """Pixels, the shapes of whole images, labels, and what was drawn for each image."""
    files = images.format == "folder"
    dtypes = [types.UINT8, types.INT32, types.INT64] if files else [types.UINT8, types.INT64]
    ndims = [1, 1, 0] if files else [1, 0]
    if recipe.flip:
        dtypes.append(types.INT32)
        ndims.append(0)
    if recipe.augment != "none":
        dtypes.append(types.INT32 if recipe.augment == "pad_crop" else types.FLOAT)
        ndims.append(1)
    fed = fn.external_source(
        source=source, num_outputs=len(dtypes), batch=True, dtype=dtypes, ndim=ndims
    )
    if files:
        names, ends, labels, *drawn = fed
        # Plain reads: faster than mapping for small files, and right for network file systems.
        encoded = fn.io.file.read(fn.slice(names, end=ends, axes=[0]), dont_use_mmap=True)
    else:
        encoded, labels, *drawn = fed
    shape = fn.peek_image_shape(encoded, dtype=types.FLOAT)
    decoding = _decoding(images, gpu)
    if recipe.augment == "random_resized_crop":
        pixels = _random_resized_crop(encoded, shape, drawn[-1], images, decoding)
    else:
        pixels = fn.decoders.image(_after(shape, encoded), **decoding)
        if recipe.shorter is not None:
            resized = fn.resize(pixels, resize_shorter=recipe.shorter)
            pixels = fn.crop(resized, crop=(images.size, images.size))
    return pixels, shape, labels.gpu() if gpu else labels, drawn


@do_not_convert  # type: ignore[untyped-decorator]
def _finished(pixels: Node, drawn: list[Node], images: ImageSet, recipe: Recipe) -> Node:
    """The pixels as the model gets them."""
    if recipe.augment == "pad_crop":
        pixels = fn.slice(
            pixels,
            start=drawn[-1],
            shape=[images.size, images.size],
            axes=[0, 1],
            out_of_bounds_policy="pad",
            fill_values=images.mean_colour(),
        )
    if recipe.normalize:
        pixels = fn.crop_mirror_normalize(
            pixels,
            dtype=types.FLOAT,
            output_layout="HWC" if recipe.channels_last else "CHW",
            mirror=drawn[0] if recipe.flip else 0,
            mean=[255 * value for value in images.mean],
            std=[255 * value for value in images.std],
        )
    return pixels


def _decoding(images: ImageSet, gpu: bool) -> dict[str, Any]:
    """How any decoder is to work, as its keyword arguments.

    `image_slice` takes them as `image` does. For a part of an image, too, nvImageCodec asks nvJPEG
    whether the JPEG engine can decode it (NVIDIA/nvImageCodec 0.8, extensions/nvjpeg,
    hw_decoder.cpp, canDecode). Its 0.9.0, which DALI 2.4 needs, was reported to fail on parts,
    with an error or a crash of the process, depending on the GPU (its issue 55, with DALI 2.3).
    """
    settings: dict[str, Any] = {"device": "mixed" if gpu else "cpu", "output_type": types.RGB}
    if gpu and images.hw_decoder_load is not None:
        settings["hw_decoder_load"] = images.hw_decoder_load
    if gpu and images.largest is not None:
        width, height = images.largest
        settings |= {"preallocate_width_hint": width, "preallocate_height_hint": height}
    return settings


def _after(shape: Node, encoded: Node) -> Node:
    """The encoded bytes as they are, but only where `peek_image_shape` could parse all of them.

    In DALI 2.4 a file that the decoder cannot parse, among more than 32 others, is a segmentation
    fault. Peeking uses the same parser and fails properly, and DALI then runs nothing that depends
    on its result. So the shape, times zero, is part of the decoder's input.
    """
    same_length = fn.slice(shape, start=[0], shape=[1], axes=[0]) * 0.0 + 1.0
    return fn.reshape(encoded, rel_shape=same_length)


def _fit(pixels: Node, shape: Node, size: int) -> Node:
    # Scaling 32 px to 32 px changes nothing and costs half as much as decoding did.
    if (shape[0] != size) | (shape[1] != size):
        fitted = fn.resize(pixels, size=[size, size])
    else:
        fitted = pixels
    return fitted


def _random_resized_crop(
    encoded: Node, shape: Node, drawn: Node, images: ImageSet, decoding: dict[str, Any]
) -> Node:
    """Decode a random part of each image and scale it to S x S.

    The share a of the image's area is uniform in `area`; the ratio r = width / height is uniform
    in log r over that part of `ratio` where the box fits: w = sqrt(a r H W) <= W and
    h = sqrt(a H W / r) <= H give a W / H <= r <= W / (a H). Libraries draw both and try again
    until the box fits; one draw of each keeps a sample's crop a function of (seed, epoch, id).
    """
    height, width = shape[0], shape[1]
    aspect = width / height
    share = images.area[0] + drawn[3] * (images.area[1] - images.area[0])
    low = math.log(math.max(images.ratio[0], share * aspect))
    high = math.log(math.min(images.ratio[1], aspect / share))
    ratio = math.exp(low + drawn[4] * (high - low))
    # An image longer than `ratio` allows leaves no room between the bounds: then the box is cut.
    pixels = share * height * width
    box_height = math.clamp(math.floor(math.sqrt(pixels / ratio) + 0.5), 1, height)
    box_width = math.clamp(math.floor(math.sqrt(pixels * ratio) + 0.5), 1, width)
    top = math.floor(drawn[0] * (height - box_height + 1))
    left = math.floor(drawn[1] * (width - box_width + 1))
    part = fn.decoders.image_slice(
        encoded,
        **decoding,
        axes=[0, 1],
        start=fn.cast(fn.stack(top, left), dtype=types.INT32),
        shape=fn.cast(fn.stack(box_height, box_width), dtype=types.INT32),
    )
    return fn.resize(part, size=[images.size, images.size])
