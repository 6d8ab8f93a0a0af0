"""The platform's store: entries of many gateways, their decoded values, heads and alarms, in one SQLite file.

One writer, one connection, WAL with ``synchronous=FULL`` and an exclusive lock: what ``advance`` returned from survives
a power cut, and the versions of SQLite that corrupt a shared WAL cannot. Each advance of a gateway's head is one
transaction with the entries that it covers, so that after any kill the store holds a prefix of the signed log, nothing
twice, and goes on from there. The log index is the identity of an entry.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from evidence import log
from evidence.continuity import Place
from evidence.record import Aggregate, Event, Reading, Record

from .rows import Advance, Alarm, Gateway, Head, Pending, Total, Value, peaks_of, values_of
from .schema import APPLICATION_ID, PENDING, SUPERSEDED, TABLES, VERSION

_AT_ONCE: Final = 2000  # rows that are read before a commit is let pass
_to_json: Final = msgspec.json.Encoder().encode
DATABASE: Final = "central.db"
FIXED_IN: Final = (3, 51, 3)  # of the WAL-reset bug

_AGGREGATES: Final = (
    "SELECT a.from_us, a.entry, a.*, "
    "(SELECT min(b.entry) FROM aggregate b WHERE b.gateway = a.gateway AND b.supersedes = a.entry) "
    "FROM gateway g JOIN aggregate a ON a.gateway = g.id WHERE g.origin = ? "
)
_IN_ORDER: Final = "AND a.to_us <= ? AND (a.from_us, a.entry) > (?, ?) ORDER BY a.from_us, a.entry"


class StoreError(Exception):
    """The store cannot be opened or written: what, and what to do."""


class Overtaken(StoreError):
    """Another process has moved this gateway's head meanwhile. Nothing was written; nothing is wrong."""


class Store:
    """The platform's store, in a directory. Open it once; a second opening is refused."""

    def __init__(self, directory: Path) -> None:
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if version < FIXED_IN:
            raise StoreError(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt a WAL; apsw with 3.51.3 or newer is needed"
            )
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = directory / DATABASE
        fresh = not self.path.exists()
        try:
            self._db = apsw.Connection(str(self.path))
            self._db.set_busy_timeout(500)
            self._db.execute(
                "PRAGMA locking_mode=EXCLUSIVE"
            ).fetchall()  # before anything is read: no shared memory
            empty = fresh or not self._db.execute("SELECT count(*) FROM sqlite_schema").get
            if not empty and self._db.execute("PRAGMA application_id").get != APPLICATION_ID:
                raise StoreError(f"{self.path} is not a store of the platform")
            if not empty and self._db.execute("PRAGMA user_version").get not in (1, VERSION):
                raise StoreError(f"{self.path} was written by another version of this program")
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "journal_size_limit=67108864",
                "wal_autocheckpoint=4000",
                "temp_store=MEMORY",
                "cache_size=-65536",
            ):
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            if empty:
                self._create(directory)
            with self._db:  # takes the exclusive lock now, not at the first write
                self._db.execute("UPDATE gateway SET id = id WHERE 0")
                self._db.execute(PENDING)
                self._db.execute(SUPERSEDED)
                self._db.execute(f"PRAGMA user_version={VERSION}")
        except apsw.BusyError as error:
            raise StoreError(
                f"{self.path} is open in another process; only one may collect into it, or answer from it. "
                "Another collector takes another --store; the one that runs can answer questions: --ask HOST:PORT"
            ) from error
        except (apsw.CantOpenError, apsw.NotADBError, apsw.ReadOnlyError, apsw.CorruptError) as error:
            raise StoreError(f"{self.path}: {error}") from error
        # One transaction at a time, also from a thread that commits in the background.
        self._lock = threading.Lock()
        self._instruments = self._all_instruments()

    def _all_instruments(self) -> dict[tuple[int, str], int]:
        rows = self._db.execute("SELECT gateway, name, id FROM instrument")
        return {(gateway, name): number for gateway, name, number in rows}

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with self._lock, self._db:
            yield self._db

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows as they were before or after a transaction of another thread, never from its middle."""
        with self._lock:
            return self._db.execute(query, tuple(values)).fetchall()

    def _pieces(self, query: str, values: Sequence[Any], from_us: int) -> Iterator[Any]:
        """Rows after ``(?, ?)``, the query's last two (instant, entry), which are the row's first two, in order.

        Read piece by piece: an answer that is long, or whose reader is slow, neither sees the middle of a transaction
        nor keeps one from beginning.
        """
        after = (from_us, -1)
        while rows := self._rows(f"{query} LIMIT {_AT_ONCE}", (*values, *after)):
            yield from rows
            after = tuple(rows[-1][:2])

    def _create(self, directory: Path) -> None:
        with self._db:
            self._db.execute(TABLES)
            self._db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}")
        # The journal that turned the new file to WAL must be gone from the directory before anything is promised.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for place in (directory, directory.parent):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Close it; the next opening finds all that was committed."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── gateways and heads ───────────────────────────────────────────────────────────────────────────────────────────

    def gateway(self, origin: str, vkey: str) -> Gateway:
        """The gateway of this origin, entered if it is new. Raises StoreError if it is known with another key."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO gateway(origin, vkey) VALUES (?, ?)", (origin, vkey))
        found = next(g for g in self.gateways() if g.origin == origin)
        if found.vkey != vkey and vkey not in dict(self.keys(found)).values():
            raise StoreError(
                f"{origin} is stored with another key ({found.vkey}). Give that one: a newer key is taken over from "
                "the log's own key record. If the log went on to the newer one before that record came here, revoke "
                f"the older one up to what is stored, --revoked FILE with the line: {found.vkey} size {found.size}"
            )
        return found

    def gateways(self) -> tuple[Gateway, ...]:
        """All gateways."""
        query = (
            "SELECT id, origin, vkey, size, peaks, sealed_us, advanced_us, alarm FROM gateway ORDER BY origin"
        )
        return tuple(
            Gateway(number, origin, vkey, size, peaks_of(peaks), *rest)
            for number, origin, vkey, size, peaks, *rest in self._rows(query)
        )

    def heads(self, gateway: Gateway, since: int = 0) -> tuple[Head, ...]:
        """Verified checkpoints, smallest first."""
        query = "SELECT size, root, note, receipt, posted FROM head WHERE gateway=? AND size>=? ORDER BY size"
        return tuple(
            Head(size, root, note, receipt, bool(posted))
            for size, root, note, receipt, posted in self._rows(query, (gateway.id, since))
        )

    def last_head(self, gateway: Gateway) -> Head | None:
        """The newest checkpoint that is stored to its last entry."""
        query = (
            "SELECT size, root, note, receipt, posted FROM head WHERE gateway=? ORDER BY size DESC LIMIT 1"
        )
        rows = self._rows(query, (gateway.id,))
        return next((Head(size, root, note, receipt, bool(p)) for size, root, note, receipt, p in rows), None)

    def roots(self, gateway: Gateway, sizes: Iterable[int]) -> dict[int, bytes]:
        """Size to root of the verified checkpoints of these sizes, as far as there are any."""
        found: dict[int, bytes] = {}
        for size in sizes:
            for (root,) in self._rows("SELECT root FROM head WHERE gateway=? AND size=?", (gateway.id, size)):
                found[size] = root
        return found

    def places(self, gateway: Gateway) -> dict[str, Place]:
        """Where each instrument's series stands."""
        query = "SELECT name, number, entry, received, missed FROM instrument WHERE gateway=?"
        return {name: Place(*place) for name, *place in self._rows(query, (gateway.id,))}

    def references(self, gateway: Gateway) -> dict[str, set[tuple[int, str]]]:
        """Configurations and calibration states that later entries may name."""
        found: dict[str, set[tuple[int, str]]] = {"configuration": set(), "calibration_state": set()}
        query = "SELECT kind, entry, digest FROM reference WHERE gateway=?"
        for kind, entry, digest in self._rows(query, (gateway.id,)):
            found[kind].add((entry, digest))
        return found

    def keys(self, gateway: Gateway) -> tuple[tuple[int, str], ...]:
        """Keys (vkeys) that the log's own key records brought in, each with its entry."""
        query = "SELECT entry, vkey FROM key WHERE gateway=? ORDER BY entry"
        return tuple((entry, vkey) for entry, vkey in self._rows(query, (gateway.id,)))

    def advance(self, gateway: Gateway, step: Advance, now_us: int) -> Gateway:
        """Store what was verified, in one durable transaction, and move the head."""
        try:
            return self._advance(gateway, step, now_us)
        except BaseException:
            self._instruments = self._all_instruments()  # those that were new are rolled back
            raise

    def _advance(self, gateway: Gateway, step: Advance, now_us: int) -> Gateway:
        with self._transaction():
            known = self._db.execute("SELECT size FROM gateway WHERE id=?", (gateway.id,)).get
            if known != gateway.size:
                raise Overtaken(
                    f"{gateway.origin} is at {known} entries, not {gateway.size}: two collectors at work?"
                )
            self._db.executemany(
                "INSERT OR REPLACE INTO bundle(gateway, number, width, packed, data) VALUES (?, ?, ?, ?, ?)",
                [(gateway.id, number, width, *_pack(width, data)) for number, width, data in step.bundles],
            )
            self._db.executemany(
                "INSERT INTO instrument(gateway, name, number, entry, received, missed) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (gateway, name) DO UPDATE SET number=excluded.number, entry=excluded.entry, "
                "received=excluded.received, missed=excluded.missed",
                [(gateway.id, name, *place) for name, place in step.places.items()],
            )
            self._records(gateway.id, step.records)
            self._db.executemany(
                "INSERT INTO key VALUES (?, ?, ?)", [(gateway.id, *row) for row in step.keys]
            )
            self._db.executemany(
                "INSERT INTO reference VALUES (?, ?, ?, ?)", [(gateway.id, *row) for row in step.references]
            )
            self._db.execute(
                "UPDATE gateway SET size=?, peaks=?, sealed_us=?, advanced_us=?, alarm='' WHERE id=?",
                (step.size, b"".join(step.peaks), step.sealed_us, now_us, gateway.id),
            )
            # an older pending checkpoint that these entries have passed will not be completed any more
            self._db.execute("DELETE FROM pending WHERE gateway=? AND size<=?", (gateway.id, step.size))
            if step.head is not None:
                root, note = step.head
                self._db.execute(
                    "INSERT INTO head(gateway, size, root, note, at_us) VALUES (?, ?, ?, ?, ?)",
                    (gateway.id, step.size, root, note, now_us),
                )
        return Gateway(
            gateway.id, gateway.origin, gateway.vkey, step.size, step.peaks, step.sealed_us, now_us, ""
        )

    def pending(self, gateway: Gateway) -> tuple[Pending, ...]:
        """Signed checkpoints whose entries are not all here yet, smallest first."""
        query = "SELECT size, root, note FROM pending WHERE gateway=? ORDER BY size"
        return tuple(Pending(*row) for row in self._rows(query, (gateway.id,)))

    def add_pending(self, gateway: Gateway, pending: Pending, keep: int = 8) -> None:
        """Keep a signed checkpoint that follows from the newest one known, durably; the last ``keep`` are kept."""
        with self._transaction():
            row = (gateway.id, pending.size, pending.root, pending.note)
            self._db.execute("INSERT OR IGNORE INTO pending VALUES (?, ?, ?, ?)", row)
            self._db.execute(
                "DELETE FROM pending WHERE gateway=?1 AND size NOT IN "
                "(SELECT size FROM pending WHERE gateway=?1 ORDER BY size DESC LIMIT ?2)",
                (gateway.id, keep),
            )

    def receipt(self, gateway: Gateway, size: int, receipt: bytes, *, posted: bool) -> None:
        """Keep the receipt for a head, and whether the gateway has it."""
        with self._transaction():
            self._db.execute(
                "UPDATE head SET receipt=?, posted=? WHERE gateway=? AND size=?",
                (receipt, int(posted), gateway.id, size),
            )

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
        with self._transaction():
            self._db.execute("UPDATE gateway SET alarm=? WHERE id=?", (kind, gateway.id))
            row = self._db.execute(
                "INSERT OR IGNORE INTO alarm(gateway, at_us, kind, what, ours, theirs) VALUES (?, ?, ?, ?, ?, ?) "
                "RETURNING id",
                (gateway.id, now_us, kind, what, *notes),
            ).fetchone()
            if row:
                self._db.executemany(
                    "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?)",
                    [(row[0], path, data) for path, data in files],
                )

    def release(self, origin: str) -> bool:
        """Let a gateway go on after an alarm that a person has looked into. The alarm stays on record."""
        with self._transaction():
            held = self._db.execute(
                "SELECT count(*) FROM gateway WHERE origin=? AND alarm<>''", (origin,)
            ).get
            self._db.execute("UPDATE gateway SET alarm='' WHERE origin=?", (origin,))
        return bool(held)

    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms, oldest first."""
        query = (
            "SELECT a.id, origin, at_us, kind, what, ours, theirs FROM alarm a JOIN gateway g ON g.id = a.gateway "
            "ORDER BY a.id"
        )
        return tuple(Alarm(*row) for row in self._db.execute(query))

    def quarantined(self, alarm: Alarm) -> dict[str, bytes]:
        """What was served when an alarm was raised, by path."""
        return dict(self._db.execute("SELECT path, data FROM quarantine WHERE alarm=?", (alarm.id,)))

    # ── entries and values ───────────────────────────────────────────────────────────────────────────────────────────

    def bundle(self, gateway: Gateway, number: int) -> bytes | None:
        """A stored bundle, as wide as it is."""
        query = "SELECT packed, data FROM bundle WHERE gateway=? AND number=?"
        rows = self._rows(query, (gateway.id, number))
        if not rows:
            return None
        packed, data = rows[0]
        return zlib.decompress(data) if packed else bytes(data)

    def entries(self, gateway: Gateway, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Entries ``start`` to ``end`` (all if None)."""
        end = gateway.size if end is None else min(end, gateway.size)
        for number in range(start // 256, -(-end // 256)):
            data = self.bundle(gateway, number)
            if data is None:
                return
            width = min(256, gateway.size - number * 256)
            yield from log.decode_bundle(data, width)[max(0, start - number * 256) : end - number * 256]

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
            "SELECT r.utc_us, r.entry, r.clock, r.indications, r.missing, r.results, r.flags FROM gateway g "
            "JOIN instrument i ON i.gateway = g.id JOIN reading r ON r.instrument = i.id "
            "WHERE g.origin = ? AND i.name = ? AND r.utc_us < ? AND (r.utc_us, r.entry) > (?, ?) "
            "ORDER BY r.utc_us, r.entry"
        )
        for row in self._pieces(query, (origin, instrument, to_us), from_us):
            utc_us, entry, clock, *texts = row
            indications, missing, results, flags = map(_load, texts)
            yield from values_of(
                origin, instrument, measurand, utc_us, entry, clock, indications, missing, results, flags
            )

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
        query = _AGGREGATES + ("" if measurand is None else "AND a.measurand = ? ") + _IN_ORDER
        named = () if measurand is None else (measurand,)
        for row in self._pieces(query, (origin, *named, to_us), from_us):
            (
                _,
                _,
                _,
                entry,
                name,
                begin,
                end,
                instruments,
                unit,
                value,
                u,
                count,
                missing,
                method,
                flags,
                replaces,
                by,
            ) = row
            names = tuple(_load(instruments))
            if (instrument is None or instrument in names) and (superseded or by is None):
                yield Total(
                    origin, entry, names, name, unit, begin, end, value, u, count, missing, method, tuple(_load(flags)),
                    replaces, by,
                )  # fmt: skip

    def _records(self, gateway: int, records: Sequence[tuple[int, Record]]) -> None:
        readings: list[tuple[object, ...]] = []
        for index, record in records:
            if isinstance(record, Reading):
                r = record
                number = self._instruments.get((gateway, r.instrument)) or self._instrument(
                    gateway, r.instrument
                )
                texts = (_dump(r.indications), _dump(r.missing), _dump(r.results), _dump(r.flags))
                readings.append((number, r.utc_us, index, r.number, r.clock, *texts))
            elif isinstance(record, Aggregate):
                a = record
                names, marks = _dump(a.instruments), _dump(a.flags)
                period = (a.measurand, a.from_us, a.to_us)
                result = (a.unit, a.value, a.u, a.count, a.missing, a.method, marks, a.supersedes)
                row = (gateway, index, *period, names, *result)
                self._db.execute(
                    "INSERT INTO aggregate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
                )
            elif isinstance(record, Event):
                detail = _dump(record.detail)
                self._db.execute(
                    "INSERT INTO event VALUES (?, ?, ?, ?, ?)",
                    (gateway, index, record.utc_us, record.kind, detail),
                )
        self._db.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", readings)

    def _instrument(self, gateway: int, name: str) -> int:
        number: int = self._db.execute(
            "SELECT id FROM instrument WHERE gateway=? AND name=?", (gateway, name)
        ).get
        self._instruments[gateway, name] = number
        return number


def _dump(value: object) -> str:
    return _to_json(value).decode()


def _load(text: str) -> Any:
    return msgspec.json.decode(text)


def _pack(width: int, data: bytes) -> tuple[int, bytes]:
    """Only full bundles are compressed: the open one is written again with each advance."""
    return (1, zlib.compress(data, 1)) if width == log.TILE_WIDTH else (0, data)
