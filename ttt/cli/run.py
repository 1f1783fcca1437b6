"""`ttt run`: a Hydra application that composes once, freezes, and hands over to a launcher.

Typed under torchrun, srun or mpirun it finds itself already launched: rank 0 composes, freezes and
becomes a worker; the others become workers at once and get the frozen configuration from rank 0.
"""

import datetime
import importlib
import os
import re
import shlex
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from ttt import claim, config, modes, redact, signals, trusted
from ttt.cli import closing, confided, counted, looked, options, overrides, shows, sweep
from ttt.cli.rehearse import rehearse
from ttt.distributed import key
from ttt.distributed.rank import JOIN_VARIABLE, Placement, from_environment, launch_problem
from ttt.errors import OK, ConfigError, TttError, fault, one_line, show, writing
from ttt.launch.job import Job, Launcher, worst
from ttt.run_folder import LaunchFolder, RunFolder
from ttt.schema.closed import typed_seed
from ttt.schema.rules import unknown, unnamed
from ttt.schema.run import RunConfig

_SWEEP_INSIDE = [
    "--multirun starts several launches, and this process is already part of one; leave launching"
    " to ttt: ttt run --multirun launcher=torchrun ... (or slurm, or mpi)"
]
_JOIN_SECONDS = "timeout.join_seconds="
_STARTERS = {"torchrun": "torchrun", "slurm": "srun", "mpi": "mpirun"}


def main(arguments: list[str]) -> int:
    """Compose and launch; returns the exit code."""
    placement = placed()
    if placement and placement.rank > 0:
        return follow(arguments)
    if shows.answered(arguments):
        return OK
    signals.remember_preemption()
    config.register(**shows.words(arguments))
    codes: list[int] = []
    begun: list[bool] = []
    refused: list[Exception] = []

    def task(composed: Any) -> None:
        signals.obey()  # Hydra drops errors of its first look at the configuration
        begun.append(True)
        confided.hide_secrets(HydraConfig.get())
        try:
            if placement and HydraConfig.get().mode is RunMode.MULTIRUN:
                raise ConfigError(_SWEEP_INSIDE)
            codes.append(launch(composed, arguments, placement))
        except TttError as error:  # shown here: Hydra would add lines of its own
            signals.obey()
            show(error)
            codes.append(error.exit_code)
        except config.CompositionError as error:  # so is this, once Hydra is done
            refused.append(error)

    arguments = judged(shows.in_our_words(arguments))
    if options.read(arguments).sweeps:  # Hydra makes run_root, before we can
        trusted.keep_others_out()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what Hydra itself refuses comes to us as an exception
    sys.argv = ["ttt run", *arguments]
    confided.listen()
    application = hydra.main(
        version_base="1.3", config_path=str(config.folder()), config_name="config"
    )(task)
    try:
        with confided.in_what_hydra_shows(options.read(arguments).options):
            application()
        if refused:
            raise refused[0]
    except config.CompositionError as error:
        signals.obey()
        raise ConfigError(overrides.diagnose(arguments, error, problems)) from error
    except config.OddError as error:
        signals.obey()
        if begun or isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, OSError) and error.filename:
            problem = f"Hydra cannot write {error.filename}: {error.strerror}"
            raise ConfigError([problem]) from error
        raise ConfigError(overrides.diagnose(arguments, error, problems)) from error
    return worst(codes) if codes else OK


def placed() -> Placement | None:
    """The place of this process among those that a launcher has started; None alone.

    Raises:
        ConfigError: The launcher's variables are incomplete.
        LaunchError: Their key is too short.
    """
    if sentence := launch_problem():
        raise ConfigError([sentence])
    if placement := from_environment():
        key.given()
    return placement


def follow(arguments: list[str]) -> int:
    """Become a worker that gets everything from rank 0; how long it waits for that is typed."""
    if shows.only_shows(arguments):
        return OK
    typed = [word.partition("=")[2] for word in arguments if word.startswith(_JOIN_SECONDS)]
    if typed and re.fullmatch(r"\d+(\.\d+)?", typed[-1], re.ASCII):
        os.environ[JOIN_VARIABLE] = typed[-1]
    return become_worker("-")


def judged(arguments: list[str]) -> list[str]:
    """The arguments as Hydra can read them.

    Raises:
        ConfigError: Options are wrong, or a launch of a sweep is.
    """
    typed = options.read(arguments)
    judge = partial(problems, known={})
    if found := confided.masked(arguments):
        raise ConfigError(found)
    if typed.unknown or typed.problems or overrides.hollow(arguments):
        raise ConfigError(overrides.diagnose(arguments, None, judge))
    if found := overrides.shadowed(arguments) + sweep.faults(typed, judge):
        raise ConfigError(found)
    return overrides.in_one_piece(arguments)


def launch(composed: Any, arguments: list[str], placement: Placement | None) -> int:
    """Check, freeze and start one launch; returns its exit code."""
    composed = counted.fill(composed)
    run = config.resolve(composed)
    if found := overrides.unlogged(arguments, run) + problems(run, placement):
        raise ConfigError(found)
    launcher = make_launcher(run)
    if launcher.on_every_node and not placement:
        return launcher.join(arguments, run.timeout.join_seconds)
    remarks = [*overrides.unchosen(arguments), *claim.remarks(run), *looked.doubts(run, launcher)]
    for remark in remarks:
        print(f"ttt: {remark}", file=sys.stderr)
    confided.warn(composed, arguments)
    if prepare(run):  # only now can its contents be compared with the settings
        composed = counted.fill(composed)
        if found := problems(config.resolve(composed), placement):
            raise ConfigError(found)
    processes = placement.size if placement else launcher.processes()
    job = freeze(composed, run.runs, processes, ["ttt", "run", *arguments])
    if placement:
        return become_worker(str(job.runs[0]))
    code = launcher.launch(job)
    if code is None:  # submitted: nothing is known yet
        return OK
    closing.show(job, arguments, launcher)
    return code


def make_launcher(run: RunConfig) -> Launcher:
    """The launcher the configuration names."""
    launcher: Launcher = config.instantiate("launcher", run.launcher, device=run.device)
    return launcher


def problems(
    run: RunConfig,
    placement: Placement | None = None,
    known: looked.Known | None = None,
    *,
    contents: bool = True,
) -> list[str]:
    """Everything wrong with a launch, before any process starts; empty if nothing is.

    Args:
        run: The launch.
        placement: This process, where a launcher has started it.
        known: Faults of data sets that were looked at already, for many launches on one.
        contents: Whether to look for faults inside the data set, too.
    """
    if found := config.foreign(run):
        return found
    if any(one.startswith("launcher.") for one in unknown("", run)):  # nothing can build it
        return run.problems(1) + claim_problems(run)
    launcher = make_launcher(run)
    processes = placement.size if placement else launcher.processes()
    found = run.problems(max(1, processes)) + claim_problems(run)
    found += _inside_problems(run, placement) if placement else launcher.problems()
    found += unnamed(run.run_root) if launcher.remote else []
    found += [
        f"{name}={value} is filled in at launch; remove {name}={value}, and for several {meant}"
        for name, value, meant in (
            ("processes", run.processes, "processes type launcher=torchrun launcher.procs=2"),
            ("run", run.run, f"runs type runs={max(run.run, 2)}"),
        )
        if value
    ]
    if run.runs > 1 and (placement or launcher.on_every_node):
        found.append(
            fault(
                "runs",
                run.runs,
                "needs a fresh process for each, and these processes were started for one",
                typed="runs=1, or leave launching to ttt: ttt run launcher=torchrun runs=5",
            )
        )
    runs = Path(run.run_root)
    found += trusted.movable([runs, runs / run.benchmark.id])
    root = getattr(run.data, "root", "")
    if not root:
        made = looked.making(run.benchmark.id)
        found.append(f"data.root is not set; allowed: the data set's folder; data.root=DIR{made}")
    elif not (launcher.remote or Path(root).is_dir() or getattr(run.data, "prepare", None)):
        typed = "data.root=DIR, as `ttt data` made it"
        found.append(fault("data.root", root, "is not a folder", typed=typed))
    elif (
        contents
        and not launcher.remote
        and Path(root).is_dir()
        and (wrong := looked.faults(run.data, known))
    ):
        return found + wrong
    return found + counted.problems(run, remote=launcher.remote)


def _inside_problems(run: RunConfig, placement: Placement) -> list[str]:
    """Two launchers at once: each process of one would start all those of the other."""
    module = str(run.launcher._target_).split(".")[-2]
    if module in ("local", placement.launcher):
        return []
    starter = _STARTERS[placement.launcher]
    return [
        f"launcher={module}, and this process is already one of {placement.size} that {starter}"
        f" started; leave launcher= out, or type ttt run without {starter}"
    ]


def claim_problems(run: RunConfig) -> list[str]:
    """What is wrong with the benchmark's claim, in the eyes of MLCommons' rules.

    The official checker is shown the definition with what the run chooses: what else the run has
    changed has its own sentence already.
    """
    found, defined = claim.examine(run)
    if defined and run.benchmark.division == "closed":
        found += rehearse(defined) + typed_seed(run)
    return found


def prepare(run: RunConfig) -> bool:
    """Make a data set that ttt can make by itself, if it is not there yet; whether it was made."""
    make = preparer(run)
    if make is None:
        return False
    print(f"preparing {run.data.root}", file=sys.stderr)
    with writing("data.root", run.data.root, "DIR"):
        make(Path(run.data.root))
    return True


def preparer(run: RunConfig) -> Callable[[Path], object] | None:
    """What makes the data set of this run; None where there is one already, or ttt cannot make it.

    Raises:
        ConfigError: The module that `data.prepare` names cannot be used.
    """
    module, root = getattr(run.data, "prepare", None), getattr(run.data, "root", "")
    if module is None or not root or Path(root).is_dir():
        return None
    sys.path.append(str(Path.cwd()))  # where workers find a user's own parts, too
    try:
        make: Callable[[Path], object] = importlib.import_module(module).prepare
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(
            [
                fault(
                    "data.root",
                    root,
                    f"is not there, and data.prepare={module} cannot make it: {error}",
                    allowed=f"a module that Python finds from {Path.cwd()}",
                    typed="cd to where it lies, or data.root=DIR",
                )
            ]
        ) from error
    return make


def freeze(composed: Any, runs: int, processes: int, command: list[str]) -> Job:
    """Make the run folders of one launch, each with its frozen configuration."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    launch_id = f"{stamp}_{uuid.uuid4().hex[:4]}"  # two launches may start in the same second
    folders = []
    first = config.resolve(composed, runs=runs)
    seeds = claim.seeds(first)
    # A secret among the parts of a run stays in config.yaml, which its workers read. Programs that
    # start the others may print what they were given into the logs.
    private = redact.holds([config.plain(first), command])
    shown_command = redact.settings(command)
    for number, seed in enumerate(seeds):
        own = {"seed": seed, "run": number}
        run = config.resolve(composed, **own, processes=processes, command=shown_command)
        launch = LaunchFolder(Path(run.run_root) / run.benchmark.id / launch_id)
        folder = launch.run(seed)
        header = f"# {one_line(shlex.join(shown_command))}\n"
        with writing("run_root", run.run_root, "DIR"):
            trusted.make(folder)
            trusted.keep_others_out()  # for what launchers write, too
            if private:
                RunFolder(folder).logs.chmod(0o700)
            modes.write(RunFolder(folder).config, header + config.freeze(run), private=private)
        folders.append(folder)
    return Job(tuple(folders), run.benchmark.id)


def become_worker(folder: str) -> int:
    """Turn this process into a worker, keeping its place among those the launcher started."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ["PYTHONSAFEPATH"] = "1"  # what lies in this folder comes last; see ttt.worker
    signals.obey()
    signals.hold_preemption()
    os.execv(sys.executable, [sys.executable, "-m", "ttt.worker", folder])
    raise AssertionError("unreachable")
