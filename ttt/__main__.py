"""The command line: names the command and turns errors into exit codes, nothing else."""

import errno
import importlib
import os
import sys

from ttt import __version__, signals, streams
from ttt.cli import COMMANDS
from ttt.errors import INTERRUPTED, OK, UNFORESEEN, USAGE, TttError, show


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code (see `ttt.errors`)."""
    words = sys.argv[1:] if arguments is None else arguments
    streams.prepare()
    _search_here_last()
    return streams.close(_attempt(words))


def _attempt(words: list[str]) -> int:
    """Run one command and report its errors."""
    try:
        with signals.raising():  # what leaves temporary files removes them
            return dispatch(words)
    except TttError as error:
        show(error)
        return error.exit_code
    except KeyboardInterrupt:  # before or after all this
        return INTERRUPTED
    except OSError as error:  # of a file; see `streams` for what is shown
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        show(streams.UnwritableError(error))
        return UNFORESEEN
    except signals.Interrupted as stopped:
        print(f"ttt: {stopped}", file=sys.stderr)
        return stopped.exit_code
    except SystemExit as ended:  # how argparse and Hydra end
        return ended.code if isinstance(ended.code, int) else UNFORESEEN if ended.code else OK


def _search_here_last() -> None:
    """Let no file of the folder where this was typed take the place of a module.

    `python -m ttt`, as torchrun and srun are given it, looks there first.
    """
    if sys.path[:1] in ([""], [os.getcwd()]):
        sys.path.append(sys.path.pop(0))


def dispatch(words: list[str]) -> int:
    """Import the one command that was named and hand it its arguments."""
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if words and words[0] in COMMANDS:
        command = importlib.import_module(f"ttt.cli.{words[0]}")
        return int(command.main(words[1:]))
    if words in (["--version"], ["-V"]):
        print(f"ttt {__version__}")
        return OK
    asked = words in ([], ["--help"], ["-h"])
    lines = ["usage: ttt COMMAND [ARGUMENTS]", ""]
    lines += [f"  ttt {name:<10} {what}" for name, what in COMMANDS.items()]
    lines += ["", "ttt COMMAND --help tells more; ttt run alone trains handwritten digits."]
    if not asked:
        lines.insert(0, f"ttt: {words[0]!r} is not a command; allowed: {', '.join(COMMANDS)}\n")
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return OK if asked else USAGE


if __name__ == "__main__":
    sys.exit(main())
