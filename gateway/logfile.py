"""The log's SQLite file: made durable before its first use, one connection, and every failed write is final.

Of a failed write nothing is ever tried again and acknowledged: after a failed fsync the kernel may call pages clean
that never reached the medium. Only a full disk is different: SQLite rolls back, a ballast file is given up so that
there is room to go on, and the same transaction is made once more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw

from gateway.anchor import sync

BALLAST_BYTES: Final = 32 * 1024 * 1024
_FILE: Final = "log.db"
_BALLAST: Final = "ballast"
_FIXED_IN: Final = (3, 51, 3)


class StoreError(Exception):
    """The store cannot keep its promise: end the agent rather than lose data."""


class StoreFull(StoreError):
    """The medium is full and the ballast is spent: nothing of the commit was kept, the store itself is sound."""


class LogFile:
    """An open database. ``vfs`` names another SQLite file layer, which then does its own syncing.

    ``create`` is called within the transaction that makes the tables of a new file.
    """

    def __init__(
        self,
        directory: Path,
        create: Callable[[apsw.Connection], None],
        *,
        vfs: str | None,
        ballast: int,
        autocheckpoint_pages: int,
    ) -> None:
        """Raises StoreError if another process has the file, or if it cannot be used."""
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if version < _FIXED_IN:  # older ones can corrupt a write-ahead log
            raise StoreError(f"SQLite {apsw.sqlite_lib_version()} is too old: install apsw 3.51.3 or newer")
        self.directory = directory
        self.path = directory / _FILE
        self.ballast_spent = False
        self.dead = ""
        self._vfs = vfs
        self._ballast = directory / _BALLAST
        self._ballast_bytes = ballast if vfs is None else 0
        self._autocheckpoint = autocheckpoint_pages
        try:
            if vfs is None:
                directory.mkdir(parents=True, exist_ok=True)
            self._db = self._open(create)
        except apsw.Error as error:
            raise StoreError(self.told(error)) from error
        except OSError as error:
            hint = "check that the directory belongs to this user and the disk can be written"
            raise StoreError(f"{directory}: {error.strerror}: {hint}") from error

    # -- reading

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises StoreError."""
        try:
            return self._db.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise StoreError(self.told(error)) from error

    def row(self, sql: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a query. Raises StoreError."""
        try:
            return self._db.execute(sql, values).fetchone()
        except apsw.Error as error:
            raise StoreError(self.told(error)) from error

    def one(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        """The first value of a query, None if there is no row. Raises StoreError."""
        row = self.row(sql, values)
        return None if row is None else row[0]

    # -- writing

    def run(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        """A statement within :meth:`write`."""
        self._db.execute(sql, values)

    def run_many(self, sql: str, values: list[tuple[Any, ...]]) -> None:
        """A statement for many rows, within :meth:`write`."""
        self._db.executemany(sql, values)

    def write(self, work: Callable[[], None]) -> None:
        """Make one transaction. Raises StoreFull if nothing was kept and all is sound; else StoreError, for good."""
        if self.dead:
            raise StoreError(f"{self.path}: the log store takes nothing more: {self.dead}")
        try:
            self._transaction(work)
        except apsw.FullError as error:
            if not self._spend_ballast():
                raise StoreFull(self.told(error)) from error
            try:
                self._transaction(work)
            except apsw.FullError as again:
                raise StoreFull(self.told(again)) from again
            except apsw.Error as again:
                self.dead = str(again)
                raise StoreError(self.told(again)) from again
        except apsw.Error as error:
            self.dead = str(error)
            raise StoreError(self.told(error)) from error

    def changes(self) -> int:
        """Rows changed since the file was opened."""
        return self._db.total_changes()

    def close(self) -> None:
        """Move what is in the write-ahead log to its place and close the file."""
        self.dead = self.dead or "it was closed"
        with suppress(apsw.Error):
            self._db.close()

    def told(self, error: Exception) -> str:
        """An error in the reader's words: which file, what, what to do."""
        hints: dict[type[Exception], str] = {
            apsw.BusyError: "another agent has this log open; end it first",
            apsw.FullError: "the disk is full: free space, or let the platform send its receipt so that old "
            "entries can be pruned",
            apsw.ReadOnlyError: "the medium can only be read; check the disk and the file's owner",
            apsw.CantOpenError: "check that the directory is there and belongs to this user",
            apsw.IOError: "the medium failed; nothing was acknowledged, restart and check the disk",
        }
        hint = hints.get(type(error), "keep the file and restore the log from the platform's copy")
        return f"{self.path}: {error or type(error).__name__}: {hint}"

    # -- inside

    def _transaction(self, work: Callable[[], None]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            work()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                with suppress(apsw.Error):
                    self._db.execute("ROLLBACK")
            raise

    def _open(self, create: Callable[[apsw.Connection], None]) -> apsw.Connection:
        db = self._connect()
        try:
            if db.execute("SELECT count(*) FROM sqlite_schema").get:
                return db
            db.execute("BEGIN IMMEDIATE")
            create(db)
            db.execute("COMMIT")
            # Before the first acknowledgement the file must be whole by itself and its name durable: with unsynced
            # directory metadata a power cut brings back a stale journal, and everything is gone.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BaseException:
            db.close()
            raise
        db.close()
        if self._vfs is None:
            for path in (self.path, self.directory, self.directory.parent):
                sync(path)
        return self._connect()

    def _connect(self) -> apsw.Connection:
        db = apsw.Connection(str(self.path), vfs=self._vfs)
        try:
            db.set_busy_timeout(500)
            for pragma in (
                "page_size=4096",
                "locking_mode=EXCLUSIVE",
                "journal_mode=WAL",
                "synchronous=FULL",
                f"wal_autocheckpoint={self._autocheckpoint}",
                "journal_size_limit=4194304",
                "temp_store=MEMORY",
                "cache_size=-2048",
            ):
                db.execute(f"PRAGMA {pragma}").fetchall()
            db.execute("BEGIN IMMEDIATE")  # takes the lock for good: a second agent is refused here
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def fill_ballast(self) -> None:
        """Keep room that can be given up when the disk is full."""
        if not self._ballast_bytes:
            return
        if self._ballast.exists() and self._ballast.stat().st_size == self._ballast_bytes:
            return
        room = os.statvfs(self.directory)
        if room.f_bavail * room.f_frsize < 4 * self._ballast_bytes:
            self.ballast_spent = True
            return
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)
            os.fsync(file.fileno())
        sync(self.directory)

    def _spend_ballast(self) -> bool:
        if not self._ballast_bytes or not self._ballast.exists():
            return False
        self._ballast.unlink()
        sync(self.directory)
        self.ballast_spent = True
        with suppress(apsw.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True
