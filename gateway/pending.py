"""Entries that are built and not durable yet: the index of each, what is committed together, what is built again.

The index of a record is known when it is built: the log has one writer. If a commit fails, the records that nothing
else can restore (events, states, configuration, keys) are handed back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from evidence.record import SALT_BYTES, Record, encode

_SALTS = 1024  # drawn at a time


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries to commit together, oldest first; ``state`` goes with a checkpoint."""

    first: int
    entries: tuple[bytes, ...]
    state: bytes | None


class Pending:
    """What follows the durable end of one log."""

    def __init__(self) -> None:
        self._base = 0
        self._entries: list[bytes] = []
        self._kept: list[Record] = []  # pending or in flight, and to be written again if that fails
        self._in_flight = 0
        self._in_flight_kept = 0
        self._salts = b""
        self._salt_at = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next(self) -> int:
        """The index of the record that is built next."""
        return self._base + len(self._entries)

    def begin(self, size: int) -> None:
        """The log has so many entries."""
        self._base = size

    def salt(self) -> bytes:
        """The salt of one record."""
        at = self._salt_at
        if at >= len(self._salts):
            self._salts = os.urandom(SALT_BYTES * _SALTS)
            at = 0
        self._salt_at = at + SALT_BYTES
        return self._salts[at : at + SALT_BYTES]

    def append(self, record: Record) -> int:
        """Its index. Raises EncodeError if it fits no entry."""
        return self.append_encoded(encode(record))

    def append_encoded(self, entry: bytes) -> int:
        """The index of a record that is encoded already."""
        index = self.next
        self._entries.append(entry)
        return index

    def keep(self, record: Record) -> int:
        """The index of a record that is to be built again if its commit fails."""
        self._kept.append(record)
        return self.append(record)

    def take(self, state: bytes | None) -> Batch:
        """Hand over what is pending. One batch at a time: ``committed`` or ``lost`` must follow."""
        if self._in_flight:
            raise RuntimeError("a batch is in flight: tell what became of it first")
        entries, self._entries = tuple(self._entries), []
        batch = Batch(self._base, entries, state)
        self._base += len(entries)
        self._in_flight = len(entries)
        self._in_flight_kept = len(self._kept)
        return batch

    def committed(self) -> None:
        """The batch is durable."""
        del self._kept[: self._in_flight_kept]
        self._in_flight = self._in_flight_kept = 0

    def lost(self, size: int) -> list[Record]:
        """Nothing after ``size`` entries was kept, nor is anything pending; the records that are to be built again."""
        self._entries = []
        self._base = size
        self._in_flight = self._in_flight_kept = 0
        kept, self._kept = self._kept, []
        return kept
