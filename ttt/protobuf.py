"""Protocol buffers, as far as TFRecord files and TensorFlow's checkpoints use them.

A message is a row of fields: a tag, which has the field's number and wire type, and the value
(protobuf.dev/programming-guides/encoding). Wire types here are 0, an integer; 2, bytes with their
length before them; and 5, four bytes.
"""

from collections.abc import Collection, Iterator

LENGTH = 2  # the wire type of text, messages and packed numbers

_INTEGER, _FOUR_BYTES = 0, 5
_MOST = 10  # bytes of an integer


def fields(
    message: memoryview, kinds: Collection[int] = (_INTEGER, LENGTH, _FOUR_BYTES)
) -> Iterator[tuple[int, memoryview]]:
    """The number of each field and its value's bytes; those of an integer are for `integer`.

    Args:
        message: A whole message.
        kinds: The wire types that its fields may have.

    Raises:
        ValueError: A field has another wire type, or ends after the message.
        IndexError: The message ends within an integer.
    """
    at = 0
    while at < len(message):
        tag, at = integer(message, at)
        kind = tag & 7
        if kind not in kinds:
            raise ValueError(f"field {tag >> 3} has the wire type {kind}")
        if kind == _INTEGER:
            end = integer(message, at)[1]
        elif kind == LENGTH:
            length, at = integer(message, at)
            end = at + length
        else:
            end = at + 4
        if end > len(message):
            raise ValueError(f"field {tag >> 3} ends after its message")
        yield tag >> 3, message[at:end]
        at = end


def integer(message: memoryview, at: int = 0) -> tuple[int, int]:
    """The integer that begins at a place, and the place after it.

    Raises:
        ValueError: It has too many bytes.
        IndexError: The message ends within it.
    """
    number = 0
    for place in range(_MOST):
        byte = message[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError(f"an integer has more than {_MOST} bytes")


def packed_integer(number: int) -> bytes:
    """The bytes of an integer, 0 or more."""
    if number < 0x80:
        return _SMALL[number]
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def field(number: int, value: bytes) -> bytes:
    """A whole field that has a length: text, a message, packed numbers."""
    return packed_integer(number << 3 | LENGTH) + packed_integer(len(value)) + value


_SMALL = [bytes([number]) for number in range(0x80)]  # integers of one byte
