"""`ttt plan`, as it is typed."""

import json
from pathlib import Path

import pytest

from ttt import __main__ as ttt_main

TOPICS = ["plan", "benchmark=topics", "launcher.nodes=2", "launcher.procs=2"]


def planned(*words: str) -> int:
    return ttt_main.main([*TOPICS, *words])


def test_a_plan_says_what_a_process_holds_and_sends(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    written = tmp_path / "plan.json"
    code = planned("parallel=tp_fsdp", "system=dgx_h100", "--json", str(written))
    shown = capsys.readouterr().out
    assert code == 0
    assert "topics on 4 processes of 2 nodes: replicate 1 x shard 2 x tensor 2" in shown
    assert "fits: yes, NVIDIA H100-SXM5-80GB: 80 GB" in shown
    answer = json.loads(written.read_text())
    assert answer["fits"] is True
    weights = 4 * 119_104  # bytes; a quarter of all, but that norms are in all tensor ranks
    assert weights / 4 < answer["parameters"] < weights / 3
    assert answer["gradients"] == answer["parameters"]
    places = {(one["axis"], one["leaves_node"]) for one in answer["traffic"]}
    assert places >= {("tensor", False), ("shard", True)}
    assert answer["flop_per_step_and_process"] == pytest.approx(
        answer["flop_per_sample"] * answer["global_batch"] / 4
    )


def test_what_does_not_fit_ends_with_a_change_that_does(capsys: pytest.CaptureFixture[str]):
    code = planned("system.memory_gb=0.008")
    captured = capsys.readouterr()
    assert code == 5
    assert "fits: no, the accelerator: 8 MB" in captured.out
    [typed] = [line for line in captured.out.splitlines() if line.startswith("  fits with ")]
    assert (
        planned(
            "system.memory_gb=0.008", *typed.removeprefix("  fits with ").partition(":")[0].split()
        )
        == 0
    )


def test_without_a_memory_nothing_is_judged(capsys: pytest.CaptureFixture[str]):
    assert planned() == 0
    assert "fits: unknown; no memory of an accelerator is known" in capsys.readouterr().out


def test_what_does_not_divide_is_said_before_anything_is_counted(
    capsys: pytest.CaptureFixture[str],
):
    assert planned("data.global_batch=3", "parallel.tensor=4", "launcher.nodes=1.5") == 2
    assert "launcher.nodes" in capsys.readouterr().err
    assert planned("--json", "/nowhere/plan.json") == 2
    assert "--json /nowhere/plan.json cannot be written" in capsys.readouterr().err
    assert planned("data.global_batch=3") == 2
    assert "data.global_batch=3 does not divide among 4 processes" in capsys.readouterr().err


def test_how_long_sentences_are_is_not_guessed(capsys: pytest.CaptureFixture[str]):
    code = ttt_main.main(
        ["plan", "benchmark=dates", "launcher.procs=2", "model.width=16", "model.feedforward=16"]
    )
    assert code == 0
    assert "FLOPs unknown: how long the samples are" in capsys.readouterr().out


def test_tables_are_planned_but_for_rows_of_a_batch(capsys: pytest.CaptureFixture[str]):
    words = ["plan", "benchmark=clicks", "launcher.procs=2", "model.sharding=row"]
    code = ttt_main.main(words)
    assert code == 0
    shown = capsys.readouterr().out
    assert "all-to-all" in shown
    assert "rows of tables that a batch looks up are not counted" in shown
