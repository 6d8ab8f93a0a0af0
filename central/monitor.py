"""Every log that is stored here, readable as tlog-tiles: for witnesses, auditors, and a gateway that lost its disk.

The store keeps entries, not hashes: hash tiles are computed from them. The roots of full tiles, once computed, are
remembered, as they never change.
"""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import Final

from evidence import log
from evidence.errors import ParseError

from .holding import Holding
from .rows import Gateway, Head

REMEMBERED: Final = 100_000
LOOK_BACK: Final = 50_000  # entries


def origin_hash(origin: str) -> str:
    """The path element under which a log is served: SHA-256 of its origin, lower-case hex."""
    return sha256(origin.encode()).hexdigest()


class Monitor:
    """Gives the bytes at a path of a log. Calls may come from many threads."""

    def __init__(self, store: Holding) -> None:
        self._store = store
        self._roots: dict[tuple[int, int, int], bytes] = {}
        self._lock = threading.Lock()

    def read(self, log_name: str, path: str) -> bytes | None:
        """``checkpoint`` with the platform's cosignature, a hash tile or an entry bundle; None for what is not here."""
        gateway = next((g for g in self._store.gateways() if origin_hash(g.origin) == log_name), None)
        head = None if gateway is None else self._cosigned(gateway)
        if gateway is None or head is None or head.receipt is None:
            return None
        if path == "checkpoint":
            return head.receipt
        try:
            tile = log.parse_path(path)
        except ParseError:
            return None
        level = tile.level or 0
        if (tile.index * log.TILE_WIDTH + tile.width) << log.TILE_HEIGHT * level > head.size:
            return None
        if tile.level is None:
            return log.encode_bundle(self._entries(gateway, tile.index, tile.width))
        if level == 0:
            return b"".join(map(log.leaf_hash, self._entries(gateway, tile.index, tile.width)))
        first = tile.index * log.TILE_WIDTH
        with self._lock:
            return b"".join(self._root(gateway, level - 1, n) for n in range(first, first + tile.width))

    def _cosigned(self, gateway: Gateway) -> Head | None:
        """The newest head that a receipt was made out for: between COMMIT and receipt, the one before."""
        head = self._store.last_head(gateway)
        if head is None or head.receipt is not None:
            return head
        before = self._store.heads(gateway, max(0, head.size - LOOK_BACK))
        return next((one for one in reversed(before) if one.receipt is not None), None)

    def _entries(self, gateway: Gateway, number: int, width: int) -> list[bytes]:
        start = number * log.TILE_WIDTH
        return list(self._store.entries(gateway, start, start + width))

    def _root(self, gateway: Gateway, level: int, index: int) -> bytes:
        """The root of a full tile."""
        place = (gateway.id, level, index)
        found = self._roots.get(place)
        if found is None:
            if level == 0:
                hashes = list(map(log.leaf_hash, self._entries(gateway, index, log.TILE_WIDTH)))
            else:
                first = index * log.TILE_WIDTH
                hashes = [self._root(gateway, level - 1, n) for n in range(first, first + log.TILE_WIDTH)]
            found = log.full_root(hashes)
            if len(self._roots) >= REMEMBERED:
                self._roots.clear()
            self._roots[place] = found
        return found
