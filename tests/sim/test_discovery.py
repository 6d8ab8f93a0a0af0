"""Meters are found on simulated lines, in virtual time: all of them, whatever their addresses have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from drivers.bus import Bus
from drivers.codec import Instant
from drivers.discovery import Survey, survey
from drivers.line import Timing as LineTiming
from drivers.link import LinkDown, MemoryLink
from drivers.profile import load, names
from drivers.protocols import codec
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Meter
from sim.line import Pump
from sim.modbus_meter import ModbusMeter
from sim.site import registers
from sim.virtual import VirtualLoop

MakeMeter = Callable[..., Meter]
PROFILES = [load(name) for name in names()]


def searched(
    protocol: str,
    sides: Sequence[Dlt645Meter | ModbusMeter],
    morning: int,
    limit_s: float = 3600,
    faults: tuple[Fault, ...] = (),
    **more: object,
) -> tuple[Survey, list[str], float]:
    """What is found, what was said meanwhile, and how long it took."""
    timing = Timing(character_us(9600, "8E1"), 40_000, 500_000 if protocol == "dlt645-2007" else 20_000)
    stations = [MeterStation(side) for side in sides]
    line = HalfDuplex(FRAMINGS[protocol], stations, timing, Scenario(1, faults), morning)
    said: list[str] = []

    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(morning + us, us)

    async def search() -> tuple[Survey, list[str], float]:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = pump.hear  # type: ignore[method-assign]
        await far.open()
        bus = Bus("scan", codec(protocol), near, now, LineTiming(9600, "8E1"))
        clock = asyncio.get_running_loop().time
        found = await survey(bus, PROFILES, clock() + limit_s, say=said.append, **more)  # type: ignore[arg-type]
        pump.stop()
        return found, said, clock()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(search())


def meters(make_meter: MakeMeter, *addresses: str) -> list[Dlt645Meter]:
    return [Dlt645Meter(make_meter(f"m{n}", seed=n, number=f"88{a[2:]}"), a) for n, a in enumerate(addresses)]


@pytest.mark.parametrize(
    "addresses",
    [
        ["202600000011"],
        ["202600000011", "202600000012"],
        ["202600000011", "202600003411", "202600000012"],  # two end alike
        ["000000000001", "000000000101", "000000010101", "990000000001"],  # and all of these
        [],
    ],
)
def test_all_dlt645_meters_of_a_line_are_found(
    make_meter: MakeMeter, morning: int, addresses: list[str]
) -> None:
    found, _, _ = searched("dlt645-2007", meters(make_meter, *addresses), morning)
    assert [meter.address for meter in found.found] == sorted(addresses)
    assert [meter.number for meter in found.found] == [f"88{a[2:]}" for a in sorted(addresses)]
    assert all(meter.proposals[0].profile.startswith("dlt645-2007") for meter in found.found)
    assert found.complete


def test_units_are_found_and_the_profile_that_makes_most_sense_comes_first(
    make_meter: MakeMeter, morning: int
) -> None:
    known = {7: "eastron-sdm630", 40: "chint-dtsu666", 247: "schneider-iem3000"}
    sides = [
        ModbusMeter(make_meter(f"m{unit}", seed=unit), unit, registers(load(name)))
        for unit, name in known.items()
    ]
    found, said, took_s = searched("modbus-rtu", sides, morning)
    assert [(int(m.address), m.proposals[0].profile) for m in found.found] == list(known.items())
    assert all(m.proposals[0].plausible >= 3 for m in found.found)
    assert said == ["unit 7 answers", "unit 40 answers", "unit 247 answers"]
    assert took_s < 247 * (0.3 + 0.05 + 0.06) + 3 * 20


def test_a_search_on_a_poor_line_finds_nobody_who_is_not_there(make_meter: MakeMeter, morning: int) -> None:
    faults = tuple(
        Fault(kind, share=0.1) for kind in (FaultKind.NOISE_BEFORE, FaultKind.LATE, FaultKind.ECHO)
    )
    there = ["202600000011", "202600000012", "202600000013"]
    found, _, _ = searched("dlt645-2007", meters(make_meter, *there), morning, faults=faults)
    assert {meter.address for meter in found.found} <= set(there)


def test_the_search_is_bounded_in_time(make_meter: MakeMeter, morning: int) -> None:
    found, _, took_s = searched("modbus-rtu", [], morning, limit_s=10)
    assert not found.complete
    assert 10 <= took_s < 11


def test_a_line_that_is_not_there_is_an_error(morning: int) -> None:
    class Gone(MemoryLink):
        async def open(self) -> None:
            raise LinkDown("line", "no such port")

    async def search() -> None:
        now = Instant(morning, 0)
        await survey(Bus("scan", codec("modbus-rtu"), Gone(), lambda: now), PROFILES, 1e9)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(LinkDown, match="no such port"):
        runner.run(search())
