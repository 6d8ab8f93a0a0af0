"""A log's file as it is found at the start: what is sound, what is set aside, and what must not be gone on from.

The open tile is computed again and compared with what was stored beside it. A damaged tail is set aside, unless a
signed checkpoint speaks of it: a log that contradicts its own signature, its anchor or a receipt is refused, because
appending to it would sign a second history.
"""

from __future__ import annotations

from typing import Any

from evidence.log import TILE_WIDTH, decode_bundle, leaf_hash
from gateway.anchor import Anchor
from gateway.log_tables import FORMAT, Damage, Published, tile_id, unpacked
from gateway.logfile import LogFile, StoreError
from gateway.tile_rows import TileRows
from gateway.tiles import OpenTiles


class LogOpening:
    """What was found: the tree, the entries of its open tile, the newest checkpoint, and the damage."""

    def __init__(self, file: LogFile, rows: TileRows, origin: str, anchor: Anchor | None) -> None:
        """Raises StoreError if the log belongs to another origin or is refused; TypeError, ValueError or apsw.Error
        where a damaged file gives values of any type.
        """
        self._file, self._rows, self._origin, self._anchor = file, rows, origin, anchor
        self.tree = OpenTiles()
        self.open_entries: list[bytes] = []
        self.published: Published | None = None
        self.damage: Damage | None = None
        row = self._file.row("SELECT format, origin FROM log")
        if row is None or row[0] != FORMAT:
            raise StoreError(
                f"{self._file.path}: format {row and row[0]!r} is not {FORMAT!r}: use the version that wrote it"
            )
        if row[1] != self._origin:
            raise StoreError(
                f"{self._file.path}: is the log of {row[1]!r}, not of {self._origin!r}: one log per origin"
            )
        row = self._file.row("SELECT size, root, note FROM checkpoint WHERE id = 1")
        if row is not None:
            self.published = Published(int(row[0]), bytes(row[1]), bytes(row[2]))
        self.tree = self._load_tree()
        self._load_segments()
        self._check_published()

    def _load_tree(self) -> OpenTiles:
        newest = self._file.one("SELECT max(id) FROM tile WHERE id < ?", (tile_id(1, 0),))
        full = [0 if newest is None else newest + 1]
        opened: list[list[bytes]] = [[]]
        while full[-1]:
            level, count = len(full) - 1, full[-1]
            start = tile_id(level, count // TILE_WIDTH * TILE_WIDTH)
            rows = self._file.rows(
                "SELECT root FROM tile WHERE id >= ? AND id < ? ORDER BY id",
                (start, tile_id(level, count)),
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
            tree = self.tree.copy()
            try:
                entries = decode_bundle(unpacked(body), count)
                if first != tree.size or count + len(self.open_entries) >= TILE_WIDTH:
                    raise ValueError("it does not follow the entry before it")
                tree.append([leaf_hash(entry) for entry in entries])
                if tree.root() != root:
                    raise ValueError("its entries do not have the root that was stored with them")
            except ValueError as error:
                self._set_aside(rows[position:], str(error))
                return
            self.tree = tree
            self.open_entries.extend(entries)

    def _set_aside(self, rows: list[tuple[Any, ...]], reason: str) -> None:
        """Quarantine a damaged tail, unless a signed checkpoint speaks of it."""
        size = self.tree.size
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
        published, size = self.published, self.tree.size
        advice = "appending would sign a second history. Restore the platform's copy, or begin a new origin"
        if published is not None and published.size > size:
            why = because or f"{size} entries are there"
            raise StoreError(
                f"{self._file.path}: a checkpoint over {published.size} entries was signed, but {why}: {advice}"
            )
        if published is not None and self._rows.root_at(self.tree, published.size) != published.root:
            raise StoreError(
                f"{self._file.path}: the entries do not have the root of the checkpoint over {published.size}: {advice}"
            )
        anchor = None if self._anchor is None else self._anchor.read()
        if anchor is not None and anchor.origin == self._origin:
            if anchor.size > size:
                raise StoreError(
                    f"{self._file.path}: a checkpoint over {anchor.size} entries has left this box, "
                    f"but {because or f'{size} entries are there'}: {advice}"
                )
            if self._rows.root_at(self.tree, anchor.size) != anchor.root:
                raise StoreError(
                    f"{self._file.path}: is not the log whose checkpoint left this box: {advice}"
                )
        newest = self._file.row("SELECT size, root FROM receipt ORDER BY size DESC LIMIT 1")
        if newest is not None and (newest[0] > size or self._rows.root_at(self.tree, newest[0]) != newest[1]):
            raise StoreError(
                f"{self._file.path}: contradicts the platform's receipt for {newest[0]} entries: {advice}"
            )
