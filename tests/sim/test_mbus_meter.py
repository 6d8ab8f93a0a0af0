"""Heat meters on M-Bus, read through the bus in virtual time: what the meter shows, or missing with a reason."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing, Scan
from drivers.cycle_time import cycle_time_s
from drivers.line import Timing
from drivers.link import MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.faults import Fault, FaultKind, Scenario
from sim.flow import FlowMeter, Pipe
from sim.halfduplex import HalfDuplex, MeterStation
from sim.halfduplex import Timing as SimTiming
from sim.line import Pump
from sim.mbus_meter import MbusFraming, MbusMeter, record
from sim.virtual import VirtualLoop

HEAT = load("mbus-heat")
START = 1_800_000_000_000_000
RESOLUTION = {
    "kWh": Decimal("0.01"),
    "m3": Decimal("0.01"),
    "kW": Decimal("0.001"),
    "m3/h": Decimal("0.001"),
    "Cel": Decimal("0.1"),
}


def heat(name: str, number: str, **given: object) -> FlowMeter:
    return FlowMeter(name, number, "heat", Pipe(0.4, 1.0, 25.0), error=0.01, **given)  # type: ignore[arg-type]


A, B = heat("a", "12345678", start=Decimal(1000)), heat("b", "87654321", start=Decimal(77))


def told(scan: Scan, meter: FlowMeter = A) -> int:
    """How many values the scan has; each of them is what the meter showed during the scan."""
    instants = {scan.started.utc_us, scan.finished.utc_us}
    instants |= set(range(scan.started.utc_us, scan.finished.utc_us, meter.refresh_us))
    shown = [meter.show(t).values for t in instants]
    for i in scan.indications:
        if i.value is not None:
            off = min(abs(i.value - values[i.measurand]) for values in shown)
            assert off < RESOLUTION[i.unit], (i, [values[i.measurand] for values in shown])
    return sum(i.value is not None for i in scan.indications)


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(START + us, us)


def read(
    stations: list[MbusMeter],
    address: str,
    *faults: Fault,
    scans: int = 1,
    unheard: int = 0,
    pause_s: float = 0,
) -> list[Scan]:
    """Scans of one meter, one after the other.

    ``unheard``: of so many scans, from the second on, no meter hears what opens them, and a stray E5 acknowledges it.
    """
    speaks = SimTiming(1e6 * 11 / 2400, 40_000, 50_000)
    sides = [MeterStation(station) for station in stations]
    line = HalfDuplex(MbusFraming(), sides, speaks, Scenario(faults=faults), START)

    found: list[Scan] = []

    async def main() -> list[Scan]:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)

        def heard(data: bytes | memoryview) -> None:
            opens = bytes(data)[:1] == b"\x68" or bytes(data)[1] == 0x40
            if opens and len(found) and len(found) <= unheard:
                near.arrived(b"\xe5")
            else:
                pump.hear(bytes(data))

        far.arrived = heard  # type: ignore[method-assign]
        await far.open()
        bus = Bus("line", codec("mbus"), near, now, Timing(2400, "8E1"))
        meter = Meter("heat", codec("mbus").address(address), HEAT)
        for _ in range(scans):
            found.append(await bus.scan(meter, plan(HEAT)))
            await asyncio.sleep(pause_s)
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def meters(telegrams: int = 1, a: FlowMeter = A) -> list[MbusMeter]:
    found = [record(p.item, p.measurand, Decimal("0.01")) for p in HEAT.points]
    records = [r for r in found if r is not None]
    assert len(records) == len(HEAT.points)
    return [MbusMeter(a, "5", records, telegrams=telegrams), MbusMeter(B, "6", records)]


@pytest.mark.parametrize("telegrams", [1, 2])
@pytest.mark.parametrize("address", ["5", "12345678", "123456FF"])
def test_a_heat_meter_is_read_by_either_address_and_over_several_telegrams(
    address: str, telegrams: int
) -> None:
    scans = read(meters(telegrams), address, scans=3)
    for scan in scans:
        assert told(scan) == len(HEAT.points)
    # Of a meter that nothing is known of, the first telegram may be an old one.
    asked = [len(scan.exchanges) for scan in scans]
    assert asked == [3 if telegrams == 1 else 6, 1 + telegrams, 1 + telegrams]


@pytest.mark.parametrize("telegrams", [1, 2])
@pytest.mark.parametrize("address", ["5", "12345678"])
def test_a_telegram_said_again_is_no_value_where_nobody_heard_what_opened_the_reading(
    address: str, telegrams: int
) -> None:
    """A selection lost, a stray E5 taken for its acknowledge: the meter says the telegram of a minute ago again."""
    scans = read(meters(telegrams), address, scans=4, unheard=2, pause_s=300)
    shown = [told(scan) for scan in scans]
    assert shown == [len(HEAT.points)] * 4
    answers = [[e.answer for e in scan.exchanges] for scan in scans]
    if telegrams == 1:
        assert [len(heard) for heard in answers] == [3, 2, 3, 2]
        assert answers[2][1] == answers[1][-1] != answers[2][2]  # said again, and asked for anew


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
        told(scan)
    whole = sum(scan.failure is None for scan in scans)
    assert whole == 0 if kind is FaultKind.DEAD else whole > 0


def test_the_time_of_a_scan_counts_the_telegram_and_what_opens_it() -> None:
    """At 300 baud the longest telegram takes 9.6 s: a schedule that left it out could never hold."""
    took = cycle_time_s(codec("mbus"), Meter("heat", "5", HEAT), plan(HEAT), Timing(300, "8E1"))
    assert 9.8 < took < 10.6
