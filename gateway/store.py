"""The log store: one SQLite file that keeps what it acknowledged, and shows nothing that it has not.

Entries come in commits. A commit is one transaction with ``synchronous=FULL``: when it has returned, its
entries survive a power cut. A checkpoint is signed over a size and root before its transaction, and published
only after the COMMIT returned; otherwise a power cut would leave a signed statement about entries that no
longer exist (a fork).

How the file is laid out:

* ``segment``: one row per commit, the entries of the open tile (fewer than 256), compressed, with the root of
  the tree after them. Start-up recomputes the open tile and compares.
* ``bundle``: 256 entries, compressed once, never changed. Its segments go in the same transaction.
* ``tile``: the hashes of each full tile (8 192 B) and its root, level by level. The root of any earlier size,
  any partial tile and any proof come from at most 256 hashes per level: start-up does not read the log.
* ``state``: what the agent needs to go on counting, as of the last checkpoint; later entries are replayed.

A failed write is never tried again and acknowledged: after a failed fsync the kernel may call pages clean that
never reached the medium. The store is then dead, the agent ends, and the next start reads what is there. Only
a full disk is different: SQLite rolls back, a ballast file is given up, and the same commit is made once more.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from evidence.log import (
    TILE_WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
    full_root,
    leaf_hash,
    root_from,
    tile_hashes,
    tile_node_reader,
)
from gateway.tiles import OpenTiles

BALLAST_BYTES: Final = 32 * 1024 * 1024
_LEVEL_SHIFT: Final = 48  # tile rows of one level lie side by side: id = level << 48 | n
_FORMAT: Final = "suyuan-log-store/1"
_FILE: Final = "log.db"
_BALLAST: Final = "ballast"

_SCHEMA: Final = """
CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 1), format TEXT NOT NULL, origin TEXT NOT NULL) STRICT;
CREATE TABLE segment (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, root BLOB NOT NULL, body BLOB NOT NULL)
    STRICT;
CREATE TABLE bundle (n INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE tile (id INTEGER PRIMARY KEY, root BLOB NOT NULL, hashes BLOB NOT NULL) STRICT;
CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL,
    note BLOB NOT NULL) STRICT;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE receipt (id INTEGER PRIMARY KEY, platform TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
    received_us INTEGER NOT NULL, note BLOB NOT NULL) STRICT;
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL,
    body BLOB NOT NULL) STRICT;
"""


class StoreError(Exception):
    """The store cannot keep its promise: end the agent rather than lose data."""


class StoreFull(StoreError):
    """The medium is full and the ballast is spent: nothing of the commit was kept, the store itself is sound."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint that is durable and may leave the box."""

    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A platform's cosignature over a checkpoint of ours: its acknowledgement."""

    platform: str
    size: int
    root: bytes
    received_us: int
    note: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A tail that was set aside: entries from ``first`` on, ``count`` of them as far as is known, and why."""

    first: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a resource as they are stored; ``gzip`` says that they are compressed."""

    data: bytes
    gzip: bool = False

    def plain(self) -> bytes:
        """The bytes uncompressed."""
        return _decompress(self.data) if self.gzip else self.data


def _compress(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # gzip: served as it is stored
    return packer.compress(data) + packer.flush()


def _decompress(data: bytes) -> bytes:
    try:
        return zlib.decompress(data, 31)
    except (zlib.error, TypeError) as error:
        raise ValueError(f"compressed bytes are damaged ({error})") from None


class LogStore:
    """One log in one file, one writer. Calls may come from any thread; they are made one after the other.

    ``vfs`` names another SQLite file layer (the power-cut rig's); files are then made durable by that layer.
    """

    def __init__(
        self,
        directory: Path,
        origin: str,
        *,
        vfs: str | None = None,
        ballast: int = BALLAST_BYTES,
        autocheckpoint_pages: int = 1000,
    ) -> None:
        """Open the log in a directory, creating both if they are not there.

        Raises StoreError if another process has it, if it belongs to another origin, or if its checkpoint
        contradicts its entries.
        """
        self.directory = directory
        self.origin = origin
        self.damage: Damage | None = None
        self.ballast_spent = False
        self._ballast_bytes = ballast
        self._vfs = vfs
        self._autocheckpoint = autocheckpoint_pages
        self._lock = threading.Lock()
        self._dead: str | None = None
        self._tree = OpenTiles()
        self._open_entries: list[bytes] = []
        self._published: Published | None = None
        self._path = directory / _FILE
        if vfs is None:
            directory.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open()
        except apsw.Error as error:
            raise StoreError(self._told(error)) from error
        try:
            self._load()
            self._fill_ballast()
        except (apsw.Error, TypeError, ValueError) as error:  # a damaged file gives values of any type
            self._db.close()
            raise StoreError(self._told(error)) from error
        except BaseException:
            self._db.close()
            raise

    # -- what is there

    @property
    def size(self) -> int:
        """Entries that are durable."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The root of the tree over all durable entries."""
        return self._tree.root()

    @property
    def published(self) -> Published | None:
        """The newest checkpoint; its COMMIT has returned."""
        return self._published

    def root_at(self, size: int) -> bytes:
        """The root that the log had at an earlier size. Raises ValueError beyond the end."""
        with self._lock:
            return self._root_at(size)

    def _root_at(self, size: int) -> bytes:
        if not 0 <= size <= self._tree.size:
            raise ValueError(f"the log has {self._tree.size} entries, not {size}")
        return root_from(size, tile_node_reader(self._read_tile, size))

    def _read_tile(self, tile: Tile) -> bytes:
        return b"".join(self._hashes(tile.level or 0, tile.index, tile.width))

    def _hashes(self, level: int, n: int, width: int) -> list[bytes]:
        """The first hashes of a tile, from memory if it is the open one."""
        tree = self._tree
        if level < len(tree.open) and n == tree.full[level]:
            if width > len(tree.open[level]):
                raise ValueError(f"tile {level}/{n} has {len(tree.open[level])} hashes, not {width}")
            return tree.open[level][:width]
        blob = self._one("SELECT hashes FROM tile WHERE id = ?", (level << _LEVEL_SHIFT | n,))
        if blob is None:
            raise ValueError(f"tile {level}/{n} is not there")
        return tile_hashes(blob)[:width]

    def tile(self, level: int, n: int, width: int) -> bytes | None:
        """The hashes of a tile as far as the published checkpoint covers them; None beyond that."""
        size = self._published.size if self._published else 0
        if not 1 <= width <= TILE_WIDTH or (n * TILE_WIDTH + width) << 8 * level > size:
            return None
        with self._lock:
            return b"".join(self._hashes(level, n, width))

    def bundle(self, n: int, width: int) -> Body | None:
        """Entries as an entry bundle, as far as the published checkpoint covers them; None beyond, or if pruned."""
        size = self._published.size if self._published else 0
        if not 1 <= width <= TILE_WIDTH or n * TILE_WIDTH + width > size:
            return None
        with self._lock:
            if n == self._tree.full[0]:
                return Body(encode_bundle(self._open_entries[:width]))
            body = self._one("SELECT body FROM bundle WHERE n = ?", (n,))
        if body is None:
            return None
        if width == TILE_WIDTH:
            return Body(body, gzip=True)
        return Body(encode_bundle(decode_bundle(_decompress(body))[:width]))

    def entries(self, first: int, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Durable entries with their indexes, from ``first`` up to and without ``last``. Pruned ones are left out."""
        last = self.size if last is None else min(last, self.size)
        at = first
        while at < last:
            n = at // TILE_WIDTH
            with self._lock:
                if n == self._tree.full[0]:
                    found: list[bytes] | None = list(self._open_entries)
                else:
                    body = self._one("SELECT body FROM bundle WHERE n = ?", (n,))
                    found = None if body is None else decode_bundle(_decompress(body))
            end = min(last, (n + 1) * TILE_WIDTH)
            if found is not None:
                for index in range(at, end):
                    yield index, found[index - n * TILE_WIDTH]
            at = end

    def state(self) -> tuple[int, bytes] | None:
        """What the agent stored with the last checkpoint: the log's size then, and the bytes."""
        with self._lock:
            row = self._row("SELECT size, body FROM state WHERE id = 1")
        return None if row is None else (int(row[0]), bytes(row[1]))

    def receipts(self) -> tuple[StoredReceipt, ...]:
        """The newest receipt of each platform."""
        with self._lock:
            rows = self._rows("SELECT platform, size, root, received_us, note FROM receipt ORDER BY id")
        return tuple(StoredReceipt(*row) for row in rows)

    # -- what changes it

    def commit(
        self,
        entries: Sequence[bytes],
        sign: Callable[[int, bytes], bytes] | None = None,
        state: bytes | None = None,
    ) -> Published | None:
        """Append entries durably; with ``sign`` (size, root -> note) also checkpoint them, in one transaction.

        Returns the checkpoint, which may be published now. Raises StoreFull if nothing was kept but all is sound,
        StoreError if the store must be opened anew.
        """
        with self._lock:
            self._alive()
            tree = self._tree.copy()
            filled = tree.append([leaf_hash(entry) for entry in entries])
            first_n = self._tree.full[0]
            pending = [*self._open_entries, *entries]
            cut = (tree.full[0] - first_n) * TILE_WIDTH
            bundles = [
                (first_n + i // TILE_WIDTH, _compress(encode_bundle(pending[i : i + TILE_WIDTH])))
                for i in range(0, cut, TILE_WIDTH)
            ]
            tail = pending[max(cut, len(self._open_entries)) :]
            root = tree.root()
            note = sign(tree.size, root) if sign else None
            segment = (
                (tree.size - len(tail), len(tail), root, _compress(encode_bundle(tail))) if tail else None
            )
            published = Published(tree.size, root, note) if note is not None else None
            self._write(lambda: self._append(bundles, filled, segment, published, state, tree.size))
            self._tree = tree
            self._open_entries = pending[cut:]
            if published is not None:
                self._published = published
            return published

    def _append(
        self,
        bundles: list[tuple[int, bytes]],
        filled: list[tuple[int, int, bytes, bytes]],
        segment: tuple[int, int, bytes, bytes] | None,
        published: Published | None,
        state: bytes | None,
        size: int,
    ) -> None:
        db = self._db
        if bundles:
            db.executemany("INSERT INTO bundle VALUES (?, ?)", bundles)
            db.executemany(
                "INSERT INTO tile VALUES (?, ?, ?)",
                [(level << _LEVEL_SHIFT | n, root, hashes) for level, n, root, hashes in filled],
            )
            db.execute("DELETE FROM segment WHERE first < ?", ((bundles[-1][0] + 1) * TILE_WIDTH,))
        if segment is not None:
            db.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", segment)
        if published is not None:
            db.execute(
                "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?)",
                (published.size, published.root, published.note),
            )
        if state is not None:
            db.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", (size, state))

    def add_receipt(self, receipt: StoredReceipt) -> None:
        """Keep a receipt durably, in place of an older one of the same platform.

        Raises ValueError if its size and root are not of this log. One that covers no more is not written.
        """
        with self._lock:
            self._alive()
            published = self._published
            if published is None or receipt.size > published.size:
                raise ValueError(f"no checkpoint of size {receipt.size} was published")
            if self._root_at(receipt.size) != receipt.root:
                raise ValueError(f"at size {receipt.size} this log has another root: a fork, keep both notes")
            row = (receipt.platform, receipt.size, receipt.root, receipt.received_us, receipt.note)
            self._write(
                lambda: self._run(
                    "INSERT INTO receipt (platform, size, root, received_us, note) VALUES (?, ?, ?, ?, ?)",
                    row,
                )
            )

    def prune(self, below: int) -> int:
        """Delete the entries of full bundles below an index, never beyond the newest receipt; how many bundles went.

        Hashes stay: the tree, its roots and its proofs are as before.
        """
        with self._lock:
            self._alive()
            covered = self._one("SELECT max(size) FROM receipt", ()) or 0
            before = self._db.total_changes()
            n = min(below, covered) // TILE_WIDTH
            self._write(lambda: self._run("DELETE FROM bundle WHERE n < ?", (n,)))
            return self._db.total_changes() - before

    def check_bundle(self, n: int) -> bool | None:
        """Whether the entries of a full bundle still have the hashes of their tile; None if it was pruned."""
        with self._lock:
            body = self._one("SELECT body FROM bundle WHERE n = ?", (n,))
            row = self._row("SELECT root, hashes FROM tile WHERE id = ?", (n,))
        if body is None and row is not None:
            return None
        if body is None or row is None:
            return False
        try:
            leaves = [leaf_hash(entry) for entry in decode_bundle(_decompress(body))]
        except ValueError:
            return False
        return bool(b"".join(leaves) == row[1] and full_root(leaves) == row[0])

    def close(self) -> None:
        """Move what is in the write-ahead log to its place and close the file."""
        with self._lock:
            self._dead = self._dead or "it was closed"
            with suppress(apsw.Error):
                self._db.close()

    # -- the file

    def _alive(self) -> None:
        if self._dead:
            raise StoreError(f"{self._path}: the log store takes nothing more: {self._dead}")

    def _write(self, work: Callable[[], None]) -> None:
        """Make one transaction. A full disk is met once by the ballast; every other failure is final."""
        try:
            self._transaction(work)
        except apsw.FullError as error:
            if not self._spend_ballast():
                raise StoreFull(self._told(error)) from error
            try:
                self._transaction(work)
            except apsw.FullError as again:
                raise StoreFull(self._told(again)) from again
            except apsw.Error as again:
                self._dead = str(again)
                raise StoreError(self._told(again)) from again
        except apsw.Error as error:
            self._dead = str(error)
            raise StoreError(self._told(error)) from error

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

    def _told(self, error: Exception) -> str:
        hints: dict[type[Exception], str] = {
            apsw.BusyError: "another agent has this log open; end it first",
            apsw.FullError: "the disk is full: free space, or let the platform send its receipt so that old "
            "entries can be pruned",
            apsw.ReadOnlyError: "the medium can only be read; check the disk and the file's owner",
            apsw.CantOpenError: "check that the directory is there and belongs to this user",
            apsw.IOError: "the medium failed; nothing was acknowledged, restart and check the disk",
        }
        hint = hints.get(type(error), "keep the file and restore the log from the platform's copy")
        return f"{self._path}: {error or type(error).__name__}: {hint}"

    def _open(self) -> apsw.Connection:
        new = self._vfs is None and not self._path.exists()
        db = self._connect()
        try:
            if self._exists(db):
                return db
            db.execute("BEGIN IMMEDIATE")
            db.execute(_SCHEMA)
            db.execute("INSERT INTO log VALUES (1, ?, ?)", (_FORMAT, self.origin))
            db.execute("COMMIT")
            # Before the first acknowledgement the file must be whole by itself and its name durable: with unsynced
            # directory metadata a power cut brings back a stale journal, and everything is gone.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except BaseException:
            db.close()
            raise
        db.close()
        if self._vfs is None:
            _sync(self._path)
            _sync(self.directory)
            if new:
                _sync(self.directory.parent)
        return self._connect()

    def _connect(self) -> apsw.Connection:
        db = apsw.Connection(str(self._path), vfs=self._vfs)
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

    @staticmethod
    def _exists(db: apsw.Connection) -> bool:
        return bool(db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'log'").get)

    def _load(self) -> None:
        row = self._row("SELECT format, origin FROM log")
        if row is None or row[0] != _FORMAT:
            raise StoreError(
                f"{self._path}: format {row and row[0]!r} is not {_FORMAT!r}: use the version that wrote it"
            )
        if row[1] != self.origin:
            raise StoreError(
                f"{self._path}: is the log of {row[1]!r}, not of {self.origin!r}: one log per origin"
            )
        row = self._row("SELECT size, root, note FROM checkpoint WHERE id = 1")
        if row is not None:
            self._published = Published(int(row[0]), bytes(row[1]), bytes(row[2]))
        self._tree = self._load_tree()
        self._load_segments()
        self._check_published()

    def _load_tree(self) -> OpenTiles:
        newest = self._one("SELECT max(id) FROM tile WHERE id < ?", (1 << _LEVEL_SHIFT,))
        full = [0 if newest is None else newest + 1]
        opened: list[list[bytes]] = [[]]
        while full[-1]:
            level, count = len(full) - 1, full[-1]
            start = level << _LEVEL_SHIFT | count // TILE_WIDTH * TILE_WIDTH
            rows = self._rows(
                "SELECT root FROM tile WHERE id >= ? AND id < ? ORDER BY id",
                (start, level << _LEVEL_SHIFT | count),
            )
            if len(rows) != count % TILE_WIDTH:
                raise StoreError(f"{self._path}: hash tiles of level {level} are missing: restore the log")
            opened.append([bytes(root) for (root,) in rows])
            full.append(count // TILE_WIDTH)
        return OpenTiles(opened, full)

    def _load_segments(self) -> None:
        rows = self._rows("SELECT first, count, root, body FROM segment ORDER BY first")
        for position, (first, count, root, body) in enumerate(rows):
            tree = self._tree.copy()
            try:
                entries = decode_bundle(_decompress(body), count)
                if first != tree.size or count + len(self._open_entries) >= TILE_WIDTH:
                    raise ValueError("it does not follow the entry before it")
                tree.append([leaf_hash(entry) for entry in entries])
                if tree.root() != root:
                    raise ValueError("its entries do not have the root that was stored with them")
            except ValueError as error:
                self._set_aside(rows[position:], str(error))
                return
            self._tree = tree
            self._open_entries.extend(entries)

    def _set_aside(self, rows: list[tuple[Any, ...]], reason: str) -> None:
        """Quarantine a damaged tail, unless a signed checkpoint speaks of it."""
        size = self._tree.size
        lost = sum(row[1] for row in rows)
        self._check_published(f"the entries from {size} on are damaged ({reason})")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO quarantine (first, count, reason, body) VALUES (?, ?, ?, ?)",
            [(first, count, reason, body) for first, count, _, body in rows],
        )
        self._db.execute("DELETE FROM segment WHERE first >= ?", (size,))
        self._db.execute("DELETE FROM state WHERE size > ?", (size,))
        self._db.execute("COMMIT")
        self.damage = Damage(size, lost, reason)

    def _check_published(self, because: str = "") -> None:
        """Refuse a log that contradicts its own signature, or that is older than a receipt for it."""
        published, size = self._published, self._tree.size
        advice = "appending would sign a second history. Restore the platform's copy, or begin a new origin"
        if published is not None and published.size > size:
            why = because or f"{size} entries are there"
            raise StoreError(
                f"{self._path}: a checkpoint over {published.size} entries was signed, but {why}: {advice}"
            )
        if published is not None and self._root_at(published.size) != published.root:
            raise StoreError(
                f"{self._path}: the entries do not have the root of the checkpoint over {published.size}: {advice}"
            )
        newest = self._row("SELECT size, root FROM receipt ORDER BY size DESC LIMIT 1")
        if newest is not None and (newest[0] > size or self._root_at(newest[0]) != newest[1]):
            raise StoreError(
                f"{self._path}: contradicts the platform's receipt for {newest[0]} entries: {advice}"
            )

    def _fill_ballast(self) -> None:
        """Keep room that can be given up when the disk is full."""
        path = self.directory / _BALLAST
        if self._vfs is not None or not self._ballast_bytes:
            return
        if path.exists() and path.stat().st_size == self._ballast_bytes:
            return
        room = os.statvfs(self.directory)
        if room.f_bavail * room.f_frsize < 4 * self._ballast_bytes:
            self.ballast_spent = True
            return
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)
            os.fsync(file.fileno())
        _sync(self.directory)

    def _spend_ballast(self) -> bool:
        path = self.directory / _BALLAST
        if self._vfs is not None or not path.exists():
            return False
        path.unlink()
        _sync(self.directory)
        self.ballast_spent = True
        with suppress(apsw.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True

    # -- SQL in short

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        self._db.execute(sql, values)

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def _row(self, sql: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        return self._db.execute(sql, values).fetchone()

    def _one(self, sql: str, values: tuple[Any, ...]) -> Any:
        row = self._row(sql, values)
        return None if row is None else row[0]


def _sync(path: Path) -> None:
    """Make a file's bytes, or a directory's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
