"""The way through the entries and tiles of one log: hashed to the root, read as records, compared with what is stored.

A bundle that is missing or is none makes a finding, never an exception; which entry was changed is told where the
stored hashes can tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Final, NamedTuple, TypeAlias, cast

from . import log, note
from .continuity import Continuity, Fact, fact_of
from .errors import ParseError
from .findings import Finding, Findings, Severity
from .record import Reading, Seal, decode, decode_all
from .structure import Bound, bind, bind_all

Read: TypeAlias = Callable[[str], bytes | None]
MISSING: Final = "the entry bundle is missing: what its entries say was not checked"
GROUP: Final = 8  # bundles handed to a process at once


class Bundle(NamedTuple):
    """An entry bundle, hashed and read: leaf hashes end to end, and per entry its fact or why it is no record."""

    leaves: bytes
    facts: list[Fact | str]


def read_bundle(data: bytes, width: int, *, structure: bool = False) -> Bundle:
    """Hash and read the entries of a bundle, of readings with ``structure`` no more than what binds them.

    Raises ParseError if it is not ``width`` entries.
    """
    entries = log.decode_bundle(data, width)
    leaves = b"".join([sha256(b"\0" + entry).digest() for entry in entries])
    try:
        return Bundle(
            leaves, cast("list[Fact | str]", bind_all(entries) if structure else decode_all(entries))
        )
    except ParseError:
        return Bundle(leaves, [_try_fact(entry, structure=structure) for entry in entries])


def _try_fact(entry: bytes, *, structure: bool) -> Fact | str:
    try:
        return bind(entry) if structure else decode(entry)
    except ParseError as error:
        return str(error)


def _try_bundle(data: bytes | None, width: int, *, structure: bool) -> Bundle | str:
    if data is None:
        return MISSING
    try:
        return read_bundle(data, width, structure=structure)
    except ParseError as error:
        return str(error)


def _try_bundles(jobs: list[tuple[bytes | None, int]], *, structure: bool) -> list[Bundle | str]:
    """Of several bundles, for another process: of readings no more than their facts."""
    return [_small(_try_bundle(data, width, structure=structure)) for data, width in jobs]


def _small(found: Bundle | str) -> Bundle | str:
    if isinstance(found, str):
        return found
    kinds = (Reading, Bound)
    return Bundle(found.leaves, [fact_of(fact) if type(fact) in kinds else fact for fact in found.facts])  # type: ignore[arg-type]


@dataclass(slots=True)
class Walk:
    """The way through the entries and tiles of one log."""

    checkpoint: note.Checkpoint
    read: Read
    continuity: Continuity
    findings: Findings
    structure: bool = False  # of readings, only what binds them
    tree: log.Tree = field(default_factory=log.Tree)
    roots: dict[int, bytes] = field(default_factory=dict)  # at the sizes that were asked for
    rows: list[bytes] = field(default_factory=list)  # roots of full level-0 tiles, by the entries
    differing: dict[int, tuple[bytes, bytes]] = field(
        default_factory=dict
    )  # tile -> leaves by entries, as stored
    absent: int = 0
    missing: list[log.Tile] = field(default_factory=list)  # entry bundles that are not here

    def follow(self, sizes: set[int], pool: Executor | None, ahead: int) -> None:
        """Every bundle: hashes into the tree, facts into continuity; roots noted at ``sizes`` and at each
        seal.
        """
        if 0 in sizes:
            self.roots[0] = log.EMPTY_ROOT
        for tile, found in self._bundles(pool, ahead):
            stored = self.read(log.Tile(0, tile.index, tile.width).path)
            if stored is None:
                self.absent += 1
            if isinstance(found, Bundle):
                leaves = found.leaves
                if stored is not None and stored != leaves:
                    self.differing[tile.index] = (leaves, stored)
            else:
                self.findings.add("bundle", found, tile.start, tile.path)
                if found == MISSING:
                    self.missing.append(tile)
                self.continuity.hole()
                if stored is None or len(stored) != tile.width * log.HASH_SIZE:
                    self.findings.add("root", f"cannot be computed: no hashes for the entries of {tile.path}")
                    return
                leaves = stored
            self._bundle(tile, leaves, found if isinstance(found, Bundle) else None, sizes)

    def _bundles(self, pool: Executor | None, ahead: int) -> Iterator[tuple[log.Tile, Bundle | str]]:
        """Bundles in order, read and hashed here or, up to ``ahead`` groups in advance, by the pool."""
        tiles = log.bundles(self.checkpoint.size)
        waiting: deque[tuple[list[log.Tile], Future[list[Bundle | str]]]] = deque()
        while group := list(islice(tiles, GROUP)):
            if pool is None:
                for tile in group:
                    yield tile, _try_bundle(self.read(tile.path), tile.width, structure=self.structure)
                continue
            jobs = [(self.read(tile.path), tile.width) for tile in group]
            waiting.append((group, pool.submit(partial(_try_bundles, structure=self.structure), jobs)))
            if len(waiting) > ahead:
                first, found = waiting.popleft()
                yield from zip(first, found.result(), strict=True)
        for first, found in waiting:
            yield from zip(first, found.result(), strict=True)

    def _bundle(self, tile: log.Tile, leaves: bytes, bundle: Bundle | None, sizes: set[int]) -> None:
        start = tile.start
        hashes = [leaves[i : i + 32] for i in range(0, len(leaves), 32)]
        rows = log.full_rows(hashes)
        stops = {size - start for size in sizes if start < size <= start + tile.width}
        seals: set[int] = set()
        if bundle is not None:
            seals = {i for i, fact in enumerate(bundle.facts, 1) if type(fact) is Seal}
        for at in stops | seals:
            root = log.root_of_peaks((*self.tree.peaks, *log.peaks_of_rows(rows, at)))
            if at in stops:
                self.roots[start + at] = root
            if at in seals:
                self.continuity.heads[start + at] = root
        if tile.full:
            self.rows.append(rows[-1][0])
            self.tree.append_tile(self.rows[-1])
        else:
            self.tree.extend(hashes)
        if bundle is None:
            return
        facts = bundle.facts
        if str not in set(map(type, facts)):
            self.continuity.follow(start, cast("list[Fact]", facts))
            return
        for index, fact in enumerate(facts, start):
            if isinstance(fact, str):
                self.findings.add("record", fact, index, tile.path)
                self.continuity.hole()
            else:
                self.continuity.add(index, fact)

    def compare(self) -> None:
        """The root against the checkpoint, and every stored tile against the entries; says which of them is
        wrong.
        """
        if self.tree.size != self.checkpoint.size:
            return
        if self.tree.root() == self.checkpoint.root:
            self._pruned()
            for index, (leaves, stored) in self.differing.items():
                self._tile(log.Tile(0, index, len(leaves) // 32), leaves, stored)
        else:
            self._locate()
        level, row = 1, self.rows
        while row:
            for index in range(0, len(row), 256):
                part = row[index : index + 256]
                tile = log.Tile(level, index // 256, len(part))
                stored_tile = self.read(tile.path)
                if stored_tile is None:
                    self.absent += 1
                elif stored_tile != b"".join(part):
                    self._tile(tile, b"".join(part), stored_tile)
            row = [log.full_root(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
            level += 1
        if self.absent:
            what = f"{self.absent} hash tiles are not there; they were computed from the entries"
            self.findings.note(Finding("tiles_absent", Severity.WARNING, what))

    def _pruned(self) -> None:
        """Of entries that are not here, but whose hashes are and lead to the signed root: what is shown, what not."""
        if not self.missing:
            return
        entries = sum(tile.width for tile in self.missing)
        first, last = self.missing[0], self.missing[-1]
        what = (
            f"{entries} entries, between {first.start} and {last.start + last.width - 1}, are not here (pruned below a "
            "receipt, perhaps); their hashes are, and lead to the signed root. Checked: that the log holds entries "
            "with these hashes, and everything that is here. Not checked: what the missing entries say, and whether "
            "what follows joins them. The platform's copy has them: verify that"
        )
        self.findings.note(Finding("entries_absent", Severity.INFO, what))

    def _tile(self, tile: log.Tile, computed: bytes, stored: bytes) -> None:
        if len(computed) != len(stored):
            what = f"the tile has {len(stored)} bytes; {tile.width} hashes have {len(computed)}"
            self.findings.add("tile", what, where=tile.path)
            return
        wrong = [
            i for i in range(tile.width) if computed[32 * i : 32 * i + 32] != stored[32 * i : 32 * i + 32]
        ]
        what = f"hash {wrong[0]} of the tile is not the one that the entries give"
        if len(wrong) > 1:
            what += f", nor are {len(wrong) - 1} others"
        self.findings.add("tile", what, where=tile.path)

    def _locate(self) -> None:
        """The entries do not lead to the signed root: find which, by the stored hashes that do."""
        rows = list(self.rows)
        tail: list[bytes] | None = None
        for index, (leaves, stored) in self.differing.items():
            if len(stored) != len(leaves):
                continue
            hashes = log.tile_hashes(stored, len(stored) // 32)
            if index < len(rows):
                rows[index] = log.full_root(hashes)
            else:
                tail = hashes
        tree = log.Tree()
        for root in rows:
            tree.append_tile(root)
        if tail is None and self.checkpoint.size % 256:
            tail = self._last_leaves()
        tree.extend(tail or [])
        sure = tree.root() == self.checkpoint.root
        for index, (leaves, stored) in self.differing.items():
            path = log.Tile(None, index, len(leaves) // 32).path
            for i in range(0, len(leaves), 32):
                if leaves[i : i + 32] != stored[i : i + 32]:
                    what = (
                        "the entry was changed: it has not the hash that the signed root needs"
                        if sure
                        else "the entry and its stored hash do not agree"
                    )
                    self.findings.add("entry", what, index * 256 + i // 32, path)
        if not sure or not self.differing:
            what = "the entries do not lead to the signed root hash; no stored hashes tell which of them was changed"
            self.findings.add("root", what)

    def _last_leaves(self) -> list[bytes]:
        tile = log.Tile(None, self.checkpoint.size // 256, self.checkpoint.size % 256)
        data = self.read(tile.path)
        try:
            return [log.leaf_hash(entry) for entry in log.decode_bundle(data or b"", tile.width)]
        except ParseError:
            stored = self.read(log.Tile(0, tile.index, tile.width).path) or b""
            return [stored[i : i + 32] for i in range(0, len(stored), 32)]
