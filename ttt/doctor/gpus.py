"""Which GPUs are there, are they alike, and is anything the matter with them. Asks NVML, not torch.

What NVML does not report on a model or driver is None.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttt.distributed.rank import gpu_index
from ttt.doctor.findings import Finding, Observation, failure, names, ok, warning
from ttt.machine import nvml, visible_gpus

_IN_USE = 0.05  # of the memory; the driver itself takes less than one percent


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as NVML sees it.

    Attributes:
        uuid: Its name for life.
        bus_id: Where it sits, as NVML writes it.
        name: Its model.
        memory_bytes: All of its memory.
        used_bytes: What of it is in use now.
        ecc_errors: Uncorrected memory errors since the driver was loaded.
        slowdowns: Why its clock is reduced, if for a bad reason.
        persistent: Whether the driver stays loaded when no process uses it.
        mig: Whether it is divided into instances.
        instances: Their UUIDs. An instance that a process sees stands here as a GPU: its own UUID,
            all else of the whole.
    """

    uuid: str
    bus_id: str
    name: str
    memory_bytes: int
    used_bytes: int
    ecc_errors: int | None
    slowdowns: tuple[str, ...] | None
    persistent: bool | None
    mig: bool | None
    instances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpus:
    """What one process sees.

    Attributes:
        driver: Version of the driver; None without one.
        absent: Why there is no driver.
        visible: The GPUs CUDA would show, in its order.
        own: Index in `visible` of the one this process would use; None if there is none for it.
    """

    driver: str | None
    absent: str | None
    visible: tuple[Gpu, ...]
    own: int | None


def look(local_rank: int, environment: Mapping[str, str] = os.environ) -> Gpus:
    """The GPUs of this process."""
    with nvml.session() as absent:
        if absent is not None:
            return Gpus(None, absent, (), None)
        driver = nvml.driver()
        present = [_gpu(gpu) for gpu in nvml.present()]
    seen = visible(present, environment.get("CUDA_VISIBLE_DEVICES"))
    return Gpus(driver, None, seen, gpu_index(local_rank, len(seen)))


def visible(present: Sequence[Gpu], shown: str | None) -> tuple[Gpu, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, in its order; see `ttt.machine.visible_gpus`.

    Args:
        present: All GPUs, in the order of their bus.
        shown: The variable; None if it is not set, which shows all.
    """
    own = {gpu.uuid: gpu for gpu in present}
    own |= {name: replace(gpu, uuid=name) for gpu in present for name in gpu.instances}
    cards = [visible_gpus.Card(gpu.uuid, gpu.instances) for gpu in present]
    return tuple(own[name] for name in visible_gpus.visible(cards, shown))


def judge(seen: Sequence[Observation[Gpus]], device: str) -> Iterator[Finding]:
    """Whether every rank has a GPU of its own, all alike and well.

    Args:
        seen: What each rank sees.
        device: What the run asks for: "auto", "cpu" or "cuda".
    """
    hosts: dict[str, dict[str, Gpu]] = {}
    for one in seen:
        hosts.setdefault(one.host, {}).update({gpu.uuid: gpu for gpu in one.facts.visible})
    if not any(hosts.values()):
        yield _none(seen[0].facts, hosts, device)
        return
    yield _inventory(hosts, seen)
    if device != "cpu":
        yield from _assignments(seen, hosts)
    for host, gpus in hosts.items():
        for number, gpu in enumerate(gpus.values()):
            yield from _health(f"GPU {number} on {host} ({gpu.name})", gpu)


def _none(first: Gpus, hosts: Mapping[str, Any], device: str) -> Finding:
    why = f"no driver: {first.absent}" if first.driver is None else f"driver {first.driver}"
    data: dict[str, Any] = {"driver": first.driver, "count": dict.fromkeys(hosts, 0)}
    data["why"] = {"driver": first.absent}
    if device == "cuda":
        return failure(
            "GPUs",
            f"device=cuda and none is visible on {names(hosts)} ({why})",
            "device=cpu, or ask the scheduler for GPUs and look at CUDA_VISIBLE_DEVICES",
            **data,
        )
    return ok("GPUs", f"none on {names(hosts)} ({why}); training runs on the CPU", **data)


def _inventory(
    hosts: Mapping[str, Mapping[str, Gpu]], seen: Sequence[Observation[Gpus]]
) -> Finding:
    kinds = {
        host: Counter(f"{gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in gpus.values())
        for host, gpus in hosts.items()
    }
    groups = defaultdict(list)
    for host, kind in kinds.items():
        groups[" + ".join(f"{count} x {name}" for name, count in sorted(kind.items()))].append(host)
    drivers = sorted({str(one.facts.driver) for one in seen})
    listed = "; ".join(f"{group or 'none'} on {names(where)}" for group, where in groups.items())
    summary = f"{listed}; driver {names(drivers)}"
    models = {gpu.name for gpus in hosts.values() for gpu in gpus.values()}
    data = {"gpus": kinds, "drivers": drivers}
    if len(groups) > 1 or len(models) > 1 or len(drivers) > 1:
        return warning(
            "GPUs",
            summary,
            "every step waits for the slowest GPU: restrict the job to identical nodes"
            " (CUDA_VISIBLE_DEVICES, or sbatch --constraint)",
            **data,
        )
    return ok("GPUs", summary, **data)


def _assignments(
    seen: Sequence[Observation[Gpus]], hosts: Mapping[str, Mapping[str, Gpu]]
) -> Iterator[Finding]:
    used: dict[str, list[int]] = defaultdict(list)
    without = []
    for one in seen:
        if one.facts.own is None:
            without.append(f"rank {one.rank} on {one.host}")
        else:
            used[one.facts.visible[one.facts.own].uuid].append(one.rank)
    if without:
        yield failure(
            "GPUs",
            f"no GPU is left for {names(without)}",
            "as many processes per node as it has GPUs, or device=cpu",
            without=without,
        )
    for uuid, ranks in used.items():
        if len(ranks) > 1:
            yield failure(
                "GPUs",
                f"ranks {names(ranks)} would all use {uuid}",
                "a GPU for each process: srun --gpus-per-node=N --gpu-bind=none in place of"
                " --gpus-per-task, and as many processes as GPUs",
                ranks=ranks,
            )
    idle = {host: sum(uuid not in used for uuid in gpus) for host, gpus in hosts.items()}
    if any(idle.values()) and not without:
        yield warning(
            "GPUs",
            f"{sum(idle.values())} of {sum(map(len, hosts.values()))} would be idle, with"
            f" {len(seen)} process{'es' if len(seen) > 1 else ''}",
            "a process per GPU: launcher=torchrun, or torchrun --nproc-per-node gpu",
            idle=idle,
        )


def _health(which: str, gpu: Gpu) -> Iterator[Finding]:
    if gpu.ecc_errors:
        yield failure(
            "GPU memory",
            f"{which} has {gpu.ecc_errors} uncorrected memory errors",
            "drain the node and reset the GPU; replace it if they come back",
            ecc_errors=gpu.ecc_errors,
            uuid=gpu.uuid,
        )
    if gpu.slowdowns:
        yield warning(
            "GPU clock",
            f"{which} runs at a reduced clock: {names(gpu.slowdowns)}",
            "look at its cooling and power supply: nvidia-smi -q -d PERFORMANCE,TEMPERATURE",
            slowdowns=gpu.slowdowns,
            uuid=gpu.uuid,
        )
    if gpu.used_bytes > _IN_USE * gpu.memory_bytes:
        yield warning(
            "GPU memory",
            f"{which} has {gpu.used_bytes / 2**30:.1f} GiB in use already",
            "stop the other processes that use it: nvidia-smi",
            used_bytes=gpu.used_bytes,
            uuid=gpu.uuid,
        )
    if gpu.mig:
        yield warning(
            "GPU",
            f"{which} is divided into MIG instances, which cannot communicate over NCCL",
            "nvidia-smi -mig 0, for more than one process",
            uuid=gpu.uuid,
        )
    if gpu.persistent is False:
        yield warning(
            "GPU",
            f"{which} has persistence mode off: the driver is loaded again for each run",
            "nvidia-smi -pm 1, or start nvidia-persistenced",
            uuid=gpu.uuid,
        )


def _gpu(found: nvml.Gpu) -> Gpu:
    uuid, instances = found.uuid(), found.instances()
    memory, used = found.memory_bytes()
    return Gpu(
        uuid=uuid,
        bus_id=found.bus_id(),
        name=found.name(),
        memory_bytes=memory,
        used_bytes=used,
        ecc_errors=found.ecc_errors(),
        slowdowns=found.slowdowns(),
        persistent=found.persistent(),
        mig=found.mig(),
        instances=instances,
    )
