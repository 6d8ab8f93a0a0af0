"""The log store: one SQLite file that keeps what it acknowledged, and shows nothing that it has not.

Entries come in commits. A commit is one transaction with ``synchronous=FULL``: when it has returned, its
entries survive a power cut. A checkpoint is signed over a size and root before its transaction, and published
only after the COMMIT returned; otherwise a power cut would leave a signed statement about entries that no
longer exist (a fork).

How the file is laid out is told in :mod:`gateway.log_tables`; what is looked at when it is opened, in
:mod:`gateway.log_opening`; how writes may fail, in :mod:`gateway.logfile`; what the anchor is for, in
:mod:`gateway.anchor`.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apsw

from evidence.log import TILE_WIDTH, decode_bundle, encode_bundle, full_root, leaf_hash
from gateway.anchor import Anchor
from gateway.log_opening import LogOpening
from gateway.log_tables import FORMAT, SCHEMA, Body, Published, StoredReceipt, packed, tile_id, unpacked
from gateway.logfile import BALLAST_BYTES, LogFile, StoreError
from gateway.tile_rows import TileRows


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
        self._lock = threading.Lock()
        self._anchor = Anchor(directory / "anchor") if vfs is None else None
        self._file = LogFile(
            directory,
            self._create,
            vfs=vfs,
            ballast=ballast,
            autocheckpoint_pages=autocheckpoint_pages,
        )
        self._rows = TileRows(self._file)
        try:
            found = LogOpening(self._file, self._rows, origin, self._anchor)
            self.damage = found.damage
            self._tree, self._open_entries = found.tree, found.open_entries
            self._published = found.published
            if self._published is not None:
                self._drop_anchor(self._published.note)  # a kill may have come between the COMMIT and this
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
            return self._rows.root_at(self._tree, size)

    def tile(self, level: int, n: int, width: int) -> bytes | None:
        """The hashes of a tile as far as the published checkpoint covers them; None beyond that."""
        size = self._published.size if self._published else 0
        if not 1 <= width <= TILE_WIDTH or (n * TILE_WIDTH + width) << 8 * level > size:
            return None
        with self._lock:
            return b"".join(self._rows.hashes(self._tree, level, n, width))

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
            return decode_bundle(unpacked(body))
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
                (first_n + i // TILE_WIDTH, packed(encode_bundle(pending[i : i + TILE_WIDTH])))
                for i in range(0, cut, TILE_WIDTH)
            ]
            tail = pending[max(cut, len(self._open_entries)) :]
            root = tree.root()
            note = sign(tree.size, root) if sign else None
            segment = (tree.size - len(tail), len(tail), root, packed(encode_bundle(tail))) if tail else None
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
                [(tile_id(level, n), root, hashes) for level, n, root, hashes in filled],
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
            if self._rows.root_at(self._tree, receipt.size) != receipt.root:
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
            leaves = [leaf_hash(entry) for entry in decode_bundle(unpacked(body))]
        except ValueError:
            return False
        return bool(b"".join(leaves) == row[1] and full_root(leaves) == row[0])

    def close(self) -> None:
        """Move what is in the write-ahead log to its place and close the file."""
        with self._lock:
            self._file.close()

    # -- starting

    def _create(self, db: apsw.Connection) -> None:
        db.execute(SCHEMA)
        db.execute("INSERT INTO log VALUES (1, ?, ?)", (FORMAT, self.origin))
