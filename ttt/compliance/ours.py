"""The rule file for workloads of our own: the installed common rules, with records that need more.

The engine reads what is written here; the official command alone can use it, too. The common
rules, and those of the closed division for all its benchmarks, are taken from the installed package
when the file is written; only what differs is below.

Our records differ from an official benchmark's in what a number from a stranger needs most. The log
itself must state the target, and the run must end, successfully, at the evaluation that reached it.
May not know any log or run folder.
"""

import re
import shlex
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from ttt import foreign
from ttt.compliance.rulesets import ENGINE, init_minutes, load, official_ids, rulesets
from ttt.foreign import ForeignError

LABEL = "MLPerf-style, not an MLPerf benchmark"

# In a rule, v is the record with its value and metadata, s what earlier records left behind. CHECK
# and POST count as broken when they raise; ATLEAST_ONE_CHECK, which follows both, may not raise.
_NUMBER = "type({0}) in (int, float) and math.isfinite({0})"
_REACHED = (
    "s.get('target_accuracy') is not None and type(v['value']) in (int, float) and "
    "(v['value'] >= s['target_accuracy'] if s['higher_is_better']"
    " else v['value'] <= s['target_accuracy'])"
)

_REPLACED: dict[str, dict[str, Any]] = {
    "target_accuracy": {
        "REQ": "EXACTLY_ONE",
        "CHECK": [
            _NUMBER.format("v['value']"),
            "type(v['metadata']['higher_is_better']) is bool",
            "s.get('target_accuracy') is None",  # two records could disagree about the direction
        ],
        "POST": (
            "s['higher_is_better'] = v['metadata'].get('higher_is_better'); "
            "s['target_accuracy'] = v['value'] if type(v['value']) in (int, float) else None"
        ),
    },
    "eval_accuracy": {
        "REQ": "AT_LEAST_ONE",
        "CHECK": [
            "s['run_started']",
            "not s['run_stopped']",
            "s.get('target_accuracy') is not None",
            "'epoch_num' in v['metadata'] and 'samples_count' in v['metadata']",
            _NUMBER.format("v['value']"),
        ],
        "POST": f"s['target_reached'] = {_REACHED}",
        "ATLEAST_ONE_CHECK": "s.get('target_reached') is True",
    },
    "seed": {"REQ": "EXACTLY_ONE", "CHECK": "type(v['value']) is int"},
    "global_batch_size": {
        "REQ": "EXACTLY_ONE",
        "CHECK": "is_integer(v['value']) and v['value'] > 0",
    },
}

_STRICTER: dict[str, list[str]] = {
    "run_stop": [
        "v['metadata']['status'] == 'success'",
        "s.get('target_reached') is True",
    ],
}


def _division(ruleset: str) -> dict[str, Any]:
    """The official record goes on to the list of official benchmarks; the limits are the same."""
    opened, closed = (init_minutes(None, ruleset, division) for division in ("open", "closed"))
    return {
        "REQ": "EXACTLY_ONE",
        "CHECK": "v['value'] in ['closed', 'open']",
        "POST": f"s['compile_time_mins'] = {opened} if v['value'] == 'open' else {closed}",
    }


def _benchmark() -> dict[str, Any]:
    return {
        "REQ": "EXACTLY_ONE",
        "CHECK": [
            "type(v['value']) is str and v['value'].strip() != ''",
            f"v['value'].strip().lower() not in {sorted(official_ids())}",
        ],
    }


def _name(record: dict[str, Any]) -> str | None:
    name: str | None = record.get("KEY", {}).get("NAME")
    return name


def _ours(official: dict[str, Any], replaced: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Our form of one common record: replaced, made stricter, or as it is."""
    key, name = official.get("KEY"), _name(official)
    if key is None or name is None:
        return official
    if name in replaced:
        return {"KEY": {"NAME": name, **replaced[name]}}
    if name in _STRICTER:
        checks = key["CHECK"] if isinstance(key["CHECK"], list) else [key["CHECK"]]
        return {"KEY": {**key, "CHECK": [*checks, *_STRICTER[name]]}}
    return official


@cache
def _rules(ruleset: str) -> str:
    folder = ENGINE / f"training_{ruleset}"
    common = load(folder / "common.yaml") + load(folder / "closed_common.yaml")
    common = [record for record in common if _name(record) != "submission_benchmark"]
    present = {_name(record) for record in common}
    replaced = {"submission_division": _division(ruleset)} | _REPLACED
    added = {"submission_benchmark": _benchmark()} | {
        name: record for name, record in replaced.items() if name not in present
    }
    records = [_ours(record, replaced) for record in common]
    records += [{"KEY": {"NAME": name, **record}} for name, record in added.items()]
    head = (
        f"# {LABEL}.\n"
        f"# The common rules of training ruleset {ruleset} of mlperf-logging"
        f" {version('mlperf-logging')}, with the records ttt\n"
        "# replaces or adds for a workload of its own. To check a log against them:\n"
        f"#   {bare_command('THIS_FILE', ruleset, 'RESULT_FILE')}\n"
    )
    return head + yaml.safe_dump(records, sort_keys=False, width=100)


def write_rules(path: str | Path, ruleset: str | None = None) -> None:
    """Write the rules for a workload of our own.

    Args:
        path: The file to write.
        ruleset: The training ruleset to take the common rules from; None is the newest installed.
    """
    Path(path).write_text(_rules(ruleset or rulesets()[0]), encoding="utf-8")


def is_ours(path: str | Path) -> bool:
    """Whether a file is as `write_rules` writes it here; any other rule file may hold code."""
    ruleset = ruleset_of_rules(path)
    if ruleset not in rulesets():
        return False
    try:
        return foreign.read(Path(path)).decode("utf-8", "replace") == _rules(ruleset)
    except ForeignError:
        return False


def ruleset_of_rules(path: str | Path) -> str | None:
    """The ruleset that a file of `write_rules` was made from; None if there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace", opener=foreign.regular) as file:
            head = "".join(islice(file, 3))
    except OSError:
        return None
    match = re.search(r"training ruleset (\S+) of mlperf-logging", head)
    return match[1] if match else None


def bare_command(rules: str | Path, ruleset: str, log: str | Path) -> str:
    """What to type to repeat a check of a workload of our own without ttt.

    Args:
        rules: The rule file; the engine looks for a relative path inside its own package, so this
            must be absolute.
        ruleset: The ruleset the rules were written for.
        log: The result file.
    """
    return (
        f"python -m mlperf_logging.compliance_checker --usage training --ruleset {ruleset}"
        f" --config {shlex.quote(str(rules))} {shlex.quote(str(log))}"
    )
