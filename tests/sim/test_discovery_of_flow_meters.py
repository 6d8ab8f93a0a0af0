"""M-Bus and CJ/T 188 meters are found on simulated lines, in virtual time, with profiles for what they measure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.bus import Bus
from drivers.codec import Instant
from drivers.discovery import Survey, survey
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink
from drivers.profile import load, names
from drivers.protocols import codec
from sim.cjt188_meter import Cjt188Meter
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Scenario
from sim.flow import FlowMeter, Pipe
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Side, Timing, character_us
from sim.instrument import Electronics, Meter
from sim.line import Pump
from sim.mbus_meter import MEDIA, MbusMeter, record
from sim.virtual import VirtualLoop
from sim.world import Plant

PROFILES = [load(name) for name in names()]
START = 1_800_000_000_000_000


def searched(protocol: str, sides: Sequence[Side], **more: object) -> tuple[Survey, list[str]]:
    """What is found, and what was said meanwhile."""
    timing = Timing(character_us(2400, "8E1"), 40_000, 20_000)
    line = HalfDuplex(FRAMINGS[protocol], [MeterStation(side) for side in sides], timing, Scenario(1), START)
    said: list[str] = []

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(START + us, us)

    async def search() -> tuple[Survey, list[str]]:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        bus = Bus("scan", codec(protocol), near, now, LineTiming(2400, "8E1"))
        until = asyncio.get_running_loop().time() + 3600
        found = await survey(bus, PROFILES, until, say=said.append, **more)  # type: ignore[arg-type]
        pump.stop()
        return found, said

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(search())


def slave(address: str, number: str, kind: str = "heat") -> MbusMeter:
    profile = load("mbus-gas" if kind == "gas" else "mbus-heat")
    records = [record(p.item, p.measurand, Decimal("0.01")) for p in profile.points]
    meter = FlowMeter(number, number, kind, Pipe(2.0, 0.0, 20.0))
    return MbusMeter(meter, address, [r for r in records if r], medium=MEDIA[kind])


@pytest.mark.parametrize(
    "slaves",
    [
        {"5": "12345678"},
        {"5": "12345678", "6": "12345679", "250": "92345678"},  # two identities differ in the last digit
        {"12345678": "12345678", "12346678": "12346678"},  # both new, with primary address 0
        {},
    ],
)
def test_all_mbus_slaves_are_found(slaves: dict[str, str]) -> None:
    found, _ = searched(
        "mbus", [slave(address, number) for address, number in slaves.items()], units=range(1, 9)
    )
    assert found.complete
    assert {f.address: f.number for f in found.found} == slaves
    assert all(f.proposals[0].profile == "mbus-heat" for f in found.found)


def test_two_slaves_of_one_primary_address_are_told_apart_by_their_identities() -> None:
    found, _ = searched("mbus", [slave("5", "11111111"), slave("5", "22222222")], units=range(1, 9))
    assert [f.address for f in found.found] == ["11111111", "22222222"]


def test_by_primary_addresses_alone_they_collide_and_that_is_said() -> None:
    sides = [slave("5", "11111111"), slave("5", "22222222"), slave("7", "33333333")]
    found, said = searched("mbus", sides, units=range(1, 9), identities=False)
    assert [f.address for f in found.found] == ["7"]
    assert any(text.startswith("primary address 5: several") for text in said)


def test_what_flows_through_decides_which_profiles_are_proposed() -> None:
    found, _ = searched("mbus", [slave("3", "00000003", "gas"), slave("4", "00000004")], units=range(1, 5))
    proposed = {f.address: [p.profile for p in f.proposals] for f in found.found}
    assert proposed == {"3": ["mbus-gas"], "4": ["mbus-heat"]}


@pytest.mark.parametrize(
    ("kind", "unit", "profile"),
    [
        ("water", "kWh", "cjt188-water"),
        ("hot water", "kWh", "cjt188-hot-water"),
        ("gas", "kWh", "cjt188-gas"),
        ("heat", "kWh", "cjt188-heat"),
        ("heat", "GJ", "cjt188-heat-gj"),
    ],
)
def test_the_only_cjt188_meter_is_found(kind: str, unit: str, profile: str) -> None:
    meter = FlowMeter("a", "1", kind, Pipe(2.0, 0.0, 20.0), heat_unit=unit)
    found, _ = searched("cjt188", [Cjt188Meter(meter, "92404000001800")])
    (one,) = found.found
    assert (one.address, one.proposals[0].profile) == ("92404000001800", profile)
    assert one.proposals[0].plausible == one.proposals[0].judged


def water(*numbers: str, by_parts: bool = True) -> list[Cjt188Meter]:
    return [
        Cjt188Meter(FlowMeter(n, str(k), "water", Pipe(2.0)), n, by_parts=by_parts)
        for k, n in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        ["00000000000001", "00000000000002"],
        ["92404000001800", "92404000011800", "92404000001801"],  # two end alike
        ["10000000000000", "20000000000000"],  # apart in the last byte that is asked
    ],
)
def test_several_cjt188_meters_are_told_apart_by_parts_of_their_numbers(numbers: list[str]) -> None:
    found, said = searched("cjt188", water(*numbers))
    assert [f.address for f in found.found] == sorted(numbers)
    assert all(f.proposals[0].profile == "cjt188-water" for f in found.found)
    assert any("several CJ/T 188 meters" in text for text in said)


def test_where_they_do_not_answer_to_parts_that_is_said_and_no_number_is_made() -> None:
    found, said = searched("cjt188", water("1", "2", by_parts=False))
    assert found.found == ()
    assert any("give the numbers that are printed on them" in text for text in said)


def test_given_numbers_are_asked_one_by_one_and_who_is_silent_is_said() -> None:
    sides = water("1", "2", "3", by_parts=False)
    found, said = searched("cjt188", sides, addresses=["3", "1", "7"])
    assert [f.address for f in found.found] == ["00000000000003", "00000000000001"]
    assert "00000000000007: no answer" in said


def test_two_meters_of_one_number_are_told_as_such_and_not_as_a_meter() -> None:
    found, said = searched("cjt188", water("5", "5", "6"))
    assert [f.address for f in found.found] == ["00000000000006"]
    assert "00000000000005: more than one answers; no number can be told" in said
    found, said = searched("cjt188", water("5", "5", "6"), addresses=["5"])
    assert found.found == ()
    assert any(text.startswith("00000000000005: bytes came and no whole frame") for text in said)


@given(st.lists(st.integers(0, 10**14 - 1), min_size=1, max_size=3, unique=True))
@settings(max_examples=10, deadline=None)
def test_whatever_the_numbers_each_is_found_and_none_is_invented(numbers: list[int]) -> None:
    printed = sorted(f"{n:014d}" for n in numbers)
    found, _ = searched("cjt188", water(*printed))
    assert [f.address for f in found.found] == printed


def test_dlt645_meters_are_found_by_given_addresses_too() -> None:
    feeder = Plant(1).feeder("m", "mill", rated_voltage=220, rated_current=5, phases=3)
    sides = [Dlt645Meter(Meter(a, a, feeder, "1", Electronics.drawn("1", a)), a) for a in ("11", "12", "13")]
    found, said = searched("dlt645-2007", sides, addresses=["13", "99", "11"])
    assert [f.address for f in found.found] == ["000000000013", "000000000011"]
    assert "000000000099: no answer" in said
