"""Readings of DLMS meters come out of their recorded sessions again: the scalers are among what is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
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
from sim.dlms_meter import DlmsMeter, register_of
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Electronics, Meter
from sim.line import Pump
from sim.virtual import VirtualLoop
from sim.world import Plant
from tests.central.recorded import ORIGIN, Recorder, S

SITE = f"""
[site]
name = "DLMS"
origin = "{ORIGIN}"

[[bus]]
name = "line"
protocol = "PROTOCOL"
port = "tcp://127.0.0.1:4059"

[[bus.instrument]]
id = "main"
address = "1"
profile = "dlms-three-phase"
period = "60s"
password_file = "lls"
measurands = ["energy.active.import", "voltage.l1", "voltage.l2", "frequency"]
"""
START = 1_800_000_000_000_000
SECRET = "s3cret-pw"


def now():
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(START + us, us)


def site(tmp_path, protocol):
    (tmp_path / "site.toml").write_text(SITE.replace("PROTOCOL", protocol), encoding="utf-8")
    (tmp_path / "lls").write_text(SECRET + "\n", encoding="utf-8")
    return prepare(SiteFile(tmp_path / "site.toml"), lambda: datetime(2026, 11, 24, tzinfo=UTC))


class Forgetful(DlmsMeter):
    """It loses its link now and then."""

    heard = 0
    every = 37

    def answer(self, frame, show, t_us):
        self.heard += 1
        if self.heard % self.every == 0:
            self.hang_up()
        return super().answer(frame, show, t_us)


def scans(prepared, longest, block, every=37, count=14):
    """Scans over a line that spoils answers: requests are repeated, sessions break off and are begun anew."""
    ((bus, meter),) = ((bus, meter) for bus in prepared.buses for meter in bus.meters)
    feeder = Plant(1).feeder("main", "mill", rated_voltage=220, rated_current=5, phases=3)
    model = Meter("main", "202600000011", feeder, "1", Electronics.drawn("1", "main"), refresh_us=S)
    objects = [register_of(p.item, p.measurand, p.unit, model.step) for p in meter.profile.points]
    wrapped = bus.codec.name == "dlms-wrapper"
    secret = SECRET.encode()
    side = Forgetful(model, "1", objects, wrapped=wrapped, password=secret, longest=longest, block=block)
    side.every = every
    # one object is of another class than the profile says: refused, and the others are read all the same
    side._registers[bytes.fromhex("0100340700FF")] = replace(objects[5], class_id=4)
    kinds = (
        FaultKind.WRONG_CHECKSUM,
        FaultKind.NOISE_BEFORE,
        FaultKind.SILENT,
        FaultKind.MERGED,
        FaultKind.ECHO,
    )
    share = 0.03 if block > 100 else 0.006  # a session of many messages meets more
    faults = tuple(Fault(kind, share=share) for kind in kinds)
    timing = Timing(character_us(9600, "8N1"), 40_000, 20_000)
    line = HalfDuplex(FRAMINGS[bus.codec.name], [MeterStation(side)], timing, Scenario(3, faults), START)

    async def main():
        near, far = MemoryLink.pair("line")
        pump = Pump(line, lambda: now().utc_us, near.arrived)
        far.arrived = lambda data: pump.hear(bytes(data))
        await far.open()
        polled = Bus("line", bus.codec, near, now, LineTiming(9600, "8N1"))
        found = [await polled.scan(meter.meter, meter.queries) for _ in range(count)]
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def stamped(scan, at):
    """The scan as if it had been made at an instant."""
    exchanges = tuple(replace(exchange, sent=at, received=at) for exchange in scan.exchanges)
    return replace(scan, exchanges=exchanges, started=at, finished=at)


def entries_of(prepared, made, directory):
    recorder = Recorder(prepared, directory, aggregate_us=300 * S)

    async def write():
        for scan in made:
            at = recorder.clock.now()
            recorder.line.accept("main", Tick(at.utc_us, at.boot_us), stamped(scan, at))
            await recorder.clock.advance(60 * S)
        recorder.commit()

    asyncio.run(write())
    entries = recorder.entries()
    recorder.store.close()
    return entries


@pytest.mark.parametrize(
    ("protocol", "longest", "block", "every"),
    [
        ("dlms-hdlc", 128, 1024, 37),
        ("dlms-hdlc", 80, 4, 173),
        ("dlms-wrapper", 128, 1024, 1000),
        ("dlms-wrapper", 128, 4, 1000),
    ],
)
def test_values_come_out_again_text_for_text(tmp_path, protocol, longest, block, every):
    prepared = site(tmp_path, protocol)
    entries = entries_of(prepared, scans(prepared, longest, block, every), tmp_path / "log")
    result = recompute(entries, Aggregator)
    assert result.findings == ()
    readings = [r for r in map(record.decode, [data for _, data in entries]) if isinstance(r, record.Reading)]
    assert result.indications == sum(len(r.indications) for r in readings) > 20
    assert {r.missing["voltage.l2"] for r in readings if r.indications} == {"error_answer"}
    opening = b"\x93" if protocol == "dlms-hdlc" else b"\x60"
    at = 5 if protocol == "dlms-hdlc" else 8
    often = every == 37 or protocol == "dlms-hdlc"
    begun = [sum(e.request[at : at + 1] == opening for e in r.raw) for r in readings if r.indications]
    assert max(begun) > 1 or not often, "no session was begun anew"
    assert not any(SECRET.encode() in data or SECRET.encode().hex().encode() in data for _, data in entries)


def test_a_value_that_its_scaler_does_not_give_is_named(tmp_path):
    """The place of the point is no matter of trust: the meter's own scaler_unit is in the record, and counts."""
    prepared = site(tmp_path, "dlms-wrapper")
    entries = entries_of(prepared, scans(prepared, 128, 1024, count=2), tmp_path / "log")
    assert recompute(entries, Aggregator).findings == ()
    forged, volts, tens = [], bytes.fromhex("02020FFF1623"), bytes.fromhex("02020FFE1623")
    for index, data in entries:
        told = record.decode(data)
        if isinstance(told, record.Reading):
            assert any(volts in exchange.answer for exchange in told.raw)
            raw = tuple(msgspec.structs.replace(e, answer=e.answer.replace(volts, tens)) for e in told.raw)
            data = record.encode(msgspec.structs.replace(told, raw=raw))
        forged.append((index, data))
    named = recompute(forged, Aggregator).findings
    assert any("voltage.l1" in str(finding) for finding in named)
    assert not any("frequency" in str(finding) for finding in named)


def test_a_site_says_that_a_password_crosses_the_line_readable(tmp_path):
    prepared = site(tmp_path, "dlms-wrapper")
    assert [w.code for w in prepared.warnings] == ["C149"]
    assert "readable" in prepared.warnings[0].message
    ((meter,),) = (bus.meters for bus in prepared.buses)
    assert meter.meter.address == "1+lls"
    assert SECRET not in repr(prepared)
