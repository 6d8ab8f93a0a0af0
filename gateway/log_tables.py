"""How a log lies in its file: the tables, what stands in them compressed, and the values that are read out of them.

* ``segment``: one row per commit, the entries of the open tile (fewer than 256), compressed, with the root of
  the tree after them. Start-up recomputes the open tile and compares.
* ``bundle``: 256 entries, compressed once, never changed. Its segments go in the same transaction.
* ``tile``: the hashes of each full tile (8 192 B) and its root, level by level. The root of any earlier size,
  any partial tile and any proof come from at most 256 hashes per level: start-up does not read the log.
* ``state``: what the agent needs to go on counting, as of the last checkpoint; later entries are replayed.

"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

FORMAT: Final = "suyuan-log-store/1"
LEVEL_SHIFT: Final = 48  # tile rows of one level lie side by side: id = level << 48 | n

SCHEMA: Final = """
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
        return unpacked(self.data) if self.gzip else self.data


def packed(data: bytes) -> bytes:
    """As they are stored: gzip."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # gzip: served as it is stored
    return packer.compress(data) + packer.flush()


def unpacked(data: bytes) -> bytes:
    """The bytes again. Raises ValueError if they are damaged."""
    try:
        return zlib.decompress(data, 31)
    except (zlib.error, TypeError) as error:
        raise ValueError(f"compressed bytes are damaged ({error})") from None


def tile_id(level: int, n: int) -> int:
    """The row of a full tile."""
    return level << LEVEL_SHIFT | n
