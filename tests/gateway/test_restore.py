from __future__ import annotations

import pytest

from evidence.log import bundles
from evidence.note import Checkpoint, Ed25519Signer
from evidence.record import Event, Reading, decode
from gateway.clock import SetClock
from gateway.logfile import StoreError
from gateway.restore import RestoreError, restore
from gateway.schedule import Tick
from gateway.store import LogStore
from tests.rigs.meters import ORIGIN, S, channel, pipeline, scan

SIGNER = Ed25519Signer.from_seed(ORIGIN, bytes(32))


def sign(size, root):
    return Checkpoint(ORIGIN, size, root).signed_by(SIGNER).encode()


def copy_of(store):
    """The platform's copy: bytes by path."""
    head = store.published
    copy = {"checkpoint": head.note}
    for tile in bundles(head.size):
        copy[tile.path] = store.bundle(tile.index, tile.width).plain()
    return copy


async def written(directory, clock, polls):
    """An agent's run of some polls; the open log."""
    store = LogStore(directory, ORIGIN, ballast=0)
    line = pipeline(clock, channel("M1"))
    line.begin(store, {"M1": clock.now().utc_us})
    for _ in range(polls):
        now = clock.now()
        line.accept("M1", Tick(now.utc_us, now.boot_us), scan(now))
        await clock.advance(S)
    line.seal(None)
    batch = line.take(checkpoint=True)
    store.commit(batch.entries, sign, batch.state)
    return store


async def test_a_log_put_back_from_the_platforms_copy_goes_on_where_it_was(tmp_path):
    clock = SetClock()
    store = await written(tmp_path, clock, 600)
    copy, size, root = copy_of(store), store.size, store.root
    store.close()
    (tmp_path / "log.db").write_bytes(b"nothing that is a database")
    with pytest.raises(StoreError):
        LogStore(tmp_path, ORIGIN, ballast=0)
    assert restore(tmp_path, [SIGNER.verifier], copy.get) == size
    assert (tmp_path / "log.db.damaged-1").read_bytes() == b"nothing that is a database"
    await clock.advance(10 * S)
    store = await written(tmp_path, clock, 3)
    assert store.root_at(size) == root
    records = [decode(entry) for _, entry in store.entries(0)]
    assert [r.number for r in records if isinstance(r, Reading)][-3:] == [611, 612, 613], (
        "10 polls are in a gap"
    )
    assert [r.detail["previous"] for r in records if isinstance(r, Event)] == ["none", "unclean"]
    store.close()


async def test_a_copy_that_is_changed_older_or_anothers_is_refused_and_nothing_is_touched(tmp_path):
    clock = SetClock()
    store = await written(tmp_path, clock, 300)
    older = copy_of(store)
    store.commit([b"{}"], sign)
    newest = copy_of(store)
    store.close()
    before = (tmp_path / "log.db").read_bytes()

    def refused(copy, why, verifier=SIGNER.verifier):
        with pytest.raises(RestoreError, match=why):
            restore(tmp_path, [verifier], copy.get)
        assert (tmp_path / "log.db").read_bytes() == before

    refused({}, "no checkpoint")
    refused(older, "second history")
    refused(newest, "not of this log", Ed25519Signer.from_seed(ORIGIN, bytes(range(32))).verifier)
    path = "tile/entries/000"
    refused({**newest, path: newest[path].replace(b"voltage", b"vo1tage", 1)}, "was changed")
    refused({**newest, path: newest[path][:-1]}, path)
    refused({k: v for k, v in newest.items() if k != path}, f"no {path}")
    fork = Checkpoint(ORIGIN, 256, bytes(32)).signed_by(SIGNER).encode()
    refused({**newest, "checkpoint": fork}, "second history")
    assert restore(tmp_path, [SIGNER.verifier], newest.get) > 300
