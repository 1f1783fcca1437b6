"""The words a setting may have where it does not take a number."""

from enum import StrEnum


class Loader(StrEnum):
    """Which module of `ttt.data` reads the images."""

    dali = "dali"
    resident = "resident"
    cached = "cached"


class Format(StrEnum):
    """How images lie on disk: a file each, or many in shards with an index."""

    folder = "folder"
    tfrecord = "tfrecord"
    webdataset = "webdataset"
    recordio = "recordio"


class Augment(StrEnum):
    """How a training image is varied."""

    none = "none"
    pad_crop = "pad_crop"
    random_resized_crop = "random_resized_crop"


class OnError(StrEnum):
    """What an unreadable sample does."""

    error = "error"
    skip = "skip"


class Norm(StrEnum):
    """Normalisation in a small residual network."""

    batch = "batch"
    group = "group"


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; master weights are always fp32."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"
    fp16 = "fp16"


class CausalFlops(StrEnum):
    """How much of causal attention counts as FLOPs of the model; half of its products are zero."""

    halved = "halved"
    full = "full"

    @property
    def attended(self) -> float:
        """As a share."""
        return 0.5 if self is CausalFlops.halved else 1.0


class Device(StrEnum):
    """Where to train; `auto` is cuda where a GPU is visible."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Division(StrEnum):
    """MLPerf division."""

    closed = "closed"
    open = "open"


class ClearCache(StrEnum):
    """How the data set leaves the page cache before a run; `auto` evicts no pages but its own."""

    auto = "auto"
    drop_caches = "drop_caches"
    fadvise = "fadvise"
    off = "off"


class TrackingMode(StrEnum):
    """Whether a tracker may use the network while the run goes on."""

    offline = "offline"
    online = "online"


class Binding(StrEnum):
    """Who decides on which cores a process computes, and with how many threads.

    `always` shares out the cores of each node by its topology. `auto` does so where it matters, for
    ranks with GPUs and on several NUMA nodes: a bound rank cannot make way for another
    user's process. Both set the number of compute threads; `off` leaves it to OMP_NUM_THREADS.
    """

    auto = "auto"
    always = "always"
    off = "off"


class Energy(StrEnum):
    """Whether to read energy counters; `auto` does where there are any."""

    auto = "auto"
    off = "off"


class Keep(StrEnum):
    """What a run writes beside its measurements, for use or checks with other tools."""

    weights = "weights"
    predictions = "predictions"


class Checkpointing(StrEnum):
    """Which activations are not kept for the backward pass, but computed again."""

    none = "none"
    selective = "selective"
    full = "full"
