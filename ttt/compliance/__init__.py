"""Judges one result log with MLPerf's own compliance engine, in this process.

The engine and its rules are those of the installed `mlperf_logging`; nothing of them is repeated
here. Official benchmarks meet their official rules. A workload of our own meets the same common
rules, with the records of `ttt.compliance.ours` instead of a benchmark's: MLPerf-style, not MLPerf.

May not know run folders, configurations or torch: a worker calls this for the log it just wrote.
Not for threads: the engine keeps its queue of rule files in a module variable.
"""

from ttt.compliance.check import Verdict, check_file, check_log, require_known
from ttt.compliance.ours import (
    LABEL,
    bare_command,
    is_ours,
    ruleset_of_rules,
    write_rules,
)
from ttt.compliance.rulesets import (
    SEEDS_CHECKED,
    SEEDS_RULED,
    at_least,
    init_minutes,
    newest_ruleset,
    official_ids,
    reference_batches,
    rulesets,
    runs_needed,
    target_of,
    usage_of,
)

__all__ = [
    "LABEL",
    "SEEDS_CHECKED",
    "SEEDS_RULED",
    "Verdict",
    "at_least",
    "bare_command",
    "check_file",
    "check_log",
    "init_minutes",
    "is_ours",
    "newest_ruleset",
    "official_ids",
    "reference_batches",
    "require_known",
    "ruleset_of_rules",
    "rulesets",
    "runs_needed",
    "target_of",
    "usage_of",
    "write_rules",
]
