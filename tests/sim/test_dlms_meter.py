"""A simulated DLMS/COSEM meter read over its line: sessions that hold, faults as ordered, and never a wrong value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing, Scan
from drivers.cycle_time import cycle_time_s
from drivers.discovery import Survey, survey
from drivers.identity import Identity, identify
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink, TcpLink
from drivers.profile import load, plan
from drivers.protocols import Codec, codec
from gateway.identity import beijing
from sim import instrument
from sim.dlms_meter import DlmsMeter, register_of
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.instrument import Clockwork
from sim.line import Pump
from sim.shared_line import SharedLine
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from sim.virtual import VirtualLoop

MakeMeter = Callable[..., instrument.Meter]
PROFILE = load("dlms-three-phase")
STEP = Decimal("0.01")
START = 1_800_000_000_000_000
DAY_US = 86_400_000_000
BOTH = pytest.mark.parametrize(("protocol", "address"), [("dlms-hdlc", "1/17"), ("dlms-wrapper", "1")])


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(START + us, us)


def side_of(meter: instrument.Meter, protocol: str, address: str, **more: object) -> DlmsMeter:
    objects = [register_of(p.item, p.measurand, p.unit, STEP) for p in PROFILE.points]
    return DlmsMeter(meter, address, objects, wrapped=protocol == "dlms-wrapper", **more)  # type: ignore[arg-type]


def line_with(
    *sides: DlmsMeter, protocol: str = "dlms-hdlc", faults: tuple[Fault, ...] = (), echo: bool = False
) -> HalfDuplex:
    timing = Timing(character_us(9600, "8N1"), 40_000, 20_000, echo=echo)
    return HalfDuplex(
        FRAMINGS[protocol], [MeterStation(side) for side in sides], timing, Scenario(5, faults), START
    )


async def opened(line: HalfDuplex | SharedLine, speaks: Codec) -> tuple[Bus, Pump]:
    near, far = MemoryLink.pair("line")
    pump = Pump(line, lambda: now().utc_us, near.arrived)
    far.arrived = lambda data: pump.hear(bytes(data))  # type: ignore[method-assign]
    await far.open()
    return Bus("line", speaks, near, now, LineTiming(9600, "8N1")), pump


def polled(
    line: HalfDuplex | SharedLine,
    *meters: Meter,
    speaks: Codec | None = None,
    scans: int = 1,
    wanted: tuple[str, ...] | None = None,
) -> tuple[list[Scan], Bus]:
    async def main() -> tuple[list[Scan], Bus]:
        bus, pump = await opened(line, speaks or codec("dlms-hdlc"))
        found = [await bus.scan(m, plan(m.profile, wanted)) for _ in range(scans) for m in meters]
        pump.stop()
        return found, bus

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def truth(meter: instrument.Meter) -> dict[str, Decimal]:
    """What a meter that renews its indications once a day shows all day, in the profile's units."""
    shown = meter.show(meter.refreshed(START)).values
    found = {}
    for point in PROFILE.points:
        one = register_of(point.item, point.measurand, point.unit, STEP)
        kilo = 3 if point.unit.startswith("k") else 0
        found[point.measurand] = Decimal(one.number(shown[point.measurand])).scaleb(one.scaler - kilo)
    return found


def told(scan: Scan) -> dict[str, Decimal]:
    return {i.measurand: i.value for i in scan.indications if i.value is not None}


@BOTH
@pytest.mark.parametrize("shape", [{}, {"longest": 20}, {"block": 3}, {"longest": 24, "block": 5}])
def test_what_the_meter_shows_is_what_is_read_however_it_cuts_its_answers(
    make_meter: MakeMeter, protocol: str, address: str, shape: dict[str, int]
) -> None:
    meter = make_meter("m", refresh_us=DAY_US, step=STEP)
    line = line_with(side_of(meter, protocol, address, **shape), protocol=protocol)
    (first, second), bus = polled(line, Meter("m", address, PROFILE), speaks=codec(protocol), scans=2)
    assert told(first) == told(second) == truth(meter)
    assert bus.counts.by_address == {}
    assert first.exchanges[-1].answer, "the session was not ended"


def test_addresses_of_one_two_and_four_bytes_share_a_line(make_meter: MakeMeter) -> None:
    addresses = ("1", "1/17", "1/17:4", "1/4660")
    meters = [make_meter(a, seed=n, refresh_us=DAY_US, step=STEP) for n, a in enumerate(addresses)]
    line = line_with(*(side_of(m, "dlms-hdlc", m.id) for m in meters))
    scans, _ = polled(line, *(Meter(a, a, PROFILE) for a in addresses))
    for scan, meter in zip(scans, meters, strict=True):
        assert told(scan) == truth(meter)


FEW = ("energy.active.import", "energy.reactive.import", "voltage.l1", "power.active.total")
KINDS = [
    FaultKind.LATE,
    FaultKind.SLOW_CARRIER,
    FaultKind.SILENT,
    FaultKind.WRONG_ADDRESS,
    FaultKind.WRONG_CHECKSUM,
    FaultKind.WRONG_ITEM,
    FaultKind.WRONG_LENGTH,
    FaultKind.ECHO,
    FaultKind.NOISE_BEFORE,
    FaultKind.NOISE_AFTER,
    FaultKind.SPLIT,
    FaultKind.MERGED,
    FaultKind.BAUD_MISMATCH,
]


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_under_every_fault_of_the_line_no_value_is_wrong(
    make_meter: MakeMeter, protocol: str, address: str, kind: FaultKind
) -> None:
    meter = make_meter("m", refresh_us=DAY_US, step=STEP)
    faults = (Fault(kind, share=0.09, delay_ms=1500),)
    line = line_with(side_of(meter, protocol, address), protocol=protocol, faults=faults)
    scans, bus = polled(
        line, Meter("m", address, PROFILE, retries=2), speaks=codec(protocol), scans=8, wanted=FEW
    )
    right = truth(meter)
    assert line.counts.faults[kind]
    for scan in scans:
        for indication in scan.indications:
            assert indication.value in (None, right[indication.measurand])
            assert indication.value is not None or indication.missing is not None
    read = sum(len(told(scan)) for scan in scans)
    # A sound frame that was made shorter is the value's own affair: that one is missing. All else is asked again.
    assert read > 0.7 * 8 * len(FEW), (read, bus.counts)


def test_a_repeated_request_is_answered_by_the_frame_that_was_lost(make_meter: MakeMeter) -> None:
    """The meter's side: a frame with a number that it has had is not served twice; its last frame comes again."""
    side = side_of(make_meter("m", step=STEP), "dlms-hdlc", "1")
    line = line_with(side, faults=(Fault(FaultKind.SILENT, share=0.12),))
    scans, _ = polled(line, Meter("m", "1", PROFILE, retries=4), scans=3)
    assert all(len(told(scan)) == len(PROFILE.points) for scan in scans)
    again = [
        (a.request, a.failure)
        for scan in scans
        for a, b in zip(scan.exchanges, scan.exchanges[1:], strict=False)
        if a.request == b.request and a.failure is Missing.TIMEOUT and b.answer
    ]
    assert again, "no request was repeated within its session"


def test_a_meter_that_loses_its_link_is_called_anew(make_meter: MakeMeter) -> None:
    meter = make_meter("m", refresh_us=DAY_US, step=STEP)
    side = side_of(meter, "dlms-hdlc", "1")
    answer, heard = side.answer, [0]

    def forgetful(frame: bytes, show: object, t_us: int) -> bytes | None:
        heard[0] += 1
        if heard[0] == 12:
            side.hang_up()
        return answer(frame, show, t_us)  # type: ignore[arg-type]

    side.answer = forgetful  # type: ignore[method-assign]
    (scan,), _ = polled(line_with(side), Meter("m", "1", PROFILE))
    assert told(scan) == truth(meter)
    assert sum(exchange.request[5:6] == b"\x93" for exchange in scan.exchanges) == 2


def test_what_the_meter_does_not_have_is_missing_alone(make_meter: MakeMeter) -> None:
    meter = make_meter("m", phases=1, refresh_us=DAY_US, step=STEP)
    extra = {bytes.fromhex("0003 01000E0700FF 02"): b"\0", bytes.fromhex("0003 01000D0700FF 03"): b"\0"}
    side = side_of(meter, "dlms-hdlc", "1", extra=extra)
    del side._registers[bytes.fromhex("0100010800FF")]
    (scan,), _ = polled(line_with(side), Meter("m", "1", PROFILE))
    why = {i.measurand: (i.missing, i.detail) for i in scan.indications if i.value is None}
    assert why["energy.active.import"] == (Missing.ERROR_ANSWER, "object-undefined")
    assert why["frequency"] == (Missing.NOT_SUPPORTED, "null-data")
    assert why["power_factor.total"][0] is Missing.UNKNOWN_FORMAT
    assert why["voltage.l2"] == (Missing.NOT_SUPPORTED, "null-data")
    assert told(scan)["voltage.l1"] > 100


@BOTH
def test_a_password_lets_in_and_is_not_among_what_is_kept(
    make_meter: MakeMeter, protocol: str, address: str
) -> None:
    meter = make_meter("m", refresh_us=DAY_US, step=STEP)

    def read(password: bytes) -> Scan:
        speaks = replace(codec(protocol), password=password)  # type: ignore[type-var]
        side = side_of(meter, protocol, address, password=b"s3cret-pw")
        faults = (Fault(FaultKind.ECHO), Fault(FaultKind.WRONG_CHECKSUM, share=0.1))
        line = line_with(side, protocol=protocol, faults=faults)
        (scan,), _ = polled(line, Meter("m", speaks.address(address), PROFILE, retries=4), speaks=speaks)
        return scan

    right = read(b"s3cret-pw")
    assert told(right) == truth(meter)
    assert all(b"s3cret" not in e.request + e.answer for e in right.exchanges)
    for wrong in (b"another", b""):
        refused = read(wrong)
        assert refused.failure is Missing.ERROR_ANSWER
        assert "authentication" in refused.indications[0].detail


def test_a_broken_echo_of_the_password_is_not_kept(make_meter: MakeMeter) -> None:
    speaks = replace(codec("dlms-hdlc"), password=b"s3cret-pw")  # type: ignore[type-var]

    class Garbling(MemoryLink):
        async def write(self, data: bytes) -> None:
            self.arrived(data[:-2] + b"\0\0" if b"s3cret" in data else b"")
            if data[5:6] == b"\x93":
                loop = asyncio.get_running_loop()
                loop.call_later(0.05, self.arrived, bytes.fromhex("7EA0072103737F967E"))

    async def main() -> Scan:
        bus = Bus("line", speaks, Garbling("line"), now, LineTiming(9600, "8N1"))
        return await bus.scan(Meter("m", speaks.address("1"), PROFILE), plan(PROFILE))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        scan = runner.run(main())
    kept = b"".join(exchange.request + exchange.answer for exchange in scan.exchanges)
    assert scan.failure is not None
    assert b"s3cret" not in kept


def who(line: HalfDuplex, protocol: str, address: str) -> Identity:
    async def main() -> Identity:
        bus, pump = await opened(line, codec(protocol))
        found = await identify(bus, Meter("m", address, PROFILE), beijing)
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


@BOTH
def test_the_meter_says_its_number_and_how_its_clock_goes(
    make_meter: MakeMeter, protocol: str, address: str
) -> None:
    slow = Clockwork(offset_us=-90_000_000)
    meter = make_meter("m", number="202600000011", clock=slow, step=STEP)
    found = who(line_with(side_of(meter, protocol, address), protocol=protocol), protocol, address)
    assert (found.number, found.answered) == ("202600000011", True)
    assert found.clock_ahead_s in (-90, -91)
    silent = who(line_with(protocol=protocol), protocol, address)
    assert silent == Identity()


def test_a_line_is_shared_with_meters_of_another_protocol(make_meter: MakeMeter) -> None:
    meter, other = make_meter("m", refresh_us=DAY_US, step=STEP), make_meter("o", seed=2)
    timing = Timing(character_us(9600, "8E1"), 40_000, 20_000)
    dlt = HalfDuplex(
        FRAMINGS["dlt645-2007"], [MeterStation(Dlt645Meter(other, "11"))], timing, Scenario(), START
    )
    line = SharedLine([(9600, line_with(side_of(meter, "dlms-hdlc", "1"))), (9600, dlt)])
    second = load("dlt645-2007-three-phase")
    both = (
        Meter("m", "1", PROFILE),
        Meter("o", "000000000011", second, codec=codec("dlt645-2007"), framing="8E1"),
    )
    scans, _ = polled(line, *both, scans=2)
    assert told(scans[0]) == told(scans[2]) == truth(meter)
    assert all(i.value is not None for scan in (scans[1], scans[3]) for i in scan.indications)


def found_on(line: HalfDuplex, protocol: str, **more: object) -> tuple[Survey, list[str]]:
    said: list[str] = []

    async def main() -> Survey:
        bus, pump = await opened(line, codec(protocol))
        found = await survey(bus, [PROFILE], 600, say=said.append, **more)  # type: ignore[arg-type]
        pump.stop()
        return found

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main()), said


def test_meters_are_found_at_usual_addresses_and_at_those_given(make_meter: MakeMeter) -> None:
    meters = [
        make_meter(a, number=f"2026000000{n}", seed=n, step=STEP) for n, a in enumerate(("1/17", "1/42"), 11)
    ]

    def line() -> HalfDuplex:
        return line_with(*(side_of(m, "dlms-hdlc", m.id) for m in meters))

    usual, _ = found_on(line(), "dlms-hdlc")
    assert [(f.address, f.number) for f in usual.found] == [("1/17", "202600000011")]
    assert usual.found[0].proposals[0].profile == "dlms-three-phase"
    assert usual.found[0].proposals[0].plausible == len(PROFILE.points)
    given, _ = found_on(line(), "dlms-hdlc", addresses=("1/42",))
    assert [(f.address, f.number) for f in given.found] == [("1/42", "202600000012")]
    ranged, _ = found_on(line(), "dlms-hdlc", units=range(40, 45), identities=False)
    assert [f.address for f in ranged.found] == ["1/17", "1/42"]


def test_a_meter_that_wants_a_password_is_found_and_said_to(make_meter: MakeMeter) -> None:
    line = line_with(
        side_of(make_meter("m", step=STEP), "dlms-wrapper", "1", password=b"x"), protocol="dlms-wrapper"
    )
    found, said = found_on(line, "dlms-wrapper")
    assert [f.address for f in found.found] == ["1"]
    assert any("does not let us in" in text and "authentication-required" in text for text in said)


def test_the_budget_is_near_what_a_scan_takes(make_meter: MakeMeter) -> None:
    line = line_with(side_of(make_meter("m", step=STEP), "dlms-hdlc", "1/17"))
    meter = Meter("m", "1/17", PROFILE)
    (_, scan), _ = polled(line, meter, scans=2)
    took = (scan.finished.boot_us - scan.started.boot_us) / 1e6
    reckoned = cycle_time_s(codec("dlms-hdlc"), meter, plan(PROFILE), LineTiming(9600, "8N1"), 0.040)
    assert 0.95 < reckoned / took < 1.1


async def test_meters_are_served_on_a_port_as_a_site_describes_them(tmp_path: Path) -> None:
    meters = (SimMeter("h", "1/17", "dlms-three-phase"), SimMeter("w", "1", "dlms-three-phase"))
    site = SimSite(
        SimSiteSpec(
            1,
            (
                SimBus("h", "dlms-hdlc", "tcp://127.0.0.1:0", meters[:1], reply_ms=1, baud=115200),
                SimBus("w", "dlms-wrapper", "tcp://127.0.0.1:0", meters[1:], reply_ms=1, baud=115200),
            ),
        )
    )
    await site.start()
    try:
        for name, protocol in (("h", "dlms-hdlc"), ("w", "dlms-wrapper")):
            url = site.ports[name].removeprefix("tcp://")
            host, _, port = url.partition(":")
            bus = Bus(name, codec(protocol), TcpLink(host, int(port)), now_real)
            meter = next(m for m in meters if m.id == name)
            before = site.indications(name, site._now_us()).values["energy.active.import"]
            scan = await bus.scan(Meter(name, meter.address, PROFILE), plan(PROFILE, FEW))
            after = site.indications(name, site._now_us()).values["energy.active.import"]
            await bus.close()
            assert before <= told(scan)["energy.active.import"] <= after
            assert not [i for i in scan.indications if i.value is None]
    finally:
        await site.stop()


def now_real() -> Instant:
    return Instant(START, round(asyncio.get_running_loop().time() * 1e6))
