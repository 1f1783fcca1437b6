"""Shows what `ttt run` can show without a run: Hydra's answers if they fit ttt, else ttt's."""

from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from string import Template

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore

from ttt import __version__, config
from ttt.cli import options
from ttt.errors import ConfigError

# Arguments with which Hydra only shows something and runs nothing.
_SHOWS = {"--help", "--hydra-help", "--version", "--cfg", "--info"}
_HYDRA_HELP = """\
ttt run is a Hydra application; see https://hydra.cc for more.

== Flags ==
${flags:}

== Configuration groups ==
$APP_CONFIG_GROUPS
$HYDRA_CONFIG_GROUPS"""


def only_shows(arguments: list[str]) -> bool:
    """Whether Hydra would run nothing."""
    return bool(_SHOWS & set(options.read(arguments).options))


def answered(arguments: list[str]) -> bool:
    """Answer a question that Hydra would answer for Hydra instead of for ttt.

    Returns:
        Whether it was asked.

    Raises:
        ConfigError: Hydra's own completion is wanted, which knows no program with commands.
    """
    typed = options.read(arguments).options
    if "--version" in typed:
        print(f"ttt {__version__}")
        return True
    if arguments in (
        ["--help"],
        ["-h"],
    ):  # Hydra composes every group for it, which takes three seconds
        print(help_text())
        return True
    if "--shell-completion" in typed:
        raise ConfigError(
            [
                "--shell-completion is Hydra's and knows no program with commands; ttt has its own"
                ' for bash, zsh and fish: eval "$(ttt completion bash)"'
            ]
        )
    return False


def help_text() -> str:
    """The help, as Hydra makes it of the template in the configuration it begins with."""
    node = yaml.safe_load((config.folder() / "config").with_suffix(".yaml").read_text())
    template = node["hydra"]["help"]["template"].replace("${benchmarks:}", benchmarks(None))
    return Template(template).substitute()


def in_our_words(arguments: list[str]) -> list[str]:
    """The same, with the flags that ttt has where Hydra's own help is asked for."""
    asked = "--hydra-help" in options.read(arguments).options
    return [*arguments, "hydra/hydra_help=ttt"] if asked else arguments


def words(arguments: list[str]) -> dict[str, Callable[[], str]]:
    """What the help says, as Hydra asks for it: resolvers for `config.register`."""
    store = ConfigStore.instance()
    store.store(group="hydra/hydra_help", name="ttt", node={"template": _HYDRA_HELP})
    own = options.read(arguments).config_dir
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
    return f"  benchmark={path.stem:<{width}}  {goal:<20} {of.get('summary') or ''}".rstrip()


def _part(node: dict[str, object], name: str) -> dict[str, object]:
    part = node.get(name)
    return part if isinstance(part, dict) else {}


def parser() -> ArgumentParser:
    """Hydra's arguments, as far as they are those of `ttt run`."""
    parser = get_args_parser()
    for action in list(parser._actions):
        if {"--shell-completion", *options.FOREIGN} & set(action.option_strings):
            parser._actions.remove(action)
        elif "--version" in action.option_strings:
            action.help = "Show ttt's version and exit"
    return parser


def flags() -> str:
    """The options of `ttt run`, a line each."""
    return "\n".join(
        f"{', '.join(action.option_strings)}: {' '.join(str(action.help).split())}"
        for action in parser()._actions
        if action.option_strings
    )
