from dataclasses import replace
from pathlib import Path

import pytest

import studies
from run_folders import died, finished
from ttt.report.analyze.repetitions import copies, repetitions
from ttt.report.read.find import find


def sizes(runs):
    return [len(each) for each in repetitions(runs)]


@pytest.mark.parametrize(
    "change",
    [
        {"division": "open"},
        {"submitter": "Beta"},
        {"system": "another"},
        {"global_batch": 1},
        {"benchmark": "bert"},
    ],
)
def test_logs_of_one_folder_that_say_something_else_are_another_experiment(change):
    runs = studies.runs("here", count=3) + studies.runs("here", count=2, **change)
    assert sizes(runs) == [3, 2]


def test_a_damaged_log_belongs_to_the_others_of_its_folder():
    torn = studies.run("here", 4, benchmark=None, division=None, submitter=None, global_batch=None)
    assert sizes([torn, *studies.runs("here"), studies.run("there", 1)]) == [4, 1]


@pytest.mark.parametrize(
    "system",
    [
        '{"id": "other"}',
        '{"id": "box", "description": {"host_processor_model_name": "another"}}',
    ],
)
def test_other_machines_are_other_experiments(tmp_path, system):
    for seed in (1, 2):
        finished(tmp_path / "a", seed)
        finished(tmp_path / "b", seed + 2)
        (tmp_path / f"a/seed_{seed}/system.json").write_text('{"id": "box"}')
        (tmp_path / f"b/seed_{seed + 2}/system.json").write_text(system)
    died(tmp_path / "b", 5)
    assert sizes(find([tmp_path]).runs) == [2, 3]


def test_a_second_try_with_the_same_seeds_is_by_itself(tmp_path):
    for launch in ("first", "second"):
        for seed in (1, 2, 3):
            finished(tmp_path / launch, seed)
    assert sizes(find([tmp_path]).runs) == [3, 3]
    finished(tmp_path / "third", 4)
    assert sizes(find([tmp_path]).runs) == [3, 3, 1]


def test_launches_with_seeds_of_their_own_are_one_experiment(tmp_path):
    for seed in (1, 2, 3, 4):
        finished(tmp_path / f"launch_{seed % 2}", seed)
    assert sizes(find([tmp_path]).runs) == [4]


def test_folders_without_a_configuration_repeat_each_other_in_a_launch_only(tmp_path):
    for seed in (1, 2, 3, 4):
        (finished(tmp_path / f"launch_{seed % 2}", seed) / "config.yaml").unlink()
    assert sizes(find([tmp_path]).runs) == [2, 2]


def test_a_run_is_known_again_wherever_its_files_are():
    first, second = (replace(each, stopped=5.0 + each.seed) for each in studies.runs("a", count=2))
    copy = replace(first, path=Path("elsewhere"), source="run folder")
    assert copies([first, second, copy]) == [(copy, first)]
    assert copies([first, replace(copy, elapsed_s=None)]) == []
