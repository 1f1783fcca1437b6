"""A stream of decoded batches that names, and if asked replaces, the images it cannot read.

Owns one DALI pipeline between uses and what is in flight inside it. Knows which samples are bad,
not why they are wanted: order, sharding and epochs come from outside.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from ttt.data.heads import DAMAGED
from ttt.data.images import ImageSet, made_up_jpeg
from ttt.data.order import DRAWS, Ids, Rows
from ttt.data.recipe import Arrays, Recipe, inputs
from ttt.data.samples import Samples, one_image
from ttt.data.shards import READERS
from ttt.errors import ConfigError, DataError, fault
from ttt.protocols import World

if TYPE_CHECKING:
    from ttt.data.pipeline import Pipeline

_TRIED = 64  # samples after a batch of which none is readable
_WORDS = 400  # characters of what DALI says, which may go on with its stack
WRONG = -1  # the label of an evaluation sample that could not be read: no prediction equals it


class Decoded(NamedTuple):
    """One batch: pixels as the recipe says, labels int64 [B], and the ids that were asked for."""

    pixels: Tensor
    labels: Tensor
    ids: Ids


class _Source:
    """What a pipeline asks for its next batch, and which batches it has not returned yet.

    Attributes:
        pending: Batches the pipeline was fed and has not given back decoded.
        begun: Batches that are being read, in the order they will be fed.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.pending: deque[Rows] = deque()
        self.begun: deque[tuple[Rows, Callable[[], Arrays]]] = deque()

    def start(self, samples: Samples, batches: Iterator[Rows]) -> None:
        self.samples = samples
        self.batches = batches
        self._begin()

    def unfinished(self) -> Iterator[Rows]:
        """Every batch that was not given back, and those after them."""
        return chain([*self.pending, *(rows for rows, _ in self.begun)], self.batches)

    def __call__(self) -> Arrays:
        if not self.begun:
            raise StopIteration
        rows, arrays = self.begun.popleft()
        self._begin()  # the next batch is read while this one is waited for and decoded
        self.pending.append(rows)
        return arrays()

    def _begin(self) -> None:
        rows = next(self.batches, None)
        if rows is not None:
            self.begun.append((rows, self.decoder.read(self.samples, rows)))


class Decoder:
    """Reads and decodes the batches it is given, in worker threads, ahead of their use.

    An image that is missing, empty, no image or cut short cannot be read: DALI refuses truncated
    JPEG and PNG files instead of filling the rest with grey. With on_error="skip" such a sample is
    replaced, image and label, by its next readable neighbour in the batch, or by an image of
    another batch if this batch has none. In an evaluation it gets the label `WRONG`, so it
    counts once and never as right.

    Attributes:
        bad: Sample ids found unreadable so far.
        unreadable: Where they lie.

    Raises:
        ConfigError: A GPU's decoder is asked for on a CPU.
    """

    def __init__(
        self, images: ImageSet, recipe: Recipe, world: World, *, batch: int, evaluation: bool
    ) -> None:
        # Here and not above: a loader is named by the configuration, and an error while its module
        # is imported would reach the user wrapped in Hydra's.
        from ttt.data.pipeline import build  # noqa: PLC0415

        if images.hw_decoder_load is not None and world.device.type == "cpu":
            why = "is the share of a GPU's JPEG engine, and this run is on a CPU"
            typed = "data.hw_decoder_load=null or device=cuda"
            load = images.hw_decoder_load
            raise ConfigError([fault("data.hw_decoder_load", load, why, typed=typed)])
        self.images = images
        self.recipe = recipe
        self.device = world.device
        self._make = partial(
            build,
            images,
            recipe,
            batch=batch,
            threads=images.threads or world.threads,
            device=world.device,
        )
        self.evaluation = evaluation
        self.bad: set[int] = set()
        self.unreadable: set[str] = set()
        self._spare: int | None = None  # a readable sample, for batches that have none
        self._idle: tuple[Pipeline, _Source] | None = None
        self._readers = ThreadPoolExecutor(READERS)  # no thread before there is a shard to read

    def warm(self, sizes: Sequence[int]) -> Iterator[Decoded]:
        """Decode made-up photographs in batches of the given sizes; later runs find all built.

        The first size is decoded until the pipeline has as many batches in flight as it ever has:
        those that it works ahead, one that is being used and one that is asked for. It does not let
        go of the memory. A photograph is larger than what is made of it, so that the kernels which
        scale it run too.

        Args:
            sizes: Images in each batch, the largest first.

        Yields:
            One batch of each size.

        Raises:
            ConfigError: DALI does not decode here.
        """
        if not sizes:
            return
        side = max(self.images.size, self.images.eval_resize or 0)
        width, height = 2 * side, 3 * side // 2
        if self.images.largest is not None:
            width, height = map(min, (width, height), self.images.largest)
        ahead = self.images.prefetch + 1
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photograph.jpg"
            path.write_bytes(made_up_jpeg(height, width))
            batches = [
                Rows(np.zeros(size, np.int64), np.full((size, DRAWS), 0.5, np.float32))
                for size in [sizes[0]] * ahead + list(sizes)
            ]
            try:
                yield from islice(self.run(one_image(self.images, path), batches), ahead, None)
            except (DataError, RuntimeError) as error:
                reason = " ".join(str(error.__context__ or error).split())[:_WORDS]
                raise ConfigError(
                    [
                        f"DALI cannot decode a made-up JPEG on {self.device} ({reason}); allowed:"
                        " versions of DALI and nvImageCodec that can; data.hw_decoder_load=0 if"
                        " the GPU's JPEG engine is the cause, or device=cpu"
                    ]
                ) from error

    def run(self, samples: Samples, batches: Iterable[Rows]) -> Iterator[Decoded]:
        """Yield each batch in turn, the next ones decoding meanwhile.

        Raises:
            DataError: An image cannot be read and on_error is "error", or none of a batch can be.
        """
        # A run that is given up half-way keeps its pipeline, batches in flight and all, to itself.
        pipeline, source = self._idle or self._build()
        self._idle = None
        source.start(samples, iter(batches))
        while True:
            try:
                pixels, labels = self._next(pipeline)
            except StopIteration:
                break
            except RuntimeError as error:
                self._exclude(samples, source.pending[0], error)
                # DALI declares a pipeline that failed invalid; what was in flight is fed again.
                again = source.unfinished()
                pipeline, source = self._build()
                source.start(samples, again)
            else:
                yield Decoded(pixels, labels, source.pending.popleft().ids)
        pipeline.reset()
        self._idle = pipeline, source

    def close(self) -> None:
        """Free the pipeline and all threads."""
        self._idle = None
        self._readers.shutdown()

    def read(self, samples: Samples, rows: Rows) -> Callable[[], Arrays]:
        """Begin to read one batch, known bad samples replaced; the call returned waits for it."""
        ids = rows.ids
        bad = np.isin(ids, list(self.bad)) if self.bad else np.zeros(len(ids), np.bool_)
        if bad.any():
            if bad.all() and self._spare is None:
                raise DataError(
                    f"none of the {len(ids)} images of a batch can be read, nor of {_TRIED} after"
                    f" them; the first is {samples.name(int(ids[0]))}; check"
                    f" data.root={self.images.root}"
                )
            ids = self._replaced(ids, bad)
        wait = samples.read(ids, self._readers)

        def arrays() -> Arrays:
            encoded, labels = wait()
            if self.evaluation:
                labels = np.where(bad, WRONG, labels)
            return (*encoded, labels, *inputs(self.images, self.recipe, rows.draws))

        return arrays

    def _replaced(self, ids: Ids, bad: npt.NDArray[np.bool_]) -> Ids:
        """The samples of a batch with others in place of the bad ones."""
        if bad.all():
            return np.full_like(ids, self._spare)
        good = np.flatnonzero(~bad)
        after = np.searchsorted(good, np.flatnonzero(bad)) % len(good)
        ids = ids.copy()
        ids[bad] = ids[good[after]]
        return ids

    def _build(self) -> tuple[Pipeline, _Source]:
        source = _Source(self)
        return self._make(source), source

    def _next(self, pipeline: Pipeline) -> tuple[Tensor, Tensor]:
        # Bound to torch's stream the outputs are used and freed in that stream's order: no wait on
        # the host, and no buffer taken back while a queued kernel still reads it.
        stream = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        pixels, labels = (from_dlpack(out.as_tensor()) for out in pipeline.run(stream))
        if self.recipe.normalize and self.recipe.channels_last:
            pixels = pixels.permute(0, 3, 1, 2)
        return pixels, labels

    def _exclude(self, samples: Samples, rows: Rows, error: RuntimeError) -> None:
        """Find the unreadable images of a failed batch; remember or report them."""
        if not os.path.isdir(self.images.root):
            why = "was removed while the run was going on"
            raise DataError(fault("data.root", self.images.root, why)) from error
        bad = self._unreadable(samples, rows)
        if not bad:
            raise error
        if self.images.on_error == "error":
            raise DataError(
                f"{samples.name(bad[0])} cannot be read: {samples.reason(bad[0])}; replace it, "
                "or type data.on_error=skip to go on without it and count it"
            ) from error
        self.bad.update(bad)
        self.unreadable.update(samples.name(place) for place in bad)
        if self._spare is None:
            self._spare = self._find_spare(samples, rows)

    def _find_spare(self, samples: Samples, rows: Rows) -> int | None:
        """A readable sample of this batch, or of those after it."""
        good = [id for id in rows.ids.tolist() if id not in self.bad]
        if good:
            return int(good[0])
        after = [(int(rows.ids[-1]) + 1 + i) % len(samples) for i in range(_TRIED)]
        ids = np.array([id for id in dict.fromkeys(after) if id not in self.bad], np.int64)
        others = Rows(ids, np.zeros((len(ids), rows.draws.shape[1]), np.float32))
        readable = set(ids.tolist()) - set(self._unreadable(samples, others))
        return min(readable, default=None)

    def _unreadable(self, samples: Samples, rows: Rows) -> list[int]:
        """Decode a batch one by one: DALI names one failed place of several, and only in words."""
        left = [(place, id) for place, id in enumerate(rows.ids.tolist()) if id not in self.bad]
        # Most bad images show at their beginning or end. Each failure needs a new pipeline.
        bad = [id for _, id in left if samples.reason(id) != DAMAGED]
        if bad and self.images.on_error == "error":  # the first is enough
            return bad
        places = deque(place for place, id in left if id not in bad)
        while places:
            probe, source = self._build()
            source.start(
                samples, iter([Rows(rows.ids[i : i + 1], rows.draws[i : i + 1]) for i in places])
            )
            try:
                while places:
                    probe.run()
                    places.popleft()
            except RuntimeError:
                bad.append(int(rows.ids[places.popleft()]))
        return bad
