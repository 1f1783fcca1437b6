"""The text of a batch script: the settings of `launcher=slurm`, filled into `slurm/job.sbatch`.

Pure, but for reading the template. Knows nothing of a cluster.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import ttt
from ttt import redact
from ttt.errors import one_line
from ttt.launch.devices import ON_A_CPU
from ttt.launch.job import Job
from ttt.run_folder import ARRAY_LOG, JOB, JOB_LOG
from ttt.schema.launcher import SlurmConfig


def template() -> str:
    """`slurm/job.sbatch`: of an installed package, or beside it in the repository."""
    package = Path(ttt.__file__).parent
    folder = package / "slurm"
    return ((folder if folder.is_dir() else package.parent / "slurm") / JOB).read_text()


def processes_per_node(asked: SlurmConfig) -> int:
    """Processes on each node: as asked, else one for each GPU asked for, else two."""
    if asked.procs is not None:
        return asked.procs
    return ON_A_CPU if asked.gpus is None else asked.gpus


def log_name(asked: SlurmConfig) -> str:
    """The log's name in the launch folder, in sbatch's patterns; an array has one for each task."""
    return ARRAY_LOG if asked.array else JOB_LOG


def render(script: str, asked: SlurmConfig, job: Job, python: str) -> str:
    """The batch script of a job.

    Args:
        script: The template, with parts between `# ttt:NAME` and `# ttt:end`.
        asked: The settings.
        job: Absolute run folders.
        python: The interpreter on the nodes.
    """
    lines = [f"#SBATCH {line}" for line in asked.lines]
    parts = {
        "options": [f"#SBATCH {_quoted(option)}" for option in _options(asked, job)] + lines,
        "values": _values(asked, job, python),
        "setup": asked.setup,
    }

    for line in (line for part in parts.values() for line in part):
        assert one_line(line) == line, line  # refused before: see not_one_line in ttt.schema

    def filled(part: re.Match[str]) -> str:
        return "\n".join([f"# ttt:{part[1]}", *parts[part[1]], "# ttt:end"])

    return re.sub(r"# ttt:(\w+)\n.*?# ttt:end", filled, script, flags=re.DOTALL)


def options(asked: SlurmConfig, job: Job) -> list[str]:
    """The options once more, as arguments of sbatch.

    In the script alone they would give way to SBATCH_* variables of a module or a login shell
    (`man sbatch`, INPUT ENVIRONMENT VARIABLES). Lines that hold a secret stay in the script: every
    user of the machine sees the arguments, and SLURM's accounting keeps them.
    """
    lines = [line for line in asked.lines if not redact.holds(line)]
    return _options(asked, job) + [word for line in lines for word in shlex.split(line)]


def _quoted(option: str) -> str:
    r"""Quoted for sbatch, to whom a \ makes the next character plain even between single quotes."""
    name, equals, value = option.partition("=")
    if not equals or shlex.quote(value) == value:
        return option
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"{name}='{escaped}'"


def _options(asked: SlurmConfig, job: Job) -> list[str]:
    # A % in the folder's own name is not a pattern.
    folder = str(job.runs[0].parent).replace("%", "%%")
    named = {
        "job-name": f"ttt-{job.benchmark}",
        "output": f"{folder}/{log_name(asked)}",
        "open-mode": "append",  # a requeued job goes on in the same log
        "nodes": asked.nodes,
        "ntasks-per-node": processes_per_node(asked),
        "cpus-per-task": asked.cpus_per_task,
        "gpus-per-node": asked.gpus_per_node,
        "mem": asked.mem,
        "time": asked.time,
        "signal": asked.signal_seconds and f"{asked.signal}@{asked.signal_seconds}",
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "array": f"0-{len(job.runs) - 1}" if asked.array else None,
    }
    found = [f"--{name}={value}" for name, value in named.items() if value is not None]
    found.append("--requeue" if asked.requeue else "--no-requeue")
    if asked.exclusive:
        found.append("--exclusive")
    return found


def _values(asked: SlurmConfig, job: Job, python: str) -> list[str]:
    container = []
    if asked.container_image is not None:
        launch = job.runs[0].parent
        mounts = ",".join([f"{launch}:{launch}", *asked.container_mounts])
        container = [f"--container-image={asked.container_image}", f"--container-mounts={mounts}"]
    return [
        *_array("runs", map(str, job.runs)),
        f"mode={asked.mode}",
        f"procs={processes_per_node(asked)}",
        f"cpus={asked.cpus_per_task or ''}",
        f"array={'yes' if asked.array else 'no'}",
        f"python={shlex.quote(python)}",
        f"signal={asked.signal}",
        f"requeue={'yes' if asked.requeue else 'no'}",
        *_array("container", container),
        *_array("more", asked.srun),
    ]


def _array(name: str, values: Iterable[str]) -> list[str]:
    """An array of bash, a value a line."""
    lines = [f"    {_word(value)}" for value in values]
    return [f"{name}=(", *lines, ")"] if lines else [f"{name}=()"]


def _word(value: str) -> str:
    quoted = shlex.quote(value)
    # Bash does not mind a bare comma, but to shellcheck it looks like a list of Python's.
    return f"'{value}'" if quoted == value and "," in value else quoted
