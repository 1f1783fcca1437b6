import csv
import dataclasses
import json
import math

import pytest

import studies
from ttt.errors import ConfigError, one_line
from ttt.report.render.export import as_json, write_csv


def strict(study):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(json.dumps(as_json(study), allow_nan=False), parse_constant=refuse)


def test_results_have_what_is_known_and_null_for_the_rest():
    content = strict(studies.sweep())
    first = content["results"][0]
    assert (first["submitter"], first["system"], first["benchmark"]) == ("Acme", "acme_8", "resnet")
    assert (first["ruleset"], first["division"], first["official"]) == ("4.0.0", "closed", False)
    assert (first["accelerators"], first["nodes"], first["runs"], first["converged"]) == (
        8,
        1,
        3,
        3,
    )
    assert first["score_minutes"] == pytest.approx(10.2)
    assert first["scaled_score_minutes"] is None
    assert first["cost"] is first["samples_per_j"] is None
    assert first["energy_j"] == first["peak_memory_reserved_bytes"] == [None] * 3
    assert first["interval_s"][0] < 612 < first["interval_s"][1]
    assert first["evaluation_interval_s"] == first["resolution_s"] == pytest.approx(122.4)
    assert [line for line in first["warnings"] if line.startswith("evaluations are 2.04 min apart")]
    assert "profiles" not in content
    assert content["rejected"] == [{"path": "results/broken", "reason": "is no MLPerf log"}]


def test_an_efficiency_is_that_of_the_sweep_it_is_in():
    content = strict(studies.sweep())
    (sweep,) = content["sweeps"]
    assert [point["workers"] for point in sweep["points"]] == [8, 64, 512]
    for point in sweep["points"]:
        result = content["results"][point["result"]]
        assert result["accelerators"] == point["workers"]
        assert result["efficiency"] == point["efficiency"]
    last = content["results"][2]["efficiency"]
    assert last["time_to_train"] == pytest.approx(15 / 64)
    assert last["statistical"] == pytest.approx(0.7)
    factors = last["throughput"] * last["statistical"] * last["overhead"]
    assert factors == pytest.approx(last["time_to_train"])
    alone = content["results"][3]["efficiency"]
    assert alone == dict.fromkeys(("throughput", "statistical", "overhead", "time_to_train"))


def test_comparisons_name_results_by_their_place():
    content = strict(studies.sweep())
    assert content["comparisons"]
    for each in content["comparisons"]:
        first, second = (content["results"][each[name]] for name in ("first", "second"))
        assert second["score_minutes"] / first["score_minutes"] == pytest.approx(each["ratio"])


def test_what_is_no_number_is_null():
    study = studies.of(studies.runs("a", samples_per_s=math.inf))
    (only,) = study.experiments
    only.row = dataclasses.replace(only.row, samples_per_s=math.inf, cost=math.nan)
    (result,) = strict(study)["results"]
    assert result["samples_per_s"] is result["cost"] is None


def test_csv_has_a_flat_row_for_each_result(tmp_path):
    write_csv(studies.sweep(), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == ["acme_8", "acme_64", "acme_512", "other_8"]
    assert float(rows[2]["efficiency_statistical"]) == pytest.approx(0.7)
    assert rows[3]["efficiency_statistical"] == rows[0]["cost"] == ""
    assert rows[0]["seeds"] == "1; 2; 3"
    assert float(rows[0]["time_s_mean"]) == pytest.approx(612)
    assert not any("[" in value or "{" in value for row in rows for value in row.values())


def test_csv_survives_any_text(tmp_path):
    write_csv(studies.hostile(), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert {row["submitter"] for row in csv.DictReader(file)} == {one_line(studies.HOSTILE)}


def test_nothing_is_a_head_and_no_row(tmp_path):
    write_csv(studies.of(), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("submitter,system,benchmark")
    assert as_json(studies.of())["results"] == []


def test_a_csv_that_cannot_be_written_is_wrong_use(tmp_path):
    with pytest.raises(ConfigError, match="--csv"):
        write_csv(studies.of(), tmp_path / "no" / "out.csv")


def test_why_runs_failed_is_in_every_form(tmp_path):
    failed = studies.run("a", 9, status="aborted", time_to_train_s=None, reason="out of time")
    what = studies.of([*studies.runs("a"), failed])
    (result,) = as_json(what)["results"]
    assert result["reasons"] == [{"seed": 9, "status": "aborted", "reason": "out of time"}]
    assert result["accelerator_hours"] == pytest.approx(8 * result["score_minutes"] / 60)
    write_csv(what, tmp_path / "out.csv")
    assert "seed 9: out of time" in (tmp_path / "out.csv").read_text()
