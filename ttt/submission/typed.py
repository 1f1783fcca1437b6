"""What was typed for a result, made fit to be typed anywhere: without the paths of one machine.

May not read or write a file.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from ttt import redact

Config = Mapping[str, Any]

_DATA, _RUNS = "data.root", "run_root"
_BEGINS, _GOES_ON = re.compile(r"(?<![\w.~/-])[~/]"), re.compile(r"[\w.-]")  # a path in a text
_SWEEP = ("--multirun", "-m")
_FOLDERS = ("--config-dir", "-cd")
CONFIG_DIR = "config_dir"  # where a user's own configuration is in a package


def public(text: str) -> str:
    """A YAML file without the settings that hold a secret; the same text if there are none.

    Of the comments only the command is left of a file that is written anew.
    """
    content = yaml.safe_load(text)
    kept = redact.without(content)
    if not redact.holds([content, text.splitlines()]):
        return text
    command = kept.get("command") if isinstance(kept, dict) else None
    header = f"# {shlex.join(map(str, command))}\n" if command else ""
    return header + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def command(config: Config) -> list[str]:
    """The words that were typed; none where they are not known."""
    words = config.get("command")
    return list(map(str, words)) if isinstance(words, list) else []


def data_root(config: Config) -> str:
    """The default folder of the data set; relative."""
    root = str(value_of(config, _DATA) or "data")
    return f"data/{PurePath(root).name}" if _is_machines(root) else root


def config_dir(words: Sequence[str]) -> str | None:
    """The folder of a user's own configuration, as it was typed in a command."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, _, value = word.partition("=")
        if name in _FOLDERS:
            return value or following
    return None


def relative(text: str, config: Config) -> str:
    """The text of a frozen configuration with the machine's paths made relative."""
    paths = {value for value in _texts(config) if _is_machines(value)}
    for word in command(config):
        paths |= {word, word.partition("=")[2]}
    instead = {path: PurePath(path).name for path in paths if _is_machines(path)}
    for name, other in ((_DATA, data_root(config)), (_RUNS, "runs")):
        path = value_of(config, name)
        if isinstance(path, str) and path in instead:
            instead[path] = other
    return "".join(_replaced(text, instead))


def _replaced(text: str, instead: Mapping[str, str]) -> Iterator[str]:
    """A text in pieces, each path in it replaced, the longest that fits: in one pass."""
    lengths, done = sorted({len(path) for path in instead}, reverse=True), 0
    for begin in _BEGINS.finditer(text):
        place = begin.start()
        if place < done:
            continue
        for length in lengths:
            end = place + length
            if (path := text[place:end]) in instead and not _GOES_ON.match(text, end):
                yield text[done:place]
                yield instead[path]
                done = end
                break
    yield text[done:]


def command_line(config: Config, nodes: int) -> str:
    """A line for a shell that repeats the typed command.

    The data set is in $DATADIR, run folders go to $RUNS, and other paths of the machine are asked
    for by variables with the names of their settings.

    Args:
        config: A frozen configuration.
        nodes: How many machines it ran on.
    """
    typed = command(config)
    words, sweep = [], any(word in _SWEEP for word in typed)
    settled = sweep and all(_settled(word, config) for word in typed)
    skip = False
    for word in typed[2:]:
        if skip or word.startswith((f"{_DATA}=", f"{_RUNS}=")):
            skip = False
        elif word.partition("=")[0] in _FOLDERS:
            skip = "=" not in word
            words.append(f'--config-dir "$here/{CONFIG_DIR}"')
        elif not (settled and word in _SWEEP):
            words.append(_word(_settled(word, config) if settled else word))
    parts = [*words, f'{_DATA}="$DATADIR"', f'{_RUNS}="$RUNS"', '"$@"']
    return " ".join([_starter(config, nodes), *filter(None, parts)])


def _starter(config: Config, nodes: int) -> str:
    """`ttt run`, or the user's own launcher around it: with launcher=local there is one process."""
    processes = int(config.get("processes") or 1)
    if processes == 1 or "local" not in str(value_of(config, "launcher._target_")):
        return "ttt run"
    if nodes == 1:
        return f"torchrun --standalone --nproc-per-node {processes} -m ttt run"
    return (
        f'torchrun --nnodes {nodes} --rdzv-endpoint "${{HEAD:?HOST:PORT of the first node}}"'
        f" --nproc-per-node {processes // nodes} -m ttt run"
    )


def _word(word: str) -> str:
    """Quoted for the shell; a path of the machine as a variable."""
    name, equals, value = word.partition("=")
    if not (
        equals and _is_machines(value) and re.fullmatch(r"\+*[A-Za-z_][\w.@/]*", name, re.ASCII)
    ):
        return shlex.quote(word)
    variable = re.sub(r"\W", "_", name.lstrip("+")).upper()
    return f'{name}="${{{variable}:?a path, for {name}}}"'


def _settled(word: str, config: Config) -> str:
    """One value of those of a sweep, the one this run had; "" if that is unknown."""
    name, equals, value = word.partition("=")
    if not equals or "," not in value or value[0] in "[{'\"(":
        return word
    own = value_of(config, name)
    return f"{name}={own}" if str(own) in value.split(",") else ""


def value_of(config: Config, name: str) -> Any:
    """A setting by its dotted name; None if there is none."""
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _texts(node: Any) -> set[str]:
    if isinstance(node, Mapping):
        return {text for value in node.values() for text in _texts(value)}
    if isinstance(node, list):
        return {text for value in node for text in _texts(value)}
    return {node} if isinstance(node, str) else set()


def _is_machines(value: str) -> bool:
    return value.startswith(("/", "~/")) and len(value) > 1
