"""The three scripts that MLCommons asks of an implementation, and what they share. Pure.

submission_rules.adoc (mlcommons/policies), "Directory structure": setup.sh once for a machine,
init_datasets.sh once for a data set, run_and_time.sh for a result. They are run in any folder: what
they make lies there, what they need beside them. No path of the machine that made a result is in
them.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ttt.errors import one_line
from ttt.machine import installed
from ttt.submission.typed import command_line, data_root, value_of

SETUP, INIT, RUN, VERIFY = "setup.sh", "init_datasets.sh", "run_and_time.sh", "verify_dataset.py"
EXPECTED, SOURCE, CONSTRAINTS = "dataset.json", "source", "constraints.txt"

_HELP = """\
case "${1:-}" in
-h | --help)
    sed -n '/^# /s/^# //p' "$0"
    exit 0
    ;;
esac
"""
_HERE = 'here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)\n'
_PATH = 'PATH="${VENV:-.venv}/bin:$PATH"\n'


def setup(
    configs: Sequence[Mapping[str, Any]], python: str | None, packages: Mapping[str, Any]
) -> str:
    """Installs ttt and the versions of these results into a virtual environment.

    Args:
        configs: Of the results.
        python: Version of Python that made them; None if unknown.
        packages: Names and versions that made them, as in environment.json.
    """
    extras = [installed.dali_extra(packages), "digits", "text"]
    extras += ["mpi"] if _any(configs, "launcher._target_", "mpi") else []
    # tracking.name is what configurations had before trackers had a _target_.
    tracked = [_any(configs, f"tracking.{name}", "wandb") for name in ("_target_", "name")]
    extras += ["wandb"] if any(tracked) else []
    return (
        "#!/bin/sh\n"
        "# Once: installs ttt from source/, with the versions of these results, into .venv.\n"
        "# Usage: [VENV=DIR] [PYTHON=python3] sh setup.sh\n"
        f"# The results were made with Python {one_line(str(python or 'of an unknown version'))}.\n"
        f"set -eu\n{_HELP}{_HERE}"
        'venv=${VENV:-.venv}\n"${PYTHON:-python3}" -m venv "$venv"\n'
        f'"$venv/bin/python" -m pip install -c "$here/{CONSTRAINTS}"'
        f' "$here/{SOURCE}[{",".join(extras)}]"\n'
    )


def init_datasets(config: Mapping[str, Any], preparation: tuple[str, str | None] | None) -> str:
    """Prepares the data set where it is not there yet, and verifies it."""
    root = data_root(config)
    needs = preparation[1] if preparation else None
    usage = " SOURCE..." if needs else ""
    needed = f"# SOURCE: {needs}\n" if needs else ""
    return (
        "#!/bin/sh\n"
        f"# Once: prepares the data set in DATADIR ({one_line(root)}) and verifies it.\n"
        f"# Usage: [DATADIR=DIR] [VENV=DIR] sh {INIT}{usage}\n"
        f"{needed}set -eu\n{_HELP}{_HERE}{_PATH}"
        f'DATADIR=${{DATADIR:-{shlex.quote(root)}}}\nif [ ! -d "$DATADIR" ]; then\n'
        f"{_prepare(preparation)}fi\n"
        f'python3 "$here/{VERIFY}" "$DATADIR"\n'
    )


def _prepare(preparation: tuple[str, str | None] | None) -> str:
    if preparation is None:
        return (
            f'    echo "{INIT}: $DATADIR is not there, and ttt does not prepare this data set;'
            ' DATADIR=DIR" >&2\n    exit 2\n'
        )
    command, needs = preparation
    if needs is None:
        return f'    {command} --out "$DATADIR"\n'
    wanted = shlex.quote(f"{INIT}: no SOURCE; allowed: {needs}")
    return (
        f'    if [ "$#" -eq 0 ]; then\n        echo {wanted} >&2\n        exit 2\n    fi\n'
        f'    {command} --out "$DATADIR" --src "$@"\n'
    )


def run_and_time(configs: Sequence[Mapping[str, Any]], nodes: int) -> str:
    """Repeats the typed commands; equal ones once."""
    lines = dict.fromkeys(command_line(config, nodes) for config in configs)
    root = data_root(configs[0])
    where = ", on every node" if nodes > 1 else ""
    return (
        "#!/bin/sh\n"
        f"# Trains as for these results{where}; result_<i>.txt come to lie under RUNS (runs).\n"
        f"# Usage: [DATADIR=DIR] [RUNS=DIR] [VENV=DIR] sh {RUN} [SETTING=VALUE...]\n"
        f"# The default of DATADIR is {one_line(root)}; settings: ttt run --help.\n"
        f"set -eu\n{_HELP}"
        + (_HERE if any('"$here/' in line for line in lines) else "")
        + _PATH
        + f"DATADIR=${{DATADIR:-{shlex.quote(root)}}}\nRUNS=${{RUNS:-runs}}\n"
        + "".join(f"{line}\n" for line in lines)
    )


def _any(configs: Sequence[Mapping[str, Any]], setting: str, word: str) -> bool:
    return any(word in str(value_of(config, setting)) for config in configs)
