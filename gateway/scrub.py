"""Scrubbing: stored bundles are hashed again, one after the other, so that silent damage is found early."""

from __future__ import annotations

import asyncio

from evidence.log import TILE_WIDTH
from gateway.store import LogStore


class Scrub:
    """Goes round the full bundles of a log."""

    def __init__(self) -> None:
        self._checked = 0

    async def next(self, store: LogStore) -> int | None:
        """Hash the next bundle again; its number if it is damaged."""
        count = store.size // TILE_WIDTH
        if not count:
            return None
        n = self._checked % count
        self._checked += 1
        return n if await asyncio.to_thread(store.check_bundle, n) is False else None
