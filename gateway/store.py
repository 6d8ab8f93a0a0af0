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

How writes may fail is told in :mod:`gateway.logfile`; what the anchor is for, in :mod:`gateway.anchor`.
"""

from __future__ import annotations

import errno
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
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
from gateway.anchor import Anchor
from gateway.logfile import BALLAST_BYTES, LogFile, StoreError, StoreFull
from gateway.tiles import OpenTiles

_LEVEL_SHIFT: Final = 48  # tile rows of one level lie side by side: id = level << 48 | n
_FORMAT: Final = "suyuan-log-store/1"

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
        """The bytes uncompressed. Raises ValueError if they are damaged."""
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
        self._lock = threading.Lock()
        self._tree = OpenTiles()
        self._open_entries: list[bytes] = []
        self._published: Published | None = None
        self._anchor = Anchor(directory / "anchor") if vfs is None else None
        self._file = LogFile(
            directory,
            self._create,
            vfs=vfs,
            ballast=ballast,
            autocheckpoint_pages=autocheckpoint_pages,
        )
        try:
            self._load()
            self._file.fill_ballast()
        except (TypeError, ValueError, apsw.Error) as error:  # a damaged file gives values of any type
            self._file.close()
            raise StoreError(self._file.told(error)) from error
        except BaseException:
            self._file.close()
            raise

    # -- what is there

    @property
    def size(self) -> int:
        """Entries that are durable."""
        return self._tree.size

    @property
    def ballast_spent(self) -> bool:
        """Whether the disk has been so full that the ballast was given up, or there was never room for it."""
        return self._file.ballast_spent

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
        blob = self._file.one("SELECT hashes FROM tile WHERE id = ?", (level << _LEVEL_SHIFT | n,))
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
            body = self._file.one("SELECT body FROM bundle WHERE n = ?", (n,))
        if body is None:
            return None
        if width == TILE_WIDTH:
            return Body(body, gzip=True)
        return Body(encode_bundle((self._bundle_entries(n) or [])[:width]))

    def entries(self, first: int, last: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Durable entries with their indexes, from ``first`` up to and without ``last``; pruned ones are left out.

        Raises StoreError where a bundle is damaged.
        """
        last = self.size if last is None else min(last, self.size)
        at = first
        while at < last:
            n = at // TILE_WIDTH
            end = min(last, (n + 1) * TILE_WIDTH)
            found = self._bundle_entries(n)
            if found is not None:
                for index in range(at, end):
                    yield index, found[index - n * TILE_WIDTH]
            at = end

    def _bundle_entries(self, n: int) -> list[bytes] | None:
        with self._lock:
            if n == self._tree.full[0]:
                return list(self._open_entries)
            body = self._file.one("SELECT body FROM bundle WHERE n = ?", (n,))
        if body is None:
            return None
        try:
            return decode_bundle(_decompress(body))
        except ValueError as error:
            raise StoreError(f"{self._file.path}: bundle {n} is damaged: {error}") from None

    def state(self) -> tuple[int, bytes] | None:
        """What the agent stored with the last checkpoint: the log's size then, and the bytes."""
        with self._lock:
            row = self._file.row("SELECT size, body FROM state WHERE id = 1")
        return None if row is None else (int(row[0]), bytes(row[1]))

    def receipts(self) -> tuple[StoredReceipt, ...]:
        """The newest receipt of each platform."""
        with self._lock:
            rows = self._file.rows("SELECT platform, size, root, received_us, note FROM receipt ORDER BY id")
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
            self._file.write(lambda: self._append(bundles, filled, segment, published, state, tree.size))
            self._tree = tree
            self._open_entries = pending[cut:]
            if published is not None:
                self._drop_anchor(published.note)
                self._published = published
            return published

    def _drop_anchor(self, note: bytes) -> None:
        """After the COMMIT and before anybody sees the checkpoint."""
        if self._anchor is None:
            return
        try:
            self._anchor.write(note)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # a full disk costs the second look, not the log
                self._file.dead = str(error)
                raise StoreError(
                    f"{self.directory}: {error}: the medium failed; restart and check the disk"
                ) from error

    def _append(
        self,
        bundles: list[tuple[int, bytes]],
        filled: list[tuple[int, int, bytes, bytes]],
        segment: tuple[int, int, bytes, bytes] | None,
        published: Published | None,
        state: bytes | None,
        size: int,
    ) -> None:
        file = self._file
        if bundles:
            file.run_many("INSERT INTO bundle VALUES (?, ?)", bundles)
            file.run_many(
                "INSERT INTO tile VALUES (?, ?, ?)",
                [(level << _LEVEL_SHIFT | n, root, hashes) for level, n, root, hashes in filled],
            )
            file.run("DELETE FROM segment WHERE first < ?", ((bundles[-1][0] + 1) * TILE_WIDTH,))
        if segment is not None:
            file.run("INSERT INTO segment VALUES (?, ?, ?, ?)", segment)
        if published is not None:
            file.run(
                "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?)",
                (published.size, published.root, published.note),
            )
        if state is not None:
            file.run("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", (size, state))

    def add_receipt(self, receipt: StoredReceipt) -> None:
        """Keep a receipt durably, in place of an older one of the same platform.

        Raises ValueError if its size and root are not of this log. One that covers no more is not written.
        """
        with self._lock:
            published = self._published
            if published is None or receipt.size > published.size:
                raise ValueError(f"no checkpoint of size {receipt.size} was published")
            if self._root_at(receipt.size) != receipt.root:
                raise ValueError(f"at size {receipt.size} this log has another root: a fork, keep both notes")
            row = (receipt.platform, receipt.size, receipt.root, receipt.received_us, receipt.note)
            held = self._file.one("SELECT max(size) FROM receipt WHERE platform = ?", (receipt.platform,))
            if held is not None and held >= receipt.size:
                return

            def work() -> None:
                self._file.run("DELETE FROM receipt WHERE platform = ?", (receipt.platform,))
                self._file.run(
                    "INSERT INTO receipt (platform, size, root, received_us, note) VALUES (?, ?, ?, ?, ?)",
                    row,
                )

            self._file.write(work)

    def prune(self, below: int) -> int:
        """Delete the entries of full bundles below an index, never beyond the newest receipt; how many bundles went.

        Hashes stay: the tree, its roots and its proofs are as before.
        """
        with self._lock:
            covered = self._file.one("SELECT max(size) FROM receipt", ()) or 0
            before = self._file.changes()
            n = min(below, covered) // TILE_WIDTH
            self._file.write(lambda: self._file.run("DELETE FROM bundle WHERE n < ?", (n,)))
            return self._file.changes() - before

    def first_bundle(self) -> int | None:
        """The number of the oldest full bundle that is still here; None if there is none."""
        with self._lock:
            found: int | None = self._file.one("SELECT min(n) FROM bundle")
            return found

    def check_bundle(self, n: int) -> bool | None:
        """Whether the entries of a full bundle still have the hashes of their tile; None if it was pruned."""
        try:
            with self._lock:
                body = self._file.one("SELECT body FROM bundle WHERE n = ?", (n,))
                row = self._file.row("SELECT root, hashes FROM tile WHERE id = ?", (n,))
        except StoreError:
            return False
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
            self._file.close()

    # -- starting

    def _create(self, db: apsw.Connection) -> None:
        db.execute(_SCHEMA)
        db.execute("INSERT INTO log VALUES (1, ?, ?)", (_FORMAT, self.origin))

    def _load(self) -> None:
        row = self._file.row("SELECT format, origin FROM log")
        if row is None or row[0] != _FORMAT:
            raise StoreError(
                f"{self._file.path}: format {row and row[0]!r} is not {_FORMAT!r}: use the version that wrote it"
            )
        if row[1] != self.origin:
            raise StoreError(
                f"{self._file.path}: is the log of {row[1]!r}, not of {self.origin!r}: one log per origin"
            )
        row = self._file.row("SELECT size, root, note FROM checkpoint WHERE id = 1")
        if row is not None:
            self._published = Published(int(row[0]), bytes(row[1]), bytes(row[2]))
        self._tree = self._load_tree()
        self._load_segments()
        self._check_published()
        if self._published is not None:
            self._drop_anchor(self._published.note)  # a kill may have come between the COMMIT and this

    def _load_tree(self) -> OpenTiles:
        newest = self._file.one("SELECT max(id) FROM tile WHERE id < ?", (1 << _LEVEL_SHIFT,))
        full = [0 if newest is None else newest + 1]
        opened: list[list[bytes]] = [[]]
        while full[-1]:
            level, count = len(full) - 1, full[-1]
            start = level << _LEVEL_SHIFT | count // TILE_WIDTH * TILE_WIDTH
            rows = self._file.rows(
                "SELECT root FROM tile WHERE id >= ? AND id < ? ORDER BY id",
                (start, level << _LEVEL_SHIFT | count),
            )
            if len(rows) != count % TILE_WIDTH:
                raise StoreError(
                    f"{self._file.path}: hash tiles of level {level} are missing: restore the log"
                )
            opened.append([bytes(root) for (root,) in rows])
            full.append(count // TILE_WIDTH)
        return OpenTiles(opened, full)

    def _load_segments(self) -> None:
        rows = self._file.rows("SELECT first, count, root, body FROM segment ORDER BY first")
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

        def work() -> None:
            self._file.run_many(
                "INSERT INTO quarantine (first, count, reason, body) VALUES (?, ?, ?, ?)",
                [(first, count, reason, body) for first, count, _, body in rows],
            )
            self._file.run("DELETE FROM segment WHERE first >= ?", (size,))
            self._file.run("DELETE FROM state WHERE size > ?", (size,))

        self._file.write(work)
        self.damage = Damage(size, lost, reason)

    def _check_published(self, because: str = "") -> None:
        """Refuse a log that contradicts its own signature, or that is older than a receipt for it."""
        published, size = self._published, self._tree.size
        advice = "appending would sign a second history. Restore the platform's copy, or begin a new origin"
        if published is not None and published.size > size:
            why = because or f"{size} entries are there"
            raise StoreError(
                f"{self._file.path}: a checkpoint over {published.size} entries was signed, but {why}: {advice}"
            )
        if published is not None and self._root_at(published.size) != published.root:
            raise StoreError(
                f"{self._file.path}: the entries do not have the root of the checkpoint over {published.size}: {advice}"
            )
        anchor = None if self._anchor is None else self._anchor.read()
        if anchor is not None and anchor.origin == self.origin:
            if anchor.size > size:
                raise StoreError(
                    f"{self._file.path}: a checkpoint over {anchor.size} entries has left this box, "
                    f"but {because or f'{size} entries are there'}: {advice}"
                )
            if self._root_at(anchor.size) != anchor.root:
                raise StoreError(
                    f"{self._file.path}: is not the log whose checkpoint left this box: {advice}"
                )
        newest = self._file.row("SELECT size, root FROM receipt ORDER BY size DESC LIMIT 1")
        if newest is not None and (newest[0] > size or self._root_at(newest[0]) != newest[1]):
            raise StoreError(
                f"{self._file.path}: contradicts the platform's receipt for {newest[0]} entries: {advice}"
            )


__all__ = [
    "BALLAST_BYTES",
    "Body",
    "Damage",
    "LogStore",
    "Published",
    "StoreError",
    "StoreFull",
    "StoredReceipt",
]
