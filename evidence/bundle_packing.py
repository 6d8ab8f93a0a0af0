"""Entries packed for a bundle: what one kind of record repeats stands once, what varies stands column by column.

Nothing of this is evidence: unpacking gives back the very bytes of the entries, and only those are hashed. Entries
with the same skeleton (the text without its varying strings and whole numbers) make a group; each place in the
skeleton is a column, written as what it holds::

    0 constant    length, bytes
    1 text        lengths, then the bytes end to end
    2 whole       differences from entry to entry
    3 decimal     "12.50": most decimals, decimals of each, differences of the values at most decimals
    4 bytes       base64 of one length: that length in bytes, then all first bytes, all second bytes, …
    5 following   a decimal that goes with an earlier decimal column of the group: that column's number, then as 3,
                  but differences from what the ratio of the row before foretells (a result follows its indication)

Numbers are LEB128, differences zigzag. A day of readings then compresses to about a third of what its JSON does.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from math import floor
from typing import Final

from .errors import ParseError

MAX_ENTRIES: Final = 1 << 20
MAX_UNPACKED: Final = 1 << 28
_TOKEN: Final = re.compile(rb'"[^"\\]*":|("[^"\\]*"|-?[0-9]+)')
_HOLE: Final = b"\0"  # no JSON text has one
_WHOLE: Final = re.compile(rb"0|-?[1-9][0-9]{0,17}")
_DECIMAL: Final = re.compile(rb'"-?[0-9]{1,18}(?:\.[0-9]{1,15})?"')
_BASE64: Final = re.compile(rb'"[A-Za-z0-9+/]{4,}={0,2}"')
CONSTANT, TEXT, WHOLE, DECIMAL, BYTES, FOLLOWING = range(6)
_EXACT: Final = 1 << 53  # whole numbers below are exact as doubles, in every language
_SAMPLE: Final = 64  # rows by which a column to follow is chosen


def pack(entries: Sequence[bytes]) -> bytes:
    """The entries as one block. :func:`unpack` gives them back."""
    groups: dict[bytes, list[list[bytes]]] = {}
    order: list[int] = []
    numbers: dict[bytes, int] = {}
    for entry in entries:
        skeleton, tokens = _split(entry)
        order.append(numbers.setdefault(skeleton, len(numbers)))
        groups.setdefault(skeleton, []).append(tokens)
    out = bytearray()
    _number(out, len(entries))
    _number(out, len(groups))
    for number in order:
        _number(out, number)
    for skeleton, rows in groups.items():
        _text(out, skeleton)
        earlier: list[list[int]] = []
        for column in zip(*rows, strict=True):
            _column(out, column, earlier)
    return bytes(out)


def unpack(data: bytes) -> list[bytes]:
    """The entries of a block. Raises ParseError."""
    source = _Source(data)
    count, kinds = source.number(), source.number()
    if count > MAX_ENTRIES or kinds > count:
        raise ParseError(f"packed entries: {count} entries of {kinds} kinds cannot be")
    order = [source.number() for _ in range(count)]
    waiting = []
    for kind in range(kinds):
        rows = order.count(kind) if kinds < 64 else sum(1 for each in order if each == kind)
        source.group()
        parts = source.text().split(_HOLE)
        columns = [source.column(rows) for _ in parts[1:]]
        source.spent(rows * sum(map(len, parts)))
        waiting.append(iter(_joined(parts, columns, rows)))
    try:
        entries = [next(waiting[kind]) for kind in order]
    except (IndexError, StopIteration) as error:
        raise ParseError("packed entries: the kinds and the entries do not agree") from error
    if source.at != len(data):
        raise ParseError(f"packed entries: {len(data) - source.at} bytes too many")
    return entries


def _split(entry: bytes) -> tuple[bytes, list[bytes]]:
    if _HOLE in entry:  # not JSON: kept as it is, in one column
        return _HOLE, [entry]
    tokens: list[bytes] = []

    def hole(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            return found[0]  # a key
        tokens.append(found[1])
        return _HOLE

    return _TOKEN.sub(hole, entry), tokens


def _joined(parts: Sequence[bytes], columns: Sequence[Sequence[bytes]], rows: int) -> list[bytes]:
    first, *rest = parts
    return [
        first + b"".join([token + part for token, part in zip(row, rest, strict=True)])
        for row in (zip(*columns, strict=True) if columns else [()] * rows)
    ]


def _column(out: bytearray, column: Sequence[bytes], earlier: list[list[int]]) -> None:
    if len(set(column)) == 1:
        out.append(CONSTANT)
        _text(out, column[0])
    elif all(map(_WHOLE.fullmatch, column)):
        out.append(WHOLE)
        _differences(out, [int(token) for token in column])
    elif all(map(_DECIMAL.fullmatch, column)) and (decimals := _decimals(column)) is not None:
        most, places, values = decimals
        leader = _leader(values, earlier)
        if leader is None:
            out.append(DECIMAL)
        else:
            out.append(FOLLOWING)
            _number(out, leader)
        _number(out, most)
        out += bytes(places)
        _differences(out, values, None if leader is None else earlier[leader])
        earlier.append(values)
    elif (blobs := _blobs(column)) is not None:
        out.append(BYTES)
        _number(out, len(blobs[0]))
        for place in zip(*blobs, strict=True):
            out += bytes(place)
    else:
        out.append(TEXT)
        for token in column:
            _number(out, len(token))
        for token in column:
            out += token


def _decimals(column: Sequence[bytes]) -> tuple[int, list[int], list[int]] | None:
    texts = [token[1:-1].decode("ascii") for token in column]
    places = [len(text.partition(".")[2]) for text in texts]
    most = max(places)
    values = [int(text.replace(".", "")) * 10 ** (most - p) for text, p in zip(texts, places, strict=True)]
    same = all(_decimal(v, p, most) == t for v, p, t in zip(values, places, column, strict=True))
    return (most, places, values) if same else None


def _decimal(value: int, places: int, most: int) -> bytes:
    digits, rest = divmod(abs(value), 10 ** (most - places))
    if rest:
        raise ParseError("packed entries: a decimal has more places than it says")
    text = str(digits).rjust(places + 1, "0")
    whole = f"{text[:-places]}.{text[-places:]}" if places else text
    return f'"{"-" if value < 0 else ""}{whole}"'.encode()


def _blobs(column: Sequence[bytes]) -> list[bytes] | None:
    if len({len(token) for token in column}) > 1 or not all(map(_BASE64.fullmatch, column)):
        return None
    try:
        blobs = [base64.b64decode(token[1:-1], validate=True) for token in column]
    except binascii.Error:
        return None
    same = all(base64.b64encode(b) == token[1:-1] for b, token in zip(blobs, column, strict=True))
    return blobs if same and len({len(blob) for blob in blobs}) == 1 else None


def _number(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _text(out: bytearray, text: bytes) -> None:
    _number(out, len(text))
    out += text


def _differences(out: bytearray, values: Sequence[int], leader: Sequence[int] | None = None) -> None:
    for step in _steps(values, leader):
        _number(out, step << 1 if step >= 0 else -step << 1 | 1)


def _steps(values: Sequence[int], leader: Sequence[int] | None) -> Iterator[int]:
    before = 0
    for row, value in enumerate(values):
        yield value - (_foretold(before, leader, row) if leader is not None else before)
        before = value


def _foretold(before: int, leader: Sequence[int], row: int) -> int:
    """What a value is by the ratio of the row before. Doubles, as they are in every language."""
    if row == 0 or leader[row - 1] == 0 or not _small(leader[row - 1], leader[row], before):
        return before
    return floor(before * (leader[row] / leader[row - 1]) + 0.5)


def _small(*values: int) -> bool:
    return all(-_EXACT < value < _EXACT for value in values)


def _leader(values: Sequence[int], earlier: Sequence[Sequence[int]]) -> int | None:
    """Of the earlier decimal columns, the one that foretells this one best; None if none does better than nothing."""

    def cost(leader: Sequence[int] | None) -> int:
        return sum(step.bit_length() for step in _steps(values[:_SAMPLE], leader))

    alone, best, found = cost(None), 1 << 62, None
    for number, leader in enumerate(earlier):
        price = cost(leader)
        if price < best:
            best, found = price, number
    return found if best < alone - len(values[:_SAMPLE]) else None


class _Source:
    """A block being read."""

    __slots__ = ("_data", "_earlier", "_spent", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._spent = 0
        self._earlier: list[list[int]] = []  # the decimal columns of the group so far
        self.at = 0

    def group(self) -> None:
        """A new group begins."""
        self._earlier = []

    def take(self, count: int) -> bytes:
        piece = self._data[self.at : self.at + count]
        if len(piece) != count:
            raise ParseError("packed entries: they end too early")
        self.at += count
        return piece

    def spent(self, size: int) -> None:
        """Count what unpacking makes: a small block must not become an endless one."""
        self._spent += size
        if self._spent > MAX_UNPACKED:
            raise ParseError("packed entries: they unpack to more than any bundle holds")

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 126:
                raise ParseError("packed entries: a number is too long")

    def text(self) -> bytes:
        return self.take(self.number())

    def differences(self, rows: int, leader: Sequence[int] | None = None) -> list[int]:
        values: list[int] = []
        value = 0
        for row in range(rows):
            step = self.number()
            if leader is not None:
                value = _foretold(value, leader, row)
            value += -(step >> 1) if step & 1 else step >> 1
            values.append(value)
        return values

    def column(self, rows: int) -> Sequence[bytes]:
        kind = self.take(1)[0]
        if kind > FOLLOWING:
            raise ParseError(f"packed entries: there is no column of kind {kind}")
        readers: tuple[Callable[[int], Sequence[bytes]], ...] = (
            self._constant, self._texts, self._wholes, self._decimals, self._bytes, self._following,
        )  # fmt: skip
        column = readers[kind](rows)
        self.spent(sum(map(len, column)))
        return column

    def _constant(self, rows: int) -> Sequence[bytes]:
        text = self.text()
        self.spent(rows * len(text))
        return [text] * rows

    def _texts(self, rows: int) -> Sequence[bytes]:
        return [self.take(length) for length in [self.number() for _ in range(rows)]]

    def _wholes(self, rows: int) -> Sequence[bytes]:
        return [b"%d" % value for value in self.differences(rows)]

    def _following(self, rows: int) -> Sequence[bytes]:
        number = self.number()
        if number >= len(self._earlier):
            raise ParseError("packed entries: a column follows one that is not there")
        return self._decimals(rows, self._earlier[number])

    def _decimals(self, rows: int, leader: Sequence[int] | None = None) -> Sequence[bytes]:
        most = self.number()
        places = self.take(rows)
        if most > 15 or any(place > most for place in places):
            raise ParseError("packed entries: a decimal with too many places")
        values = self.differences(rows, leader)
        self._earlier.append(values)
        return [_decimal(value, place, most) for value, place in zip(values, places, strict=True)]

    def _bytes(self, rows: int) -> Sequence[bytes]:
        length = self.number()
        block = self.take(rows * length)
        return [b'"' + base64.b64encode(block[row::rows]) + b'"' for row in range(rows)]
