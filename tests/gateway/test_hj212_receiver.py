"""HJ 212 received: who is heard, what is answered and when, and what ends up in the log."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from drivers import hj212, profile
from drivers.codec import Counts, Instant, Missing
from evidence.findings import Severity
from evidence.log import parse_path
from evidence.record import Event, Gap, Reading, decode
from evidence.verify import verify_log
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.config import SiteFile
from gateway.hj212_receiver import Hj212Receiver, Measured, Reply, Session, Station, Target, delivery
from gateway.planning import plan_of
from gateway.prepare import prepare
from gateway.site_keys import log_key
from gateway.site_profile import site_profile
from gateway.store import LogStore
from gateway.toml_source import ConfigError
from sim.hj212_logger import Hj212Logger, LoggerConnection
from tests.drivers.test_hj212_sm4 import KEY, SEALED
from tests.drivers.test_hj212_sm4 import PLAIN as SM4_PLAIN

S = 1_000_000
AT = 1_782_000_000 * S
MN, PW = "010000A8900016F000169DC0", "123456"
CO2 = {"a05001": {"Rtd": "196429.0", "Flag": "N"}, "a01011": {"Rtd": "12.3", "Flag": "N"}}

SITE = """
[site]
name = "cement works"
origin = "platform.example/gw/cems"
data = "data"

[log]
commit = "20ms"
checkpoint = "60ms"

[serve]
listen = "127.0.0.1:0"

[calibration]
certificates = ["cems.toml"]

[[bus]]
name = "loggers"
protocol = "hj212"
port = "tcp-listen://127.0.0.1:0"
password = "123456"
late = "1h"

[[bus.instrument]]
id = "stack-1"
address = "010000A8900016F000169DC0"
profile = "hj212-cems-2017"
period = "1s"

[bus.instrument.factor.a05001]
unit = "mg/m3"
basis = "wet"

[[bus.instrument]]
id = "stack-1-hours"
address = "010000A8900016F000169DC0"
data = "2061"
profile = "hj212-cems-2017"
period = "1h"
"""
CERTIFICATES = """
[[instrument]]
id = "stack-1"
kind = "analyser"
mpe = "2"
"""


def today():
    return datetime.fromtimestamp(SystemClock().now().utc_us / 1e6, UTC)


def site(tmp_path, text=SITE):
    (tmp_path / "cems.toml").write_text(CERTIFICATES, "utf-8")
    path = tmp_path / "site.toml"
    path.write_text(text, "utf-8")
    return SiteFile(path)


@pytest.fixture
def target(tmp_path):
    bus = site(tmp_path).site.buses[0]
    read = site_profile(bus, bus.instruments[0], profile.load("hj212-cems-2017"))
    return Target("stack-1", read, profile.plan(read)[0])


@pytest.fixture
def counts():
    return Counts()


@pytest.fixture
def session(target, counts):
    station = Station(MN, PW, dict.fromkeys(("2011", "2051", "2061", "2031"), target))
    return Session({MN: station}, counts.add)


def logger(**more):
    return Hj212Logger(**{"mn": MN, "password": PW, **more})


def fields(data: bytes) -> dict[str, str]:
    (frame,) = hj212.Decoder().feed(data)
    assert isinstance(frame, hj212.Frame)
    return dict(frame.header)


# ---- a connection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("edition", "answer"), [(2005, None), (2017, "4"), (2025, "8")])
@pytest.mark.parametrize("command", ["2011", "2051", "2061", "2031"])
def test_data_of_every_edition_is_taken_and_acknowledged_where_it_asks(session, edition, answer, command):
    (packet,) = logger(edition=edition, lower=True).message(command, AT, CO2)
    (found,) = session.feed(packet)
    assert isinstance(found, Measured)
    assert (found.command, found.data_time_us, found.packets) == (command, AT, (packet,))
    if answer is None:
        assert found.reply == b"", "2005 has no flag that could ask"
    else:
        told = fields(found.reply)
        assert (told["CN"], told["Flag"], told["MN"], told["PW"]) == ("9014", answer, MN, PW)
        assert told["QN"] == fields(packet)["QN"]


def test_who_asks_for_no_answer_gets_none(session):
    (packet,) = logger().message("2011", AT, CO2, wanted=False)
    (found,) = session.feed(packet)
    assert found.reply == b""


@pytest.mark.parametrize(
    ("made", "address", "cause"),
    [
        (logger(mn="010000A8900016F000169DC1"), "", "unknown_station"),
        (logger(password="123457"), MN, "wrong_password"),
        (logger(password=""), MN, "wrong_password"),
    ],
)
def test_a_stranger_is_counted_and_not_answered(session, counts, made, address, cause):
    assert session.feed(made.message("2011", AT, CO2)[0]) == []
    assert counts.by_address == {address: {cause: 1}}


def test_a_damaged_packet_is_no_packet(session, counts):
    (packet,) = logger().message("2011", AT, CO2)
    assert session.feed(packet.replace(b"12.3", b"12.4")) == []
    assert counts.by_address == {"": {"checksum": 1}}
    assert len(session.feed(packet)) == 1, "and the next one is heard"


def test_packets_may_come_in_any_pieces(session):
    stream = b"".join(logger().message("2011", AT + n * S, CO2)[0] for n in range(3))
    found = [outcome for n in range(len(stream)) for outcome in session.feed(stream[n : n + 1])]
    assert [outcome.data_time_us for outcome in found] == [AT, AT + S, AT + 2 * S]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 0, 1, 2)])
def test_the_segments_of_a_message_are_one_message(session, target, order):
    more = {**CO2, "a01012": {"Rtd": "140.5", "Flag": "N"}}
    packets = logger().message("2011", AT, more, parts=3)
    found = [outcome for n in order for outcome in session.feed(packets[n])]
    *parts, whole = found
    assert [fields(part.data)["CN"] for part in parts] == ["9014"] * (len(order) - 1)
    assert isinstance(whole, Measured)
    assert whole.packets == tuple(packets)
    scan = delivery(whole, Instant(AT, 0)).scan
    shown = {i.measurand: i.value for i in scan.indications if i.value is not None}
    assert shown == {
        "concentration.co2": Decimal("196429.0"),
        "velocity.gas": Decimal("12.3"),
        "temperature.gas": Decimal("140.5"),
    }


def test_segments_of_different_messages_are_not_joined(session, counts):
    first = logger().message("2011", AT, CO2, parts=2)
    second = logger().message("2011", AT + S, CO2, parts=2)
    assert [type(o) for o in session.feed(first[0] + second[1])] == [Reply, Reply]
    whole = session.feed(second[0] + first[1])
    assert [o.data_time_us for o in whole] == [AT + S, AT]


def test_unfinished_messages_do_not_pile_up(session, counts):
    for n in range(100):
        session.feed(logger().message("2011", AT + n * S, CO2, parts=2)[0])
    assert len(session._parts) <= 17
    assert counts.by_address[MN]["segment"] >= 80


def test_a_heartbeat_is_answered_and_what_is_not_wanted_is_acknowledged(session, counts):
    (found,) = session.feed(logger(edition=2025).heartbeat(AT))
    assert (fields(found.data)["CN"], fields(found.data)["Flag"]) == ("9013", "8")
    (found,) = session.feed(logger().message("2021", AT, {"SB1": {"RS": "1"}})[0])
    assert fields(found.data)["CN"] == "9014"
    assert counts.by_address == {MN: {"not_wanted": 1}}


def test_data_without_a_possible_time_stands_for_when_it_came(session, counts):
    packet = hj212.build(
        {"QN": "1", "ST": "31", "CN": "2011", "PW": PW, "MN": MN, "Flag": "5"}, [{"a01011-Rtd": "1.5"}]
    )
    (found,) = session.feed(packet)
    assert delivery(found, Instant(AT, 0)).stamp_us is None
    assert counts.by_address == {MN: {"no_data_time": 1}}


def test_a_record_keeps_every_data_flag(session):
    flagged = {**CO2, "a05001": {"Rtd": "1.0", "Flag": "C"}, "a01012": {"Rtd": "140.5"}}
    (found,) = session.feed(logger().message("2011", AT, flagged)[0])
    made = delivery(found, Instant(AT, 0))
    assert {"data_flag:a05001=C", "data_flag:a01011=N", "data_flag:a01012=?"} <= set(made.flags)
    co2 = next(i for i in made.scan.indications if i.measurand == "concentration.co2")
    assert (co2.value, co2.missing) == (None, Missing.FLAGGED)


def test_an_encrypted_packet_is_kept_as_the_plain_one_that_it_carries_and_answered_plain(target, counts):
    station = Station(MN, PW, {"2011": target}, KEY)
    (found,) = Session({MN: station}, counts.add).feed(SEALED)
    assert isinstance(found, Measured)
    assert found.packets == (SM4_PLAIN,)
    assert fields(found.reply)["CN"] == "9014"
    made = delivery(found, Instant(AT, 0))
    assert {"sm4", "data_flag:a05001=N"} <= set(made.flags)
    co2 = next(i for i in made.scan.indications if i.measurand == "concentration.co2")
    assert co2.value == Decimal("196429.0")
    assert made.scan.exchanges[0].answer == SM4_PLAIN, "whoever audits it needs no key"
    assert KEY.hex() not in repr(station)


@pytest.mark.parametrize(("key", "cause"), [(None, "no_key"), (bytes(16), "not_opened")])
def test_one_that_cannot_be_opened_is_counted_for_its_logger_and_not_answered(target, counts, key, cause):
    station = Station(MN, PW, {"2011": target}, key)
    assert Session({MN: station}, counts.add).feed(SEALED) == []
    assert counts.by_address == {MN: {cause: 1}}


# ---- the whole way ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(tmp_path, file):
    prepared = prepare(file, today)
    key = log_key(file)
    agent = Agent(replace(plan_of(prepared, key), ballast=0), SystemClock())
    task = asyncio.get_running_loop().create_task(agent.run())
    try:
        async with asyncio.timeout(20):
            while agent.address is None or agent.pushed[0].source.bound is None:
                assert not task.done(), task.result()
                await asyncio.sleep(0.005)
        yield agent, agent.pushed[0].source.bound
    finally:
        agent.stop()
        await asyncio.wait((task,))
    task.result()


def records(tmp_path, file):
    store = LogStore(tmp_path / "data", file.site.site.origin, ballast=0)
    found = [decode(data) for _, data in store.entries(0)]

    def read(path):
        if path == "checkpoint":
            return store.published.note
        tile = parse_path(path)
        if tile.level is None:
            body = store.bundle(tile.index, tile.width)
            return None if body is None else body.plain()
        return store.tile(tile.level, tile.index, tile.width)

    report = verify_log(read, log_key(file).signer.verifier)
    store.close()
    assert [f for f in report.findings if f.severity is not Severity.INFO] == []
    return found


async def test_what_a_logger_pushes_is_in_the_log_before_it_is_acknowledged(tmp_path):
    file = site(tmp_path)
    made = logger()
    async with running(tmp_path, file) as (agent, where):
        first = (SystemClock().now().utc_us // S + 2) * S
        async with LoggerConnection(*where) as line:
            for n in (0, 1, 2, 4):  # the fourth second is never sent
                assert await line.push(made.message("2011", first + n * S, CO2, parts=1 + n % 2))
                newest = agent.status().instruments[0]
                assert newest.number >= n + 1, "it was durable, and so shown, before the acknowledgement"
            assert await line.push(made.message("2011", first, CO2, again=True)), (
                "a repetition is taken for one"
            )
            assert await line.push(made.message("2011", first + 3 * S, CO2, again=True)), (
                "so is what is too late"
            )
        async with LoggerConnection(*where, answer_s=0.1) as line:
            stranger = logger(password="000000")
            assert not await line.push(stranger.message("2011", first + 9 * S, CO2))
        status = agent.status()
    found = records(tmp_path, file)
    readings = [r for r in found if isinstance(r, Reading) and r.instrument == "stack-1"]
    assert [r.due_us for r in readings] == [first + n * S for n in (0, 1, 2, 4)]
    assert all(0 < r.utc_us != r.due_us for r in readings), (
        "DataTime and the time of receipt stand side by side"
    )
    numbers = [r.number for r in readings]
    assert numbers == [*range(numbers[0], numbers[0] + 3), numbers[0] + 4]
    co2, u = readings[0].results["concentration.co2"]
    assert (co2, float(u)) == ("196429", pytest.approx(196429 * 0.02 / 3**0.5, rel=1e-5))
    assert "data_flag:a05001=N" in readings[0].flags
    assert b"CN=2011" in readings[1].raw[0].answer
    assert len(readings[1].raw) == 2, "both packets of a message in two parts are kept"
    gaps = [g for g in found if isinstance(g, Gap) and g.instrument == "stack-1" and g.reason == "timeout"]
    assert any(g.first <= numbers[0] + 3 <= g.last for g in gaps)
    (late,) = [r for r in found if isinstance(r, Event) and r.kind == "late_data"]
    assert late.detail["stamp_us"] == str(first + 3 * S)
    assert b"a05001-Rtd=196429.0" in base64.b64decode(late.detail["raw_0"])
    counted = next(bus.counts for bus in status.buses if bus.name == "loggers")
    assert counted["stack-1"] == {"repeated": 1, "late_data": 1}
    assert counted[MN] == {"wrong_password": 4}


async def test_silence_becomes_a_gap(tmp_path):
    file = site(tmp_path, SITE.replace('late = "1h"', 'late = "50ms"'))
    async with running(tmp_path, file) as (agent, _):
        async with asyncio.timeout(20):
            while agent.status().instruments[0].missed < 2:  # noqa: ASYNC110 - time itself is waited for
                await asyncio.sleep(0.01)
    gaps = [r for r in records(tmp_path, file) if isinstance(r, Gap) and r.instrument == "stack-1"]
    assert {g.reason for g in gaps} == {"timeout"}
    assert sum(g.last - g.first + 1 for g in gaps) >= 2


# ---- the site file ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('unit = "mg/m3"\n', "", "concentration.co2 (a05001) has no unit"),
        ('basis = "wet"\n', "", "concentration.co2 (a05001) has no basis"),
        ('basis = "wet"', 'basis = "damp"', "'wet'"),
        ('unit = "mg/m3"', 'unit = "kWh"', "concentration.co2 in 'kWh'"),
        ('password = "123456"\n', "", "password is missing"),
        ("tcp-listen://127.0.0.1:0", "tcp://127.0.0.1:0", "no port of hj212"),
        ('data = "2061"\n', "", "already belongs to"),
        ("factor.a05001]", "factor.a99999]", "no factor a99999"),
        ('late = "1h"', 'utc_offset = "8h"', "no offset from UTC"),
    ],
)
def test_what_a_site_file_lacks_is_told(tmp_path, old, new, what):
    assert old in SITE
    with pytest.raises(ConfigError) as caught:
        prepare(site(tmp_path, SITE.replace(old, new, 1)), today)
    assert what in str(caught.value)


def test_the_key_of_a_logger_stands_in_a_file_of_its_own(tmp_path):
    (tmp_path / "stack.key").write_text(KEY.hex() + "\n", "ascii")
    text = SITE.replace('period = "1s"', 'period = "1s"\nsm4_key_file = "stack.key"')
    prepared = prepare(site(tmp_path, text), today)
    assert prepared.pushes[0].keys == {MN: KEY}
    assert KEY.hex() not in repr(prepared)


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "No such file"), (b"1234", "a key of SM4 has 16 octets"), (b"\xff" * 16, "not text")],
)
def test_a_key_file_that_is_none_is_told_at_its_line(tmp_path, content, what):
    if content is not None:
        (tmp_path / "stack.key").write_bytes(content)
    text = SITE.replace('period = "1s"', 'period = "1s"\nsm4_key_file = "stack.key"')
    with pytest.raises(ConfigError) as caught:
        prepare(site(tmp_path, text), today)
    (problem,) = caught.value.problems
    assert (problem.code, what in problem.message) == ("C145", True)


def test_factors_whose_unit_nobody_states_are_not_read_and_that_is_told(tmp_path):
    prepared = prepare(site(tmp_path), today)
    hours = prepared.pushes[0].meters[1]
    assert "concentration.co2" not in {point.measurand for point in hours.profile.points}
    assert any("concentration.co2 (a05001)" in str(w.message) for w in prepared.warnings)


async def test_a_logger_that_reads_nothing_of_what_it_is_sent_holds_no_end_up(monkeypatch):
    """Its connection cannot be closed in order: what was sent to it never goes out."""
    monkeypatch.setattr(Session, "feed", lambda *_: [Reply(bytes(50_000_000))])
    receiver = Hj212Receiver("127.0.0.1", 0, {}, SystemClock().now)
    task = asyncio.get_running_loop().create_task(receiver.run(None))
    while receiver.bound is None:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection(*receiver.bound, limit=1)
    writer.write(b"##")
    await reader.readexactly(1)  # it is being sent to
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    writer.close()
