"""Instants on the command line: a date, or an instant with its offset from UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gateway.cli.output import UsageError

_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}")


def instant(text: str) -> datetime:
    """A date (00:00 UTC) or an instant with its offset. Raises UsageError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r}: write a date (2026-11-01) or an instant (2026-11-01T08:00+08:00)"
        ) from None
    if found.tzinfo is None:
        if not _DATE.fullmatch(text):
            raise UsageError(f"{text!r}: an instant needs its offset, such as {text}+08:00 or {text}Z")
        found = found.replace(tzinfo=UTC)
    return found


def microseconds(text: str) -> int:
    """The same in µs since 1970. Raises UsageError."""
    begun = instant(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (begun.days * 86_400 + begun.seconds) * 1_000_000 + begun.microseconds
