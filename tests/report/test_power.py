import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlperf_logging.compliance_checker.mlp_parser import parse_file
from mlperf_logging.result_summarizer import result_summarizer

from compliance_logs import record, resnet, text, write
from run_folders import finished
from ttt.report.read.find import find
from ttt.report.read.mllogs import read

START, STOP, READING = "power_measurement_start", "power_measurement_stop", "power_reading"


def node(watts=(1000.0, 3000.0), efficiency=0.9, begin=1.0, minutes=2.0):
    """Readings in equal steps, by default from run_start to run_stop."""
    step = minutes / len(watts)
    log = [record(START, minute=begin), record("conversion_eff", efficiency)]
    log += [record(READING, each, begin + step * n) for n, each in enumerate(watts, 1)]
    return [*log, record(STOP, minute=begin + minutes)]


def switch(watts=100.0):
    return [record("conversion_eff", 0.5), record("interconnect_power_est", watts)]


def result(folder, files):
    """A log of 120 s with these power files."""
    power = folder / "power" / "result_0"
    power.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, bytes):
            (power / name).write_bytes(content)
        else:
            write(power / name, content)
    return write(folder / "result_0.txt", resnet())


def test_the_mean_power_of_all_nodes_for_the_time_of_the_run(tmp_path):
    log = result(tmp_path, {"node_0.txt": node(), "node_1.txt": node(), "sw_0.txt": switch()})
    run = read(log)
    assert run.energy_j == pytest.approx(2 * 0.9 * 2000 * 120 + 0.5 * 100 * 120)
    assert (run.energy_source, run.energy_reason) == ("power logs of the submission", None)
    assert run.samples_per_j == run.samples / run.energy_j
    assert run.problems == ()


def test_nobody_measured(tmp_path):
    run = read(write(tmp_path / "result_0.txt", resnet()))
    assert run.energy_j is run.energy_reason is run.energy_source is run.samples_per_j is None


@given(
    st.lists(st.floats(200, 2e5), min_size=1, max_size=20),
    st.floats(0.1, 1),
    st.floats(1.85, 2.2),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_it_is_the_summarizers_energy(tmp_path_factory, watts, efficiency, minutes):
    folder = tmp_path_factory.mktemp("power")
    log = result(folder, {"node_0.txt": node(watts, efficiency, 1, minutes), "sw_0.txt": switch()})
    lines, _ = parse_file(str(folder / "power/result_0/node_0.txt"), "4.0.0")
    of_switch, _ = parse_file(str(folder / "power/result_0/sw_0.txt"), "4.0.0")
    official = result_summarizer._compute_power_node(lines, 120_000)
    official += result_summarizer._compute_power_sw(of_switch, 120_000)
    assert read(log).energy_j == official


def _without(key):
    return [each for each in node() if each["key"] != key]


def _with(key, value):
    return [each | {"value": value} if each["key"] == key else each for each in node()]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "there is no node_0.txt"),
        ({"node_1.txt": node()}, "there is no node_0.txt, but later ones"),
        ({"node_0.txt": node(), "sw_1.txt": switch()}, "there is no sw_0.txt, but later ones"),
        ({"node_0.txt": b""}, "node_0.txt has no :::MLLOG record"),
        ({"node_0.txt": b"\x7fELF\0\xff" * 99}, "node_0.txt has no :::MLLOG record"),
        ({"node_0.txt": text(node()).encode()[:-40]}, "cut off"),
        ({"node_0.txt": _without(STOP)}, f"there is no {STOP}"),
        ({"node_0.txt": _without(START)}, f"there is no {START}"),
        ({"node_0.txt": _without(READING)}, f"there is no {READING}"),
        ({"node_0.txt": _with(READING, 1e300)}, "power_reading is 1e+300, no power"),
        ({"node_0.txt": _with(READING, math.nan)}, "power_reading is nan, no power"),
        ({"node_0.txt": _with(READING, -5)}, "power_reading is -5, no power"),
        ({"node_0.txt": _with(READING, "3 kW")}, "power_reading is '3 kW', no power"),
        ({"node_0.txt": _with("conversion_eff", 94)}, "conversion_eff is 94; allowed: more than"),
        ({"node_0.txt": node(minutes=0)}, "between start and stop"),
        (
            {"node_0.txt": node(minutes=1)},
            "took 60.0 s and the run 120.0 s, of which",
        ),
        ({"node_0.txt": node(minutes=9)}, "took 540.0 s and the run 120.0 s, of which they share"),
        ({"node_0.txt": node(begin=60)}, "of which they share 0%"),
        (
            {"node_0.txt": [*node()[:3], node()[-1]]},
            "the readings end after 50% of the meas",
        ),
        ({"node_0.txt": node([9.6])}, "a mean of 8.64 W is no power of a node in watts"),
        ({"node_0.txt": node([9.6e6])}, "a mean of 8.64e+06 W is no power of a node in watts"),
        ({"node_0.txt": [record(START) | {"time_ms": 1e300}, *node()]}, "time_ms is 1e+300"),
        ({"node_0.txt": node(), "sw_0.txt": node()}, "there is no interconnect_power_est"),
        ({"node_0.txt": node(), "sw_0.txt": switch(None)}, "is None, no power in watts"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_damaged_power_log_leaves_no_energy_but_a_reason(tmp_path, files, why):
    run = read(result(tmp_path, files))
    assert run.energy_j is run.energy_source is run.samples_per_j is None
    assert run.energy_reason.startswith("power/result_0: ")
    assert why in run.energy_reason
    assert (run.time_to_train_s, run.passed, run.problems) == (120.0, True, ())


def test_all_nodes_are_to_be_measured(tmp_path):
    folder = tmp_path / "results" / "big" / "resnet"
    log = result(folder, {"node_0.txt": node()})
    (tmp_path / "systems").mkdir()
    system = tmp_path / "systems" / "big.json"
    system.write_text(json.dumps({"number_of_nodes": 2}))
    run = read(log)
    assert run.energy_j is None
    assert "1 of 2 nodes have a log; all are to be measured" in run.energy_reason


def test_a_run_that_never_ended_has_no_energy(tmp_path):
    log = result(tmp_path, {"node_0.txt": node()})
    log.write_text(text(resnet()[:-1]))
    assert "how long the run took is unknown" in read(log).energy_reason


@given(st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
def test_any_damage_is_survived(tmp_path_factory, data):
    content = bytearray(text(node([1.0, 2.0, 3.0])).encode())
    for _ in range(data.draw(st.integers(0, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "digit"])):
            case "flip":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 200))]
                content = content or bytearray(b"\n")
            case "digit":
                content[place:place] = b"9" * data.draw(st.integers(1, 400))
    run = read(result(tmp_path_factory.mktemp("power"), {"node_0.txt": bytes(content)}))
    assert (run.energy_j is None) == (run.energy_reason is not None)
    assert run.energy_j is None or 0 <= run.energy_j < math.inf


def test_counters_of_ttt_are_no_power_logs(tmp_path):
    finished(tmp_path, 1, energy_j=5.0)
    finished(tmp_path, 2, energy_reason="no counters")
    measured, unknown = find([tmp_path]).runs
    assert (measured.energy_j, measured.energy_source) == (5.0, "counters, by ttt")
    assert (unknown.energy_source, unknown.energy_reason) == (None, "no counters")
