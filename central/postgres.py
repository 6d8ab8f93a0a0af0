"""The platform's store on PostgreSQL: one database under any number of stateless workers.

The same promises as the SQLite store. Each advance of a gateway's head is one transaction with the entries that it
covers; it begins with ``UPDATE gateway … WHERE size = <what was seen>``, so of two workers that verified the same
entries one moves the head and the other is told that it was overtaken. Readings come in by COPY, into partitions of a
month (TimescaleDB's chunks where that extension is in the database). A COMMIT that returned must be durable, since a
receipt follows it: a server that is set to lose commits is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from evidence import log
from evidence.continuity import Place
from evidence.record import Aggregate, Reading

from .postgres_entries import skip, to_json, write_bundles, write_records
from .postgres_tables import Connection, check_durable, lay, make_month, month_of, months_made, one
from .rows import Advance, Alarm, Gateway, Head, Pending, Total, Value, peaks_of, values_of
from .store import Overtaken, StoreError

PAGE: Final = 2000  # rows asked for at once: whoever reads slowly holds no transaction open
OLDEST_US: Final = (
    1_577_836_800_000_000  # 2020: what claims to be older has no clock, and no partition of its own
)


class PostgresStore:
    """The platform's store in a PostgreSQL database. Safe to use from many threads, processes and machines.

    Args:
        url: a libpq connection string or ``postgresql://`` URL.
        connections: at most so many at once.
        patience_s: how long to wait for the server before giving up.
    """

    def __init__(self, url: str, *, connections: int = 8, patience_s: float = 30.0) -> None:
        patience = max(2, int(patience_s))
        try:
            # one connection first: its error says what is wrong with the URL, a pool would only time out
            with psycopg.connect(url, connect_timeout=patience) as db:
                check_durable(db)
                lay(db)
                self._months = months_made(db)
        except psycopg.Error as error:
            raise StoreError(f"the database cannot be used: {_said(error)}") from error
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            kwargs={"connect_timeout": patience, "autocommit": True},
            min_size=1,
            max_size=connections,
            timeout=patience_s,
            open=True,
        )

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction of its own: committed at the end, rolled back by what is raised."""
        try:
            with self._pool.connection() as db, db.transaction():
                yield db
        except (psycopg.Error, PoolTimeout) as error:
            raise StoreError(f"the database refused: {_said(error)}") from error

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[TupleRow]:
        """What a query answers, in one exchange with the server."""
        try:
            with self._pool.connection() as db:
                return db.execute(query.encode(), values).fetchall()
        except (psycopg.Error, PoolTimeout) as error:
            raise StoreError(f"the database refused: {_said(error)}") from error

    def now_us(self) -> int:
        """The database's clock: one for all workers."""
        return int(self.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0][0])

    # ── gateways and heads ───────────────────────────────────────────────────────────────────────────────────────────

    def gateway(self, origin: str, vkey: str) -> Gateway:
        """The gateway of this origin, entered if it is new. Raises StoreError if it is known with another key."""
        found = self.known(origin)
        if found is None:
            with self.transaction() as db:
                insert = "INSERT INTO gateway(origin, vkey) VALUES (%s, %s) ON CONFLICT (origin) DO NOTHING"
                db.execute(insert, (origin, vkey))
            found = self.known(origin)
        if found is None:
            raise StoreError(f"{origin}: was just taken out of the database by somebody else")
        if found.vkey != vkey and vkey not in dict(self.keys(found)).values():
            raise StoreError(
                f"{origin} is stored with another key ({found.vkey}). Give that one: a newer key is taken over from "
                "the log's own key record. If the log went on to the newer one before that record came here, revoke "
                f"the older one up to what is stored, --revoked FILE with the line: {found.vkey} size {found.size}"
            )
        return found

    def known(self, origin: str) -> Gateway | None:
        """The gateway of this origin, if there is one."""
        return next(iter(self._gateways("WHERE origin = %s", (origin,))), None)

    def gateways(self) -> tuple[Gateway, ...]:
        """All gateways, by origin."""
        return self._gateways("ORDER BY origin", ())

    def _gateways(self, which: str, values: Sequence[Any]) -> tuple[Gateway, ...]:
        query = "SELECT id, origin, vkey, size, peaks, sealed_us, advanced_us, alarm FROM gateway " + which  # noqa: S608
        return tuple(
            Gateway(number, origin, vkey, size, peaks_of(peaks), *rest)
            for number, origin, vkey, size, peaks, *rest in self.rows(query, values)
        )

    def heads(self, gateway: Gateway, since: int = 0) -> tuple[Head, ...]:
        """Verified checkpoints, smallest first."""
        query = (
            "SELECT size, root, note, receipt, posted FROM head WHERE gateway=%s AND size>=%s ORDER BY size"
        )
        return tuple(Head(*row) for row in self.rows(query, (gateway.id, since)))

    def last_head(self, gateway: Gateway) -> Head | None:
        """The newest checkpoint that is stored to its last entry."""
        query = (
            "SELECT size, root, note, receipt, posted FROM head WHERE gateway=%s ORDER BY size DESC LIMIT 1"
        )
        return next((Head(*row) for row in self.rows(query, (gateway.id,))), None)

    def roots(self, gateway: Gateway, sizes: Iterable[int]) -> dict[int, bytes]:
        """Size to root of the verified checkpoints of these sizes, as far as there are any."""
        wanted = list(sizes)
        if not wanted:
            return {}
        query = "SELECT size, root FROM head WHERE gateway=%s AND size = ANY(%s)"
        return {size: root for size, root in self.rows(query, (gateway.id, wanted))}  # noqa: C416 - mypy

    def places(self, gateway: Gateway) -> dict[str, Place]:
        """Where each instrument's series stands."""
        query = "SELECT name, number, entry, received, missed FROM instrument WHERE gateway=%s"
        return {name: Place(*place) for name, *place in self.rows(query, (gateway.id,))}

    def references(self, gateway: Gateway) -> dict[str, set[tuple[int, str]]]:
        """Configurations and calibration states that later entries may name."""
        found: dict[str, set[tuple[int, str]]] = {"configuration": set(), "calibration_state": set()}
        query = "SELECT kind, entry, digest FROM reference WHERE gateway=%s"
        for kind, entry, digest in self.rows(query, (gateway.id,)):
            found[kind].add((entry, digest))
        return found

    def keys(self, gateway: Gateway) -> tuple[tuple[int, str], ...]:
        """Keys (vkeys) that the log's own key records brought in, each with its entry."""
        query = "SELECT entry, vkey FROM key WHERE gateway=%s ORDER BY entry"
        return tuple((entry, vkey) for entry, vkey in self.rows(query, (gateway.id,)))

    # ── advancing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, gateway: Gateway, step: Advance, now_us: int) -> Gateway:
        """Store what was verified, in one durable transaction, and move the head.

        Raises Overtaken if another has moved it from where ``gateway`` says it stands.
        """
        self._make_room(step, now_us)
        with self.transaction() as db:
            moved = db.execute(
                "UPDATE gateway SET size=%s, peaks=%s, sealed_us=%s, advanced_us=%s, alarm='' "
                "WHERE id=%s AND size=%s",
                (step.size, b"".join(step.peaks), step.sealed_us, now_us, gateway.id, gateway.size),
            )
            if moved.rowcount != 1:
                known = one(db, "SELECT size FROM gateway WHERE id=%s", gateway.id)
                raise Overtaken(
                    f"{gateway.origin} is at {known} entries, not {gateway.size}: two collectors at work?"
                )
            write_bundles(db, gateway, step)
            write_records(db, gateway.id, step)
            if step.keys:
                keys = [(gateway.id, *row) for row in step.keys]
                db.cursor().executemany("INSERT INTO key VALUES (%s, %s, %s)", keys)
            if step.references:
                references = [(gateway.id, *row) for row in step.references]
                db.cursor().executemany("INSERT INTO reference VALUES (%s, %s, %s, %s)", references)
            # an older pending checkpoint that these entries have passed will not be completed any more
            db.execute("DELETE FROM pending WHERE gateway=%s AND size<=%s", (gateway.id, step.size))
            if step.head is not None:
                root, note = step.head
                db.execute(
                    "INSERT INTO head(gateway, size, root, note, at_us) VALUES (%s, %s, %s, %s, %s) "
                    "ON CONFLICT DO NOTHING",  # a head that another has entered, over the same entries
                    (gateway.id, step.size, root, note, now_us),
                )
        return Gateway(
            gateway.id, gateway.origin, gateway.vkey, step.size, step.peaks, step.sealed_us, now_us, ""
        )

    def _make_room(self, step: Advance, now_us: int) -> None:
        """Partitions for the months of these records, made beforehand and for all."""
        if self._months is None:
            return
        times = {
            r.utc_us if isinstance(r, Reading) else r.from_us
            for _, r in step.records
            if isinstance(r, Reading | Aggregate)
        }
        latest = month_of(now_us) + 1
        wanted = {month_of(us) for us in times if us >= OLDEST_US} - self._months
        for month in sorted(m for m in wanted if m <= latest):
            with self.transaction() as db:
                make_month(db, month)
            self._months.add(month)

    def pending(self, gateway: Gateway) -> tuple[Pending, ...]:
        """Signed checkpoints whose entries are not all here yet, smallest first."""
        query = "SELECT size, root, note FROM pending WHERE gateway=%s ORDER BY size"
        return tuple(Pending(*row) for row in self.rows(query, (gateway.id,)))

    def add_pending(self, gateway: Gateway, pending: Pending, keep: int = 8) -> None:
        """Keep a signed checkpoint that follows from the newest one known, durably; the last ``keep`` are kept."""
        with self.transaction() as db:
            row = (gateway.id, pending.size, pending.root, pending.note)
            db.execute("INSERT INTO pending VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", row)
            db.execute(
                "DELETE FROM pending WHERE gateway=%s AND size NOT IN "
                "(SELECT size FROM pending WHERE gateway=%s ORDER BY size DESC LIMIT %s)",
                (gateway.id, gateway.id, keep),
            )

    def receipt(self, gateway: Gateway, size: int, receipt: bytes, *, posted: bool) -> None:
        """Keep the receipt for a head, and whether the gateway has it."""
        with self.transaction() as db:
            db.execute(
                "SET LOCAL synchronous_commit = off"
            )  # the head is durable; a receipt can be made out again
            update = "UPDATE head SET receipt=%s, posted=%s WHERE gateway=%s AND size=%s"
            db.execute(update, (receipt, posted, gateway.id, size))

    # ── alarms ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def quarantine(
        self,
        gateway: Gateway,
        kind: str,
        what: str,
        notes: tuple[bytes, bytes],
        files: Iterable[tuple[str, bytes]],
        now_us: int,
    ) -> None:
        """Keep an alarm with both notes, and what was served, apart from the log. The same alarm is kept once."""
        digest = hashlib.sha256(to_json((kind, what)) + notes[1]).digest()
        with self.transaction() as db:
            db.execute("UPDATE gateway SET alarm=%s WHERE id=%s", (kind, gateway.id))
            row = db.execute(
                "INSERT INTO alarm(gateway, at_us, kind, what, ours, theirs, digest) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id",
                (gateway.id, now_us, kind, what, *notes, digest),
            ).fetchone()
            kept = [(row[0], path, data) for path, data in files] if row else []
            if kept:
                db.cursor().executemany("INSERT INTO quarantine VALUES (%s, %s, %s)", kept)

    def release(self, origin: str) -> bool:
        """Let a gateway go on after an alarm that a person has looked into. The alarm stays on record."""
        with self.transaction() as db:
            update = "UPDATE gateway SET alarm='' WHERE origin=%s AND alarm<>''"
            return db.execute(update, (origin,)).rowcount > 0

    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms, oldest first."""
        query = (
            "SELECT a.id, origin, at_us, kind, what, ours, theirs FROM alarm a JOIN gateway g ON g.id = a.gateway "
            "ORDER BY a.id"
        )
        return tuple(Alarm(*row) for row in self.rows(query))

    def quarantined(self, alarm: Alarm) -> dict[str, bytes]:
        """What was served when an alarm was raised, by path."""
        rows = self.rows("SELECT path, data FROM quarantine WHERE alarm=%s", (alarm.id,))
        return {path: data for path, data in rows}  # noqa: C416 - mypy

    # ── entries and values ───────────────────────────────────────────────────────────────────────────────────────────

    def bundle(self, gateway: Gateway, number: int) -> bytes | None:
        """A stored bundle, as wide as it is."""
        query = "SELECT packed, data FROM bundle WHERE gateway=%s AND number=%s ORDER BY first"
        found = self.rows(query, (gateway.id, number))
        return b"".join(zlib.decompress(data) if packed else data for packed, data in found) or None

    def entries(self, gateway: Gateway, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Entries ``start`` to ``end`` (all if None)."""
        end = gateway.size if end is None else min(end, gateway.size)
        for number in range(start // 256, -(-end // 256)):
            data = self.bundle(gateway, number)
            if data is None:
                return
            begin = number * 256
            upto = min(256, end - begin)
            # it may have grown since ``gateway`` was read: only what that knew of
            yield from log.decode_bundle(data[: skip(data, upto)], upto)[max(0, start - begin) :]

    def values(
        self,
        origin: str,
        instrument: str,
        measurand: str | None = None,
        from_us: int = 0,
        to_us: int = 2**62,
    ) -> Iterator[Value]:
        """Values of one instrument with ``from_us <= utc_us < to_us``, in order of time."""
        query = (
            "SELECT r.utc_us, r.entry, r.clock, r.indications, r.missing, r.results, r.flags FROM reading r "
            "WHERE r.instrument = (SELECT i.id FROM instrument i JOIN gateway g ON g.id = i.gateway "
            "WHERE g.origin = %s AND i.name = %s) AND r.utc_us >= %s AND r.utc_us < %s "
            "AND (r.utc_us, r.entry) > (%s, %s) ORDER BY r.utc_us, r.entry LIMIT %s"
        )
        for row in self._pages(query, (origin, instrument, from_us, to_us)):
            yield from values_of(origin, instrument, measurand, *row)

    def totals(
        self,
        origin: str,
        measurand: str | None = None,
        instrument: str | None = None,
        from_us: int = 0,
        to_us: int = 2**62,
        *,
        superseded: bool = False,
    ) -> Iterator[Total]:
        """Aggregates that lie within the period, without those that a later one replaces (unless ``superseded``)."""
        query = (
            "SELECT a.from_us, a.entry, a.instruments, a.measurand, a.unit, a.to_us, a.value, a.u, a.count, "
            "a.missing, a.method, a.flags, a.supersedes, "
            "(SELECT min(b.entry) FROM aggregate b WHERE b.gateway = a.gateway AND b.supersedes = a.entry) "
            "FROM aggregate a WHERE a.gateway = (SELECT id FROM gateway WHERE origin = %s) "
            "AND (%s::text IS NULL OR a.measurand = %s) AND a.from_us >= %s AND a.to_us <= %s "
            "AND a.from_us <= %s AND (a.from_us, a.entry) > (%s, %s) ORDER BY a.from_us, a.entry LIMIT %s"
        )
        for row in self._pages(query, (origin, measurand, measurand, from_us, to_us, to_us)):
            begin, entry, names, name, unit, end, value, u, count, missing, method, flags, replaces, by = row
            if (instrument is None or instrument in names) and (superseded or by is None):
                yield Total(
                    origin, entry, tuple(names), name, unit, begin, end, value, u, count, missing, method,
                    tuple(flags), replaces, by,
                )  # fmt: skip

    def parts(self, origin: str, entries: Sequence[int]) -> dict[int, tuple[dict[str, str], str]]:
        """Of the aggregates at these entries: contributions by source of uncertainty, and the independent variance."""
        query = (
            "SELECT a.entry, a.contributions, a.independent FROM aggregate a JOIN gateway g ON g.id = a.gateway "
            "WHERE g.origin = %s AND a.entry = ANY(%s)"
        )
        return {entry: (c, r2) for entry, c, r2 in self.rows(query, (origin, list(entries)))}

    def _pages(self, query: str, values: Sequence[Any]) -> Iterator[TupleRow]:
        """Rows in pages, by the two columns that the query begins with, orders by and goes on after."""
        after = (-1, -1)
        while True:
            found = self.rows(query, (*values, *after, PAGE))
            yield from found
            if len(found) < PAGE:
                return
            after = found[-1][0], found[-1][1]


def _said(error: Exception) -> str:
    """The first line: the rest repeats the statement."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
