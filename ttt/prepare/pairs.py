"""Sentence pairs of your own: two files, line by line, or one with tabs between the two.

--train SOURCE TARGET names two files that are line by line translations of each other; --train FILE
one whose lines are source, tab, target. It may be typed several times. --eval takes the same, once;
without it about --eval-pairs sentences are held out, and no sentence is in both parts. Files may be
packed by gzip. Any two texts will do: languages, a question and its answer, a word and its sound.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from pathlib import Path
from typing import Any

from ttt.data import manifest as manifests
from ttt.errors import ConfigError, counted, fault
from ttt.prepare.folder import MANIFEST, Progress, is_prepared, silent, whole_folder
from ttt.prepare.named import count_problems, text_problems
from ttt.prepare.parallel import Pair, Pairs, sentences, tabbed
from ttt.prepare.stages import resumable_folder
from ttt.prepare.text import Corpus, Recipe, build

NEEDS = None  # its files are named by options of their own
BENCHMARK = None  # none of ttt's: `ttt new` writes one
_TEXT = "text"  # folder of the files that were taken apart

Files = Sequence[Path]  # of one corpus: two of text, or one with tabs


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this set asks for."""
    files: dict[str, Any] = {"type": Path, "nargs": "+", "metavar": "FILE"}
    parser.add_argument(
        "--train", action="append", required=True, help="two files, or one with tabs", **files
    )
    parser.add_argument("--eval", dest="evaluation", help="the same to evaluate on", **files)
    parser.add_argument(
        "--columns",
        type=int,
        nargs=2,
        metavar=("SOURCE", "TARGET"),
        help="which columns of a file with tabs are read, counted from 1 (1 2)",
    )
    parser.add_argument(
        "--eval-pairs",
        type=int,
        metavar="N",
        help="about how many pairs are held out where there is no --eval (1000, at most a tenth)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of which pairs these are (0)")
    parser.add_argument("--from", dest="source", default="source", help="what the source is called")
    parser.add_argument("--to", dest="target", default="target", help="and the target")
    parser.add_argument(
        "--vocabulary",
        type=int,
        help="tokens, both sides together (as many as suit the number of pairs)",
    )
    parser.add_argument(
        "--max-length", type=int, default=64, help="tokens of the longest sentence to train on (64)"
    )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What can be chosen.

    Attributes:
        train: Files to train on.
        evaluation: Files to evaluate on; None: some pairs of the others.
        columns: Which columns of a file with tabs are read, from 1; None: 1 and 2.
        eval_pairs: About how many pairs are held out, at most a tenth; None: 1000.
        seed: Which ones.
        source: What the source is called in the manifest, as "en".
        target: And the target.
        vocabulary: Tokens to learn; None: as many as suit the number of pairs.
        max_length: Longest sentence to train on, in tokens with its end mark.
    """

    train: Sequence[Files]
    evaluation: Files | None = None
    columns: Sequence[int] | None = None
    eval_pairs: int | None = None
    seed: int = 0
    source: str = "source"
    target: str = "target"
    vocabulary: int | None = None
    max_length: int = 64

    @property
    def given(self) -> list[Files]:
        """All corpora that are named."""
        return [*self.train, *([self.evaluation] if self.evaluation else [])]

    @property
    def read_columns(self) -> Sequence[int]:
        """Which columns are read, from 1."""
        return (1, 2) if self.columns is None else self.columns

    @property
    def held_out(self) -> int:
        """About how many pairs are held out, at most a tenth."""
        return 1000 if self.eval_pairs is None else self.eval_pairs

    def _ignored(self) -> Iterator[str]:
        """A sentence for each option that nothing would read."""
        if self.columns is not None and all(len(files) > 1 for files in self.given):
            shown = " ".join(map(str, self.columns))
            yield (
                f"--columns {shown} has no effect: no file holds both sides; allowed: with one file"
                " with tabs after --train or --eval; leave --columns out"
            )
        if self.eval_pairs is not None and self.evaluation:
            yield (
                f"--eval-pairs {self.eval_pairs} has no effect: --eval names what is evaluated on;"
                " leave one of the two out"
            )

    def problems(self) -> list[str]:
        """A sentence for each thing that is wrong."""
        wrong = [
            f"{' '.join(map(str, files))}: {len(files)} files; allowed: two, source and target, or"
            " one with tabs; type --train again before each further pair"
            for files in self.given
            if len(files) > 2
        ]
        wrong += text_problems(list(chain(*self.given)))
        if min(self.read_columns) < 1 or self.read_columns[0] == self.read_columns[1]:
            two = " ".join(map(str, self.read_columns))
            wrong.append(
                fault("--columns", two, "are not two columns, counted from 1", typed="1 2")
            )
        wrong += self._ignored()
        return wrong + count_problems(
            {
                "--eval-pairs": (self.eval_pairs, 1000),
                "--max-length": (self.max_length, 64),
                "--vocabulary": (self.vocabulary, 8000),
            }
        )

    def title(self) -> str:
        """The name of a set whose file was divided into two."""
        names = " ".join(path.name for path in chain(*self.given))
        columns = f"columns {self.read_columns[0]} {self.read_columns[1]}"
        rest = "" if self.evaluation else f", about {self.held_out} held out by seed {self.seed}"
        return f"sentence pairs of {names}, {columns}{rest}"


def prepare(
    out: Path, sources: Sequence[Path] = (), progress: Progress = silent, **options: Any
) -> list[str]:
    """Write a prepared set to `out`; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: files have options of their own.
        progress: Called with (kB read, kB in all).
        options: The fields of `Asked`.

    Returns:
        What people should know of the set.

    Raises:
        ConfigError: The files named are no sets of pairs.
        DataError: A file is unfit, or something else lies at `out`.
        MissingExtra: sentencepiece is not installed.
    """
    asked = Asked(**options)
    if wrong := asked.problems():
        raise ConfigError(wrong)
    recipe = Recipe(asked.source, asked.target, asked.vocabulary, asked.max_length)
    if asked.evaluation and all(len(files) == 2 for files in asked.given):
        named = [Pair(*files) for files in asked.train]
        corpus = Corpus("sentence pairs", named, Pair(*asked.evaluation))
        if is_prepared(out, corpus.identity(recipe)):
            return []
        with resumable_folder(out) as folder:
            build(folder, corpus, recipe, progress)
        return _remarks(out)
    if is_prepared(out, _corpus(asked.title(), Path()).identity(recipe)):
        return []
    with whole_folder(out) as folder:
        text = folder / _TEXT
        text.mkdir()
        _take_apart(text, asked)
        build(folder, _corpus(asked.title(), text), recipe, progress)
    held_out = "" if asked.evaluation else f"held out for the evaluation by --seed {asked.seed}; "
    return [f"{held_out}the text of both parts is in {out / _TEXT}", *_remarks(out)]


def _corpus(title: str, text: Path) -> Corpus:
    train, evaluation = (
        Pair(text / f"{part}.source", text / f"{part}.target") for part in ("train", "eval")
    )
    return Corpus(title, [train], evaluation)


def _take_apart(text: Path, asked: Asked) -> None:
    """Write both parts as plain text, two files each; without pairs that lack a side.

    A pair is held out by what its source says, so that a sentence that comes twice is in one part.
    """

    def training() -> Pairs:
        every = chain.from_iterable(_read(files, asked.read_columns) for files in asked.train)
        return (pair for pair in every if all(pair))

    border = -1 if asked.evaluation else _border(training(), asked.held_out, asked.seed)
    corpus = _corpus("", text)
    with _writing(corpus.train[0]) as write_train, _writing(corpus.evaluation) as write_eval:
        for pair in training():
            (write_eval if _place(pair, asked.seed) <= border else write_train)(pair)
        for pair in _read(asked.evaluation, asked.read_columns) if asked.evaluation else ():
            write_eval(pair)


def _border(pairs: Pairs, eval_pairs: int, seed: int) -> int:
    """The last place of a source that is held out."""
    total = 0

    def places() -> Iterator[int]:
        nonlocal total
        for pair in pairs:
            total += 1
            yield _place(pair, seed)

    first = nsmallest(eval_pairs, places())
    if total < 20:
        raise ConfigError([f"--train has {total} pairs, too few to hold some out; --eval FILES"])
    return first[min(eval_pairs, total // 10) - 1]


def _place(pair: tuple[str, str], seed: int) -> int:
    """Where a source comes in an order that looks random and is always the same."""
    return zlib.crc32(f"{seed} {pair[0]}".encode())


@contextmanager
def _writing(pair: Pair) -> Iterator[Callable[[tuple[str, str]], None]]:
    """A function that appends a pair of sentences to two files."""
    source, target = (path.open("w", encoding="utf-8", newline="\n") for path in pair)
    with source, target:

        def write(sentences: tuple[str, str]) -> None:
            for file, sentence in zip((source, target), sentences, strict=True):
                file.write(sentence + "\n")

        yield write


def _read(files: Files, columns: Sequence[int]) -> Pairs:
    return sentences(Pair(*files)) if len(files) == 2 else tabbed(files[0], columns)


def _remarks(out: Path) -> list[str]:
    manifest = manifests.content(out / MANIFEST)
    counts, left = manifest["counts"], manifest["left_out"]
    lines = [
        f"{counts['train']} pairs to train on and {counts['eval']} to evaluate on;"
        f" {manifest['vocabulary']} tokens"
    ]
    if left["too_long"]:
        pairs = counted(left["too_long"], "pair")
        lines.append(
            f"left out of training: {pairs} of more than {manifest['max_length']} tokens;"
            " --max-length N takes longer ones"
        )
    if left["empty"]:
        pairs = counted(left["empty"], "pair")
        lines.append(f"left out of training: {pairs} without one of the two sides")
    return lines
