"""Readings that are written plainly, as nearly all are: many are asked at once for what one is asked alone.

As many colons as they have keys, so no key twice; no backslash, so no half surrogate; their decimals end to end, read
as one JSON array.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
from msgspec import Struct

from .record_types import Reading

_READING_KEYS: Final = 1 + len(Reading.__struct_fields__)  # and ``type``
_NO_FLAGS: Final = b',"flags":[]}'
_FLAGS: Final = b',"flags":['


def plainly(readings: Sequence[Reading], written: Sequence[bytes]) -> bool:
    """Whether readings hold all that ``record.decode`` asks, seen from what is plain; False says nothing."""
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
