"""Entries packed for a bundle: what one kind of record repeats stands once, what varies stands column by column.

Nothing of this is evidence: unpacking gives back the very bytes of the entries, and only those are hashed. Entries
with the same skeleton (the text without its varying strings, whole numbers and keys that end in a digest) make a
group; each place in the skeleton is a column, written as what it holds::

    0 constant    length, bytes
    1 text        lengths, then the bytes end to end
    6 numbers     0 if whole, 1 if decimal ("12.50": then most decimals, and 0 if all have as many, 1 if zeros at the
                  end are left out, 2 and the decimals of each); the rule that foretells them, its arguments; how many
                  bytes a difference takes, and the differences' planes (``bundle_foretelling``)
    7 bytes       base64 of one length: that length in bytes, their check sum, and their planes

Numbers are LEB128. Bundles of the first format have other columns, which are only read::

    2 whole       differences from entry to entry, zigzag
    3 decimal     most decimals, decimals of each, differences of the values at most decimals
    4 bytes       base64 of one length: that length in bytes, all first bytes, all second bytes, …
    5 following   a decimal that goes with an earlier decimal column of the group: that column's number, then as 3,
                  but differences from what the ratio of the row before foretells
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from math import floor
from typing import Final

from . import bundle_foretelling as foretelling
from .bundle_foretelling import Known, Rule
from .errors import ParseError

MAX_ENTRIES: Final = 1 << 20
MAX_UNPACKED: Final = 1 << 28
_TOKEN: Final = re.compile(rb'("[^"\\:]*:[0-9a-f]{16}"(?=:))|"[^"\\]*":|("[^"\\]*"|-?[0-9]+)')
_HOLE: Final = b"\0"  # no JSON text has one
_WHOLE: Final = re.compile(rb"0|-?[1-9][0-9]{0,17}")
_DECIMAL: Final = re.compile(rb'"-?[0-9]{1,18}(?:\.[0-9]{1,15})?"')
_BASE64: Final = re.compile(rb'"[A-Za-z0-9+/]{4,}={0,2}"')
CONSTANT, TEXT, WHOLE, DECIMAL, BYTES, FOLLOWING, NUMBERS, BLOBS = range(8)
_ALL, _SHORTEST, _LISTED = range(3)  # how many decimals each has
_MOST_PLACES: Final = 15
_EXACT: Final = 1 << 53  # whole numbers below are exact as doubles, in every language
_WIDEST: Final = 16  # bytes of a difference
_NUMBER_SIZE: Final = 8  # bytes that a number is counted as, against endless blocks


def pack(entries: Sequence[bytes]) -> tuple[bytes, ...]:
    """The entries as one block, in the parts that are best compressed apart. :func:`unpack` gives them back."""
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
    parts = [bytes(out)]
    for skeleton, rows in groups.items():
        out = bytearray()
        _text(out, skeleton)
        parts.append(bytes(out))
        known = Known([], [])
        for column in zip(*rows, strict=True):
            parts += _column(column, known)
    return tuple(parts)


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
        token = found[1] or found[2]
        if token is None:
            return found[0]  # a key
        tokens.append(token)
        return _HOLE

    return _TOKEN.sub(hole, entry), tokens


def _joined(parts: Sequence[bytes], columns: Sequence[Sequence[bytes]], rows: int) -> list[bytes]:
    first, *rest = parts
    return [
        first + b"".join([token + part for token, part in zip(row, rest, strict=True)])
        for row in (zip(*columns, strict=True) if columns else [()] * rows)
    ]


def _column(column: Sequence[bytes], known: Known) -> list[bytes]:
    out = bytearray()
    if len(set(column)) == 1:
        out.append(CONSTANT)
        _text(out, column[0])
        return [bytes(out)]
    if all(map(_WHOLE.fullmatch, column)):
        return _numbers(bytes((NUMBERS, 0)), [int(token) for token in column], known)
    if all(map(_DECIMAL.fullmatch, column)) and (decimals := _decimals(column)) is not None:
        return _numbers(bytes((NUMBERS, 1)) + decimals[0], decimals[1], known)
    if (blobs := _blobs(column)) is not None:
        out.append(BLOBS)
        _number(out, len(blobs[0]))
        out.append(kind := foretelling.checked_by(blobs))
        left = foretelling.unchecked(blobs, kind)
        known.blobs.append(blobs)
        return [bytes(out), *(bytes(place) for place in zip(*left, strict=True))]
    out.append(TEXT)
    for token in column:
        _number(out, len(token))
    return [bytes(out), b"".join(column)]


def _numbers(head: bytes, values: Sequence[int], known: Known) -> list[bytes]:
    rule = foretelling.chosen(values, known)
    steps = foretelling.differences(values, rule, known)
    zigzag = [step << 1 if step >= 0 else -step << 1 | 1 for step in steps]
    width = (max(zigzag).bit_length() + 7) // 8
    out = bytearray(head)
    out.append(rule.number)
    for argument in rule.arguments:
        _number(out, argument)
    out.append(width)
    known.numbers.append(values)
    whole = b"".join(step.to_bytes(width, "little") for step in zigzag)
    return [bytes(out), *(whole[place::width] for place in range(width))]


def _decimals(column: Sequence[bytes]) -> tuple[bytes, list[int]] | None:
    """How many decimals they have, as written, and the values at most decimals; None if they would not come back."""
    texts = [token[1:-1].decode("ascii") for token in column]
    places = [len(text.partition(".")[2]) for text in texts]
    most = max(places)
    values = [int(text.replace(".", "")) * 10 ** (most - p) for text, p in zip(texts, places, strict=True)]
    if any(_decimal(v, p, most) != t for v, p, t in zip(values, places, column, strict=True)):
        return None
    if min(places) == most:
        return bytes((most, _ALL)), values
    if places == [_shortest(value, most) for value in values]:
        return bytes((most, _SHORTEST)), values
    return bytes((most, _LISTED, *places)), values


def _shortest(value: int, most: int) -> int:
    """How many decimals are needed."""
    while most and value % 10 == 0:
        value //= 10
        most -= 1
    return most


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


def _foretold(before: int, leader: Sequence[int], row: int) -> int:
    """What a value is by the ratio of the row before. Doubles, as they are in every language."""
    if row == 0 or leader[row - 1] == 0 or not _small(leader[row - 1], leader[row], before):
        return before
    return floor(before * (leader[row] / leader[row - 1]) + 0.5)


def _small(*values: int) -> bool:
    return all(-_EXACT < value < _EXACT for value in values)


class _Source:
    """A block being read."""

    __slots__ = ("_data", "_earlier", "_known", "_spent", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._spent = 0
        self.group()
        self.at = 0

    def group(self) -> None:
        """A new group begins."""
        self._earlier: list[list[int]] = []  # the decimal columns so far, in the first format
        self._known = Known([], [])

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
        if kind > BLOBS:
            raise ParseError(f"packed entries: there is no column of kind {kind}")
        readers: tuple[Callable[[int], Sequence[bytes]], ...] = (
            self._constant, self._texts, self._wholes, self._decimals, self._bytes, self._following,
            self._numbers, self._blobs,
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

    def _planes(self, rows: int, width: int) -> list[bytes]:
        block = self.take(rows * width)
        return [block[row::rows] for row in range(rows)]

    def _numbers(self, rows: int) -> Sequence[bytes]:
        decimal, most, places = self.take(1)[0], 0, b""
        if decimal:
            most, how = self.take(2)
            if most > _MOST_PLACES or how > _LISTED or decimal > 1:
                raise ParseError("packed entries: a decimal with too many places")
            places = self.take(rows) if how == _LISTED else bytes((most,)) * rows if how == _ALL else b""
            if any(place > most for place in places):
                raise ParseError("packed entries: a decimal with too many places")
        values = self._restored(rows)
        self._known.numbers.append(values)
        if not decimal:
            return [b"%d" % value for value in values]
        if not places:
            places = bytes(_shortest(value, most) for value in values)
        return [_decimal(value, place, most) for value, place in zip(values, places, strict=True)]

    def _restored(self, rows: int) -> list[int]:
        number = self.take(1)[0]
        if number not in foretelling.ARGUMENTS:
            raise ParseError(f"packed entries: there is no rule {number}")
        rule = Rule(number, tuple(self.number() for _ in range(foretelling.ARGUMENTS[number])))
        width = self.take(1)[0]
        if width > _WIDEST:
            raise ParseError("packed entries: a number is too long")
        self.spent(_NUMBER_SIZE * rows)  # numbers of no width take no room in the block
        steps = [int.from_bytes(step, "little") for step in self._planes(rows, width)]
        steps = [-(step >> 1) if step & 1 else step >> 1 for step in steps]
        try:
            return foretelling.restored(steps, rule, self._known)
        except IndexError as error:
            raise ParseError("packed entries: a column follows one that is not there") from error

    def _blobs(self, rows: int) -> Sequence[bytes]:
        length = self.number()
        kind = self.take(1)[0]
        blobs = self._planes(rows, length)
        if kind > foretelling.CRC_16 or (kind and length < foretelling.SHORTEST):
            raise ParseError("packed entries: bytes with an unknown check sum")
        blobs = foretelling.unchecked(blobs, kind)
        self._known.blobs.append(blobs)
        return [b'"' + base64.b64encode(blob) + b'"' for blob in blobs]
