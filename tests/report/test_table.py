import io
import re

import pytest
from rich.console import Console

import studies
from run_folders import aborted, died, finished
from ttt.compliance import LABEL
from ttt.report.analyze.study import study
from ttt.report.read.find import find
from ttt.report.render.table import closing, show_study


def printed(paths, width=80):
    return shown(study(find(paths)), width)


def shown(what, width=80, **options):
    console = Console(file=io.StringIO(), width=width)
    show_study(what, console, **options)
    return console.file.getvalue()


def test_five_runs_in_80_columns(tmp_path):
    for seed, seconds in enumerate((9.0, 10.0, 11.0, 12.0, 30.0), 1):
        finished(tmp_path, seed, time_to_train_s=seconds)
    text = printed([tmp_path])
    assert "digits, target 0.97, 2 processes, 1 node" in text
    head = text.splitlines()[1].split()
    assert head == "seed status time-to-train top1 epochs samples/s data wait compliance".split()
    row = next(line for line in text.splitlines() if line.lstrip().startswith("3"))
    assert row.split() == "3 success 11.00 s 0.9750 8 1,360 4.2% passed*".split()
    assert "score 11.0 s, 95%: 7.8 to 14.2 s (olympic mean of 5 runs" in text
    assert "from 9.000 s to 30.00 s" in text
    assert "evaluated every 0.500 s" in text
    assert "±" not in text
    assert f"* {LABEL}" in text
    assert all(len(line) <= 80 for line in text.splitlines()[:8])


def test_failures_say_why(tmp_path):
    aborted(tmp_path, 1)
    died(tmp_path, 2, '{"kind":"block_start","time":1700000000,"step":9,"data":{}}\n')
    finished(tmp_path, 3)
    (tmp_path / "seed_4").mkdir()
    (tmp_path / "seed_4" / "summary.json").write_text("{")
    text = printed([tmp_path])
    assert "seed 1: target.max_epochs=30 passed" in text
    assert "seed 2: no summary; last event block_start at 2023" in text
    assert "no score: 2 of 3 runs without a valid time" in text
    assert re.search(r"not used: .*seed_4: summary.json is damaged", text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.5478, "0.548 s"), (9.1, "9.100 s"), (251.26, "251.3 s"), (1341.0, "22.35 min")],
)
def test_the_time_of_a_run_has_four_digits_but_no_microseconds(tmp_path, seconds, shown):
    finished(tmp_path, 1, time_to_train_s=seconds)
    text = printed([tmp_path])
    assert f" {shown}  " in text
    assert "95%:" not in text  # of a single run


def test_what_no_run_measured_has_no_column(tmp_path):
    finished(tmp_path / "a", 1, data_wait_fraction=None)
    assert "data wait" not in printed([tmp_path])
    finished(tmp_path / "a", 2)
    assert "data wait" in printed([tmp_path])


def test_markup_in_a_name_is_text(tmp_path):
    finished(tmp_path, 1, benchmark="[red]mine[/red]")
    assert "[red]mine[/red]" in printed([tmp_path])


def test_closing_prints_the_given_runs_only(tmp_path):
    launch = [finished(tmp_path, seed) for seed in (1, 2)]
    finished(tmp_path, 3)
    console = Console(file=io.StringIO(), width=80)
    closing(launch, console)
    assert "2 of 2 runs count" in console.file.getvalue()


def test_every_experiment_of_a_sweep_has_a_line_in_80_columns():
    text = shown(studies.sweep(), details=False)
    assert "resnet to top1 0.759, rules 4.0.0" in text
    row = next(line.split() for line in text.splitlines() if " acme_512 " in line)
    assert row == "Acme acme_512 0.680 0.663 to 0.697 512 3 of 3 unofficial".split()
    tables = [line for line in text.splitlines() if "─" in line or "   " in line]
    assert len(tables) > 8
    assert max(map(len, tables)) <= 80


def test_a_sweep_is_shown_with_its_bottlenecks():
    text = shown(studies.sweep(), details=False)
    scaling = text[text.index("Scaling of resnet") :].splitlines()
    row = next(line.split() for line in scaling if line.startswith("   512"))
    assert row == "512 16,384 0.680 15.0 23% 33% 70% 100%".split()
    assert any(line.startswith("512: ") for line in scaling)
    assert "8: None" not in text


def test_a_wide_terminal_shows_more():
    heads = ("accelerator ", "nodes", "samples/s")
    assert all(head in shown(studies.sweep(), 160, details=False) for head in heads)
    assert "nodes" not in shown(studies.sweep(), 80, details=False)


def test_many_runs_are_shown_by_experiment():
    few, many = studies.of(studies.runs("a", count=40)), studies.of(studies.runs("a", count=41))
    assert "seed" in shown(few).splitlines()[1]
    assert "seed" not in shown(many).splitlines()[1]
    assert shown(few, details=False).splitlines()[1] == shown(many).splitlines()[1]


def test_nothing_is_printed_twice_and_nothing_empty():
    for details in (False, True):
        text = shown(studies.sweep(), details=details)
        for once in ("Scaling of", "Hardware", "results/broken", "512: "):
            assert text.count(once) == 1, once
        assert "Over 2 benchmarks" not in text
    assert shown(studies.of()) == ""


def test_a_finding_of_all_seeds_is_told_once():
    slow = studies.runs("a", data_wait_fraction=0.4)
    text = shown(studies.of(slow))
    assert text.count("waiting for data") == 1
    assert "waiting for data (all 3 runs): 40% " in text
    one = [*slow[:1], *studies.runs("a")[1:]]
    assert "waiting for data (1 of 3 runs, seed 1): 40% " in shown(studies.of(one))


@pytest.mark.parametrize("details", [False, True])
def test_what_a_log_says_cannot_steer_the_terminal(details):
    text = shown(studies.hostile(), 200, details=details)
    assert "alert" in text
    assert "\x1b" not in text
    text.encode()


def test_the_published_scaling_of_resnet_fits_a_batch_log(shared):
    text = shown(study(find([shared / "mlperf_results" / "v4.0" / "NVIDIA"])))
    row = next(line for line in text.splitlines() if line.startswith(" 3,584"))
    assert row.split() == "3,584 57,344 0.1830 72.5 16% 39% 45% 91%".split()
    assert max(len(line) for line in text.splitlines() if "   " in line or "─" in line) <= 80


@pytest.mark.parametrize("width", range(80, 170, 5))
def test_no_word_of_a_head_is_broken(width):
    text = shown(studies.sweep(), width, details=False)
    heads = text[text.index("Scaling of") :].split("─", 1)[0]
    words = " ".join(heads.replace("- ", "-").split())
    assert "speed-up" in words
    assert "train (" in words or "time-to-train" in words
    assert not re.search(r"\bthroughpu\b|\btime-to-tr\b|\bstatistica\b", words)


def test_many_experiments_explain_their_signs_once():
    text = shown(studies.sweep(), details=False)
    assert text.count("the 95% interval is that of") == text.count(f"unofficial is {LABEL}") == 1
    assert "an olympic mean" not in text  # as every experiment says where each run is shown


def test_experiments_of_one_title_have_a_name():
    text = shown(
        studies.of(
            *(studies.runs(name, system="box", global_batch=n) for name, n in (("a", 1), ("b", 2)))
        )
    )
    assert "1 node, 8 x H100, batch 1\n" in text
    assert "1 node, 8 x H100, batch 2\n" in text


def test_a_failed_check_is_followed_by_the_rule_and_an_aborted_run_by_its_reason(tmp_path):
    failed = {"ruleset": "6.1.0", "division": "open", "passed": False, "official": False}
    one = finished(tmp_path, 1, compliance=failed | {"problems": ["opt_name is missing", "b"]})
    why = "target.max_epochs=30 passed at top1 0.9"
    broken = {"problems": ["run_stop breaks the rule"]}
    two = finished(tmp_path, 2, status="aborted", reason=why, compliance=failed | broken)
    console = Console(file=io.StringIO(), width=80)
    closing([one, two], console)
    for text in (console.file.getvalue(), printed([tmp_path])):
        assert "opt_name is missing" in text
        assert f"seed 2: {why}" in text
        assert "run_stop" not in text  # the log of what was aborted says so, too
    assert "seed 1: compliance FAILED: opt_name is missing" in console.file.getvalue()


@pytest.mark.parametrize("details", [True, False])
def test_launches_that_only_a_number_tells_apart_are_told_with_their_folders(tmp_path, details):
    for name in ("2026-11-26_1", "2026-11-26_2"):
        for seed in (1, 2):
            finished(tmp_path / name, seed)
    text = shown(study(find([tmp_path])), width=300, details=details)
    for place, name in ((1, "2026-11-26_1"), (2, "2026-11-26_2")):
        (line,) = [each for each in text.splitlines() if name in each]
        assert f"({place}): {tmp_path}/{name}; no known setting tells it" in line
