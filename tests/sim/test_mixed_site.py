"""Sites whose lines carry several protocols at several speeds, read over real ptys by the drivers."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant
from drivers.line import Timing
from drivers.link import SerialLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from sim.world import DAY_US, EPOCH_US

NOW_US = EPOCH_US + 300 * DAY_US + 10 * 3_600_000_000
RESOLUTION = {
    "V": Decimal(1),
    "A": Decimal("0.01"),
    "1": Decimal("0.001"),
    "Cel": Decimal("0.1"),
    "m3/h": Decimal("0.001"),
    "kvar": Decimal("0.01"),
}

METERS = (
    SimMeter("e-2007", "11", "dlt645-2007-three-phase"),
    SimMeter("e-1997", "12", "dlt645-1997-three-phase", protocol="dlt645-1997", baud=4800),
    SimMeter("e-rtu", "3", "chint-dtsu666", protocol="modbus-rtu", framing="8N1", modulus=Decimal(100_000)),
    SimMeter("water", "92404000001800", "cjt188-water", protocol="cjt188", baud=2400),
    SimMeter("heat", "14", "cjt188-heat-gj", protocol="cjt188", baud=2400),
    SimMeter("m-primary", "5", "mbus-heat", protocol="mbus", baud=2400),
    SimMeter("m-secondary", "87654321", "mbus-heat", protocol="mbus", baud=2400),
    SimMeter("m-gas", "76264457402401FF", "mbus-gas", protocol="mbus", baud=2400),
)


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(NOW_US + us, us)


async def values_are_what_is_shown(site: SimSite, port: str, bus_spec: SimBus) -> None:
    bus = Bus("line", codec(bus_spec.protocol), SerialLink(port, bus_spec.baud), now, Timing(bus_spec.baud))
    try:
        for meter in bus_spec.meters:
            profile = load(meter.profile)
            speaks = codec(meter.protocol or bus_spec.protocol)
            asked = Meter(
                meter.id, speaks.address(meter.address), profile, 3.0, 1, 0.0, 0.05, speaks, meter.baud
            )
            scan = await bus.scan(asked, plan(profile))
            shown = site.indications(meter.id, NOW_US).values
            for i in scan.indications:
                assert i.value is not None, (meter.id, i)
                off = abs(i.value - shown[i.measurand] * (1000 if i.unit in ("W", "Wh") else 1))
                tolerance = RESOLUTION.get(i.unit, Decimal("0.01")) + abs(i.value) * Decimal("1e-6")
                assert off <= tolerance, (meter.id, i, shown[i.measurand])
    finally:
        await bus.close()


@pytest.mark.timeout(90)
async def test_every_protocols_meter_answers_on_one_line_at_its_own_speed(tmp_path: Path) -> None:
    spec = SimBus("line", "dlt645-2007", str(tmp_path / "line"), METERS, reply_ms=5)
    site = SimSite(SimSiteSpec(1, (spec,)), now_us=lambda: NOW_US)
    await site.start()
    try:
        await values_are_what_is_shown(site, str(tmp_path / "line"), spec)
    finally:
        await site.stop()
    assert site.counts["line"].collisions == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("names", [("m-primary", "m-secondary", "m-gas"), ("water", "heat"), ("e-1997",)])
async def test_they_answer_on_a_real_port_too(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Two ptys joined byte by byte: what a cable between two adapters is."""
    near, far = os.openpty(), os.openpty()
    ports = [os.ttyname(slave) for _, slave in (near, far)]
    loop = asyncio.get_running_loop()

    def carry(source: int, sink: int) -> None:
        os.write(sink, os.read(source, 4096))

    for (source, _), (sink, _) in ((near, far), (far, near)):
        loop.add_reader(source, carry, source, sink)
    meters = tuple(replace(m, baud=0) for m in METERS if m.id in names)
    spec = SimBus("line", meters[0].protocol, "unused", meters, baud=2400, reply_ms=5, device=ports[0])
    site = SimSite(SimSiteSpec(1, (spec,)), now_us=lambda: NOW_US)
    await site.start()
    try:
        await values_are_what_is_shown(site, ports[1], spec)
    finally:
        await site.stop()
        for master, slave in (near, far):
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)


def test_a_real_port_has_one_speed() -> None:
    spec = SimBus("line", "dlt645-2007", "unused", METERS, device="/dev/null")
    site = SimSite(SimSiteSpec(1, (spec,)), now_us=lambda: NOW_US)
    with pytest.raises(ValueError, match="a real port is heard at one speed"):
        asyncio.run(site.start())


def test_flow_and_heat_registers_follow_the_pipe() -> None:
    site = SimSite(SimSiteSpec(3, (SimBus("line", "mbus", "unused", METERS[5:]),)), now_us=lambda: NOW_US)
    later = NOW_US + DAY_US
    for id_, name in (("m-gas", "volume.gas"), ("m-primary", "volume.water"), ("m-primary", "energy.heat")):
        first, last = (site.indications(id_, t).values[name] for t in (NOW_US, later))
        pipe = site.pipe(id_)
        true = pipe.heat(NOW_US, later) if name == "energy.heat" else pipe.volume(NOW_US, later)
        assert float(last - first) == pytest.approx(true, rel=0.01)
        assert float(last - first) == pytest.approx(true * (1 + site.flow_meters[id_].error), abs=0.011)
