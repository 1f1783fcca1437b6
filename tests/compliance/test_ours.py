import re
import shlex
import subprocess
import sys

import pytest

from compliance_logs import find, official_says, ours, record, write
from ttt.compliance import bare_command, check_file, rulesets, write_rules


def _drop(key):
    return lambda log: log.remove(find(log, key))


def _set(key, value, nth=0):
    return lambda log: find(log, key, nth).update(value=value)


def _metadata(key, nth=0, **metadata):
    return lambda log: find(log, key, nth)["metadata"].update(metadata)


def _forget(key, name, nth=0):
    return lambda log: find(log, key, nth)["metadata"].pop(name)


def _add(*added):
    return lambda log: log.extend(added)


def _move_target_behind_eval(log):
    target = find(log, "target_accuracy")
    log.remove(target)
    log.insert(-1, target)


def _late_quality(value):
    return record("eval_accuracy", value, epoch_num=3, samples_count=3)


BREAKS = {
    "no target": (_drop("target_accuracy"), "target_accuracy"),
    "target not a number": (_set("target_accuracy", "0.97"), "target_accuracy"),
    "no direction": (_forget("target_accuracy", "higher_is_better"), "higher_is_better"),
    "two directions": (
        lambda log: log.insert(3, record("target_accuracy", 0.97, higher_is_better=False)),
        "s.get('target_accuracy') is None",
    ),
    "target after the fact": (_move_target_behind_eval, "s.get('target_accuracy') is not None"),
    "no evaluation": (lambda log: [_drop("eval_accuracy")(log) for _ in range(2)], "eval_accuracy"),
    "no epoch": (_forget("eval_accuracy", "epoch_num"), "'epoch_num' in v['metadata']"),
    "no samples": (_forget("eval_accuracy", "samples_count"), "'samples_count' in v['metadata']"),
    "quality is text": (_set("eval_accuracy", "0.98", nth=1), "type(v['value']) in (int, float)"),
    "quality is infinite": (_set("eval_accuracy", float("inf"), nth=1), "math.isfinite"),
    "target never reached": (_set("eval_accuracy", 0.9699, nth=1), "no eval_accuracy meets"),
    "reached, then lost": (
        lambda log: log.insert(-1, _late_quality(0.5)),
        'line 36: run_stop = null with {"status": "success"} breaks the rule s.get(\'target',
    ),
    "evaluated after the end": (_add(_late_quality(0.99)), "not s['run_stopped']"),
    "aborted": (_metadata("run_stop", status="aborted"), "== 'success'"),
    "no status": (_forget("run_stop", "status"), "'status' in v['metadata']"),
    "no end": (_drop("run_stop"), "'run_stop' but found 0"),
    "no seed": (_drop("seed"), "'seed' but found 0"),
    "seed is no integer": (_set("seed", 3.5), "type(v['value']) is int"),
    "two seeds": (_add(record("seed", 4)), "'seed' but found 2"),
    "no batch size": (_drop("global_batch_size"), "'global_batch_size' but found 0"),
    "batch size 0": (_set("global_batch_size", 0), "global_batch_size = 0"),
    "no benchmark name": (_set("submission_benchmark", " "), "submission_benchmark"),
    "two benchmark names": (_add(record("submission_benchmark", "x")), "submission_benchmark"),
    "an official id in disguise": (_set("submission_benchmark", "ResNet "), "not in ['bert'"),
    "division unknown": (_set("submission_division", "ajar"), "in ['closed', 'open']"),
    "no cache_clear": (_drop("cache_clear"), "cache_clear"),
    "no precision": (_drop("lowest_numerical_precision_in_attn"), "precision_in_attn"),
    "4 hours of init": (
        lambda log: find(log, "init_stop").update(time_ms=1_700_000_000_000 + 240 * 60_000),
        "first_init_start",
    ),
}


@pytest.mark.parametrize(("change", "named"), BREAKS.values(), ids=BREAKS)
def test_each_rule_of_ours_fails_when_broken(tmp_path, change, named):
    log = ours()
    change(log)
    path = write(tmp_path / "log", log)
    verdict = check_file(path)
    assert not verdict.passed
    assert any(named in problem for problem in verdict.problems), verdict.problems
    write_rules(tmp_path / "rules.yaml")
    assert not official_says(path, "6.1.0", str(tmp_path / "rules.yaml"))


def test_closed_division_has_half_an_hour_of_init(tmp_path):
    log = ours()
    find(log, "init_stop")["time_ms"] += 30 * 60_000
    assert check_file(write(tmp_path / "log", log)).passed
    find(log, "submission_division")["value"] = "closed"
    assert not check_file(write(tmp_path / "log", log)).passed


def test_no_rule_of_another_ruleset_is_lost(tmp_path):
    for ruleset in rulesets():
        verdict = check_file(write(tmp_path / "log", ours()), ruleset)
        assert verdict.passed, (ruleset, verdict.problems)
        assert verdict.ruleset == ruleset


@pytest.mark.parametrize("good", [True, False])
def test_the_bare_official_command_agrees(tmp_path, good):
    log = ours()
    if not good:
        find(log, "run_stop")["metadata"]["status"] = "aborted"
    path, rules = write(tmp_path / "result 0.txt", log), tmp_path / "rules.yaml"
    write_rules(rules)
    command = shlex.split(bare_command(rules, "6.1.0", path))
    command[0] = sys.executable
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is good, done.stderr
    assert check_file(path).passed is good


def test_every_record_of_the_golden_log_is_needed_or_known_not_to_be(tmp_path):
    free = {"submission_status", "eval_start", "eval_stop", "block_start", "block_stop"}
    log = ours()
    for each in {one["key"] for one in log} - free - {"eval_accuracy"}:
        kept = [one for one in log if one["key"] != each]
        verdict = check_file(write(tmp_path / "log", kept))
        assert not verdict.passed, each
        assert any(re.search(rf"\b{each}\b", problem) for problem in verdict.problems), each
