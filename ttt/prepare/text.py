"""From files of sentences to tokens as `ttt.data.corpus` reads them, in bounded memory.

Four stages, each of which leaves files and a note in `stages.json`: look through all text once,
learn the tokens, tokenize the training set, tokenize what to translate. A folder that was left
half-way goes on after the last stage that was finished. Shared by the preparers of sentence pairs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from ttt.errors import DataError, MissingExtra
from ttt.prepare import room
from ttt.prepare.folder import MANIFEST, Progress, file_hash
from ttt.prepare.parallel import Pair, Reading, chunks, sentences
from ttt.prepare.stages import STAGES, Stages
from ttt.special_tokens import BOS, EOS, PAD, UNK

_CHUNK = 8192  # sentence pairs tokenized at a time
_CHARACTERS = 1 << 24  # and about how many in all, where they are long
_LEARN_FROM = 1_000_000  # sentence pairs that tokens are learned from, at equal distances
_LEAST, _MOST = 500, 32_000  # tokens, where the user names no number
_THREADS = 4  # fixed: the model says how many there were, and its bytes should not depend on us


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides how a set is prepared, apart from its text.

    Attributes:
        source_language: Code of the language to translate from.
        target_language: And to.
        vocabulary: Tokens to learn, both languages together, special ones included; None: as many
            as suit the number of pairs, or fewer if there are not so many.
        max_length: Longest sentence to train on, in tokens with its end mark; a pair with a longer
            one is left out. None is left out of the evaluation.
    """

    source_language: str
    target_language: str
    vocabulary: int | None
    max_length: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """The files of a set.

    Attributes:
        name: Where it comes from.
        train: Files to train on.
        evaluation: Files to translate and to be judged by.
    """

    name: str
    train: Sequence[Pair]
    evaluation: Pair

    def identity(self, recipe: Recipe) -> dict[str, Any]:
        """What distinguishes one preparation from another, but no open vocabulary."""
        train = [[path.name for path in pair] for pair in self.train]
        evaluation = [path.name for path in self.evaluation]
        asked = {name: value for name, value in asdict(recipe).items() if value is not None}
        return {"source": self.name, "train": train, "eval": evaluation, **asked}

    def work(self, recipe: Recipe) -> tuple[list[Any], dict[str, int]]:
        """What tells a preparation from one with other files of these names; bytes by stage."""
        paths = [*chain(*self.train), *self.evaluation]
        sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
        train, evaluation = sum(sizes[:-2]), sum(sizes[-2:])
        stages = {"survey": train + evaluation, "tokens": train, "train": train, "eval": evaluation}
        return [self.identity(recipe), sizes], stages

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file by its name, with its folder where two have the same name."""
        paths = list(dict.fromkeys([*chain(*self.train), *self.evaluation]))
        names = [path.name for path in paths]
        return {
            path.name if names.count(path.name) == 1 else str(path): file_hash(path)
            for path in paths
        }


def build(folder: Path, corpus: Corpus, recipe: Recipe, progress: Progress) -> None:
    """Fill a folder with the prepared set.

    Args:
        folder: Empty, or left by an interrupted call.
        corpus: Its files.
        recipe: How.
        progress: Called with (kB read, kB in all); every file is read once a stage that needs it.

    Raises:
        DataError: The text is not fit for use, or has not got so many tokens.
        MissingExtra: sentencepiece is not installed.
    """
    try:
        import sentencepiece  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("sentencepiece", "text", "making tokens of text") from error
    identity, sizes = corpus.work(recipe)
    room.need(folder, sizes["survey"] // 2 - room.used(folder))
    stages = Stages(folder / STAGES, identity, sizes, progress)
    read = stages.reading
    try:
        seen = stages.run("survey", lambda: _survey(corpus, read))
        learnt = stages.run("tokens", lambda: _learn(folder, corpus, recipe, seen["pairs"], read))
        train = stages.run("train", lambda: _train_set(folder, corpus, recipe, read))
        evaluation = stages.run("eval", lambda: _eval_set(folder, corpus, recipe, read))
    except DataError:  # other text or options are needed, for which the stages are done anew
        stages.forget()
        raise
    made = sorted(path for path in folder.iterdir() if path.is_file() and path.name != STAGES)
    manifest = {
        **corpus.identity(recipe),
        "vocabulary": learnt.get("vocabulary", recipe.vocabulary),
        "counts": {"train": train["kept"], "eval": evaluation["kept"]},
        "left_out": {name: train[name] for name in ("empty", "too_long")},
        "tokens": {"source": train["source_tokens"], "target": train["target_tokens"]},
        "tokenizer": "sentencepiece, byte-pair encoding",
        "dtype": _dtype(recipe).name,
        "sources": corpus.hashes(),
        "files": {path.name: file_hash(path) for path in made},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    stages.forget()


def _survey(corpus: Corpus, reading: Reading) -> dict[str, int]:
    """Read everything once: faults of the text are found before anything is made."""
    for _ in sentences(corpus.evaluation, reading):
        pass
    pairs = sum(1 for pair in corpus.train for _ in sentences(pair, reading))
    return {"pairs": pairs}


def _learn(
    folder: Path, corpus: Corpus, recipe: Recipe, pairs: int, reading: Reading
) -> dict[str, int]:
    """Learn the tokens, the same for both languages, from the training set."""
    from sentencepiece import (  # noqa: PLC0415 - an extra
        SentencePieceProcessor,
        SentencePieceTrainer,
    )

    every = -(-pairs // _LEARN_FROM)
    wanted = recipe.vocabulary or min(_MOST, max(_LEAST, round(35 * pairs**0.5)))
    options: Any = {} if recipe.vocabulary else {"hard_vocab_limit": False}
    path = folder / "spm.model"
    try:
        with path.open("wb") as model:
            SentencePieceTrainer.train(
                sentence_iterator=chain.from_iterable(
                    islice(_training_pairs(corpus, reading), 0, None, every)
                ),
                model_writer=model,
                model_type="bpe",
                vocab_size=wanted,
                **options,
                character_coverage=1.0,  # no letter of an alphabet is too rare
                shuffle_input_sentence=False,
                num_threads=_THREADS,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                minloglevel=2,
            )
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{wanted} tokens cannot be learned from {corpus.name}: {error}; type --vocabulary N"
        ) from error
    vocabulary = SentencePieceProcessor(model_file=str(path)).vocab_size()
    return {"learned_from": -(-pairs // every), "vocabulary": vocabulary}


def _train_set(folder: Path, corpus: Corpus, recipe: Recipe, reading: Reading) -> dict[str, int]:
    """Tokenize the training set, but for pairs that are too long or lack a side."""
    found = {"kept": 0, "empty": 0, "too_long": 0}
    source, target = (_Writer(folder / f"train.{s}", _dtype(recipe)) for s in ("src", "trg"))
    tokenize = _tokenizer(folder)
    with source, target:
        for chunk in chunks(_training_pairs(corpus, reading), _CHUNK, _CHARACTERS):
            whole = [pair for pair in chunk if all(pair)]
            sides = [tokenize([pair[side] for pair in whole]) for side in (0, 1)]
            fits = [max(map(len, pair)) < recipe.max_length for pair in zip(*sides, strict=True)]
            for writer, side in zip((source, target), sides, strict=True):
                writer.write([ids for ids, short in zip(side, fits, strict=True) if short])
            found["kept"] += sum(fits)
            found["empty"] += len(chunk) - len(whole)
            found["too_long"] += len(whole) - sum(fits)
    if not found["kept"]:
        raise DataError(
            f"no sentence pair of {corpus.name} has at most max_length={recipe.max_length} tokens;"
            " type --max-length N"
        )
    return found | {"source_tokens": source.tokens, "target_tokens": target.tokens}


def _eval_set(folder: Path, corpus: Corpus, recipe: Recipe, reading: Reading) -> dict[str, int]:
    """Tokenize what to translate; keep how people did it as it is."""
    tokenize, kept = _tokenizer(folder), 0
    source = _Writer(folder / "eval.src", _dtype(recipe))
    text = folder / "eval.trg.txt"
    with source, text.open("w", encoding="utf-8", newline="\n") as references:
        for chunk in chunks(sentences(corpus.evaluation, reading), _CHUNK, _CHARACTERS):
            source.write(tokenize([ours for ours, _ in chunk]))
            references.writelines(f"{theirs}\n" for _, theirs in chunk)
            kept += len(chunk)
    return {"kept": kept}


class _Writer:
    """Token ids to NAME.bin, and at the end where sentences begin to NAME.npy."""

    def __init__(self, name: Path, dtype: np.dtype[Any]) -> None:
        self._name, self._dtype = name, dtype
        self._lengths = [np.zeros(1, np.int64)]
        self.tokens = 0

    def __enter__(self) -> _Writer:
        self._file = Path(f"{self._name}.bin").open("wb")
        return self

    def write(self, ids: Sequence[Sequence[int]]) -> None:
        """Append sentences."""
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        self._lengths.append(lengths)
        self.tokens += int(lengths.sum())
        np.fromiter(chain.from_iterable(ids), self._dtype, int(lengths.sum())).tofile(self._file)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        np.save(f"{self._name}.npy", np.concatenate(self._lengths).cumsum())


def _training_pairs(corpus: Corpus, reading: Reading) -> Iterator[tuple[str, str]]:
    return chain.from_iterable(sentences(pair, reading) for pair in corpus.train)


def _tokenizer(folder: Path) -> Callable[[list[str]], list[list[int]]]:
    from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra

    model = SentencePieceProcessor(model_file=str(folder / "spm.model"))
    return lambda text: model.encode(text, num_threads=_THREADS)


def _dtype(recipe: Recipe) -> np.dtype[Any]:
    return np.dtype(np.uint16 if (recipe.vocabulary or _MOST) <= 2**16 else np.int32)
