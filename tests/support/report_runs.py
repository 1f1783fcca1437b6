"""Runs and groups by hand, for tests of what is concluded from them."""

from collections.abc import Sequence
from pathlib import Path

from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.grouping import group
from ttt.report.run import Run


def run(seed: int = 1, **changes: object) -> Run:
    """A run of 100 s on 8 accelerators that reached its target after 10 epochs of 1,000 samples."""
    rate = changes.get("samples_per_s", 100.0)
    known = {
        "path": Path(f"launch/seed_{seed}"),
        "digest": "d",
        "seed": seed,
        "benchmark": "digits",
        "target": 0.97,
        "status": "success",
        "submitter": "Us",
        "time_to_train_s": 100.0,
        "elapsed_s": changes.get("time_to_train_s", 100.0),
        "train_s": changes.get("time_to_train_s", 100.0),
        "eval_s": 0.0,
        "global_batch": 80,
        "step_samples": changes.get("global_batch", 80),
        "epochs": 10.0,
        "samples": 1000.0 * float(changes.get("epochs") or 10.0),  # type: ignore[arg-type]
        "samples_per_s": rate,
        "tracked_samples_per_s": rate,
        "world_size": 8,
        "accelerators": 8,
        "accelerator_name": "H100",
    }
    return Run(**(known | changes))


def experiment(times: Sequence[float | None], **changes: object) -> Experiment:
    """Repetitions with these times; None for one that did not converge."""
    runs = [
        run(
            seed,
            digest=repr(sorted(changes.items(), key=lambda each: each[0])),
            time_to_train_s=time,
            status="aborted" if time is None else "success",
            **changes,
        )
        for seed, time in enumerate(times)
    ]
    (made,) = group(runs)
    return made


def of_size(workers: int, seconds: float, **changes: object) -> Experiment:
    """One run of an experiment on as many accelerators."""
    return experiment([seconds], accelerators=workers, world_size=workers, **changes)
