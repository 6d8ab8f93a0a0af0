"""Columns of numbers and bytes for a bundle, written as how far they are from what the reader can foretell.

A column of numbers (whole numbers, or decimals taken at their most places) names the rule that foretells it from what
stands before it; only the differences are kept. No rule is believed: whatever it says, the difference makes it right::

    0 NOTHING      zero
    1 BEFORE       the row before
    2 BESIDE       an earlier column's number of this row (an instant goes with the one it was due at)
    3 ALONG        the row before, moved on as an earlier column moved (two clocks)
    4 RATIO        an earlier column's number times the ratio that earlier rows had to it, interpolated by another
                   earlier column (a result follows its indication, its correction the load)
    5 READ         the number that stands in an earlier column of bytes, at a place, in a form, times a power of ten
                   (an indication follows the frame that it was read from)

Differences are zigzag numbers of one width, written as planes: all their lowest bytes, then all their next bytes, …
A column of bytes is planes too; a check sum at its end is written as its difference from the right one.
Arithmetic is that of doubles, the same in every language, and only within what is exact there.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import floor
from typing import Final, NamedTuple

NOTHING, BEFORE, BESIDE, ALONG, RATIO, READ = range(6)
WHOLE, FLOAT, BCD_33 = range(3)  # how a number stands in bytes: big-endian, IEEE 754, or as DL/T 645 has it
FORMS: Final = ((WHOLE, 2), (WHOLE, 4), (WHOLE, 8), (FLOAT, 4), (BCD_33, 2), (BCD_33, 3), (BCD_33, 4))
TENS: Final[tuple[int, ...]] = tuple(10**power for power in range(16))
EXACT: Final = 1 << 52  # whole numbers below, and their differences, are exact as doubles
_POINTS: Final = 4096  # that a ratio is interpolated between
_SAMPLE: Final = 96  # rows by which a rule is chosen
_PROBES: Final = 4  # rows by which a place in bytes is found


Reader = Callable[[bytes, int, int], int]


class Rule(NamedTuple):
    """What foretells a column: a rule's number and its arguments, as they are written."""

    number: int
    arguments: tuple[int, ...] = ()


ARGUMENTS: Final = {NOTHING: 0, BEFORE: 0, BESIDE: 1, ALONG: 1, RATIO: 2, READ: 4}


class Known(NamedTuple):
    """The columns of a group that stand before: of numbers, and of bytes."""

    numbers: list[Sequence[int]]
    blobs: list[Sequence[bytes]]


def differences(values: Sequence[int], rule: Rule, known: Known) -> list[int]:
    """How far each value is from what the rule foretells."""
    found, tell = [], foreteller(rule, known)
    before = 0
    for row, value in enumerate(values):
        found.append(value - tell(row, before))
        before = value
    return found


def restored(steps: Sequence[int], rule: Rule, known: Known) -> list[int]:
    """The values again. Raises IndexError where the rule names what is not there."""
    found, tell = [], foreteller(rule, known)
    before = 0
    for row, step in enumerate(steps):
        before = step + tell(row, before)
        found.append(before)
    return found


def foreteller(rule: Rule, known: Known) -> Callable[[int, int], int]:
    """``(row, value of the row before) -> what the rule foretells``; to be called row by row."""
    number, arguments = rule
    if number == NOTHING:
        return lambda _row, _before: 0
    if number == BEFORE:
        return lambda _row, before: before
    if number == READ:
        column, at, form, power = arguments
        read = reader(*FORMS[form])
        blobs = known.blobs[column]
        return lambda row, _before: read(blobs[row], at, power)
    leader = known.numbers[arguments[0]]
    if number == BESIDE:
        return lambda row, _before: leader[row]
    if number == ALONG:
        return lambda row, before: before + (leader[row] - leader[row - 1] if row else 0)
    return _Ratio(leader, known.numbers[arguments[1]]).foretold


class _Ratio:
    """A column's ratio to its leader as earlier rows had it, interpolated by a third column."""

    def __init__(self, leader: Sequence[int], by: Sequence[int]) -> None:
        self._leader, self._by = leader, by
        self._places: list[int] = []
        self._ratios: list[float] = []

    def foretold(self, row: int, before: int) -> int:
        if row:
            self._learn(self._leader[row - 1], self._by[row - 1], before)
        leader, place = self._leader[row], self._by[row]
        if not self._places or not (-EXACT < leader < EXACT and -EXACT < place < EXACT):
            return before
        said = leader * self._ratio(place)
        return floor(said + 0.5) if -EXACT < said < EXACT else before

    def _learn(self, leader: int, place: int, value: int) -> None:
        exact = -EXACT < leader < EXACT and -EXACT < place < EXACT and -EXACT < value < EXACT
        if not leader or not exact:
            return
        at = bisect_left(self._places, place)
        if at < len(self._places) and self._places[at] == place:
            self._ratios[at] = value / leader
        elif len(self._places) < _POINTS:
            self._places.insert(at, place)
            self._ratios.insert(at, value / leader)

    def _ratio(self, place: int) -> float:
        places, ratios = self._places, self._ratios
        at = bisect_left(places, place)
        if at == len(places):
            return ratios[at - 1]
        if at == 0 or places[at] == place:
            return ratios[at]
        low, high = places[at - 1], places[at]
        return ratios[at - 1] + (ratios[at] - ratios[at - 1]) * ((place - low) / (high - low))


def reader(form: int, size: int) -> Reader:
    """What reads a number of a form in bytes at a place, times a power of ten; 0 where none stands."""

    def whole(data: bytes, power: int) -> int:
        return int.from_bytes(data, "big", signed=True) * TENS[power]

    def floating(data: bytes, power: int) -> int:
        said: float = struct.unpack(">f", data)[0] * float(TENS[power])
        return floor(said + 0.5) if -EXACT < said < EXACT else 0

    def bcd(data: bytes, power: int) -> int:
        value = 0
        for byte in reversed(data):
            digits = byte - 0x33 & 0xFF
            value = value * 100 + (digits >> 4) * 10 + (digits & 15)
        return value * TENS[power]

    of = (whole, floating, bcd)[form]
    return lambda data, at, power: of(data[at : at + size], power) if at + size <= len(data) else 0


# ── choosing ────────────────────────────────────────────────────────────────────────────────────────────────


def chosen(values: Sequence[int], known: Known) -> Rule:
    """The rule that foretells a column best, by its first rows."""
    sample = values[:_SAMPLE]

    def cost(rule: Rule) -> int:
        return sum(step.bit_length() for step in differences(sample, rule, known))

    def cheapest(rules: Iterable[Rule]) -> tuple[int, Rule]:
        return min(((cost(rule), rule) for rule in rules), default=(1 << 62, Rule(NOTHING)))

    varying = [n for n, column in enumerate(known.numbers) if len(set(column[:_SAMPLE])) > 1]
    simple = min(
        cheapest((Rule(NOTHING), Rule(BEFORE))),
        cheapest(Rule(number, (n,)) for n in varying for number in (BESIDE, ALONG)),
        cheapest(_places(sample, known)),
    )
    if simple[0] <= len(sample):
        return simple[1]
    ratio = cheapest(Rule(RATIO, (n, n)) for n in varying)
    if ratio[1].arguments:
        leader = ratio[1].arguments[0]
        ratio = min(ratio, cheapest(Rule(RATIO, (leader, n)) for n in varying))
    return min(simple, ratio)[1]


def _places(values: Sequence[int], known: Known) -> Iterator[Rule]:
    """Where in the bytes before a column its numbers may stand: where they stand in rows that differ."""
    rows = sorted({value: row for row, value in enumerate(values) if value}.values())[:_PROBES]
    if not rows:
        return
    for column, blobs in enumerate(known.blobs):
        for form, (kind, size) in enumerate(FORMS):
            read = reader(kind, size)
            for at in range(len(blobs[0]) - size + 1):
                power = _power(values[rows[0]], kind, read, blobs[rows[0]], at)
                if power is not None and all(read(blobs[row], at, power) == values[row] for row in rows):
                    yield Rule(READ, (column, at, form, power))


def _power(value: int, kind: int, read: Reader, data: bytes, at: int) -> int | None:
    if kind != FLOAT:
        one = read(data, at, 0)
        if one == 0 or value % one:
            return None
    return next((power for power in range(len(TENS)) if read(data, at, power) == value), None)


# ── check sums ──────────────────────────────────────────────────────────────────────────────────────────────

UNCHECKED, SUM, SUM_OF_MBUS, CRC_16 = range(4)
SHORTEST: Final = 4  # bytes of a frame with a check sum


def check_sum(kind: int, data: bytes) -> bytes:
    """What a frame's last two bytes should be: a sum (of all bytes, or as M-Bus sums) and any byte, or a CRC-16."""
    if kind == CRC_16:
        crc = 0xFFFF
        for byte in data[:-2]:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        return crc.to_bytes(2, "little")
    return bytes((sum(data[4 if kind == SUM_OF_MBUS else 0 : -2]) & 0xFF, 0))


def unchecked(blobs: Sequence[bytes], kind: int) -> list[bytes]:
    """Bytes with their check sums taken off (exclusive or); the same function puts them back."""
    if kind == UNCHECKED:
        return list(blobs)
    found = []
    for data in blobs:
        first, second = check_sum(kind, data)
        found.append(data[:-2] + bytes((data[-2] ^ first, data[-1] ^ second)))
    return found


def checked_by(blobs: Sequence[bytes]) -> int:
    """Which check sum the bytes of a column carry, by its first rows."""
    if len(blobs[0]) < SHORTEST:
        return UNCHECKED
    for kind in (SUM, SUM_OF_MBUS, CRC_16):
        places = slice(-2, None) if kind == CRC_16 else slice(-2, -1)
        if not any(any(blob[places]) for blob in unchecked(blobs[:_PROBES], kind)):
            return kind
    return UNCHECKED
