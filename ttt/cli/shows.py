"""What `ttt run` shows and does not run: Hydra's answers where they are right, else ours."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore

from ttt import __version__, config
from ttt.errors import ConfigError

# Arguments with which Hydra only shows something and runs nothing.
_SHOWS = {"--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i"}
_HYDRA_HELP = """\
ttt run is a Hydra application; see https://hydra.cc for more.

== Flags ==
${flags:}

== Configuration groups ==
$APP_CONFIG_GROUPS
$HYDRA_CONFIG_GROUPS"""


def only_shows(arguments: Sequence[str]) -> bool:
    """Whether Hydra would run nothing."""
    return any(argument.split("=")[0] in _SHOWS for argument in arguments)


def answered(arguments: Sequence[str]) -> bool:
    """Answer what Hydra would answer for itself instead of for ttt.

    Returns:
        Whether it was asked.

    Raises:
        ConfigError: Hydra's own completion is wanted, which knows no program with commands.
    """
    if _asks(arguments, "--version"):
        print(f"ttt {__version__}")
        return True
    if "-sc" in arguments or _asks(arguments, "--shell-completion"):
        raise ConfigError(
            [
                "--shell-completion is Hydra's and knows no program with commands; ttt has its own"
                ' for bash, zsh and fish: eval "$(ttt completion bash)"'
            ]
        )
    return False


def in_our_words(arguments: list[str]) -> list[str]:
    """The same, with the flags that ttt has where Hydra's own help is asked for."""
    return [*arguments, "hydra/hydra_help=ttt"] if _asks(arguments, "--hydra-help") else arguments


def words(arguments: Sequence[str]) -> dict[str, Callable[[], str]]:
    """What the help says, as Hydra asks for it: resolvers for `config.register`."""
    store = ConfigStore.instance()
    store.store(group="hydra/hydra_help", name="ttt", node={"template": _HYDRA_HELP})
    own = get_args_parser().parse_known_args(list(arguments))[0].config_dir
    return {"benchmarks": partial(benchmarks, own), "flags": flags}


def benchmarks(own: str | None) -> str:
    """The benchmarks that are there, a line each, and a line for each group of the user's choices.

    Args:
        own: Folder of the user's own files, if any.
    """
    shipped = sorted((config.folder() / "benchmark").glob("*.yaml"))
    groups = sorted(each for each in Path(own).glob("*") if each.is_dir()) if own else []
    choices = {group.name: sorted(group.glob("*.yaml")) for group in groups}
    paths = [*shipped, *choices.pop("benchmark", [])]
    width = max(len(path.stem) for path in paths)
    lines = [_benchmark(path, width) for path in paths]
    lines += [
        f"  {name}={'|'.join(each.stem for each in of)}" for name, of in choices.items() if of
    ]
    return "\n".join(lines)


def _benchmark(path: Path, width: int) -> str:
    """One benchmark, with its target and summary as far as its own file says them."""
    try:
        node = yaml.safe_load(path.read_text("utf-8", "replace"))
    except yaml.YAMLError:
        node = None
    node = node if isinstance(node, dict) else {}
    target, of = (_part(node, name) for name in ("target", "benchmark"))
    threshold = target.get("threshold")
    known = isinstance(threshold, int | float)
    goal = f"{target.get('metric') or ''} {threshold:g}" if known else ""
    return f"  benchmark={path.stem:<{width}}  {goal:<13} {of.get('summary') or ''}".rstrip()


def _part(node: dict[str, object], name: str) -> dict[str, object]:
    part = node.get(name)
    return part if isinstance(part, dict) else {}


def flags() -> str:
    """The options of `ttt run`, a line each."""
    shown = []
    for action in get_args_parser()._actions:
        if not action.option_strings or "--shell-completion" in action.option_strings:
            continue
        what = " ".join(str(action.help).split())
        if "--version" in action.option_strings:
            what = "Show ttt's version and exit"
        shown.append(f"{', '.join(action.option_strings)}: {what}")
    return "\n".join(shown)


def _asks(arguments: Sequence[str], flag: str) -> bool:
    """Whether a flag is typed, whole or as far as argparse needs it."""
    return any(len(each) > 3 and flag.startswith(each) for each in arguments)
