"""What started these processes, does it agree with what was allocated, what else could start some.

Knows no torch.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ttt import redact
from ttt.distributed.rank import Placement, launch_problem
from ttt.doctor.findings import Finding, Observation, failure, names, ok, warning

_TOOLS = ("sbatch", "srun", "mpirun", "torchrun")
# What torchrun gives its workers, and people export.
_OF_TORCHRUN = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"),
    *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE"),
)
# Variables that people set for SLURM's commands.
_SLURM_SETTINGS = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT", "SLURM_JWT")
_ALLOCATION = ("SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_NTASKS")


@dataclass(frozen=True, slots=True)
class Launch:
    """The start of one process, as it sees it.

    Attributes:
        placement: Its place; None for a process alone.
        launch_problem: What is wrong with its variables.
        allocation: SLURM's variables of the allocation, if it is in one.
        tools: The launchers that could be typed here.
        left: Variables of a launcher's that nothing here has set for this process.
    """

    placement: Placement | None
    launch_problem: str | None
    allocation: dict[str, str]
    tools: tuple[str, ...]
    left: dict[str, str] = field(default_factory=dict)


def look(placement: Placement | None, environment: Mapping[str, str] = os.environ) -> Launch:
    """The start of this process, as it sees it."""
    # Those of this interpreter's own environment too: it need not be activated.
    path = f"{environment.get('PATH', os.defpath)}{os.pathsep}{os.path.dirname(sys.executable)}"
    return Launch(
        placement,
        launch_problem(environment),
        {name: environment[name] for name in _ALLOCATION if name in environment},
        tuple(tool for tool in _TOOLS if shutil.which(tool, path=path)),
        left_over(environment, launched=placement is not None),
    )


def left_over(environment: Mapping[str, str], *, launched: bool) -> dict[str, str]:
    """Variables that steer launchers and that no launch has set, without secrets.

    Args:
        environment: Of a process.
        launched: Whether a launcher started this process; then the launcher set its variables.
    """
    found = [name for name in environment if name.startswith("SBATCH_")]
    if "SLURM_JOB_ID" not in environment:
        slurm = [name for name in environment if name.startswith("SLURM_")]
        found += [name for name in slurm if name not in _SLURM_SETTINGS]
    if not launched:
        found += [name for name in _OF_TORCHRUN if name in environment]
    found += [name for name in environment if name.startswith("PET_")]
    values: dict[str, str] = redact.settings({name: environment[name] for name in sorted(found)})
    return values


def judge(seen: Sequence[Observation[Launch]]) -> Iterator[Finding]:
    """Whether the world is what was allocated."""
    first = seen[0].facts
    # A node has one first rank; names do not count, because nodes may share a machine.
    nodes = sum(one.facts.placement is None or not one.facts.placement.local_rank for one in seen)
    data = {"ranks": len(seen), "nodes": nodes, **first.allocation}
    launcher = first.placement.launcher if first.placement else None
    summary = f"{launcher}: {len(seen)} ranks on {nodes} node{'s' if nodes > 1 else ''}"
    summary = summary if launcher else "1 process, started without a launcher"
    problems = [*_unfinished(seen), *_allocated(first, nodes, data), *_uneven(seen)]
    problems += _left_over(first)
    yield from problems
    if not problems:
        why = {"launcher": "this process was started without one"}
        yield ok("launch", summary, launcher=launcher, why=why, **data)
    missing = [tool for tool in _TOOLS if tool not in first.tools]
    tools = f"found {names(first.tools) or 'none'}"
    yield ok(
        "launchers",
        tools + (f"; not found: {names(missing)}" if missing else ""),
        found=first.tools,
        missing=missing,
    )


def _unfinished(seen: Sequence[Observation[Launch]]) -> Iterator[Finding]:
    if sentence := seen[0].facts.launch_problem:
        problem, _, advice = sentence.partition("; ")
        yield failure("launch", problem, advice)


def _left_over(first: Launch) -> Iterator[Finding]:
    if first.left:
        variables = names(f"{name}={value}" for name, value in first.left.items())
        yield warning(
            "launch",
            f"{variables}: set in this shell, but not by a launch of these processes",
            f"unset {' '.join(first.left)}, unless they are intended: sbatch, srun and torchrun"
            " read them as options, and ttt reads some as its rank",
            left=first.left,
        )


def _allocated(first: Launch, nodes: int, data: Mapping[str, object]) -> Iterator[Finding]:
    allocated = int(first.allocation.get("SLURM_JOB_NUM_NODES", nodes))
    if nodes < allocated:
        yield warning(
            "launch",
            f"{nodes} of the {allocated} nodes of job {first.allocation.get('SLURM_JOB_ID')} take"
            " part: the others were not examined",
            f"srun -N{allocated} --ntasks-per-node=1 ttt doctor, or a task per accelerator",
            **data,
        )


def _uneven(seen: Sequence[Observation[Launch]]) -> Iterator[Finding]:
    counts = Counter(one.facts.placement.local_size for one in seen if one.facts.placement)
    if len(counts) > 1:
        yield warning(
            "launch",
            f"nodes have different numbers of ranks: {names(sorted(counts))}",
            "start the same number on every node: their shares of memory, cores and network differ",
            local_sizes=sorted(counts),
        )
