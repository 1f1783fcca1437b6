"""Runs the official engine over one log, by one ruleset, and puts what it finds into sentences.

May not know where a log lies, nor choose its ruleset.
"""

import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import yaml
from mlperf_logging.compliance_checker import mlp_compliance, mlp_parser

from ttt import signals
from ttt.compliance.log import Log
from ttt.compliance.ours import write_rules
from ttt.compliance.rulesets import ENGINE, is_official, official_ids, usage_of
from ttt.compliance.sentences import plain, sentences
from ttt.run_folder import RULES

# The engine, of a key of which one record must meet the target, and none did.
_MISSED = tuple(f"Failed checks for {key}" for key in ("eval_", "aggregated_eval_", "averaged_"))


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of the engine as sentences, and whether the run missed its target."""

    problems: list[str]
    warnings: list[str] = field(default_factory=list)
    missed: bool = False


def judge(log: Log, ruleset: str, werror: bool) -> Findings:
    """Judge a log by one ruleset: the official one, or ours for a workload of our own.

    Args:
        log: A log without endless lines.
        ruleset: An installed one.
        werror: Whether what the engine warns of is a problem.
    """
    if log.benchmark is None or log.benchmark in official_ids():
        usage = usage_of(log.benchmark)
        return _run_engine(log, ruleset, f"{usage}_{ruleset}/common.yaml", werror)
    with tempfile.TemporaryDirectory(prefix="ttt-") as folder:
        rules = Path(folder).resolve() / RULES
        write_rules(rules, ruleset)
        return _run_engine(log, ruleset, str(rules), werror)


def _run_engine(log: Log, ruleset: str, config: str, werror: bool) -> Findings:
    """What the engine's own command line does, step by step, without its logging and crashes."""
    checker = mlp_compliance.make_checker("training", ruleset, quiet=False, werror=werror)
    try:
        records, damaged = _parse(log, ruleset)
    except Exception as error:  # by a damaged record; the command line ends in this traceback
        signals.obey()
        return Findings(log.damage or [f"the log cannot be parsed: {plain(repr(error))}"])
    messages = _Messages()
    checker.put_message = messages.put_message
    checker.overwrite_messages = messages.overwrite_messages
    problems = list(log.damage or ["a record cannot be parsed"]) if damaged else []
    problems += _apply(checker, records, config)
    kept = [message for _, message in messages.kept]
    return Findings(
        problems=problems + sentences(kept, log),
        warnings=sentences(checker.warnings.values(), log),
        missed=any(message.startswith(_MISSED) for message in kept),
    )


def _parse(log: Log, ruleset: str) -> tuple[list[Any], bool]:
    """The records as the engine's parser makes them, and whether it failed on others.

    It would read the file again, and cut each line by an expression that takes longer than all else
    together. That is done: only its own parsing of a record is left.
    """
    parser = import_module(f"{mlp_parser.__name__}.ruleset_{ruleset.replace('.', '')}")
    records, damaged = [], False
    for index, record in enumerate(log.records):
        try:
            records.append(parser.string_to_logline(index, record.text))
        except ValueError:
            damaged = True
    return records, damaged


class _Messages:
    """Keeps every message of the engine, which by itself keeps only the last about each key."""

    def __init__(self) -> None:
        self.kept: list[tuple[str | None, str]] = []

    def put_message(self, message: str, key: str | None = None) -> None:
        self.kept.append((key, message))

    def overwrite_messages(self, keys: Container[str]) -> None:
        """A later rule file has its own rules for these keys."""
        self.kept = [(key, message) for key, message in self.kept if key is None or key not in keys]


class _ParsedRules:
    """What the engine uses of `yaml`, with a memory: parsing rules is most of a check."""

    BaseLoader = yaml.BaseLoader

    @staticmethod
    def load(file: TextIO, Loader: type[yaml.BaseLoader]) -> Any:  # noqa: N803  as in yaml
        """The records of a rule file; they never change."""
        return _parsed(file.read())


@lru_cache(maxsize=256)
def _parsed(rules: str) -> Any:
    return yaml.load(rules, Loader=yaml.BaseLoader)


@contextmanager
def _rules_parsed_once() -> Iterator[None]:
    mlp_compliance.yaml = _ParsedRules
    try:
        yield
    finally:
        mlp_compliance.yaml = yaml


def _apply(checker: mlp_compliance.ComplianceChecker, records: list[Any], config: str) -> list[str]:
    """Apply a rule file and those it leads to; returns what stopped any of them short.

    Rules lead on to files named by the log (`{division}_common.yaml`) and execute what they find
    there, so nothing outside the engine's folder is followed.
    """
    stopped = []
    queue = mlp_compliance.enqueued_configs
    queue[:] = [config]  # an exception in the file before may have left some
    while queue:
        name = queue.pop(0)
        rules = ENGINE / name
        try:
            if name != config and not is_official(rules):
                raise FileNotFoundError(name)
            with _rules_parsed_once():
                checker.configured_checks(records, str(rules))
        except FileNotFoundError:
            stopped.append(plain(f"there are no rules {name}"))
        except Exception as error:  # by a value of a type the rules do not foresee
            signals.obey()
            stopped.append(plain(f"the rules {Path(name).name} cannot judge a value: {error!r}"))
    return stopped
