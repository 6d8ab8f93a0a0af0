from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.state import format_u, format_value
from drivers.codec import Exchange, Indication, Missing, Scan
from evidence.note import Checkpoint, Ed25519Signer
from evidence.numbered import Series, sealed_all, series_of
from evidence.record import (
    Aggregate,
    CalibrationState,
    Configuration,
    Document,
    Event,
    Gap,
    Genesis,
    Reading,
    Seal,
    decode,
)
from gateway.clock import SetClock
from gateway.counters import Counter, Counters
from gateway.readings import u_text, value_text
from gateway.references import DocumentNotice
from gateway.schedule import Tick
from gateway.store import LogStore
from tests.rigs.meters import ORIGIN, VALUES, S, channel, pipeline, scan, silent, state

SIGNER = Ed25519Signer.from_seed(ORIGIN, bytes(32))


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def store(tmp_path):
    store = LogStore(tmp_path, ORIGIN, ballast=0)
    yield store
    store.close()


def sign(size, root):
    return Checkpoint(ORIGIN, size, root).signed_by(SIGNER).encode()


def commit(line, store, *, seal=True):
    if seal:
        line.seal(None)
    batch = line.take(checkpoint=seal)
    assert batch.first == store.size
    store.commit(batch.entries, sign if seal else None, batch.state)
    line.committed()


def log(store):
    return [decode(data) for _, data in store.entries(0)]


def tick(clock, missed=0, period=S):
    now = clock.now()
    if missed:
        return Tick(now.utc_us, now.boot_us, missed, now.utc_us - missed * period, now.utc_us - period)
    return Tick(now.utc_us, now.boot_us)


def begun(clock, store, *names, **more):
    line = pipeline(clock, *(channel(name) for name in names or ("M1",)), **more)
    line.begin(store, {})
    return line


async def poll(line, clock, name="M1", answer=True, missed=0, step=S):
    made = scan(clock.now()) if answer is True else answer
    line.accept(name, tick(clock, missed), made)
    await clock.advance(step)


async def test_what_readings_refer_to_is_written_before_the_first_of_them(clock, store):
    line = begun(clock, store)
    await poll(line, clock)
    commit(line, store)
    records = log(store)
    assert [type(r) for r in records] == [Genesis, Event, Configuration, CalibrationState, Reading, Seal]
    reading = records[4]
    assert (reading.configuration.index, reading.configuration.digest) == (2, records[2].digest)
    assert (reading.state.index, reading.state.digest) == (3, state("M1").digest)
    assert len({r.salt for r in records}) == len(records)


async def test_a_reading_holds_indications_results_and_the_bytes_of_the_line(clock, store):
    line = begun(clock, store)
    await poll(line, clock)
    commit(line, store)
    reading = log(store)[4]
    assert reading.indications == VALUES, "exact text, digits kept"
    corrected = state("M1").correct(
        "power.active.total", 1.9801, load_a=(3.012 + 3.022 + 3.007) / 3, power_factor=0.95
    )
    value, u = reading.results["power.active.total"]
    assert float(value) == pytest.approx(corrected.y, rel=1e-11)
    assert float(u) == pytest.approx(corrected.u, rel=1e-5)
    assert reading.raw[0].request == bytes(8)
    assert reading.raw[0].answer == bytes(range(85))
    assert (reading.raw[0].sent_us, reading.raw[0].received_us) == (0, 20_000)
    assert (reading.clock, reading.clock_error_us) == (2, 2000)


async def test_running_numbers_and_back_links_leave_no_hole(clock, store):
    line = begun(clock, store, "M1", "M2")
    for n in range(30):
        await poll(line, clock, "M1", True if n % 5 else silent(clock.now()), missed=2 if n % 7 == 3 else 0)
        await poll(line, clock, "M2", step=0)
        if n % 4 == 0:
            commit(line, store, seal=n % 8 == 0)
    commit(line, store)
    records = log(store)
    for name in ("M1", "M2"):
        number, previous = 0, -1
        for index, record in enumerate(records):
            if not isinstance(record, Reading | Gap) or record.instrument != name:
                continue
            first, last = (record.number,) * 2 if isinstance(record, Reading) else (record.first, record.last)
            assert (first, record.previous) == (number + 1, previous)
            number, previous = last, index
        seal = records[-1].counts[name]
        received = sum(isinstance(r, Reading) and r.instrument == name for r in records)
        assert (seal.last, seal.received, seal.missed) == (number, received, number - received)


async def test_polls_without_an_answer_are_one_gap_per_reason(clock, store):
    line = begun(clock, store)
    start = clock.now().utc_us
    for reason in (Missing.TIMEOUT, Missing.TIMEOUT, Missing.SKIPPED, Missing.SKIPPED, Missing.LINK_DOWN):
        await poll(line, clock, answer=silent(clock.now(), reason))
    await poll(line, clock, missed=3)
    commit(line, store)
    gaps = [
        (g.first, g.last, g.reason, g.from_us - start, g.to_us - start)
        for g in log(store)
        if isinstance(g, Gap)
    ]
    assert gaps == [
        (1, 2, "timeout", 0, S),
        (3, 4, "skipped", 2 * S, 3 * S),
        (5, 5, "link_down", 4 * S, 4 * S),
        (6, 8, "no_time", 2 * S, 4 * S),
    ]
    assert [r.number for r in log(store) if isinstance(r, Reading)] == [9]


async def test_an_answer_without_a_value_is_kept_with_its_bytes_and_reasons(clock, store):
    line = begun(clock, store)
    now = clock.now()
    indications = (
        Indication("3:0", "voltage.l1", None, "V", Missing.ERROR_ANSWER),
        Indication("3:1", "frequency", None, "Hz", Missing.NOT_A_NUMBER),
    )
    await poll(line, clock, answer=Scan(indications, (Exchange(b"rq", b"\x01\x83\x02", now, now),), now, now))
    commit(line, store)
    reading = log(store)[4]
    assert isinstance(reading, Reading)
    assert reading.missing == {"voltage.l1": "error_answer", "frequency": "not_a_number"}
    assert reading.indications == reading.results == {}


async def test_a_long_outage_writes_one_gap_per_seal(clock, store):
    line = begun(clock, store)
    for n in range(60):
        await poll(line, clock, answer=silent(clock.now()))
        commit(line, store, seal=n % 10 == 9)
    gaps = [g for g in log(store) if isinstance(g, Gap)]
    assert [(g.first, g.last) for g in gaps] == [(n, n + 9) for n in range(1, 60, 10)]


async def test_nothing_is_shown_before_it_is_durable(clock, store):
    line = begun(clock, store)
    await poll(line, clock)
    assert line.latest == {}
    line.take(checkpoint=False)
    assert line.latest == {}
    line.committed()
    assert line.latest["M1"].reading.number == 1


async def test_after_a_clean_stop_the_polls_of_the_pause_are_a_gap_called_stopped(clock, store):
    line = begun(clock, store)
    await poll(line, clock)
    await poll(line, clock)
    line.stop()
    commit(line, store)
    await clock.advance(10 * S)
    line = pipeline(clock, channel("M1"))
    assert line.begin(store, {"M1": clock.now().utc_us}) is True
    await poll(line, clock)
    commit(line, store)
    *_, gap, reading, _seal = log(store)
    assert (gap.first, gap.last, gap.reason) == (3, 12, "stopped")
    assert reading.number == 13
    assert gap.previous == 5
    assert [r for r in log(store) if isinstance(r, Configuration)].__len__() == 1, (
        "unchanged: not written again"
    )
    assert len([r for r in log(store) if isinstance(r, CalibrationState)]) == 1


@pytest.mark.parametrize("sealed", [True, False])
async def test_after_a_kill_the_open_window_is_named_by_its_numbers(clock, store, sealed):
    line = begun(clock, store)
    for _ in range(3):
        await poll(line, clock)
    commit(line, store)
    await poll(line, clock)
    commit(line, store, seal=sealed)
    await poll(line, clock)  # 5, in the window that dies
    await poll(line, clock)  # 6
    await clock.advance(4 * S)
    line = pipeline(clock, channel("M1"))
    assert line.begin(store, {"M1": clock.now().utc_us}) is False
    await poll(line, clock)
    commit(line, store)
    records = log(store)
    start = [r for r in records if isinstance(r, Event)][-1]
    assert (start.kind, start.detail["previous"]) == ("start", "unclean")
    gap = next(r for r in records if isinstance(r, Gap))
    assert (gap.first, gap.last, gap.reason) == (5, 10, "unclean_stop")
    assert next(r for r in reversed(records) if isinstance(r, Reading)).number == 11


async def test_a_step_of_utc_while_the_agent_was_away_does_not_change_the_count(clock, store):
    line = begun(clock, store)
    await poll(line, clock)
    commit(line, store)
    await clock.advance(4 * S)
    clock.step(-3600 * S)
    line = pipeline(clock, channel("M1"))
    line.begin(store, {"M1": clock.now().utc_us})
    commit(line, store)
    gap = next(r for r in log(store) if isinstance(r, Gap))
    assert (gap.first, gap.last) == (2, 5)


async def test_a_changed_configuration_or_state_is_written_before_its_first_use(clock, store):
    line = begun(clock, store)
    await poll(line, clock)
    line.change_state("M1", state("M1", accuracy_class="2"))
    line.change_state("M1", state("M1", accuracy_class="2"))
    await poll(line, clock)
    line.stop()
    commit(line, store)
    line = pipeline(clock, channel("M1"), configuration=b'{"changed":true}')
    line.begin(store, {})
    await poll(line, clock)
    commit(line, store)
    records = log(store)
    readings = [r for r in records if isinstance(r, Reading)]
    for reading in readings:
        for reference, kind in ((reading.state, CalibrationState), (reading.configuration, Configuration)):
            named = records[reference.index]
            assert isinstance(named, kind)
            assert named.digest == reference.digest
            assert reference.index < records.index(reading)
    assert len({r.state.digest for r in readings}) == 2
    assert [r.state.digest == state("M1").digest for r in readings] == [True, False, True]
    assert len([r for r in records if isinstance(r, CalibrationState)]) == 3


async def test_a_document_is_announced_once(clock, store):
    notice = DocumentNotice("a" * 64, "certificate", "c.pdf", 10)
    for _ in range(2):
        line = pipeline(clock, channel("M1"))
        line.begin(store, {}, [notice])
        line.stop()
        commit(line, store)
    assert [r.digest for r in log(store) if isinstance(r, Document)] == ["a" * 64]


async def test_an_instrument_that_was_away_from_the_site_has_no_gap_for_that_time(clock, store):
    line = begun(clock, store, "M1", "M2")
    await poll(line, clock, "M1")
    await poll(line, clock, "M2")
    line.stop()
    commit(line, store)
    for names in (("M2",), ("M1", "M2")):
        await clock.advance(100 * S)
        line = pipeline(clock, *map(channel, names))
        line.begin(store, dict.fromkeys(names, clock.now().utc_us))
        line.stop()
        commit(line, store)
    assert {g.instrument for g in log(store) if isinstance(g, Gap)} == {"M2"}


async def test_a_batch_that_the_disk_refused_becomes_gaps_and_its_events_and_states_are_written_again(
    clock, store
):
    line = begun(clock, store)
    await poll(line, clock)
    await poll(line, clock, answer=silent(clock.now()))
    commit(line, store, seal=False)  # 1 is durable, the gap over 2 is open
    line.event("door_open")
    line.change_state("M1", state("M1", accuracy_class="2"))
    await poll(line, clock)
    line.take(checkpoint=False)
    await poll(line, clock)  # accepted while the commit was under way
    line.lost(store.size, "disk_full")
    await poll(line, clock)
    commit(line, store)
    records = log(store)
    gap = next(r for r in records if isinstance(r, Gap))
    assert (gap.first, gap.last, gap.reason, gap.previous) == (2, 4, "disk_full", 4)
    reading = next(r for r in reversed(records) if isinstance(r, Reading))
    assert (reading.number, records[reading.previous]) == (5, gap)
    assert [r.kind for r in records if isinstance(r, Event)] == ["start", "door_open"]
    assert (
        records[reading.state.index].digest == reading.state.digest == state("M1", accuracy_class="2").digest
    )
    tally = records[-1].counts["M1"]
    assert (tally.last, tally.received, tally.missed) == (5, 2, 3)


async def test_a_scan_too_long_for_an_entry_is_told_and_counted(clock, store):
    line = begun(clock, store)
    now = clock.now()
    long = Scan(scan(now).indications, (Exchange(b"", bytes(60_000), now, now),), now, now)
    await poll(line, clock, answer=long)
    await poll(line, clock)
    commit(line, store)
    gap = next(r for r in log(store) if isinstance(r, Gap))
    assert (gap.first, gap.last, gap.reason) == (1, 1, "too_long")
    assert any(isinstance(r, Event) and r.kind == "not_recorded" for r in log(store))
    assert next(r for r in log(store) if isinstance(r, Reading)).number == 2


def registers(n):
    return {**VALUES, "energy.active.import": f"{1000 + n / 100:.2f}"}


def aggregates(store, measurand="energy.active.import"):
    return [(i, r) for i, r in enumerate(log(store)) if isinstance(r, Aggregate) and r.measurand == measurand]


async def test_energy_intervals_share_their_readings_and_add_up_to_the_register(clock, store):
    line = begun(clock, store)
    for n in range(200):
        await poll(line, clock, answer=scan(clock.now(), registers(n)))
    commit(line, store)
    records = log(store)
    found = aggregates(store)
    assert len(found) == 3
    for index, a in found:
        first, last = records[a.first], records[a.last]
        assert a.last < index
        grown = float(last.indications["energy.active.import"]) - float(
            first.indications["energy.active.import"]
        )
        assert float(a.value) == pytest.approx(grown, rel=1e-9)
        assert first.due_us % (60 * S) == 0 or a is found[0][1]
        assert last.due_us % (60 * S) == 0
        assert [(s.index, s.digest) for s in a.states] == [(3, state("M1").digest)]
        u2 = sum(float(c) ** 2 for c in a.contributions.values()) + float(a.independent)
        assert u2**0.5 == pytest.approx(float(a.u), rel=1e-4)
        assert (a.unit, a.count) == ("kWh", (last.number - first.number))
    assert [a.last for _, a in found[:-1]] == [a.first for _, a in found[1:]]


async def test_the_number_of_an_energy_that_was_lost_is_given_to_the_next_that_is_kept(clock, store):
    line = begun(clock, store)
    for n in range(200):
        await poll(line, clock, answer=scan(clock.now(), registers(n)))
        if n == 100:
            line.take(checkpoint=False)
        elif n == 110:
            line.lost(store.size, "disk_full")
    commit(line, store)
    numbers = [r.number for r in log(store) if isinstance(r, Aggregate)]
    assert len(numbers) > 1
    assert numbers == list(range(1, len(numbers) + 1))
    assert log(store)[-1].energies == {"M1": len(numbers)}


@pytest.mark.parametrize("clean", [True, False])
async def test_an_energy_interval_goes_on_over_a_restart(clock, store, clean):
    line = begun(clock, store)
    for n in range(90):
        await poll(line, clock, answer=scan(clock.now(), registers(n)))
        if n % 10 == 9:
            commit(line, store, seal=n < 60)
    if clean:
        line.stop()
        commit(line, store)
    await clock.advance(5 * S)
    line = pipeline(clock, channel("M1"))
    line.begin(store, {"M1": clock.now().utc_us})
    for n in range(95, 200):
        await poll(line, clock, answer=scan(clock.now(), registers(n)))
    commit(line, store)
    found = aggregates(store)
    records = log(store)
    assert [a.last for _, a in found[:-1]] == [a.first for _, a in found[1:]], (
        "no energy falls between intervals"
    )
    start, end = records[found[0][1].first], records[found[-1][1].last]
    grown = float(end.indications["energy.active.import"]) - float(start.indications["energy.active.import"])
    assert sum(float(a.value) for _, a in found) == pytest.approx(grown, rel=1e-9)


async def test_a_new_state_ends_the_interval_and_the_next_begins_with_the_same_reading(clock, store):
    line = begun(clock, store)
    for n in range(100):
        await poll(line, clock, answer=scan(clock.now(), registers(n)))
        if n == 30:
            line.change_state("M1", state("M1", accuracy_class="2"))
    commit(line, store)
    found = [a for _, a in aggregates(store)]
    assert [a.last for a in found[:-1]] == [a.first for a in found[1:]]
    used = [a.states[0].digest for a in found]
    assert used == [state("M1").digest, state("M1", accuracy_class="2").digest]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    polls=st.lists(
        st.tuples(
            st.sampled_from(["M1", "M2"]), st.sampled_from(["answer", "silent", "down"]), st.integers(0, 3)
        ),
        min_size=1,
        max_size=40,
    ),
    seal_every=st.integers(1, 15),
    lose=st.sets(st.integers(0, 39)),
)
def test_whatever_happens_the_log_counts_every_poll_once_and_a_replay_counts_the_same(
    tmp_path_factory, polls, seal_every, lose
):
    clock, store = SetClock(), LogStore(tmp_path_factory.mktemp("log"), ORIGIN, ballast=0)
    line = begun(clock, store, "M1", "M2")
    due = {"M1": 0, "M2": 0}
    for n, (name, what, missed) in enumerate(polls):
        clock._boot_us += S
        clock._utc_us += S
        made = (
            scan(clock.now())
            if what == "answer"
            else silent(clock.now(), Missing.TIMEOUT if what == "silent" else Missing.LINK_DOWN)
        )
        line.accept(name, tick(clock, missed), made)
        due[name] += 1 + missed
        line.event("test", {"instrument": name} if n % 2 else {})
        if n in lose:
            line.take(checkpoint=False)
            line.lost(store.size, "disk_full")
        elif n % 3 == 0:
            commit(line, store, seal=n % seal_every == 0)
    commit(line, store)
    numbers = {"M1": 0, "M2": 0}
    places = {"M1": -1, "M2": -1}
    for index, record in enumerate(log(store)):
        if isinstance(record, Reading | Gap):
            first, last = (record.number,) * 2 if isinstance(record, Reading) else (record.first, record.last)
            assert (first, record.previous) == (numbers[record.instrument] + 1, places[record.instrument])
            numbers[record.instrument], places[record.instrument] = last, index
    assert numbers == due
    replayed = Counters()
    replayed.replay(store.entries(0))
    stored = Counters.parse(store.state()[1])
    rows: dict[Series, int] = {}
    for record in log(store):
        row = series_of(record)
        if row is not None:
            rows[row] = rows.get(row, 0) + 1
            assert record.number == rows[row]
    assert sealed_all(log(store)[-1]) == rows
    assert (replayed.energies, replayed.events) == (stored.energies, stored.events)
    for name in due:
        a, b = replayed.instruments.get(name, Counter()), stored.instruments[name]
        assert (a.last, a.received, a.missed, a.previous) == (b.last, b.received, b.missed, b.previous)
        assert line.counts()[name].last == due[name]
    store.close()


async def test_a_state_that_this_version_cannot_read_is_counted_anew_from_the_log(clock, store):
    line = begun(clock, store)
    for _ in range(5):
        await poll(line, clock)
    commit(line, store)
    store.commit([], None, b'{"another":"version","instruments":7}')
    line = pipeline(clock, channel("M1"))
    line.begin(store, {"M1": clock.now().utc_us})
    assert line.number("M1") == 5


@given(
    st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: Decimal(repr(x)))
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_number_of_a_meter_is_recorded_exactly_or_missing_with_its_reason(store_and_line, value):
    clock, line = store_and_line
    now = clock.now()
    made = Scan((Indication("3:0", "voltage.l1", value, "V"),), (Exchange(b"rq", b"an", now, now),), now, now)
    line.accept("M1", tick(clock), made)
    reading = decode(line.take(checkpoint=False).entries[-1])
    line.committed()
    if "voltage.l1" in reading.indications:
        assert Decimal(reading.indications["voltage.l1"]) == value
        assert str(value) == reading.indications["voltage.l1"], "the digits are kept"
    else:
        assert reading.missing == {"voltage.l1": "out_of_range"}
        assert len(str(value)) > 32, "more digits than a record carries"


@pytest.fixture(scope="module")
def store_and_line(tmp_path_factory):
    clock, store = SetClock(), LogStore(tmp_path_factory.mktemp("log"), ORIGIN, ballast=0)
    yield clock, begun(clock, store)
    store.close()


async def test_an_event_is_told_whatever_characters_its_error_has(clock, store):
    line = begun(clock, store)
    line.event("task_failed", {"error": "half a \ud800 pair", "long": "x" * 10_000})
    commit(line, store)
    event = [r for r in log(store) if isinstance(r, Event)][-1]
    assert event.detail["error"] == "half a ? pair"
    assert len(event.detail["long"]) == 4000


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e6, 1e6)
    | st.integers(-(10**13), 10**13).map(float)
)
@settings(max_examples=500)
def test_the_quick_texts_of_results_are_the_canonical_ones(number):
    assert value_text(number) == format_value(number)
    assert u_text(abs(number)) == format_u(abs(number))
