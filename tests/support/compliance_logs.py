"""Minimal MLPerf logs, built from the rules, for tests to break one record at a time."""

import json
from pathlib import Path
from typing import Any

from mlperf_logging.compliance_checker import mlp_compliance

Record = dict[str, Any]


def record(key: str, value: Any = None, minute: float = 0, **metadata: Any) -> Record:
    return {
        "namespace": "",
        "time_ms": 1_700_000_000_000 + round(60_000 * minute),
        "event_type": "POINT_IN_TIME",
        "key": key,
        "value": value,
        "metadata": {"file": "sink.py", "lineno": 7, **metadata},
    }


def _log(
    benchmark: str,
    division: str,
    parameters: dict[str, Any],
    qualities: list[float],
    train_samples: int = 1437,
):
    fixed = {
        "submission_benchmark": benchmark,
        "submission_division": division,
        "submission_org": "somebody",
        "submission_platform": "a machine",
        "submission_status": "onprem",
        "seed": 3,
        "global_batch_size": 64,
        "gradient_accumulation_steps": 1,
        "train_samples": train_samples,
        "eval_samples": 360,
    }
    log = [record("cache_clear", True), record("init_start")]
    log += [record(key, value) for key, value in (fixed | parameters).items()]
    log += [record("init_stop", minute=1), record("run_start", minute=1)]
    for epoch, quality in enumerate(qualities, 1):
        at = {"epoch_num": epoch, "samples_count": train_samples * epoch}
        log += [
            record("block_start", minute=epoch, first_epoch_num=epoch, epoch_count=1),
            record("block_stop", minute=epoch, first_epoch_num=epoch),
            record("eval_start", minute=epoch, **at),
            record("eval_stop", minute=epoch, **at),
            record("eval_accuracy", quality, minute=epoch, **at),
        ]
    return [*log, record("run_stop", minute=len(qualities) + 1, status="success")]


def ours() -> list[Record]:
    """A log of a workload of our own that keeps every rule of 6.1.0."""
    disclosed = {f"lowest_numerical_precision_in_{part}": "fp32" for part in ("linear", "attn")}
    disclosed |= {f"{kind}_parallelism": 1 for kind in ("tensor", "pipeline", "context", "expert")}
    disclosed |= {"lowest_numerical_precision_in_comm": "fp32", "micro_batch_size": 32}
    log = _log("digits", "open", disclosed | {"config_filename": "config.yaml"}, [0.5, 0.975])
    log.insert(2, record("target_accuracy", 0.97, higher_is_better=True))
    return log


def resnet() -> list[Record]:
    """A log of the official benchmark resnet that keeps every rule of 4.0.0, closed."""
    optimizer = {
        "opt_name": "lars",
        "lars_opt_base_learning_rate": 11.0,
        "lars_opt_end_learning_rate": 0.0001,
        "lars_opt_learning_rate_decay_poly_power": 2,
        "lars_opt_learning_rate_decay_steps": 37,
        "lars_epsilon": 0.0,
        "lars_opt_learning_rate_warmup_epochs": 2,
        "lars_opt_momentum": 0.9,
        "lars_opt_weight_decay": 5e-5,
    }
    return _log("resnet", "closed", optimizer, [0.7, 0.7591], train_samples=1_281_167)


def bert(quality: float) -> list[Record]:
    """A log of the official benchmark bert, closed, with every record of 0.7.0 to 5.0.0."""
    steps = ("training_steps", "warmup_steps")
    optimizer = {f"opt_learning_rate_{name}": 100 for name in steps}
    optimizer |= {"num_warmup_steps": 100, "start_warmup_step": 0, "opt_epsilon": 1e-6}
    optimizer |= {"opt_base_learning_rate": 0.001, "opt_lamb_weight_decay_rate": 0.01}
    optimizer |= {"opt_lamb_beta_1": 0.9, "opt_lamb_beta_2": 0.999}
    return _log("bert", "closed", optimizer, [quality])


def find(log: list[Record], key: str, nth: int = 0) -> Record:
    return [each for each in log if each["key"] == key][nth]


def text(log: list[Record]) -> str:
    return "".join(f":::MLLOG {json.dumps(each)}\n" for each in log)


def write(path: Path, log: list[Record]) -> Path:
    path.write_text(text(log), encoding="utf-8")
    return path


def official_says(path, ruleset, config):
    """The engine's own entry point: a verdict, or a crash, which its command line ends with 1."""
    checker = mlp_compliance.make_checker("training", ruleset, False, False)
    mlp_compliance.enqueued_configs.clear()
    try:
        return checker.check_file(str(path), config)
    except Exception:
        return False
