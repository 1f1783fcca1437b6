"""The table of all checks, in the order of the report. A new check is a file and a row here."""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ttt.doctor import (
    configuration,
    contents,
    cpus,
    gpus,
    launch,
    limits,
    network,
    reading,
    software,
    storage,
)
from ttt.doctor.examination import Check, Context, Failed, Stage, host
from ttt.protocols import World

if TYPE_CHECKING:
    import torch

WITHOUT_TORCH = (
    Check(
        "configuration",
        Stage.joined,
        lambda _: None,
        lambda seen, here: configuration.judge(here.run, here.problems),
    ),
    Check(
        "versions",
        Stage.local,
        lambda _: software.look(),
        lambda seen, here: software.judge(seen, here.run),
    ),
    Check(
        "launch",
        Stage.local,
        lambda here: launch.look(here.placement),
        lambda seen, _: launch.judge(seen),
    ),
    Check(
        "GPUs",
        Stage.local,
        lambda here: gpus.look(here.place.local_rank),
        lambda seen, here: gpus.judge(seen, here.run.device),
    ),
    Check(
        "CPU binding",
        Stage.local,
        lambda here: cpus.look(here.place, host(), _gpus(here)),
        lambda seen, here: cpus.judge(seen, here.run, launched=here.launched),
    ),
    Check("limits", Stage.local, lambda _: limits.look(), lambda seen, _: limits.judge(seen)),
    Check(
        "host names",
        Stage.local,
        lambda _: network.look(),
        lambda seen, here: network.judge(seen, launched=here.launched),
    ),
    Check(
        "rank 0's name",
        Stage.joined,
        lambda here: network.look_rank_zero(here.seen["host names"]),
        lambda seen, here: network.judge_rank_zero(seen, here.seen["host names"]),
    ),
    Check(
        "probe in run_root",
        Stage.collective,
        lambda here: storage.probe(here.run, here.place.rank, here.gather),
        lambda seen, _: (),  # the next row judges it
    ),
    Check(
        "run_root",
        Stage.joined,
        lambda here: storage.look_runs(here.run),
        lambda seen, here: storage.judge_runs(
            seen, [one.facts for one in here.seen["probe in run_root"]]
        ),
    ),
    Check(
        "data set",
        Stage.joined,
        lambda here: storage.look_data(here.run),
        lambda seen, here: storage.judge_data(
            seen, made=getattr(here.run.data, "prepare", None) is not None
        ),
    ),
    Check(
        "data files",
        Stage.joined,
        lambda here: contents.look(here.run, here.looks, here.place),
        lambda seen, _: contents.judge(seen),
        after="read rate",  # because it fills the page cache
    ),
    Check(
        "read rate",
        Stage.joined,
        lambda here: reading.look(here.run, here.place.rank, here.place.size),
        lambda seen, here: reading.judge(seen, here.run.clear_cache),
    ),
)


def with_torch(world: World, device: "torch.device") -> tuple[Check, ...]:
    """The rows below those of `WITHOUT_TORCH`, for a process that can import torch.

    Args:
        world: All ranks, joined on the CPU.
        device: The one that this rank would train on.
    """
    from ttt.doctor import (  # noqa: PLC0415 - torch may be absent
        clocks,
        compute,
        copies,
        counters,
        decoding,
        exchange,
        precision,
        steps,
    )

    def each_device(
        name: str, module: ModuleType, look: Callable[[Context], Any] | None = None
    ) -> Check:
        """A check of one device, which needs no other rank."""
        alone = look or (lambda _: module.look(device))
        return Check(name, Stage.device, alone, lambda seen, _: module.judge(seen))

    return (
        Check(
            "clocks",
            Stage.collective,
            lambda here: clocks.look(here.gather),
            lambda seen, _: clocks.judge(seen),
        ),
        each_device(
            "matrix product",
            compute,
            lambda here: compute.look(device, gpus=_shows_gpus(here)),
        ),
        each_device("precision", precision),
        each_device("training step", steps),
        each_device("copy rate", copies),
        each_device(
            "image decoding",
            decoding,
            lambda here: decoding.look(device, needed=_reads_images(here)),
        ),
        each_device("NVML counters", counters),
        Check(
            "collectives",
            Stage.collective,
            lambda here: exchange.look(world, here.run),
            lambda seen, _: exchange.judge(seen),
        ),
        Check(
            "NCCL",
            Stage.collective,
            lambda here: exchange.look_nccl(world, device, here.facts["collectives"]),
            lambda seen, here: exchange.judge_nccl(seen, here.facts["collectives"]),
        ),
    )


def _gpus(here: Context) -> gpus.Gpus | None:
    """The GPUs that the driver shows to this rank; None where that check broke."""
    found = here.facts["GPUs"]
    return None if isinstance(found, Failed) else found


def _shows_gpus(here: Context) -> bool:
    found = _gpus(here)
    return found is not None and bool(found.visible)


def _reads_images(here: Context) -> bool:
    return getattr(here.run.data, "loader", None) is not None  # a user's own data may lack it
