import logging
from datetime import UTC, datetime

import pytest

from compliance_logs import bert, find, ours, record, resnet, write
from ttt.compliance import (
    LABEL,
    check_file,
    newest_ruleset,
    official_ids,
    rulesets,
    write_rules,
)
from ttt.compliance.check import RESUMED
from ttt.errors import ConfigError


@pytest.mark.parametrize(
    ("benchmark", "newest"),
    {
        "resnet": "4.0.0",
        "ssd": "4.1.0",
        "retinanet": "5.1.0",
        "maskrcnn": "3.1.0",
        "minigo": "2.1.0",
        "gnmt": "0.7.0",
        "transformer": "0.7.0",
        "ncf": None,
        "dlrm": "2.1.0",
        "dlrm_dcnv2": "6.0.0",
        "dlrmv4": "6.1.0",
        "bert": "5.0.0",
        "unet3d": "4.0.0",
        "rnnt": "3.1.0",
        "gpt3": "4.1.0",
        "stable_diffusion": "5.0.0",
        "gnn": "4.1.0",
        "rgat": "5.1.0",
        "llama2_70b_lora": "6.1.0",
        "llama31_405b": "6.0.0",
        "llama31_8b": "6.1.0",
        "flux1": "6.1.0",
        "deepcam": "3.0.0",
        "digits": None,
    }.items(),
)
def test_the_newest_ruleset_that_still_has_a_benchmark(benchmark, newest):
    assert newest_ruleset(benchmark) == newest


def test_official_ids_include_the_retired_and_the_other_working_group():
    assert {"resnet", "ncf", "openfold", "dlrmv4"} <= official_ids()
    assert "digits" not in official_ids()
    assert rulesets()[0] == "6.1.0"
    assert "0.6.0" not in rulesets()


def test_an_official_log_meets_its_official_rules(tmp_path):
    verdict = check_file(write(tmp_path / "result_0.txt", resnet()))
    assert verdict.problems == ()
    assert verdict.passed
    assert verdict.official
    assert (verdict.benchmark, verdict.ruleset, verdict.division) == ("resnet", "4.0.0", "closed")
    assert "MLPerf-style" not in verdict.label


def test_a_log_of_our_own_is_labelled(tmp_path):
    verdict = check_file(write(tmp_path / "result_0.txt", ours()))
    assert verdict.problems == ()
    assert verdict.passed
    assert not verdict.official
    assert (verdict.benchmark, verdict.ruleset, verdict.label) == ("digits", "6.1.0", LABEL)


def test_a_resumed_run_is_none_for_the_closed_division(tmp_path):
    closed, open_ = resnet(), ours()
    for log in (closed, open_):
        log.insert(-1, record("resumed", True, minute=2, lost_s=60.0))
    verdict = check_file(write(tmp_path / "closed.txt", closed))
    assert not verdict.passed
    assert verdict.problems == (RESUMED,)
    assert check_file(write(tmp_path / "open.txt", open_)).passed


def test_a_loss_may_be_the_target(tmp_path):
    log = ours()
    find(log, "target_accuracy")["metadata"]["higher_is_better"] = False
    assert not check_file(write(tmp_path / "log", log)).passed
    find(log, "eval_accuracy", 1)["value"] = 0.97
    assert check_file(write(tmp_path / "log", log)).passed


@pytest.mark.parametrize(
    ("broken", "named"),
    {
        "lars_epsilon": "breaks the rule v['value'] == 0.0",
        "opt_name": "there are no rules training_3.1.0/closed_resnet_1.yaml",
        "submission_division": "there are no rules training_4.0.0/1_common.yaml",
        "global_batch_size": "breaks the rule v['value'] > 0",
    }.items(),
)
def test_a_broken_official_rule_is_named_with_its_line(tmp_path, broken, named):
    log = resnet()
    find(log, broken)["value"] = -1 if broken == "global_batch_size" else 1
    verdict = check_file(write(tmp_path / "log", log), ruleset="4.0.0")
    assert not verdict.passed
    assert any(named in problem for problem in verdict.problems)
    assert any(
        f"line {log.index(find(log, broken)) + 1}: {broken} = " in p for p in verdict.problems
    )


def test_rules_file_names_what_it_is(tmp_path):
    write_rules(tmp_path / "rules.yaml", "5.1.0")
    head = (tmp_path / "rules.yaml").read_text()[:500]
    assert LABEL in head
    assert "--ruleset 5.1.0" in head


def test_an_official_status_is_only_warned_about(tmp_path):
    log = resnet()
    find(log, "run_stop")["metadata"]["status"] = "aborted"
    verdict = check_file(write(tmp_path / "log", log))
    assert verdict.passed
    assert "aborted" in verdict.warnings[0]


def test_every_broken_rule_is_told_once(tmp_path):
    log = ours()
    for nth in (0, 1):
        find(log, "eval_accuracy", nth)["metadata"].clear()
        find(log, "eval_accuracy", nth)["value"] = None
    verdict = check_file(write(tmp_path / "log", log))
    told = [problem for problem in verdict.problems if ": eval_accuracy" in problem]
    assert len(told) == 2
    assert all("line 29: " in problem and "(and 1 more)" in problem for problem in told)


def test_a_repeated_record_is_a_warning(tmp_path):
    verdict = check_file(write(tmp_path / "log", [*resnet(), record("seed", 3), record("seed", 3)]))
    assert verdict.passed
    verdict = check_file(write(tmp_path / "log", [*resnet(), record("global_batch_size", 64)]))
    assert verdict.passed
    assert "global_batch_size" in verdict.warnings[0]


def dated(log, year):
    """The log as if it had been written in another year."""
    start = datetime(year, 4, 1, tzinfo=UTC).timestamp() * 1000 - log[0]["time_ms"]
    for each in log:
        each["time_ms"] += round(start)
    return log


def test_a_log_is_of_the_first_round_after_its_date_whose_rules_it_keeps(tmp_path):
    log = dated(resnet(), 2020)
    assert check_file(write(tmp_path / "log", log)).ruleset == "0.7.0"
    find(log, "run_start")["time_ms"] += 365 * 86_400_000
    verdict = check_file(write(tmp_path / "log", log))
    assert (verdict.ruleset, verdict.reason) == ("1.0.0", "by the log's date 2021-04-01")


def test_what_a_log_has_may_say_that_it_is_of_a_later_round(tmp_path):
    log = dated(resnet(), 2021)
    find(log, "submission_division")["value"] = "open"
    for each in log[: log.index(find(log, "init_stop"))]:
        each["time_ms"] -= 100 * 60_000  # initialized for longer than round v1.0 allowed
    verdict = check_file(write(tmp_path / "log", log))
    assert (verdict.ruleset, verdict.passed) == ("2.0.0", True)
    assert verdict.reason == "by the log's date 2021-04-01 and its keys"


def test_another_ruleset_that_is_kept_is_mentioned(tmp_path):
    folder = tmp_path / "v4.0"
    folder.mkdir()
    log = dated(resnet(), 2020)
    log.remove(find(log, "gradient_accumulation_steps"))
    verdict = check_file(write(folder / "log", log))
    assert (verdict.ruleset, verdict.passed) == ("4.0.0", False)
    assert verdict.warnings == ("the log keeps every rule of ruleset 0.7.0",)
    assert check_file(folder / "log", "0.7.0").passed


def test_rules_older_than_the_log_or_of_a_missed_target_are_not_mentioned(tmp_path):
    log = dated(resnet(), 2024)
    log.remove(find(log, "gradient_accumulation_steps"))
    verdict = check_file(write(tmp_path / "log", log))
    assert (verdict.ruleset, verdict.passed, verdict.warnings) == ("4.0.0", False, ())
    folder = tmp_path / "v1.0"
    folder.mkdir()
    log = dated(bert(0.715), 2020)  # enough in 0.7.0, where the target was 0.712
    verdict = check_file(write(folder / "log", log))
    assert (verdict.ruleset, verdict.passed, verdict.converged) == ("1.0.0", False, False)
    assert verdict.warnings == ()


def test_an_official_benchmark_without_rules(tmp_path):
    log = resnet()
    find(log, "submission_benchmark")["value"] = "ncf"
    verdict = check_file(write(tmp_path / "log", log))
    assert verdict.official
    assert verdict.problems == ("no installed ruleset can check ncf",)


def test_a_retired_benchmark_fails_the_ruleset_it_left(tmp_path):
    verdict = check_file(write(tmp_path / "log", resnet()), "4.1.0")
    assert not verdict.passed
    assert any("training_4.1.0/closed_resnet.yaml" in problem for problem in verdict.problems)


def test_an_unknown_ruleset_is_the_users_mistake(tmp_path):
    with pytest.raises(ConfigError, match=r"'7\.1\.0'.*allowed: 6\.1\.0, 6\.0\.0.*--ruleset 6"):
        check_file(write(tmp_path / "log", ours()), "7.1.0")


def test_checking_logs_nothing_and_installs_no_handler(tmp_path, capfd):
    handlers = list(logging.getLogger().handlers)
    check_file(write(tmp_path / "log", ours()[:-1]))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
