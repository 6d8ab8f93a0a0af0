"""The store on PostgreSQL makes the same promises as the one on SQLite, to any number of workers at once."""

import threading
from dataclasses import replace

import msgspec
import psycopg
import pytest

from central.packages import Body
from central.postgres import PostgresStore
from central.rows import Advance, Pending
from central.store import Overtaken, Store, StoreError
from evidence import log, record
from evidence.continuity import Place
from sim.ports import free_port
from tests.central import pushing
from tests.central.test_store import advance, aggregate
from tests.evidence.logs import ORIGIN, START_US, Writer, signer
from tests.rigs import engines

VKEY = signer().verifier.vkey


@pytest.fixture
def sqlite(tmp_path):
    with Store(tmp_path / "s") as opened:
        yield opened


def with_aggregates():
    writer = Writer().grow(400)
    first = aggregate(writer, "10.0", from_us=START_US, to_us=START_US + 5)
    aggregate(writer, "7.0", instruments=("M2",), from_us=START_US, to_us=START_US + 5)
    aggregate(writer, "10.5", first, from_us=START_US, to_us=START_US + 5)
    aggregate(writer, None, u=None, from_us=START_US + 5, to_us=START_US + 9)
    writer.add(
        record.Event(
            salt=writer.salt(), kind="boot", utc_us=START_US, boot_us=1, detail={"why": "a \\ b\t\n é"}
        )
    )
    writer.seal()
    return writer


def test_it_answers_as_the_store_on_sqlite_does(store, sqlite):
    writer = with_aggregates()
    ours, theirs = (advance(each, writer) for each in (store, sqlite))
    assert replace(ours, id=0) == replace(theirs, id=0)
    assert [replace(g, id=0) for g in store.gateways()] == [replace(g, id=0) for g in sqlite.gateways()]
    assert list(store.entries(ours)) == writer.entries
    for start, end in ((0, 400), (255, 257), (0, 0), (399, 900), (256, 300), (10, 20)):
        assert list(store.entries(ours, start, end)) == writer.entries[start:end]
    for ask in ("heads", "last_head", "places", "references", "keys", "pending"):
        assert getattr(store, ask)(ours) == getattr(sqlite, ask)(theirs), ask
    assert store.roots(ours, [1, ours.size]) == sqlite.roots(theirs, [1, ours.size]) != {}
    middle = START_US + 100_000_000, START_US + 200_000_000
    for asked in (("M2",), ("M2", "voltage.l1"), ("M1", None, *middle), ("M9",), ("M1", "frequency")):
        assert list(store.values(ORIGIN, *asked)) == list(sqlite.values(ORIGIN, *asked)), asked
    assert list(store.values("other", "M2")) == []
    for more in (
        {},
        {"instrument": "M1"},
        {"superseded": True},
        {"to_us": START_US + 5},
        {"from_us": START_US + 1},
    ):
        assert list(store.totals(ORIGIN, **more)) == list(sqlite.totals(ORIGIN, **more)), more
    assert [t.value for t in store.totals(ORIGIN)] == ["7.0", "10.5", None]


def test_more_than_a_page_is_answered_whole(store, monkeypatch):
    monkeypatch.setattr("central.postgres.PAGE", 7)
    writer = Writer().grow(300)
    advance(store, writer)
    readings = [
        r.utc_us
        for e in writer.entries
        if isinstance(r := record.decode(e), record.Reading) and r.instrument == "M2"
    ]
    assert [v.utc_us for v in store.values(ORIGIN, "M2", "voltage.l1")] == readings


@pytest.mark.parametrize("sizes", [[1, 2, 3], [255, 256, 257], [100, 512], [300, 301, 770, 771]])
def test_a_bundle_grows_by_parts_and_is_packed_when_it_is_full(store, sizes):
    writer = Writer().grow(sizes[-1])
    gateway = store.gateway(ORIGIN, VKEY)
    for size in sizes:
        before = gateway
        gateway = store.advance(gateway, bare(writer, gateway.size, size), START_US)
        assert list(store.entries(gateway)) == writer.entries[:size]
        assert list(store.entries(before)) == writer.entries[: before.size], (
            "a reader that saw less sees as much"
        )
    packed = store.rows("SELECT number FROM bundle WHERE packed ORDER BY number")
    assert packed == [(n,) for n in range(sizes[-1] // 256)]
    assert store.rows(
        "SELECT count(*) FROM bundle WHERE NOT packed AND number < %s", (sizes[-1] // 256,)
    ) == [(0,)]


def bare(writer, start, size, records=()):
    """Entries alone, without what they say."""
    tree = log.Tree()
    tree.extend(map(log.leaf_hash, writer.entries[:size]))
    bundles = [
        (t.index, t.width, log.encode_bundle(writer.entries[t.start : t.start + t.width]))
        for t in log.bundles(size, start)
    ]
    return Advance(size, tree.peaks, bundles, records, {}, [], [], 7, (tree.root(), b"note"))


def test_of_many_that_advance_one_head_one_wins_and_nothing_is_there_twice(store, url):
    writer = Writer().grow(600)
    records = [(i, record.decode(e)) for i, e in enumerate(writer.entries)]
    step = replace(bare(writer, 0, 600, records), places={n: Place(*at) for n, at in writer.last.items()})
    start = threading.Barrier(6)
    won, told = [], []

    def work():
        with PostgresStore(url, connections=2) as mine:
            seen = mine.gateway(ORIGIN, VKEY)
            start.wait(30)
            try:
                won.append(mine.advance(seen, step, START_US).size)
            except Overtaken as error:
                told.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [600]
    assert len(told) == 5
    assert all("two collectors" in text for text in told)
    readings = sum(isinstance(record.decode(e), record.Reading) for e in writer.entries)
    assert store.rows("SELECT count(*), count(DISTINCT entry) FROM reading") == [(readings, readings)]


def test_what_fails_half_way_leaves_nothing(store):
    writer = Writer().grow(300)
    gateway = store.gateway(ORIGIN, VKEY)
    step = bare(writer, 0, 300)
    broken = replace(step, references=[(1, "configuration", "d"), (1, "configuration", "e")])
    with pytest.raises(StoreError, match="the database refused"):
        store.advance(gateway, broken, START_US)
    assert store.gateway(ORIGIN, VKEY) == gateway
    assert store.rows("SELECT count(*) FROM bundle") == [(0,)]
    assert store.advance(gateway, step, START_US).size == 300


@pytest.mark.skipif(
    not engines.TIMESCALEDB, reason="wants TimescaleDB installed, and SUYUAN_TIMESCALEDB=1 to use it"
)
def test_readings_and_aggregates_lie_in_hypertables_where_timescaledb_is(store):
    advance(store, with_aggregates())
    found = store.rows(
        "SELECT hypertable_name::text, num_chunks FROM timescaledb_information.hypertables ORDER BY 1"
    )
    assert found == [("aggregate", 1), ("reading", 1)]


@pytest.mark.skipif(engines.TIMESCALEDB, reason="TimescaleDB makes its own chunks")
def test_readings_lie_in_partitions_of_their_month(store):
    day = 86_400_000_000
    writer = Writer()
    for days in (0, 20, 90, 91):
        writer.clock_us = START_US + days * day
        writer.read("M1")
    writer.seal()
    records = [
        (i, r) for i, e in enumerate(writer.entries) if isinstance(r := record.decode(e), record.Reading)
    ]
    records[-1] = (records[-1][0], msgspec.structs.replace(records[-1][1], utc_us=1000))  # it had no clock
    gateway = store.gateway(ORIGIN, VKEY)
    places = {"M1": log_place(records[-1])}
    # by the platform's clock the third reading runs ahead by more than a month
    ahead = START_US + 21 * day
    store.advance(gateway, replace(bare(writer, 0, writer.size, records), places=places), ahead)
    where = "SELECT tableoid::regclass::text, count(*) FROM reading GROUP BY 1 ORDER BY 1"
    assert store.rows(where) == [("reading_2026_09", 1), ("reading_2026_10", 1), ("reading_otherwise", 2)]
    # when that month has come, what ran ahead is moved to where it belongs
    later = Writer(seed=2)
    later.clock_us = START_US + 91 * day
    later.read("M1")
    other = replace(bare(later, 0, later.size, [(5, record.decode(later.entries[-1]))]), places=places)
    store.advance(store.gateway("other", VKEY), other, START_US + 92 * day)
    assert ("reading_2026_12", 2) in store.rows(where)
    assert [v.utc_us for v in store.values(ORIGIN, "M1", "voltage.l1")] == sorted(
        r.utc_us for _, r in records
    )


def log_place(found):
    return Place(found[1].number, found[0], 3, 0)


def test_what_a_gateway_pushes_may_arrive_at_any_of_several_front_ends(store, url):
    writer = Writer().grow(900)
    with PostgresStore(url) as other:
        ends = [pushing.intake(each, writer) for each in (store, other)]
        assert ends[1].add_checkpoint(pushing.offer(writer, 900, 0)).next == 0
        body = Body()
        packages = list(body.feed(pushing.entries_body(writer, 0, 900)))
        assert len(packages) == 4
        for number, package in enumerate(packages):
            standing = ends[number % 2].take(body.upload, [package])
            assert standing.next == package.end
        assert standing.receipt is not None
        assert ends[0].standing(ORIGIN).receipt == standing.receipt
    gateway = store.known(ORIGIN)
    assert list(store.entries(gateway)) == writer.entries
    readings = sum(isinstance(record.decode(e), record.Reading) for e in writer.entries)
    assert store.rows("SELECT count(*), count(DISTINCT entry) FROM reading") == [(readings, readings)]


def test_pending_checkpoints_receipts_and_alarms_are_kept(store, sqlite):
    said = []
    for each in (store, sqlite):
        gateway = advance(each, Writer().grow(100))
        for size in (100, *range(101, 112)):
            each.add_pending(gateway, Pending(size, b"r" * 32, b"n%d" % size))
        each.receipt(gateway, 100, b"cosigned", posted=True)
        for _ in range(2):
            each.quarantine(gateway, "fork", "two histories", (b"ours", b"theirs"), [("checkpoint", b"x")], 5)
        each.quarantine(gateway, "rollback", "smaller", (b"", b"other"), [], 6)
        alarms = each.alarms()
        said.append(
            (
                [p.size for p in each.pending(gateway)],
                each.heads(gateway),
                [replace(a, id=0) for a in alarms],
                [each.quarantined(a) for a in alarms],
                each.gateways()[0].alarm,
                each.release(ORIGIN),
                each.release(ORIGIN),
                each.gateways()[0].alarm,
            )
        )
    assert said[0] == said[1]
    assert [a.kind for a in said[0][2]] == ["fork", "rollback"]


def test_another_key_for_a_known_gateway_is_refused(store):
    store.gateway(ORIGIN, VKEY)
    with pytest.raises(StoreError, match="another key"):
        store.gateway(ORIGIN, signer("x", 9).verifier.vkey)


def test_a_database_of_something_else_is_left_alone(url):
    with psycopg.connect(url) as db:
        db.execute("CREATE TABLE gateway(theirs text)")
    with pytest.raises(StoreError, match="something else"):
        PostgresStore(url)


def test_a_server_that_may_lose_commits_is_refused(url):
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"ALTER DATABASE {db.info.dbname} SET synchronous_commit = off".encode())
    with pytest.raises(StoreError, match="synchronous_commit"):
        PostgresStore(url)


def test_a_server_that_is_not_there_is_said_so():
    with pytest.raises(StoreError, match="cannot be used"):
        PostgresStore(f"postgresql://x@127.0.0.1:{free_port()}/none", patience_s=2)


def test_dashboards_read_results_as_columns(store):
    writer = Writer().grow(60)
    advance(store, writer)
    values = [v for m in writer.instruments for v in store.values(ORIGIN, m) if v.value is not None]
    rows = store.rows(
        "SELECT origin, instrument, entry, measurand, indication, value::text, u::text FROM result"
    )
    assert set(rows) == {
        (v.origin, v.instrument, v.entry, v.measurand, v.indication, v.value, v.u) for v in values
    }
