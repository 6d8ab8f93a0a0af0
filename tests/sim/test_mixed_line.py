"""Two protocols on one line, at two speeds: each meter is asked in its own way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant
from drivers.line import Timing
from drivers.link import MemoryLink, SerialLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation
from sim.halfduplex import Timing as SimTiming
from sim.line import Pump
from sim.modbus_meter import ModbusMeter
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec, registers
from sim.virtual import VirtualLoop

DLT, SDM = load("dlt645-2007-three-phase"), load("eastron-sdm630")


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(1_800_000_000_000_000 + us, us)


def test_meters_of_two_protocols_share_a_line(make_meter, morning: int) -> None:  # type: ignore[no-untyped-def]
    """What the other protocol's meters hear is noise to them; nobody answers for another."""

    speaks = SimTiming(1e6 * 11 / 9600, 40_000, 20_000)
    first, second = make_meter("a", seed=1), make_meter("b", seed=2)
    lines = [
        HalfDuplex(FRAMINGS[name], [MeterStation(side)], speaks, Scenario(), morning)
        for name, side in (
            ("dlt645-2007", Dlt645Meter(first, "11")),
            ("modbus-rtu", ModbusMeter(second, 2, registers(SDM))),
        )
    ]

    async def main() -> None:
        near, far = MemoryLink.pair("line")
        pumps = [Pump(line, lambda: now().utc_us, near.arrived) for line in lines]
        far.arrived = lambda data: [pump.hear(bytes(data)) for pump in pumps]  # type: ignore[method-assign, assignment]
        await far.open()
        bus = Bus("line", codec("dlt645-2007"), near, now, Timing(9600, "8E1"))
        meters = [
            (Meter("a", "000000000011", DLT), plan(DLT)),
            (Meter("b", "2", SDM, codec=codec("modbus-rtu"), framing="8N1"), plan(SDM)),
        ]
        for _ in range(3):
            for meter, queries in meters:
                scan = await bus.scan(meter, queries)
                assert scan.failure is None
                assert all(i.value is not None for i in scan.indications)
        assert bus.line.timing.framing == "8N1"
        await bus.scan(*meters[0])
        assert bus.line.timing == Timing(9600, "8E1")
        for pump in pumps:
            pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


@pytest.mark.timeout(60)
async def test_a_port_changes_its_speed_between_two_meters(tmp_path: Path) -> None:
    """A line whose meters understand 2400 baud hears nothing sensible at the bus's 9600."""
    path = tmp_path / "line"
    spec = SimBus(
        "line", "dlt645-2007", str(path), (SimMeter(id="m", address="1", profile=DLT.name),), baud=2400
    )
    site = SimSite(SimSiteSpec(1, (spec,)))
    await site.start()
    try:
        port = SerialLink(str(path), 9600)
        bus = Bus("line", codec("dlt645-2007"), port, now, Timing(9600, "8E1"))
        queries = plan(DLT, ["voltage.l1"])
        fast = Meter("fast", "000000000001", DLT, timeout_s=0.3, retries=0, late_s=0.05)
        slow = Meter("slow", "000000000001", DLT, timeout_s=5.0, late_s=0.05, baud=2400)
        for _ in range(2):
            assert (await bus.scan(fast, queries)).failure is not None
            assert (await bus.scan(slow, queries)).failure is None
        assert port.is_open
        assert bus.line.openings == 1
        await bus.close()
    finally:
        await site.stop()
