"""How a result was made, for benchmarks/<benchmark>/implementations/<system>: what others repeat.

Written from what every run folder has kept: the frozen configuration, the command, the commit and
the versions. What was not kept is not guessed. May not write a file.
"""

import shlex
from collections.abc import Iterable
from typing import Any

from ttt.submission.entry import Entry, configuration
from ttt.submission.plan import Result

CONSTRAINTS, SCRIPT, README = "constraints.txt", "run_and_time.sh", "README.md"


def files(result: Result) -> dict[str, str]:
    """The contents of each file, by its name.

    Args:
        result: Runs of ttt; of somebody else's there is nothing to tell but where they came from.
    """
    if not all(entry.ours for entry in result.entries):
        return {README: _of_others(result)}
    found = {f"config_{number}.yaml": text for number, text in _configurations(result)}
    commands = [_command(entry) for entry in result.entries]
    lines = dict.fromkeys(shlex.join(command) for command in commands if command)
    script = ["#!/bin/sh", "# What was typed for these results.", "set -e", *lines]
    packages = _agreed(entry.environment.get("packages") for entry in result.entries)
    # Of "2.13.0+cpu" no index but its maker's own knows what follows the plus.
    pinned = [
        f"{name}=={str(version).partition('+')[0]}" for name, version in packages.items() if version
    ]
    return found | {
        SCRIPT: "\n".join(script) + "\n",
        CONSTRAINTS: "".join(f"{line}\n" for line in pinned),
        README: _readme(result, list(lines)),
    }


def _configurations(result: Result) -> Iterable[tuple[int, str]]:
    for number, entry in enumerate(result.entries):
        if (text := configuration(entry.path)) is not None:
            yield number, text


def _command(entry: Entry) -> list[str]:
    """What was typed."""
    command: list[str] = entry.environment.get("command") or []
    return command


def _agreed(values: Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """What is the same in all runs, nothing if it is not."""
    found = [value or {} for value in values]
    return found[0] if all(value == found[0] for value in found) else {}


def _readme(result: Result, commands: list[str]) -> str:
    """What to do to get these results again, and what each came from."""
    first = result.entries[0].environment
    git = _agreed(entry.environment.get("git") for entry in result.entries)
    commit = git.get("commit")
    checkout = [f"git checkout {commit}"] if commit else []
    table = [
        f"| result_{number}.txt | {_shown(entry.seed)} | {_shown(entry.processes)} |"
        f" config_{number}.yaml |"
        for number, entry in enumerate(result.entries)
    ]
    changed = ["The working tree had uncommitted changes.", ""] if git.get("dirty") else []
    return "\n".join(
        [
            f"# {result.benchmark} on {result.system}",
            "",
            f"Trained and timed by ttt {_shown(first.get('ttt'))}, commit {_shown(commit)}, with"
            f" Python {_shown(first.get('python'))}.",
            "",
            *changed,
            "## To reproduce",
            "",
            "In a clone of ttt, with the data set prepared as its README says:",
            "",
            "```sh",
            *checkout,
            f"pip install -c {CONSTRAINTS} '.[dali,digits,text]'",
            *commands,
            "```",
            "",
            f"The commands are those in `{SCRIPT}`; each `config_<i>.yaml` is the whole"
            " configuration of `result_<i>.txt`, as the run froze it before it began.",
            "",
            "| result | seed | processes | configuration |",
            "|---|---|---|---|",
            *table,
            "",
        ]
    )


def _of_others(result: Result) -> str:
    return (
        f"# {result.benchmark} on {result.system}\n\nThese results were packaged from a tree of"
        " results without its folder of implementations; see the submitter's own repository.\n"
    )


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)
