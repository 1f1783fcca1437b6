"""What a run leaves once its clock has stopped: measurements, a verdict, files; or a checkpoint."""

from pathlib import Path

from ttt import keep, utilization
from ttt.data import manifest
from ttt.events import Kind
from ttt.loop import Parts
from ttt.schema.run import RunConfig
from ttt.statistics import check, skipped_sentence, spent, statistics
from ttt.supervise import resume, saver
from ttt.telemetry.power import PowerMeter
from ttt.watcher import Status, Verdict


def finish(
    run_config: RunConfig, parts: Parts, verdict: Verdict, folder: Path, counted: PowerMeter
) -> None:
    """Record what was measured and what the rules say of it; of a suspended run, save the state.

    Args:
        run_config: The run.
        parts: What it was made of; its data set is closed.
        verdict: How it ended.
        folder: The run folder.
        counted: The energy of this node.
    """
    parts.heartbeat.steady = False
    parts.heartbeat.beat("finishing", parts.learner.steps)
    log, step = parts.log, parts.learner.steps
    if verdict.status is Status.SUSPENDED:
        resume.suspend(parts, folder)
        parts.data.close()
        return
    if parts.saver:
        parts.saver.finish()
    measured = statistics(parts)
    if parts.world.rank == 0:
        measured |= utilization.measured(run_config, parts, measured["samples_per_s"])
    log.emit(Kind.STATISTICS, step, **measured, **spent(parts, counted, folder))
    if measured["skipped_samples"]:
        log.emit(Kind.WARNING, step, message=skipped_sentence(measured))
    if parts.world.rank == 0:
        log.emit(Kind.COMPLIANCE, **check(run_config, folder))
        manifest.keep(run_config.data.root, folder)
        saver.forget(folder)
    if run_config.keep:
        keep.leave(run_config.keep, parts, folder)
    parts.data.close()
