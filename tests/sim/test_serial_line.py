"""Simulated meters on a real serial port: here one end of a cable that socat makes, the driver at the other."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant
from drivers.line import Timing
from drivers.link import link
from drivers.profile import load, plan
from drivers.protocols import codec
from gateway.cli import main
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec

PROFILES = {"dlt645-2007": "dlt645-2007-three-phase", "modbus-rtu": "eastron-sdm630"}


@contextlib.asynccontextmanager
async def cable(directory: Path) -> AsyncIterator[tuple[Path, Path]]:
    """Two serial ports, joined."""
    ends = directory / "near", directory / "far"
    process = await asyncio.create_subprocess_exec(
        "socat", *(f"pty,raw,echo=0,link={end}" for end in ends), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while not all(end.exists() for end in ends):  # noqa: ASYNC110 - socat tells nothing
                await asyncio.sleep(0.02)
        yield ends
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("protocol", list(PROFILES))
async def test_meters_answer_on_a_serial_port(tmp_path: Path, protocol: str) -> None:
    profile = load(PROFILES[protocol])
    meter = SimMeter(id="m", address="1", profile=profile.name)
    async with cable(tmp_path) as (near, far):
        bus_spec = SimBus("line", protocol, "unused", (meter,), reply_ms=2, device=str(far))
        site = SimSite(SimSiteSpec(1, (bus_spec,)))
        await site.start()
        try:
            assert site.ports["line"] == str(far)
            loop = asyncio.get_running_loop()
            speaks = codec(protocol)

            def now() -> Instant:
                us = round(loop.time() * 1e6)
                return Instant(us, us)

            bus = Bus("line", speaks, link(str(near)), now, Timing(9600, "8E1"))
            polled = Meter("m", speaks.address("1"), profile, timeout_s=5.0, late_s=0.05)
            for _ in range(2):
                scan = await bus.scan(polled, plan(profile))
                assert scan.failure is None
                assert all(i.value is not None for i in scan.indications if i.measurand.startswith("voltage"))
            await bus.close()
        finally:
            await site.stop()


def test_a_bus_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "site")]) == 0
    capsys.readouterr()
    (file,) = (tmp_path / "site").glob("*.toml")
    assert main(["sim", str(file), "--serial", "nowhere=/dev/ttyUSB9"]) == 2
    assert "which bus?" in capsys.readouterr().err
