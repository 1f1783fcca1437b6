"""What a log discloses follows from what the run does."""

import pytest
import torch
from torch import nn

from ranks import on_ranks
from ttt import config
from ttt.build import describe_run, spread
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.schema.logged import Spread
from ttt.schema.parallel import Mesh

PRECISIONS = [
    ("fp32", "fp32"),
    ("tf32", "fp32"),  # a CPU has none
    ("bf16", "bfloat16"),
    ("fp16", "fp16"),
]


def told(spread: Spread, precision: str = "fp32", accumulate: int = 1):
    said = spread.disclosed(precision, global_batch=96, accumulate=accumulate)
    return {name.removeprefix("lowest_numerical_precision_in_"): one for name, one in said.items()}


@pytest.mark.parametrize(("precision", "computed"), PRECISIONS)
def test_autocast_decides_what_layers_compute_in_and_weights_what_is_sent(precision, computed):
    said = told(spread(nn.Linear(2, 2), Solo(torch.device("cpu")), precision), precision)
    assert (said["linear"], said["attn"], said["comm"]) == (computed, computed, "fp32")


def test_tf32_is_said_where_the_device_has_it_and_gradients_stay_fp32():
    said = told(Spread(tf32=True), "tf32")
    assert (said["linear"], said["comm"]) == ("tf32", "fp32")


def test_a_model_with_low_weights_sends_low_gradients():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype=torch.bfloat16))
    said = told(spread(model, Solo(torch.device("cpu")), "fp32"))
    assert (said["linear"], said["comm"]) == ("bfloat16", "bfloat16")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_what_is_exchanged_beside_gradients_is_said(precision):
    low = "bfloat16" if precision == "bf16" else "fp32"
    assert told(Spread(Mesh(tensor=2), tf32=True), precision)["comm"] == low  # activations
    assert told(Spread(Mesh(shard=2)), precision)["comm"] == "fp32"
    assert told(Spread(Mesh(shard=2), gathered=["bfloat16"]), precision)["comm"] == "bfloat16"


@pytest.mark.parametrize(
    ("spread", "accumulate", "tensor", "micro"),
    [
        (Spread(), 1, 1, 96),
        (Spread(Mesh(8)), 1, 1, 12),
        (Spread(Mesh(8)), 3, 1, 4),
        (Spread(Mesh(4, 1, 2)), 1, 2, 24),  # two processes hold a replica together
    ],
)
def test_parallelism_and_micro_batch_follow_from_the_mesh(spread, accumulate, tensor, micro):
    said = told(spread, accumulate=accumulate)
    assert (said["tensor_parallelism"], said["micro_batch_size"]) == (tensor, micro)
    assert said["pipeline_parallelism"] == said["context_parallelism"] == 1
    assert said["expert_parallelism"] == 1


def test_the_event_of_a_run_tells_it():
    config.register()
    run = config.resolve(config.compose(["precision=bf16", "accumulate=2"]), seed=1)
    told = describe_run(run, Solo(torch.device("cpu")), nn.Linear(2, 2))
    assert told["disclosed"]["lowest_numerical_precision_in_linear"] == "bfloat16"
    assert told["disclosed"]["micro_batch_size"] == told["micro_batch"] == 36


def sent(world):
    """Data types of what DistributedDataParallel exchanges under autocast, and what is told."""
    model, seen = nn.Linear(4, 2), set()
    parallel = parallelize(model, world, optimizer=lambda model: None).module

    def hook(_, bucket):
        seen.add(str(bucket.buffer().dtype))
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    parallel.register_comm_hook(None, hook)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parallel(torch.ones(3, 4)).sum().backward()
    return seen, told(spread(model, world, "bf16"), "bf16")["comm"]


def test_gradients_are_sent_in_what_the_log_says():
    assert on_ranks(2, sent) == [({"torch.float32"}, "fp32")] * 2
