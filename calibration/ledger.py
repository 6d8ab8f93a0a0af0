r"""The file under the register: states of subjects, and a hash-chained audit trail of every change.

Theory of operation. A *subject* (an instrument, a certificate, a binding …) has a state: one JSON object. A
change writes the whole new state and one audit entry (who, when, what, old, new, why) in one transaction.
Entry n hashes ``SHA-256(hash of n-1 ‖ "\n" ‖ JSON array of its own fields)``, so an entry that is edited,
taken out or moved breaks the chain, and a state that is edited behind the trail's back differs from the last
``new`` of its subject. What a chain inside the file can't show is that its newest entries *and* the states
they made were cut off together: for that, keep ``head()`` elsewhere (the gateway writes it into its signed
log) and pass it to ``check``.

The journal is a rollback journal (``DELETE``), never WAL: SQLite 3.7.0 to 3.51.2 can corrupt a WAL that
several connections share. Transactions are short; others wait ``busy_timeout_s``.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calibration.refusals import DatesReversed, NotAccountable, RegisterError
from calibration.schema import APPLICATION_ID, SCHEMA_VERSION, SUBJECTS

State = Mapping[str, Any]
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit trail; ``old`` is None where a subject was new."""

    number: int
    at: datetime
    actor: str
    action: str
    kind: str
    subject: str
    revision: int
    old: State | None
    new: State
    reason: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditFault:
    """A place where the register is not what its audit trail says.

    ``kind`` is one of ``edited``, ``gap``, ``order``, ``unlinked``, ``state``, ``unaudited``, ``lost``,
    ``head``, ``document``; ``number`` is the entry's, if the fault is at one.
    """

    kind: str
    what: str
    number: int | None = None


class Writer:
    """The changes of one transaction; made by ``Ledger.writing``."""

    def __init__(self, connection: sqlite3.Connection, at: str, actor: str, reason: str) -> None:
        self._connection = connection
        self._at = at
        self._actor = actor
        self._reason = reason
        self._number, self._hash = _head(connection)

    def put(self, action: str, kind: str, subject: str, state: State, revision: int = 0) -> None:
        """Make ``state`` the subject's, with its line in the audit trail."""
        row = self._connection.execute(
            f"SELECT state FROM {SUBJECTS[kind]} WHERE id = ? AND revision = ?",  # noqa: S608 - a closed set
            (subject, revision),
        ).fetchone()
        old = None if row is None else str(row[0])
        new = canonical(state)
        self._number += 1
        fields = (
            self._number,
            self._at,
            self._actor,
            action,
            kind,
            subject,
            revision,
            old,
            new,
            self._reason,
        )
        previous, self._hash = self._hash, _entry_hash(self._hash, fields)
        self._connection.execute(
            "INSERT INTO audit (number, at, actor, action, kind, subject, revision, old, new, reason, previous, hash)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*fields, previous, self._hash),
        )
        self._connection.execute(
            f"INSERT INTO {SUBJECTS[kind]} (id, revision, state) VALUES (?, ?, ?)"  # noqa: S608
            " ON CONFLICT (id, revision) DO UPDATE SET state = excluded.state",
            (subject, revision, new),
        )

    def keep(self, digest: str, content: bytes) -> None:
        """Keep the bytes of a document under their SHA-256."""
        self._connection.execute(
            "INSERT INTO content (digest, bytes) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
            (digest, content),
        )


class Ledger:
    """A register file, opened. Not bound to one thread; its transactions are serialised."""

    def __init__(
        self,
        path: str | Path,
        *,
        now: Callable[[], datetime],
        read_only: bool = False,
        busy_timeout_s: float = 5.0,
    ) -> None:
        self.path = str(path)
        self.read_only = read_only
        self._now = now
        self._timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._depth = 0
        self._writer: Writer | None = None
        self._db = self._open()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for queries of this package."""
        return self._db

    def moment(self) -> datetime:
        """The injected clock's time, in UTC."""
        return in_utc(self._now())

    @contextmanager
    def writing(self, actor: str, reason: str) -> Iterator[Writer]:
        """One transaction: all of it is written, or none. Within one, a further one joins it.

        Raises:
            NotAccountable: no name. RegisterError: opened for reading, or another program kept it busy.
        """
        if self.read_only:
            raise RegisterError("T120", "")
        if not actor.strip():
            raise NotAccountable("T107", "")
        with self._lock:
            if self._writer is not None:
                yield self._writer
                return
            with self._transaction("BEGIN IMMEDIATE") as connection:
                self._writer = Writer(connection, stamp(self.moment()), actor.strip(), reason.strip())
                try:
                    yield self._writer
                finally:
                    self._writer = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view over several queries."""
        with self._lock:
            if self._depth:
                yield self.connection
                return
            with self._transaction("BEGIN") as connection:
                yield connection

    def head(self) -> str:
        """The newest audit entry as ``number-hash``: changes with every change, cheap to ask for."""
        with self.reading() as connection:
            number, digest = _head(connection)
        return f"{number}-{digest}"

    def state_at(self, kind: str, subject: str, at: datetime) -> State | None:
        """A subject's state as the register had it at a moment; None if it was not registered yet."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT new FROM audit WHERE kind = ? AND subject = ? AND at <= ? ORDER BY number DESC LIMIT 1",
                (kind, subject, stamp(at)),
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def entries(self, kind: str = "", subject: str = "", after: int = 0) -> tuple[AuditEntry, ...]:
        """The audit trail in order, all of it or one subject's."""
        condition, values = matching(kind=kind, subject=subject)
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT number, at, actor, action, kind, subject, revision, old, new, reason, previous, hash FROM audit"  # noqa: S608
                f" WHERE {condition} AND number > ? ORDER BY number",
                (*values, after),
            ).fetchall()
        return tuple(_entry(row) for row in rows)

    def check(self, expected_head: str = "") -> tuple[AuditFault, ...]:
        """Everything in which the file is not what its audit trail says; empty if nothing.

        Args:
            expected_head: a ``head()`` kept elsewhere earlier: the trail must contain it.
        """
        with self.reading() as connection:
            rows = connection.execute("SELECT * FROM audit ORDER BY number").fetchall()
            faults = [*_check_chain(rows), *_check_states(connection, rows), *_check_content(connection)]
        if expected_head:
            number, _, digest = expected_head.partition("-")
            held = {str(row[0]): row[11] for row in rows} | {"0": GENESIS}
            if held.get(number) != digest:
                faults.append(
                    AuditFault("head", f"entry {number} with hash {digest[:16]}… is not in the audit trail")
                )
        return tuple(faults)

    def _open(self) -> sqlite3.Connection:
        path = Path(self.path)
        if self.read_only and not path.exists():
            raise RegisterError("T122", "", path=path.name, why="no such file")
        try:
            connection = sqlite3.connect(
                path,
                timeout=self._timeout_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
        except sqlite3.Error as error:
            raise RegisterError("T122", "", path=path.name, why=str(error)) from None
        try:
            self._settle(connection, path)
        except RegisterError:
            connection.close()
            raise
        except sqlite3.Error as error:
            connection.close()
            if "locked" in str(error):
                raise RegisterError("T121", "", seconds=f"{self._timeout_s:g}") from None
            raise RegisterError("T122", "", path=path.name, why=str(error)) from None
        return connection

    def _settle(self, connection: sqlite3.Connection, path: Path) -> None:
        # one transaction: between two of these answers another process may make the tables
        connection.execute("BEGIN")
        try:
            version, application, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("user_version", "application_id", "page_count")
            )
        finally:
            connection.execute("ROLLBACK")
        foreign = size and application != APPLICATION_ID
        if foreign or version > SCHEMA_VERSION or (self.read_only and version < SCHEMA_VERSION):
            todo = "todo_other_program" if foreign else "todo_newer"
            if not foreign and version < SCHEMA_VERSION:
                todo = "todo_open_to_write"
            raise RegisterError("T100", "", subject=path.name, found=version, known=SCHEMA_VERSION, todo=todo)
        if self.read_only:
            connection.execute("PRAGMA query_only = ON")
            return
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        if version < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            try:
                _migrate(connection)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self.connection
        try:
            connection.execute(begin)
        except sqlite3.OperationalError as error:
            raise self._busy(error) from None
        self._depth += 1
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise self._busy(error) from None
            raise
        finally:
            self._depth -= 1

    def _busy(self, error: sqlite3.OperationalError) -> RegisterError:
        if "locked" in str(error) or "busy" in str(error):
            return RegisterError("T121", "", seconds=f"{self._timeout_s:g}")
        return RegisterError("T122", "", path=Path(self.path).name, why=str(error))


def canonical(state: object) -> str:
    """JSON with sorted keys and no spaces: the text that is stored and hashed."""
    return json.dumps(state, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def matching(**wanted: str) -> tuple[str, tuple[str, ...]]:
    """An SQL condition on the columns that are asked for (those with text), and its values; an index can serve it."""
    asked = {column.replace("__", "."): value for column, value in wanted.items() if value}
    return " AND ".join(f"{column} = ?" for column in asked) or "1", tuple(asked.values())


def in_utc(moment: datetime) -> datetime:
    """An aware moment in UTC.

    Raises:
        DatesReversed: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise DatesReversed("T124", "", value=moment.isoformat())
    return moment.astimezone(UTC)


def stamp(moment: datetime) -> str:
    """A moment as text that sorts by time: ``2026-11-24T08:00:00.000000Z``."""
    return in_utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unstamp(text: str) -> datetime:
    """The inverse of ``stamp``."""
    return datetime.fromisoformat(text)


def _head(connection: sqlite3.Connection) -> tuple[int, str]:
    row = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    return (0, GENESIS) if row is None else (int(row[0]), str(row[1]))


def _entry_hash(previous: str, fields: Sequence[object]) -> str:
    return hashlib.sha256(f"{previous}\n{canonical(list(fields))}".encode()).hexdigest()


def _entry(row: Sequence[Any]) -> AuditEntry:
    number, at, actor, action, kind, subject, revision, old, new, reason, previous, digest = row
    return AuditEntry(
        number, unstamp(at), actor, action, kind, subject, revision,
        None if old is None else json.loads(old), json.loads(new), reason, previous, digest,
    )  # fmt: skip


def _check_chain(rows: Sequence[Sequence[Any]]) -> Iterator[AuditFault]:
    expected, previous = 1, GENESIS
    latest: dict[tuple[str, str, int], str] = {}
    for row in rows:
        number, action, subject = row[0], row[3], (row[4], row[5], row[6])
        what = f"{action} {row[4]} {row[5]}"
        if number != expected:
            yield AuditFault("gap", f"entries {expected} to {number - 1} are missing", number)
        if row[10] != previous:
            yield AuditFault("unlinked", f"entry {number} ({what}) does not follow the one before it", number)
        if row[11] != _entry_hash(row[10], row[:10]):
            yield AuditFault("edited", f"entry {number} ({what}) is not what was written", number)
        if row[7] != latest.get(subject):
            yield AuditFault(
                "order", f"entry {number} ({what}) starts from a state that its subject had not", number
            )
        latest[subject] = row[8]
        expected, previous = number + 1, row[11]


def _check_states(connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> Iterator[AuditFault]:
    last = {(row[4], row[5], row[6]): (row[0], row[8]) for row in rows}
    for kind, table in SUBJECTS.items():
        for subject, revision, state in connection.execute(f"SELECT id, revision, state FROM {table}"):  # noqa: S608
            number, audited = last.pop((kind, subject, revision), (None, None))
            if audited is None:
                yield AuditFault("unaudited", f"{kind} {subject} is in the register without an audit entry")
            elif audited != state:
                yield AuditFault("state", f"{kind} {subject} is not what entry {number} made it", number)
    derived = (
        "SELECT certificate, revision, position, standard, parent, digest, share, performed, withdrawn FROM "
    )
    if connection.execute(f"{derived} reference_use EXCEPT {derived} stated_reference").fetchone() or (
        connection.execute(f"{derived} stated_reference EXCEPT {derived} reference_use").fetchone()
    ):
        yield AuditFault("state", "the index of reference uses is not what the certificates state")
    for (kind, subject, _), (number, _) in last.items():
        yield AuditFault(
            "lost", f"{kind} {subject}, made by entry {number}, is gone from the register", number
        )


def _check_content(connection: sqlite3.Connection) -> Iterator[AuditFault]:
    held = set()
    for digest, content in connection.execute("SELECT digest, bytes FROM content"):
        held.add(digest)
        if hashlib.sha256(content).hexdigest() != digest:
            yield AuditFault(
                "document", f"the bytes of document {digest[:16]}… are not the ones that were kept"
            )
    for subject, digest in connection.execute("SELECT id, digest FROM document"):
        if digest not in held:
            yield AuditFault("document", f"the bytes of document {subject} are gone")


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the present version. The tools for it are loaded here: an agent only ever reads."""
    import sqlite_utils

    from calibration.migrations import MIGRATIONS

    MIGRATIONS.apply(sqlite_utils.Database(connection))
