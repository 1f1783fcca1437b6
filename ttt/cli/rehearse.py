"""A closed claim, judged before the run: the official checker on the log of a run that goes well.

A hyperparameter that the closed division does not allow shows in a log only when hours of training
are over. Here the configuration's log is written at once, with the target itself as the quality
reached, and what the checker says of it is what it would say in the end. May not start anything.
"""

import tempfile
from pathlib import Path
from typing import Any

from ttt import compliance
from ttt.events import Event, Kind
from ttt.run_folder import RunFolder
from ttt.schema.logged import Spread
from ttt.schema.run import RunConfig
from ttt.sinks.mllog import MlperfLog


def rehearse(run: RunConfig) -> list[str]:
    """What the official checker would find wrong with a run that reaches its target.

    Args:
        run: A configuration with an official benchmark.

    Returns:
        A sentence for each broken rule.
    """
    with tempfile.TemporaryDirectory(prefix="ttt-") as folder:
        path = RunFolder(Path(folder)).result(0)
        log = MlperfLog(path)
        for event in _events(run):
            log.write(event)
        log.close()
        named = run.benchmark
        ruleset = named.ruleset or compliance.newest_ruleset(named.id, named.division)
        verdict = compliance.check_file(path, ruleset)
    return [
        f"the closed rules of {verdict.benchmark} (ruleset {verdict.ruleset}) would refuse this"
        f" run: {problem}; allowed in benchmark.division=open"
        for problem in verdict.problems
    ]


def _events(run: RunConfig) -> list[Event]:
    """A run of one epoch on one process, without the time it takes."""
    start = {"epoch": 0, "samples": 0}
    end = {"epoch": 1, "samples": run.data.train_samples}
    kinds: tuple[tuple[Kind, dict[str, Any]], ...] = (
        (Kind.CACHE_CLEAR, {}),
        (Kind.INIT_START, {}),
        (Kind.CONFIG, run.claim(Spread())),
        (Kind.INIT_STOP, {}),
        (Kind.RUN_START, {}),
        (Kind.BLOCK_START, start | {"until": end}),
        (Kind.BLOCK_STOP, end | {"since": start}),
        (Kind.EVAL_START, end),
        (Kind.EVAL_STOP, end),
        (Kind.QUALITY, end | {"value": run.target.threshold}),
        (Kind.RUN_STOP, end | {"status": "success"}),
    )
    return [Event(kind, 0.0, 0, data) for kind, data in kinds]
