"""The process that trains benchmarks on fake CUDA; one JSON request a line in, an answer out.

Start it with the library that `fake_cuda.cpp` becomes: `python cuda_steps.py LIBRARY`.
"""

import ctypes
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

ctypes.CDLL(sys.argv[1])  # torch looks for CUDA once, while it is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402, TID251
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402

import fake_cuda  # noqa: E402
from ttt import build, config  # noqa: E402
from ttt.clock import Clock  # noqa: E402
from ttt.data import decoder  # noqa: E402
from ttt.distributed.world import Solo  # noqa: E402
from ttt.events import EventLog  # noqa: E402
from ttt.models.embedding_bags import EmbeddingBags  # noqa: E402
from ttt.schema.run import RunConfig  # noqa: E402
from ttt.supervise.heartbeat import Heartbeat  # noqa: E402

SMALL = {  # a search of four words looks once at which sentences are done
    "data.root": "nowhere",
    "data.max_length": 3,
    "task.extra_length": 1,
    "seed": 1,
}


class Planted:
    """A task with a fault in its loss."""

    def __init__(self, task: Any, fault: str) -> None:
        self.task, self.fault = task, fault

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        loss = self.task.loss(model, batch)
        return getattr(self, self.fault)(loss)

    def host_sync(self, loss: torch.Tensor) -> torch.Tensor:
        return loss if loss.item() < 1e9 else loss * 0

    def device_sync(self, loss: torch.Tensor) -> torch.Tensor:
        torch.cuda.synchronize()
        return loss

    def mask(self, loss: torch.Tensor) -> torch.Tensor:
        return loss[None][loss[None].isfinite()].sum()

    def cpu_tensor(self, loss: torch.Tensor) -> torch.Tensor:
        return (loss * torch.ones(2)).mean()

    def changed_cpu_tensor(self, loss: torch.Tensor) -> torch.Tensor:
        torch._foreach_add_([torch.zeros(())], [loss.detach()])
        return loss

    def copied_cpu_tensor(self, loss: torch.Tensor) -> torch.Tensor:
        return loss * torch.ones(()).to(loss.device, non_blocking=True)

    def ten_operations(self, loss: torch.Tensor) -> torch.Tensor:
        for _ in range(10):
            loss = loss + 0.0  # its backward pass is none
        return loss


def configuration(name: str, overrides: Sequence[str], processes: int) -> RunConfig:
    """A benchmark as it is, but for the lengths of sentences, which decide how long this takes."""
    composed = config.compose([f"benchmark={name}", *overrides])
    # A set that is counted where it is has here some number of samples.
    counted = {} if composed.data.train_samples else {"data.train_samples": 2_400_000}
    return config.resolve(config.changed(composed, SMALL | counted), processes=processes)


def refusal(run_config: RunConfig, processes: int) -> str | None:
    """Why this benchmark may not have this precision."""
    for problem in run_config.problems(processes):
        if problem.startswith("precision="):
            return problem
    return None


def measured(
    name: str,
    overrides: Sequence[str] = (),
    processes: int = 1,
    fault: str | None = None,
    warm: bool = False,
    evaluate: bool = True,
) -> Mapping[str, Any]:
    """Build a benchmark as a run does, train two steps of it and evaluate one batch.

    Args:
        name: Of the benchmark.
        overrides: Settings, as typed.
        processes: 1, or 8, of which this is the first.
        fault: A method of `Planted` that changes the loss.
        warm: Also go through the warm-up.
        evaluate: Also evaluate.

    Returns:
        Operations on the device and collectives of the second step, and waits of each part; or
        `refused`, the reason why the settings are not allowed.
    """
    run_config = configuration(name, overrides, processes)
    if reason := refusal(run_config, processes):
        return {"refused": reason}
    mesh = run_config.parallel.mesh(processes)
    world: Any = Solo(fake_cuda.DEVICE) if processes == 1 else fake_cuda.Eight(mesh)
    with FakeTensorMode(allow_non_fake_inputs=True), fake_cuda.Recorder() as recorder:
        learner_class = build.StandardLearner
        warm_up = learner_class.warm_up
        if not warm:
            learner_class.warm_up = lambda *_: None  # type: ignore[method-assign]
        log = EventLog(time.time, [])
        try:
            parts = build.build(run_config, world, Clock(time.time), log, Heartbeat())
        finally:
            learner_class.warm_up = warm_up  # type: ignore[method-assign]
        synthetic = parts.data.synthetic(world.data)
        learner: Any = parts.learner
        if fault:
            learner._task = Planted(parts.task, fault)
        answer: dict[str, Any] = {"precision": run_config.precision, "waits": {}}

        def done(part: str) -> None:
            answer["waits"][part] = dict(recorder.waits)
            recorder.clear()

        recorder.clear()
        learner.step(synthetic.train[0])
        done("first step")
        if 1 < processes == mesh.replicate:  # else DDP does it in the second step, once
            learner._parallel.module.reducer._rebuild_buckets()
            recorder.clear()
        learner.step(synthetic.train[1])
        answer["operations"] = sum(recorder.operations.values())
        answer["by name"] = dict(recorder.operations.most_common())
        answer["collectives"] = dict(recorder.collectives)
        done("step")
        parts.meter.mark()
        learner.health()
        done("health")
        if evaluate:
            metric = parts.task.metric()
            with learner.eval_mode() as model:
                batch = synthetic.eval[0]
                metric.update(parts.task.predict(model, batch), batch)
            done("evaluation")
            if processes == 1:  # the answers of other processes would decide how this goes on
                metric.compute(world)
                done("metric")
    return answer


def warm(self: Any, sizes: Sequence[int]) -> list[decoder.Decoded]:
    """What `Decoder.warm` gives, without DALI."""
    side, device = self.images.size, self.device
    layout = torch.channels_last if self.recipe.channels_last else torch.contiguous_format
    batches = []
    for size in sizes:
        if self.recipe.normalize:
            pixels = torch.empty((size, 3, side, side), device=device, memory_format=layout)
        else:
            pixels = torch.empty((size, side, side, 3), device=device, dtype=torch.uint8)
        labels = torch.empty(size, dtype=torch.int64, device=device)
        batches.append(decoder.Decoded(pixels, labels, np.zeros(size, np.int64)))
    return batches


def answers() -> Iterator[Mapping[str, Any]]:
    """One answer for each request; an error is one too."""
    for line in sys.stdin:
        try:
            yield measured(**json.loads(line))
        except Exception:
            yield {"error": traceback.format_exc()}


if __name__ == "__main__":
    config.register()
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
    decoder.Decoder.warm = warm  # type: ignore[method-assign]
    # A pipeline that nobody builds, in place of the module that imports DALI.
    sys.modules["ttt.data.pipeline"] = SimpleNamespace(build=lambda *_, **__: None)  # type: ignore
    EmbeddingBags._fill = lambda bags: None  # type: ignore[method-assign]  # on the host, and slow
    # The fake convolution gives gradients of 1 x 1 kernels with other strides than cuDNN.
    warnings.filterwarnings("ignore", "Grad strides do not match")
    for answer in answers():
        print(json.dumps(answer), flush=True)
    os._exit(0)  # to take the interpreter apart takes longer than a benchmark
