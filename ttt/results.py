"""What is known only once the clock has stopped: measurements over ranks, MLCommons' verdict."""

from pathlib import Path
from typing import Any

from ttt import compliance
from ttt.loop import Parts
from ttt.schema.run import RunConfig
from ttt.telemetry import memory


def result_path(run_config: RunConfig, folder: Path) -> Path:
    """Where the MLPerf log of this run is."""
    return folder / f"result_{run_config.run}.txt"


def statistics(parts: Parts) -> dict[str, Any]:
    """What the ranks measured; taken after the clock has stopped."""
    clock, meter, world = parts.clock, parts.meter, parts.world
    position, train_s = parts.position(parts.learner.steps), clock.total("train")
    waits = world.gather(meter.wait_seconds)
    peaks = world.gather(memory.peak_bytes(world.device))
    skipped = sorted(frozenset().union(*world.gather(parts.data.skipped())))
    steps = {f"step_ms_{name}": value for name, value in meter.step_milliseconds().items()}
    return {
        **position,
        **steps,
        "train_s": train_s,
        "eval_s": clock.total("eval"),
        "samples_per_s": position["samples"] / train_s if train_s else None,
        "data_wait_fraction": max(waits) / train_s if train_s else None,
        "eval_fraction": clock.total("eval") / clock.elapsed,
        "peak_memory_bytes": max(peaks),
        "data": dict(parts.data.details()),
        "skipped_samples": len(skipped),
        "skipped": skipped[:100],
        "rank_data_wait_s": waits,
        "rank_peak_memory_bytes": peaks,
    }


def check(run_config: RunConfig, folder: Path) -> dict[str, Any]:
    """What MLCommons' checker says of the log just written."""
    verdict = compliance.check_file(result_path(run_config, folder), run_config.benchmark.ruleset)
    if not verdict.official:
        compliance.write_rules(folder / "rules.yaml", verdict.ruleset)
    return {
        "ruleset": verdict.ruleset,
        "division": verdict.division,
        "official": verdict.official,
        "passed": verdict.passed,
        "problems": list(verdict.problems),
    }
