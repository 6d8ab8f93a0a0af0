"""What a record must hold beyond the types of its fields: decimals, digests, bodies, and what goes together."""

from __future__ import annotations

import hashlib
import re
from itertools import chain
from typing import Any, Final

from .errors import ParseError
from .record_types import (
    Advice,
    Aggregate,
    CalibrationState,
    Configuration,
    Document,
    Gap,
    Reading,
    Record,
    Seal,
)
from .strict_json import check_json

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
_is_digest: Final = re.compile("[0-9a-f]{64}").fullmatch


def decimal_text(text: str) -> bool:
    """Whether the text is a decimal as records carry it: no sign but minus, no leading zeros, digits round
    the point.
    """
    return _is_decimal(text) is not None


def check_content(record: Record) -> None:
    """Raises ParseError for a text that is no decimal, a digest that is none or is of other bytes, a contradiction."""
    check = _CHECKS.get(type(record))
    if check is not None:
        check(record)


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
        check_json(body)
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
