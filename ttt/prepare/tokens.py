"""Text of your own as tokens of a language model, in the files of Megatron-LM.

--train and --eval take files of UTF-8 text, plain or packed by gzip. These hold records of JSON,
one a line (.jsonl, .json, .ndjson), or text. Each file of text is a document, or with --by-line
each line. --tokenizer takes a tokenizer.json of the library tokenizers or a model of sentencepiece;
without it each byte is a token. Nothing marks where documents begin, and their end only with
--append-eod.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ttt.data.megatron import Writer, dtype_for
from ttt.errors import ConfigError, DataError, counted, fault
from ttt.prepare.folder import (
    MANIFEST,
    Progress,
    file_hash,
    is_prepared,
    manifest_of,
    silent,
    whole_folder,
)
from ttt.prepare.named import count_problems, text_problems
from ttt.prepare.parallel import chunks
from ttt.prepare.token_sets import PARTS, write_manifest
from ttt.prepare.tokenizing import Tokenizer, documents, has_records, of_bytes, opened

NEEDS = None  # its files are named by options of their own
_CHUNK = 1000  # documents tokenized at a time
_CHARACTERS = 1 << 22  # and about how many in all, where they are long
BENCHMARK = "topics"  # a model that fits any text of a moderate size


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this set asks for."""
    files: dict[str, Any] = {"type": Path, "nargs": "+", "required": True, "metavar": "TEXT"}
    parser.add_argument("--train", help="files to train on", **files)
    parser.add_argument("--eval", dest="evaluation", help="files to evaluate on", **files)
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="a model of tokens (each byte is one)"
    )
    parser.add_argument("--json-key", help="the text in a record of JSON (text)")
    parser.add_argument("--by-line", action="store_true", help="each line is a document")
    parser.add_argument(
        "--append-eod",
        metavar="TOKEN",
        help="end each document by this token of the tokenizer; of bytes, by token 256",
    )
    parser.add_argument(
        "--length", type=int, default=64, help="tokens of a sequence, to count them by (64)"
    )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What can be chosen.

    Attributes:
        train: Files to train on.
        evaluation: Files to evaluate on.
        tokenizer: A model of tokens; None: each byte is one.
        json_key: The text in a record of JSON; None: "text".
        by_line: Whether each line of a plain text is a document.
        append_eod: The token that ends each document; None: none does.
        length: Tokens of a sequence.
    """

    train: Sequence[Path]
    evaluation: Sequence[Path]
    tokenizer: Path | None = None
    json_key: str | None = None
    by_line: bool = False
    append_eod: str | None = None
    length: int = 64

    def problems(self) -> list[str]:
        """A sentence for each thing that is wrong."""
        wrong = text_problems([*self.train, *self.evaluation])
        if self.tokenizer and not self.tokenizer.is_file():
            wrong.append(
                fault("--tokenizer", self.tokenizer, "is not a file", allowed="a model of tokens")
            )
        wrong += self._ignored()
        return wrong + count_problems({"--length": (self.length, 64)})

    def _ignored(self) -> list[str]:
        """A sentence for each option that none of the files has a use for."""
        kinds = {has_records(path) for path in (*self.train, *self.evaluation)}
        wrong = []
        if self.json_key is not None and True not in kinds:
            wrong.append(
                f"--json-key {self.json_key} has no effect: no file has records of JSON; allowed:"
                " names that end in .json, .jsonl or .ndjson, or that and .gz; leave --json-key out"
            )
        if self.by_line and False not in kinds:
            wrong.append(
                "--by-line has no effect: every file has records of JSON, each a document; leave"
                " --by-line out"
            )
        return wrong

    @property
    def key(self) -> str:
        """The text in a record of JSON."""
        return "text" if self.json_key is None else self.json_key

    def identity(self) -> dict[str, Any]:
        """What tells this set from others before it is made."""
        files = {"train": self.train, "eval": self.evaluation}
        return {
            "source": {
                part: [f"{path.name}, {path.stat().st_size} bytes" for path in paths]
                for part, paths in files.items()
            },
            "sequence_length": self.length,
            "tokenizer": file_hash(self.tokenizer) if self.tokenizer else "bytes",
            "text": f"{'lines' if self.by_line else 'files'}, or {json.dumps(self.key)}",
            "end_of_document": self.append_eod,
        }


def prepare(
    out: Path, sources: Sequence[Path] = (), progress: Progress = silent, **options: Any
) -> list[str]:
    """Write train and eval, a .bin and .idx each, and manifest.json; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: files have options of their own.
        progress: Called with (kB read, kB in all).
        options: The fields of `Asked`.

    Returns:
        What people should know of the set.

    Raises:
        ConfigError: The files named are no texts.
        DataError: A file is unfit, or something else lies at `out`.
        MissingExtra: The library of the tokenizer is not installed.
    """
    asked = Asked(**options)
    if wrong := asked.problems():
        raise ConfigError(wrong)
    identity = asked.identity()
    if is_prepared(out, identity):
        return []
    tokenizer = opened(asked.tokenizer) if asked.tokenizer else of_bytes(asked.append_eod)
    end = _end(asked, tokenizer)
    total = sum(path.stat().st_size for path in chain(asked.train, asked.evaluation))
    read = 0

    def reading(size: int) -> None:
        nonlocal read
        read += size
        progress(read // 1000, total // 1000)

    with whole_folder(out) as folder:
        for part, paths in zip(PARTS, (asked.train, asked.evaluation), strict=True):
            with Writer(folder / part, dtype_for(tokenizer.vocabulary)) as writer:
                for path in paths:
                    _write(writer, path, asked, tokenizer.encode, end, reading)
            if not writer.tokens:
                raise DataError(f"the files to {part} hold no text; give files with text")
            if writer.tokens <= asked.length:
                raise DataError(
                    f"the files to {part} hold {writer.tokens:,} tokens, fewer than a sequence of"
                    f" --length {asked.length} and the token after it; give more text, or type"
                    f" --length {max(1, writer.tokens - 1)}"
                )
        rest = {name: value for name, value in identity.items() if name not in _WRITTEN}
        write_manifest(
            folder,
            identity["source"],
            length=asked.length,
            vocabulary=tokenizer.vocabulary,
            **rest,
        )
    return _remarks(out)


_WRITTEN = ("source", "sequence_length")  # of an identity, by `write_manifest` itself


def _write(
    writer: Writer,
    path: Path,
    asked: Asked,
    encode: Callable[[list[str]], Sequence[Any]],
    end: list[int],
    reading: Callable[[int], None],
) -> None:
    texts = documents(path, by_line=asked.by_line, key=asked.key, reading=reading)
    for chunk in chunks(filter(None, texts), _CHUNK, _CHARACTERS):
        writer.write([*ids, *end] if end else ids for ids in encode(chunk))


def _end(asked: Asked, tokenizer: Tokenizer) -> list[int]:
    """The token that ends each document, if one does.

    Raises:
        DataError: The tokenizer has no such token.
    """
    if asked.append_eod is None:
        return []
    place = tokenizer.place(asked.append_eod)
    if place is None:
        raise DataError(
            fault(
                "--append-eod",
                asked.append_eod,
                f"is no token of {asked.tokenizer}",
                allowed="one of its tokens, as <|end_of_text|> or </s>",
            )
        )
    return [place]


def _remarks(out: Path) -> list[str]:
    made = manifest_of(out / MANIFEST)
    parts = [
        f"{part} has {counted(made['documents'][part], 'document')} and"
        f" {counted(made['tokens'][part], 'token')},"
        f" {counted(made['counts'][part], 'sequence')} of {made['sequence_length']}"
        for part in PARTS
    ]
    return [*parts, f"the vocabulary has {made['vocabulary']:,} tokens"]
