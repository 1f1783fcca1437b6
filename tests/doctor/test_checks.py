"""The table of checks, and the order in which the halves of its rows run."""

import json
import subprocess
import sys

import pytest
import torch

from ground import HUNG, environment
from ttt.distributed.world import Solo
from ttt.doctor.checks import WITHOUT_TORCH, with_torch
from ttt.doctor.device import Guard
from ttt.doctor.examination import Check, Context, Failed, Stage, examine, look_locally
from ttt.doctor.findings import Level, ok

CPU = torch.device("cpu")


def test_the_report_has_one_order():
    table = WITHOUT_TORCH + with_torch(Solo(CPU), CPU)
    assert [one.name for one in table] == [
        *("configuration", "versions", "launch", "GPUs", "CPU binding", "limits", "host names"),
        *("rank 0's name", "probe in run_root", "run_root", "data set", "data files", "read rate"),
        *("clocks", "matrix product", "precision", "training step", "copy rate"),
        *("image decoding", "NVML counters", "collectives", "NCCL"),
    ]
    assert {one.after for one in table} <= {None, *(one.name for one in table)}


def row(name, stage=Stage.joined, seen=None, after=None):
    """A check that notes when it looks, and whose finding has what it saw."""

    def look(_):
        seen.append(name)
        return name.upper()

    return Check(
        name, stage, look, lambda found, here: [ok(name, f"{found[0].facts} {len(found)}")], after
    )


def test_looks_run_in_the_order_of_rows_but_for_what_comes_after():
    looked = []
    rows = [
        row("a", seen=looked),
        row("b", seen=looked, after="c"),
        row("c", seen=looked),
        row("d", Stage.local, looked),
    ]
    context = Context(None)
    look_locally(context, rows)
    assert looked == ["d"]
    found = list(examine(context, rows))
    assert looked == ["d", "a", "c", "b"]
    assert [(one.name, one.text) for one in found] == [(x, f"{x.upper()} 1") for x in "abcd"]


def test_ranks_where_a_check_broke_are_named_and_the_others_judged():
    context = Context(None, gather=lambda mine: [mine, ("n2", Failed("OSError: no")), mine])
    broken, fine = examine(context, [row("a", seen=[])])
    assert (broken.level, broken.text) == (
        Level.failure,
        "not examined on rank 1 on n2: OSError: no",
    )
    assert fine.text == "A 2"
    assert [one.rank for one in context.seen["a"]] == [0, 2]


def test_an_error_among_ranks_ends_the_examination():
    def look(_):
        raise RuntimeError("Connection closed by peer")

    with pytest.raises(RuntimeError, match="closed by peer"):
        list(examine(Context(None), [Check("a", Stage.collective, look, lambda seen, _: [])]))


def test_a_guard_watches_checks_of_the_device_alone(monkeypatch):
    watched = []
    guard = Guard(CPU)
    monkeypatch.setattr(guard, "look", lambda name, look: watched.append(name) or look())
    rows = [row("a", seen=[]), row("b", Stage.device, [])]
    assert [one.text for one in examine(Context(None, guard=guard), rows)] == ["A 1", "B 1"]
    assert watched == ["b"]


def test_the_local_stage_loads_no_torch():
    code = (
        "import sys\n"
        "from ttt.doctor import __main__\n"
        "from ttt.doctor.checks import WITHOUT_TORCH\n"
        "from ttt.doctor.examination import Context, look_locally\n"
        "context = Context(None)\n"
        "look_locally(context, WITHOUT_TORCH)\n"
        "import json\n"
        "print(json.dumps([sorted(context.facts), 'torch' in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=True,
    )
    made, torch_loaded = json.loads(done.stdout)
    assert made == sorted(one.name for one in WITHOUT_TORCH if one.stage is Stage.local)
    assert not torch_loaded
