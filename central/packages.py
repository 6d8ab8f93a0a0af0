"""What comes to a mirror (C2SP tlog-mirror): the body of add-entries in pieces, and the proofs in it. Pure.

An upload names its log and an interval, then brings entry packages, cut at multiples of 256, each with a proof that its
subtree lies in the tree of a signed checkpoint. A package is complete or it is not there: what follows the last whole
one is nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from evidence import log
from evidence.errors import ParseError

MAX_HASHES: Final = 63
MAX_ORIGIN: Final = 1024
MAX_TICKET: Final = 1024
PIECE: Final = 256 * 1024  # bytes that are decompressed at once


@dataclass(frozen=True, slots=True)
class Upload:
    """The head of an add-entries body: entries ``start`` to ``end`` of a log, under its checkpoint of size ``end``."""

    origin: str
    start: int
    end: int
    ticket: bytes = b""


@dataclass(frozen=True, slots=True)
class Package:
    """Entries from ``start`` on, and the proof for the subtree that they complete."""

    start: int
    entries: tuple[bytes, ...]
    proof: tuple[bytes, ...]

    @property
    def end(self) -> int:
        """Index after the last entry."""
        return self.start + len(self.entries)

    @property
    def subtree(self) -> int:
        """Where its subtree begins: the multiple of 256 at or before its first entry."""
        return self.start - self.start % log.TILE_WIDTH


class Body:
    """An add-entries body as it comes in: ``feed`` takes bytes, ``upload`` and ``packages`` give what is whole.

    Raises ParseError for an origin that is no text, or limits passed.
    """

    def __init__(self, limit: int = log.TILE_WIDTH * (log.MAX_ENTRY + 2) + 1 + MAX_HASHES * 32) -> None:
        self._held = bytearray()
        self._limit = limit
        self._next = 0
        self.upload: Upload | None = None

    def feed(self, data: bytes) -> Iterator[Package]:
        """The packages that these bytes complete."""
        self._held += data
        if self.upload is None:
            self.upload = self._head()
        if self.upload is None:
            return
        at, found = self._package(0)
        while found is not None:
            yield found
            begun = at
            at, found = self._package(begun)
        del self._held[:at]
        if len(self._held) > self._limit:
            raise ParseError("an entry package is longer than it may be")

    @property
    def pending(self) -> int:
        """Bytes after the last whole package."""
        return len(self._held)

    @property
    def complete(self) -> bool:
        """Whether every package of the interval has come."""
        return self.upload is not None and self._next >= self.upload.end

    def _head(self) -> Upload | None:
        held = self._held
        if len(held) < 2:
            return None
        length = int.from_bytes(held[:2], "big")
        if length > MAX_ORIGIN:
            raise ParseError(f"an origin of {length} bytes; at most {MAX_ORIGIN} are read")
        fixed = 2 + length + 18
        if len(held) < fixed:
            return None
        ticket = int.from_bytes(held[fixed - 2 : fixed], "big")
        if ticket > MAX_TICKET:
            raise ParseError(f"a ticket of {ticket} bytes; at most {MAX_TICKET} are read")
        if len(held) < fixed + ticket:
            return None
        try:
            origin = held[2 : 2 + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ParseError(f"the origin is no text: {error}") from error
        start = int.from_bytes(held[2 + length : 10 + length], "big")
        end = int.from_bytes(held[10 + length : 18 + length], "big")
        if start > end or end >= 2**63:
            raise ParseError(f"an upload of entries {start} to {end} is none")
        found = Upload(origin, start, end, bytes(held[fixed : fixed + ticket]))
        del held[: fixed + ticket]
        self._next = start
        return found

    def _package(self, at: int) -> tuple[int, Package | None]:
        """The package that begins at a place in what is held, and the place after it; (``at``, None) if not whole."""
        upload, held, begun = self.upload, self._held, at
        if upload is None or self._next >= upload.end:
            return begun, None
        stop = min(upload.end, self._next - self._next % log.TILE_WIDTH + log.TILE_WIDTH)
        entries: list[bytes] = []
        have = len(held)
        for _ in range(stop - self._next):
            if at + 2 > have:
                return begun, None
            first = at + 2
            at = first + (held[at] << 8 | held[at + 1])
            if at > have:
                return begun, None
            entries.append(bytes(held[first:at]))
        if at >= have:
            return begun, None
        count = held[at]
        if count > MAX_HASHES:
            raise ParseError(f"a proof of {count} hashes; at most {MAX_HASHES} are read")
        first, at = at + 1, at + 1 + count * log.HASH_SIZE
        if at > have:
            return begun, None
        proof = tuple(bytes(held[i : i + log.HASH_SIZE]) for i in range(first, at, log.HASH_SIZE))
        found = Package(self._next, tuple(entries), proof)
        self._next = stop
        return at, found


class Inflater:
    """Gzip (RFC 1952, several members too) in bounded pieces. Raises ParseError for damage or beyond the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._given = 0
        self._unpack = zlib.decompressobj(31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes of more compressed ones, at most ``PIECE`` at a time."""
        while data:
            if self._unpack.eof:
                self._unpack = zlib.decompressobj(31)
            try:
                piece = self._unpack.decompress(data, PIECE)
            except zlib.error as error:
                raise ParseError(f"not gzip: {error}") from error
            data = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
            self._given += len(piece)
            if self._given > self._limit:
                raise ParseError(f"more than {self._limit} bytes when unpacked")
            if piece:
                yield piece


def subtree_root(leaves: Sequence[bytes]) -> bytes:
    """Root over the leaf hashes of a subtree, of any number."""
    tree = log.Tree()
    tree.extend(leaves)
    return tree.root()


def check_subtree(
    start: int, end: int, size: int, subtree: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether ``proof`` shows that a tree of ``size`` leaves with this root has this subtree over [start, end)."""
    return subtree_roots(start, end, size, subtree, proof) == (subtree, root)


def subtree_roots(
    start: int, end: int, size: int, subtree: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """The roots, of the subtree over [start, end) and of the tree, that a proof leads to; None if it leads nowhere.

    draft-ietf-plants-merkle-tree-certs, verifying a subtree consistency proof. With ``start`` 0 it is RFC 9162's
    consistency proof, with one leaf its inclusion proof. Where the subtree is a node of the tree, ``subtree`` is taken.
    """
    width = end - start
    if not 0 <= start < end <= size or start & ((1 << (width - 1).bit_length()) - 1):
        return None
    first, second, last = start, end - 1, size - 1
    while first != second and (
        second == last or second & 1
    ):  # up to the node that the subtree shares with the tree
        first, second, last = first >> 1, second >> 1, last >> 1
    steps = list(proof)
    if first == second:
        below = above = subtree
    elif not steps:
        return None
    else:
        below = above = steps.pop(0)
    for step in steps:
        if last == 0:
            return None
        if second & 1 or second == last:
            if first < second:
                below = log.node_hash(step, below)
            above = log.node_hash(step, above)
            while not second & 1:
                first, second, last = first >> 1, second >> 1, last >> 1
        else:
            above = log.node_hash(above, step)
        first, second, last = first >> 1, second >> 1, last >> 1
    return (below, above) if last == 0 else None
