"""Whether recomputation finds what does not follow from a log's own records, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from hashlib import sha256

import msgspec
import pytest

from central import audit
from central.audit import recompute
from central.audit_readings import asked_of
from evidence import record
from evidence.record import Aggregate, CalibrationState, Configuration, Reading
from gateway.aggregation import Aggregator
from gateway.site_record import configuration
from tests.central.recorded import Recorder, S, site


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return site(tmp_path_factory.mktemp("site"))


async def half_an_hour(recorder):
    for n in range(30):
        await recorder.minute(lost=("carding",) if n in (4, 5, 17) else ())
        if n % 4 == 3:
            recorder.commit()
        if n == 12:
            recorder.commit()
            recorder.begin()
        if n == 20:
            recorder.line.change_state("workshop", changed(recorder))
    recorder.commit()


@pytest.fixture(scope="module")
def entries(prepared, tmp_path_factory):
    """Half an hour of five meters of four kinds: gaps, a restart within an interval, a new calibration state."""
    recorder = Recorder(prepared, tmp_path_factory.mktemp("log"), aggregate_us=300 * S)
    asyncio.run(half_an_hour(recorder))
    found = recorder.entries()
    recorder.store.close()
    return found


def changed(recorder):
    """The workshop's state, compiled for another day's end."""
    body = json.loads(recorder.meters["workshop"][1].state.to_json())
    body["valid_until"] = "2026-12-30"
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return type(recorder.meters["workshop"][1].state).from_json(text)


def with_record(entries, index, **changes):
    """The log with one record otherwise."""
    data = record.encode(msgspec.structs.replace(record.decode(entries[index][1]), **changes))
    return [*entries[:index], (index, data), *entries[index + 1 :]]


def first(entries, kind, instrument=None, measurand=None, after=0):
    for index, data in entries[after:]:
        found = record.decode(data)
        if isinstance(found, kind):
            names = getattr(found, "instruments", (getattr(found, "instrument", None),))
            if (instrument is None or instrument in names) and measurand in (
                None,
                getattr(found, "measurand", None),
            ):
                return index, found
    raise AssertionError("the log has none")


def codes(result):
    return {finding.code for finding in result.findings}


def test_what_the_gateway_wrote_comes_out_again_text_for_text(entries):
    result = recompute(entries, Aggregator)
    assert result.findings == ()
    records = [record.decode(data) for _, data in entries]
    readings = [r for r in records if isinstance(r, Reading)]
    assert result.readings == len(readings) == 5 * 30 - 3
    assert result.indications == sum(len(r.indications) for r in readings) > 2000
    assert result.results == sum(len(r.results) for r in readings) > 1000
    assert result.aggregates == sum(isinstance(r, Aggregate) for r in records) > 20
    assert result.ok


def test_profiles_are_rebuilt_from_the_record_and_are_those_that_were_asked(prepared):
    body = json.loads(configuration(prepared))
    for bus in prepared.buses:
        for meter in bus.meters:
            asked = asked_of(body, meter.config.id)
            assert tuple(query for _, query, _ in asked.queries.values()) == meter.queries
            assert asked.protocol is bus.codec
    assert len(body["profiles"]) < len(body["instruments"]), (
        "what two meters of a model are asked stands once"
    )


@pytest.mark.parametrize("instrument", ["spinning", "carding", "workshop", "potline-1"])
def test_another_indication_than_the_bytes_give_is_found_at_its_entry(entries, instrument):
    index, reading = first(entries, Reading, instrument)
    name, text = next((n, t) for n, t in reading.indications.items() if n.startswith("voltage"))
    other = {**reading.indications, name: str(Decimal(text) + Decimal("0.1"))}
    result = recompute(with_record(entries, index, indications=other), Aggregator)
    found = [f for f in result.findings if f.code == "indication"]
    assert [(f.entry, f.where) for f in found] == [(index, instrument)]
    assert name in found[0].what
    assert text in found[0].what


@pytest.mark.parametrize("instrument", ["spinning", "carding", "workshop", "potline-1"])
def test_other_bytes_than_the_indications_come_from_are_found(entries, instrument):
    index, _ = first(entries, Reading, instrument)
    _, later = first(entries, Reading, instrument, after=index + 1)
    result = recompute(with_record(entries, index, raw=later.raw), Aggregator)
    assert "indication" in codes(result)
    assert {f.entry for f in result.findings if f.code == "indication"} == {index}


@pytest.mark.parametrize("place", [0, 1])
def test_the_last_digit_of_a_result_or_its_uncertainty_is_compared(entries, place):
    index, reading = first(entries, Reading, "spinning")
    name = "power.active.total"
    pair = list(reading.results[name])
    pair[place] = pair[place][:-1] + ("1" if pair[place][-1] != "1" else "2")
    result = recompute(
        with_record(entries, index, results={**reading.results, name: tuple(pair)}), Aggregator
    )
    assert [(f.code, f.entry) for f in result.findings] == [("result", index)]


def test_a_flag_taken_away_is_found(entries):
    index, reading = first(entries, Reading, "workshop")
    assert reading.flags
    result = recompute(with_record(entries, index, flags=()), Aggregator)
    assert [(f.code, f.entry) for f in result.findings] == [("flags", index)]


def test_a_value_declared_missing_and_a_missing_value_without_reason_are_found(entries):
    index, reading = first(entries, Reading, "carding")
    name = "frequency"
    rest = {n: t for n, t in reading.indications.items() if n != name}
    hidden = with_record(entries, index, indications=rest, missing={name: "timeout"})
    assert {"indication", "missing"} <= codes(recompute(hidden, Aggregator))
    assert "indication" in codes(recompute(with_record(entries, index, indications=rest), Aggregator))


def test_a_request_that_the_configuration_does_not_ask_is_found(entries):
    index, reading = first(entries, Reading, "potline-1")
    raw = (
        msgspec.structs.replace(reading.raw[0], request=reading.raw[0].request[:-1] + b"\x7f"),
        *reading.raw[1:],
    )
    assert "request" in codes(recompute(with_record(entries, index, raw=raw), Aggregator))


@pytest.mark.parametrize("field", ["value", "u", "independent"])
def test_another_energy_is_found_at_its_entry(entries, field):
    index, aggregate = first(entries, Aggregate, "anode-shop", "energy.active.import")
    other = str(Decimal(getattr(aggregate, field)) + Decimal("0.001"))
    result = recompute(with_record(entries, index, **{field: other}), Aggregator)
    assert [(f.code, f.entry, f.where) for f in result.findings] == [("aggregate", index, "anode-shop")]
    assert field in result.findings[0].what


def test_another_contribution_is_found(entries):
    index, aggregate = first(entries, Aggregate, "anode-shop", "energy.active.import")
    source = next(iter(aggregate.contributions))
    other = {**aggregate.contributions, source: "0.5"}
    result = recompute(with_record(entries, index, contributions=other), Aggregator)
    assert [f.code for f in result.findings] == ["aggregate"]
    assert source in result.findings[0].what


def test_an_energy_that_nobody_stated_and_one_that_nothing_gives_are_found(entries):
    index, _ = first(entries, Aggregate, "spinning", "energy.active.import")
    left_out = [each for each in entries if each[0] != index]
    assert "aggregate_absent" in codes(recompute(left_out, Aggregator))
    invented = with_record(entries, index, first=entries[index][0] - 3)
    assert {"aggregate", "aggregate_absent"} <= codes(recompute(invented, Aggregator))


def test_another_meters_state_corrects_nothing(entries):
    index, _ = first(entries, Reading, "spinning")
    at, other = next((i, r) for i, r in ((i, record.decode(d)) for i, d in entries) if isinstance(r, CalibrationState)
                     and b'"instrument":"carding"' in bytes(r.body))  # fmt: skip
    changed = with_record(entries, index, state=record.Reference(at, other.digest))
    found = recompute(changed, Aggregator).findings
    assert ("state_foreign", index) in {(f.code, f.entry) for f in found}


def test_what_is_not_in_the_records_is_said_and_nothing_is_guessed(entries):
    digests: dict[int, str] = {}
    changed = []
    for at, data in entries:
        found = record.decode(data)
        if isinstance(found, Configuration):
            body = {key: value for key, value in json.loads(bytes(found.body)).items() if key != "profiles"}
            text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
            digests[at] = sha256(text).hexdigest()
            found = msgspec.structs.replace(found, body=msgspec.Raw(text), digest=digests[at])
        elif isinstance(found, Reading):
            reference = record.Reference(found.configuration.index, digests[found.configuration.index])
            found = msgspec.structs.replace(found, configuration=reference)
        changed.append((at, record.encode(found)))
    result = recompute(changed, Aggregator)
    assert "configuration_lacks" in codes(result)
    assert "profiles" in next(f.what for f in result.findings if f.code == "configuration_lacks")
    assert result.indications == 0


def test_a_part_of_a_log_is_recomputed_as_far_as_it_goes(entries):
    needed = [e for e in entries if isinstance(record.decode(e[1]), Configuration | CalibrationState)]
    part = sorted({*needed, *(e for e in entries if e[0] > 60)})
    result = recompute(part, Aggregator, partial=True)
    assert result.findings == ()
    assert result.aggregates > 10
    assert sum(result.skipped.values()) > 0, "the intervals whose beginning is not there"


def is_reading_of(entry, instrument):
    found = record.decode(entry[1])
    return isinstance(found, Reading) and found.instrument == instrument


def slowly_read(entries, instrument):
    """The log as it would be if each first reading within an interval had taken ten seconds."""
    for index, data in entries:
        found = record.decode(data)
        if (
            isinstance(found, Reading)
            and found.instrument == instrument
            and found.due_us % (300 * S) == 60 * S
        ):
            last = msgspec.structs.replace(found.raw[-1], received_us=found.raw[-1].received_us + 10 * S)
            entries = with_record(entries, index, raw=(*found.raw[:-1], last))
    for finding in recompute(entries, Aggregator).findings:
        what, computed = re.fullmatch(
            r".*?: (.*): recomputed (\S+), the record says .*", finding.what
        ).groups()
        contributions = record.decode(entries[finding.entry][1]).contributions
        source = what.removeprefix("contribution of ")
        changes = {"u": computed} if what == "u" else {"contributions": {**contributions, source: computed}}
        entries = with_record(entries, finding.entry, **changes)
    assert recompute(entries, Aggregator).findings == ()
    return entries


def test_a_part_that_begins_within_an_interval_accuses_nobody(entries):
    # How long the reading between two intervals took is told by the first one's readings, of which some are not here.
    slow = slowly_read(entries, "spinning")
    needed = [e for e in slow if isinstance(record.decode(e[1]), Configuration | CalibrationState)]
    for cut in range(60, 160, 4):
        part = sorted({*needed, *(e for e in slow if e[0] > cut)})
        assert recompute(part, Aggregator, partial=True).findings == (), f"without the first {cut} entries"


def test_the_value_of_an_interval_counts_from_its_first_reading_in_a_part(entries):
    index, stated = first(entries, Aggregate, "spinning", "energy.active.import", after=120)
    needed = [e for e in entries if isinstance(record.decode(e[1]), Configuration | CalibrationState)]
    changed = with_record(entries, index, value=str(Decimal(stated.value) + 1))
    before, _ = [e for e in entries[: stated.first] if is_reading_of(e, "spinning")][-1]
    part = sorted({*needed, *changed[before:]})
    assert ("aggregate", index) in {
        (f.code, f.entry) for f in recompute(part, Aggregator, partial=True).findings
    }


def test_many_processes_find_what_one_finds(entries, monkeypatch):
    monkeypatch.setattr(audit, "PARALLEL_FROM", 50)
    monkeypatch.setattr(audit, "_CHUNK", 40)
    index, _ = first(entries, Reading, "carding", after=120)
    changed = with_record(entries, index, results={}, flags=("X",))
    one, many = recompute(changed, Aggregator), recompute(changed, Aggregator, jobs=2)
    assert sorted(map(str, many.findings)) == sorted(map(str, one.findings)) != []
    assert many.to_json() == one.to_json()
    assert recompute(entries, Aggregator, jobs=2).findings == ()
