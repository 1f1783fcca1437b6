"""What the workers of an experiment are, and how many."""

import json

import pytest

import studies
from ttt.report.analyze.grouping import group
from ttt.report.analyze.names import machine
from ttt.report.analyze.scaling import sweeps
from ttt.report.read.find import find
from ttt.report.read.systems import model


@pytest.mark.parametrize(
    ("changes", "of", "count"),
    [
        ({}, "accelerator", 8),
        ({"accelerators": 0, "world_size": 2}, "process", 2),
        ({"accelerators": 0, "nodes": 4}, "node", 4),
        ({"accelerators": None, "nodes": 4}, "process", None),  # nobody says there are none
        ({"accelerators": 0, "nodes": None}, "node", None),
    ],
)
def test_nodes_are_the_workers_of_a_machine_without_accelerators(changes, of, count):
    (made,) = group(studies.runs("a", **changes))
    assert (made.unit, made.workers) == (of, count)


@pytest.mark.parametrize("said", ["N/A", "n/a", "-", " none ", "None", "", None, 0])
def test_a_model_that_says_there_is_none_is_none(said):
    assert model(said) is None
    assert model("TPU v3") == "TPU v3"


def test_a_machine_of_processors_has_no_accelerator_called_na(tmp_path):
    folder = tmp_path / "results" / "box" / "dlrm"
    folder.mkdir(parents=True)
    (folder / "result_0.txt").write_text(
        ':::MLLOG {"namespace": "", "time_ms": 1, "event_type": "POINT_IN_TIME", "key":'
        ' "submission_benchmark", "value": "dlrm", "metadata": {"file": "x", "lineno": 1}}\n'
    )
    (tmp_path / "systems").mkdir()
    description = {
        "number_of_nodes": "4",
        "accelerators_per_node": "0",
        "accelerator_model_name": "N/A",
        "host_processors_per_node": "2",
        "host_processor_model_name": "Xeon",
    }
    (tmp_path / "systems" / "box.json").write_text(json.dumps(description))
    (made,) = group(find([tmp_path]).runs)
    assert made.runs[0].accelerator_name is None
    assert machine(made) == "4 nodes, 2 x Xeon each"


def test_intels_nodes_are_a_sweep(shared):
    groups = group(find([shared / "mlperf_results" / "v2.1" / "Intel"]).runs)
    (sweep,) = sweeps(groups)
    assert sweep.unit == "node"
    assert [point.workers for point in sweep.points] == [1, 2, 4]
    assert sweep.accelerator == "Intel(R) Xeon(R) code named Sapphire Rapids"
