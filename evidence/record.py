"""The records of the log: what one leaf can say, as compact JSON, written once and hashed as those bytes.

A record is a member of a tagged union (field ``type``). ``encode`` writes it; from then on the bytes are the
record: they are hashed, stored, sent and checked, and never made again from the values. ``decode`` is strict,
because two readers must never see two values in the same bytes: equal keys, unknown fields, NaN, a byte order
mark, bytes that are not UTF-8, deep nesting and anything longer than an entry may be are refused, with
ParseError and nothing else.

The types stand in ``record_types`` and are named here too. One reading, 8 measurands, is about 1 kB::

    {"type":"reading","salt":"3q2+7wAAAAAAAAAA","instrument":"M1","number":1,"previous":-1,"due_us":...,
     "indications":{"energy.active.import":"1234.56"},"results":{"energy.active.import":["1234.51","0.31"]},...}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from .errors import EncodeError, ParseError
from .plain_readings import plainly
from .record_content import check_content, decimal_text
from .record_types import (
    FORMAT,
    SALT_BYTES,
    TYPES,
    Advice,
    Aggregate,
    CalibrationState,
    Configuration,
    Document,
    Event,
    Gap,
    Genesis,
    Head,
    Key,
    PreviousLog,
    RawExchange,
    Reading,
    Record,
    Reference,
    Seal,
    Tally,
)
from .strict_json import check_json

__all__ = (
    "FORMAT",
    "MAX_ENTRY",
    "SALT_BYTES",
    "TYPES",
    "Advice",
    "Aggregate",
    "CalibrationState",
    "Configuration",
    "Document",
    "Event",
    "Gap",
    "Genesis",
    "Head",
    "Key",
    "PreviousLog",
    "RawExchange",
    "Reading",
    "Record",
    "Reference",
    "Seal",
    "Tally",
    "decimal_text",
    "decode",
    "decode_all",
    "encode",
)

MAX_ENTRY: Final = 65_535  # an entry bundle's length prefix is a uint16 (C2SP tlog-tiles)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode


def encode(record: Record) -> bytes:
    """The record as the bytes of a leaf: compact JSON, fields in the order of the type.

    Raises EncodeError for what must not get into the log for ever: a text that is no decimal, a salt or
    digest of the wrong length, an entry that is too long. That every field has its type is for the type
    checker to say.
    """
    try:
        data = _encode(record)
        check_content(record)
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


def decode_all(entries: Sequence[bytes]) -> list[Record]:
    """As :func:`decode` of each, the checks of readings made over all at once. Raises ParseError if one is no record.

    Readings that are written plainly, as nearly all are, are asked less to know as much (``plain_readings``). Any other
    is read by :func:`decode`.
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
    if readings and not plainly(readings, written):
        for reading, data in zip(readings, written, strict=True):
            if not plainly([reading], [data]):
                _check(reading, data)
    return records


def _check(record: Record, data: bytes) -> None:
    """What :func:`decode` asks of a record that was read from these bytes. Raises ParseError."""
    try:
        if _encode(record) != data:
            # Not as we write it. White space or another order would be harmless; an equal key would not.
            check_json(data)
    except (ValueError, RecursionError, OverflowError) as error:
        raise ParseError(f"not a record: {error or type(error).__name__}") from error
    check_content(record)
