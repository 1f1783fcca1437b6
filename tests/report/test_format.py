import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import studies
from ttt.errors import one_line
from ttt.report.analyze.format import (
    between,
    duration,
    energy,
    in_unit,
    measured,
    percent,
    samples,
    significant,
    unit_for,
)
from ttt.report.analyze.grouping import group
from ttt.report.analyze.progress import unit_of


@pytest.mark.parametrize(
    ("share", "said"), [(0.163, "16%"), (1.0, "100%"), (0.0123, "1.2%"), (None, "-")]
)
def test_shares_are_told_in_percent(share, said):
    assert percent(share) == said


def test_a_table_of_long_times_is_in_minutes():
    assert unit_for([None, 10.0]) == unit_for([]) == "s"
    assert unit_for([10.0, 300.0]) == "min"
    assert duration(None, "min") == "-"


def test_official_results_are_in_minutes_and_ours_in_what_is_best_read():
    ours, official = group(studies.runs("a", 10.0)), group(studies.runs("b", 10.0, official=True))
    assert unit_of(ours) == "s"
    assert unit_of([*ours, *official]) == "min"


@pytest.mark.parametrize(
    ("seconds", "interval", "unit", "told", "between_these"),
    [
        (796.2, (790.8, 800.4), "min", "13.27", "13.18 to 13.34"),
        (10.982, (10.957, 11.002), "min", "0.1830", "0.1826 to 0.1834"),
        (5959.0, (5795.0, 6201.0), "s", "5,960", "5,800 to 6,200"),
        (0.5478, (0.50, 0.60), "s", "0.548", "0.500 to 0.600"),
        (11.0, (3.7, 25.1), "s", "11.0", "3.7 to 25.1"),
        (27.6, (0.0, 41_810.0), "s", "27.6", "0.0 to 41,810.0"),  # three digits at least
        (600.0, (600.0, 600.0), "s", "600.000", "600.000 to 600.000"),
    ],
)
def test_a_score_has_as_many_digits_as_its_interval_justifies(
    seconds, interval, unit, told, between_these
):
    assert measured(seconds, unit, interval) == told
    assert between(seconds, unit, interval) == between_these


def test_a_time_without_an_interval():
    assert measured(0.5478, "s") == "0.548"
    assert measured(0.000512, "s") == "0.001"
    assert measured(3579.0, "min", digits=4) == "59.65"
    assert measured(0.55, "min") == "0.00917"
    assert between(1.0, "s", None) == measured(None, "s") == "-"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        *[(5.034, "5.03"), (41_213, "41,200"), (57_284.2, "57,300"), (0.188, "0.188")],
        *[(9.999, "10.0"), (0, "0.00"), (None, "-"), (math.inf, "-"), (94_243_651, "94,200,000")],
    ],
)
def test_three_digits_and_no_powers_of_ten(value, told):
    assert significant(value) == told


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_unknown(value):
    assert measured(value, "min") == duration(value, "s") == samples(value) == "-"
    assert energy(value) == between(1.0, "s", (0.0, value)) == between(value, "s", (0, 1)) == "-"


@given(st.floats(0, 1e15), st.tuples(st.floats(0, 1e15), st.floats(0, 1e15)))
def test_any_time_and_any_interval_can_be_written(value, ends):
    interval = (min(ends), max(ends))
    for unit in ("s", "min"):
        for told in (measured(value, unit), measured(value, unit, interval)):
            assert float(told.replace(",", "")) == pytest.approx(in_unit(value, unit), 0.05, 1e-3)
        low, high = between(value, unit, interval).split(" to ")
        assert float(low.replace(",", "")) <= float(high.replace(",", ""))


@given(st.floats(1e-9, 1e15))
def test_three_digits_are_within_half_of_the_last(value):
    assert float(significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_energy_has_the_unit_it_is_best_read_in():
    assert [energy(each) for each in (0.0, 870.0, 35_210.0, 1.949e6, 2.5e9, None)] == [
        "0.00 J",
        "870 J",
        "35.2 kJ",
        "1.95 MJ",
        "2,500 MJ",
        "-",
    ]


def test_samples_are_counted_until_there_are_millions():
    assert [samples(each) for each in (3072, 999_999, 1.204e6, None)] == [
        "3,072",
        "999,999",
        "1.20 M",
        "-",
    ]


def test_what_steers_a_terminal_is_not_printable():
    assert one_line("a\x1b[2J\n\u202eb\udcff µ") == r"a\x1b[2J\n\u202eb\xff µ"
