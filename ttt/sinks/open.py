"""Opens the sinks of a run: its record, the MLPerf log, the summary, the console, a tracker.

A tracker is any sink that a configuration names (`tracking._target_`). It is made with the settings
of its node and

    folder   the run folder
    summary  the `Summary` of the run: asked at the end, it has the result
    resumed  whether the run goes on in new processes, with its clock running

and gets every event after the record and before all others. It is closed after all others but the
record, so that one that hangs keeps no result.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt import config
from ttt.errors import ConfigError, TttError, where_failed
from ttt.events import Event
from ttt.protocols import Sink
from ttt.run_folder import RunFolder
from ttt.schema.run import RunConfig
from ttt.sinks.console import Console
from ttt.sinks.jsonl import JsonLines
from ttt.sinks.mllog import MlperfLog
from ttt.sinks.summary import Summary
from ttt.terminal import Terminal


def open_sinks(
    run_config: RunConfig, folder: Path, terminal: Terminal, recalled: Sequence[Event]
) -> list[Sink]:
    """Where rank 0's events go; the first is the record.

    Args:
        run_config: The run.
        folder: The run folder.
        terminal: What a person sees.
        recalled: What the record holds already, of earlier processes of this run.

    Raises:
        ConfigError: There is no such tracker, it is no tracker, or a user's own failed at once.
        LaunchError: Another process writes the record.
    """
    files = RunFolder(folder)
    record = JsonLines(files.events)
    summary = Summary(files.summary)
    for event in recalled:
        summary.write(event)
    resumed = bool(recalled)
    trackers: list[Sink] = []
    if hasattr(run_config.tracking, "_target_"):
        given = {"folder": folder, "summary": summary, "resumed": resumed}
        trackers.append(_tracker(run_config.tracking, given))
    return [
        record,
        *trackers,  # closed after all that matters is written
        MlperfLog(files.result(run_config.run), resumed=resumed),
        summary,
        Console(terminal, summary, str(folder), brief=run_config.runs > 1),
    ]


def _tracker(node: Any, given: Mapping[str, Any]) -> Sink:
    try:
        tracker: Sink = config.instantiate("tracking", node, **given)
    except TttError:
        raise
    except Exception as error:
        if node._target_.startswith("ttt."):  # a defect of ttt keeps its traceback
            raise
        raise ConfigError(
            [
                f"tracking._target_={node._target_} cannot be made: {where_failed(error)}; change"
                " that class or its settings, or type tracking=none"
            ]
        ) from error
    return tracker
