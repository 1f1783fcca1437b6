"""Starts one of MLCommons' tools so that no tree can make it execute a file or forge a verdict.

    python -m ttt.submission.confined package_checker TREE training 6.1.0

Their rule engine executes the rule file that a log's `submission_division` names. Here it executes
only files of the engine's own folder. A tool also logs names and values, which may hold line
breaks: here the text after a line break begins with a blank.
"""

import logging
import runpy
import sys
from typing import Any

from mlperf_logging.compliance_checker.mlp_compliance import ComplianceChecker

from ttt.compliance.rulesets import is_official


def confine() -> None:
    """Have the engine of this process refuse every rule file that is not an official one."""
    original = ComplianceChecker.configured_checks

    def configured_checks(self: Any, loglines: Any, config_file: str) -> None:
        if is_official(config_file):
            original(self, loglines, config_file)
        else:
            self.put_message(f"No rule file of MLCommons: {config_file}")

    ComplianceChecker.configured_checks = configured_checks


def mark_lines() -> None:
    """Have every message that is logged begin one line only: others begin with a blank."""
    make = logging.getLogRecordFactory()

    def factory(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        record.msg, record.args = "\n ".join(record.getMessage().splitlines()), ()
        return record

    logging.setLogRecordFactory(factory)


if __name__ == "__main__":
    tool = f"mlperf_logging.{sys.argv.pop(1)}"
    confine()
    mark_lines()
    runpy.run_module(tool, run_name="__main__", alter_sys=True)
