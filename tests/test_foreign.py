"""One reader for files of others: nothing waits, nothing grows, every refusal is a sentence."""

import os
import socket
from pathlib import Path

import pytest
import yaml

from ttt import foreign
from ttt.foreign import ForeignError

pytestmark = pytest.mark.timeout(120)  # what waits for a pipe or parses for hours fails

ALIASES = "a: &a [1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (pipe, "it is not a regular file"),
        (endless, "it is not a regular file"),
        (a_socket, "it is not a regular file"),
        (folder, "Is a directory"),
        (loop, "symbolic links"),
        (sparse, "it has 1,099,511,627,776 bytes; allowed: up to 1,073,741,824"),
        (lambda path: None, "No such file"),
    ],
)
@pytest.mark.parametrize("name", ["summary.json", "config.yaml"])
def test_only_regular_files_of_a_bounded_size_are_opened(make, said: str, name: str, tmp_path):
    make(tmp_path / name)
    for read in (foreign.mapping, foreign.read, lambda path: list(foreign.lines(path))):
        with pytest.raises(ForeignError, match=f"{name} cannot be read: .*{said}"):
            read(tmp_path / name)
    assert foreign.tail(tmp_path / name) == ""


def test_a_device_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = []
    monkeypatch.setattr(os, "open", lambda *asked: opened.append(asked))
    (tmp_path / "a.json").symlink_to("/dev/zero")
    with pytest.raises(ForeignError):
        foreign.read(tmp_path / "a.json")
    assert opened == []


def test_no_link_leads_out_of_a_tree(tmp_path: Path):
    tree, private = tmp_path / "tree", tmp_path / "private.json"
    tree.mkdir()
    private.write_text('{"a": 1}')
    (tree / "out.json").symlink_to(private)
    (tree / "folder").symlink_to(tmp_path)
    for path in (tree / "out.json", tree / "folder" / "private.json", tree / ".." / "private.json"):
        with pytest.raises(ForeignError, match=r"leads to .*private\.json, outside of"):
            foreign.mapping(path, inside=tree)
        assert foreign.tail(path, inside=tree) == ""
        assert foreign.mapping(path) == {"a": 1}  # a person may have typed it
    (tree / "in.json").write_text('{"a": 2}')
    (tree / "link.json").symlink_to("in.json")
    assert foreign.mapping(tree / "link.json", inside=tree) == {"a": 2}


LONG_NUMBER = "is damaged: a number has more than 1,000 digits; allowed: up to 1,000$"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ALIASES, "line 2 has the alias \\*a; allowed: none"),
        ("seed: 0x" + "f" * 4000, "line 1 has a number of 4,002 characters; allowed: up to 1,000"),
        ("seed: 0x" + "f" * 990, LONG_NUMBER),
        ("seed: 1" + ":1" * 4000, "line 1 has a number of 8,001 characters"),
        ("seed: !!int '0x" + "f" * 4000 + "'", "line 1 has the tag"),
        ("a: !!python/object/apply:os.system [x]", "line 1 has the tag"),
        ("a: " + "[" * 5000, "nested too deeply; allowed: 64 levels"),
        ("- " * 3000 + "x", "nested too deeply"),
        ("a: \0", "control characters are not allowed"),
        ("[1]: 2", "unhashable|names a value"),
        ("a: [1\n", "did not find|expected"),
        ("- 1", "it holds no mapping"),
        ("", "it holds no mapping"),
        ("a: " + "x" * (1 << 18), "over 262,144 bytes, as many are allowed"),
    ],
)
def test_what_yaml_would_make_of_a_text_is_bounded(text: str, said: str, tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ForeignError, match=said) as refused:
        foreign.mapping(path)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.sentence.startswith("config.yaml ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": ' + "9" * 5000 + "}", LONG_NUMBER),
        ('{"a": -' + "9" * 1001 + "}", LONG_NUMBER),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested too deeply"),
        ("[]", "it holds no mapping"),
        ("{", "is damaged"),
        ('{"a": [' + "[]," * 2_100_000 + "1]}", "it has over 4,000,000 values"),
    ],
)
def test_what_json_would_make_of_a_text_is_bounded(text: str, said: str, tmp_path: Path):
    path = tmp_path / "summary.json"
    path.write_text(text)
    with pytest.raises(ForeignError, match=said):
        foreign.mapping(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    for name in ("a.json", "a.yaml"):
        (tmp_path / name).write_bytes(b'{"a": "\xff"}')
        with pytest.raises(ForeignError, match=r"is damaged: .*decode byte 0xff"):
            foreign.mapping(tmp_path / name)


def test_a_number_of_as_many_digits_as_are_allowed_is_read(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"a": -' + "9" * 1000 + "}")
    assert foreign.mapping(tmp_path / "a.json") == {"a": 1 - 10**1000}


def test_text_that_cannot_be_encoded_is_escaped(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"a\\ud800": ["\\udc80", "\\ud83d\\ude00", "\u00e9"]}')
    found = foreign.mapping(tmp_path / "a.json")
    assert found == {"a\\ud800": ["\\x80", "\U0001f600", "\u00e9"]}
    str(found).encode()
    (tmp_path / "a.yaml").write_text('"a\\ud800": ["\\udc80", "\\u00e9", "\\e"]')
    assert foreign.mapping(tmp_path / "a.yaml") == {"a\\ud800": ["\\x80", "\u00e9", "\x1b"]}


def test_what_is_honest_is_read_as_before(tmp_path: Path):
    content = {"a": [1, -2.5, True, None, "x", "12:30", {"b": {}}], "e": 1e-05, "day": "2026-11-30"}
    text = yaml.safe_dump(content) + "date: 2026-11-30\n1: 2\n"
    (tmp_path / "config.yaml").write_text(text)
    assert foreign.mapping(tmp_path / "config.yaml") == content | {"date": "2026-11-30", "1": 2}


def test_a_line_that_is_too_long_is_left_out_and_the_others_are_not(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\n" + b"x" * 95 + b"\ntwo\n" + b"y" * 10 + b"\nlast")
    assert list(foreign.lines(path, longest=10)) == [b"one\n", b"two\n", b"y" * 10 + b"\n", b"last"]
    assert foreign.tail(path, most=6) == "y\nlast"
