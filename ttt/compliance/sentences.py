"""Turns the engine's messages, a page each, into one line each that keeps the rule's own words.

Works on text alone. May not know how a log was checked.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable

from ttt.compliance.log import Log
from ttt.compliance.records import TOKEN
from ttt.errors import one_line

_BROKEN = re.compile(
    r"CHECK for '(?P<key>.*?)' failed in line (?P<index>\d+):\n(?P<text>.*?)\n"
    r"failed test: (?P<rule>.*?)\ncurrent context",
    re.DOTALL,
)
_RAISED = re.compile(
    r"Failed executing CHECK code:\n(?P<rule>.*?)\ntriggered by line:\n(?P<text>.*?)\n"
    r"current context",
    re.DOTALL,
)
_UNREADABLE = re.compile(
    r"Failed executing code \w+ code triggered by line :\n(?P<text>.*)", re.DOTALL
)
_NEVER = re.compile(r"Failed checks for (?P<key>.*?) : (?P<rule>.*)", re.DOTALL)
_END = re.compile(
    r"(failed test: |Failed executing CHECK code:\n)(?P<rule>.*?)\ncurrent", re.DOTALL
)


def sentences(messages: Iterable[str], log: Log) -> list[str]:
    """One line for each broken rule, with the first place where it is broken.

    Args:
        messages: What the engine would have printed.
        log: The log that was judged; gives the line numbers.
    """
    first: dict[str, str] = {}
    times: Counter[str] = Counter()
    lines = _Lines(log)
    for message in messages:
        rule, text = _sentence(message, lines)
        first.setdefault(rule, text)
        times[rule] += 1
    return [
        plain(text) + (f" (and {times[rule] - 1} more)" if times[rule] > 1 else "")
        for rule, text in first.items()
    ]


class _Lines:
    """Finds the lines of a log's records; it looks each text up and does not search the log."""

    def __init__(self, log: Log) -> None:
        self._records = log.records
        self._first: dict[str, int] = {}
        for record in log.records:
            self._first.setdefault(record.text, record.line)

    def at(self, index: int) -> str:
        """The record with this number, as the engine counts them."""
        return f"line {self._records[index].line}"

    def of(self, text: str) -> str:
        """The first record with this text."""
        return f"line {self._first[text]}" if text in self._first else "a record"


def _sentence(message: str, lines: _Lines) -> tuple[str, str]:
    """What identifies the rule, and the sentence."""
    if match := _BROKEN.match(message):
        what = f"{lines.at(int(match['index']))}: {_found(match['text'])}"
        return f"{match['key']} {match['rule']}", f"{what} breaks the rule {match['rule']}"
    if match := _RAISED.match(message):
        what = f"{lines.of(match['text'])}: {_found(match['text'])}"
        return match["rule"], f"{what} cannot meet the rule {match['rule']}"
    if match := _UNREADABLE.match(message):
        what = f"{lines.of(match['text'])}: {_found(match['text'])}"
        return what, f"{what} cannot be used by later rules"
    if match := _NEVER.match(message):
        return message, f"no {match['key']} meets the rule {match['rule']}"
    if match := _END.match(message):
        return message, f"the log as a whole breaks the rule {match['rule']}"
    return message, message


def plain(text: str, limit: int = 360) -> str:
    """One printable line: a log may hold line breaks and terminal escapes."""
    text = one_line(" ".join(text.split()))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _found(text: str) -> str:
    """The record as key = value and the metadata that rules look at."""
    try:
        record = json.loads(text[len(TOKEN) :])
        metadata = record["metadata"]
        if isinstance(metadata, dict):  # where in the source a record came from is in no rule
            metadata = {name: metadata[name] for name in metadata if name not in ("file", "lineno")}
        value, beside = json.dumps(record["value"]), json.dumps(metadata)
    except ValueError:  # the engine makes one of all evaluations, which is in no line
        return "all evaluations together"
    except RecursionError:
        return "a record that is nested too deeply"
    return f"{record['key']} = {_short(value)} with {_short(beside)}"


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
