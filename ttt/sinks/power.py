"""power/node_<k>.txt: the power of one node in the form of MLPerf's power logs.

MLCommons' result_summarizer can read it. What it says is of GPUs and processors, not of the plug,
so it is no measurement by MLPerf's power rules (MLCommons power_measurement.adoc).
"""

import logging
import re
from pathlib import Path

from mlperf_logging.mllog import constants
from mlperf_logging.mllog.mllog import MLLogger

import ttt
from ttt.telemetry.power import Spent


def write_power(path: Path, node: Spent) -> None:
    """Write the readings of one node; power in watts, each the mean since the one before.

    There is no power supply between a counter and what it counts, so its efficiency is 1.
    """
    path.parent.mkdir(exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    logger = logging.Logger("power", logging.INFO)
    logger.addHandler(handler)
    folder = re.escape(str(Path(ttt.__file__).parent.parent))
    log = MLLogger(logger, default_stack_offset=1, root_dir=folder)
    begin, end = round(node.begin * 1000), round(node.end * 1000)
    log.event("conversion_eff", 1.0, time_ms=begin)
    log.start(constants.POWER_MEASUREMENT_START, time_ms=begin)
    for moment, watts in node.watts:
        log.event(constants.POWER_READING, watts, time_ms=round(moment * 1000))
    log.end(constants.POWER_MEASUREMENT_STOP, time_ms=end)
    handler.close()
