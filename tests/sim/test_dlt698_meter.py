"""DL/T 698.45 meters read through the bus in virtual time: what the meter shows, or missing with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant, Scan
from drivers.cycle_time import cycle_time_s
from drivers.line import Timing
from drivers.link import MemoryLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim import instrument
from sim.dlt698_meter import Dlt698Framing, Dlt698Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import HalfDuplex, MeterStation, character_us
from sim.halfduplex import Timing as SimTiming
from sim.line import Pump
from sim.virtual import VirtualLoop

PROFILE = load("dlt698-three-phase")
ADDRESS = "123456789012"
IN_THE_METER = (FaultKind.ROLLOVER, FaultKind.RESET, FaultKind.SWAP, FaultKind.CLOCK_DRIFT)


def read(
    meter: instrument.Meter, start: int, *faults: Fault, longest: int = 512, scans: int = 1
) -> list[Scan]:
    def now() -> Instant:
        us = round(asyncio.get_running_loop().time() * 1e6)
        return Instant(start + us, us)

    speaks = SimTiming(character_us(9600, "8E1"), 40_000, 50_000)
    stations = [MeterStation(Dlt698Meter(meter, ADDRESS, longest=longest))]
    line = HalfDuplex(Dlt698Framing(), stations, speaks, Scenario(faults=faults), start)

    async def main() -> list[Scan]:
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = lambda data: pump.hear(bytes(data))  # type: ignore[method-assign]
        await far.open()
        bus = Bus("line", codec("dlt698"), near, now, Timing(9600, "8E1"))
        asked = Meter("m1", codec("dlt698").address(f"{ADDRESS}@10"), PROFILE)
        found = [await bus.scan(asked, plan(PROFILE)) for _ in range(scans)]
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def shown(meter: instrument.Meter, measurand: str, at: int) -> Decimal:
    value, kilo = meter.show(at).values[measurand], measurand.startswith("power.")
    unit = PROFILE.point(measurand)
    assert unit.resolution is not None
    return instrument.rounded(value * (1000 if kilo else 1), unit.resolution)


@pytest.mark.parametrize("longest", [512, 40])
def test_every_indication_is_what_the_meter_shows_in_one_frame_or_in_fragments(
    make_meter: Callable[..., instrument.Meter], morning: int, longest: int
) -> None:
    meter = make_meter()
    (scan,) = read(meter, morning, longest=longest)
    assert len(scan.indications) == len(PROFILE.points)
    for indication in scan.indications:
        times = {t for e in scan.exchanges for t in (e.sent.utc_us, e.received.utc_us)}
        assert indication.value in {shown(meter, indication.measurand, t) for t in times}, indication
    assert (len(scan.exchanges) > 3) == (longest == 40)


@pytest.mark.parametrize("kind", [k for k in FaultKind if k not in IN_THE_METER])
def test_no_fault_of_a_meter_or_line_makes_a_wrong_value(
    make_meter: Callable[..., instrument.Meter], morning: int, kind: FaultKind
) -> None:
    meter = make_meter()
    fault = Fault(kind, share=0.5)
    for scan in read(meter, morning, fault, scans=4):
        for indication in scan.indications:
            if indication.value is None:
                assert indication.missing is not None
                continue
            # a stuck meter shows an old value, and nobody could tell
            times = range(morning - 1_000_000, scan.finished.utc_us + 1, 500_000)
            assert indication.value in {shown(meter, indication.measurand, t) for t in times}, (
                kind,
                indication,
            )


def test_a_foreign_address_is_met_with_silence(
    make_meter: Callable[..., instrument.Meter], morning: int
) -> None:
    side = Dlt698Meter(make_meter(), "000000000001")
    own = codec("dlt698")
    asked = own.encode(own.request("2", plan(PROFILE)[0]))
    assert side.answer(asked.lstrip(b"\xfe"), lambda: make_meter().show(morning), morning) is None


def test_the_time_of_a_cycle_is_counted_with_its_answers() -> None:
    own = codec("dlt698")
    counted = cycle_time_s(
        own, Meter("m1", own.address(ADDRESS), PROFILE), plan(PROFILE), Timing(9600, "8E1"), 0.0
    )
    assert 0.35 < counted < 0.8
