import pytest

import studies
from ttt.report.analysis.score import group
from ttt.report.analysis.words import duration, names, percent, printable, unit_for


def named(*runs):
    return names(group([run for each in runs for run in each]))


def test_a_name_says_only_what_differs():
    assert named(studies.runs("a"), studies.runs("b", accelerators=64)) == [
        "8 accelerators",
        "64 accelerators",
    ]
    mixed = named(studies.runs("a"), studies.runs("b", accelerator_name="MI300X"))
    assert mixed == ["8 x H100", "8 x MI300X"]
    batches = named(studies.runs("a"), studies.runs("b", global_batch=8192))
    assert batches == ["8 accelerators, batch 4,096", "8 accelerators, batch 8,192"]


def test_names_differ_whatever_the_runs_are():
    unknown = {"accelerators": None, "system": None, "submitter": None, "path": studies.NOWHERE}
    alike = named(studies.runs("a", **unknown), studies.runs("b", **unknown))
    assert alike == ["this experiment (1)", "this experiment (2)"]
    assert named(studies.runs("a", **unknown)) == ["this experiment"]


def test_processes_stand_in_for_accelerators():
    cpu = {"accelerators": 0, "accelerator_name": None}
    assert named(
        studies.runs("a", world_size=1, **cpu), studies.runs("b", world_size=2, **cpu)
    ) == ["1 process", "2 processes"]


@pytest.mark.parametrize(
    ("share", "said"), [(0.163, "16%"), (1.0, "100%"), (0.0123, "1.2%"), (None, "-")]
)
def test_shares_are_told_in_percent(share, said):
    assert percent(share) == said


def test_a_table_of_long_times_is_in_minutes():
    assert unit_for([None, 10.0]) == unit_for([]) == "s"
    assert unit_for([10.0, 300.0]) == "min"
    assert duration(10.98, 0.55, "min") == "0.183 ± 0.009 min"
    assert duration(None, 0.55, "min") == "-"


def test_what_steers_a_terminal_is_not_printable():
    assert printable("a\x1b[2J\n\u202eb\udcff µ") == "a\ufffd[2J\ufffd\ufffdb\ufffd µ"
