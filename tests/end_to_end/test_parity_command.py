"""A user's own model is compared on four processes with one."""

import subprocess
import sys
from pathlib import Path

import pytest

from ground import PROJECT, environment
from pages import write_out

OWN = """

from ttt.protocols import Plan


class Planned(Network):
    def plan(self):
        return Plan(units=["0"], tensor={"0": "column", "2": "row"})


class Mistaken(Planned):
    "Each process takes the softmax of its share of the neurons."

    def __init__(self, *, width):
        super().__init__(width=width)
        self[1] = nn.Softmax(dim=-1)


class Breaks(Planned):
    def forward(self, points):
        return super().forward(points) + self[2].weight.sum(0)[: 2]


class Drops(Network):
    def forward(self, points):
        return F.dropout(super().forward(points), 0.5)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    write_out(tmp_path)
    with (tmp_path / "rings.py").open("a") as module:
        module.write(OWN)
    return tmp_path


def compare(own: Path, *words: str) -> subprocess.CompletedProcess[str]:
    folder = ("--config-dir", "mybench", "benchmark=rings")
    return subprocess.run(
        [sys.executable, "-m", "ttt.parity", *folder, *words],
        cwd=own,
        env=environment(PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=False,
    )


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What is said of each mode."""
    lines = done.stdout.splitlines()[3:]
    return {line[:26].strip(): " ".join(line[26:].split()) for line in lines}


def test_a_model_of_ones_own_is_the_same_in_every_mode(own: Path):
    modes = ("ddp", "fsdp", "hsdp", "tp", "tp_fsdp", "tp with copies")
    for model, possible in (("Planned", modes), ("Network", modes[:3])):  # which has no plan
        done = compare(own, f"model._target_=rings.{model}")
        assert done.returncode == 0, done.stdout + done.stderr
        found = rows(done)
        assert list(found) == ["one process, other order", "allowed", *modes]
        same = [mode for mode in modes if found[mode].endswith("as one process")]
        assert same == list(possible), found
        assert all("not possible: parallel.tensor=" in found[m] for m in modes[len(possible) :])
    assert not (own / "data").exists()  # nothing of the set was touched


def test_a_plan_that_forgets_an_exchange_is_named(own: Path):
    done = compare(own, "model._target_=rings.Mistaken", "parallel=tp")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DIFFERS first in " in rows(done)["as typed"]


def test_a_model_that_fails_in_parts_is_shown_with_its_error(own: Path):
    """It adds a weight, which is in parts, to what is not."""
    done = compare(own, "model._target_=rings.Breaks", "parallel=tp")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mixed torch.Tensor and DTensor" in rows(done)["as typed"]


def test_a_model_that_draws_numbers_is_told_apart_from_one_that_is_wrong(own: Path):
    done = compare(own, "model._target_=rings.Drops", "parallel=fsdp")
    assert done.returncode == 2
    assert "draws random numbers" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["parallel=tp"], "Network has none (`plan()`); parallel.tensor=1"),
        (["parallel.shard=3"], "parallel.shard=3 parallel.tensor=1 does not divide them"),
        (["modl.width=3"], "modl"),
    ],
)
def test_what_cannot_be_is_a_sentence(own: Path, words: list[str], sentence: str):
    done = compare(own, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
