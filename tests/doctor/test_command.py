"""`ttt doctor` as it is typed: alone, under torchrun, and where the processes cannot meet."""

import json
import re
import sys
from pathlib import Path

import pytest

from ground import environment
from ttt import config
from ttt.cli import doctor
from ttt.distributed.rank import Placement
from ttt.doctor.findings import unknown
from warm import completed

LEVELS = ("ok", "warning", "failure")


def check(report, ranks, nodes):
    """The shape of the JSON, whatever was found."""
    assert set(report) == {"host", "ranks", "nodes", "ok", "findings"}
    assert (report["ranks"], report["nodes"]) == (ranks, nodes)
    assert report["ok"] == all(one["level"] != "failure" for one in report["findings"])
    for one in report["findings"]:
        assert set(one) == {"level", "name", "text", "advice", "data"}
        assert one["level"] in LEVELS
        assert one["level"] != "warning" or one["advice"]
        nulls = {name for name, value in one["data"].items() if unknown(value)}
        assert nulls == set(one["data"].get("why", ())), one["name"]
    return {one["name"]: one for one in report["findings"]}


def test_alone_it_judges_this_machine(ttt, digits: Path, tmp_path: Path):
    done = ttt("doctor", f"data.root={digits}", "--json", "report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = check(json.loads((tmp_path / "report.json").read_text()), 1, 1)
    names = "versions launch GPUs limits ports run_root clocks collectives".split()
    assert set(names) <= set(found)
    assert found["collectives"]["data"]["sizes"] is None
    assert found["read rate"]["data"]["files_per_s"] > 0
    assert found["matrix product"]["data"]["flop_per_s"]["0"] > 0
    assert found["precision"]["data"]["relative_error"]["fp32"] < 1e-5
    assert set(found["training step"]["data"]["relative_error"]["0"]) >= {"sgd", "lars", "adam"}
    assert found["copy rate"]["data"]["inside_bytes_per_s"]["0"] > 0
    assert found["image decoding"]["data"]["difference"]["0"] <= 1
    assert found["NVML counters"]["data"]["counted_j"] is None
    lines = done.stdout.splitlines()
    assert all(line == line.rstrip() for line in lines)
    # In a pipe a finding is a line, and what to do another; only small tables have more.
    assert all(line.startswith((*LEVELS, "   ")) for line in lines[:-1])
    shown = [each["text"].split("\n")[0] for each in found.values()]
    assert [text for text in shown if text not in done.stdout] == []
    assert lines[-1].endswith("0 failures")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_two_ranks_measure_how_they_talk(digits: Path, tmp_path: Path):
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["-m", "ttt", "doctor", f"data.root={digits}", "--json", "report.json"]
    done = completed(
        [sys.executable, "-m", *torchrun, *words],
        cwd=tmp_path,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    found = check(json.loads((tmp_path / "report.json").read_text()), 2, 1)
    assert found["launch"]["text"] == "torchrun: 2 ranks on 1 node"
    for operation in ("all-reduce", "all-gather", "all-to-all"):
        sizes = found[f"{operation}, gloo"]["data"]["sizes"]
        assert sizes[0]["bytes"] == (4 if operation == "all-reduce" else 8)
        assert all(one["seconds"] > 0 and one["bus_bytes_per_s"] > 0 for one in sizes)
    assert len(found["links, gloo"]["data"]["bytes_per_s"]) == 2
    assert set(found["matrix product"]["data"]["flop_per_s"]) == {"0", "1"}
    assert done.stdout.count("versions ") == 1  # rank 0 alone speaks


def test_a_failure_is_an_exit_code(ttt, tmp_path: Path):
    done = ttt("doctor", "benchmark=cifar10", "data.global_batch=0", "device=cpu")
    assert done.returncode == 5, done.stdout + done.stderr
    refused = "failure configuration    `ttt run` refuses this configuration: "
    assert f"{refused}data.root is not set;" in done.stdout
    assert "made by: ttt data cifar10 --src" in done.stdout
    assert f"{refused}data.global_batch=0" in done.stdout
    assert "-> data.global_batch=" in done.stdout
    assert "2 failures" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("placement", [None, Placement(0, 2, 0, 2, "torchrun")])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["benchmark=cifar10"],
            "data.root is not set; .*; data.root=DIR, made by: ttt data cifar10",
        ),
        (["benchmark=cifar10", "data.root=no"], "data.root=no is not a folder"),
        (["processes=3"], "processes=3 is filled in at launch"),
        (["data.root=no", "data.prepare=nosuch"], "data.prepare=nosuch cannot make it"),
        (["data.root=no", "data.prepare=ttt.clock"], "data.prepare=ttt.clock is not allowed"),
    ],
)
def test_what_ttt_run_refuses_the_doctor_refuses(words, said, placement, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    config.register()
    run = config.resolve(config.compose(words))
    [sentence] = doctor.refusals(run, placement)
    assert re.search(said, sentence)


def test_a_launch_inside_a_launch_is_refused():
    config.register()
    run = config.resolve(config.compose(["launcher=torchrun", "runs=2"]))
    inside, several = doctor.refusals(run, Placement(0, 2, 0, 2, "slurm"))
    assert inside.startswith("launcher=torchrun, and this process is already one of 2")
    assert several.startswith("runs=2 needs a fresh process for each")


def test_help_has_the_exit_codes():
    shown = doctor.parser().format_help()
    for line in (
        "  0  no check failed",
        "  2  wrong use",
        "  5  a check failed",
        "torchrun itself",
    ):
        assert f"\n{line}" in shown


def test_ranks_that_cannot_meet_say_what_they_know(ttt):
    lost = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    first = ttt("doctor", **lost)
    assert first.returncode == 5
    assert "host names" in first.stdout
    assert "failure ranks" in first.stdout
    assert "MASTER_ADDR" in first.stdout
    second = ttt("doctor", **lost | {"RANK": "1", "LOCAL_RANK": "1"})
    assert second.returncode == 5
    assert second.stdout == ""
    assert "ttt: rank 1 on " in second.stderr
    assert "MASTER_ADDR" in second.stderr
    assert "Traceback" not in first.stderr + second.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.rot=1"], "data.root=1"),
        (["benchmark=cifar"], "benchmark=cifar10"),
        (["seed=x"], "seed=x"),
        (["run_root=[redacted]"], "stands where ttt has hidden a secret"),
        (["--json", "no/such/report.json"], "--json no/such/report.json cannot be written"),
    ],
)
def test_mistakes_are_told_in_a_sentence(ttt, words, said):
    done = ttt("doctor", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
