"""A run in Weights & Biases, while it goes on: `tracking=wandb`.

The clock never waits for it. `write` puts an event into a queue; a thread of the sink does all
else, and W&B's process writes and uploads. What cannot be tracked in time goes untracked: the run
folder has all of it, and `ttt report --wandb` rebuilds it from there.

Written for the API of wandb 0.31. `run.log` is never given a step: it drops steps that go back, as
those of a resumed run do. The coordinates are logged as values instead.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from ttt.errors import MissingExtra, TttError
from ttt.events import Event, Kind
from ttt.run_folder import WANDB
from ttt.schema.choices import TrackingMode
from ttt.schema.tracking import TrackingConfig
from ttt.sinks.series import Series, axes, folder_identity, frozen, machine, scalars, sweep_point
from ttt.sinks.summary import Summary

# For a run that was stopped: its process has 5 seconds to end (`ttt.signals`).
_HASTY_SECONDS = 2.0

UNTRACKED = "this run goes on untracked"  # in the record of a run of which W&B has a part at most

Mode = Literal["offline", "online"]

# W&B's own words for how to work; the environment's is the user's choice for this run.
_MODE = "WANDB_MODE"
_MODES: dict[str, Mode | None] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": None,
}


def mode_of(configured: Mode, variable: str | None) -> Mode | None:
    """How to track; None for not at all.

    Args:
        configured: tracking.mode.
        variable: WANDB_MODE, which comes before it; None or a word that W&B does not know counts
            for nothing.
    """
    return _MODES.get(variable or "", configured)


class Wandb:
    """Shows one run; only rank 0 has it.

    CONFIG, which has all that W&B needs, starts it; it gets ready while the model is warmed up. At
    INIT_STOP, the last moment off the clock, `write` waits for it.

    Args:
        folder: The run folder.
        summary: The result, gathered by another sink.
        resumed: Whether the clock runs already: then nothing is waited for.
        connect: Starts W&B's side of a run; for tests.
        settings: How it is to be shown, as in `TrackingConfig`.
    """

    def __init__(
        self,
        folder: Path,
        summary: Summary,
        *,
        resumed: bool = False,
        connect: Callable[..., Any] | None = None,
        **settings: Any,
    ) -> None:
        self._tracking = tracking = TrackingConfig(**settings)
        self._folder = folder
        self._summary = summary
        self._waits = not resumed
        self._mode = mode_of(TrackingMode(tracking.mode).value, os.environ.get(_MODE))
        self._connect = connect or begin
        self._queue: SimpleQueue[Event | None] = SimpleQueue()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._given_up = False
        self._whole = False
        self._thread: threading.Thread | None = None

    def write(self, event: Event) -> None:
        """Take one event; returns at once, but for INIT_STOP.

        Raises:
            TttError: W&B is not ready in time, had to stop, or is disabled (WANDB_MODE); the run
                goes on without it.
        """
        if event.kind is Kind.CONFIG:
            if self._mode is None:
                raise TttError(f"{_MODE}={os.environ[_MODE]} in the environment: {UNTRACKED}")
            self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
            self._thread.start()
        if self._thread is None:
            return
        self._queue.put(event)
        self._whole = self._whole or event.kind is Kind.COMPLIANCE
        if event.kind is Kind.INIT_STOP and self._waits:
            seconds = self._tracking.timeout_seconds
            if not self._ready.wait(seconds):
                self._give_up(f"was not ready within tracking.timeout_seconds={seconds:g}")
        if self._error is not None:
            self._give_up(f"had to stop: {type(self._error).__name__}: {self._error}")

    def close(self) -> None:
        """Let W&B finish, but not for long: at most `timeout_seconds`, less after an abort."""
        if self._thread is None:
            return
        self._queue.put(None)
        seconds = self._tracking.timeout_seconds if self._whole else _HASTY_SECONDS
        self._thread.join(seconds)
        log, where = logging.getLogger(__name__), Path(self._tracking.dir or self._folder) / WANDB
        if self._error is not None:
            log.warning("W&B had to stop at the end: %s", self._error)
        elif self._thread.is_alive():
            self._given_up = True
            missing = "what is missing: wandb sync %s"
            log.warning("W&B was not done within %g s; " + missing, seconds, where)

    def _give_up(self, why: str) -> None:
        self._given_up = True
        why = " ".join(why.split())
        raise TttError(f"W&B {why}; {UNTRACKED}, ttt report {self._folder} --wandb rebuilds it")

    def _work(self) -> None:
        """The thread: start W&B, pass rows on until the end, and leave it."""
        try:
            run = self._start(self._next())
            series = Series()
            while (event := self._queue.get()) and not self._given_up:
                if event.kind is Kind.INIT_STOP:
                    run.config.update(machine(self._folder))
                    self._ready.set()
                elif event.kind is Kind.SUSPENDED:
                    run.mark_preempting()
                elif row := series.row(event):
                    run.log(row)
            if not self._given_up:
                self._finish(run)
        except BaseException as error:  # any at all: the main thread records it, the run goes on
            self._error = error
            self._ready.set()

    def _next(self) -> Event:
        event = self._queue.get()
        assert event is not None
        return event

    def _start(self, config: Event) -> Any:
        facts, tracking = config.data, self._tracking
        assert self._mode is not None  # else there is no thread
        directory = Path(tracking.dir or self._folder)
        return self._connect(
            directory,
            mode=self._mode,
            timeout=tracking.timeout_seconds,
            project=tracking.project or facts["benchmark"],
            entity=tracking.entity,
            id=folder_identity(self._folder),
            name=self._folder.resolve().parent.name + "/" + self._folder.name,
            group=tracking.group or sweep_point(facts),
            job_type="train",
            tags=tracking.tags,
            config=axes(facts) | {"submission": facts["submission"]} | frozen(self._folder),
        )

    def _finish(self, run: Any) -> None:
        result = self._summary.result()
        run.summary.update(scalars(result))
        run.finish(exit_code=0 if result["status"] == "success" else 1)
        end()


def begin(directory: Path, *, mode: Mode, timeout: float, **identity: Any) -> Any:
    """Start a run of W&B that keeps out of the way: no console, no statistics, no git, no prompt.

    Args:
        directory: Its files go to `wandb` in there; made if absent.
        mode: "offline" or "online".
        timeout: Seconds for each: to start, to connect, to finish.
        identity: Further arguments of `wandb.init`.

    Raises:
        MissingExtra: wandb is not installed.
        TttError: Online, and no user is logged in.
        Exception: Anything else that W&B finds wrong.
    """
    # Else it reports its own health over the network, by two more threads, offline too.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb  # noqa: PLC0415  half a second, for runs that are tracked
    except ImportError as error:
        raise MissingExtra("wandb", "wandb", "tracking a run in W&B") from error
    directory.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        root_dir=str(directory.absolute()),
        use_dot_wandb=False,
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        init_timeout=timeout,
        x_service_wait=timeout,
        finish_timeout=timeout,
        stop_fn=_keep_on,
    )
    wandb.setup(settings)
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise TttError("W&B has no login here; type wandb login")
    # Online the id alone is not enough: a run that goes on would replace what it was before.
    resume: Literal["allow"] | None = "allow" if mode == "online" else None
    run = wandb.init(mode=mode, resume=resume, settings=settings, **identity)
    for coordinate in ("seconds", "samples", "epoch"):
        run.define_metric(coordinate)
    for values in ("eval/*", "train/*"):
        run.define_metric(values, step_metric="seconds")
    return run


def end() -> None:
    """End W&B's process, if there is one, which else would outlive this one for a moment."""
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()


def _keep_on() -> None:
    """The stop button of W&B's page would interrupt the main thread; nothing flows back."""
