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
    """Images in class folders or in shards. Pixels become (x - mean) / std, all of 0..1.

    Attributes:
        loader: Who reads the images. "dali": decodes an image each time it is used; "resident":
            decodes the training set once, into the memory of the device; "cached": keeps what
            `cache_mb` has room for.
        prepare: Module with prepare(out), for sets that ttt can make itself.
        root: Folder with `train_dir`/<class>/<image> and `eval_dir`/<class>/<image>, or with
            shards in those folders, or with shards whose names begin so.
        format: "folder", or what the shards are.
        first_label: What shards call the first class; null: 1 in "tfrecord", as ImageNet's have
            it, else 0.
        train_dir: Name of the training folder in `root`; of shards also what their names begin
            with.
        eval_dir: Name of the evaluation folder in `root`, likewise.
        train_samples: Training images there must be; null: as many as there are, counted where
            the run is typed.
        eval_samples: Evaluation images there must be; null as above.
        classes: Class folders there must be; labels are their places in sorted order; null as
            above.
        size: Side S of the square the model sees, in pixels.
        global_batch: Images of an update, over all processes.
        eval_batch: Images of a forward pass in an evaluation, by process.
        augment: What training does to an image. "none": nothing; "pad_crop": pads by `pad` pixels
            of the mean colour and crops S x S at random (He et al. 2016, section 4.2);
            "random_resized_crop": scales a random part to S x S (Szegedy et al. 2015, section 6).
        pad: Border for "pad_crop", in pixels.
        area: Range of the part's share of the image area, for "random_resized_crop".
        ratio: Range of the part's width / height, for "random_resized_crop".
        flip: Mirror a training image left to right with probability 1/2.
        eval_resize: Shorter side that evaluation images are scaled to before the centre S x S is
            cut out, in pixels; null scales the whole image to S x S.
        mean: By channel (R, G, B), subtracted from pixels of 0..1.
        std: By channel (R, G, B), in the same units, that pixels are divided by.
        threads: Decoding threads of one process; null: this node's usable cores shared evenly
            by its processes.
        prefetch: Batches the pipeline works ahead.
        on_error: An unreadable image ends the run ("error") or is replaced and counted ("skip").
        hw_decoder_load: Share of a batch that a GPU's JPEG engine decodes, the rest being left to
            its other cores and the CPU; null: DALI's own default. Not for a CPU.
        largest: Width and height, in pixels, of the largest image to expect: a GPU's JPEG engine
            has memory for it from the start (DALI's preallocate_width_hint and _height_hint).
            null: it grows when it must, the clock running.
        cache_mb: Memory for decoded images that are then not decoded again, in MB a process, with
            `loader=cached`.
    """

    looks: ClassVar[str] = "ttt.data.looks"  # module that finds out what is wrong with the set
    counted: ClassVar[tuple[str, ...]] = ("train_samples", "eval_samples", "classes")  # if null
    _target_: str = "ttt.data.${data.loader}.Images"
    loader: Loader = Loader.dali
    prepare: str | None = None
    root: str = ""
    format: Format = Format.folder
    first_label: int | None = None
    train_dir: str = "train"
    eval_dir: str = "test"
    train_samples: int | None = None
    eval_samples: int | None = None
    classes: int | None = None
    size: int = 32
    global_batch: int = 128
    eval_batch: int = 256
    augment: Augment = Augment.none
    pad: int = 0
    area: list[float] = field(default_factory=lambda: [0.08, 1.0])
    ratio: list[float] = field(default_factory=lambda: [0.75, 1.3333333])
    flip: bool = False
    eval_resize: int | None = None
    mean: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    std: list[float] = field(default_factory=lambda: [0.5, 0.5, 0.5])
    threads: int | None = None
    prefetch: int = 2
    on_error: OnError = OnError.error
    hw_decoder_load: float | None = None
    largest: list[int] | None = None
    cache_mb: float | None = None

    def problems(self, mesh: Mesh, accumulate: int) -> Iterator[str]:
        """What is wrong with the data settings on this mesh."""
        names = (
            "train_samples eval_samples classes size threads global_batch eval_batch prefetch"
            " eval_resize"
        )
        yield from not_positive("data", self, names)
        yield from not_positive("data", self, "cache_mb", typed="1000")
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
