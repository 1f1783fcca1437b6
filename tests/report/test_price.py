import pytest

from report_runs import run
from ttt.errors import ConfigError
from ttt.report.analyze.price import priced
from ttt.report.run import Found


def test_a_run_costs_its_nodes_for_the_time_on_the_clock():
    runs = (
        run(1, system="a", nodes=2, elapsed_s=1800.0),
        run(2, system="b", nodes=2, cost=3.0, price_per_hour=1.0),
        run(3, system="a", nodes=None, cost=3.0),
        run(4, system="a", nodes=1, elapsed_s=None, cost=3.0),
        run(5, system="a", nodes=1, lost_s=9.0, cost=3.0),
    )
    found = priced(Found(runs, ()), {"a": 98.0})
    assert [each.cost for each in found.runs] == [98.0, 3.0, None, None, None]
    assert [each.price_per_hour for each in found.runs] == [98.0, 1.0, 98.0, 98.0, 98.0]


def test_a_price_of_something_nobody_ran_on():
    with pytest.raises(ConfigError, match=r"--price c=...: no run was on c; allowed: a, b"):
        priced(Found((run(system="a"), run(system="b"), run(system=None)), ()), {"c": 1.0})
    with pytest.raises(ConfigError, match="no run says what it was on"):
        priced(Found((run(system=None),), ()), {"c": 1.0})
