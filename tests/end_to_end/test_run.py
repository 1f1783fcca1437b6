"""The command a person types, from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ground import PROJECT, Command, environment
from processes import EASY, TINY
from warm import Warm, completed

OUTSIDE = PROJECT / "tests" / "outside"
QUICK = ("clear_cache=fadvise", "launcher=torchrun", "launcher.procs=2")


def folders(tmp_path: Path) -> list[Path]:
    return sorted(path.parent for path in tmp_path.glob("runs/*/*/*/config.yaml"))


def kinds(folder: Path) -> list[str]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line)["kind"] for line in lines]


def official_checker(result: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """MLCommons' own command, as anybody would run it."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "training"),
            *("--log_output", str(result.parent / "checker.log"), *arguments, str(result)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_several_runs_reach_the_target_and_prove_it(
    ttt: Command, cold_ttt: Command, tmp_path: Path
):
    done = cold_ttt("run", *QUICK, "runs=2", "seed=7")  # data/digits is made on the way
    assert done.returncode == 0, done.stdout + done.stderr
    runs = folders(tmp_path)
    assert [path.name for path in runs] == ["seed_7", "seed_8"]
    for number, folder in enumerate(runs):
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["status"] == "success"
        assert summary["quality"] >= 0.97
        assert summary["run"] == number
        assert summary["world_size"] == 2
        assert summary["compliance"]["passed"] is True
        assert summary["compliance"]["official"] is False
        assert 0 <= summary["data_wait_fraction"] < 1
        assert (summary["energy_j"] is None) == bool(summary["energy_reason"])
        assert [rank["rank"] for rank in summary["ranks"]] == [0, 1]
        assert 0 <= summary["communication_fraction"] < 1
        assert summary["peak_memory_bytes"] < summary["accelerator_memory_bytes"]
        assert summary["peak_memory_reserved_bytes"] is None  # of a CPU
        assert json.loads((folder / "system.json").read_text())["description"]["framework"]
        result = folder / f"result_{number}.txt"
        rules = ("--ruleset", "6.1.0", "--config", str(folder / "rules.yaml"))
        checked = official_checker(result, *rules)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert (folder / "logs" / "rank_1.log").is_file()
        told = json.loads((folder / "environment.json").read_text())
        assert told["command"] == ["ttt", "run", *QUICK, "runs=2", "seed=7"]
        events = kinds(folder)
        assert events[:5] == ["cache_clear", "init_start", "config", "init_stop", "run_start"]
        assert events[-3:] == ["run_stop", "statistics", "compliance"]
    assert "of 2 runs" in done.stdout
    assert ttt("check", "runs").returncode == 0
    report = ttt("report", "runs", "--json", "report.json")
    assert report.returncode == 0
    [group] = json.loads((tmp_path / "report.json").read_text())["results"]
    assert group["converged"] == 2


def test_typed_under_torchrun_it_makes_one_run_folder(tmp_path: Path, digits: Path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    (tmp_path / "tmp").mkdir()
    done = completed(
        [*torchrun, "--standalone", "-m", "ttt", "run", f"data.root={digits}", *QUICK[:1], *EASY],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path / "tmp")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = folders(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["world_size"] == 2
    assert summary["status"] == "success"
    left = [each.name for each in (tmp_path / "tmp").iterdir()]
    assert [name for name in left if not name.startswith("torch")] == []  # torchrun's own stay
    assert done.stdout.count("time to train") == 1
    assert done.stderr.count("ttt: TTT_KEY is not set") == 1  # by rank 0 alone


def test_two_torchrun_agents_meet_in_one_run(tmp_path: Path, digits: Path):
    import socket

    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        endpoint = f"[::1]:{probe.getsockname()[1]}"
    typed = [sys.executable, "-m", "ttt", "run", f"data.root={digits}", *QUICK[:2], *EASY]
    typed += ["launcher.procs=1", "launcher.nodes=2", f'launcher.rdzv_endpoint="{endpoint}"']
    agents = [
        Warm(
            typed,
            cwd=tmp_path,
            env=environment(TTT_KEY="the same on both nodes"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    ]
    said = [agent.communicate(timeout=200)[0].decode() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    [folder] = folders(tmp_path)
    assert json.loads((folder / "summary.json").read_text())["nodes"] == 2
    assert not any("TTT_KEY" in one for one in said)


def test_a_benchmark_from_outside_needs_no_fork(ttt: Command, tmp_path: Path, digits: Path):
    done = ttt(
        *("run", "--config-dir", str(OUTSIDE / "conf"), "benchmark=linear_digits"),
        *(f"data.root={digits}", "clear_cache=off", "tracking=kinds_file"),
        PYTHONPATH=f"{PROJECT}:{OUTSIDE}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = folders(tmp_path)
    frozen = yaml.safe_load((folder / "config.yaml").read_text())
    assert frozen["model"] == {"_target_": "outside_parts.Linear", "classes": 10, "size": 8}
    assert "cache_clear" not in kinds(folder)
    assert frozen["tracking"] == {"_target_": "outside_parts.KindsFile", "name": "kinds.txt"}
    assert (folder / "kinds.txt").read_text().split() == ["new", *kinds(folder), "success"]
    # Without the cache_clear record MLPerf's rules are not kept, and the summary says so.
    assert json.loads((folder / "summary.json").read_text())["compliance"]["passed"] is False


def test_an_unreachable_target_ends_with_3(ttt: Command, tmp_path: Path, digits: Path):
    limits = (*TINY, "target.threshold=1.0", "target.max_epochs=1")
    done = ttt("run", *limits, f"data.root={digits}", *QUICK)
    assert done.returncode == 3, done.stdout + done.stderr
    [folder] = folders(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "aborted"
    assert summary["time_to_train_s"] is None
    assert "target.max_epochs=1" in summary["reason"]
    assert "not reached after " in done.stdout
    assert f"target.max_epochs=1 passed; best top1 {summary['quality']:.4f} at" in done.stdout
    assert "for what it reached" in done.stdout
    assert "runs=5" not in done.stdout


def test_a_diverging_run_names_its_step(ttt: Command, tmp_path: Path, digits: Path):
    done = ttt("run", "optim.lr=1e30", *TINY, "clear_cache=off", f"data.root={digits}")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the loss was not finite at step " in done.stdout


def test_a_sweep_is_one_launch_per_value(ttt: Command, tmp_path: Path, digits: Path):
    limits = ("target.max_epochs=1", *EASY, "clear_cache=off")
    done = ttt("run", "--multirun", "data.global_batch=64,128", f"data.root={digits}", *limits)
    assert done.returncode == 0, done.stdout + done.stderr
    configs = [yaml.safe_load((path / "config.yaml").read_text()) for path in folders(tmp_path)]
    assert sorted(one["data"]["global_batch"] for one in configs) == [64, 128]


def test_peeking_at_the_data_before_the_clock_is_refused(
    ttt: Command, tmp_path: Path, digits: Path
):
    done = ttt(
        *(
            "run",
            "task._target_=outside_parts.Peeks",
            *TINY,
            "clear_cache=off",
            f"data.root={digits}",
        ),
        PYTHONPATH=f"{PROJECT}:{OUTSIDE}",
        PEEK_AT=f"{digits}/train",
    )
    assert done.returncode == 2
    assert "before RUN_START" in done.stderr
    [folder] = folders(tmp_path)
    assert "run_start" not in kinds(folder)


def test_a_metric_that_the_users_own_task_does_not_compute_is_refused_before_the_first_step(
    ttt: Command, tmp_path: Path, digits: Path
):
    done = ttt(
        *("run", "task._target_=outside_parts.Unnamed", *TINY, f"data.root={digits}", *QUICK),
        PYTHONPATH=f"{PROJECT}:{OUTSIDE}",
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "target.metric=top1 is not what outside_parts.Unnamed computes" in done.stderr
    assert "target.metric=share_of_right_ones" in done.stderr
    assert "Traceback" not in done.stderr
    [folder] = folders(tmp_path)
    assert "run_start" not in kinds(folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "benchmark=cifar10"),
        (["--cfg", "job"], "threshold: 0.97"),
        (["--info", "defaults"], "benchmark/digits"),
    ],
)
def test_hydra_shows_itself(ttt: Command, tmp_path: Path, arguments: list[str], said: str):
    done = ttt("run", *arguments)
    assert done.returncode == 0
    assert said in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_fits_one_screen(ttt: Command):
    lines = ttt("run", "--help").stdout.splitlines()
    assert len(lines) <= 46
    assert max(map(len, lines)) <= 110
