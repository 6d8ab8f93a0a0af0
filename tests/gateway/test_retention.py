from __future__ import annotations

import pytest

from evidence.note import Checkpoint, Ed25519Signer, Note
from gateway.clock import SetClock
from gateway.receipts import PlatformKey, Receipts
from gateway.retention import prune
from gateway.store import LogStore

ORIGIN = "platform.example/gw/0001"
LOG = Ed25519Signer.from_seed(ORIGIN, bytes(32))
ONE, OTHER = (
    Ed25519Signer.from_seed(f"platform.example/{name}", bytes(range(32))) for name in ("one", "other")
)
PLATFORMS = (PlatformKey("one", ONE.cosigner), PlatformKey("other", OTHER.cosigner))
LATE_US = 1 << 60


@pytest.fixture
def store(tmp_path):
    store = LogStore(tmp_path, ORIGIN, ballast=0)
    yield store
    store.close()


def grow(store, size):
    entries = [b'{"n":%d}' % n for n in range(store.size, size)]
    store.commit(entries, lambda size, root: Checkpoint(ORIGIN, size, root).signed_by(LOG).encode())


def confirm(receipts, store, platform):
    receipts.take(Note.parse(store.published.note).cosigned_by(platform, 1_800_000_000).encode())


async def test_entries_go_when_the_slowest_platform_has_them(store):
    receipts = Receipts(store, PLATFORMS, SetClock())
    grow(store, 300)
    confirm(receipts, store, ONE)
    await prune(store, receipts, PLATFORMS, LATE_US)
    assert store.first_bundle() == 0, "one of two has not confirmed them"
    confirm(receipts, store, OTHER)
    grow(store, 700)
    confirm(receipts, store, ONE)
    await prune(store, receipts, PLATFORMS, LATE_US)
    assert store.first_bundle() == 1


async def test_a_site_that_has_no_platform_any_more_deletes_nothing(store):
    before = Receipts(store, PLATFORMS, SetClock())
    grow(store, 300)
    confirm(before, store, ONE)
    await prune(store, Receipts(store, (), SetClock()), (), LATE_US)
    assert store.first_bundle() == 0
