"""A number of a run is declared once: those that measure, write, read and show it agree."""

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch

from fakes import FakeData, FakeLearner, FakeTask, FakeTime, Recorder
from run_folders import finished
from ttt import utilization
from ttt.clock import Clock
from ttt.distributed.world import Solo
from ttt.events import EventLog
from ttt.loop import Parts, run
from ttt.measurements import NAMES, SHOWN, Measurements, Rank, Source, taken_from
from ttt.protocols import Breakdown
from ttt.report.read import folders
from ttt.report.run import Run
from ttt.schema.run import RunConfig
from ttt.sinks.console import result_rows
from ttt.sinks.summary import Summary
from ttt.statistics import spent, statistics
from ttt.supervise.heartbeat import Heartbeat
from ttt.telemetry.power import PowerMeter
from ttt.telemetry.timing import Meter
from ttt.watcher import Target


class Learner(FakeLearner):
    def breakdown(self) -> Breakdown:
        return Breakdown(6.0, 2.0, 1.0)


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What STATISTICS carries at the end of a run."""
    time, device = FakeTime(), torch.device("cpu")
    made = Parts(
        task=FakeTask([0.8]),
        learner=Learner(time),
        data=FakeData(time),
        target=Target("top1", 0.75, True, 100, 100, 5, None),
        world=Solo(device),
        clock=Clock(time),
        log=EventLog(time, [Recorder()]),
        meter=Meter(device),
        heartbeat=Heartbeat(),
        seed=1,
        check_every=2,
        preemption_requested=lambda: False,
    )
    run(made)
    counted = PowerMeter("there are no counters", time)
    own = utilization.measured(RunConfig(), made, 2.0)
    return statistics(made) | own | spent(made, counted, tmp_path_factory.mktemp("run"))


def test_what_is_declared_is_measured(event: dict):
    declared = taken_from(Source.STATISTICS)
    assert set(declared) - set(event) == set()
    rest = {"epoch", "samples", "skipped", "blocks", "utilization_reason"}
    assert set(event) - set(declared) == rest
    assert [list(rank) for rank in event["ranks"]] == [[each.name for each in fields(Rank)]]


def test_a_summary_has_what_is_declared_in_its_order():
    summary = Summary().result()
    assert list(summary) == [*NAMES, "compliance"]
    assert {name for name in NAMES if summary[name] is not None} <= {
        *("resumed", "lost_s", "checkpoints", "checkpoint_s")
    }


def test_the_order_is_that_of_summaries_since_the_first():
    assert NAMES[:12] == (
        *("benchmark", "seed", "run", "status", "reason", "metric", "quality", "target"),
        *("higher_is_better", "time_to_train_s", "elapsed_s", "train_s"),
    )
    assert NAMES[-9:] == (
        *("checkpoints", "checkpoint_s", "checkpoint_bytes", "resumed", "lost_s", "moved"),
        *("data", "ranks", "kept"),
    )


def test_what_is_declared_is_read_back(tmp_path: Path):
    values = {float: 0.5, int: 3, str: "word", bool: False}
    kinds = {name: get_args(hint)[0] for name, hint in get_type_hints(Measurements).items()}
    summary = {name: values.get(kinds[name], {"a": 1}) for name in NAMES if name != "ranks"}
    folder = finished(tmp_path, **summary | {"ranks": [asdict(Rank(0, "a", 0.5))]})
    read = folders.read(folder)
    assert isinstance(read, Run)
    assert {name: getattr(read, name) for name in summary} == summary
    assert read.ranks == (Rank(0, "a", 0.5),)
    damaged = json.loads((folder / "summary.json").read_text())
    damaged |= {"data": [], "energy": "much", "kept": 3, "step_ms_p50": -1, "recompiles": None}
    (folder / "summary.json").write_text(json.dumps(damaged))
    read = folders.read(folder)
    assert isinstance(read, Run)
    assert (read.data, read.energy, read.kept, read.step_ms_p50, read.recompiles) == (None,) * 5


def test_what_says_how_it_is_shown_is_shown():
    rows = dict(result_rows(Summary().result() | {"target": 1.0} | dict.fromkeys(SHOWN, 0.5)))
    assert {shown.row for shown in SHOWN.values()} <= rows.keys()
    assert rows["step time"] == "0.5 ms median, 0.5 ms p99"
    assert rows["waiting for data"] == "50.0 % of training"


def test_a_number_that_is_no_count_says_its_unit():
    ends = re.compile(r"_(s|j|fraction|per_j|per_s|per_sample|per_hour|ms_p\d\d|ms)$")
    counts = {"quality", "target", "epochs", "samples", "cost"}
    hints = {name: kind for of in (Measurements, Rank) for name, kind in get_type_hints(of).items()}
    named = {name for name, kind in hints.items() if kind == (float | None)}
    assert {name for name in named - counts if not ends.search(name)} == set()
    assert all(each.metadata["about"] for each in fields(Measurements))
