"""The records of the log: what one leaf can say, as compact JSON, written once and hashed as those bytes.

A record is a member of a tagged union (field ``type``). ``encode`` writes it; from then on the bytes are the
record: they are hashed, stored, sent and checked, and never made again from the values. ``decode`` is strict,
because two readers must never see two values in the same bytes: equal keys, unknown fields, NaN, a byte order
mark, bytes that are not UTF-8, deep nesting and anything longer than an entry may be are refused, with
ParseError and nothing else.

Quantities are exact decimal text (``"0.10"`` keeps its digits); times are whole microseconds, UTC since 1970
and since boot, which fit where a JSON number is a double. Every record has a random salt, so that the leaf
hashes which an inclusion proof hands out let nobody guess a neighbour. One reading, 8 measurands, is about 1
kB::

    {"type":"reading","salt":"3q2+7wAAAAAAAAAA","instrument":"M1","number":1,"previous":-1,"due_us":...,
     "indications":{"energy.active.import":"1234.56"},"results":{"energy.active.import":["1234.51","0.31"]},...}
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from .errors import EncodeError, ParseError

FORMAT: Final = "suyuan-record/1"
MAX_ENTRY: Final = 65_535  # an entry bundle's length prefix is a uint16 (C2SP tlog-tiles)
SALT_BYTES: Final = 12
MAX_DEPTH: Final = 32
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

_READING_KEYS: Final = 1 + len(Reading.__struct_fields__)  # and ``type``
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode

# At most 32 digits on either side of the point and three of exponent: nobody measures more. No possessive quantifiers:
# Python before 3.11.5 (Debian 12 has 3.11.2) matches them wrongly around groups and took "5." for a decimal.
_WHOLE: Final = r"(?:0|[1-9][0-9]{0,31})"
_FRACTION: Final = r"(?:\.[0-9]{1,32})"
_EXPONENT: Final = r"(?:E[+-]?[0-9]{1,3})"
_is_decimal: Final = re.compile(f"-?{_WHOLE}{_FRACTION}?{_EXPONENT}?").fullmatch
# The same language, each text with a comma behind it, as shapes of which no text has two: so a hostile text cannot
# make the match go back and forth. What nearly all look like, digits on both sides of a point, is tried first.
_are_decimals: Final = re.compile(
    rf"(?:[1-9][0-9]{{0,31}}\.[0-9]{{1,32}},|0\.[0-9]{{1,32}},|{_WHOLE},|{_WHOLE}{_FRACTION}?{_EXPONENT},"
    rf"|-{_WHOLE}{_FRACTION}?{_EXPONENT}?,)+"
).fullmatch
_NO_FLAGS: Final = b',"flags":[]}'
_FLAGS: Final = b',"flags":['
_is_digest: Final = re.compile("[0-9a-f]{64}").fullmatch


def encode(record: Record) -> bytes:
    """The record as the bytes of a leaf: compact JSON, fields in the order of the type.

    Raises EncodeError for what must not get into the log for ever: a text that is no decimal, a salt or
    digest of the wrong length, an entry that is too long. That every field has its type is for the type
    checker to say.
    """
    try:
        data = _encode(record)
        check = _CHECKS.get(type(record))
        if check is not None:
            check(record)
    except (ParseError, TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise EncodeError(f"{type(record).__name__} cannot be written: {error}") from error
    if len(record.salt) != SALT_BYTES:
        raise EncodeError(f"{type(record).__name__} cannot be written: a salt has {SALT_BYTES} bytes")
    if len(data) > MAX_ENTRY:
        raise EncodeError(
            f"{type(record).__name__} of {len(data)} bytes; at most {MAX_ENTRY} fit into an entry"
        )
    return data


def decode(data: bytes) -> Record:
    """The record that the bytes of a leaf hold. Raises ParseError, and nothing else, if they hold none."""
    if len(data) > MAX_ENTRY:
        raise ParseError(f"entry of {len(data)} bytes; at most {MAX_ENTRY} fit")
    try:
        record: Record = _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        # UnicodeDecodeError and RecursionError come from outside msgspec's own errors
        raise ParseError(f"not a record: {error or type(error).__name__}") from error
    _check(record, data)
    return record


def decimal_text(text: str) -> bool:
    """Whether the text is a decimal as records carry it: no sign but minus, no leading zeros, digits round
    the point.
    """
    return _is_decimal(text) is not None


def decode_all(entries: Sequence[bytes]) -> list[Record]:
    """As :func:`decode` of each, the checks of readings made over all at once. Raises ParseError if one is no record.

    Readings that are written plainly, as nearly all are, are asked less to know as much: as many colons as they have
    keys, so no key twice; no backslash, so no half surrogate; their decimals end to end, read as one JSON array.
    Any other is read by :func:`decode`.
    """
    if entries and max(map(len, entries)) > MAX_ENTRY:
        raise ParseError(f"entry of more than {MAX_ENTRY} bytes")
    try:
        records: list[Record] = list(map(_decode, entries))
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise ParseError(f"not a record: {error or type(error).__name__}") from error
    readings: list[Reading] = []
    written: list[bytes] = []
    for record, data in zip(records, entries, strict=True):
        if type(record) is Reading:
            readings.append(record)
            written.append(data)
        else:
            _check(record, data)
    if readings and not _plainly(readings, written):
        for reading, data in zip(readings, written, strict=True):
            if not _plainly([reading], [data]):
                _check(reading, data)
    return records


def _check(record: Record, data: bytes) -> None:
    """What :func:`decode` asks of a record that was read from these bytes. Raises ParseError."""
    try:
        if _encode(record) != data:
            # Not as we write it. White space or another order would be harmless; an equal key would not.
            _parse_json(data)
    except (ValueError, RecursionError, OverflowError) as error:
        raise ParseError(f"not a record: {error or type(error).__name__}") from error
    check = _CHECKS.get(type(record))
    if check is not None:
        check(record)


def _plainly(readings: Sequence[Reading], written: Sequence[bytes]) -> bool:
    """Whether readings hold all that :func:`_check` asks, seen from what is plain; False says nothing."""
    together = b"".join(written)
    if b"\\" in together:
        return False
    # ``flags``, which may be left out, is there in each, so none has a colon fewer than keys: then one that has a colon
    # more is seen in the sum.
    for data in written:
        if not data.endswith(_NO_FLAGS) and not _flags_end(data):
            return False
    indications = [reading.indications for reading in readings]
    results = [reading.results for reading in readings]
    missing = [reading.missing for reading in readings]
    values, pairs = sum(map(len, indications)), sum(map(len, results))
    keys = _READING_KEYS * len(readings) + values + pairs + sum(map(len, missing))
    if together.count(b":") != keys:
        return False
    for names, reasons in zip(indications, missing, strict=True):
        if reasons and not reasons.keys().isdisjoint(names):
            return False
    texts = list(chain.from_iterable(map(dict.values, indications)))
    texts += chain.from_iterable(chain.from_iterable(map(dict.values, results)))
    return not texts or _plain_decimals(texts)


def _flags_end(data: bytes) -> bool:
    """Whether the last field of a record without a backslash (so no text holds a quotation mark) is ``flags``.

    A measurand may be called so: behind its values the record would end in two braces, or come to another key.
    """
    tail = data[data.rfind(_FLAGS) :] if _FLAGS in data else b""
    return tail.endswith(b"]}") and tail.count(b":") == 1


class _Nothing(Struct, array_like=True, gc=False):
    """An array of which nothing is kept: it is read all the same, and must be JSON."""


_pass_over: Final = msgspec.json.Decoder(_Nothing).decode
_ONES: Final = bytes.maketrans(b"0123456789", b"1" * 10)
_TOO_LONG: Final = b"1" * 33


def _is_array(text: bytes) -> bool:
    try:
        _pass_over(text)
    except msgspec.MsgspecError:
        return False
    return True


# JSON's grammar of a number is ours but for lengths and exponents. A library that passes over less strictly than it
# reads is not asked.
_STRICT: Final = not any(
    _is_array(b"[1,%s]" % text) for text in b"01 -01 1. .5 - --1 1..2 1.2.3 1-2 00 -.5 0. -0.".split(b" ")
)


def _plain_decimals(texts: list[str]) -> bool:
    """Whether all (one at least) are digits, or digits, a point and digits, perhaps behind a minus."""
    joined = ",".join(texts).encode("utf-8", "replace")
    return (
        _STRICT
        and joined != b""
        and not joined.translate(None, b"0123456789.,-")
        and joined.count(b",") == len(texts) - 1
        and _TOO_LONG not in joined.translate(_ONES)
        and _is_array(b"[%s]" % joined)
    )


def _check_reading(record: Reading) -> None:
    results = record.results
    texts = [*record.indications.values(), *chain.from_iterable(results.values())]
    if texts:
        _check_decimals(texts)
    if record.missing and not record.missing.keys().isdisjoint(record.indications):
        both = sorted(record.missing.keys() & record.indications)
        raise ParseError(f"not a record: {both[0]} has both an indication and a reason for having none")
    # The digests of ``state`` and ``configuration`` are compared with those entries, not parsed, by
    # verification.


def _check_gap(record: Gap) -> None:
    if record.last < record.first:
        raise ParseError(f"not a record: gap from {record.first} to {record.last}")


def _check_aggregate(record: Aggregate) -> None:
    texts = [*record.contributions.values(), record.independent]
    texts += [text for text in (record.value, record.u) if text is not None]
    _check_decimals(texts)
    if (record.value is None) != (record.u is None):
        raise ParseError("not a record: an aggregate has both a value and its uncertainty, or neither")
    for state in record.states:
        _check_digest(state.digest)


def _check_body(record: Configuration | CalibrationState) -> None:
    body = bytes(record.body)
    try:
        _parse_json(body)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"not a record: body: {error}") from error
    if hashlib.sha256(body).hexdigest() != record.digest:
        raise ParseError("not a record: the digest is not the SHA-256 of the body")


def _check_document(record: Document) -> None:
    _check_digest(record.digest)


def _check_advice(record: Advice) -> None:
    for digest in record.documents:
        _check_digest(digest)


def _check_seal(record: Seal) -> None:
    if record.configuration is not None:
        _check_digest(record.configuration.digest)


_CHECKS: Final[dict[type[Any], Any]] = {
    Reading: _check_reading,
    Gap: _check_gap,
    Aggregate: _check_aggregate,
    Configuration: _check_body,
    CalibrationState: _check_body,
    Document: _check_document,
    Advice: _check_advice,
    Seal: _check_seal,
}


def _check_decimals(texts: list[str]) -> None:
    """At least one text."""
    # One pattern over all texts at once: a third of the time of one by one. A comma within a text changes the
    # count.
    joined = ",".join(texts)
    if joined.count(",") != len(texts) - 1 or not _are_decimals(joined + ","):
        wrong = [text for text in joined.split(",") if not decimal_text(text)]
        raise ParseError(f"not a record: {(wrong or [joined])[0][:80]!r} is not decimal text")


def _check_digest(digest: str) -> None:
    if not _is_digest(digest):
        raise ParseError("not a record: a digest is 64 lower-case hexadecimal digits")


def _parse_json(data: bytes) -> None:
    """Read by the second parser, which sees every key. Raises ValueError (or RecursionError)."""
    parsed = json.loads(
        data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
    )
    _depth(parsed)
    json.dumps(
        parsed, ensure_ascii=False
    ).encode()  # half a surrogate pair: readable to some, an error to others


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"equal keys: {next(key for key in keys if keys.count(key) > 1)[:80]!r}")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is out of range")
    return number


def _depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")
