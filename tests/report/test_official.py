"""Every figure of a published result must be the official one, to the last digit."""

from pathlib import Path

import pytest

import summaries
from ttt.report.analyze.grouping import group
from ttt.report.analyze.rcp import judge
from ttt.report.analyze.study import study
from ttt.report.read.find import find
from ttt.report.render.export import as_json

TREES = [
    ("v0.7/Google", "training", "0.7.0"),
    ("v0.7/NVIDIA", "training", "0.7.0"),
    ("v2.1/Intel", "training", "2.1.0"),
    ("hpc_v3.0/NVIDIA", "hpc", "3.0.0"),
    ("v4.0/NVIDIA", "training", "4.0.0"),
    ("v4.0/tinycorp", "training", "4.0.0"),
    ("v5.0/Lenovo", "training", "5.0.0"),
    ("v5.0/NVIDIA", "training", "5.0.0"),
    ("v5.1/AMD", "training", "5.1.0"),
]


@pytest.mark.filterwarnings("default")  # of the official code
@pytest.mark.parametrize(("tree", "usage", "ruleset"), TREES)
def test_a_tree_has_the_figures_of_the_official_summarizer(shared, tmp_path, tree, usage, ruleset):
    copy = summaries.copied(shared / "mlperf_results" / tree, tmp_path)
    if usage == "hpc":  # as published: mlcommons/hpc_results_v3.0 has none of NVIDIA's
        for written_by_a_tool in copy.rglob("scaling.json"):
            written_by_a_tool.unlink()
    groups = group(find([copy]).runs, judge)
    summary = summaries.summarized(copy, usage, ruleset)
    strong = [each for each in groups if each.weak is None]
    scores = {
        summaries.key(each): each.score.minutes if each.scaling is None else each.scaled_minutes
        for each in strong
    }
    assert scores == summary["scores"]
    energies = {summaries.key(each): each.energy_j for each in groups if each.energy_j is not None}
    assert energies == summary["energies"]
    weak = {
        summaries.key(each): (each.weak.converged, each.weak.instance_scale, each.weak.minutes)
        for each in groups
        if each.weak is not None
    }
    assert weak == summary["weak"]
    assert scores or weak


def _published(readme: Path):
    """The lines of its table: round, submitter, system, measure, value."""
    table = readme.read_text("utf-8").partition("# Official figures")[2]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [line for line in cells if line[0] != "round"]


def test_every_official_figure_of_the_cases_is_in_the_report(shared):
    lines = _published(shared / "cases" / "README.md")
    assert len(lines) > 30
    trees = {f"{round_}/{submitter}" for round_, submitter, *_ in lines}
    results = {}
    for tree in trees:
        content = as_json(study(find([shared / "mlperf_results" / tree])))
        for result in content["results"]:
            side = "weak" if result["weak"] else "strong"
            results[tree, result["system"], result["benchmark"], side] = result
    names = {
        "number_of_models": "converged",
        "instance_scale": "instance_scale",
        "time_to_train_all": "minutes",
    }
    for round_, submitter, system, measure, value in lines:
        benchmark, _, part = measure.partition(":")
        side = "weak" if part else "strong"
        result = results[f"{round_}/{submitter}", system, benchmark, side]
        if part:
            figure = result["weak"][names[part]]
        else:
            scaled = result["scaled_score_minutes"]
            figure = result["score_minutes"] if scaled is None else scaled
        assert figure == float(value), (system, measure)


def test_published_results_are_valid_by_the_rules_of_their_round(shared):
    for tree in ("v4.0/NVIDIA", "hpc_v3.0/NVIDIA", "v2.1/Intel", "v5.0/Lenovo"):
        for each in group(find([shared / "mlperf_results" / tree]).runs, judge):
            assert each.problems == (), summaries.key(each)
