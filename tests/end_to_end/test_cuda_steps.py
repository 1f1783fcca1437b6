"""Every benchmark on CUDA, as far as that goes without a GPU: no wait, no wrong device.

A process of its own, `cuda_steps.py`, trains each of them on `fake_cuda.py`, whose docstring says
what this cannot see. The numbers here are of the pinned torch. Where a change of ttt is meant to
change them, the failed test prints the new ones.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from ground import PROJECT, environment

SOURCE = PROJECT / "tests" / "support" / "fake_cuda.cpp"
PINNED = next(
    line.strip().removeprefix("torch==")
    for line in (PROJECT / "constraints.txt").read_text().splitlines()
    if line.startswith("torch==")
)
INSTALLED = torch.__version__.partition("+")[0]
BENCHMARKS = sorted(path.stem for path in (PROJECT / "conf" / "benchmark").glob("*.yaml"))
RESERVE = 10  # a step with so many operations more, or fewer, than its ceiling fails

# Operations of one step, in the benchmark's own precision and in others, unless another benchmark
# has the same model and optimizer; None where the precision is refused. With "8 processes" in its
# own precision, DDP included.
EIGHT = "8 processes"
CEILINGS: dict[str, dict[str, int | None]] = {
    "bert": {"bf16": 2791, EIGHT: 3189},
    "bert_topics": {"fp32": 261, EIGHT: 307},
    "cifar10": {"fp32": 96, "bf16": 115, "fp16": 125, EIGHT: 116},
    "clicks": {"fp32": 83, "bf16": 125, "fp16": None, EIGHT: 98},
    "clothing10": {"fp32": 88, EIGHT: 105},
    "dates": {"fp32": 343, "bf16": 500, "fp16": 513, EIGHT: 398},
    "digits": {"fp32": 72, "bf16": 87, "fp16": 97, EIGHT: 86},
    "dlrm_dcnv2": {"tf32": 117, "bf16": 185, "fp16": 229, EIGHT: 214},
    "flights": {"fp32": 83, EIGHT: 98},
    "gnmt": {"bf16": 285, "fp16": 299, EIGHT: 329},
    "llama31_8b": {"bf16": 5503, "fp16": 5516, EIGHT: 5794},
    "llama31_8b_twin": {"fp32": 438, EIGHT: 468},
    "multi30k": {"fp32": 367, EIGHT: 422},
    "resnet": {"bf16": 590, "fp16": 1088, EIGHT: 751},
    "resnet_sgd": {"bf16": 567, EIGHT: 728},
    "shakespeare": {"fp32": 438, EIGHT: 468},
    "topics": {"fp32": 311, "bf16": 403, "fp16": 416, EIGHT: 332},
    "transformer": {"bf16": 1464, EIGHT: 1619},
}
# Of a step on eight processes: one sum for each bucket of gradients, and what spread tables send.
COLLECTIVES: dict[str, dict[str, int]] = {
    "bert": {"allreduce": 38},
    "cifar10": {"allreduce": 2},
    "dates": {"allreduce": 2},
    "dlrm_dcnv2": {"allreduce": 4, "alltoall_base": 3},
    "gnmt": {"allreduce": 11},
    "llama31_8b": {"allreduce": 194},
    "multi30k": {"allreduce": 2},
    "resnet": {"allreduce": 5},
    "resnet_sgd": {"allreduce": 5},
    "transformer": {"allreduce": 22},
}
OVERRIDES = {"dlrm_dcnv2": ["model.sharding=off"]}  # of one process: its tables fit no single GPU

# Where the host waits for the device in a step, as often as that; nowhere else.
STEP_WAITS: dict[tuple[str, str], dict[str, int]] = {
    ("dlrm_dcnv2", EIGHT): {  # how many ids fall to a process, and how many rows an update has
        "indexing by a mask in models.embedding_bags.EmbeddingBags.forward": 1,
        "_coalesce in optim.adagrad.Adagrad._update_rows": 1,
    },
}
# Where it may wait in an evaluation of one batch, translations of four words, and how often.
EVALUATION_WAITS = {
    "nonzero in models.beam.search": 1,  # every fourth word: which sentences are done
    "sum over processes in distributed.tables.ShardedTables._samples": 1,
    "indexing by a mask in models.embedding_bags.EmbeddingBags.forward": 1,
}
# Where it may wait at the end of an evaluation.
METRIC_WAITS = {
    "_local_scalar_dense in metrics.accuracy.Top1.compute": 1,
    "_local_scalar_dense in metrics.auc._twice_won": 1,
    "copy from cpu to cuda in metrics.auc._splitters": 1,
    "indexing by a mask in metrics.auc.Auc._sides": 2,
    "tolist in metrics.auc._range": 2,
    "tolist in metrics.bleu.Bleu.compute": 1,
    "tolist in metrics.masked_accuracy.MaskedAccuracy.compute": 1,
    "tolist in metrics.log_perplexity.LogPerplexity.compute": 1,
}

# Faults that `cuda_steps.Planted` puts into a loss, and what is then reported.
FAULTS = {
    "host_sync": "_local_scalar_dense in __main__.Planted.host_sync",
    "device_sync": "torch.cuda.synchronize in __main__.Planted.device_sync",
    "mask": "indexing by a mask in __main__.Planted.mask",
    "copied_cpu_tensor": "copy from cpu to cuda in __main__.Planted.copied_cpu_tensor",
    "changed_cpu_tensor": "_foreach_add_ changes a tensor of the CPU by one of the device",
    "cpu_tensor": "found at least two devices, cuda:0 and cpu",
    "ten_operations": "operations a step, ceiling",
}

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fake_cuda.cpp` compiled for the installed torch, once for each version of both."""
    if torch.version.cuda:
        pytest.skip("this torch is built for CUDA; the fake device needs one that is not")
    if not shutil.which("g++"):
        need = pytest.fail if os.environ.get("TTT_REQUIRE_GXX") else pytest.skip
        need("no g++ in PATH, which compiles tests/support/fake_cuda.cpp; apt-get install g++")
    cache = getattr(request.config, "cache", None)  # none with -p no:cacheprovider
    kept = cache.mkdir("fake_cuda") if cache else tmp_path_factory.mktemp("library")
    found = kept / f"torch-{torch.__version__}.so"
    if found.exists() and found.stat().st_mtime > SOURCE.stat().st_mtime:
        return found
    folder, made = Path(torch.__file__).parent, found.with_suffix(f".{os.getpid()}")
    build = subprocess.run(
        [
            *("g++", "-shared", "-fPIC", "-std=c++20", "-O0", f"-I{folder / 'include'}"),
            *(str(SOURCE), "-o", str(made)),
            *(f"-L{folder / 'lib'}", f"-Wl,-rpath,{folder / 'lib'}", "-ltorch_cpu", "-lc10"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode:
        fail = pytest.fail if INSTALLED == PINNED else pytest.skip
        fail(
            f"g++ cannot compile {SOURCE} for torch {INSTALLED}; it is written for {PINNED}:"
            f" {build.stderr[-2000:]}"
        )
    made.replace(found)  # at once: another process may want it
    return found


@pytest.fixture(scope="module")
def ask(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask the process what `cuda_steps.measured` gives for these arguments."""
    errors = tmp_path_factory.mktemp("fake_cuda") / "stderr"
    script = str(PROJECT / "tests" / "support" / "cuda_steps.py")
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(library)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None

        def answer(name: str, **arguments: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps({"name": name} | arguments) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"the process has ended: {errors.read_text()[-3000:]}"
            return json.loads(line)

        yield answer
        process.stdin.close()


def faults(
    found: Mapping[str, Any],
    ceiling: int | None,
    *,
    waits: Mapping[str, int] | None = None,
    collectives: Mapping[str, int] | None = None,
) -> list[str]:
    """What is wrong with an answer, a sentence each."""
    if "error" in found:  # its last line says what torch refused; the ones before say where
        return [found["error"]]
    wrong = []
    count = found["operations"]
    if ceiling is None or not ceiling - RESERVE < count <= ceiling:
        wrong.append(f"{count} operations a step, ceiling {ceiling}: {found['by name']}")
    for part in ("first step", "step"):
        if found["waits"][part] != (waits or {}):
            wrong.append(f"the host waits in a {part}: {found['waits'][part]}, known: {waits}")
    if found["waits"]["health"]:
        wrong.append(f"the host waits in health(): {found['waits']['health']}")
    for part, known in (("evaluation", EVALUATION_WAITS), ("metric", METRIC_WAITS)):
        for place, times in found["waits"].get(part, {}).items():
            if times > known.get(place, 0):
                wrong.append(f"{part}: {times} x {place}, known: {known.get(place, 0)}")
    if found["collectives"] != (collectives or {}):
        wrong.append(f"collectives of a step: {found['collectives']}, known: {collectives}")
    if wrong and INSTALLED != PINNED:
        wrong.append(f"torch {INSTALLED} is installed; these numbers are of torch {PINNED}")
    return wrong


def passes(wrong: list[str]) -> None:
    """Fail with all that is wrong."""
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_every_benchmark_has_its_ceilings():
    assert sorted(CEILINGS) == BENCHMARKS


MODES = {
    "fsdp": "topics parallel=fsdp",
    "fsdp in bf16": "topics parallel=fsdp precision=bf16",
    "checkpointed": "topics parallel=fsdp parallel.checkpointing=full",
    "gathered once": "topics parallel=fsdp parallel.reshard=false accumulate=2",
    "hsdp": "topics parallel=hsdp parallel.shard=4",
    "tp": "topics parallel.tensor=2",
    "tp in bf16": "topics parallel.tensor=2 precision=bf16",
    "tp_fsdp": "topics parallel=tp_fsdp",
    "zero1": "topics parallel.zero1=true",
    "translator": "multi30k parallel=tp_fsdp",
    "recommender": "clicks parallel=tp_fsdp model.sharding=off",
    "LAMB": "bert_topics parallel=tp_fsdp",
    "LARS": "resnet parallel=fsdp",
    "LSTM": "gnmt parallel=fsdp",
}


@pytest.mark.parametrize("typed", MODES.values(), ids=MODES)
def test_a_model_in_parts_trains_without_a_wait(ask: Ask, typed: str):
    name, *overrides = typed.split()
    found = ask(name, overrides=overrides, processes=8, evaluate=False)
    assert "error" not in found, found["error"]
    assert found["waits"] == {"first step": {}, "step": {}, "health": {}}
    assert found["collectives"]


def test_a_planted_fault_is_found_in_a_model_in_parts(ask: Ask):
    overrides = ["parallel=fsdp"]
    found = ask("topics", overrides=overrides, processes=8, fault="host_sync", evaluate=False)
    assert FAULTS["host_sync"] in found["waits"]["step"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_trains_and_evaluates_without_a_wait(ask: Ask, name: str):
    own, ceiling = next(iter(CEILINGS.get(name, {"?": None}).items()))
    found = ask(name, overrides=OVERRIDES.get(name, []))
    passes(faults(found, ceiling))
    assert found["precision"] == own


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        (name, precision)
        for name, ceilings in sorted(CEILINGS.items())
        for precision in list(ceilings)[1:]
        if precision != EIGHT
    ],
)
def test_other_precisions_train_without_a_wait(ask: Ask, name: str, precision: str):
    ceiling = CEILINGS[name][precision]
    overrides = [*OVERRIDES.get(name, []), f"precision={precision}"]
    found = ask(name, overrides=overrides, evaluate=False)
    assert ("refused" in found) == (ceiling is None)
    if ceiling:
        passes(faults(found, ceiling, waits=STEP_WAITS.get((name, precision))))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_eight_processes_train_without_a_wait(ask: Ask, name: str):
    """Evaluated are those that have something to do with other processes then."""
    found = ask(name, processes=8, evaluate=name in ("digits", "dlrm_dcnv2"))
    expected = {
        "waits": STEP_WAITS.get((name, EIGHT)),
        "collectives": COLLECTIVES.get(name, {"allreduce": 1}),
    }
    passes(faults(found, CEILINGS.get(name, {}).get(EIGHT), **expected))


@pytest.mark.parametrize("name", ["digits", "clicks"])
def test_nothing_of_a_warm_up_is_left_for_the_steps(ask: Ask, name: str):
    found = ask(name, warm=True, evaluate=False)
    passes(faults(found, CEILINGS[name]["fp32"]))


def test_accumulating_scaling_and_clipping_do_not_wait(ask: Ask):
    overrides = ["accumulate=2", "clip_norm=1", "precision=fp16"]
    passes(faults(ask("digits", overrides=overrides, evaluate=False), 200))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(ask: Ask, fault: str):
    found = ask("digits", fault=fault, evaluate=False)
    assert FAULTS[fault] in "\n".join(faults(found, CEILINGS["digits"]["fp32"]))


@pytest.mark.parametrize("fault", ["host_sync", "cpu_tensor", "ten_operations"])
def test_a_planted_fault_is_found_on_eight_processes(ask: Ask, fault: str):
    found = ask("digits", fault=fault, processes=8, evaluate=False)
    wrong = faults(found, CEILINGS["digits"][EIGHT], collectives={"allreduce": 1})
    assert FAULTS[fault] in "\n".join(wrong)
