import math
import re
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import studies
from ttt.errors import ConfigError, MissingExtra
from ttt.report.analyze.efficiency import Efficiency
from ttt.report.render import drawing
from ttt.report.render.charts import charts, inline_svg, write_figures

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_figures_are_written_as_svg_and_png_the_same_each_time(tmp_path):
    names = ["time-to-train-resnet", "efficiency-resnet", "quality-resnet"]
    written = write_figures(studies.sweep(), tmp_path / "one")
    assert [path.name for path in written] == [
        f"{name}.{form}" for name in names for form in ("svg", "png")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written[1::2])
    for path, other in zip(written, write_figures(studies.sweep(), tmp_path / "two"), strict=True):
        assert path.read_bytes() == other.read_bytes()
        assert b"<dc:date>" not in path.read_bytes()


def test_text_stays_text_with_units(tmp_path):
    time, efficiency, quality = (inline_svg(chart) for chart in charts(studies.sweep()))
    assert {"accelerators", "time-to-train in min", "8", "64", "512"} <= set(texts(time))
    assert {"100%", "of the ideal speed-up", "throughput", "statistical"} <= set(texts(efficiency))
    assert {"time in min", "top1", "8 x MI300X", "512 x H100"} <= set(texts(quality))


def test_an_inline_figure_takes_the_colours_of_its_page():
    for chart in charts(studies.sweep()):
        svg = inline_svg(chart)
        assert "currentColor" in svg
        assert "#000000" not in svg
        assert not ElementTree.fromstring(svg).get("width")
        identifiers = re.findall(r'\bid="([^"]*)"', svg)
        assert all(each.startswith(chart.name) for each in identifiers)
        used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)
        assert {one or other for one, other in used} <= set(identifiers)


def test_the_time_axis_is_logarithmic_only_for_sizes_far_apart():
    (task,) = studies.sweep().tasks
    assert drawing.quality(task, "#000").axes[0].get_xscale() == "log"
    (task,) = studies.of(studies.runs("a"), studies.runs("b", 900.0)).tasks
    assert drawing.quality(task, "#000").axes[0].get_xscale() == "linear"


def test_error_bars_are_the_interval_of_confidence():
    (task,) = studies.sweep().tasks
    (axes,) = drawing.time_to_train(task, "#000").axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    ((first, *_),) = [each.get_segments() for each in axes.collections if each.get_segments()]
    assert first[:, 1] == pytest.approx([each / 60 for each in task.experiments[0].interval])
    (told,) = [chart.caption for chart in charts(studies.sweep()) if "Bars" in chart.caption]
    assert told.startswith("Bars are the 95% interval")


def test_an_interval_that_reaches_zero_leaves_the_axis():
    wide = [studies.run("a", seed, seconds) for seed, seconds in enumerate((10, 100, 500))]
    (task,) = studies.of(wide, studies.runs("b", 90.0, accelerators=64)).tasks
    assert task.experiments[0].interval[0] == 0
    (axes,) = drawing.time_to_train(task, "#000").axes
    ((first, *_),) = [each.get_segments() for each in axes.collections if each.get_segments()]
    assert first[0, 1] == 0
    assert 1 < axes.get_ylim()[0] < 90  # and no decade of the axis is for it


def test_runs_too_few_for_an_interval_have_no_bar():
    few = [studies.runs("a", count=2), studies.runs("b", 90.0, count=2, accelerators=64)]
    (task,) = studies.of(*few).tasks
    (axes,) = drawing.time_to_train(task, "#000").axes
    for bars in (each.get_segments() for each in axes.collections):
        assert all(low == high for low, high in (bar[:, 1] for bar in bars))


def test_the_target_is_drawn():
    (task,) = studies.sweep().tasks
    (axes,) = drawing.quality(task, "#000").axes
    assert [0.759, 0.759] in [list(line.get_ydata()) for line in axes.lines]


factor = st.floats(0.01, 1.5)


@given(factor, factor, factor)
def test_losses_add_up_to_what_is_lost(throughput, statistical, overhead):
    whole = throughput * statistical * overhead
    shares = Efficiency(throughput, statistical, overhead, whole).losses
    assert sum(shares.values()) == pytest.approx(max(0.0, 1 - whole))
    assert all(share > 0 for share in shares.values())
    if min(throughput, statistical) > max(0.01, whole) and max(throughput, statistical) < 1:
        ratio = shares["throughput"] / shares["statistical"]
        assert ratio == pytest.approx(math.log(throughput) / math.log(statistical))


def test_losses_of_an_unknown_cause_are_unknown():
    assert Efficiency(0.5, None, None, 0.4).losses == {"unknown": pytest.approx(0.6)}
    assert Efficiency().losses == {}


def test_many_experiments_and_odd_values_can_be_drawn():
    groups = [studies.runs(f"s{size}", 9000 / size, accelerators=size) for size in range(8, 28)]
    zero = studies.runs("z", 1e-3, accelerators=4096, eval_interval_s=1.0, evaluations=())
    for chart in charts(studies.of(*groups, zero)):
        assert inline_svg(chart)


def test_any_text_can_be_drawn():
    for chart in charts(studies.hostile()):
        svg = inline_svg(chart)
        ElementTree.fromstring(svg)
        assert "<script" not in svg


def test_the_same_benchmark_with_two_targets_has_two_files(tmp_path):
    study = studies.of(studies.runs("a"), studies.runs("b", target=0.5))
    names = [path.name for path in write_figures(study, tmp_path)]
    assert names[::2] == ["quality-resnet.svg", "quality-resnet-2.svg"]


def test_matplotlib_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "ttt.report.render.drawing", None)
    monkeypatch.delattr("ttt.report.render.drawing")
    with pytest.raises(MissingExtra, match=r"matplotlib.*time-to-train\[report\]"):
        charts(studies.sweep())


def test_a_folder_that_cannot_be_written_is_wrong_use(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--figures"):
        write_figures(studies.sweep(), tmp_path / "file")
