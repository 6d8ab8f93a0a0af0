"""Bytes as text in a page: 13 bits in two of 91 printable ASCII characters, none of which HTML reads as its own.

A file of such text outlives other line ends, other character sets, and programs that drop what is not printable. A byte
in each character would be a sixth smaller, and outlive none of them; base64 is a twelfth larger. White space between
characters says nothing. Bits are taken from the highest, and zeros fill the last pair.
"""

from __future__ import annotations

from typing import Final

from .errors import ParseError

# all of ASCII that is printable, but: space " & <
ALPHABET: Final = bytes(code for code in range(0x21, 0x7F) if code not in b'"&<')
_BITS: Final = 13  # in a pair of characters
_ONE: Final = 6  # in a single one, at the end
_PAIRS: Final = [bytes((ALPHABET[value // 91], ALPHABET[value % 91])) for value in range(1 << _BITS)]
_VALUES: Final = {pair: value for value, pair in enumerate(_PAIRS)} | {
    ALPHABET[value : value + 1]: value << _BITS - _ONE for value in range(1 << _ONE)
}
_GROUP: Final = 13  # bytes that make eight pairs


def as_text(data: bytes) -> str:
    """Bytes as text."""
    found = []
    for at in range(0, len(data), _GROUP):
        bits = int.from_bytes(data[at : at + _GROUP].ljust(_GROUP, b"\0"), "big")
        found += [_PAIRS[bits >> shift & 0x1FFF] for shift in range(91, -1, -_BITS)]
    pairs, rest = divmod(8 * len(data), _BITS)
    if 0 < rest <= _ONE:
        found[pairs] = ALPHABET[int.from_bytes(data[-1:], "big") << _ONE - rest & (1 << _ONE) - 1 :][:1]
    return b"".join(found[: pairs + bool(rest)]).decode("ascii")


def as_bytes(text: bytes) -> bytes:
    """The bytes of a text, in its one spelling. Raises ParseError."""
    whole = b"".join(text.split())
    try:
        values = [_VALUES[whole[at : at + 2]] for at in range(0, len(whole), 2)]
    except KeyError as error:
        raise ParseError(
            "the bundle's data are damaged: they hold characters that a bundle has not"
        ) from error
    most = len(whole) // 2 * _BITS + len(whole) % 2 * _ONE
    least = most - (_ONE - 1 if len(whole) % 2 else _ONE)
    size = most // 8
    values += [0] * (-len(values) % 8)
    data = bytearray()
    for at in range(0, len(values), 8):
        bits = 0
        for value in values[at : at + 8]:
            bits = bits << _BITS | value
        data += bits.to_bytes(_GROUP, "big")
    if any(data[size:]) or 8 * size < least:
        raise ParseError("the bundle's data are damaged: they end in no whole byte")
    return bytes(data[:size])
