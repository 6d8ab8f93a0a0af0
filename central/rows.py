"""What the platform's store holds, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evidence import log
from evidence.continuity import Place
from evidence.record import Record


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway's log as far as it is stored: ``size`` leaves with these ``peaks``."""

    id: int
    origin: str
    vkey: str
    size: int
    peaks: tuple[bytes, ...]
    sealed_us: int  # UTC of the last seal stored
    advanced_us: int  # when the head last moved, by the platform's clock
    alarm: str  # kind of the alarm that holds it back, or ''


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint that was verified and stored to its last entry, and the receipt that was made out for it."""

    size: int
    root: bytes
    note: bytes
    receipt: bytes | None
    posted: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """A checkpoint rightly signed that follows from what is stored, its entries still on their way."""

    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm: kind (fork, rollback, unsound …), what was seen, and both notes."""

    id: int
    origin: str
    at_us: int
    kind: str
    what: str
    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class Value:
    """One measurand of one reading: result with standard uncertainty, indication, or the reason why there is none."""

    origin: str
    entry: int
    instrument: str
    measurand: str
    utc_us: int
    clock: int
    indication: str | None
    value: str | None
    u: str | None
    missing: str | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """An aggregate as the gateway recorded it. ``superseded_by`` is the entry that replaces it, if one does."""

    origin: str
    entry: int
    instruments: tuple[str, ...]
    measurand: str
    unit: str
    from_us: int
    to_us: int
    value: str | None
    u: str | None
    count: int
    missing: int
    method: str
    flags: tuple[str, ...]
    supersedes: int | None
    superseded_by: int | None


@dataclass(frozen=True, slots=True)
class Advance:
    """What one transaction adds: bundles (number, width, bytes), records by index, and where the log then stands."""

    size: int
    peaks: tuple[bytes, ...]
    bundles: Sequence[tuple[int, int, bytes]]
    records: Sequence[tuple[int, Record]]
    places: dict[str, Place]
    references: Sequence[tuple[int, str, str]]  # index, kind, digest
    keys: Sequence[tuple[int, str]]  # index, vkey: keys of this log that an older one has vouched for
    sealed_us: int
    head: tuple[bytes, bytes] | None  # root and signed note, where a checkpoint ends


def peaks_of(stored: bytes) -> tuple[bytes, ...]:
    """The hashes of a tree's peaks, which are stored end to end."""
    return tuple(stored[i : i + log.HASH_SIZE] for i in range(0, len(stored), log.HASH_SIZE))


def values_of(
    origin: str,
    instrument: str,
    measurand: str | None,
    utc_us: int,
    entry: int,
    clock: int,
    indications: Mapping[str, str],
    missing: Mapping[str, str],
    results: Mapping[str, tuple[str, str]],
    flags: Sequence[str],
) -> Iterator[Value]:
    """The values of a stored reading: of all its measurands, in the order of the record, or of one."""
    names = [*indications, *(name for name in (*missing, *results) if name not in indications)]
    for name in dict.fromkeys(names) if measurand is None else {measurand} & set(names):
        value, u = results.get(name, (None, None))
        yield Value(
            origin, entry, instrument, name, utc_us, clock, indications.get(name), value, u, missing.get(name),
            tuple(flags),
        )  # fmt: skip
