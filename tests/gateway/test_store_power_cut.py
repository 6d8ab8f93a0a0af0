"""Thousands of power cuts: nothing acknowledged is lost, nothing signed and published is ever contradicted."""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.log_tables import StoredReceipt
from gateway.logfile import StoreError, StoreFull
from gateway.store import LogStore
from tests.rigs.power_cut import Disk, Keep, Vfs

# SQLite closes its files on a dead disk, where nobody is left to be told of the errors
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ORIGIN = "platform.example/gw/rig"


@pytest.fixture(autouse=True)
def _closed_here():
    yield
    gc.collect()


@dataclass
class Told:
    """What the world outside has been told: entries that were acknowledged, checkpoints that left the box."""

    entries: list[bytes] = field(default_factory=list)
    checkpoints: list[tuple[int, bytes]] = field(default_factory=list)


def opened(vfs: Vfs) -> LogStore:
    return LogStore(Path("/log"), ORIGIN, vfs=vfs.name, ballast=0, autocheckpoint_pages=20)


def set_up() -> Disk:
    vfs = Vfs(Disk())
    opened(vfs).close()
    return vfs.whole()


def write(store: LogStore, told: Told, chance: random.Random, commits: int) -> None:
    for _ in range(commits):
        n = chance.choice((1, 3, 8, 40, 300))
        batch = [chance.randbytes(chance.randint(40, 500)) for _ in range(n)]
        sign = (lambda size, root: b"%d %s" % (size, root.hex().encode())) if chance.random() < 0.5 else None
        published = store.commit(batch, sign, b"state" if sign else None)
        told.entries += batch  # from here on they are promised
        if published is not None:
            told.checkpoints.append((published.size, published.root))
            if chance.random() < 0.3:
                store.add_receipt(StoredReceipt("p", published.size, published.root, 0, published.note))


def judge(store: LogStore, told: Told) -> None:
    assert store.damage is None
    stored = [entry for _, entry in store.entries(0)]
    assert stored[: len(told.entries)] == told.entries, "an acknowledged entry is lost"
    for size, root in told.checkpoints:
        assert store.root_at(size) == root, "a published checkpoint is contradicted: a fork"
    newest = store.published
    if told.checkpoints:
        assert newest is not None
        assert newest.size >= told.checkpoints[-1][0]
    # what was not acknowledged may be there: then it is acknowledged by being found
    told.entries[:] = stored
    if newest is not None:
        told.checkpoints.append((newest.size, newest.root))


def cuts(count: int, seed: int) -> None:
    base = set_up()
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        told, disk = Told(), base
        for _ in range(2):  # the log that survived a cut must survive the next
            vfs = Vfs(disk, chance.randint(1, 120))
            try:
                store = opened(vfs)
                judge(store, told)
                write(store, told, chance, 60)
            except StoreError:
                pass
            assert vfs.dead
            disk = vfs.after_cut(chance.choice(list(Keep)), chance)
        survivor = Vfs(disk)
        store = opened(survivor)
        judge(store, told)
        write(store, told, chance, 2)
        store.close()
        again = Vfs(survivor.whole())
        store = opened(again)
        judge(store, told)
        store.close()


def test_no_cut_loses_what_was_acknowledged_or_forks_what_was_signed():
    cuts(250, seed=1)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_no_cut_of_a_hundred_thousand_does():
    cuts(50_000, seed=2)


def test_the_rig_can_tell_a_disk_that_lies_about_sync():
    found = 0
    base = set_up()
    for number in range(40):
        chance = random.Random(number)
        vfs = Vfs(base, chance.randint(60, 200), lies=True)
        told = Told()
        with pytest.raises(StoreError):
            write(opened(vfs), told, chance, 400)
        try:
            judge(opened(Vfs(vfs.after_cut(Keep.SUBSET, chance))), told)
        except (StoreError, AssertionError):
            found += 1
    assert found > 20, "a rig that finds nothing here would find nothing anywhere"


def test_a_failed_sync_ends_the_store_and_is_never_acknowledged():
    vfs = Vfs(set_up(), fail_sync=4)
    store = opened(vfs)
    told = Told()
    with pytest.raises(StoreError, match="medium failed"):
        write(store, told, random.Random(3), 100)
    with pytest.raises(StoreError, match="takes nothing more"):
        store.commit([b"x"])
    for keep in Keep:
        judge(
            opened(Vfs(vfs.after_cut(keep, random.Random(5)))),
            Told(list(told.entries), list(told.checkpoints)),
        )


def test_a_full_disk_keeps_nothing_of_the_commit_and_the_store_goes_on_when_there_is_room():
    vfs = Vfs(set_up(), full_after=60_000)
    store = opened(vfs)
    told = Told()
    with pytest.raises(StoreFull, match="disk is full"):
        write(store, told, random.Random(4), 1000)
    assert told.entries
    assert store.size == len(told.entries)
    with pytest.raises(StoreFull):
        store.commit([bytes(random.Random(6).randbytes(9000))])
    vfs.room = None
    write(store, told, random.Random(7), 20)
    judge(store, told)
