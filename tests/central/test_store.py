"""The store answers by instrument and period, is opened once, and never counts a superseded total twice."""

from contextlib import closing

import apsw
import msgspec
import pytest

from central.store import _AGGREGATES, _IN_ORDER, Store, StoreError
from evidence import log, record
from tests.evidence.logs import ORIGIN, Writer, signer

VKEY = signer().verifier.vkey


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "central") as opened:
        yield opened


def advance(store, writer):
    """What a collector hands over, for a whole log at once."""
    from central.rows import Advance
    from evidence.continuity import Continuity, fact_of

    tree = log.Tree()
    tree.extend(map(log.leaf_hash, writer.entries))
    follow = Continuity(ORIGIN)
    records = [(i, record.decode(entry)) for i, entry in enumerate(writer.entries)]
    for index, entry in records:
        follow.add(index, fact_of(entry))
    bundles = [
        (t.index, t.width, log.encode_bundle(writer.entries[t.start : t.start + t.width]))
        for t in log.bundles(tree.size)
    ]
    references = [(i, kind, digest) for kind, known in follow.references.items() for i, digest in known]
    step = Advance(
        tree.size, tree.peaks, bundles, records, follow.places, references, [], 7, (tree.root(), b"note")
    )
    return store.advance(store.gateway(ORIGIN, VKEY), step, 1)


def aggregate(writer, value, supersedes=None, **change):
    made = record.Aggregate(
        salt=writer.salt(),
        instruments=("M1",),
        measurand="energy.active.import",
        unit="kWh",
        from_us=1000,
        to_us=2000,
        first=4,
        last=6,
        count=3,
        missing=0,
        value=value,
        u="0.1",
        contributions={},
        independent="0.01",
        states=(writer.states["M1"],),
        method="register",
        supersedes=supersedes,
    )
    return writer.add(msgspec.structs.replace(made, **change))


def test_values_by_instrument_measurand_and_period(store):
    writer = Writer().grow(400)
    advance(store, writer)
    readings = [
        r
        for e in writer.entries
        if isinstance(r := record.decode(e), record.Reading) and r.instrument == "M2"
    ]
    voltages = list(store.values(ORIGIN, "M2", "voltage.l1"))
    assert [v.value for v in voltages] == [r.results["voltage.l1"][0] for r in readings]
    middle = readings[3].utc_us, readings[9].utc_us
    assert [v.utc_us for v in store.values(ORIGIN, "M2", "voltage.l1", *middle)] == [
        r.utc_us for r in readings[3:9]
    ]
    assert {v.measurand for v in store.values(ORIGIN, "M2")} == {
        *readings[0].indications,
        *readings[0].missing,
    }
    assert list(store.values(ORIGIN, "M9")) == []
    assert list(store.values("other", "M2")) == []


def test_a_superseded_total_is_not_counted(store):
    writer = Writer().grow(100)
    first = aggregate(writer, "10.0")
    other = aggregate(writer, "7.0", instruments=("M2",))
    second = aggregate(writer, "10.5", first)
    aggregate(writer, "1.0", from_us=2000, to_us=3000)
    writer.seal()
    advance(store, writer)
    assert [t.value for t in store.totals(ORIGIN)] == ["7.0", "10.5", "1.0"]
    assert [t.value for t in store.totals(ORIGIN, instrument="M1", to_us=2000)] == ["10.5"]
    both = list(store.totals(ORIGIN, instrument="M1", to_us=2000, superseded=True))
    assert [(t.value, t.superseded_by) for t in both] == [("10.0", second), ("10.5", None)]
    assert [t.entry for t in store.totals(ORIGIN, instrument="M2")] == [other]


def test_entries_by_range(store):
    writer = Writer().grow(600)
    gateway = advance(store, writer)
    for start, end in ((0, 600), (255, 257), (0, 0), (599, 900), (256, 512), (10, 20)):
        assert list(store.entries(gateway, start, end)) == writer.entries[start:end]


def test_it_is_opened_by_one_process_only_and_keeps_what_it_has(tmp_path):
    writer = Writer().grow(300)
    with Store(tmp_path / "s") as first:
        advance(first, writer)
        with pytest.raises(StoreError, match="another process"):
            Store(tmp_path / "s")
        assert not (tmp_path / "s" / "central.db-shm").exists(), "a shared WAL can be corrupted"
    with Store(tmp_path / "s") as again:
        (gateway,) = again.gateways()
        assert (gateway.size, gateway.sealed_us) == (300, 7)
        assert list(again.entries(gateway)) == writer.entries
        assert again.places(gateway)["M1"].number == writer.last["M1"][0]


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "central.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match=r"central\.db"):
        Store(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path):
    other = apsw.Connection(str(tmp_path / "central.db"))
    other.execute("CREATE TABLE theirs(x)")
    other.close()
    with pytest.raises(StoreError, match="not a store"):
        Store(tmp_path)
    again = apsw.Connection(str(tmp_path / "central.db"))
    assert [name for (name,) in again.execute("SELECT name FROM sqlite_schema")] == ["theirs"]
    again.close()


def test_results_are_columns_to_whoever_asks_in_sql(store):
    writer = Writer().grow(60)
    advance(store, writer)
    values = [v for m in writer.instruments for v in store.values(ORIGIN, m) if v.value is not None]
    store.close()
    with apsw.Connection(str(store.path)) as asked:
        query = "SELECT origin, instrument, entry, measurand, indication, value, u FROM result"
        rows = {tuple(row) for row in asked.execute(query)}
    asked.close()
    assert rows == {
        (v.origin, v.instrument, v.entry, v.measurand, v.indication, v.value, v.u) for v in values
    }


def test_a_stale_view_of_the_head_advances_nothing(store):
    writer = Writer().grow(100)
    stale = store.gateway(ORIGIN, VKEY)
    advance(store, writer)
    from central.rows import Advance

    with pytest.raises(StoreError, match="two collectors"):
        store.advance(stale, Advance(5, (), [], [], {}, [], [], 0, None), 1)
    assert store.gateways()[0].size == 100


def test_what_replaces_an_aggregate_is_found_without_reading_all_of_them(tmp_path):
    """Also in a store that an older version made: without the index a month of two registers took minutes."""
    Store(tmp_path).close()
    with closing(apsw.Connection(str(tmp_path / "central.db"))) as older:
        older.execute("DROP INDEX aggregate_superseded")
    with Store(tmp_path) as store:
        plan = store._rows(f"EXPLAIN QUERY PLAN {_AGGREGATES}{_IN_ORDER}", ("o", 1, 0, -1))
    assert any("aggregate_superseded" in step for *_, step in plan), plan
