"""The Merkle log: RFC 6962 hashing, a tree that grows, C2SP tiles and entry bundles, proofs and their checks.

All pure: bytes and numbers in, bytes and numbers out. A tree of ``size`` leaves is kept as its *peaks*, the
roots of the full subtrees that the set bits of ``size`` name, largest first; appending combines one pair per
trailing one bit. The same hashes are served as tiles of 256 (``tile/<level>/<index>``); a tile of level ``l``
holds the nodes of height ``8 l``, so every node of every height can be had from one tile, and every proof
from a few::

    height 8   level 1   [ root of tile 0 | root of tile 1 | …            ]   only full tiles have a place
    here height 0   level 0   [ 256 leaf hashes ][ 256 leaf hashes ][ the rest ]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from .errors import ParseError

HASH_SIZE: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 256
MAX_ENTRY: Final = 65_535
EMPTY_ROOT: Final = sha256(b"").digest()

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""``node(height, index)``: root of the full subtree of 2^height leaves that begins at ``index * 2^height``.
"""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf (RFC 6962 section 2.1): SHA-256 of 00 and the stored bytes."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (RFC 6962 section 2.1): SHA-256 of 01 and both children."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that only grows. ``Tree(size, peaks)`` restores one from what ``size`` and ``peaks`` gave."""

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self._size = size
        self._peaks = list(peaks)
        if size < 0 or len(self._peaks) != size.bit_count() or any(len(p) != HASH_SIZE for p in self._peaks):
            raise ValueError(
                f"a tree of {size} leaves has one peak of {HASH_SIZE} bytes for each set bit of its size"
            )

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Roots of the full subtrees, largest first: all that is needed to go on."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> int:
        """Add one leaf hash; its index."""
        index = self._size
        peaks = self._peaks
        ones = index
        while ones & 1:
            leaf = sha256(b"\1" + peaks.pop() + leaf).digest()
            ones >>= 1
        peaks.append(leaf)
        self._size = index + 1
        return index

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many leaf hashes."""
        for leaf in leaves:
            self.append(leaf)

    def append_tile(self, root: bytes, height: int = TILE_HEIGHT) -> None:
        """Add a full subtree of 2^height leaves by its root.

        The tree's size must be a multiple of 2^height.
        """
        if self._size & ((1 << height) - 1):
            raise ValueError(f"a subtree of height {height} cannot begin at leaf {self._size}")
        ones = self._size >> height
        while ones & 1:
            root = node_hash(self._peaks.pop(), root)
            ones >>= 1
        self._peaks.append(root)
        self._size += 1 << height

    def root(self) -> bytes:
        """Root hash (RFC 6962 section 2.1); of no leaves, the hash of nothing."""
        return root_of_peaks(self._peaks)

    def copy(self) -> Tree:
        """A tree that grows on its own."""
        return Tree(self._size, self._peaks)


def root_of_peaks(peaks: Sequence[bytes]) -> bytes:
    """Root over full subtrees that stand side by side, none larger than the one before it."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = sha256(b"\1" + peak + root).digest()
    return root


def full_root(hashes: Sequence[bytes]) -> bytes:
    """Root over hashes whose number is a power of two."""
    if not hashes or len(hashes) & (len(hashes) - 1):
        raise ValueError(f"{len(hashes)} hashes are no full subtree")
    return full_rows(hashes)[-1][0]


def full_rows(hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    """The nodes over hashes, row by row up to one node; an odd one at the end of a row has none over it."""
    rows = [hashes]
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        rows.append(hashes)
    return rows


def peaks_of_rows(rows: Sequence[Sequence[bytes]], size: int) -> Iterator[bytes]:
    """The peaks over the first ``size`` hashes of ``full_rows``, largest first."""
    start = 0
    for height in range(size.bit_length() - 1, -1, -1):
        if size >> height & 1:
            yield rows[height][start >> height]
            start += 1 << height


# ── tiles ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of hashes (``level`` 0 to 63) or an entry bundle (``level`` None), full or ``width`` wide."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not (
            1 <= self.width <= TILE_WIDTH
            and self.index >= 0
            and (self.level is None or 0 <= self.level <= 63)
        ):
            raise ValueError(f"no such tile: level {self.level}, index {self.index}, width {self.width}")

    @property
    def path(self) -> str:
        """The C2SP tlog-tiles path: ``tile/0/x001/x234/067``, ``tile/entries/000.p/5``."""
        kind = "entries" if self.level is None else str(self.level)
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
        return f"tile/{kind}/{number}" + (f".p/{self.width}" if self.width < TILE_WIDTH else "")

    @property
    def full(self) -> bool:
        """Whether it has all of its 256 places taken."""
        return self.width == TILE_WIDTH

    @property
    def start(self) -> int:
        """Index of the first leaf under it."""
        return self.index << TILE_HEIGHT * ((self.level or 0) + 1)


_PATH: Final = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


def parse_path(path: str) -> Tile:
    """The tile that a path names; the inverse of ``Tile.path``. Raises ParseError, for a second spelling
    also.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise ParseError(f"{path[:80]!r} is not the path of a tile")
    kind, number, width = found.groups()
    try:
        tile = Tile(
            None if kind == "entries" else int(kind),
            int(number.replace("x", "").replace("/", "")),
            TILE_WIDTH if width is None else int(width),
        )
    except ValueError as error:
        raise ParseError(str(error)) from error
    if tile.path != path:
        raise ParseError(f"{path[:80]!r} is not how {tile.path} is written")
    return tile


def tiles(size: int, since: int = 0) -> Iterator[Tile]:
    """The hash tiles, all levels, of a tree of ``size`` leaves; with ``since``, those that are new or wider
    since then.
    """
    level = 0
    while size:
        yield from _row(level, size, since)
        level, size, since = level + 1, size >> TILE_HEIGHT, since >> TILE_HEIGHT


def bundles(size: int, since: int = 0) -> Iterator[Tile]:
    """The entry bundles of a tree of ``size`` leaves; with ``since``, those that are new or longer since
    then.
    """
    return _row(None, size, since)


def _row(level: int | None, size: int, since: int) -> Iterator[Tile]:
    if since >= size:
        return
    for index in range(since // TILE_WIDTH, size // TILE_WIDTH):
        yield Tile(level, index)
    if size % TILE_WIDTH:
        yield Tile(level, size // TILE_WIDTH, size % TILE_WIDTH)


def tile_hashes(data: bytes, width: int = TILE_WIDTH) -> list[bytes]:
    """The hashes of a stored tile. Raises ParseError unless it is exactly ``width`` hashes long."""
    if len(data) != width * HASH_SIZE:
        raise ParseError(f"a tile of {width} hashes has {width * HASH_SIZE} bytes, not {len(data)}")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle: each with its length before it, two bytes, big-endian."""
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise ValueError(f"entry of {len(entry)} bytes; at most {MAX_ENTRY} fit")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def decode_bundle(data: bytes, width: int = TILE_WIDTH) -> list[bytes]:
    """The entries of a bundle. Raises ParseError unless it is exactly ``width`` entries long."""
    entries: list[bytes] = []
    at, end = 0, len(data)
    for _ in range(width):
        start = at + 2
        if start > end or (at := start + (data[at] << 8 | data[at + 1])) > end:
            raise ParseError(f"entry bundle ends within entry {len(entries)} of {width}")
        entries.append(data[start:at])
    if at != end:
        raise ParseError(f"entry bundle goes on for {end - at} bytes after entry {width}")
    return entries


def tile_node_reader(read: Callable[[Tile], bytes], size: int) -> NodeReader:
    """Nodes of a tree of ``size`` leaves out of its tiles.

    ``read`` gives a tile's bytes; ParseError if they are short.
    """

    def node(height: int, index: int) -> bytes:
        level, inner = divmod(height, TILE_HEIGHT)
        first = index << inner
        number, place = divmod(first, TILE_WIDTH)
        width = min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - number * TILE_WIDTH)
        if place + (1 << inner) > width:
            raise ValueError(f"a tree of {size} leaves has no full subtree {index} of height {height}")
        hashes = tile_hashes(read(Tile(level, number, width)), width)
        return full_root(hashes[place : place + (1 << inner)])

    return node


# ── proofs ──────────────────────────────────────────────────────────────────────────────────────────────────


def range_root(start: int, end: int, node: NodeReader) -> bytes:
    """MTH(D[start:end]) of RFC 6962 section 2.1, where ``start`` is a multiple of the power of two that holds
    the range.
    """
    parts = []
    while start < end:
        height = (end - start).bit_length() - 1
        parts.append(node(height, start >> height))
        start += 1 << height
    root = parts.pop()
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def root_from(size: int, node: NodeReader) -> bytes:
    """Root hash of a tree of ``size`` leaves from its nodes."""
    return range_root(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """Audit path (RFC 6962 section 2.1.1) of leaf ``index`` in a tree of ``size`` leaves, from the leaf's
    sibling up.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(start, middle, node))
            start = middle
    return tuple(reversed(proof))


def consistency_proof(old: int, new: int, node: NodeReader) -> tuple[bytes, ...]:
    """Proof (RFC 6962 section 2.1.2) that a tree of ``new`` leaves begins with that of ``old`` leaves."""
    if not 0 <= old <= new:
        raise ValueError(f"no tree of {new} leaves begins with one of {old}")
    if old in (0, new):
        return ()
    proof: list[bytes] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(start, middle, node))
            start = middle
    if start:
        proof.append(range_root(start, end, node))
    return tuple(reversed(proof))


def _split(count: int) -> int:
    """Largest power of two below ``count``: where RFC 6962 divides."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that an audit path leads to (RFC 9162 section 2.1.3.2), or None if it has not the right
    length.
    """
    if not 0 <= index < size or any(len(step) != HASH_SIZE for step in proof):
        return None
    place, last, root = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = node_hash(step, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, step)
        place, last = place >> 1, last >> 1
    return root if last == 0 else None


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that the tree of ``size`` leaves with this root has this leaf hash at
    ``index``.
    """
    return inclusion_root(leaf, index, size, proof) == root


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the newer tree begins with the older (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new or any(len(step) != HASH_SIZE for step in proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    steps = list(proof)
    if old & (old - 1) == 0:  # a full tree is its own first step
        steps.insert(0, old_root)
    if not steps:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, step)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
