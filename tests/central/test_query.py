"""Questions are answered from verified logs: exact text with unit and uncertainty, and sums with what they share."""

import asyncio
import csv
import hashlib
import io
import math
import threading
from decimal import Decimal

import httpx
import msgspec
import pyarrow.parquet
import pytest

import central.store
from central.api import application
from central.collect import Collector
from central.openapi import document
from central.postgres import PostgresStore
from central.query import INTERVAL, READING, Questions
from central.rows import Total
from central.store import Store
from central.totals import FromLog, NotAddable, add_up
from evidence import record
from gateway.cli.totals import run_totals
from tests.central.recorded import ORIGIN, SIGNER, Recorder, S, site
from tests.central.serving import serving
from tests.evidence.logs import START_US, Writer, files
from tests.rigs import engines

ENERGY = "energy.active.import"
OTHER = Writer("platform.example/gw/other").grow(200)  # its configuration is not one that says units


async def recorded(directory):
    """Half an hour of five meters, one of them silent for a while."""
    recorder = Recorder(site(directory / "site"), directory / "log", aggregate_us=300 * S)
    for n in range(31):
        await recorder.minute(lost=("carding",) if n in (4, 5, 17) else ())
    recorder.commit()
    entries = [data for _, data in recorder.entries()]
    recorder.store.close()
    return entries


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "site").mkdir()
    return asyncio.run(recorded(directory))


@pytest.fixture(scope="module")
def records(entries):
    return [(i, record.decode(data)) for i, data in enumerate(entries)]


@pytest.fixture(scope="module")
def opened(entries, tmp_path_factory):
    """The log as both stores hold it after it was collected and verified."""
    with engines.postgres() as server, PostgresStore(server.database()) as postgres:  # noqa: SIM117
        with Store(tmp_path_factory.mktemp("store")) as sqlite:
            for contents, key in ((files(entries, ORIGIN, SIGNER), SIGNER), (OTHER.files(), OTHER.signer)):
                with serving(contents) as served:
                    for store in (sqlite, postgres):
                        collector = Collector(store, served.url, key.verifier, lambda: START_US)
                        outcome = asyncio.run(collect(collector))
                        assert outcome.ok, outcome
            yield {"sqlite": Questions(sqlite, FromLog(sqlite)), "postgres": Questions(postgres, postgres)}


async def collect(collector):
    outcome = await collector.collect_once()
    await collector.close()
    return outcome


@pytest.fixture(params=["sqlite", "postgres"])
def questions(request, opened):
    return opened[request.param]


@pytest.fixture
async def ask(questions):
    """GET a path; the answer's status and JSON."""
    transport = httpx.ASGITransport(application(questions))
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:

        async def get(path, **asked):
            answer = await client.get(path, params=asked)
            return answer.status_code, answer.json()

        get.client = client
        yield get


def of(name):
    return f"{ORIGIN}::{name}"


# ── readings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_readings_are_the_records_text_with_unit_and_uncertainty(ask, records):
    status, answer = await ask("/v1/readings", instrument=of("spinning"), measurand=ENERGY)
    assert status == 200
    made = [(i, r) for i, r in records if isinstance(r, record.Reading) and r.instrument == "spinning"]
    assert len(made) == 31
    assert [(row["entry"], row["value"], row["u"], row["unit"]) for row in answer["rows"]] == [
        (i, *r.results[ENERGY], "kWh") for i, r in made
    ]
    assert answer["next"] is None
    assert answer["rows"][0]["utc_us"] == made[0][1].utc_us
    assert answer["rows"][0]["utc"].endswith("Z")


async def test_what_is_missing_is_a_row_with_its_reason_unless_other_quality_is_asked_for(ask, records):
    asked = {"instrument": f"{OTHER.origin}::M1", "limit": 50_000}
    everything = (await ask("/v1/readings", **asked))[1]["rows"]
    lacking = [row for row in everything if row["value"] is None]
    assert lacking
    assert {(row["measurand"], row["missing"]) for row in lacking} == {("frequency", "timeout")}
    assert {row["unit"] for row in everything} == {None}, "a unit that the log does not say is not guessed"
    results = (await ask("/v1/readings", **asked, quality="result"))[1]["rows"]
    assert results == [row for row in everything if row["value"] is not None]


async def test_clean_readings_have_no_flag_and_a_clock_that_was_set(ask, questions):
    for instrument in (of("carding"), f"{OTHER.origin}::M1"):
        asked = {"instrument": instrument, "limit": 50_000}
        results = (await ask("/v1/readings", **asked, quality="result"))[1]["rows"]
        clean = (await ask("/v1/readings", **asked, quality="clean"))[1]["rows"]
        assert clean == [row for row in results if not row["flags"] and row["clock"] >= 2]


async def test_how_many_polls_were_missed_is_told_by_instrument(ask):
    told = {row["instrument"]: row for row in (await ask("/v1/instruments", origin=ORIGIN))[1]}
    assert (told["carding"]["polls"], told["carding"]["received"], told["carding"]["missed"]) == (31, 28, 3)
    assert told["workshop"]["missed"] == 0


async def test_pages_put_together_are_the_whole(ask):
    whole = (await ask("/v1/readings", instrument=of("carding"), limit=50_000))[1]["rows"]
    parts, after = [], {}
    while True:
        answer = (await ask("/v1/readings", instrument=of("carding"), limit=7, **after))[1]
        parts += answer["rows"]
        if answer["next"] is None:
            break
        after = {"after": answer["next"]}
    assert parts == whole
    assert len(whole) > 31 * 7


async def test_a_period_begins_with_its_first_instant_and_ends_before_its_last(ask):
    rows = (await ask("/v1/readings", instrument=of("workshop"), measurand=ENERGY))[1]["rows"]
    for begin, end in ((rows[3]["utc"], rows[9]["utc"]), (rows[3]["utc_us"], rows[9]["utc_us"])):
        asked = {"instrument": of("workshop"), "measurand": ENERGY, "from": begin, "to": end}
        assert (await ask("/v1/readings", **asked))[1]["rows"] == rows[3:9]


async def test_csv_and_parquet_hold_the_same_rows(ask):
    asked = {"instrument": of("carding")}
    rows = (await ask("/v1/readings", **asked, limit=50_000))[1]["rows"]
    answer = await ask.client.get("/v1/readings", params={**asked, "format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    texts = [
        {k: " ".join(v) if k == "flags" else "" if v is None else str(v) for k, v in row.items()}
        for row in rows
    ]
    assert table == texts
    answer = await ask.client.get("/v1/readings", params={**asked, "format": "parquet"})
    columns = pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [{name: row[name] for name in READING} for row in columns] == rows
    assert all(row["value"] is None or row["value_float"] == float(row["value"]) for row in columns)


async def test_intervals_are_exported_too(ask):
    asked = {"instrument": of("*"), "measurand": ENERGY}
    rows = (await ask("/v1/intervals", **asked))[1]["rows"]
    assert len(rows) >= 15
    answer = await ask.client.get("/v1/intervals", params={**asked, "format": "parquet"})
    columns = pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [{name: row[name] for name in INTERVAL} for row in columns] == rows
    answer = await ask.client.get("/v1/intervals", params={**asked, "format": "csv"})
    assert len(answer.text.splitlines()) == len(rows) + 1


async def test_what_a_spreadsheet_would_run_is_quoted():
    from central.export import csv_text

    row = dict.fromkeys(READING) | {"instrument": "=1+1", "value": "-3.5", "flags": []}
    (line,) = list(csv.reader(io.StringIO(b"".join(csv_text(READING, [row])).decode("utf-8-sig"))))[1:]
    assert line[READING.index("instrument")] == "'=1+1"
    assert line[READING.index("value")] == "-3.5"


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_total_is_what_the_intervals_and_their_common_sources_say(ask, records):
    stated = run_totals(r for _, r in records if isinstance(r, record.Aggregate) and r.measurand == ENERGY)
    assert len(stated) >= 3
    for each in stated:
        status, told = await ask("/v1/total", instrument=of(each.instrument), measurand=ENERGY)
        assert status == 200
        assert float(told["value"]) == pytest.approx(each.value, rel=1e-12)
        assert float(told["u"]) == pytest.approx(each.u, rel=1e-4)
        assert (told["unit"], told["intervals"]) == (each.unit, each.intervals)
        named = sum(float(c) ** 2 for c in told["contributions"].values()) + float(told["independent"])
        assert math.sqrt(named) == pytest.approx(float(told["u"]), rel=1e-4)


async def test_a_sum_over_instruments_keeps_what_they_share(ask):
    names = ["spinning", "anode-shop"]
    alone = [(await ask("/v1/total", instrument=of(name), measurand=ENERGY))[1] for name in names]
    both = (await ask("/v1/total", instrument=[of(n) for n in names], measurand=ENERGY))[1]
    assert Decimal(both["value"]) == sum(Decimal(each["value"]) for each in alone)
    shared = set(alone[0]["contributions"]) & set(alone[1]["contributions"])
    assert any(name.startswith("ref_standard") for name in shared), (
        "both were calibrated against one standard"
    )
    variance = sum(float(each["u"]) ** 2 for each in alone)
    variance += 2 * sum(
        float(alone[0]["contributions"][name]) * float(alone[1]["contributions"][name]) for name in shared
    )
    assert float(both["u"]) == pytest.approx(math.sqrt(variance), rel=1e-4)
    assert float(both["u"]) > math.hypot(*(float(each["u"]) for each in alone))
    twice = (await ask("/v1/total", instrument=[of(names[0])] * 2, measurand=ENERGY))[1]
    assert twice == alone[0], "an instrument named twice is counted once"


def total(origin, entry, begin, end, value="100", name="M1", **change):
    made = Total(origin, entry, (name,), ENERGY, "kWh", begin, end, value, "1", 5, 0, "m", (), None, None)
    from dataclasses import replace

    return replace(made, **change)


class Known:
    """Contributions as written down here: (origin, entry) -> (by source, independent variance)."""

    def __init__(self, **by_entry):
        self.by_entry = {int(key[1:]): value for key, value in by_entry.items()}

    def parts(self, origin, entries):
        return {entry: self.by_entry[entry] for entry in entries if entry in self.by_entry}


def test_two_hundred_meters_of_one_standard_are_uncertain_together():
    shared = {"ref_standard:a": "0.025"}
    known = Known(**{f"e{n}": ({**shared, f"cal_point:{n}": "0.05"}, "0.0001") for n in range(200)})
    found = add_up([total("o", n, 0, 10, name=f"M{n}") for n in range(200)], known)
    assert found.value == "20000"
    assert float(found.u) == pytest.approx(
        math.sqrt((200 * 0.025) ** 2 + 200 * 0.05**2 + 200 * 0.0001), rel=1e-4
    )


def test_the_reading_between_two_intervals_cancels_within_a_log_and_never_between_logs():
    known = Known(e1=({"resolution:x": "0.3", "sampling:y": "0.1"}, "0"), e2=({"resolution:x": "-0.3"}, "0"))
    one_log = add_up([total("a", 1, 0, 10), total("a", 2, 10, 20)], known)
    assert float(one_log.u) == pytest.approx(0.1)
    two_logs = add_up([total("a", 1, 0, 10), total("b", 2, 10, 20)], known)
    assert float(two_logs.u) == pytest.approx(math.sqrt(0.3**2 + 0.1**2 + 0.3**2), rel=1e-4)


def test_what_would_be_counted_twice_or_is_of_two_kinds_is_refused():
    known = Known(e1=({}, "1"), e2=({}, "1"), e3=({}, "1"))
    with pytest.raises(NotAddable, match="overlap: entries 1 and 2"):
        add_up([total("a", 1, 0, 10), total("a", 2, 9, 20)], known)
    with pytest.raises(NotAddable, match="units"):
        add_up([total("a", 1, 0, 10), total("a", 2, 10, 20, unit="MWh")], known)
    with pytest.raises(NotAddable, match="no intervals"):
        add_up([], known)
    with pytest.raises(NotAddable, match="not stored with its contributions"):
        add_up([total("a", 9, 0, 10)], known)
    replaced = total("a", 1, 0, 10, superseded_by=2)
    assert add_up([replaced, total("a", 2, 0, 10, "90")], known).value == "90"


def test_what_no_interval_covers_is_said():
    known = Known(e1=({}, "1"), e2=({}, "1"), e3=({}, "1"))
    parts = [total("a", 1, 10, 20), total("a", 2, 30, 40), total("a", 3, 40, 50, None, u=None)]
    found = add_up(parts, known, 0, 60)
    assert found.uncovered == {("a", "M1"): 40}
    assert not found.complete
    assert (found.intervals, found.without_value) == (2, 1)
    assert add_up(parts[:1], known).complete
    nothing = add_up(parts[2:], known)
    assert (nothing.value, nothing.u) == (None, None)


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "asked", "why"),
    [
        ("/v1/readings", {}, "say instrument"),
        ("/v1/readings", {"instrument": "workshop"}, "ORIGIN::NAME"),
        ("/v1/readings", {"instrument": "nobody::M1"}, "no gateway nobody"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::M99"}, "no instrument M99"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::M99", "format": "csv"}, "no instrument M99"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::workshop", "form": "csv"}, "no parameter form"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::workshop", "from": "2026-11-24"}, "no instant"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::workshop", "limit": "0"}, "limit"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::workshop", "limit": "9" * 5000}, "limit"),
        ("/v1/readings", {"instrument": [f"{ORIGIN}::workshop", f"{ORIGIN}::carding"]}, "of one instrument"),
        (
            "/v1/readings",
            {"instrument": f"{ORIGIN}::workshop", "from": ["1", "2"]},
            "from is given more than once",
        ),
        ("/v1/total", {"instrument": f"{ORIGIN}::workshop", "measurand": "a\0"}, "measurand has a NUL"),
        ("/v1/intervals", {"instrument": f"{ORIGIN}::a\0", "measurand": ENERGY}, "instrument has a NUL"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::workshop", "after": "x"}, "after"),
        ("/v1/readings", {"instrument": f"{ORIGIN}::workshop", "quality": "good"}, "quality is one of"),
        ("/v1/total", {"instrument": f"{ORIGIN}::workshop", "measurand": "voltage.l1"}, "no intervals"),
        (
            "/v1/total",
            {"instrument": f"{ORIGIN}::workshop", "measurand": ENERGY, "from": "5", "to": "4"},
            "ends before",
        ),
        ("/v1/instruments", {"origin": "nobody"}, "no gateway"),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong(ask, path, asked, why):
    status, answer = await ask(path, **asked)
    assert status == 400
    assert why in answer["error"]


async def test_without_a_token_nothing_is_told(opened):
    digests = {hashlib.sha256(b"open sesame").hexdigest()}
    transport = httpx.ASGITransport(application(opened["sqlite"], digests))
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        for headers in ({}, {"authorization": "Bearer sesame"}, {"authorization": "Basic open sesame"}):
            assert (await client.get("/v1/gateways", headers=headers)).status_code == 401
        admitted = await client.get("/v1/gateways", headers={"authorization": "Bearer open sesame"})
    assert [g["origin"] for g in admitted.json()] == [OTHER.origin, ORIGIN]


async def test_the_description_describes_what_is_answered(ask, questions):
    described = (await ask("/openapi.json"))[1]
    assert described == msgspec.json.decode(msgspec.json.encode(document(described["info"]["version"])))
    assert set(described["paths"]) == {route.path for route in application(questions).routes}
    one = {"instrument": of("carding")}
    asked = {
        "Gateway": ("/v1/gateways", {}),
        "Instrument": ("/v1/instruments", {"origin": ORIGIN}),
        "Reading": ("/v1/readings", one),
        "Interval": ("/v1/intervals", {**one, "measurand": ENERGY}),
        "Total": ("/v1/total", {**one, "measurand": ENERGY}),
    }
    kinds = {
        str: "string",
        int: "integer",
        list: "array",
        dict: "object",
        bool: "boolean",
        type(None): "null",
    }
    for name, (path, question) in asked.items():
        status, answer = await ask(path, **question)
        assert status == 200
        rows = answer.get("rows", [answer]) if isinstance(answer, dict) else answer
        assert rows
        properties = described["components"]["schemas"][name]["properties"]
        for row in rows:
            assert row.keys() == properties.keys(), name
            for key, value in row.items():
                said = properties[key]["type"]
                assert kinds[type(value)] in ([said] if isinstance(said, str) else said), (name, key, value)
        known = {p["name"] for p in described["paths"][path]["get"].get("parameters", [])}
        assert set(question) <= known


# ── SQLite: one connection that a collector commits through meanwhile ────────────────────────────────────────────────


def every_row(store):
    return (
        list(store.values(ORIGIN, "spinning")),
        list(store.totals(ORIGIN)),
        list(store.totals(ORIGIN, ENERGY)),
    )


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
def test_rows_are_the_same_in_pieces(opened, monkeypatch, at_once):
    store = opened["sqlite"].store
    values, totals, energies = every_row(store)
    assert len(values) > 100
    assert len(totals) > len(energies) > 10
    monkeypatch.setattr(central.store, "_AT_ONCE", at_once)
    assert every_row(store) == (values, totals, energies)
    begin, end = values[2].utc_us, values[-1].utc_us
    assert list(store.values(ORIGIN, "spinning", None, begin, end)) == [
        v for v in values if begin <= v.utc_us < end
    ]
    begin, end = energies[2].from_us, energies[-2].to_us
    assert list(store.totals(ORIGIN, ENERGY, None, begin, end)) == [
        t for t in energies if t.from_us >= begin and t.to_us <= end
    ]


def test_an_answer_that_is_read_slowly_keeps_no_commit_waiting(opened, monkeypatch):
    monkeypatch.setattr(central.store, "_AT_ONCE", 5)
    store = opened["sqlite"].store
    reading = store.values(ORIGIN, "spinning")
    first = next(reading)
    commits = threading.Thread(target=store.release, args=(ORIGIN,))
    commits.start()
    commits.join(30)
    assert not commits.is_alive()
    assert [first, *reading] == list(store.values(ORIGIN, "spinning"))
