"""Which ruleset a log is judged by: one answer, from all that may say so."""

from datetime import date

import pytest

from compliance_logs import resnet, write
from ttt import config
from ttt.compliance.rounds import Choice, choose, day_of, plausible, round_of
from ttt.compliance.rulesets import USAGES, rulesets
from ttt.run_folder import RunFolder
from ttt.statistics import check

LATE, EARLY = date(2026, 11, 26), date(2025, 10, 8)


@pytest.mark.parametrize(
    ("folder", "ruleset"),
    [
        ("v5.1", "5.1.0"),
        ("training_results_v5.1", "5.1.0"),
        ("training_results_v5.1-main", "5.1.0"),
        ("hpc_v3.0", "3.0.0"),
        ("hpc_results_v3.0", "3.0.0"),
        ("MLPerf_v0.7", "0.7.0"),
        ("my_training_v4.0", "4.0.0"),
        ("resnet_v1.5", None),
        ("ngc24.04", None),
        ("v5", None),
        ("v5.1.2", None),
    ],
)
def test_the_names_of_rounds(folder, ruleset):
    assert round_of(folder) == ruleset


@pytest.mark.parametrize(
    ("benchmark", "told", "ruleset", "reason"),
    [
        ("llama31_8b", {"folders": ["AMD", "v5.1"]}, "5.1.0", "by the folder v5.1"),
        ("llama31_8b", {"folders": ["v5.1"], "asked": "6.0.0"}, "6.0.0", "by --ruleset"),
        (
            "llama31_8b",
            {"folders": ["v5.1"], "ran": ("6.0.0", "config.yaml")},
            "6.0.0",
            "by the run's own config.yaml",
        ),
        ("llama31_8b", {"folders": ["v9.9", "v6.0"]}, "6.0.0", "by the folder v6.0"),
        ("llama31_8b", {"ran": ("9.9.0", "x")}, "5.1.0", "by the log's date 2025-10-08"),
        ("cosmoflow", {"folders": ["v5.1", "hpc_v2.0"]}, "2.0.0", "by the folder hpc_v2.0"),
        ("bert", {}, "5.0.0", "the newest that has bert"),  # its last round was over
        ("digits", {"folders": ["v5.1"]}, rulesets()[0], "the newest"),
        ("digits", {"ran": ("5.1.0", "rules.yaml")}, "5.1.0", "by the run's own rules.yaml"),
        ("ncf", {}, None, "no installed ruleset can check ncf"),
    ],
)
def test_the_nearest_to_the_run_decides(benchmark, told, ruleset, reason):
    choice = choose(benchmark, "closed", EARLY, **told)
    assert (choice.ruleset, choice.reason) == (ruleset, reason)


def test_a_log_of_no_round_is_judged_by_the_newest_rules():
    newest = Choice("6.1.0", "the newest that has llama31_8b")
    assert choose("llama31_8b", "closed", LATE) == newest
    assert choose("llama31_8b", "closed", None) == newest
    assert choose(None, None, LATE).ruleset == "6.1.0"


def test_rules_older_than_the_log_are_not_its_own():
    assert plausible("bert", "closed", date(2024, 11, 13)) == ("5.0.0", "4.1.0")
    assert plausible("bert", "closed", date(2024, 11, 14)) == ("5.0.0",)
    assert plausible("bert", "closed", date(2025, 6, 5)) == ()
    assert plausible("llama31_8b", "closed", LATE) == ("6.1.0",)
    assert plausible("llama31_8b", "closed", None) == ()


@pytest.mark.parametrize(
    ("time_ms", "day"),
    [
        (1_759_966_206_549, date(2025, 10, 8)),
        (0, None),
        (None, None),
        (float("nan"), None),
        (1e300, None),
        (-1e18, None),
    ],
)
def test_a_clock_that_cannot_be_has_no_day(time_ms, day):
    assert day_of(time_ms) == day


def test_every_ruleset_that_is_over_has_its_day():
    """A new ruleset without one is taken for that of a round to come: only the newest may be."""
    for usage in USAGES:
        of = "llama31_8b" if usage == "training" else "cosmoflow"
        for ruleset in rulesets(usage)[1:]:
            assert ruleset not in plausible(of, "closed", LATE)


def test_a_run_is_judged_by_what_it_was_configured_for_wherever_it_lies(tmp_path):
    """Without a ruleset in the configuration that is the newest, as when it began."""
    config.register()
    run = config.resolve(config.compose(["benchmark=resnet", "benchmark.ruleset=null"]))
    folder = tmp_path / "training_v3.1" / "seed_1"
    folder.mkdir(parents=True)
    write(RunFolder(folder).result(run.run), resnet())
    assert check(run, folder)["ruleset"] == "4.0.0"
