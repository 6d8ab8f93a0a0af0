"""What binds an entry to its log, without what it says: the quick way through many readings.

A reading's instrument, running number, back-link and references are read; its bytes on the line, its values and its
times are passed over. Every other record, and a reading that is not written as we write it, is read in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from .errors import ParseError
from .record import MAX_ENTRY, Reading, Record, Reference, decode
from .record_types import Back, Name, Number

_READING: Final = b'{"type":"reading",'


class Bound(Struct, frozen=True, gc=False, kw_only=True, tag=Reading.__struct_config__.tag, tag_field="type"):
    """The fields of a reading that continuity follows; they bear its names."""

    instrument: Name
    number: Number
    previous: Back
    state: Reference
    configuration: Reference


_bound: Final = msgspec.json.Decoder(Bound).decode


def bind(entry: bytes) -> Bound | Record:
    """What binds an entry. Raises ParseError if its bytes hold no record, as far as they are read."""
    if not entry.startswith(_READING):
        return decode(entry)
    if len(entry) > MAX_ENTRY:
        raise ParseError(f"entry of {len(entry)} bytes; at most {MAX_ENTRY} fit")
    try:
        return _bound(entry)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise ParseError(f"not a record: {error or type(error).__name__}") from error


def bind_all(entries: Sequence[bytes]) -> list[Bound | Record]:
    """As :func:`bind` of each. Raises ParseError if one is no record."""
    if entries and max(map(len, entries)) > MAX_ENTRY:
        raise ParseError(f"entry of more than {MAX_ENTRY} bytes")
    try:
        return [_bound(entry) if entry.startswith(_READING) else decode(entry) for entry in entries]
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise ParseError(f"not a record: {error or type(error).__name__}") from error
