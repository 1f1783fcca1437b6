"""How a run ended, in a line for people; the record keeps its own words."""

import re

from rich.text import Text

from ttt.errors import one_line
from ttt.events import Event

# How `ttt.watcher` begins its reason where a limit of the target has passed.
_LIMIT = re.compile(r"target\.max_(?:epochs|seconds)=\S+ passed")


def line(event: Event, started: float, best: Event | None) -> Text:
    """The line on a verdict; it says "not reached" if a limit ended the run before its target.

    Args:
        event: The RUN_STOP.
        started: When the clock started; 0: it did not.
        best: The evaluation with the best quality; None if there is none.
    """
    status, reason = event.data["status"], event.data["reason"]
    if status == "aborted" and (limit := _LIMIT.match(reason)):
        status, reason = "not reached", limit[0] + _best(best, event)
    colour = "green" if status == "success" else "red"
    seconds = f" after {event.time - started:.2f} s" if started else ""
    return Text.assemble((status, f"bold {colour}"), f"{seconds}: {one_line(reason)}")


def _best(best: Event | None, end: Event) -> str:
    if best is None:
        return ""
    data = best.data
    when = f"at epoch {data['epoch']:.4g} of {end.data['epoch']:.4g}"
    return f"; best {data['metric']} {data['value']:.4f} {when}"
