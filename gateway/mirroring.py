"""What a gateway sends to a mirror of its log (C2SP tlog-mirror): offers, entry packages, proofs. No network here.

Full bundles go out compressed as they are stored: a gzip stream may have several members (RFC 1952), so that nothing is
packed twice on a small machine.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from evidence.errors import ParseError
from evidence.log import (
    TILE_WIDTH,
    NodeReader,
    Tile,
    consistency_proof,
    encode_bundle,
    range_root,
    tile_node_reader,
)
from evidence.note import Note
from gateway.log_tables import Published
from gateway.logfile import StoreError
from gateway.store import LogStore

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Pruned(StoreError):
    """The platform asks for entries that are no longer on this box."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a mirror said of itself: the checkpoint size to complete, its next entry, and a ticket to hand back."""

    size: int
    next: int
    ticket: bytes = b""

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Read ``text/x.tlog.mirror-info``. Raises ParseError."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not all(map(_NUMBER.fullmatch, lines[:2])):
            raise ParseError(f"not what a mirror says of itself: {text[:80]!r}")
        try:
            return cls(int(lines[0]), int(lines[1]), base64.b64decode(lines[2], validate=True))
        except (binascii.Error, ValueError) as error:
            raise ParseError(f"a mirror's ticket is base64: {error}") from None


def nodes(store: LogStore, size: int) -> NodeReader:
    """The nodes of the log's tree when it had ``size`` entries."""

    def read(tile: Tile) -> bytes:
        found = store.tile(tile.level or 0, tile.index, tile.width)
        if found is None:
            raise StoreError(f"{tile.path} is not under the published checkpoint")
        return found

    return cache(tile_node_reader(read, size))  # proofs of neighbours share most of their hashes


def offer(store: LogStore, published: Published, old: int) -> bytes:
    """The body of add-checkpoint: the published checkpoint, proven to follow from the ``old`` entries."""
    proof = consistency_proof(old, published.size, nodes(store, published.size))
    lines = [f"old {old}", *(base64.b64encode(step).decode() for step in proof)]
    return ("\n".join(lines) + "\n\n").encode() + published.note


def subtree_proof(start: int, end: int, size: int, node: NodeReader) -> list[bytes]:
    """That the tree of ``size`` leaves has the subtree over [start, end) (draft-ietf-plants-merkle-tree-certs, 4.4).

    ``start`` is a multiple of the power of two that holds the range.
    """
    proof: list[bytes] = []
    low, high, known = 0, size, True
    while (start, end) != (low, high):
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if end <= middle:
            proof.append(range_root(middle, high, node))
            high = middle
        else:
            proof.append(range_root(low, middle, node))
            low = middle
            if start < middle:  # the subtree reaches over the middle: its left part is what was just given
                start, known = middle, False
    if not known:
        proof.append(range_root(low, high, node))
    return proof[::-1]


def upload_head(origin: str, start: int, end: int, ticket: bytes = b"") -> bytes:
    """The head of an add-entries body."""
    name = origin.encode()
    numbers = start.to_bytes(8, "big") + end.to_bytes(8, "big")
    return len(name).to_bytes(2, "big") + name + numbers + len(ticket).to_bytes(2, "big") + ticket


def packages(store: LogStore, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The canonical sequence of entry packages over [start, end), compressed: the index after each, and its bytes.

    Each is one or two gzip members. Raises Pruned, StoreError.
    """
    node = nodes(store, end)
    while start < end:
        tile = start // TILE_WIDTH
        first = tile * TILE_WIDTH
        stop = min(end, first + TILE_WIDTH)
        hashes = subtree_proof(first, stop, end, node)
        proof = bytes([len(hashes)]) + b"".join(hashes)
        body = store.bundle(tile, stop - first)
        if body is None:
            raise Pruned(f"the platform asks for entry {start}, which is no longer kept here")
        if start == first and body.gzip:
            yield stop, body.data + pack(proof, 0)
        else:
            entries = [entry for _, entry in store.entries(start, stop)]
            if len(entries) != stop - start:
                raise Pruned(f"the platform asks for entry {start}, which is no longer kept here")
            yield stop, pack(encode_bundle(entries) + proof)
        start = stop


def pack(data: bytes, level: int = 6) -> bytes:
    """A gzip member."""
    return zlib.compress(data, level, 31)


def receipt(note: bytes, lines: bytes) -> bytes:
    """A mirror's signature lines put under the checkpoint that they are for. Raises ParseError."""
    return Note.parse(note + lines).encode()
