"""From a frozen configuration to the parts of a run: built, parallel and warm, before the clock."""

import gc
from functools import partial
from typing import Any

import torch
from torch import nn

from ttt import config, scratch, signals
from ttt.clock import Clock
from ttt.distributed.narrow import narrowed
from ttt.distributed.parallelize import parallelize
from ttt.errors import ConfigError, fault
from ttt.events import EventLog, Kind
from ttt.learner import StandardLearner, set_arithmetic
from ttt.loop import Parts
from ttt.machine import environment
from ttt.protocols import Data, Metric, Parallel, Synthetic, Task, World
from ttt.schema.logged import Spread
from ttt.schema.run import RunConfig
from ttt.supervise.heartbeat import Heartbeat
from ttt.telemetry import memory
from ttt.telemetry.timing import Meter


def build(
    run_config: RunConfig, world: World, clock: Clock, log: EventLog, heartbeat: Heartbeat
) -> Parts:
    """Build and warm up everything; no file of the data set may be touched in here."""
    assert run_config.seed is not None  # drawn or counted at launch
    log.emit(Kind.INIT_START)
    heartbeat.beat("building", 0)
    set_arithmetic(run_config.precision)
    torch.manual_seed(run_config.seed)
    task = config.instantiate("task", run_config.task)
    keep_compiled(run_config, log)
    parallel = make_parallel(run_config, world)
    data = config.instantiate(
        "data",
        run_config.data,
        without=("loader", "prepare"),
        world=world,
        channels_last=run_config.channels_last,
    )
    learner = learner_of(run_config, parallel, task, data, world)
    metric = asked_for(task.metric(), run_config)
    log.emit(
        Kind.CONFIG,
        **describe_run(run_config, world, parallel.model),
        metric_details=dict(metric.details()),
        tables=parallel.tables,
    )
    heartbeat.beat("warming up", 0)
    synthetic = warm_up(learner, data, metric, world, run_config.seed)
    return Parts(
        task=task,
        learner=learner,
        data=data,
        target=run_config.target.target(data.train_samples),
        world=world,
        clock=clock,
        log=log,
        meter=Meter(world.device),
        heartbeat=heartbeat,
        seed=run_config.seed,
        check_every=run_config.target.check_every_steps,
        preemption_requested=lambda: signals.preemption_requested() is not None,
        example=[tensor.to("meta") for tensor in (synthetic.train or [()])[0]],
        spare=next(iter(synthetic.eval), None) if parallel.in_turns else None,
    )


def learner_of(
    run_config: RunConfig, parallel: Parallel, task: Task, data: Data, world: World
) -> StandardLearner:
    """What updates the model, as it is configured."""
    lr, steps = run_config.optim.lr, data.steps_per_epoch
    return StandardLearner(
        parallel,
        task,
        world,
        schedule=config.instantiate(
            "schedule", run_config.schedule, base_lr=lr, steps_per_epoch=steps
        ),
        precision=run_config.precision,
        accumulate=run_config.accumulate,
        clip_norm=run_config.clip_norm,
    )


def make_parallel(run_config: RunConfig, world: World) -> Parallel:
    """The model, cut and on its device, with its optimizer.

    Raises:
        ConfigError: The model does not fit.
    """
    return parallelize(
        config.instantiate("model", run_config.model),
        world,
        optimizer=partial(config.instantiate, "optim", run_config.optim, without=("name",)),
        settings=run_config.parallel,
        compile=run_config.compile,
        precision=run_config.precision,
        layout=torch.channels_last if run_config.channels_last else torch.contiguous_format,
    )


def warm_up(
    learner: StandardLearner, data: Data, metric: Metric, world: World, seed: int
) -> Synthetic:
    """Train and evaluate on made-up data, and return it; nothing is left but what is warm."""
    gc.collect()
    gc.freeze()  # what is imported and built lives to the end
    gc.enable()  # a worker starts without; garbage of the warm-up may hold memory of the device
    synthetic = data.synthetic(world.data)
    # The same weights everywhere, but every shard drops out units of its own. What was drawn for
    # made-up data does not count. (On a CPU torch heeds the lower 32 bits of a seed only.)
    torch.manual_seed(seed + 1_000_003 * world.data.index)
    learner.warm_up(synthetic, metric)
    memory.reset_peaks(world.device)
    return synthetic


def keep_compiled(run_config: RunConfig, log: EventLog) -> None:
    """If the model is compiled, keep the compiled code for later runs, or say why not."""
    if run_config.compile and (sentence := scratch.keep_compiled()):
        log.emit(Kind.WARNING, message=sentence)


def asked_for(metric: Metric, run_config: RunConfig) -> Metric:
    """The metric, if the target is one of it; a user's own task says only here what it computes.

    Raises:
        ConfigError: It is another.
    """
    if metric.name != run_config.target.metric:
        asked, name = run_config.target.metric, metric.name
        why = f"is not what {run_config.task._target_} computes"
        raise ConfigError([fault("target.metric", asked, why, allowed=name, typed=name)])
    return metric


def spread(model: nn.Module, world: World, precision: str) -> Spread:
    """How the processes share the work, and in which arithmetic, as it really is."""
    gpu = world.device.type == "cuda"
    # The first of NVIDIA's architectures with tf32 is Ampere, 8.0; elsewhere the flag does nothing.
    able = gpu and torch.cuda.get_device_capability(world.device) >= (8, 0)
    return Spread(
        mesh=world.mesh,
        weights={
            str(one.dtype).removeprefix("torch.")
            for one in model.parameters()
            if one.is_floating_point() or one.is_complex()
        },
        gathered=("bfloat16",) if narrowed(model) else (),
        tf32=able and precision == "tf32",
    )


def describe_run(run_config: RunConfig, world: World, model: nn.Module) -> dict[str, Any]:
    """What the log says is being run."""
    gpu = environment.accelerator(world.device)
    return run_config.claim(spread(model, world, run_config.precision)) | {
        "world_size": world.size,
        "nodes": world.nodes,
        "accelerators": world.size if gpu else 0,
        "accelerator_name": gpu["name"] if gpu else None,
        "price_per_hour": run_config.system.price_per_hour,
    }
