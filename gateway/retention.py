"""How long entries stay on this box once every platform has confirmed them.

Only the receipt licenses deletion (the store refuses to go beyond it); this only says which of the confirmed entries
are old enough. Hashes stay for ever: the tree, its roots and its proofs do not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from evidence.errors import ParseError
from evidence.log import TILE_WIDTH
from evidence.record import Aggregate, Event, Gap, Reading, Record, Seal, decode
from gateway.receipts import PlatformKey, Receipts
from gateway.store import LogStore

AT_ONCE = 64  # bundles looked at in one go


async def prune(
    store: LogStore, receipts: Receipts, platforms: Sequence[PlatformKey], before_us: int
) -> None:
    """Delete what every platform of the site has, and is older than an instant (UTC)."""
    if receipts.head is None:
        return
    have = receipts.sizes
    confirmed = min((have.get(platform.name, 0) for platform in platforms), default=0)  # by each of them
    below = min(confirmed, await asyncio.to_thread(expired, store, before_us))
    if below:
        await asyncio.to_thread(store.prune, below)


def expired(store: LogStore, before_us: int) -> int:
    """The index below which every entry is older than an instant (UTC), looking at a few bundles only."""
    first = store.first_bundle()
    if first is None:
        return 0
    n = first
    while n < first + AT_ONCE and (n + 1) * TILE_WIDTH <= store.size:
        newest = max(
            (_time(entry) for _, entry in store.entries(n * TILE_WIDTH, (n + 1) * TILE_WIDTH)), default=0
        )
        if newest >= before_us:
            break
        n += 1
    return n * TILE_WIDTH


def _time(entry: bytes) -> int:
    try:
        record: Record = decode(entry)
    except ParseError:
        return 0
    match record:
        case Reading() | Seal() | Event():
            return record.utc_us
        case Gap() | Aggregate():
            return record.to_us
        case _:
            return 0
