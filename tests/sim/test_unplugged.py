"""A serial adapter pulled out and put in again, seen through a bus that goes on scanning."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing, Scan
from drivers.line import Timing
from drivers.link import link
from drivers.profile import load, plan
from drivers.protocols import codec
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

PROFILE = load("dlt645-2007-three-phase")
QUERIES = plan(PROFILE, ["voltage.l1", "frequency"])


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(us, us)


def plugged(path: Path) -> SimSite:
    meter = SimMeter(id="m", address="1", profile=PROFILE.name)
    return SimSite(SimSiteSpec(1, (SimBus("line", "dlt645-2007", str(path), (meter,), reply_ms=2),)))


@pytest.mark.timeout(60)
async def test_a_port_that_goes_and_returns_at_the_same_path_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ttyUSB0"
    bus = Bus("line", codec("dlt645-2007"), link(str(path)), now, Timing(9600, "8E1"))
    meter = Meter("m", "000000000001", PROFILE, timeout_s=1.0, late_s=0.05)

    async def until(what) -> Scan:  # type: ignore[no-untyped-def]
        async with asyncio.timeout(25):
            while not what(scan := await bus.scan(meter, QUERIES)):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.05)
        return scan

    whole = lambda scan: all(i.value is not None for i in scan.indications)  # noqa: E731
    down = lambda scan: scan.failure is Missing.LINK_DOWN  # noqa: E731
    for _ in range(2):
        adapter = plugged(path)
        await adapter.start()
        await until(whole)
        await adapter.stop()
        scan = await until(down)
        assert all(i.missing is Missing.LINK_DOWN and i.detail for i in scan.indications)
    assert bus.line.openings == 2
    assert bus.skips("m") == 0  # a line that is gone makes no meter dead
    await bus.close()
