"""`ttt doctor` as it is typed: alone, under torchrun, and where the processes cannot meet."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HUNG, environment

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
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
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
    done = ttt("doctor", "benchmark=cifar10", f"data.root={tmp_path / 'no'}", "data.global_batch=0")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "failure configuration" in done.stdout
    assert "-> data.global_batch=" in done.stdout
    assert "failure data set" in done.stdout
    assert "2 failures" in done.stdout
    assert "Traceback" not in done.stderr


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
        (["--json", "no/such/report.json"], "--json no/such/report.json cannot be written"),
    ],
)
def test_mistakes_are_told_in_a_sentence(ttt, words, said):
    done = ttt("doctor", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
