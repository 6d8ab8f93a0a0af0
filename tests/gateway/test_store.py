from __future__ import annotations

import os
import random
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.log import EMPTY_ROOT, Tree, decode_bundle, leaf_hash
from evidence.note import Checkpoint, Ed25519Signer
from gateway.anchor import Anchor
from gateway.log_tables import StoredReceipt
from gateway.logfile import StoreError
from gateway.store import LogStore
from gateway.tiles import OpenTiles

ORIGIN = "platform.example/gw/0001"
SIGNER = Ed25519Signer.from_seed(ORIGIN, bytes(32))


def entries(first: int, count: int) -> list[bytes]:
    return [b'{"n":%d,"salt":"%s"}' % (n, os.urandom(8).hex().encode()) for n in range(first, first + count)]


def sign(size: int, root: bytes) -> bytes:
    return b"%d %s" % (size, root.hex().encode())


def root_of(leaves: list[bytes]) -> bytes:
    tree = Tree()
    tree.extend(leaf_hash(leaf) for leaf in leaves)
    return tree.root()


@pytest.fixture
def store(tmp_path):
    store = LogStore(tmp_path / "data", ORIGIN, ballast=0)
    yield store
    store.close()


def reopened(store: LogStore) -> LogStore:
    store.close()
    return LogStore(store.directory, ORIGIN, ballast=0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=12))
def test_the_edge_of_tiles_has_the_root_of_the_whole_tree(batches):
    edge, tree, n = OpenTiles(), Tree(), 0
    for batch in batches:
        leaves = [leaf_hash(b"%d" % i) for i in range(n, n + batch)]
        edge.append(leaves)
        tree.extend(leaves)
        n += batch
        assert (edge.size, edge.root()) == (n, tree.root())


def test_an_edge_over_three_levels_has_the_right_root():
    edge, tree = OpenTiles(), Tree()
    leaves = [i.to_bytes(32, "big") for i in range(256 * 256 + 300)]
    filled = edge.append(leaves)
    tree.extend(leaves)
    assert edge.root() == tree.root()
    assert [(level, n) for level, n, _, _ in filled if level] == [(1, 0)]
    assert edge.full == [257, 1, 0]


def test_an_empty_log_has_the_empty_root_and_no_checkpoint(store):
    assert (store.size, store.root, store.published, store.state()) == (0, EMPTY_ROOT, None, None)


def test_what_was_committed_is_there_after_reopening_with_every_earlier_root(store):
    written: list[bytes] = []
    for count in (1, 0, 255, 1, 3, 600, 2):
        batch = entries(len(written), count)
        store.commit(batch, sign, b"state %d" % len(written))
        written += batch
    for _ in range(2):
        assert [e for _, e in store.entries(0)] == written
        assert [i for i, _ in store.entries(250, 300)] == list(range(250, 300))
        assert store.root == root_of(written)
        for size in (0, 1, 255, 256, 257, 512, len(written)):
            assert store.root_at(size) == root_of(written[:size])
        assert store.published.note == sign(len(written), store.root)
        assert store.state() == (len(written), b"state %d" % (len(written) - 2))
        store = reopened(store)
    more = entries(len(written), 400)
    store.commit(more)
    assert store.root == root_of(written + more)
    store.close()


def test_nothing_is_served_beyond_the_published_checkpoint(store):
    written = entries(0, 300)
    store.commit(written[:200], sign)
    store.commit(written[200:])  # durable, but no checkpoint speaks of it
    assert store.published.size == 200
    assert store.tile(0, 0, 201) is None
    assert store.bundle(0, 256) is None
    assert store.tile(0, 0, 200) == b"".join(map(leaf_hash, written[:200]))
    assert decode_bundle(store.bundle(0, 200).plain(), 200) == written[:200]
    assert store.tile(1, 0, 1) is None
    store.commit([], sign)
    assert decode_bundle(store.bundle(0, 256).plain()) == written[:256]
    assert store.tile(1, 0, 1) == root_of(written[:256])
    assert decode_bundle(store.bundle(1, 44).plain(), 44) == written[256:]
    assert store.bundle(0, 17).plain() == store.bundle(0, 256).plain()[: len(store.bundle(0, 17).plain())]
    for level, n, width in ((0, 0, 0), (0, 0, 257), (0, 2, 1), (7, 0, 1)):
        assert store.tile(level, n, width) is None


def test_a_second_agent_is_refused(store):
    with pytest.raises(StoreError, match="another agent"):
        LogStore(store.directory, ORIGIN, ballast=0)


def test_a_log_belongs_to_one_origin(store):
    store.close()
    with pytest.raises(StoreError, match=r"is the log of 'platform.example/gw/0001', not of"):
        LogStore(store.directory, "platform.example/gw/other", ballast=0)


def damaged(store: LogStore, sql: str, *values: object) -> None:
    store.close()
    with sqlite3.connect(store.directory / "log.db") as db:
        assert db.execute(sql, values).rowcount
    db.close()


def test_a_damaged_tail_that_no_checkpoint_covers_is_set_aside_and_the_log_goes_on(store):
    good = entries(0, 20)
    store.commit(good[:10], sign)
    store.commit(good[10:])
    store.commit(entries(20, 5))
    store.commit(entries(25, 5))
    damaged(
        store,
        "UPDATE segment SET body = cast(substr(body, 1, 30) || x'00' || substr(body, 32) AS BLOB) WHERE first = 20",
    )
    store = LogStore(store.directory, ORIGIN, ballast=0)
    assert (store.damage.first, store.damage.count) == (20, 10)
    assert [e for _, e in store.entries(0)] == good
    store.commit(entries(20, 1), sign)
    store = reopened(store)
    assert store.damage is None
    assert store.size == 21
    store.close()
    with sqlite3.connect(store.directory / "log.db") as db:
        assert db.execute("SELECT first, count FROM quarantine ORDER BY first").fetchall() == [
            (20, 5),
            (25, 5),
        ]
    db.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE segment SET body = x'00' WHERE first = 0",
        "DELETE FROM segment",
        "UPDATE checkpoint SET root = zeroblob(32)",
        "UPDATE checkpoint SET size = size + 1",
    ],
)
def test_a_log_that_contradicts_its_own_signature_does_not_start(store, sql):
    store.commit(entries(0, 10), sign)
    damaged(store, sql)
    with pytest.raises(StoreError, match="second history"):
        LogStore(store.directory, ORIGIN, ballast=0)


def test_a_log_older_than_a_receipt_for_it_does_not_start(store):
    published = store.commit(entries(0, 10), sign)
    store.add_receipt(StoredReceipt("p", 10, published.root, 1, b"note"))
    damaged(store, "UPDATE receipt SET size = 11")
    with pytest.raises(StoreError, match="receipt for 11"):
        LogStore(store.directory, ORIGIN, ballast=0)


def signed(size: int, root: bytes) -> bytes:
    return Checkpoint(ORIGIN, size, root).signed_by(SIGNER).encode()


def test_a_log_put_back_from_an_image_does_not_sign_a_second_history(store):
    store.commit(entries(0, 10), signed)
    store.close()
    image = (store.directory / "log.db").read_bytes()
    store = LogStore(store.directory, ORIGIN, ballast=0)
    store.commit(entries(10, 10), signed)
    store.close()
    (store.directory / "log.db").write_bytes(image)
    with pytest.raises(
        StoreError, match="a checkpoint over 20 entries has left this box, but 10 entries are there"
    ):
        LogStore(store.directory, ORIGIN, ballast=0)


def test_a_write_ahead_log_that_lost_its_end_is_taken_up_unless_a_checkpoint_spoke_of_it(tmp_path):
    for sealed in (False, True):
        directory = tmp_path / str(sealed)
        store = LogStore(directory, ORIGIN, ballast=0)
        store.commit(entries(0, 10), signed)
        store.commit(entries(10, 10), signed if sealed else None)
        killed = tmp_path / f"{sealed}-killed"  # what a kill leaves: the files as they are, unclosed
        shutil.copytree(directory, killed)
        store.close()
        wal = killed / "log.db-wal"
        damaged_wal = bytearray(wal.read_bytes())
        damaged_wal[-3000] ^= 0xFF
        wal.write_bytes(damaged_wal)
        if sealed:
            with pytest.raises(StoreError, match="second history"):
                LogStore(killed, ORIGIN, ballast=0)
        else:
            store = LogStore(killed, ORIGIN, ballast=0)
            assert store.size == 10
            store.close()


def test_an_anchor_that_a_kill_left_behind_is_brought_up_to_date_before_anything_is_served(store):
    store.commit(entries(0, 10), signed)
    (store.directory / "anchor").unlink()
    store = reopened(store)
    assert Anchor(store.directory / "anchor").read().size == 10
    store.close()


def test_an_anchor_survives_a_torn_write_of_its_newest_slot(tmp_path):
    anchor = Anchor(tmp_path / "anchor")
    assert anchor.read() is None
    for size in (1, 2, 3):
        anchor.write(signed(size, bytes(32)))
    assert Anchor(tmp_path / "anchor").read().size == 3
    data = bytearray((tmp_path / "anchor").read_bytes())
    data[100] ^= 1  # size 3 stands in the first slot
    (tmp_path / "anchor").write_bytes(data)
    again = Anchor(tmp_path / "anchor")
    assert again.read().size == 2
    again.write(signed(4, bytes(32)))
    assert Anchor(tmp_path / "anchor").read().size == 4
    assert again.read().size == 4


def test_a_receipt_is_kept_only_for_what_was_published(store):
    first = store.commit(entries(0, 10), sign)
    store.commit(entries(10, 10))
    with pytest.raises(ValueError, match="no checkpoint of size 20"):
        store.add_receipt(StoredReceipt("p", 20, store.root, 1, b"note"))
    with pytest.raises(ValueError, match="fork"):
        store.add_receipt(StoredReceipt("p", 9, first.root, 1, b"note"))
    store.add_receipt(StoredReceipt("p", 10, first.root, 1, b"note"))
    store.add_receipt(StoredReceipt("q", 5, store.root_at(5), 2, b"other"))
    store = reopened(store)
    assert [(r.platform, r.size, r.note) for r in store.receipts()] == [
        ("p", 10, b"note"),
        ("q", 5, b"other"),
    ]
    store.close()


def test_pruning_stops_at_the_receipt_and_leaves_the_tree_whole(store):
    written = entries(0, 1000)
    store.commit(written, sign)
    assert store.prune(1000) == 0, "without a receipt nothing goes"
    store.add_receipt(StoredReceipt("p", 600, store.root_at(600), 1, b"note"))
    assert store.prune(10_000) == 2
    assert store.bundle(0, 256) is None
    assert store.bundle(2, 256) is not None
    assert store.tile(0, 0, 256) is not None
    assert next(i for i, _ in store.entries(0)) == 512
    store = reopened(store)
    assert store.root == root_of(written)
    assert store.check_bundle(0) is None
    store.close()


def test_a_bundle_whose_bytes_changed_is_found(store):
    store.commit(entries(0, 600), sign)
    assert store.check_bundle(0) is True
    damaged(store, "UPDATE bundle SET body = (SELECT body FROM bundle WHERE n = 1) WHERE n = 0")
    store = LogStore(store.directory, ORIGIN, ballast=0)
    assert store.check_bundle(0) is False
    assert store.check_bundle(1) is True
    store.close()


def test_the_ballast_is_kept_beside_the_log(tmp_path):
    store = LogStore(tmp_path, ORIGIN, ballast=65536)
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 65536
    assert not store.ballast_spent
    store.close()


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path):
    (tmp_path / "log.db").write_bytes(b"not a database at all" * 400)
    with pytest.raises(StoreError, match="restore the log"):
        LogStore(tmp_path, ORIGIN, ballast=0)
    assert (tmp_path / "log.db").read_bytes().startswith(b"not a database")


def test_small_commits_write_few_bytes_per_record(tmp_path):
    """Wear: 8 records of about 600 bytes a second, 1 s commits, checkpoint each 10 s."""
    from tests.rigs.power_cut import Disk, Vfs

    vfs = Vfs(Disk())
    store = LogStore(tmp_path, ORIGIN, vfs=vfs.name, ballast=0)
    written = 0
    before = vfs.written
    for second in range(200):
        batch = [e * 15 for e in entries(0, 8)]
        written += sum(map(len, batch))
        store.commit(batch, sign if second % 10 == 9 else None)
    amplification = (vfs.written - before) / written
    assert amplification < 10
    store.close()


def test_no_flipped_byte_anywhere_gives_a_wrong_entry_or_another_error_than_ours(tmp_path):
    store = LogStore(tmp_path / "whole", ORIGIN, ballast=0)
    written: list[bytes] = []
    for count in (300, 200, 30, 7):
        batch = entries(len(written), count)
        store.commit(batch, signed)
        written += batch
    root = store.root
    store.close()
    whole = (tmp_path / "whole" / "log.db").read_bytes()
    chance = random.Random(11)
    refused = 0
    for number in range(150):
        directory = tmp_path / str(number)
        directory.mkdir()
        damaged_file = bytearray(whole)
        for _ in range(chance.choice((1, 1, 40))):
            damaged_file[chance.randrange(len(damaged_file))] ^= 1 << chance.randrange(8)
        (directory / "log.db").write_bytes(damaged_file)
        try:
            store = LogStore(directory, ORIGIN, ballast=0)
        except StoreError:
            refused += 1
            continue
        try:
            assert store.root == root, "an open log has the tree that was signed"
            for index, entry in store.entries(0):
                if entry != written[index]:
                    assert store.check_bundle(index // 256) is False, (
                        "a changed entry that no check would find"
                    )
        except StoreError:
            refused += 1
        finally:
            store.close()
    assert refused > 20
