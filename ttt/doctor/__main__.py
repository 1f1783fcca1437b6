"""One process of `ttt doctor`: `python -m ttt.doctor MESSAGE`, what the command becomes by exec.

MESSAGE is JSON: the frozen configuration, why `ttt run` would refuse it, the module that knows its
kind of data set, and the file to write, if any. Other ranks than 0 are given "-" and get the
message from rank 0. Without torch the checks that need none are made.
"""

from ttt import signals

if __name__ == "__main__":
    signals.begin()

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ttt import scratch, streams
from ttt.distributed.rank import Placement, from_environment
from ttt.doctor import show
from ttt.doctor.checks import WITHOUT_TORCH
from ttt.doctor.examination import Context, examine, host, look_locally
from ttt.doctor.findings import Finding, Level
from ttt.errors import LAUNCH_FAILED, OK, TttError
from ttt.errors import show as show_error
from ttt.signals import Interrupted, raising
from ttt.terminal import Terminal


def main(arguments: list[str]) -> int:
    """Examine, report, and return the exit code: 5 if anything failed."""
    streams.prepare()
    signals.install()
    return streams.close(_attempt(arguments))


def _attempt(arguments: list[str]) -> int:
    try:
        with raising():
            return consult(None if arguments[0] == "-" else arguments[0], from_environment())
    except TttError as error:
        show_error(error)
        return error.exit_code
    except Interrupted as stopped:
        print(f"ttt: {stopped}", file=sys.stderr)
        return stopped.exit_code


def consult(text: str | None, placement: Placement | None) -> int:
    """Make the checks; rank 0, which has the message, shows them as they are made."""
    message: dict[str, Any] = json.loads(text) if text else {}
    findings: list[Finding] = []
    console = Terminal()

    def report(made: Iterable[Finding]) -> None:
        for finding in made:
            findings.append(finding)
            if message:
                console.print(show.line(finding, console.width), soft_wrap=True)

    context = Context(placement)
    look_locally(context, WITHOUT_TORCH)
    nodes: int | None = 1
    if importlib.util.find_spec("torch"):
        # Not imported above: torch may be absent.
        collective = importlib.import_module("ttt.doctor.collective")
        nodes = collective.meet(context, text, report)
    elif message:
        # The ranks cannot meet without torch: rank 0 examines its node as a process alone.
        report(examine(replace(context.joined(message), placement=None), WITHOUT_TORCH))
    if message:
        console.print(show.closing(findings))
        if message["json"]:
            show.write(message["json"], host(), context.place.size, nodes, findings)
    elif nodes is None:  # rank 0 does not know what is wrong here
        for finding in findings:
            if finding.level is Level.failure:
                where = f"rank {context.place.rank} on {host()}"
                print(f"ttt: {where}: {finding.name}: {finding.text}", file=sys.stderr)
    return OK if nodes is not None and show.healthy(findings) else LAUNCH_FAILED


if __name__ == "__main__":
    scratch.take()
    sys.exit(main(sys.argv[1:]))
