"""A meter that was replaced is noticed, and no certificate of the old one corrects the new one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from calibration.certificate import Instrument, InstrumentKind
from calibration.state import CalibrationState, compile_state
from drivers import mbus
from drivers.bus import Meter
from drivers.codec import Answer, Exchange, Indication, Instant, Missing
from drivers.identity import octets_told, told_in
from drivers.line import Timing
from drivers.link import link
from drivers.profile import encode_answer, load, plan
from drivers.protocols import codec
from evidence.record import Event, Reading, Record, decode
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.identity import DAILY_US, Identities, Verdict, fell, same, uncorrected
from gateway.plan import BusPlan, InstrumentPlan, Plan
from gateway.store import LogStore
from sim.faults import Fault, FaultKind, Scenario
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from tests.rigs.agent_process import ORIGIN, SIGNER

PROFILE = load("dlt645-2007-three-phase")
ADDRESS, FIRST, SECOND = "202600000011", "110000000011", "220000000022"


def state() -> CalibrationState:
    instrument = Instrument(id="m", kind=InstrumentKind.OTHER, mpe=Decimal("0.5"))
    return compile_state(instrument, (), at=date(2026, 11, 24))


def site(*faults: Fault) -> SimSite:
    meter = SimMeter(id="m", address=ADDRESS, profile=PROFILE.name, number=FIRST)
    bus = SimBus("line", "dlt645-2007", "tcp://127.0.0.1:0", (meter,), baud=115200, reply_ms=1)
    return SimSite(SimSiteSpec(1, (bus,), Scenario(1, faults)))


async def run(
    directory: Path,
    running: SimSite,
    until: Callable[[Agent], bool],
    serial: str = "",
    asked: Meter | None = None,
    during: Callable[[Agent], Awaitable[None]] | None = None,
) -> tuple[list[Record], list[str]]:
    """The agent on a simulated line until something has come about; its records, and its alarms at the end."""
    asked = asked or Meter("m", ADDRESS, PROFILE, timeout_s=0.5, retries=0)
    wanted = {"voltage.l1", "energy.active.import", "energy.heat", "volume.water"}
    queries = plan(asked.profile, [p.measurand for p in asked.profile.points if p.measurand in wanted])
    instrument = InstrumentPlan(asked, queries, 200_000, state(), serial=serial)
    port = running.ports["line"]
    (spec,) = running.spec.buses
    bus = BusPlan("line", codec(spec.protocol), link(port), (instrument,), Timing())
    made = Plan(
        origin=ORIGIN, data=directory, signer=SIGNER, software="suyuan/test", configuration=b"{}", buses=(bus,),
        commit_us=50_000, checkpoint_us=200_000, ballast=0,
    )  # fmt: skip
    agent = Agent(made, SystemClock())
    task = asyncio.get_running_loop().create_task(agent.run())
    await come(lambda: agent.begun)
    if during is not None:
        await during(agent)
    await come(lambda: until(agent))
    alarms = list(agent.status().alarms)
    agent.stop()
    await task
    store = LogStore(directory, ORIGIN, ballast=0)
    found = [decode(data) for _, data in store.entries(0)]
    store.close()
    return found, alarms


async def come(about: Callable[[], object]) -> None:
    """Wait for a state."""
    while not about():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.02)


def alarmed(agent: Agent) -> bool:
    return "identity_mismatch" in agent.status().alarms


def shown(agent: Agent) -> float:
    """The energy register as the agent shows it; 0 before it does."""
    measurands = agent.status().instruments[0].measurands
    return next((float(m.indication) for m in measurands if m.indication and m.unit == "kWh"), 0.0)


def events(found: list[Record], kind: str) -> list[Event]:
    return [record for record in found if isinstance(record, Event) and record.kind == kind]


@pytest.mark.timeout(60)
async def test_a_meter_put_in_the_place_of_another_is_read_but_not_corrected(tmp_path: Path) -> None:
    """It was without power for half a second, as whoever is replaced; the first number was seen, not stated."""
    swap = Fault(FaultKind.SWAP, from_s=6, number=SECOND, start_kwh=Decimal(7))
    running = site(Fault(FaultKind.SILENT, from_s=5, to_s=8), swap)
    await running.start()
    try:
        found, alarms = await run(tmp_path, running, lambda agent: alarmed(agent) and shown(agent) < 100)
    finally:
        await running.stop()
    (seen,) = events(found, "identity_seen")
    assert seen.detail == {"instrument": "m", "number": FIRST}
    (other,) = events(found, "identity_mismatch")
    assert other.detail == {"instrument": "m", "number": SECOND, "expected": FIRST}
    at = found.index(other)
    readings = [r for r in found[:at] if isinstance(r, Reading)]
    before = [r for r in readings if Decimal(r.indications.get("energy.active.import", 0)) > 100]
    after = [r for r in found[at:] if isinstance(r, Reading)]
    assert before
    assert after
    assert all(r.results and "identity_mismatch" not in r.flags for r in before)
    assert all(r.indications and not r.results and "identity_mismatch" in r.flags for r in after)
    assert "identity_mismatch" in alarms
    assert events(found, "meter_clock")


@pytest.mark.timeout(60)
async def test_one_that_was_replaced_between_two_polls_is_noticed_by_its_register(tmp_path: Path) -> None:
    running = site(Fault(FaultKind.SWAP, from_s=5, number=SECOND, start_kwh=Decimal(7)))
    await running.start()
    try:
        found, _ = await run(tmp_path, running, lambda agent: alarmed(agent) and shown(agent) < 100)
    finally:
        await running.stop()
    (other,) = events(found, "identity_mismatch")
    assert other.detail == {"instrument": "m", "number": SECOND, "expected": FIRST}
    readings = [r for r in found if isinstance(r, Reading)]
    small = [r for r in readings if Decimal(r.indications.get("energy.active.import", 999)) < 100]
    assert small
    assert all("identity_mismatch" in r.flags and not r.results for r in small), "from its first reading on"


@pytest.mark.parametrize(
    ("before", "now", "less"),
    [
        ({"energy.active.import": "10.00"}, {"energy.active.import": "9.99"}, True),
        ({"energy.active.import": "10.00"}, {"energy.active.import": "10"}, False),
        ({"energy.active.import": "10"}, {"power.active.total": "9"}, False),
        ({"power.active.total": "10"}, {"power.active.total": "9"}, False),
        ({"volume": "1", "volume.total": "10"}, {"volume.total": "9"}, True),
        ({}, {"energy.active.import": "0"}, False),
        ({"energy.active.import": "10"}, {"energy.active.import": None}, False),
    ],
)
def test_only_a_register_that_shows_less_than_before_raises_a_doubt(before, now, less) -> None:
    shown_now = [
        Indication("", name, None, "", Missing.TIMEOUT)
        if text is None
        else Indication("", name, Decimal(text), "")
        for name, text in now.items()
    ]
    assert fell(before, shown_now) is less


@pytest.mark.timeout(60)
async def test_the_serial_that_the_site_states_decides_and_a_new_one_ends_the_alarm(tmp_path: Path) -> None:
    running = site()
    await running.start()
    try:
        found, alarms = await run(tmp_path, running, alarmed, serial=SECOND)
        assert "identity_mismatch" in alarms
        again, alarms = await run(tmp_path, running, lambda agent: shown(agent) > 0, serial=f"No. {FIRST}")
    finally:
        await running.stop()
    late = [r for r in again[len(found) :] if isinstance(r, Reading)]
    assert late
    assert all(r.results for r in late if r.indications)
    assert "identity_mismatch" not in alarms


def test_a_meter_is_asked_at_the_start_after_it_was_gone_with_a_new_line_and_each_day(tmp_path: Path) -> None:
    known = Identities({"m": ""}, tmp_path)
    assert known.wants("m", 0, openings=1)
    known.asked("m", 0, openings=1)
    assert not known.wants("m", DAILY_US - 1, openings=1)
    assert known.wants("m", DAILY_US, openings=1)
    assert known.wants("m", 1, openings=2)
    known.doubt("m")
    assert known.wants("m", 1, openings=1)


def test_what_was_seen_first_is_remembered_over_a_restart(tmp_path: Path) -> None:
    assert Identities({}, tmp_path).judge("m", "12345678") is Verdict.NEW
    assert Identities({}, tmp_path).judge("m", "12345678") is Verdict.SAME
    assert Identities({}, tmp_path).judge("m", "87654321") is Verdict.OTHER
    assert Identities({"m": "87654321"}, tmp_path).judge("m", "87654321") is Verdict.NEW
    (tmp_path / "identities.json").write_text("not json")
    assert Identities({}, tmp_path).judge("m", "1") is Verdict.NEW


@pytest.mark.parametrize(
    ("stated", "told", "one_meter"),
    [
        ("110000000011", "110000000011", True),
        ("SN 1100-0000-0011", "110000000011", True),
        ("0000012345678", "000012345678", True),
        ("33001100000000117", "110000000011", True),  # an asset code holds the number
        ("110000000012", "110000000011", False),
        ("11", "110000000011", False),
        ("", "110000000011", False),
        ("SN MT-24-0018", "MT240018", True),
        ("SN-A1", "SN-B1", False),  # where few digits stand, letters count
        ("No. 17", "0017", True),
        ("A1", "SN-A1", True),
    ],
)
def test_a_nameplate_and_a_number_over_the_line(stated: str, told: str, one_meter: bool) -> None:
    assert same(stated, told) is one_meter


def test_the_state_of_an_unknown_meter_corrects_nothing() -> None:
    bare = uncorrected(state())
    assert bare.correct("voltage.l1", 230.0) is None
    assert bare.instrument == "m"
    assert replace(bare).digest != state().digest


def test_of_several_numbers_printed_the_expected_one_counts(tmp_path: Path) -> None:
    known = Identities({"m": "87654321"}, tmp_path)
    assert known.judge("m", "11111111", "87654321") is Verdict.NEW
    assert known.judge("m", "11111111", "22222222") is Verdict.OTHER
    first = Identities({}, tmp_path / "none")
    assert first.judge("m", "11111111", "87654321") is Verdict.NEW
    assert first.judge("m", "87654321", "11111111") is Verdict.SAME


def test_the_maker_is_compared_where_the_site_states_its_three_letters(tmp_path: Path) -> None:
    known = Identities({"m": ""}, tmp_path, {"m": "ISK"})
    assert known.judge("m", "12345678", maker="ISk", type_="MT174") is Verdict.NEW
    assert known.expected("m", "KAM") == "ISK"
    assert known.judge("m", "12345678", maker="KAM", type_="MT174") is Verdict.OTHER
    assert known.is_other("m")
    named = Identities({"m": ""}, tmp_path, {"m": "Iskraemeco"})
    assert named.judge("m", "12345678", maker="KAM") is Verdict.SAME


def test_a_meter_without_a_number_is_known_by_its_maker_and_type(tmp_path: Path) -> None:
    known = Identities({"m": "12345678"}, tmp_path)  # the nameplate's serial, which it never tells
    assert known.judge("m") is None
    assert known.judge("m", maker="ISk", type_="MT174-0001") is Verdict.NEW
    assert known.judge("m", maker="ISk", type_="MT174-0001") is Verdict.SAME
    assert known.judge("m", maker="EMH", type_="LZQJ") is Verdict.OTHER
    assert Identities({}, tmp_path).judge("m", maker="EMH", type_="LZQJ") is Verdict.OTHER


def test_new_firmware_of_a_meter_that_tells_its_number_is_no_other_meter(tmp_path: Path) -> None:
    known = Identities({}, tmp_path)
    assert known.judge("m", "12345678", maker="ISk", type_="V1") is Verdict.NEW
    assert known.judge("m", "12345678", maker="ISk", type_="V2") is Verdict.SAME
    assert known.judge("m", maker="ISk", type_="V2") is Verdict.SAME


MT174 = load("iskra-mt174")


@pytest.mark.timeout(60)
async def test_of_iec_62056_21_the_first_reading_of_another_meter_is_not_corrected(tmp_path: Path) -> None:
    """The address is empty, and it was never silent: only its number, in each readout, tells that it was replaced."""
    swap = Fault(FaultKind.SWAP, from_s=4, number=SECOND, start_kwh=Decimal(7))
    simulated = SimMeter(id="m", address="", profile=MT174.name, number=FIRST)
    line = SimBus("line", "iec62056-21-fixed", "tcp://127.0.0.1:0", (simulated,), baud=19200, reply_ms=1)
    running = SimSite(SimSiteSpec(1, (line,), Scenario(1, (swap,))))
    await running.start()
    try:
        asked = Meter("m", "", MT174, timeout_s=0.5, retries=0, late_s=0.1)
        found, alarms = await run(
            tmp_path, running, lambda agent: alarmed(agent) and shown(agent) < 100, asked=asked
        )
    finally:
        await running.stop()
    (seen,) = events(found, "identity_seen")
    assert seen.detail == {"instrument": "m", "number": FIRST[-8:]}
    (other,) = events(found, "identity_mismatch")
    assert other.detail["number"] == f"{SECOND[-8:]} (ISk MT174-0001)"
    assert other.detail["expected"] == FIRST[-8:]
    energies = [
        (Decimal(r.indications["energy.active.import"]), "identity_mismatch" in r.flags, bool(r.results))
        for r in found
        if isinstance(r, Reading) and "energy.active.import" in r.indications
    ]
    assert {energy < 100 for energy, _, _ in energies} == {False, True}
    assert all(energy > 100 or (flagged and not results) for energy, flagged, results in energies)
    assert "identity_mismatch" in alarms


@dataclass(frozen=True)
class Kind:
    """A protocol by which a meter tells its number: how it is simulated, asked, and what it tells."""

    protocol: str
    profile: str
    address: str
    asked: str
    first: str = FIRST
    second: str = SECOND


KINDS = (
    Kind("modbus-rtu", "eastron-sdm630", "7", "7", FIRST[-9:].lstrip("0"), SECOND[-9:].lstrip("0")),
    Kind("modbus-tcp", "schneider-iem3000", "7", "7", FIRST[-9:].lstrip("0"), SECOND[-9:].lstrip("0")),
    Kind("modbus-tcp", "sunspec-203", "7", "7"),
    Kind("dlt698", "dlt698-three-phase", ADDRESS, ADDRESS),
    Kind("mbus", "mbus-heat", "7", "7", FIRST[-8:], SECOND[-8:]),
    Kind("cjt188", "cjt188-water", "00001111000099", "A" * 14, "00001111000099", SECOND.rjust(14, "0")),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.protocol}-{kind.profile}")
@pytest.mark.timeout(60)
async def test_a_swapped_meter_is_told_by_its_number_in_every_protocol_that_tells_one(
    tmp_path: Path, kind: Kind
) -> None:
    """The line goes down, and behind it is another meter when it is back."""
    profile = load(kind.profile)
    places = ["tcp://127.0.0.1:0"]

    def with_number(number: str, address: str) -> SimSite:
        meter = SimMeter(id="m", address=address, profile=profile.name, number=number)
        baud = 2400 if kind.protocol == "mbus" else 115200
        bus = SimBus("line", kind.protocol, places[-1], (meter,), baud=baud, reply_ms=1)
        return SimSite(SimSiteSpec(1, (bus,)))

    old = with_number(FIRST, kind.address)
    await old.start()
    places.append(old.ports["line"])
    new = with_number(SECOND, SECOND.rjust(14, "0") if kind.protocol == "cjt188" else kind.address)

    async def replace_it(agent: Agent) -> None:
        await come(lambda: agent.status().instruments and read(agent))
        await old.stop()
        await new.start()

    try:
        asked = Meter("m", kind.asked, profile, timeout_s=0.5, retries=0, late_s=0.05)
        found, alarms = await run(
            tmp_path, old, lambda agent: alarmed(agent) and read(agent), asked=asked, during=replace_it
        )
    finally:
        await old.stop()
        await new.stop()
    (seen,) = events(found, "identity_seen")
    assert seen.detail == {"instrument": "m", "number": kind.first}
    (other,) = events(found, "identity_mismatch")
    assert other.detail["number"].split()[0] == kind.second
    assert other.detail["expected"] == kind.first
    assert "identity_mismatch" in alarms
    at = found.index(other)
    before, after = ([r for r in some if isinstance(r, Reading)] for some in (found[:at], found[at:]))
    assert any(r.results for r in before)
    assert any(r.indications for r in after)
    assert all(not r.results and "identity_mismatch" in r.flags for r in after)


def read(agent: Agent) -> bool:
    """Whether the meter shows something."""
    return any(m.indication for m in agent.status().instruments[0].measurands)


def water(address: str, answers_as: str) -> Exchange:
    """A reading of a water meter."""
    profile, at = load("cjt188-water"), Instant(0, 0)
    (query,) = plan(profile)
    request = CODEC_188.encode(CODEC_188.request(address, query))
    answer = encode_answer(profile, query, {p.measurand: Decimal(1) for p in profile.points}, answers_as)
    return Exchange(request, answer, at, at)


CODEC_188 = codec("cjt188")


def test_a_water_meter_asked_by_its_whole_address_tells_nothing_new_by_answering() -> None:
    told = told_in((water("00001111000099", "00001111000099"),), "cjt188")
    assert (told.number, told.answered) == (None, True)
    told = told_in((water("A" * 14, "00001111000099"),), "cjt188")
    assert told.number == "00001111000099"
    torn = replace(water("A" * 14, "00001111000099"), failure=Missing.CORRUPT)
    assert told_in((torn,), "cjt188").number is None


def test_of_mbus_the_header_tells_number_maker_and_medium_and_a_fabrication_number_counts_too() -> None:
    """Header of identification 12345678, PAD, version 1, heat; DIF 0C VIF 78: fabrication number 87654321."""
    head = bytes.fromhex("78563412 2440 01 04 55 00 0000")
    telegram = mbus.long(0x08, 5, 0x72, head + bytes.fromhex("0C78 21436587"))
    exchange = Exchange(mbus.short(0x5B, 5), telegram, Instant(0, 0), Instant(0, 0))
    told = told_in((exchange,), "mbus")
    assert (told.number, told.also, told.maker) == ("12345678", ("87654321",), "PAD")
    nobody = mbus.long(0x08, 5, 0x72, bytes(4) + head[4:])
    assert told_in((replace(exchange, answer=nobody),), "mbus").number is None


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        ("0906 202600000011", ("202600000011",)),  # packed
        ("0908 3230323630303131", ("3230323630303131", "20260011")),  # as text, or packed: told both ways
        ("0906 000000000000", ()),
        ("0906 20260000001F", ()),
        ("00", ()),
    ],
)
def test_the_octets_of_a_dlt698_number(data: str, numbers: tuple[str, ...]) -> None:
    apdu = bytes.fromhex("850101 40020200 01" + data + "0000")
    assert octets_told(Answer("40020200", apdu, apdu), "40020200") == numbers
