"""bench/gpu.sh on the CPU: what needs no GPU is done, what needs a package is skipped by name."""

import json
import os
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpu import (
    absent,
    attention,
    decode,
    energy,
    figures,
    parts,
    repeat,
    steps,
    summary,
    syncs,
)
from ground import HUNG, PROJECT
from ttt import config
from ttt.errors import MissingExtra, install
from ttt.launch.process import worker_environment

# Makes packages look absent in a process that finds it as sitecustomize.
HIDE = """
import sys

class Hidden:
    names = ("hydra", "omegaconf", "antlr4", "mlperf_logging", "nvidia.dali", "babel", "num2words")

    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{each}.") for each in self.names):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""
# pytest finds this one by what pip wrote of hydra-core, which is not hidden.
PLUGINS = "-p no:hydra_pytest"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def values(file: Path) -> dict[str, Any]:
    return {line["name"]: line["value"] for line in lines(file)}


def common(file: Path) -> list[str]:
    """Of every section; a part begins also where the machine is slow."""
    return ["--device", "cpu", "--figures", str(file), "--seconds", "1000"]


def gpu_sh(out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "bench" / "gpu.sh", out],
        env=os.environ | {"PYTHON": sys.executable, "DEVICE": "cpu"} | variables,
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
    )


def outcomes(out: Path) -> dict[str, tuple[str, str]]:
    found = [line for line in lines(out / "figures.jsonl") if line["name"] == "outcome"]
    return {line["section"]: (line["value"], line.get("why", "")) for line in found}


@pytest.fixture(autouse=True)
def keep_threads(monkeypatch):
    """Tests keep their one thread; a section that runs as a program takes a worker's."""
    monkeypatch.setattr(figures.binding, "bind_cpus", lambda *_: None)


@pytest.fixture(scope="module")
def registered() -> None:
    config.register()


@pytest.mark.parametrize("name", parts.ALL)
@pytest.mark.usefixtures("registered")
def test_settings_without_hydra_are_those_hydra_composes(name: str):
    run = config.resolve(config.compose([f"benchmark={name}", "seed=1"]))
    ours = parts.settings(name)
    for group in parts.GROUPS:
        assert ours[group] == vars(getattr(run, group)), group
    for setting in ("seed", "precision", "channels_last", "accumulate", "clip_norm"):
        assert ours[setting] == getattr(run, setting), setting
    assert ours["benchmark"]["division"] == run.benchmark.division
    assert ours["target"]["max_epochs"] == run.target.max_epochs


def test_updates_and_what_must_repeat_are_measured_on_the_cpu(tmp_path: Path, capfd):
    file = tmp_path / "figures.jsonl"
    few = ["--benchmarks", "digits", "clicks"]
    assert steps.main([*common(file), *few, "--precisions", "fp32", "--updates", "2"]) == 0
    assert repeat.main([*common(file), *few]) == 0
    found = values(file)
    for name in ("digits", "clicks"):
        assert found[f"{name} fp32 step"] > 0
        assert found[f"{name} fp32 evaluation repeats"] is True
        assert found[f"{name} fp32 loss after restoring differs by"] == 0
    assert found["digits fp32 rate"] == pytest.approx(72_000 / found["digits fp32 step"])
    assert all("allocated" not in name for name in found)  # a CPU has no such figure
    assert "digits fp32" in "\n".join(summary.table(file))


def test_a_state_that_is_not_restored_is_a_failure(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.setattr(parts.StandardLearner, "restore", lambda self, state: None)
    file = tmp_path / "figures.jsonl"
    assert repeat.main([*common(file), "--benchmarks", "digits"]) == figures.FAILED
    assert "became" in capfd.readouterr().out.splitlines()[-1]


def test_attention_and_new_shapes_are_looked_at(tmp_path: Path, capfd):
    file = tmp_path / "figures.jsonl"
    assert attention.main([*common(file), "--precisions", "fp32"]) == 0
    found = values(file)
    assert "_scaled_dot_product" in found["dates fp32 attention"]
    for allowed in ("on", "off"):
        assert found[f"bfloat16 attention, cuDNN {allowed}, new shape, median"] > 0


def test_waits_are_counted_by_place(tmp_path: Path):
    def step(batch: object) -> None:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    built: Any = SimpleNamespace(learner=SimpleNamespace(step=step, health=lambda: None))
    section: Any = SimpleNamespace(cuda=False, synchronize=lambda: None)
    [(place, count)] = syncs.waits(section, built, None).items()
    assert place.startswith(f"{__file__}:")
    assert count == 2


def test_images_are_decoded_and_compared(tmp_path: Path, capfd):
    file = tmp_path / "figures.jsonl"
    sizes = ["--images", "8", "--batch", "4", "--busy", "0.1"]
    assert decode.main([*sizes, *common(file)]) == 0
    found = values(file)
    for kind in ("photographs", "grey"):
        assert found[f"{kind}, hw_decoder_load=null, rate"] > 0
    assert found["random_resized_crop, mean distance to the CPU's pixels"] == 0


def test_a_world_of_one_is_joined_and_changes_no_gradient(tmp_path: Path):
    file = tmp_path / "figures.jsonl"
    # In a process of its own: it joins a world as a run does.
    command = [sys.executable, "-m", "gpu.collectives", *common(file)]
    place = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'bench'}"}
    done = subprocess.run(
        command, env=os.environ | place, capture_output=True, text=True, timeout=HUNG, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = values(file)
    assert found["join a world of one"] > 0
    assert found["gradients by DDP differ by"] == 0


def test_a_cpu_has_no_energy_counter(tmp_path: Path, capfd):
    assert energy.main(common(tmp_path / "figures.jsonl")) == figures.SKIPPED
    assert capfd.readouterr().out.endswith("\nneeds a GPU: NVML knows no CPU\n")


def test_images_are_skipped_without_dali(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.setattr(figures, "_found", lambda module: module != "nvidia.dali")
    assert decode.main(common(tmp_path / "figures.jsonl")) == figures.SKIPPED
    assert capfd.readouterr().out.endswith("\nneeds nvidia-dali-cuda130, not installed\n")


def test_power_is_integrated_from_end_to_end():
    assert energy.integrated([(1.0, 100.0), (3.0, 200.0)], 0.0, 4.0) == 100 + 300 + 200


def test_tests_that_are_skipped_are_counted_by_reason(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    (tmp_path / "test_a.py").write_text(
        "import pytest\n\n@pytest.mark.gpu\ndef test_a():\n    import babel\n\n"
        "@pytest.mark.gpu\n@pytest.mark.parametrize('n', range(3))\ndef test_b(n):\n"
        "    pytest.skip('needs two GPUs')\n"
    )
    file = tmp_path / "figures.jsonl"
    place = {"PYTHONPATH": f"{tmp_path}:{PROJECT}:{PROJECT / 'bench'}", "PYTEST_ADDOPTS": PLUGINS}
    done = subprocess.run(
        [sys.executable, "-m", "gpu.tests", "--device", "cuda", str(tmp_path / "test_a.py")],
        env=os.environ | place | {"TTT_BENCH_FIGURES": str(file)},
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == figures.SKIPPED, done.stdout + done.stderr
    found = values(file)
    assert found["passed"] == found["failed"] == found["error"] == 0
    assert found["skipped: needs two GPUs"] == 3
    assert found["skipped: needs babel, not installed"] == 1
    assert len(found) == 6


def test_a_machine_with_pytorch_alone_is_measured_and_says_what_is_absent(
    tmp_path: Path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    out = tmp_path / "out"
    wanted = "environment tests runs"
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    done = gpu_sh(out, SECTIONS=wanted, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = outcomes(out)
    assert [*found] == wanted.split()
    hydra = "needs hydra-core, omegaconf, mlperf-logging, not installed"
    assert found["environment"] == ("ok", "")
    assert found["tests"] == ("skipped", "needs an NVIDIA GPU")
    assert found["runs"] == ("skipped", hydra)
    ours = values(out / "figures.jsonl")
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        assert ours[name] == worker_environment(1)[name]
    assert sorted(file.name for file in out.iterdir()) == [
        *("figures.jsonl", "log.txt", "summary.txt")
    ]
    assert done.stdout.endswith((out / "summary.txt").read_text())
    assert len((out / "summary.txt").read_text()) < 12_000


def stub(folder: Path, script: str) -> str:
    """A python that does what `script` says for a section, and is python for the rest."""
    file = folder / "python"
    file.write_text(
        f'#!/usr/bin/env bash\ncase "$*" in\n*gpu.check*) echo cpu ;;\n{script}\n'
        f'*) exec {sys.executable} "$@" ;;\nesac\n'
    )
    file.chmod(0o755)
    return str(file)


def test_a_section_that_fails_or_hangs_ends_no_other(tmp_path: Path):
    python = stub(
        tmp_path,
        "*gpu.environment*) echo some words; echo the reason; exit 1 ;;\n"
        "*gpu.attention*) echo no GPU; exit 77 ;;\n"
        "*gpu.repeat*) echo begun; sleep 300 ;;",
    )
    out = tmp_path / "out"
    wanted = "environment repeat attention energy"
    done = gpu_sh(out, PYTHON=python, SECTIONS=wanted, BUDGET="12")
    assert done.returncode == 1
    found = outcomes(out)
    assert found["environment"] == ("failed", "the reason")
    assert found["attention"] == ("skipped", "no GPU")
    assert found["repeat"][0] == "cut"
    assert re.match(r"BUDGET reached after its \d+ s; ", found["repeat"][1])
    assert "===== environment\nsome words\nthe reason\n" in (out / "log.txt").read_text()


def test_wheels_are_joined_and_found_beside_other_parts_of_a_package(tmp_path: Path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    name = "ttt_probe-1.0-py3-none-any.whl"
    info = "ttt_probe-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        wheel.writestr("nvidia/ttt_probe.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: ttt-probe\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    whole = (tmp_path / name).read_bytes()
    for number, part in enumerate((whole[:200], whole[200:])):
        (wheels / f"{name}.part-a{'ab'[number]}").write_bytes(part)
    script = (
        f'*gpu.environment*) exec {sys.executable} -c "import nvidia.ttt_probe, nvidia.dali" ;;'
    )
    out = tmp_path / "out"
    python = stub(tmp_path, script)
    done = gpu_sh(out, PYTHON=python, SECTIONS="environment", WHEELS=str(wheels))
    assert outcomes(out)["environment"] == ("ok", ""), done.stderr


def test_a_second_run_does_not_mix_its_figures_with_the_first(tmp_path: Path):
    (tmp_path / "figures.jsonl").write_text("{}\n")
    done = gpu_sh(tmp_path)
    assert done.returncode == 2
    assert "type another folder: bench/gpu.sh OUT" in done.stderr


def test_only_packages_that_may_be_absent_excuse_a_test():
    missing = ModuleNotFoundError("No module named 'hydra'", name="hydra")
    wrapped = RuntimeError("x")
    wrapped.__cause__ = missing
    assert absent.reason(missing) == absent.reason(wrapped) == "needs hydra-core, not installed"
    dali = ModuleNotFoundError("No module named 'nvidia.dali'", name="nvidia.dali")
    assert absent.reason(dali) == "needs nvidia-dali-cuda130, not installed"
    bleu = absent.reason(MissingExtra("sacrebleu", "text", "computing BLEU"))
    assert bleu == f"needs sacrebleu, which is not installed: {install('text')}"
    assert absent.reason(ModuleNotFoundError("No module named 'hydras'", name="hydras")) is None
    assert absent.reason(ModuleNotFoundError("No module named 'ttt.x'", name="ttt.x")) is None
    assert absent.reason(AssertionError()) is None
