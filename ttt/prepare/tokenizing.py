"""Text as token ids, by a model that the user has, and documents as files hold them.

It knows models of the libraries tokenizers (tokenizer.json) and sentencepiece; without a model each
byte is a token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttt import foreign
from ttt.data import bounds
from ttt.errors import DataError, MissingExtra
from ttt.prepare.parallel import Reading, whole_lines
from ttt.prepare.token_sets import BYTES

_RECORDS = (".json", ".jsonl", ".ndjson")  # files with a record of JSON in each line

Encode = Callable[[list[str]], Sequence[Any]]  # the token ids of each document


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Makes tokens of text.

    Attributes:
        vocabulary: Token ids there are: 0 to below this.
        encode: From documents to lists of ids, without marks of begin or end.
        place: The id of a token by its text; None if there is none such.
    """

    vocabulary: int
    encode: Encode
    place: Callable[[str], int | None]


def of_bytes(end: str | None = None) -> Tokenizer:
    """Every byte of UTF-8 is a token; a mark of end, if there is to be one, is the next id."""

    def encode(texts: list[str]) -> Sequence[Any]:
        return [memoryview(text.encode()) for text in texts]

    return Tokenizer(BYTES + (end is not None), encode, lambda token: BYTES if end else None)


def opened(path: Path) -> Tokenizer:
    """The model in a file: JSON is of tokenizers, all else of sentencepiece.

    Raises:
        DataError: It is missing, or no such model.
        MissingExtra: The library is not installed.
    """
    try:
        content = bounds.whole(path, bounds.MODEL)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; --tokenizer FILE") from error
    if not content:
        raise DataError(f"{path} is empty; allowed: a model of tokens; --tokenizer FILE")
    load = _of_tokenizers if content.lstrip()[:1] == b"{" else _of_sentencepiece
    try:
        return load(content)
    except MissingExtra:
        raise
    except Exception as error:  # tokenizers raises bare ones
        raise DataError(
            f"{path} is no model of tokens ({error}); allowed: a tokenizer.json of the library"
            " tokenizers, or a model of sentencepiece; --tokenizer FILE"
        ) from error


def _of_tokenizers(content: bytes) -> Tokenizer:
    try:
        from tokenizers import Tokenizer as Model  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("tokenizers", "text", "making tokens by a tokenizer.json") from error
    model = Model.from_str(content.decode())
    model.no_truncation()  # a model may be saved with either
    model.no_padding()
    known = model.get_vocab(with_added_tokens=True)

    def encode(texts: list[str]) -> Sequence[Any]:
        return [one.ids for one in model.encode_batch_fast(texts, add_special_tokens=False)]

    return Tokenizer(max(known.values()) + 1, encode, known.get)


def _of_sentencepiece(content: bytes) -> Tokenizer:
    try:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("sentencepiece", "text", "making tokens by such a model") from error
    model = SentencePieceProcessor(model_proto=content)
    known = {model.id_to_piece(number): number for number in range(model.vocab_size())}
    return Tokenizer(model.vocab_size(), model.encode, known.get)


def documents(path: Path, *, by_line: bool, key: str, reading: Reading) -> Iterator[str]:
    """The documents of a file of UTF-8, plain or .gz: its records, its lines, or all of it.

    Args:
        path: The file; one that is named .json, .jsonl or .ndjson has a record in each line.
        by_line: Whether each line of any other file is a document, without its end.
        key: The text in a record.
        reading: Called with the bytes that were read since the last call.

    Raises:
        DataError: The file is absent, damaged or not UTF-8, or a line is no such record.
    """
    lines = whole_lines(path, reading)
    if has_records(path):
        yield from _records(path, lines, key)
    elif by_line:
        yield from (line.rstrip("\r\n") for line in lines)
    else:
        yield "".join(_bounded(path, lines))


def has_records(path: Path) -> bool:
    """Whether a file has a record of JSON in each line, by its name."""
    return path.name.removesuffix(".gz").endswith(_RECORDS)


def _records(path: Path, lines: Iterable[str], key: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = foreign.loaded_json(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number} is no JSON: {error}; give one record a line"
            ) from error
        text = record.get(key) if isinstance(record, dict) else None
        if not isinstance(text, str):
            names = ", ".join(record) if isinstance(record, dict) else "none, it is no mapping"
            raise DataError(
                f"{path}, line {number} has no text {json.dumps(key)}; its names: {names:.200};"
                " --json-key NAME"
            )
        yield text


def _bounded(path: Path, lines: Iterable[str]) -> Iterator[str]:
    size = 0
    for line in lines:
        size += len(line)
        if size > bounds.TEXT:
            raise DataError(
                f"{path} is a document of more than {bounds.TEXT:,} characters; divide it, or type"
                " --by-line if each line is a document"
            )
        yield line
