"""Which keys a gateway's log has had, as this platform knows them: for its operator to look at.

The registry says which key was entered, and which ones before it; the log's own ``key`` records say to which keys it
went on since. These stand in the store, and with the newest application that was approved (at most sixteen).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evidence.enrolment import Application
from evidence.errors import ParseError
from evidence.note import Verifier, check_key_statement
from evidence.record import Key, decode

from .holding import Holding


@dataclass(frozen=True, slots=True)
class Brought:
    """A key to which a log went on. ``entry`` and ``utc_us`` (µs since 1970) of its record, where that is known."""

    verifier: Verifier
    entry: int | None = None
    utc_us: int | None = None


def of_store(store: Holding, origin: str) -> tuple[Brought, ...]:
    """The keys that the stored log's own records brought in, oldest first; they were verified when they were stored."""
    gateway = next((one for one in store.gateways() if one.origin == origin), None)
    found = []
    for entry, vkey in () if gateway is None else store.keys(gateway):
        assert gateway is not None
        record = decode(next(iter(store.entries(gateway, entry, entry + 1))))
        found.append(Brought(Verifier.parse(vkey), entry, record.utc_us if isinstance(record, Key) else None))
    return tuple(found)


def of_application(application: Application, known: Verifier) -> tuple[Brought, ...]:
    """The keys to which the statements of an application lead from the known one, oldest first."""
    return tuple(Brought(one) for one in _followed(application, known))


def _followed(application: Application, known: Verifier) -> Iterator[Verifier]:
    keys = [known]
    for statement in application.statements:
        lines = statement.split("\n")
        if len(lines) < 3 or not check_key_statement(statement, known.name, lines[2], *keys):
            continue
        try:
            key = Verifier.parse(lines[2])
        except ParseError:
            continue
        if key not in keys:
            keys.append(key)
            yield key
