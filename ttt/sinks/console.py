"""What a person sees while a run goes on, and the result at the end.

On a terminal one live line is redrawn; anywhere else (a file, a CI log) plain lines come as things
happen. Nothing here computes a result: it shows what the events say.
"""

import math

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ttt.errors import one_line
from ttt.events import Event, Kind
from ttt.measurements import SHOWN
from ttt.sinks import verdict
from ttt.sinks.summary import Summary

_REDRAW_SECONDS = 0.25
_MEMORY = "peak memory"


class Console:
    """Shows the events of one run.

    Args:
        console: Where to print; a terminal gets the live line.
        summary: The result, gathered by a sink that gets every event before this one.
        folder: Name of the run folder, as the user would type it.
        brief: One of several runs: a table over all of them will tell the rest.
    """

    def __init__(
        self, console: RichConsole, summary: Summary, folder: str, *, brief: bool = False
    ) -> None:
        self._console = console
        self._summary = summary
        self._folder = folder
        self._brief = brief
        self._live: Live | None = None
        self._qualities: list[tuple[float, float]] = []  # (seconds, quality)
        self._config: Event | None = None
        self._started = 0.0
        self._shown = 0.0
        self._block = (0.0, 0)  # (time, samples) where the block began

    def write(self, event: Event) -> None:
        """Show one event."""
        match event.kind:
            case Kind.CACHE_CLEAR:
                self._print(Text(_cache_line(event), "dim"))
            case Kind.CONFIG:
                self._config = event
                self._print(_title(event))
                if tables := event.data.get("tables"):
                    self._print(Text(str(tables), "dim"))
            case Kind.RUN_START:
                self._started = event.time
                began = self._summary.result()["init_s"]
                self._print(Text(f"initialised in {began:.1f} s; the clock is running", "dim"))
                self._begin()
            case Kind.RESUMED:
                self._started = event.data["started"]
                self._print(_resumed_line(event))
                self._begin()
            case Kind.SUSPENDED:
                self._end()
                self._print(_suspended_line(event))
            case Kind.BLOCK_START:
                self._block = (event.time, event.data["samples"])
            case Kind.PROGRESS if self._live and event.time - self._shown >= _REDRAW_SECONDS:
                self._shown = event.time
                self._live.update(self._progress(event), refresh=True)
            case Kind.QUALITY:
                self._qualities.append((event.time - self._started, event.data["value"]))
                self._print(self._quality_line(event))
            case Kind.RUN_STOP:
                self._end()
                self._print(verdict.line(event, self._started, self._summary.best()))
            case Kind.WARNING:
                self._print(_led("warning", "yellow", one_line(f" {event.data['message']}")))

    def close(self) -> None:
        """Print the result, if the run came to one."""
        self._end()
        if self._summary.complete and not self._brief:
            self._print(_result(self._summary.result(), self._folder))

    def _print(self, what: object) -> None:
        (self._live.console if self._live else self._console).print(what)

    def _begin(self) -> None:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # Redrawn when something happened, not by a thread: none may compete with the training,
            # and at a breakpoint the debugger has the terminal to itself.
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _end(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _progress(self, event: Event) -> Text:
        seconds, samples = event.time - self._block[0], event.data["samples"] - self._block[1]
        rate = samples / seconds if seconds > 0 else math.nan
        loss = event.data["loss"]
        parts = [
            f"epoch {event.data['epoch']:.2f}",
            f"{event.time - self._started:.1f} s",
            f"{rate:,.0f} samples/s",
            f"loss {loss:.3f}" if loss is not None else "",
        ]
        if self._qualities and self._config:
            target = self._config.data["target"]
            parts.append(f"quality {self._qualities[-1][1]:.4f} of {target:.4f}")
        return Text("  ".join(part for part in parts if part), style="cyan")

    def _quality_line(self, event: Event) -> Text:
        data, seconds = event.data, event.time - self._started
        return Text.assemble(
            f"epoch {data['epoch']:>7.4g}   {data['metric']} {data['value']:.4f} ",
            (f"of {data['target']:.4f}", "dim"),
            f"   {seconds:7.2f} s   {data['samples'] / seconds:9,.0f} samples/s",
        )


def _led(word: str, style: str, rest: str) -> Text:
    """A line that begins with a word in colour."""
    return Text.assemble((word, style), rest)


def _title(event: Event) -> Text:
    data = event.data
    sign = ">=" if data["higher_is_better"] else "<="
    machine = data["accelerator_name"] or "CPU"
    plural = "es" if data["world_size"] > 1 else ""
    return _led(
        one_line(data["benchmark"]),
        "bold",
        f"  seed {data['seed']}  {data['metric']} {sign}"
        f" {data['target']:g}  {data['world_size']} process{plural} on {data['nodes']} x {machine}"
        f"  global batch {data['global_batch']}  {data['precision']}",
    )


def _cache_line(event: Event) -> str:
    nodes = event.data["nodes"]
    before, after = (sum(node[name] for node in nodes) for name in ("before_bytes", "after_bytes"))
    return (
        f"page cache cleared by {nodes[0]['method']}: {before / 1e6:,.1f} MB of the data set"
        f" before, {after / 1e6:,.1f} MB after"
    )


def _resumed_line(event: Event) -> Text:
    """The time of an interruption: the clock ran on, also for the training that was lost."""
    moved = event.data.get("moved")
    other = f" as {moved['now']} after {moved['before']}" if moved else ""
    return _led(
        "resumed",
        "yellow",
        f"{other} at step {event.step}, {event.time - event.data['started']:.1f} s on"
        f" the clock, {event.data['lost_s']:.1f} s of them lost",
    )


def _suspended_line(event: Event) -> Text:
    data, what = event.data, "it goes on from its newest checkpoint, or begins anew"
    if "bytes" in data:
        what = f"checkpoint of {data['bytes'] / 1e6:,.1f} MB in {data['save_s']:.1f} s"
    rest = f" at step {event.step}: {data['reason']}; {what}; the clock runs on"
    return _led("suspended", "yellow", one_line(rest))


def _result(summary: dict, folder: str) -> Table:  # type: ignore[type-arg]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in result_rows(summary):
        table.add_row(Text(name, "bold"), Text(one_line(text)))
    table.add_row(Text("run folder", "bold"), Text(one_line(folder)))
    return table


def _resumes(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    if not summary["resumed"]:
        return []
    other = f"; as {summary['moved']}" if summary["moved"] else ""
    text = f"{summary['resumed']} x; {summary['lost_s']:.1f} s lost are in the time{other}"
    return [("resumed", text)]


def _checkpoints(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """The cost of checkpoints."""
    if not summary["checkpoints"]:
        return []
    megabytes, seconds = summary["checkpoint_bytes"] / 1e6, summary["checkpoint_s"]
    text = f"{summary['checkpoints']} of {megabytes:,.1f} MB; {seconds:.2f} s on the clock"
    return [("checkpoints", text)]


def _batches(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """What the loader says of its batches, where it says anything."""
    found = [f"{name} {value:.3g}" for name, value in (summary["data"] or {}).items() if value]
    return [("batches", ", ".join(found))] if found else []


def _kept(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """The files that `keep` wrote, with their quality if it differs from the run's."""
    if not summary["kept"]:
        return []
    files, quality = summary["kept"]["files"], summary["kept"]["quality"]
    text = ", ".join(files) or "nothing"
    if quality not in (None, summary["quality"]):
        text += f"; {summary['metric']} of these predictions: {quality:.4f}"
    return [("kept", text)]


def _communication(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """Where there are other processes to wait for."""
    share = summary["communication_fraction"]
    if summary["world_size"] == 1 or share is None:
        return []
    text = f"{share:.1%} of forward and backward waits for the exchange of gradients, worst rank"
    return [("communication", text)]


def _spent(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """Energy and money, where they are known."""
    rows = []
    if summary["energy_j"] is not None:
        scope, rate = summary["energy"]["scope"], summary["samples_per_j"]
        text = f"{summary['energy_j']:,.0f} J ({scope} counters), {rate:.3g} samples/J"
        rows.append(("energy", text))
    if summary["cost"] is not None:
        rows.append(("cost", f"{summary['cost']:.3g} at {summary['price_per_hour']:g} a node-hour"))
    return rows


def _utilization(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """The share of the peak; in its place, what is wrong with one that cannot be."""
    share, peak = summary["utilization_fraction"], summary["peak_flop_per_s"]
    if share is not None:
        return [("utilization", f"{share:.2%} of a peak of {peak / 1e12:,.4g} TFLOP/s")]
    known = peak is not None and summary["flop_per_sample"] is not None
    reason = summary["utilization_reason"]
    return [("utilization", reason)] if known and reason else []


def _declared(summary: dict) -> dict[str, str]:  # type: ignore[type-arg]
    """The rows of all values that `ttt.measurements` says how to show, as far as they are known."""
    rows: dict[str, list[str]] = {}
    for name, shown in SHOWN.items():
        if summary[name] is not None:
            rows.setdefault(shown.row, []).append(shown.text(summary[name]))
    return {row: ", ".join(texts) for row, texts in rows.items()}


def result_rows(summary: dict) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    """The result as (name, text) rows, without rows for unknown values."""

    def known(key: str, form: str) -> list[str]:
        value = summary[key]
        return [] if value is None else [f"{value:{form}}"]

    target = f"{summary['metric']}, target {summary['target']:g}"
    rows = [
        ("time to train", _time(summary)),
        ("quality", [f"{each} {target}" for each in known("quality", ".4f")]),
        ("epochs", [f"{each}  ({summary['steps']} steps)" for each in known("epochs", ".4g")]),
    ]
    declared = _declared(summary)
    memory = declared.pop(_MEMORY, None)  # after what stands for the speed
    return [
        *((name, text) for name, texts in rows for text in texts),
        *declared.items(),
        *_batches(summary),
        *_checkpoints(summary),
        *_resumes(summary),
        *_communication(summary),
        *_utilization(summary),
        *([(_MEMORY, memory)] if memory else []),
        *_spent(summary),
        ("compliance", _verdict(summary)),
        *_kept(summary),
    ]


def _time(summary: dict) -> list[str]:  # type: ignore[type-arg]
    """The time to train, or the time after which the target was still not reached."""
    seconds, elapsed = summary["time_to_train_s"], summary["elapsed_s"]
    if seconds is None:
        return ["not reached" if elapsed is None else f"not reached in {elapsed:.2f} s"]
    interval = summary["eval_interval_s"]
    return [
        f"{seconds:.2f} s" + ("" if interval is None else f"  (evaluated every {interval:.2f} s)")
    ]


def _verdict(summary: dict) -> str:  # type: ignore[type-arg]
    """The checker's verdict, and the reason if the log fails."""
    compliance = summary["compliance"]
    if compliance["passed"] is None:
        return "not checked"
    label = "MLPerf" if compliance["official"] else "MLPerf-style, not an MLPerf benchmark"
    by = f"({label}, rules {compliance['ruleset']}, {compliance['division']})"
    if compliance["passed"]:
        return f"passed {by}"
    if summary["time_to_train_s"] is None:
        return f"FAILED: not reached {by}"
    first, *others = compliance["problems"] or ["ttt check says which rules the log breaks"]
    more = f", and {len(others)} more" if others else ""
    return f"FAILED: {first}{more} {by}"
