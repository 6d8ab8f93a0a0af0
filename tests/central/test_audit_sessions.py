"""Readings of IEC 62056-21 come out of their recorded sessions again: of all modes, in blocks, and begun anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from central.audit import recompute
from drivers.bus import Bus
from drivers.codec import Instant
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink
from evidence import record
from gateway.aggregation import Aggregator
from gateway.config import SiteFile
from gateway.prepare import prepare
from gateway.schedule import Tick
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, Timing, character_us
from sim.iec62056_line import Iec62056Line, Iec62056Station
from sim.iec62056_meter import Iec62056Meter, line_of
from sim.instrument import Electronics, Meter
from sim.line import Pump
from sim.virtual import VirtualLoop
from sim.world import Plant
from tests.central.recorded import ORIGIN, Recorder, S

SITE = f"""
[site]
name = "Head"
origin = "{ORIGIN}"

[[bus]]
name = "head"
protocol = "iec62056-21"
port = "/dev/ttyUSB0"

[[bus.instrument]]
id = "main"
address = ""
profile = "iskra-mt174"
period = "60s"
"""
START = 1_800_000_000_000_000


def now():
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(START + us, us)


class Port(MemoryLink):
    baud = 300

    def tune(self, baud, framing):
        self.baud = baud


@pytest.fixture
def prepared(tmp_path):
    (tmp_path / "site.toml").write_text(SITE, encoding="utf-8")
    return prepare(SiteFile(tmp_path / "site.toml"), lambda: datetime(2026, 11, 24, tzinfo=UTC))


def scans(prepared, offer, block):
    """Forty scans over a line that spoils a fifth of all answers: sessions break off and are begun anew."""
    ((bus, meter),) = ((bus, meter) for bus in prepared.buses for meter in bus.meters)
    feeder = Plant(1).feeder("main", "mill", rated_voltage=220, rated_current=5, phases=3)
    model = Meter(
        "main", "0012345678", feeder, "1", Electronics.drawn("1", "main"), step=Decimal("0.001"), refresh_us=S
    )
    lines = [line_of(p.item, p.measurand, p.unit, model.step) for p in meter.profile.points]
    side = Iec62056Meter(model, "", lines, offer=offer, block=block)
    kinds = (FaultKind.WRONG_CHECKSUM, FaultKind.NOISE_BEFORE, FaultKind.SILENT, FaultKind.MERGED)
    faults = tuple(Fault(kind, share=0.05) for kind in kinds)
    timing = Timing(character_us(300, "7E1"), 40_000, 1_500_000)
    line = Iec62056Line(FRAMINGS["iec62056-21"], [Iec62056Station(side)], timing, Scenario(3, faults), START)

    async def main():
        near, far = Port.pair("head")
        pump = Pump(line, lambda: now().utc_us, near.arrived, lambda: near.baud)
        far.arrived = pump.hear
        await far.open()
        polled = Bus("head", bus.codec, near, now, LineTiming(9600, "8E1"))
        found = [await polled.scan(meter.meter, meter.queries) for _ in range(40)]
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def stamped(scan, at):
    """The scan as if it had been made at an instant."""
    exchanges = tuple(replace(exchange, sent=at, received=at) for exchange in scan.exchanges)
    return replace(scan, exchanges=exchanges, started=at, finished=at)


@pytest.mark.parametrize(("offer", "block"), [("5", 0), ("5", 60), ("0", 0), ("A", 0), ("D", 0), ("!", 0)])
def test_a_readout_comes_out_again_text_for_text(prepared, tmp_path, offer, block):
    made = scans(prepared, offer, block)
    recorder = Recorder(prepared, tmp_path / "log", aggregate_us=300 * S)

    async def write():
        for scan in made:
            at = recorder.clock.now()
            recorder.line.accept("main", Tick(at.utc_us, at.boot_us), stamped(scan, at))
            await recorder.clock.advance(60 * S)
        recorder.commit()

    asyncio.run(write())
    entries = recorder.entries()
    recorder.store.close()
    result = recompute(entries, Aggregator)
    assert result.findings == ()
    readings = [r for r in map(record.decode, [data for _, data in entries]) if isinstance(r, record.Reading)]
    assert result.indications == sum(len(r.indications) for r in readings) > 80
    anew = [r for r in readings if sum(e.request.startswith(b"/?") for e in r.raw) > 1 and r.indications]
    assert anew, "no session was begun anew"
