"""Logs of others take time in proportion to their length, and no number in them is too much."""

import json
from pathlib import Path
from typing import Any

import pytest

import compliance_logs
from ttt import run_folder
from ttt.cli import check
from ttt.compliance import check_file, write_rules
from ttt.compliance.log import Log
from ttt.compliance.records import MOST, Record, records
from ttt.compliance.sentences import sentences
from ttt.report.read.progress import Course
from ttt.report.read.record import history
from ttt.report.read.systems import amount
from ttt.report.read.units import Position, Unit
from ttt.report.run import Block
from ttt.supervise import deaths

pytestmark = pytest.mark.timeout(120)  # an expression that backtracks takes hours


class Unsearched(list[Any]):
    """A list that may be gone through once, and never be searched."""

    passes = 0

    def __iter__(self) -> Any:
        self.passes += 1
        return super().__iter__()

    def __contains__(self, _: object) -> bool:
        pytest.fail("the records were searched for one of them")

    index = __contains__


def test_a_broken_rule_is_told_without_a_search_for_its_record():
    texts = [f':::MLLOG {{"key": "a", "value": {n}, "metadata": {{}}}}' for n in range(50)]
    found = Unsearched(Record(line, text) for line, text in enumerate(texts, 1))
    log = Log(Path("result_0.txt"), found)
    found.passes = 0
    messages = [
        f"Failed executing CHECK code:\nrule {n}\ntriggered by line:\n{text}\ncurrent context"
        for n, text in enumerate(texts)
    ]
    said = sentences([*messages, messages[0].replace('"a"', '"b"')], log)
    assert said[49] == "line 50: a = 49 with {} cannot meet the rule rule 49"
    assert len(said) == 50
    assert found.passes == 1


def test_evaluations_are_not_compared_with_all_before(monkeypatch: pytest.MonkeyPatch):
    compared = 0
    equal = Position.__eq__

    def counted(one: Position, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    monkeypatch.setattr(Position, "__eq__", counted)
    course = Course()
    for n in range(2000):
        course.take("eval_accuracy", 10_000.0 * n, 0.5, {"epoch_num": n})
        course.take("eval_accuracy", 10_000.0 * n + 900, 0.5, {"epoch_num": n})  # another rank's
        course.take("eval_accuracy", 10_000.0 * n + 2000, 0.5, {"epoch_num": n})  # one of its own
    unit = Unit(None, 100)
    assert len(course.evaluations(0.0, None, unit, [])) == 4000
    assert compared <= 4 * 6000


def test_what_was_evaluated_after_the_end_is_placed_without_a_search():
    class Once(list[Block]):
        passes = 0

        def __iter__(self) -> Any:
            self.passes += 1
            return super().__iter__()

    blocks = Once(Block(10.0 * n, 5.0, 100.0) for n in range(3))
    course = Course()
    for n, samples in enumerate((50, 100, 250, 300, 999)):
        course.take("eval_accuracy", 100_000.0 + n, 0.5, {"samples_count": samples})
    found = course.evaluations(0.0, 40_000.0, Unit(None, 100), blocks)
    assert [one.seconds for one in found] == [2.5, 5.0, 22.5, 25.0, 40.0]
    assert blocks.passes == 1


def test_a_log_of_too_many_records_is_refused_and_not_judged(tmp_path: Path):
    path = tmp_path / "result_0.txt"
    path.write_text(":::MLLOG {}\n" * (MOST + 9))
    (problem,) = check_file(path).problems
    assert problem == f"line {MOST + 1} has one more record than the {MOST:,} that are allowed"
    assert [one.endless for one in records(path, 2)] == [False, False, True]


@pytest.mark.parametrize("key", ["submission_org", "seed"])  # no rule looks at the first's value
@pytest.mark.parametrize(
    ("value", "damaged"),
    [
        ('"\\ud800"', None),
        ('"\\uDBFF x"', None),
        ("[" * 70 + "]" * 70, "nested too deeply; allowed: 64 levels"),
        ("[" * 940 + "]" * 940, "nested too deeply"),
        ("[" * 9000, "nested too deeply"),
    ],
)
def test_a_record_that_cannot_be_told_of_is_damaged_or_escaped(tmp_path, key, value, damaged):
    log = compliance_logs.ours()
    compliance_logs.find(log, key)["value"] = "VALUE"
    path = tmp_path / "result_0.txt"
    path.write_text(compliance_logs.text(log).replace('"VALUE"', value))
    str(check_file(path)).encode()
    found = list(records(path))
    str(found).encode()
    [damage] = {one.damage for one in found} - {None} or {None}
    assert (damaged or "") in (damage or "")
    assert (damage is None) is (damaged is None)


@pytest.mark.parametrize(
    ("digits", "said"),
    [
        (400, "time_ms is a number of 400 digits, out of range; allowed: milliseconds since 1970"),
        (2000, "a number has more than 1,000 digits; allowed: up to 1,000"),
        (5000, "the record cannot be read: a number has more than 1,000 digits; allowed: up to"),
    ],
)
def test_a_number_that_is_too_long_is_told_in_our_own_words(tmp_path: Path, digits: int, said: str):
    log = compliance_logs.ours()
    compliance_logs.find(log, "run_stop")["time_ms"] = "VALUE"
    path = tmp_path / "result_0.txt"
    path.write_text(compliance_logs.text(log).replace('"VALUE"', "9" * digits))
    verdict = check_file(path)
    assert not verdict.passed
    assert said in verdict.problems[0]
    assert not any("4300" in one or "not a number" in one for one in verdict.problems)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (run_folder.MPIRUN, "process rank 1 with " * 20_000),
        (run_folder.MPIRUN, "process rank 1 with x on node " * 20_000),
        (run_folder.MPIRUN, "Process name: [" * 20_000 + ",1]" + " " * 200_000),
        (run_folder.SRUN, "error: *** a b ON c CANCELLED AT d DUE " * 20_000),
        (run_folder.SRUN, "srun: error: a: task " + "1" * 200_000),
        (run_folder.SRUN, "srun: error: a: task 1: Terminated\n" * 20_000),
        (
            run_folder.TORCHRUN,
            "  time      : 1\n  host      : n\n  rank      : " + "9" * 5000 + " (x)\n"
            "  exitcode  : " + "9" * 5000,
        ),
    ],
)
def test_a_launchers_log_is_read_in_one_go(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    assert deaths.cause(tmp_path) in (None, "rank 1 on a was ended by SIGTERM")


def test_an_amount_of_400_digits_is_none():
    assert amount("9" * 400 + " GB") is None
    assert amount("80 GB") == 80 * 10**9


def test_a_record_that_cannot_be_read_is_told(tmp_path: Path):
    (tmp_path / "events.jsonl").mkdir()
    assert history(tmp_path / "events.jsonl").problem == (
        "events.jsonl cannot be read: Is a directory"
    )
    assert history(tmp_path / "absent.jsonl").problem is None


def test_rules_of_others_are_called_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    compliance_logs.write(tmp_path / "result_0.txt", compliance_logs.ours())
    write_rules(tmp_path / "rules.yaml")
    check.main([str(tmp_path)])
    assert "without ttt: python" in capsys.readouterr().out
    with (tmp_path / "rules.yaml").open("a") as rules:
        rules.write("- BEGIN:\n    CODE: |\n      import os\n")
    check.main([str(tmp_path)])
    assert "without ttt: (executes its rules.yaml, which is not" in capsys.readouterr().out


def test_every_folder_with_rules_of_others_is_told(tmp_path: Path, capsys):
    for place in range(3):
        folder = tmp_path / f"seed_{place}"
        folder.mkdir()
        compliance_logs.write(folder / "result_0.txt", compliance_logs.ours())
        write_rules(folder / "rules.yaml", "5.1.0")  # ours, of whichever ruleset
        if place:
            (folder / "rules.yaml").write_text("- BEGIN:\n    CODE: import os\n")
    assert check.main([str(tmp_path), "--json", str(tmp_path / "out.json")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "remark: " in line]
    assert ["not as this ttt writes it" in line for line in said] == [True, True]
    for place, line in enumerate(said, 1):
        assert f"{tmp_path}/seed_{place}/rules.yaml" in line
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [len(each["remarks"]) for each in results] == [0, 1, 1]
