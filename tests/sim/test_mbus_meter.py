"""Heat meters on M-Bus, read through the bus in virtual time: what the meter shows, or missing with a reason."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from drivers.bus import Bus, Meter, cycle_time_s
from drivers.codec import Instant, Missing, Scan
from drivers.line import Timing
from drivers.link import MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import HalfDuplex
from sim.halfduplex import Timing as SimTiming
from sim.line import Pump
from sim.mbus_meter import MbusFraming, MbusMeter
from sim.virtual import VirtualLoop

HEAT = load("mbus-heat")
START = 1_800_000_000_000_000
SHOWN = {
    "energy.heat": Decimal(1000),
    "volume.water": Decimal(50),
    "power.heat": Decimal(12),
    "flow.water": Decimal("0.4"),
    "temperature.supply": Decimal("70.5"),
    "temperature.return": Decimal("45.2"),
}


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(START + us, us)


def read(stations: list[MbusMeter], address: str, *faults: Fault, scans: int = 1) -> list[Scan]:
    """Scans of one meter, one after the other."""
    speaks = SimTiming(1e6 * 11 / 2400, 40_000, 50_000)
    line = HalfDuplex(MbusFraming(), stations, speaks, Scenario(faults=faults), START)

    async def main() -> list[Scan]:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = lambda data: pump.hear(bytes(data))  # type: ignore[method-assign]
        await far.open()
        bus = Bus("line", codec("mbus"), near, now, Timing(2400, "8E1"))
        meter = Meter("heat", codec("mbus").address(address), HEAT)
        found = [await bus.scan(meter, plan(HEAT)) for _ in range(scans)]
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def meters(telegrams: int = 1) -> list[MbusMeter]:
    return [
        MbusMeter("a", 5, "12345678", START, telegrams=telegrams),
        MbusMeter("b", 6, "87654321", START, start_kwh=77),
    ]


@pytest.mark.parametrize("telegrams", [1, 2])
@pytest.mark.parametrize("address", ["5", "12345678", "123456FF"])
def test_a_heat_meter_is_read_by_either_address_and_over_several_telegrams(
    address: str, telegrams: int
) -> None:
    for scan in read(meters(telegrams), address, scans=3):
        assert {i.measurand: i.value for i in scan.indications} == SHOWN
        assert len(scan.exchanges) == 1 + telegrams


def test_a_meter_that_is_not_there_is_missing_and_takes_no_other_meters_value() -> None:
    for address in ("7", "11112222"):
        (scan,) = read(meters(), address)
        assert {i.missing for i in scan.indications} == {Missing.TIMEOUT}


@pytest.mark.parametrize(
    "kind", [FaultKind.LATE, FaultKind.WRONG_ADDRESS, FaultKind.WRONG_CHECKSUM, FaultKind.DEAD]
)
@pytest.mark.parametrize("telegrams", [1, 2])
def test_whatever_the_line_does_a_value_is_the_meters_or_none(kind: FaultKind, telegrams: int) -> None:
    fault = Fault(kind, share=1.0 if kind is FaultKind.DEAD else 0.4, delay_ms=1500)
    scans = read(meters(telegrams), "5", fault, scans=30)
    for scan in scans:
        for i in scan.indications:
            if i.value is not None and i.measurand != "energy.heat" and i.measurand != "volume.water":
                assert i.value == SHOWN[i.measurand]
            elif i.value is not None:
                assert SHOWN[i.measurand] <= i.value <= SHOWN[i.measurand] + 5
    whole = sum(scan.failure is None for scan in scans)
    assert whole == 0 if kind is FaultKind.DEAD else whole > 0


def test_the_time_of_a_scan_counts_the_telegram_and_what_opens_it() -> None:
    """At 300 baud the longest telegram takes 9.6 s: a schedule that left it out could never hold."""
    took = cycle_time_s(codec("mbus"), Meter("heat", "5", HEAT), plan(HEAT), Timing(300, "8E1"))
    assert 9.8 < took < 10.6
