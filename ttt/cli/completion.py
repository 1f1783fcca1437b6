"""`ttt completion SHELL`: what a shell needs to complete commands, settings and choices.

The script calls `ttt completion SHELL -- WORDS` at every Tab. Bash breaks words where ttt does
not, so it passes its whole line and the characters at which it breaks. If a line has a fault,
nothing completes it, and no message appears.
"""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ttt.cli.candidates import Kind, candidates
from ttt.errors import OK

_SHELLS = ("bash", "zsh", "fish")
# Characters that bash could run as code at Enter, by the quote that is open.
_LIVE = {"": r"[^\w.,:=+%@/~-]", "'": r"['\\]", '"': r'["$`\\!]'}


def main(arguments: Sequence[str]) -> int:
    """Print the script, or what could complete a line; returns the exit code."""
    if arguments[:1] and arguments[1:2] == ["--"]:
        with contextlib.suppress(Exception):  # half a line has faults; a shell wants no sentences
            print("\n".join(answered(arguments[0], arguments[2:])))
        return OK
    given = parser().parse_args(arguments)
    print((Path(__file__).parent / "shells" / f"ttt.{given.shell}").read_text(), end="")
    return OK


def answered(shell: str, words: Sequence[str]) -> list[str]:
    """What a shell reads: a word that says how to use the lines after it, then these lines.

    A word with invisible characters is left out. Bash quotes only paths and puts other words on
    the line unchanged, so words that bash would run as code are left out, too.
    """
    if shell != "bash":
        answer = candidates(words[1:])
        seen = {word: _seen(what) for word, what in answer.words.items() if word.isprintable()}
        return [answer.kind, *(f"{word}\t{what}" for word, what in seen.items())]
    line, breaks = words
    typed, kept, quote = split(line, breaks)
    answer = candidates(typed[1:])
    if answer.kind is Kind.words:
        found = list(answer.words)
        kind = "open" if any(word.endswith(("=", ".")) for word in found) else "words"
    else:
        text = typed[-1].removeprefix(answer.lead)
        found = [answer.lead + path for path in paths(text, answer.kind is Kind.folders)]
        # Bash itself sees which paths are folders, unless a path is only a part of bash's word.
        kind = "paths" if kept >= len(answer.lead) else "open"
    added = [word[kept:] for word in found if word.isprintable()]
    if kind != "paths":
        added = [each for each in added if not re.search(_LIVE[quote], each)]
    return [kind, *added]


def _seen(text: str) -> str:
    return "".join(each for each in text if each.isprintable())


def split(line: str, breaks: str) -> tuple[list[str], int, str]:
    """The words of a line as a shell reads them, whose last quote may be open.

    Args:
        line: Up to the cursor.
        breaks: Characters at which bash begins another word.

    Returns:
        The words, how many characters of the last one bash leaves as they are, and the quote that
        is open, or nothing.
    """
    words, word, kept, began = [], "", 0, False
    quote, escaped = "", False
    for each in line:
        if escaped or (quote and each != quote and not (each == "\\" and quote == '"')):
            word, escaped = word + each, False
        elif each == "\\":
            escaped = began = True
        elif each == quote:
            quote = ""
        elif each in "'\"":
            quote, kept, began = each, len(word), True
        elif each.isspace():
            words += [word] if word or began else []
            word, kept, began = "", 0, False
        else:
            word += each
            kept = len(word) if each in breaks else kept
    return [*words, word], kept, quote


def paths(text: str, only_folders: bool) -> Iterator[str]:
    """The paths that begin so, as typed."""
    parent, slash, start = text.rpartition("/")
    with os.scandir(Path(parent + slash or ".").expanduser()) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            hidden = entry.name.startswith(".") and not start
            wanted = entry.name.startswith(start) and not hidden
            if wanted and (entry.is_dir() or not only_folders):
                yield f"{parent}{slash}{entry.name}"


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt completion",
        description="Print what makes the Tab key complete commands, settings and their choices,"
        " also those of a --config-dir on the line.",
        epilog='bash, zsh: eval "$(ttt completion bash)"; fish: ttt completion fish | source. In'
        " ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish it is there in every shell.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help="bash, zsh or fish")
    return parser
