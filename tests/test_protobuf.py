"""Messages of protocol buffers, by the examples of their own documentation."""

import pytest

from ttt.protobuf import LENGTH, field, fields, integer, packed_integer

# protobuf.dev/programming-guides/encoding: Test1 {a: 150}, and Test2 {b: "testing"}
NUMBER = bytes.fromhex("08 96 01")
TEXT = bytes.fromhex("12 07 74 65 73 74 69 6e 67")
FLOAT = bytes.fromhex("1d 00 00 80 3f")  # a field 3 of four bytes


def test_the_examples_of_the_documentation_are_read():
    found = dict(fields(memoryview(NUMBER + TEXT + FLOAT)))
    assert integer(found[1])[0] == 150
    assert bytes(found[2]) == b"testing"
    assert bytes(found[3]) == b"\x00\x00\x80?"


def test_what_is_written_is_that():
    assert field(2, b"testing") == TEXT
    assert b"\x08" + packed_integer(150) == NUMBER


@pytest.mark.parametrize(
    ("message", "kinds", "error", "why"),
    [
        (NUMBER, [LENGTH], ValueError, "field 1 has the wire type 0"),
        (b"\x0b", [0, 2, 5], ValueError, "field 1 has the wire type 3"),
        (TEXT[:-1], [LENGTH], ValueError, "field 2 ends after its message"),
        (FLOAT[:-1], [5], ValueError, "field 3 ends after its message"),
        (b"\x08" + b"\xff" * 10 + b"\x01", [0], ValueError, "more than 10 bytes"),
        (NUMBER[:-1], [0], IndexError, "index"),
    ],
)
def test_damaged_messages_are_refused(message, kinds, error, why):
    with pytest.raises(error, match=why):
        list(fields(memoryview(message), kinds))
