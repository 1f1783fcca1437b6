"""Official benchmarks, closed division: refused before the run, or the checker passes the log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Command
from test_run import OUTSIDE, PROJECT
from ttt import compliance, config
from ttt.cli.run import problems
from ttt.schema.closed import RULES, evaluation_interval

OFFICIAL = {"resnet": "4.0.0", "transformer": "0.7.0", "gnmt": "0.7.0", "dlrm_dcnv2": "6.0.0"}


def composed(*overrides: str):
    config.register()
    return config.resolve(config.compose([*overrides, "data.root=."]))


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_benchmarks_own_settings_keep_the_closed_rules(name: str):
    run = composed(f"benchmark={name}", "launcher=torchrun", "launcher.procs=8", "device=cpu")
    assert problems(run) == []
    assert (run.benchmark.division, run.benchmark.ruleset) == ("closed", OFFICIAL[name])
    assert name in RULES


BROKEN = [
    ("resnet", "optim.weight_decay=3e-4", "weight_decay"),
    ("resnet", "target.threshold=0.75", "eval_accuracy"),
    ("resnet", "target.eval_every_epochs=5", "target.eval_every_epochs=5 is not allowed"),
    ("resnet", "optim.momentum=0.95", "allowed: 0.9"),
    ("resnet", "task.label_smoothing=0.2", "allowed: 0.1 or 0"),
    ("resnet", "optim.epsilon=1e-7", "lars_epsilon"),
    ("resnet", "schedule.power=1", "decay_poly_power"),
    ("transformer", "optim.epsilon=1e-8", "opt_adam_epsilon"),
    ("transformer", "target.eval_every_epochs=2", "allowed: 1"),
    ("transformer", "target.threshold=0.24", "eval_accuracy"),
    ("gnmt", "schedule.decay_factor=0.9", "schedule.decay_factor=0.9 is not allowed"),
    ("gnmt", "data.eval_samples=100", "allowed: 3003"),
    ("dlrm_dcnv2", "optim.epsilon=1e-7", "opt_adagrad_epsilon"),
    ("dlrm_dcnv2", "target.eval_every_samples=1000000", "target.eval_every_samples=1000000"),
    ("dlrm_dcnv2", "data.eval_samples=1000", "eval_samples"),
    ("dlrm_dcnv2", "target.max_epochs=2", "target.max_epochs=2"),
]


@pytest.mark.parametrize(("name", "override", "said"), BROKEN)
def test_a_choice_that_breaks_a_closed_rule_is_refused_and_the_rule_named(name, override, said):
    found = problems(composed(f"benchmark={name}", override))
    assert any(said in sentence for sentence in found), found
    assert all("benchmark.division=open" in sentence for sentence in found)
    opened = composed(f"benchmark={name}", override, "benchmark.division=open")
    assert problems(opened) == []


def test_the_interval_between_evaluations_follows_the_batch():
    """FLOOR(train samples / (global batch * 20)) updates, as the rules have it."""
    assert evaluation_interval(4_195_197_692, 65_536, 20) == 3200 * 65_536
    run = composed("benchmark=dlrm_dcnv2", "data.global_batch=131072")
    assert run.target.eval_every_samples == 1600 * 131_072
    assert problems(run) == []


def doubles(family: str, leap: int, *smaller: str) -> tuple[int, list[str]]:
    """Samples that a made-up batch stands for, and the settings that put the doubles in."""
    parts = (f"data._target_=doubles.{family}", f"task._target_=doubles.Scripted{family}")
    return leap, [*parts, *smaller]


SMALL_TABLES = f"data.rows=[{','.join(['3'] * 26)}]"
SHRUNK = {
    "resnet": doubles("Images", 1_281_167),
    "transformer": doubles("Sentences", 1_147_526, "model.width=32", "model.feedforward=32"),
    "gnmt": doubles("Sentences", 1_000_000, "model.width=32"),
    "dlrm_dcnv2": doubles(
        *("Clicks", 52_428_800, SMALL_TABLES),
        *("model.dim=4", "model.bottom=[8,4]", "model.top=[8,1]"),
    ),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_run_by_the_benchmarks_own_settings_passes_the_official_checker(
    ttt: Command, tmp_path: Path, name: str
):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "in_it").write_text("but what the page cache can forget")
    leap, settings = SHRUNK[name]
    done = ttt(
        *("run", f"benchmark={name}", *settings, "data.root=nothing", "device=cpu"),
        PYTHONPATH=f"{PROJECT}:{OUTSIDE}",
        DOUBLE_LEAP=str(leap),
        DOUBLE_REACHES=str(composed(f"benchmark={name}").target.threshold),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [log] = tmp_path.glob("runs/*/*/seed_1/result_0.txt")
    bare = subprocess.run(
        [
            *(sys.executable, "-m", "mlperf_logging.compliance_checker", "--werror"),
            *("--usage", "training", "--ruleset", OFFICIAL[name], str(log)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert bare.returncode == 0, bare.stdout + bare.stderr
    verdict = compliance.check_file(log, OFFICIAL[name])
    assert (verdict.official, verdict.division, verdict.problems) == (True, "closed", ())
    summary = json.loads((log.parent / "summary.json").read_text())
    assert summary["compliance"]["passed"] is True
    assert len([line for line in log.read_text().splitlines() if '"eval_accuracy"' in line]) == 2
