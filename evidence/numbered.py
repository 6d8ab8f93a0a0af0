"""What is numbered beside polls: the energies of each instrument, the events of each instrument and of the log.

A number runs from 1 by 1 in the order of the log, and each seal says how far it has come. So an extract from the log
can show that none was left out: the numbers join, from the one before the period to the one after it or to the last
seal.
A log that was begun by a version without numbers may take them up; from there on they are held to.

Corrections (an aggregate that supersedes another) are written long after what they correct, and carry no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from .record import Aggregate, Event, Record, Seal

ENERGY: Final = "energy"
EVENT: Final = "event"


class Series(NamedTuple):
    """What is counted by one row of numbers: ``kind``, and whose (an instrument; empty for the log's own events)."""

    kind: str
    whose: str


Numbered: TypeAlias = Aggregate | Event


def series_of(record: Record) -> Series | None:
    """The row that a record's number belongs to, whether it has one or not; None if its kind is not numbered."""
    if isinstance(record, Event):
        return Series(EVENT, record.detail.get("instrument", ""))
    if isinstance(record, Aggregate) and record.supersedes is None and len(record.instruments) == 1:
        return Series(ENERGY, record.instruments[0])
    return None


def sealed(seal: Seal, series: Series) -> int:
    """How far a seal says that a row has come; 0 if it says nothing of it."""
    return (seal.energies if series.kind == ENERGY else seal.events).get(series.whose, 0)


def sealed_all(seal: Seal) -> dict[Series, int]:
    """How far every row has come by a seal's word."""
    rows = ((ENERGY, seal.energies), (EVENT, seal.events))
    return {Series(kind, whose): last for kind, counts in rows for whose, last in counts.items()}


def span_of(record: Numbered) -> tuple[int, int]:
    """From when to when (µs) it is about; the same instant twice for an event."""
    if isinstance(record, Event):
        return record.utc_us, record.utc_us
    return record.from_us, record.to_us


def within(record: Numbered, from_us: int, to_us: int) -> bool:
    """Whether it is about any of the period."""
    begins, ends = span_of(record)
    return begins < to_us and (ends > from_us or ends == begins == from_us)


class Row:
    """The records of one row, as they come by in the order of the log: which of them an extract of a period needs.

    All from the first within the period to the last, whatever lies between, with the one before and the one after.
    """

    def __init__(self, from_us: int, to_us: int) -> None:
        self._from, self._to = from_us, to_us
        self._before: tuple[int, bytes] | None = None
        self._inside: list[tuple[int, bytes]] = []
        self._maybe: list[tuple[int, bytes]] = []

    def add(self, index: int, data: bytes, found: Numbered) -> None:
        """Look at one record."""
        if within(found, self._from, self._to):
            self._inside += [*self._maybe, (index, data)]
            self._maybe.clear()
        elif not self._inside and not self._maybe and span_of(found)[1] <= self._from:
            self._before = index, data
        else:
            self._maybe.append((index, data))

    @property
    def open(self) -> bool:
        """Whether none comes after the period: then only a seal can say that there is none."""
        return not self._maybe

    def chosen(self) -> list[tuple[int, bytes]]:
        """What the extract takes."""
        before = [] if self._before is None else [self._before]
        return [*before, *self._inside, *self._maybe[:1]]


class Hole(NamedTuple):
    """What is wrong with a row: finding code, what, and the entry (or None) that shows it."""

    code: str
    what: str
    entry: int | None


def holes(
    series: Series,
    found: Sequence[tuple[int, Numbered]],
    seals: Mapping[int, Seal],
    period: tuple[int, int],
    size: int,
) -> Iterable[Hole]:
    """What is wrong with a row in an extract of a log of ``size`` entries. ``found`` and ``seals`` by log index."""
    code = f"{series.kind}_number"
    rows = [(index, each.number, each) for index, each in found if each.number is not None]
    if not rows:
        for index, seal in seals.items():
            if (said := sealed(seal, series)) > 0:
                yield Hole(code, f"the seal counts to {said}; there is none here", index)
                return
        return
    for index, each in found:
        if each.number is None and index > rows[0][0]:
            yield Hole(code, "has no number, though one before it has", index)
    for (_, before, _), (index, number, _) in pairwise(rows):
        if number != before + 1:
            yield Hole(code, f"number {number} follows {before}", index)
    index, number, first = rows[0]
    if number != 1 and span_of(first)[1] > period[0]:
        yield Hole(code, f"begins with number {number}: the one before the period is not here", index)
    index, number, last = rows[-1]
    if span_of(last)[0] < period[1] and (size - 1 not in seals or sealed(seals[size - 1], series) != number):
        yield Hole(
            code,
            f"ends with number {number}: neither the one after the period nor the last seal shows it",
            index,
        )
