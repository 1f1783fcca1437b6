"""Reads files that other people may have made; no file makes it wait, use up memory or crash.

Results, run folders and data sets come in archives and clones. A file with a name that ttt knows
may be a pipe, a link to a device or to a private file, a terabyte of zeros, or a text that grows
when it is parsed. So ttt opens and parses every file of others here, within limits far above those
of real files. May not know what is in a file.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from ttt.errors import USAGE, TttError, encodable

LARGEST = 1 << 30  # bytes of a file that is read line by line; published logs have a few megabytes
LARGEST_TEXT = 1 << 26  # bytes of a file that is read at once; a summary of 4,096 ranks has 10 MB
LARGEST_YAML = 1 << 18  # bytes of a configuration, which has a few thousand; parsing is slow
LONGEST = 1 << 20  # bytes of a line of a record of events
MOST_VALUES = 4_000_000  # in one file; each takes up to 100 bytes of memory
DEEPEST = 64  # mappings and lists in each other

LONGEST_NUMBER = 1000  # digits; some forms of YAML take time by their square
_BEYOND = 10**LONGEST_NUMBER  # Python reads and prints numbers of up to 4,300 digits
_PLAIN_TAG = "tag:yaml.org,2002:"


class ForeignError(TttError):
    """Another person's file that cannot be used.

    Attributes:
        path: The file.
        why: What is wrong with it and what is allowed, as the rest of a sentence.
    """

    exit_code = USAGE

    def __init__(self, path: Path, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path} {why}")

    @property
    def sentence(self) -> str:
        """The same with the file's own name only, for a text that names its folder already."""
        return f"{self.path.name} {self.why}"


def regular(path: str, flags: int) -> int:
    """Open a file only if it can be read to its end; an `opener` for `open`.

    Raises:
        OSError: It cannot be opened, is no regular file, or has more than LARGEST bytes.
    """
    return _open(path, flags, LARGEST)


def of_any_size(path: str, flags: int) -> int:
    """Open a regular file of any size; an `opener` for `open`.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    return _open(path, flags, None)


def _open(path: str, flags: int, most: int | None) -> int:
    # A pipe without a writer would never return, a device may have no end, and to open a device may
    # change it. So the file's kind is checked before it is opened, and again after.
    _demand_regular(os.stat(path), path, most)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _demand_regular(os.fstat(descriptor), path, most)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _demand_regular(status: os.stat_result, path: str, most: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    if most is not None and status.st_size > most:
        why = f"it has {status.st_size:,} bytes; allowed: up to {most:,}"
        raise OSError(errno.EFBIG, why, path)


def demand_inside(path: Path, tree: Path) -> None:
    """Refuse a file that a link leads out of a tree to: it may be a private one of the reader.

    Raises:
        ForeignError: It does.
    """
    real, root = os.path.realpath(path), os.path.realpath(tree)
    if os.path.commonpath([real, root]) != root:
        why = f"leads to {real}, outside of {tree}; allowed: regular files inside, such as a copy"
        raise ForeignError(path, why)


def read(path: Path, inside: Path | None = None, most: int = LARGEST_TEXT) -> bytes:
    """All bytes of a file.

    Args:
        path: The file.
        inside: The tree it belongs to; no link may lead out of it. None where any link may be
            followed, as in a path that a person typed.
        most: Bytes it may have.

    Raises:
        ForeignError: It cannot be read, is no regular file, or is too large.
    """
    with _opened(path, inside) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise ForeignError(path, f"cannot be read: it has over {most:,} bytes, as many are allowed")
    return found


def tail(path: Path, inside: Path | None = None, most: int = LONGEST) -> str:
    """The last bytes of a text of any length, such as what a launcher printed; "" if unreadable."""
    try:
        with _opened(path, inside) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read(most).decode("utf-8", "replace")
    except (OSError, ForeignError):
        return ""


def lines(path: Path, inside: Path | None = None, longest: int = LONGEST) -> Iterator[bytes]:
    """The lines of a file, in constant memory; one that is longer than allowed is left out.

    Raises:
        ForeignError: It cannot be read, is no regular file, or is too large.
    """
    with _opened(path, inside) as file:
        whole = True
        while line := file.readline(longest + 1):
            ends = line.endswith(b"\n")
            if whole and (ends or len(line) <= longest):
                yield line
            whole = ends


@contextmanager
def _opened(path: Path, inside: Path | None) -> Iterator[BinaryIO]:
    """Open a file that others made; an error while it is open becomes a `ForeignError`."""
    if inside is not None:
        demand_inside(path, inside)
    try:
        with open(path, "rb", opener=regular) as file:
            yield file
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        why = error.strerror if isinstance(error, OSError) else error
        raise ForeignError(path, f"cannot be read: {why}") from error


def mapping(path: Path, inside: Path | None = None) -> dict[str, Any]:
    """The content of a file of JSON, or of YAML where its name says so.

    Every text in it can be encoded: what cannot, as a lone surrogate, is escaped.

    Args:
        path: The file.
        inside: As in `read`.

    Raises:
        ForeignError: It cannot be read, or holds no mapping within the bounds.
    """
    is_yaml = path.suffix in (".yaml", ".yml")
    text = read(path, inside, LARGEST_YAML if is_yaml else LARGEST_TEXT)
    try:
        content = parsed_yaml(text) if is_yaml else parsed_json(text)
    except ValueError as error:
        raise ForeignError(path, f"is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ForeignError(path, "is damaged: it holds no mapping")
    return content


def parsed_json(text: bytes) -> Any:
    """What a text of JSON holds.

    Raises:
        ValueError: It is none, or beyond the bounds.
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"it has over {MOST_VALUES:,} values, as many are allowed")
    try:
        return bounded(loaded_json(text.decode("utf-8-sig")))  # some editors put a mark first
    except RecursionError:
        raise ValueError(_too_deep()) from None


def loaded_json(text: str) -> Any:
    """As `json.loads`, which advises to take away Python's own limit where a number is too long.

    Raises:
        ValueError: It is no JSON, or has such a number.
        RecursionError: It is nested too deeply.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # what else json raises is the refusal of int()
        raise ValueError(_long_number()) from None


def parsed_yaml(text: bytes) -> Any:
    """What a text of YAML holds: plain values only, each of which stands in the text.

    Raises:
        ValueError: It is none, or beyond the bounds.
    """
    try:
        decoded = text.decode("utf-8")
        try:
            return _plain_yaml(decoded, _Fast)
        except yaml.YAMLError as error:
            if "invalid Unicode character" not in str(error):
                raise
            return _plain_yaml(decoded, _Slow)  # takes the half of a surrogate pair, as odd names
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except (TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError(f"a value is not what its place asks for ({error})") from error


# Safe, and a date stays the text that it is.
_RESOLVERS = {
    first: [(tag, form) for tag, form in known if tag != f"{_PLAIN_TAG}timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Slow(yaml.SafeLoader):
    yaml_implicit_resolvers = _RESOLVERS


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is ten times as fast


class _Fast(_Safe):  # type: ignore[misc]
    yaml_implicit_resolvers = _RESOLVERS


def _plain_yaml(text: str, loader: Any) -> Any:
    _demand_plain(text, loader)
    return bounded(yaml.load(text, Loader=loader))


def _demand_plain(text: str, loader: Any) -> None:
    """Refuse what makes a text grow when it is parsed, or takes long to parse."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line} has the alias *{event.anchor:.40}; allowed: none")
        if (tag := getattr(event, "tag", None)) not in (None, "!"):
            raise ValueError(f"line {line} has the tag {tag!r:.60}; allowed: none")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise ValueError(_too_deep())
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and _is_long_number(event):
            length = len(event.value)
            raise ValueError(
                f"line {line} has a number of {length:,} characters;"
                f" allowed: up to {LONGEST_NUMBER:,}"
            )


def _is_long_number(event: yaml.ScalarEvent) -> bool:
    """Whether what is not quoted begins as a number, and goes on for too long."""
    text = event.value
    return not event.style and len(text) > LONGEST_NUMBER and text[0] in "-+.0123456789"


def bounded(value: Any, depth: int = 0) -> Any:
    """The same value with text that can be encoded, if nothing in it is out of bounds.

    Args:
        value: What a parser of JSON or YAML gave.
        depth: Levels above it.

    Raises:
        ValueError: Something is.
    """
    match value:
        case str():
            return value if value.isascii() else encodable(value)
        case bool() | None | float():
            return value
        case int():
            if abs(value) >= _BEYOND:
                raise ValueError(_long_number())
            return value
        case dict() | list() if depth >= DEEPEST:
            raise ValueError(_too_deep())
        case dict():
            return {_name(name): bounded(each, depth + 1) for name, each in value.items()}
        case list():
            return [bounded(each, depth + 1) for each in value]
    raise ValueError(f"it has a {type(value).__name__}; allowed: text, numbers, lists, mappings")


def _name(name: Any) -> str:
    if isinstance(name, str | int | float | None):
        return str(bounded(name))
    raise ValueError(f"a {type(name).__name__} names a value; allowed: text")


def _long_number() -> str:
    return f"a number has more than {LONGEST_NUMBER:,} digits; allowed: up to {LONGEST_NUMBER:,}"


def _too_deep() -> str:
    return f"it is nested too deeply; allowed: {DEEPEST} levels"
