"""Image sets: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ttt.errors import fault
from ttt.schema.choices import Augment, Format, Loader, OnError
from ttt.schema.parallel import Mesh
from ttt.schema.rules import not_positive


@dataclass
class ImageDataConfig:
    """Images in class folders or in shards. Pixels become (x - mean) / std, all of 0..1."""

    looks: ClassVar[str] = "ttt.data.looks"  # module that finds out what is wrong with the set
    counted: ClassVar[tuple[str, ...]] = ("train_samples", "eval_samples", "classes")  # if null
    _target_: str = "ttt.data.${data.loader}.Images"
    loader: Loader = Loader.dali
    prepare: str | None = None  # module with prepare(out), for sets ttt can make itself
    root: str = ""
    format: Format = Format.folder
    first_label: int | None = None  # what shards call the first class; null: tfrecord 1, others 0
    train_dir: str = "train"  # of shards also what their names begin with
    eval_dir: str = "test"
    train_samples: int | None = None  # null: as many as there are, counted where it is typed
    eval_samples: int | None = None
    classes: int | None = None
    size: int = 32  # pixels, height and width of what the model sees
    global_batch: int = 128  # samples per update, over all processes
    eval_batch: int = 256  # samples per forward pass and process
    augment: Augment = Augment.none
    pad: int = 0  # pixels around the image, for pad_crop
    area: list[float] = field(default_factory=lambda: [0.08, 1.0])  # share, for random_resized_crop
    ratio: list[float] = field(default_factory=lambda: [0.75, 1.3333333])  # width / height
    flip: bool = False
    eval_resize: int | None = None  # pixels of the shorter side before the centre crop
    mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    threads: int | None = None  # per process; null: its share of the cores
    prefetch: int = 2  # batches decoded ahead
    on_error: OnError = OnError.error
    hw_decoder_load: float | None = None  # share for a GPU's JPEG engine; null: DALI's own choice
    largest: list[int] | None = None  # width, height in pixels to have GPU memory for at once
    cache_mb: float | None = None  # of decoded images a process keeps, with loader=cached

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = (
            "train_samples eval_samples classes size threads global_batch eval_batch prefetch"
            " eval_resize cache_mb"
        )
        yield from not_positive("data", {name: getattr(self, name) for name in names.split()})
        yield from mesh.indivisible(self.global_batch, self.train_samples or 0, accumulate)
        if self.pad and self.augment is not Augment.pad_crop:
            why = f"has no effect with data.augment={self.augment}"
            yield fault("data.pad", self.pad, why, typed="data.augment=pad_crop or data.pad=0")
        if self.first_label is not None and self.format is Format.folder:
            why = (
                "has no effect with data.format=folder, whose classes are the folders in sorted"
                " order"
            )
            yield fault("data.first_label", self.first_label, why, typed="null")
        yield from self._keeping()
        yield from self._ranges()

    def _keeping(self) -> Iterator[str]:
        """Decoded images can be kept only if they are decoded whole, and as they are."""
        if self.loader is Loader.dali:
            if self.cache_mb is not None:
                why = "has no effect with data.loader=dali, which keeps nothing"
                typed = "data.loader=cached or data.cache_mb=null"
                yield fault("data.cache_mb", float(self.cache_mb), why, typed=typed)
            return
        if self.augment is Augment.random_resized_crop:
            why = (
                "keeps images at their final size and cannot do data.augment=random_resized_crop,"
                " which decodes another part of an image each time"
            )
            yield fault("data.loader", self.loader, why, typed="dali")
        if self.loader is Loader.cached and self.cache_mb is None:
            why = "needs to know how much it may keep"
            yield fault("data.loader", self.loader, why, typed="data.cache_mb=1000")

    def _ranges(self) -> Iterator[str]:
        """Values that go together, or have bounds."""
        for name, values, length in (("mean", self.mean, 3), ("std", self.std, 3)):
            if len(values) != length:
                yield fault(
                    f"data.{name}", values, f"must have {length} values, one a colour channel"
                )
        if not (len(self.area) == 2 and 0 < self.area[0] <= self.area[1] <= 1):
            yield fault("data.area", self.area, allowed="two shares", typed="[0.08,1]")
        if not (len(self.ratio) == 2 and 0 < self.ratio[0] <= self.ratio[1]):
            yield fault("data.ratio", self.ratio, allowed="two", typed="[0.75,1.333]")
        if self.eval_resize is not None and self.eval_resize < self.size:
            why = f"leaves less than the data.size={self.size} that is cut out"
            yield fault("data.eval_resize", self.eval_resize, why, typed=f"{self.size * 8 / 7:.0f}")
        if self.hw_decoder_load is not None and not 0 <= self.hw_decoder_load <= 1:
            share = float(self.hw_decoder_load)
            yield fault(
                "data.hw_decoder_load", share, "is no share", allowed="0 to 1", typed="0.65"
            )
        if self.largest is not None and (len(self.largest) != 2 or min(self.largest) <= 0):
            yield fault("data.largest", self.largest, "must be a width and a height", typed="null")
