"""`ttt doctor`: examine this machine or allocation, alone or under a launcher.

Composes as `ttt run` would, then becomes `python -m ttt.doctor`, which uses torch; this must not.
"""

import argparse
import json
import os
import sys

from ttt import config, redact, signals
from ttt.cli.composed import add_settings, composed, demand_folder
from ttt.cli.run import preparer, problems
from ttt.distributed.rank import Placement, from_environment
from ttt.errors import OK, ConfigError
from ttt.schema.run import RunConfig

_EPILOG = """\
examples:
  ttt doctor benchmark=cifar10 data.root=DIR           this machine
  torchrun --nproc-per-node 8 -m ttt doctor            and the network of its processes
  srun -N4 --ntasks-per-node=8 ttt doctor              a whole allocation (mpirun likewise)

exit codes:
  0  no check failed; there may be warnings
  2  wrong use: a mistake in the command line
  5  a check failed, or the processes did not meet
torchrun itself ends with 1 where a process ends with 5, and prints a Python traceback of its own
below the result. srun and mpirun pass 5 on.
"""


def main(arguments: list[str]) -> int:
    """Compose, then become the doctor, which replaces this process.

    Raises:
        ConfigError: The overrides are wrong.
    """
    placement = from_environment()
    if placement and placement.rank > 0:
        return OK if {"-h", "--help"} & set(arguments) else become("-")
    options = parser().parse_args(arguments)
    demand_folder(options.json)
    run = config.resolve(composed(options.overrides, options.config_dir))
    message = {
        "config": config.freeze(run),
        "problems": redact.settings(refusals(run, placement)),
        "looks": getattr(run.data, "looks", None),  # of a schema, which freezing leaves behind
        "json": options.json,
    }
    return become(json.dumps(message))


def refusals(run: RunConfig, placement: Placement | None) -> list[str]:
    """Why `ttt run` would not start this: its own sentences.

    Faults inside the data set are left out: findings of their own show them, and look at more.
    """
    if found := problems(run, placement, contents=False):
        return found
    try:
        preparer(run)
    except ConfigError as error:
        return list(error.problems)
    return []


def become(message: str) -> int:
    """Turn this process into the doctor; its environment and its rank stay."""
    sys.stdout.flush()
    sys.stderr.flush()
    signals.obey()
    os.execv(sys.executable, [sys.executable, "-m", "ttt.doctor", message])
    raise AssertionError("unreachable")


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt doctor",
        description="Examine this machine or allocation, and judge it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, "benchmark=cifar10")
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    return parser
