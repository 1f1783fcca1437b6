"""The device of each process, and whether the processes have one each: settled before they join."""

import os
import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.distributed import Store  # type: ignore[attr-defined]

from ttt.distributed.agreement import Show, agree, named, silent
from ttt.distributed.rank import Placement, gpu_index
from ttt.errors import ConfigError, TttError

_SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """What a process says of its device.

    Attributes:
        rank: Which process.
        host: Its node.
        local_size: Processes of its node.
        gpu: Its GPU's identity; None on a CPU, or where there is a problem.
        problems: Why it has no device.
    """

    rank: int
    host: str
    local_size: int
    gpu: str | None = None
    problems: Sequence[str] = ()


def identity(device: torch.device) -> str | None:
    """The UUID of a GPU, or of a MIG instance; None for a CPU."""
    if device.type != "cuda":
        return None
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    # torch may give the UUID of the whole GPU for each of its instances.
    if device.index < len(shown) and (name := shown[device.index].strip()).startswith("MIG-"):
        return name
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def choose(wanted: str, local_rank: int) -> torch.device:
    """The device of this process: one GPU each where there are GPUs.

    Args:
        wanted: "auto", "cpu" or "cuda".
        local_rank: This process, on its node.

    Raises:
        ConfigError: There are more processes than GPUs.
    """
    gpus = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return torch.device("cpu")
    index = gpu_index(local_rank, gpus)
    if index is None:
        raise ConfigError(
            [
                f"local rank {local_rank} has no GPU, {gpus} are visible here; allowed: as many"
                f" processes as GPUs; --nproc-per-node {max(1, gpus)}, srun --gpus-per-node"
                " --gpu-bind=none in place of --gpus-per-task, or device=cpu"
            ]
        )
    return torch.device("cuda", index)


def finish_queue(device: torch.device) -> None:
    """Wait until a GPU has done what this thread queued on its current stream.

    The stream and not the device, which would also wait for batches that DALI decodes ahead on
    streams of its own. What NCCL does on a stream of its own is waited for: `Work.wait` of a
    collective makes the current stream wait for NCCL's, and DDP's reducer calls it for every bucket
    before backward returns (finalize_backward in torch/csrc/distributed/c10d/reducer.cpp).
    """
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def has_work(device: torch.device) -> bool:
    """Whether a GPU is not done with what the main thread queued; may be asked in any thread.

    ttt trains and evaluates on the default stream. A current stream belongs to a thread.
    """
    return device.type == "cuda" and not torch.cuda.default_stream(device).query()


def take(
    store: Store,
    placement: Placement,
    choose: Callable[[int], torch.device],
    seconds: float,
    secret: str | None = None,
    show: Show = silent,
) -> torch.device:
    """The device of this process, once every process has one of its own.

    Args:
        store: The store of this run.
        placement: Who this process is.
        choose: The device for a local rank.
        seconds: How long rank 0 waits for the others.
        secret: Of this launch.
        show: Shows on rank 0 why it gives up.

    Raises:
        ConfigError: On rank 0: some process has no device, or shares its own.
        LaunchError: On the others: the same.
    """
    device, failed = torch.device("cpu"), None
    gpu, problems = None, []
    try:
        device = choose(placement.local_rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
            gpu = identity(device)
    except ConfigError as error:
        problems = list(error.problems)
    except Exception as error:  # CUDA's, of any kind: the others must not wait for this process
        failed = error
        problems = [f"{type(error).__name__}: {error}".partition("\n")[0]]
    mine = Choice(placement.rank, socket.gethostname(), placement.local_size, gpu, problems)
    try:
        agree(store, placement, asdict(mine), _judge, seconds, secret, show)
    except TttError:
        if failed:  # it alone has the traceback
            raise failed from None
        raise
    return device


def _judge(choices: list[dict[str, Any]]) -> list[str]:
    return judge([Choice(**one) for one in choices])


def judge(choices: Sequence[Choice]) -> list[str]:
    """What is wrong with the devices of all processes.

    Args:
        choices: What each says, in rank order.
    """
    found = [f"rank {one.rank} on {one.host}: {text}" for one in choices for text in one.problems]
    if len(found) > _SHOWN_PROBLEMS:
        found = [*found[:_SHOWN_PROBLEMS], f"and {len(found) - _SHOWN_PROBLEMS} more like these"]
    users: dict[str, list[Choice]] = defaultdict(list)
    for one in choices:
        if one.gpu:
            users[one.gpu].append(one)
    for gpu, ranks in users.items():
        if len(ranks) > 1:
            size = ranks[0].local_size
            found.append(
                f"ranks {named([one.rank for one in ranks])} on {ranks[0].host} have one GPU in"
                f" common, {gpu}; allowed: a GPU for each process; srun --gpus-per-node={size}"
                " --gpu-bind=none in place of --gpus-per-task, as many processes as GPUs, or"
                " device=cpu"
            )
    return found
