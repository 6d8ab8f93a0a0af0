"""Ten gateways for an hour, one put back from an old image: it is flagged and kept apart, the others never notice."""

import pytest

from central.store import Store
from evidence import note, record
from gateway.logfile import StoreError
from gateway.store import LogStore
from tests.central.pushing import PLATFORM
from tests.rigs.restored_gateway import Fleet

IMAGE, RESTORE, HOUR = 20, 30, 60
RESTORED = 4
PER_MINUTE = 4  # three readings and a seal


@pytest.fixture
async def fleet(tmp_path):
    with Store(tmp_path / "central") as store:
        made = Fleet(tmp_path, store, 10)
        yield made
        await made.close()


def stored(store, origin):
    return next(g for g in store.gateways() if g.origin == origin)


async def test_a_gateway_restored_from_an_old_image_is_a_fork_and_its_data_is_kept_apart(fleet, tmp_path):
    store, box = fleet.store, fleet.boxes[RESTORED]
    begun = box.writer.size
    stages = []
    for minute in range(HOUR):
        if minute == IMAGE:
            old = box.image(tmp_path / "image")
        if minute == RESTORE:
            first = list(box.writer.entries)
            box.restore(tmp_path / "image", old)
        outcomes = await fleet.minute()
        restored = outcomes.pop(RESTORED)
        stages.append(restored.alarm)
        assert all(o.ok and o.receipt and o.records >= PER_MINUTE for o in outcomes.values()), (
            minute,
            outcomes,
        )

    # for as long as it is shorter than what is stored it may be a rollback; then it is another history, and held
    assert stages == [""] * 30 + ["rollback"] * 9 + ["fork"] * 21
    origin = box.writer.origin
    gateway = stored(store, origin)
    assert gateway.alarm == "fork"
    assert list(store.entries(gateway)) == first, (
        "what was verified before stays as it was, and nothing comes to it"
    )
    rollback, *later, fork = store.alarms()
    assert {rollback.kind, *(a.kind for a in later)} == {"rollback"}
    assert (fork.kind, fork.origin) == ("fork", origin)
    verifier = box.writer.signer.verifier
    ours, theirs = (note.open_checkpoint(n, verifier)[0] for n in (fork.ours, fork.theirs))
    assert (ours.size, theirs.size) == (begun + RESTORE * PER_MINUTE, begun + 30 * PER_MINUTE)
    assert ours.root != theirs.root, (
        "two histories of one size, both signed: misbehaviour that cannot be denied"
    )

    # the history that came later reached no table that anybody asks
    branch = {e for e in box.writer.entries if e not in set(first)}
    assert branch
    shown = [v for m in box.writer.instruments for v in store.values(origin, m)]
    number_of = sum(isinstance(record.decode(e), record.Reading) for e in first)
    assert len({v.entry for v in shown}) == number_of == 3 * RESTORE
    assert max(r.size for r in box.receipts.newest) == begun + IMAGE * PER_MINUTE, (
        "nothing of it was acknowledged"
    )

    for number, other in enumerate(fleet.boxes):
        if number != RESTORED:
            held = stored(store, other.writer.origin)
            assert list(store.entries(held)) == other.writer.entries
            assert held.alarm == ""
            (newest,) = other.receipts.newest
            assert newest.size == other.writer.size == begun + HOUR * PER_MINUTE
            assert note.Note.parse(newest.note).cosigned_at(PLATFORM.cosigner)


async def test_what_a_longer_fork_served_is_kept_beside_the_log(fleet, tmp_path):
    """The platform was away until the other history had outgrown the one it has."""
    store, box = fleet.store, fleet.boxes[RESTORED]
    for minute in range(5):
        if minute == 2:
            old = box.image(tmp_path / "image")
        await fleet.minute()
    first = list(box.writer.entries)
    box.restore(tmp_path / "image", old)
    for _ in range(8):
        fleet.clock.step(60_000_000)
        box.minute()
    assert (await fleet.collectors[RESTORED].collect_once()).alarm == "fork"
    (alarm,) = store.alarms()
    kept = b"".join(store.quarantined(alarm).values())
    assert all(entry in kept for entry in box.writer.entries[len(first) :])
    assert list(store.entries(stored(store, box.writer.origin))) == first


async def test_where_the_anchor_was_not_put_back_the_box_itself_refuses(fleet, tmp_path):
    box = fleet.boxes[RESTORED]
    await fleet.minute()
    box.image(tmp_path / "image")
    await fleet.minute()
    box.store.close()
    (tmp_path / "image" / "anchor").write_bytes((box.directory / "anchor").read_bytes())
    with pytest.raises(StoreError, match="has left this box"):
        LogStore(tmp_path / "image", box.writer.origin, ballast=0)
    box.open()
