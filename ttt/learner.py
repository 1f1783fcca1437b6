"""How a model is updated: gradients, precision, accumulation, schedule; not what it learns."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ttt.distributed.gradients import GradientTimes
from ttt.distributed.parallelize import accumulating, parallelize
from ttt.distributed.state import Undo, restore_training, training_state
from ttt.protocols import Batch, Breakdown, Metric, State, Synthetic, Task, World
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
    sdp_utils.cpp), and cuDNN makes an execution plan for each shape: 0.44 s forward and 0.55 s
    backward were measured on a B200 (modelscope/FunASR, issue 3704). Batches of text have hundreds
    of shapes, which no warm-up covers. So cuDNN's is off, and PyTorch takes its flash and
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
        model: On the world's device already.
        task: Gives the loss.
        world: The processes to average gradients with.
        optimizer: Makes the optimizer from the model.
        schedule: Update number, from 0, to learning rate.
        precision: "bf16" or "fp16" for autocast with fp32 master weights; else none.
        accumulate: Forward and backward passes per update.
        clip_norm: Largest norm of all gradients together; None for any.
        compile: Compile the model's forward (and with it the backward).
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the configuration
        self,
        model: nn.Module,
        task: Task,
        world: World,
        *,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        schedule: Callable[[int], float],
        precision: str,
        accumulate: int,
        clip_norm: float | None,
        compile: bool,
    ) -> None:
        if compile:
            model.compile()
        self.model = model
        self.steps = 0
        self._task = task
        self._world = world
        self._optimizer = optimizer(model)
        self._schedule = schedule
        self._accumulate = accumulate
        self._clip_norm = clip_norm
        self._dtype = _AUTOCAST.get(precision)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=precision == "fp16")
        self._parallel = parallelize(model, world)
        self._losses = LossWatch(world.device)
        self._times = GradientTimes(self._parallel)

    def step(self, batch: Batch) -> None:
        """One update from this process's part of a global batch, without waiting for the device."""
        rate = self._schedule(self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        parts = list(zip(*(tensor.chunk(self._accumulate) for tensor in batch), strict=True))
        total = torch.zeros((), device=self._world.device)
        for number, part in enumerate(parts, start=1):
            with accumulating(self._parallel) if number < len(parts) else nullcontext():
                with self._autocast():
                    loss = self._task.loss(self._parallel, part) / self._accumulate
                self._scaler.scale(loss).backward()
            total = total + loss.detach()
        if self._clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm, foreach=True)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        self._losses.see(total, self.steps)
        self.steps += 1

    @contextmanager
    def eval_mode(self) -> Iterator[nn.Module]:
        """The model as it is evaluated: the same on every process, no gradients, no dropout.

        BatchNorm statistics, which each process gathered from its own shard, are averaged first.
        """
        self._world.average(list(self.model.buffers()))
        self.model.eval()
        try:
            with torch.no_grad(), self._autocast():
                yield self.model
        finally:
            self.model.train()

    def health(self, *, wait: bool = False) -> tuple[int, float | None]:
        """First step with a loss that is not finite, and a recent loss; see `LossWatch.look`."""
        self._times.look()
        return self._losses.look(wait=wait)

    def breakdown(self) -> Breakdown:
        """Where updates spent their time; see `GradientTimes`."""
        return self._times.breakdown(self._accumulate)

    def state(self) -> State:
        """The state that decides the next updates; the schedule needs only the number of steps."""
        training = training_state(self._parallel, self._optimizer)
        own = {**training.own, "scaler": self._scaler.state_dict(), "steps": self.steps}
        return State(training.alike, own)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state: both parts of what `state` gave, put together."""
        restore_training(self._parallel, self._optimizer, state)
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
        undo = Undo(self.model, self._optimizer)
        scaler = self._scaler.state_dict()
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for batch in synthetic.train:
                self.step(batch)
            with self.eval_mode() as model:
                for batch in synthetic.eval:
                    metric.update(self._task.predict(model, batch), batch)
            metric.compute(self._world)
        undo.put_back()
        self._scaler.load_state_dict(scaler)
        self._losses = LossWatch(device)
        self._times = GradientTimes(self._parallel)
        self.steps = 0

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._world.device.type, dtype=self._dtype)
