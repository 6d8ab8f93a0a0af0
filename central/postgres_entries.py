"""What one advance brings, as rows of PostgreSQL: bundles as they came, packed once full, and records by COPY."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from evidence import log
from evidence.continuity import Place
from evidence.record import Aggregate, Event, Reading

from .postgres_tables import Connection
from .rows import Advance, Gateway

to_json: Final = msgspec.json.Encoder().encode


def write_bundles(db: Connection, gateway: Gateway, step: Advance) -> None:
    """The bytes of the entries: the open bundle piece by piece, a full one whole."""
    parts: list[tuple[object, ...]] = []
    for number, width, data in step.bundles:
        stored = max(0, min(256, gateway.size - number * 256))
        if width < log.TILE_WIDTH:
            parts.append((gateway.id, number, stored, False, data[skip(data, stored) :]))
            continue
        if stored:
            db.execute("DELETE FROM bundle WHERE gateway=%s AND number=%s", (gateway.id, number))
        parts.append((gateway.id, number, 0, True, zlib.compress(data, 1)))
    parts = [part for part in parts if part[4]]
    if parts:
        db.cursor().executemany("INSERT INTO bundle VALUES (%s, %s, %s, %s, %s)", parts)


def write_records(db: Connection, gateway: int, step: Advance) -> None:
    """Readings, aggregates and events, and where each instrument then stands."""
    numbers = _instruments(db, gateway, step.places)
    readings = [(i, r) for i, r in step.records if isinstance(r, Reading)]
    if readings:
        into = (
            "COPY reading(instrument, utc_us, entry, number, clock, indications, missing, results, flags) "
            "FROM STDIN"
        )
        with db.cursor().copy(into) as copy:
            for index, r in readings:
                texts = (_dump(r.indications), _dump(r.missing), _dump(r.results), _dump(r.flags))
                copy.write_row((numbers[r.instrument], r.utc_us, index, r.number, r.clock, *texts))
    aggregates = [(i, r) for i, r in step.records if isinstance(r, Aggregate)]
    if aggregates:
        with db.cursor().copy("COPY aggregate FROM STDIN") as copy:
            for index, a in aggregates:
                period = (a.measurand, a.from_us, a.to_us, _dump(a.instruments))
                result = (
                    a.unit,
                    a.value,
                    a.u,
                    a.count,
                    a.missing,
                    a.method,
                    _dump(a.flags),
                    a.supersedes,
                )
                parts = (_dump(a.contributions), a.independent)
                copy.write_row((gateway, index, *period, *result, *parts))
    events = [
        (gateway, i, r.utc_us, r.kind, _dump(r.detail)) for i, r in step.records if isinstance(r, Event)
    ]
    if events:
        db.cursor().executemany("INSERT INTO event VALUES (%s, %s, %s, %s, %s)", events)


def _instruments(db: Connection, gateway: int, places: dict[str, Place]) -> dict[str, int]:
    """Move each instrument's place; their numbers in the database."""
    if not places:
        return {}
    columns = [list(column) for column in zip(*places.values(), strict=True)]
    rows = db.execute(
        "INSERT INTO instrument(gateway, name, number, entry, received, missed) "
        "SELECT %s, * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
        "ON CONFLICT (gateway, name) DO UPDATE SET number=excluded.number, entry=excluded.entry, "
        "received=excluded.received, missed=excluded.missed RETURNING name, id",
        (gateway, list(places), *columns),
    )
    return {name: number for name, number in rows}  # noqa: C416 - mypy


def _dump(value: object) -> str:
    return to_json(value).decode()


def skip(bundle: bytes, count: int) -> int:
    """Where in a bundle its first ``count`` entries end."""
    at = 0
    for _ in range(count):
        at += 2 + int.from_bytes(bundle[at : at + 2], "big")
    return at
