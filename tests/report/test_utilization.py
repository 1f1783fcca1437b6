"""Utilization in reports: of run folders, of anybody's logs, and where it cannot be."""

import json
from pathlib import Path

import pytest

import studies
from compliance_logs import record, resnet, write
from report_runs import experiment, run
from run_folders import finished
from ttt.errors import ConfigError
from ttt.flops.published import flop_per_sample
from ttt.report.analyze.caveats import cautions
from ttt.report.analyze.hardware import row
from ttt.report.analyze.peak import with_peaks
from ttt.report.analyze.utilization import Used, used
from ttt.report.read import folders
from ttt.report.read.mllogs import read
from ttt.report.render.export import as_json, write_csv
from ttt.report.render.grids import hardware
from ttt.report.run import Found, Run

# 10,000 samples in 100 s on 8 accelerators: 125 FLOP/s of each with 10 FLOPs a sample.
KNOWN = {"flop_per_sample": 10.0, "peak_flop_per_s": 250.0}


def test_it_is_that_of_the_runs_whose_mean_the_score_is():
    made = experiment([50.0, 100.0, 150.0, 1000.0, None], **KNOWN)
    assert [each.time_to_train_s for each in made.counting] == [100.0, 150.0, 1000.0]
    found = row(made).used
    assert found.flop_per_s == pytest.approx(10 * 30_000 / (8 * 1250))
    assert found.share == pytest.approx(30 / 250)
    assert found.reason is None


def test_nodes_are_counted_where_there_is_no_accelerator():
    on_cpus = used([run(**KNOWN, accelerators=0, nodes=4)])
    assert (on_cpus.flop_per_s, on_cpus.share) == (250.0, 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"flop_per_sample": None},
        {"samples": None},
        {"accelerators": None, "nodes": None},
        {"clock_trusted": False},
        {"samples_certain": False},
    ],
)
def test_what_is_not_certain_gives_nothing(changes: dict):
    assert used([run(**KNOWN), run(**KNOWN | changes)]) == Used()
    assert used([]) == Used()


def test_without_a_peak_there_is_only_a_rate_and_the_reason():
    found = used([run(flop_per_sample=10.0, utilization_reason="no peak")])
    assert found == Used(125.0, None, "no peak")


def test_more_than_the_peak_is_said_and_never_shown_as_a_number(tmp_path: Path):
    wrong = KNOWN | {"peak_flop_per_s": 100.0}
    study = studies.of(
        studies.runs("a", samples=10_000.0, elapsed_s=100.0, accelerators=8, **wrong)
    )
    (of,) = study.experiments
    assert (of.row.used.flop_per_s, of.row.used.share) == (None, None)
    told = [line for line in cautions(study.experiments, "s") if "125% is impossible" in line]
    assert len(told) == 1
    result = as_json(study)["results"][0]
    assert result["utilization_fraction"] is result["model_flop_per_s"] is None
    assert result["utilization_reason"] == told[0]
    assert told[0] in result["warnings"]
    titles = {head.text for head in hardware(study, lambda each: "a").heads}
    assert titles & {"utilization", "model TFLOP/s of each"} == set()


def test_every_form_has_it(tmp_path: Path):
    known = {"flop_per_sample": 1e11, "peak_flop_per_s": 2.5e12}
    study = studies.of(
        studies.runs("a", samples=10_000.0, elapsed_s=100.0, accelerators=8, **known)
    )
    grid = hardware(study, lambda each: "a")
    shown = dict(zip([head.text for head in grid.heads], grid.rows[0], strict=True))
    assert shown["utilization"].text == "50%"
    assert shown["model TFLOP/s of each"].text == "1.25"
    assert as_json(study)["results"][0]["utilization_fraction"] == 0.5
    write_csv(study, tmp_path / "results.csv")
    assert "utilization_fraction" in (tmp_path / "results.csv").read_text().splitlines()[0]


def test_a_folder_is_read_with_its_own(tmp_path: Path):
    folder = finished(tmp_path, 1, utilization_fraction=0.25, utilization_reason=None, **KNOWN)
    found = folders.read(folder)
    assert isinstance(found, Run)
    assert (found.flop_per_sample, found.utilization_fraction) == (10.0, 0.25)
    tokens = "data: {global_batch: 4, sequence_length: 512}\n"
    config = (folder / "config.yaml").read_text().splitlines(keepends=True)
    kept = [line for line in config if not line.startswith("data:")]
    (folder / "config.yaml").write_text("".join([*kept, tokens]))
    found = folders.read(folder)
    assert isinstance(found, Run)
    assert found.sequence_length == 512


def log_of(folder: Path, *, name: str, log: list[dict]) -> Run:
    """A log in a tree, on one node of eight accelerators of this name."""
    results = folder / "results" / "big" / "resnet"
    results.mkdir(parents=True)
    (folder / "systems").mkdir()
    nodes = {"number_of_nodes": 1, "accelerators_per_node": 8, "accelerator_model_name": name}
    (folder / "systems" / "big.json").write_text(json.dumps(nodes))
    found = read(write(results / "result_0.txt", log))
    assert isinstance(found, Run)
    return found


def test_a_reader_may_state_a_peak():
    runs = (run(1, flop_per_sample=10.0, system="a", utilization_reason="none"), run(2, system="b"))
    first, second = with_peaks(Found(runs, ()), {"a": 250e-12}).runs
    assert first.peak_flop_per_s == pytest.approx(250)
    assert first.utilization_fraction == pytest.approx(0.5)
    assert first.utilization_reason is None
    assert second == runs[1]
    over, _ = with_peaks(Found(runs, ()), {"a": 100e-12}).runs
    assert over.utilization_fraction is None
    assert "125% is impossible" in (over.utilization_reason or "")
    with pytest.raises(ConfigError, match=r"--peak c=...: no run was on c; allowed: a, b"):
        with_peaks(Found(runs, ()), {"c": 1.0})


def test_nvidias_published_llama_on_eight_gb200():
    """79.33 min for 11,290 updates of 16 (v5.1): 2.0 PFLOP/s of each, evaluations included."""
    changes = {"samples": 11_290.0 * 16, "elapsed_s": 79.33 * 60, "system": "gb200"}
    made = run(benchmark="llama31_8b", flop_per_sample=flop_per_sample("llama31_8b"), **changes)
    (found,) = with_peaks(Found((made,), ()), {"gb200": 10_000}).runs  # fp4
    assert used([found]).flop_per_s == pytest.approx(2.0e15, rel=0.005)
    assert found.utilization_fraction == pytest.approx(0.2, rel=0.005)


PRECISE = record("lowest_numerical_precision_in_linear", "bfloat16")


def test_a_published_log_has_the_flops_of_its_benchmark(tmp_path: Path):
    found = log_of(tmp_path, name="NVIDIA H100-SXM5-80GB", log=[PRECISE, *resnet()])
    # two epochs in 120 s
    rate = 24.299077632e9 * 2 * 1_281_167 / (8 * 120)
    assert found.utilization_fraction == pytest.approx(rate / 989.4e12)
    assert found.utilization_reason is None
    assert used([found]).flop_per_s == pytest.approx(rate)


@pytest.mark.parametrize(
    ("name", "log", "reason"),
    [
        ("NVIDIA H100-SXM5-80GB", resnet(), "the log does not say in which precision"),
        ("NVIDIA H100", [PRECISE, *resnet()], "no peak of NVIDIA H100 in bfloat16 is known"),
    ],
)
def test_what_a_log_does_not_say_is_not_guessed(tmp_path: Path, name: str, log: list, reason: str):
    found = log_of(tmp_path, name=name, log=log)
    assert found.flop_per_sample == pytest.approx(24.299077632e9)
    assert found.peak_flop_per_s is found.utilization_fraction is None
    assert (found.utilization_reason or "").startswith(reason)


def test_the_open_division_may_train_another_model(tmp_path: Path):
    changed = [
        each | {"value": "open"} if each["key"] == "submission_division" else each
        for each in resnet()
    ]
    found = log_of(tmp_path, name="NVIDIA H100-SXM5-80GB", log=changed)
    assert found.flop_per_sample is found.utilization_reason is None


def test_amds_published_llama_has_its_rate(shared: Path):
    logs = sorted((shared / "mlperf_results/v5.1/AMD").glob("results/*/llama31_8b/result_*.txt"))
    found = [read(log) for log in logs]
    assert len(found) == 10
    # 421.6 TFLOP x 179,373 samples / (8 x 100.0 min), means of the ten
    assert used(found).flop_per_s == pytest.approx(1575e12, rel=0.005)
