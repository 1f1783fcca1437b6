"""WMT's sentence pairs, for MLPerf's transformer and gnmt: from files of text to tokens.

Two files a corpus, line by line translations of each other, NAME.LANGUAGE or NAME.LANGUAGE.gz.
What MLPerf's `transformer` trains on, 4,590,101 pairs, are the English-German parts of Europarl v7,
Common Crawl and News Commentary v12, as WMT17 gave them out; its `gnmt` has v11 in place of v12.
Both are judged by newstest2014, 3,003 sentences, which `sacrebleu -t wmt14/full -l en-de --echo
src` (and `ref`) writes as text.

`ttt data pairs` takes any other pairs, with files named one by one. An interrupted preparation
goes on where it was when the same is typed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_prepared, silent
from ttt.prepare.parallel import Pair
from ttt.prepare.stages import resumable_folder
from ttt.prepare.text import Corpus, Recipe, build

NEEDS = "files named NAME.LANGUAGE or NAME.LANGUAGE.gz, two for each NAME"
BENCHMARK = "transformer"


def options(parser: argparse.ArgumentParser) -> None:
    """Add what else can be chosen."""
    parser.add_argument("--from", dest="source", default="en", help="language code; en")
    parser.add_argument("--to", dest="target", default="de", help="language code; de")
    parser.add_argument(
        "--eval", dest="evaluation", default="newstest2014", help="NAME to judge by"
    )
    parser.add_argument("--vocabulary", type=int, default=33708, help="tokens, both languages")
    parser.add_argument("--max-length", type=int, default=64, help="tokens with the end mark")


def prepare(
    out: Path,
    sources: Sequence[Path] = (),
    progress: Progress = silent,
    *,
    source: str = "en",
    target: str = "de",
    evaluation: str = "newstest2014",
    vocabulary: int = 33708,
    max_length: int = 64,
) -> None:
    """Write a prepared set to `out`; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: Files NAME.`source` and NAME.`target`, packed or not, two for each NAME.
        progress: Called with (kB read, kB in all).
        source: Code of the language to translate from.
        target: And to.
        evaluation: The NAME that is not trained on but judged by.
        vocabulary: Tokens to learn, both languages together. MLPerf's vocabularies have 33,708
            (`transformer`) and 32,320 (`gnmt`); they are made by other tools, and a submission to
            the closed division has to use the very same.
        max_length: Longest sentence to train on, in tokens with its end mark.

    Raises:
        DataError: A file is missing or unfit, or something else lies at `out`.
        MissingExtra: sentencepiece is not installed.
    """
    corpus = _corpus(sources, (source, target), evaluation)
    recipe = Recipe(source, target, vocabulary, max_length)
    if is_prepared(out, corpus.identity(recipe)):
        return
    with resumable_folder(out) as folder:
        build(folder, corpus, recipe, progress)


def _corpus(sources: Sequence[Path], languages: tuple[str, str], evaluation: str) -> Corpus:
    """Files put together by name."""
    sides: dict[str, dict[str, Path]] = {}
    for path in sources:
        name, _, language = path.name.removesuffix(".gz").rpartition(".")
        if language not in languages:
            raise DataError(
                f"{path} is in neither language by its name; allowed: NAME.{languages[0]} and"
                f" NAME.{languages[1]}, plain or .gz; --from CODE --to CODE"
            )
        sides.setdefault(name, {})[language] = path
    for name, found in sides.items():
        if lacking := [language for language in languages if language not in found]:
            raise DataError(
                f"--src has {next(iter(found.values()))} and no {name}.{lacking[0]} to go with it;"
                " give both"
            )
    pairs = {name: Pair(*(sides[name][language] for language in languages)) for name in sides}
    if evaluation not in pairs or len(pairs) == 1:
        raise DataError(
            f"--src has {', '.join(pairs) or 'nothing'}, of which --eval {evaluation} is to be"
            " judged by and the others trained on; type --eval NAME, one of them"
        )
    judge = pairs.pop(evaluation)
    return Corpus("sentence pairs", list(pairs.values()), judge)
