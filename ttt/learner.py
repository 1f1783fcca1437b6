"""How a model is updated: gradients, precision, accumulation, schedule; not what it learns."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ttt.protocols import Batch, Breakdown, Metric, Parallel, State, Synthetic, Task, World
from ttt.telemetry.health import LossWatch

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def set_arithmetic(precision: str) -> None:
    """Make fp32 mean fp32, and choose kernels off the clock.

    Left alone, cuDNN computes fp32 convolutions in tf32, and logs would name a precision that is
    not the run's. In bf16 and fp16, autocast leaves cuDNN nothing in fp32, and the flag decides
    something else: cuDNN's LSTM in bf16 may use tensor cores only where tf32 is allowed (PyTorch,
    ATen/cudnn/Descriptors.h, `RNNDescriptor::set`).

    cuDNN chooses a convolution's kernel by measuring, once for each shape. All shapes of images
    come in the warm-up. PyTorch prefers cuDNN's attention in bf16 and fp16 on GPUs of compute
    capability 9.x and 10.x (`check_prefer_cudnn_attention` in ATen/native/transformers/cuda/
    sdp_utils.cpp). cuDNN makes an execution plan for each shape, which took 0.44 s forward and
    0.55 s backward on a B200 (modelscope/FunASR, issue 3704). Batches of text have hundreds of
    shapes, which no warm-up covers. So cuDNN's is off, and PyTorch takes its flash and
    memory-efficient kernels, which are compiled already and take any shape.
    """
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.enable_cudnn_sdp(False)


class StandardLearner:
    """One model, one optimizer. Implements `ttt.protocols.Learner`.

    Args:
        parallel: The model and its optimizer.
        task: Gives the loss.
        world: The processes of the run.
        schedule: Update number, from 0, to learning rate.
        precision: "bf16" or "fp16" for autocast with fp32 master weights; else none.
        accumulate: Forward and backward passes per update.
        clip_norm: Largest norm of all gradients together; None for any.
    """

    def __init__(
        self,
        parallel: Parallel,
        task: Task,
        world: World,
        *,
        schedule: Callable[[int], float],
        precision: str,
        accumulate: int,
        clip_norm: float | None,
    ) -> None:
        self.model = parallel.model
        self.steps = 0
        self._task = task
        self._world = world
        self._schedule = schedule
        self._accumulate = accumulate
        self._clip_norm = clip_norm
        self._dtype = _AUTOCAST.get(precision)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=precision == "fp16")
        self._parallel = parallel
        self._losses = LossWatch(world.device)

    def step(self, batch: Batch) -> None:
        """One update from this process's part of a global batch, without waiting for the device."""
        parallel, optimizer = self._parallel, self._parallel.optimizer
        rate = self._schedule(self.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        parts = list(zip(*(tensor.chunk(self._accumulate) for tensor in batch), strict=True))
        total = torch.zeros((), device=self._world.device)
        for number, part in enumerate(parts, start=1):
            with parallel.passing(last=number == len(parts)):
                with self._autocast():
                    loss = self._task.loss(parallel.module, part) / self._accumulate
                self._scaler.scale(loss).backward()
                total = total + parallel.value(loss)
        if self._clip_norm is not None:
            self._scaler.unscale_(optimizer)
            parallel.clip(self._clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.zero_grad()
        self._losses.see(total, self.steps)
        self.steps += 1

    @contextmanager
    def eval_mode(self) -> Iterator[nn.Module]:
        """The model as it is evaluated: the same on every process, no gradients, no dropout.

        BatchNorm statistics, which each process gathered from its own shard, are averaged first.
        """
        self._parallel.average_buffers()
        self.model.eval()
        try:
            with torch.no_grad(), self._autocast(), self._parallel.looking() as model:
                yield model
        finally:
            self.model.train()

    def in_step(self, batches: Iterable[Any], spare: Any) -> Iterator[tuple[Any, bool]]:
        """Batches to look at, and whether each counts; see `ttt.protocols.Parallel`."""
        return self._parallel.in_step(batches, spare)

    def health(self, *, wait: bool = False) -> tuple[int, float | None]:
        """First step with a loss that is not finite, and a recent loss; see `LossWatch.look`."""
        self._parallel.look()
        return self._losses.look(wait=wait)

    def breakdown(self) -> Breakdown:
        """Where updates spent their time."""
        return self._parallel.breakdown(self._accumulate)

    def state(self) -> State:
        """The state that decides the next updates; the schedule needs only the number of steps."""
        training = self._parallel.state()
        own = {**training.own, "scaler": self._scaler.state_dict(), "steps": self.steps}
        return State(training.alike, own, training.cut)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state: both parts of what `state` gave, put together."""
        self._parallel.restore(state)
        self._scaler.load_state_dict(state["scaler"])
        self.steps = state["steps"]

    def warm_up(self, synthetic: Synthetic, metric: Metric) -> None:
        """Go through every shape of `synthetic` once, then forget weights, statistics, state, RNG.

        Compilation, memory pools, communicators and kernels are ready afterwards, and the run
        starts from exactly the weights that were made before. Text has more shapes than can be
        tried. For a new one cuBLAS and cuDNN's LSTM choose a kernel by rules, without measuring,
        and CUDA loads a kernel from the library at its first use: that is left on the clock.
        """
        device = self._world.device
        devices = [device] if device.type == "cuda" else []
        scaler = self._scaler.state_dict()
        with self._parallel.trial(), torch.random.fork_rng(devices):
            for batch in synthetic.train:
                self.step(batch)
            with self.eval_mode() as model:
                spare = next(iter(synthetic.eval), None)
                for batch, _ in self.in_step(synthetic.eval, spare):
                    metric.update(self._task.predict(model, batch), batch)
            metric.compute(self._world)
        self._scaler.load_state_dict(scaler)
        self._losses = LossWatch(device)
        self.steps = 0

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._world.device.type, dtype=self._dtype)
