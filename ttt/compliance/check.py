"""Runs the official engine over one log and says what it found, whatever is in the file.

May not know which run a log belongs to, nor print anything.
"""

import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import yaml
from mlperf_logging.compliance_checker import mlp_compliance, mlp_parser

from ttt.compliance.ours import LABEL, RULES_FILE, write_rules
from ttt.compliance.rulesets import (
    ENGINE,
    USAGES,
    official_ids,
    rulesets,
    rulesets_of,
    usage_of,
)
from ttt.compliance.scan import Scan, scan
from ttt.compliance.sentences import plain, sentences
from ttt.errors import ConfigError

# The rules want a run in one piece; the engine does not know the key by which ttt says otherwise.
RESUMED = (
    "the run was suspended and resumed in other processes (key resumed), which the closed division"
    " does not allow; only an open result may be claimed"
)

_START = 1 << 20  # bytes that tell what a file is


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say about one log.

    Attributes:
        path: The log.
        benchmark: What the log says it is; None if it does not say.
        official: Whether that is an id of an official benchmark, judged by its official rules.
        ruleset: The ruleset applied; None if no rules were.
        division: What the log says; None if it does not say.
        passed: Whether every rule was kept.
        problems: A sentence for each broken rule.
        warnings: Sentences that do not change the verdict.
    """

    path: Path
    benchmark: str | None
    official: bool
    ruleset: str | None
    division: str | None
    passed: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What a passed check is worth."""
        return "official MLPerf rules" if self.official else LABEL


def check_file(path: str | Path, ruleset: str | None = None) -> Verdict:
    """Check one result log.

    An official benchmark meets the official rules, a workload of our own the rules of
    `ttt.compliance.ours`. A log that does not say which benchmark it is meets the common rules of
    the newest ruleset, which it cannot pass.

    Args:
        path: The log. Anything may be in it; what cannot be read is a verdict, not an exception.
        ruleset: The ruleset to apply; None is the newest that has the benchmark.

    Raises:
        ConfigError: The installed package does not have this ruleset.
    """
    require_known(ruleset)
    path = Path(path)
    try:
        log = scan(path)
    except OSError as error:
        return _unread(path, f"the file cannot be read: {error.strerror}")
    if log.endless or not log.lines:
        return _unread(path, *(log.endless or [_what_it_is(path)]))

    benchmark, division = log.word("submission_benchmark"), log.word("submission_division")
    official = benchmark in official_ids()
    able = rulesets_of(benchmark or "", "open" if division == "open" else "closed")
    if official and not able and ruleset is None:
        why = f"no installed ruleset can check {benchmark}"
        return Verdict(path, benchmark, True, None, division, False, (why,))
    chosen = ruleset or (able or rulesets(usage_of(benchmark)))[0]
    problems, warnings = _judge(log, chosen)
    if problems and ruleset is None:
        # Rules grow: a log from an earlier round is not wrong for lacking what came later.
        older = next((name for name in able[1:] if not _judge(log, name)[0]), None)
        warnings += [f"the log keeps every rule of ruleset {older}"] if older else []
    if "resumed" in log.first and division != "open":
        problems.append(RESUMED)
    if not problems and any(status != "success" for status in log.statuses):
        # The engine passes any status; MLPerf's scoring counts such a run as not converged.
        warnings.append(plain(f"run_stop has status {log.statuses}, so the run has no score"))
    return Verdict(
        path, benchmark, official, chosen, division, not problems, tuple(problems), tuple(warnings)
    )


def require_known(ruleset: str | None) -> None:
    """Refuse a ruleset that cannot be applied; None is any.

    Raises:
        ConfigError: The installed package does not have this ruleset.
    """
    allowed = dict.fromkeys(name for usage in USAGES for name in rulesets(usage))
    if ruleset is not None and ruleset not in allowed:
        raise ConfigError(
            [
                f"ruleset {ruleset!r} is not in the installed mlperf-logging; allowed:"
                f" {', '.join(allowed)}; --ruleset {rulesets()[0]}"
            ]
        )


def _unread(path: Path, *why: str) -> Verdict:
    return Verdict(path, None, False, None, None, False, why)


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        return "the file is empty"
    if b"\0" in start:
        return "the file is binary, not a log"
    return "the file has no :::MLLOG record, so it is not an MLPerf log"


def _judge(log: Scan, ruleset: str) -> tuple[list[str], list[str]]:
    """Problems and warnings by one ruleset: the official one, or ours for a workload of our own."""
    benchmark = log.word("submission_benchmark")
    if benchmark is None or benchmark in official_ids():
        return _run_engine(log, ruleset, f"{usage_of(benchmark)}_{ruleset}/common.yaml")
    with tempfile.TemporaryDirectory(prefix="ttt-") as folder:
        rules = Path(folder).resolve() / RULES_FILE
        write_rules(rules, ruleset)
        return _run_engine(log, ruleset, str(rules))


def _run_engine(log: Scan, ruleset: str, config: str) -> tuple[list[str], list[str]]:
    """What the engine's own command line does, step by step, without its logging and crashes."""
    checker = mlp_compliance.make_checker("training", ruleset, quiet=False, werror=False)
    try:
        records, damaged = _parse(log, ruleset)
    except Exception as error:  # by a damaged record; the command line ends in this traceback
        return log.damage or [f"the log cannot be parsed: {plain(repr(error))}"], []
    messages = _Messages()
    checker.put_message = messages.put_message
    checker.overwrite_messages = messages.overwrite_messages
    problems = list(log.damage or ["a record cannot be parsed"]) if damaged else []
    problems += _apply(checker, records, config)
    problems += sentences((message for _, message in messages.kept), log)
    return problems, sentences(checker.warnings.values(), log)


def _parse(log: Scan, ruleset: str) -> tuple[list[Any], bool]:
    """The records as the engine's parser makes them, and whether there were others it could not.

    It would read the file again, and cut each line by an expression that takes longer than all else
    together. That is done: only its own parsing of a record is left.
    """
    parser = import_module(f"{mlp_parser.__name__}.ruleset_{ruleset.replace('.', '')}")
    records, damaged = [], False
    for index, text in enumerate(log.texts):
        try:
            records.append(parser.string_to_logline(index, text))
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
        """The records of a rule file, which nobody changes."""
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
            if name != config and not rules.resolve(strict=True).is_relative_to(ENGINE.resolve()):
                raise FileNotFoundError(name)
            with _rules_parsed_once():
                checker.configured_checks(records, str(rules))
        except FileNotFoundError:
            stopped.append(plain(f"there are no rules {name}"))
        except Exception as error:  # by a value of a type the rules do not foresee
            stopped.append(plain(f"the rules {Path(name).name} cannot judge a value: {error!r}"))
    return stopped
