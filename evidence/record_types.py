"""The types of a log's records: what one leaf can say, field by field. How they become bytes: ``record``.

Quantities are exact decimal text (``"0.10"`` keeps its digits); times are whole microseconds, UTC since 1970
and since boot, which fit where a JSON number is a double. Every record has a random salt, so that the leaf
hashes which an inclusion proof hands out let nobody guess a neighbour.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

FORMAT: Final = "suyuan-record/1"
SALT_BYTES: Final = 12
_MAX_SAFE: Final = 2**53 - 1  # the largest whole number that every JSON reader keeps exactly
Salt: TypeAlias = Annotated[bytes, Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Text: TypeAlias = Annotated[str, Meta(max_length=4096)]
Index: TypeAlias = Annotated[int, Meta(ge=0, le=_MAX_SAFE)]
Back: TypeAlias = Annotated[int, Meta(ge=-1, le=_MAX_SAFE, description="log index, -1 if there is none")]
Number: TypeAlias = Annotated[int, Meta(ge=1, le=_MAX_SAFE)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=_MAX_SAFE)]
Micros: TypeAlias = Annotated[int, Meta(ge=0, le=_MAX_SAFE, description="whole microseconds")]
Offset: TypeAlias = Annotated[int, Meta(ge=-_MAX_SAFE, le=_MAX_SAFE, description="microseconds from utc_us")]
ClockQuality: TypeAlias = Annotated[
    int, Meta(ge=0, le=4, description="0 unknown, 1 RTC, 2 NTP, 3 GNSS, 4 holdover")
]
Digest: TypeAlias = Annotated[str, Meta(min_length=64, max_length=64, description="SHA-256, lower-case hex")]
Hash: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
DecimalText: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=80, description="decimal text, as 12.50 or 1E+3")
]


class Reference(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An earlier entry of this log, ``[index, digest]``: where it is, and the SHA-256 of its body."""

    index: Index
    digest: Digest


class Head(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A tree head, ``[size, root]``."""

    size: Index
    root: Hash


class RawExchange(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Bytes as they were on the line, ``[request, answer, sent, received]``, times in µs from the reading's
    utc_us.
    """

    request: bytes
    answer: bytes
    sent_us: Offset
    received_us: Offset


class Tally(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One instrument up to here, ``[last, received, missed]``: last running number, readings, missed."""

    last: Count
    received: Count
    missed: Count


class PreviousLog(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The log that this one continues after the loss of a key: the last head that the platform cosigned."""

    origin: Name
    size: Index
    root: Hash


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    salt: Salt


class Genesis(_Entry, frozen=True, kw_only=True, tag="genesis"):
    """The first entry: whose log this is, the keys that sign it, the software that began it."""

    format: Name = FORMAT
    origin: Name
    keys: tuple[Name, ...]  # vkeys
    software: Text
    utc_us: Micros
    boot_us: Micros
    previous_log: PreviousLog | None = None


class Key(_Entry, frozen=True, kw_only=True, tag="key"):
    """A new log key.

    ``statement`` is a signed note over it by the old key and the new one (``note.key_statement``).
    """

    vkey: Name
    replaces: Text
    statement: Text
    utc_us: Micros


class Document(_Entry, frozen=True, kw_only=True, tag="document"):
    """A certificate or other file, kept elsewhere by its digest."""

    digest: Digest
    kind: Name
    name: Text
    media_type: Text = ""
    size: Count
    utc_us: Micros


class Configuration(_Entry, frozen=True, kw_only=True, tag="configuration"):
    """What the gateway was told to do. ``digest`` is the SHA-256 of exactly the bytes of ``body``."""

    digest: Digest
    body: msgspec.Raw


class CalibrationState(_Entry, frozen=True, kw_only=True, tag="calibration_state"):
    """A compiled calibration state. ``digest`` is the SHA-256 of exactly the bytes of ``body``."""

    digest: Digest
    body: msgspec.Raw


class Reading(_Entry, frozen=True, kw_only=True, tag="reading"):
    """One scan of one instrument, from the bytes on the line to the results.

    ``number`` runs from 1 by 1 per scheduled poll; ``previous`` is the index of this instrument's reading or
    gap before. A measurand is in ``indications`` or, with its reason, in ``missing``. ``results``: value and
    standard uncertainty per measurand (VIM 2.9).
    """

    instrument: Name
    number: Number
    previous: Back
    due_us: Micros
    utc_us: Micros
    boot_us: Micros
    clock: ClockQuality
    clock_error_us: Count | None
    raw: tuple[RawExchange, ...]
    indications: dict[str, str]
    missing: dict[str, str]
    results: dict[str, tuple[str, str]]
    state: Reference
    configuration: Reference
    flags: tuple[str, ...] = ()


class Gap(_Entry, frozen=True, kw_only=True, tag="gap"):
    """Polls ``first`` to ``last`` that gave no reading, and why: the absence of data is evidence too."""

    instrument: Name
    first: Number
    last: Number
    previous: Back
    from_us: Micros
    to_us: Micros
    reason: Name


class Aggregate(_Entry, frozen=True, kw_only=True, tag="aggregate"):
    """A derived total over the entries ``first`` to ``last``: recomputable. ``u``: standard uncertainty.

    ``number`` runs from 1 by 1 over an instrument's totals that supersede none; logs of older versions have none.
    """

    instruments: tuple[Name, ...]
    measurand: Name
    unit: Name
    from_us: Micros
    to_us: Micros
    first: Index
    last: Index
    count: Count
    missing: Count
    value: DecimalText | None
    u: DecimalText | None
    contributions: dict[str, str]
    independent: DecimalText
    states: tuple[Reference, ...]
    method: Name
    flags: tuple[str, ...] = ()
    supersedes: Index | None = None
    number: Number | None = None


class Event(_Entry, frozen=True, kw_only=True, tag="event"):
    """Something that happened: boot, shutdown, clock step, access, door, meter replaced.

    ``number`` runs from 1 by 1 over the events of the instrument that ``detail`` names, or of the log if it names none.
    """

    kind: Name
    utc_us: Micros
    boot_us: Micros
    detail: dict[str, str] = {}
    number: Number | None = None


class Advice(_Entry, frozen=True, kw_only=True, tag="advice"):
    """Correction advice: a standard or instrument was found wrong; ``supersedes`` names the entries that it
    concerns.
    """

    instruments: tuple[Name, ...]
    reason: Text
    from_us: Micros
    to_us: Micros
    supersedes: tuple[Index, ...] = ()
    documents: tuple[Digest, ...] = ()
    detail: dict[str, str] = {}
    utc_us: Micros


class Seal(_Entry, frozen=True, kw_only=True, tag="seal"):
    """The last leaf under each checkpoint: the clock, and per instrument what was expected and what came.

    ``energies`` and ``events``: the last numbers of aggregates and events, by instrument (empty text: of the log).
    """

    utc_us: Micros
    boot_us: Micros
    boot_id: Name
    clock: ClockQuality
    clock_error_us: Count | None
    counts: dict[str, Tally]
    software: Text
    configuration: Reference | None
    receipt: Head | None
    alarms: tuple[str, ...] = ()
    energies: dict[str, Number] = {}
    events: dict[str, Number] = {}


Record: TypeAlias = (
    Genesis
    | Key
    | Document
    | Configuration
    | CalibrationState
    | Reading
    | Gap
    | Aggregate
    | Event
    | Advice
    | Seal
)
TYPES: Final[tuple[type[Record], ...]] = (
    Genesis,
    Key,
    Document,
    Configuration,
    CalibrationState,
    Reading,
    Gap,
    Aggregate,
    Event,
    Advice,
    Seal,
)
