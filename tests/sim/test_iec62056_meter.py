"""A simulated IEC 62056-21 meter: its rate is kept to on both sides, its sessions end, its faults are as ordered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing, Scan
from drivers.discovery import Survey, survey
from drivers.line import Timing as LineTiming
from drivers.link import MemoryLink, SerialLink, TcpLink
from drivers.profile import load, plan
from drivers.protocols import codec
from sim import instrument
from sim.dlt645_meter import Dlt645Meter
from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import FRAMINGS, HalfDuplex, MeterStation, Timing, character_us
from sim.iec62056_line import Iec62056Line, Iec62056Station
from sim.iec62056_meter import Iec62056Framing, Iec62056Meter, line_of, sealed
from sim.line import Pump
from sim.shared_line import SharedLine
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec
from sim.virtual import VirtualLoop

MakeMeter = Callable[..., instrument.Meter]
MT174 = load("iskra-mt174")
STEP = Decimal("0.001")
START = 1_800_000_000_000_000


def now() -> Instant:
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(START + us, us)


def side_of(meter: instrument.Meter, address: str = "", **more: object) -> Iec62056Meter:
    lines = [line_of(p.item, p.measurand, p.unit, STEP) for p in MT174.points]
    return Iec62056Meter(meter, address, lines, **more)  # type: ignore[arg-type]


def line_with(*sides: Iec62056Meter, faults: tuple[Fault, ...] = (), seed: int = 1) -> Iec62056Line:
    timing = Timing(character_us(300, "7E1"), 40_000, 1_500_000)
    stations = [Iec62056Station(side) for side in sides]
    return Iec62056Line(FRAMINGS["iec62056-21"], stations, timing, Scenario(seed, faults), START)


class Port(MemoryLink):
    """A serial port: what it is set to counts. ``stuck``: it stays as it is."""

    def __init__(self, line: HalfDuplex | SharedLine, baud: int = 9600, *, stuck: bool = False) -> None:
        super().__init__("port")
        self.baud, self._stuck = baud, stuck
        self._pump = Pump(line, lambda: now().utc_us, self.arrived, lambda: self.baud)

    def tune(self, baud: int, framing: str) -> None:
        self.baud = self.baud if self._stuck else baud

    async def write(self, data: bytes) -> None:
        self._pump.hear(data)

    async def close(self) -> None:
        await super().close()
        self._pump.stop()


def polled(
    line: HalfDuplex | SharedLine,
    *meters: Meter,
    protocol: str = "iec62056-21",
    scans: int = 1,
    stuck: bool = False,
) -> list[Scan]:
    async def main() -> list[Scan]:
        bus = Bus("line", codec(protocol), Port(line, stuck=stuck), now, LineTiming(9600, "8E1"))
        return [await bus.scan(m, plan(m.profile)) for _ in range(scans) for m in meters]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def searched(line: HalfDuplex, protocol: str, *, stuck: bool = False) -> tuple[Survey, list[str]]:
    said: list[str] = []

    async def main() -> Survey:
        bus = Bus("line", codec(protocol), Port(line, 300, stuck=stuck), now, LineTiming(300, "7E1"))
        return await survey(bus, [MT174], 600, say=said.append)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main()), said


def shown(scan: Scan) -> dict[str, Decimal | None]:
    return {i.measurand: i.value for i in scan.indications}


@pytest.mark.parametrize(
    ("offer", "block"), [*((offer, 0) for offer in "0256AE!"), ("0", 40), ("5", 40), ("6", 40)]
)
def test_meters_of_all_modes_are_read_at_their_own_rates(
    make_meter: MakeMeter, offer: str, block: int
) -> None:
    meter = make_meter("m", refresh_us=60_000_000, step=STEP)
    (scan,) = polled(line_with(side_of(meter, offer=offer, block=block)), Meter("m", "", MT174))
    assert scan.failure is None
    at = scan.finished.utc_us
    told = {meter.show(meter.refreshed(t)).values["energy.active.import"] for t in (scan.started.utc_us, at)}
    assert shown(scan)["energy.active.import"] in told
    assert None not in shown(scan).values()


def test_a_master_that_does_not_change_its_rate_hears_garbage(make_meter: MakeMeter) -> None:
    """The sign-on at 9600 is not heard at all; at 300 the readout, which comes at 9600, is none."""
    side = side_of(make_meter("m", step=STEP))
    line = line_with(side)
    (scan,) = polled(line, Meter("m", "", MT174, retries=0), stuck=True)
    assert scan.failure is Missing.TIMEOUT
    assert line.counts.requests == 0

    line = line_with(side)
    heard = bytearray()

    async def main() -> None:
        pump = Pump(line, lambda: now().utc_us, heard.extend, lambda: 300)
        for message in (b"/?!\r\n", b"\x06050\r\n"):
            pump.hear(message)
            await asyncio.sleep(1.2)
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    assert heard.startswith(b"/ISk5MT174-0001\r\n")
    assert b"1.8.0" not in heard
    assert len(heard) > 20


def test_a_session_that_does_not_go_on_lapses_and_the_next_sign_on_is_heard_at_300(
    make_meter: MakeMeter,
) -> None:
    line = line_with(side_of(make_meter("m", step=STEP), block=60))
    rate, heard = [300], bytearray()

    async def main() -> None:
        pump = Pump(line, lambda: now().utc_us, heard.extend, lambda: rate[0])

        async def say(message: bytes, answered_at: int = 300) -> bytes:
            heard.clear()
            pump.hear(message)
            await asyncio.sleep(0.22)  # its own characters have gone, the answer has not begun
            rate[0] = answered_at
            await asyncio.sleep(1)
            return bytes(heard)

        assert await say(b"/?!\r\n") == b"/ISk5MT174-0001\r\n"
        assert b"C.1.0" in await say(b"\x06050\r\n", 9600)
        assert b"32.7.0" in await say(b"\x06", 9600)
        rate[0] = 300
        assert await say(b"/?!\r\n") == b""  # it waits for an acknowledge at 9600
        await asyncio.sleep(2)
        assert await say(b"/?!\r\n") == b"/ISk5MT174-0001\r\n"
        pump.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_meters_of_one_line_are_told_apart_by_their_addresses(make_meter: MakeMeter) -> None:
    meters = {
        name: make_meter(name, seed=n, step=STEP, refresh_us=3_600_000_000)
        for n, name in enumerate(("11", "12"), start=1)
    }
    line = line_with(*(side_of(meter, name) for name, meter in meters.items()))
    scans = polled(line, *(Meter(name, name, MT174) for name in ("11", "12", "13")), scans=1)
    values = [shown(scan)["energy.active.import"] for scan in scans]
    assert values[2] is None
    for value, meter in zip(values[:2], meters.values(), strict=True):
        assert value == meter.show(scans[0].started.utc_us).values["energy.active.import"]


def test_it_shares_its_line_with_meters_of_another_protocol_and_rate(make_meter: MakeMeter) -> None:
    dlt = load("dlt645-2007-three-phase")
    timing = Timing(character_us(2400, "8E1"), 40_000, 20_000)
    other = Dlt645Meter(make_meter("b", seed=2), "11")
    lines = [
        (300, line_with(side_of(make_meter("a", step=STEP)))),
        (2400, HalfDuplex(FRAMINGS["dlt645-2007"], [MeterStation(other)], timing, Scenario(), START)),
    ]
    a = Meter("a", "", MT174)
    b = Meter("b", "000000000011", dlt, codec=codec("dlt645-2007"), baud=2400, framing="8E1")
    for scan in polled(SharedLine(lines), a, b, scans=2):
        assert None not in shown(scan).values()


ON_THE_LINE = [
    kind for kind in list(FaultKind)[: list(FaultKind).index(FaultKind.STUCK)] if kind != FaultKind.DEAD
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("offer", "block"), [("5", 0), ("4", 50), ("D", 0)])
def test_whatever_happens_on_the_line_no_value_is_wrong(
    make_meter: MakeMeter, seed: int, offer: str, block: int
) -> None:
    meter = make_meter("m", seed=seed, refresh_us=60_000_000, step=STEP)
    faults = tuple(Fault(kind, share=0.04, delay_ms=700) for kind in ON_THE_LINE)
    line = line_with(side_of(meter, offer=offer, block=block), faults=faults, seed=seed)
    seen: Counter[bool] = Counter()

    @cache
    def values_at(t_us: int) -> Mapping[str, Decimal]:
        return meter.show(t_us).values

    for scan in polled(line, Meter("m", "", MT174, retries=1), scans=60):
        start, end = scan.started.utc_us, scan.finished.utc_us
        instants = {meter.refreshed(t) for t in (start, end, *range(start, end, 60_000_000))}
        for measurand, value in shown(scan).items():
            seen[value is not None] += 1
            off = (
                [abs(value - values_at(t)[measurand]) for t in instants]
                if value is not None
                else [Decimal(0)]
            )
            assert min(off) <= (Decimal("0.06") if measurand.startswith("voltage") else Decimal(0)), measurand
    assert seen[True] > 40
    assert seen[False] > 10
    assert set(line.counts.faults) >= {str(kind) for kind in ON_THE_LINE}


def test_a_wrong_answer_is_wrong_in_what_was_ordered_alone() -> None:
    framing = Iec62056Framing()
    told = sealed("1-0:C.1.0*255(12345678)\r\n1-0:1.8.0*255(0000001.000*kWh)\r\n!\r\n")
    assert framing.shortened(told) == sealed("1-0:C.1.0*255(12345678)\r\n!\r\n")
    assert framing.other_item(told) == sealed(
        "1-0:C.1.0*255(12345678)\r\n1-0:1.8.1*255(0000001.000*kWh)\r\n!\r\n"
    )
    assert b"(12345678)" not in framing.readdressed(told)
    assert framing.unsealed(told)[:-1] == told[:-1]
    assert framing.unsealed(told) != told


@pytest.mark.parametrize(
    ("heard", "whole", "left"),
    [
        (b"\x00\x00/?!\r\n", [b"/?!\r\n"], b""),
        (b"/?123 4!\r\n\x06050\r", [b"/?123 4!\r\n"], b"\x06050\r"),
        (b"\x06", [b"\x06"], b""),
        (b"\x06050\r\n", [b"\x06050\r\n"], b""),
        (b"\x01B0\x03q", [b"\x01B0\x03q"], b""),
        (b"zz/?", [], b"/?"),
    ],
)
def test_messages_are_found_in_what_is_heard(heard: bytes, whole: list[bytes], left: bytes) -> None:
    rest = bytearray(heard)
    assert Iec62056Framing().requests(rest) == whole
    assert rest == left


@pytest.mark.parametrize("offer", ["5", "A"])
def test_the_meter_at_a_head_is_found_without_an_address(make_meter: MakeMeter, offer: str) -> None:
    line = line_with(side_of(make_meter("m", number="0087654321", step=STEP), offer=offer))
    found, said = searched(line, "iec62056-21")
    (one,) = found.found
    assert (one.protocol, one.address, one.number) == ("iec62056-21", "", "87654321")
    assert [(p.profile, p.plausible, p.judged) for p in one.proposals] == [("iskra-mt174", 5, 5)]
    assert said == ["ISk MT174-0001 answers, number 87654321"]


def test_a_meter_that_leaves_the_rate_of_its_line_is_said_and_not_proposed(make_meter: MakeMeter) -> None:
    line = line_with(side_of(make_meter("m", step=STEP)))
    found, said = searched(line, "iec62056-21-fixed", stuck=True)
    assert found.found == ()
    assert said == ["a meter has identified itself, but no readout followed: does the line keep one rate?"]
    assert searched(line_with(), "iec62056-21") == (Survey((), complete=True), [])


def site(port: str, protocol: str, **more: object) -> SimSite:
    meter = SimMeter("m", "", "iskra-mt174", number="0012345678")
    bus = SimBus("head", protocol, port, (meter,), **more)  # type: ignore[arg-type]
    return SimSite(SimSiteSpec(1, (bus,)))


async def test_a_simulated_head_is_a_serial_port_whose_setting_counts(tmp_path: Path) -> None:
    running = site(str(tmp_path / "head"), "iec62056-21")
    await running.start()
    link = SerialLink(running.ports["head"], 9600, "8E1")
    bus = Bus("head", codec("iec62056-21"), link, now, LineTiming(9600, "8E1"))
    try:
        scans = [
            await bus.scan(Meter("m", "", MT174, timeout_s=3, late_s=0.1), plan(MT174)) for _ in range(2)
        ]
    finally:
        await bus.close()
        await running.stop()
    assert all(None not in shown(scan).values() for scan in scans)


@pytest.mark.parametrize(
    "protocol", ["iec62056-21-fixed", pytest.param("iec62056-21-300", marks=pytest.mark.long)]
)
async def test_behind_a_converter_the_rate_stays(protocol: str) -> None:
    running = site("tcp://127.0.0.1:0", protocol, baud=19200, framing="7E1")
    await running.start()
    host, port = running.ports["head"].removeprefix("tcp://").split(":")
    bus = Bus("head", codec(protocol), TcpLink(host, int(port)), now, LineTiming())
    try:
        scan = await bus.scan(Meter("m", "", MT174, timeout_s=3, late_s=0.1), plan(MT174))
    finally:
        await bus.close()
        await running.stop()
    assert None not in shown(scan).values()


def test_a_real_port_cannot_change_its_rate_with_the_meter(tmp_path: Path) -> None:
    running = site("", "iec62056-21", device=str(tmp_path / "ttyX"))
    with pytest.raises(ValueError, match="simulate iec62056-21-300 or iec62056-21-fixed"):
        asyncio.run(running.start())


# ---- registers one by one, in the programming mode


def by_registers(line: Iec62056Line, scans: int = 1, command: str = "R5", retries: int = 1) -> list[Scan]:
    queries = tuple(replace(query, item=command) for query in plan(MT174))

    async def main() -> list[Scan]:
        bus = Bus("line", codec("iec62056-21"), Port(line), now, LineTiming(9600, "8E1"))
        return [await bus.scan(Meter("m", "", MT174, retries=retries), queries) for _ in range(scans)]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("command", ["R1", "R5"])
def test_registers_are_read_one_by_one_and_the_mode_is_left(make_meter: MakeMeter, command: str) -> None:
    meter = make_meter(number="12345678")
    first, second = by_registers(line_with(side_of(meter)), 2, command)
    (readout,) = polled(line_with(side_of(meter)), Meter("m", "", MT174))
    for scan in (first, second):
        said = [exchange.request for exchange in scan.exchanges]
        assert said[:2] == [b"/?!\r\n", b"\x06051\r\n"]
        assert said[-1] == b"\x01B0\x03q"
        assert all(data[1:3] == command.encode() for data in said[2:-1])
        assert len(said) == 3 + len(MT174.points)
        assert None not in shown(scan).values()
    assert shown(first).keys() == shown(readout).keys()


def test_a_register_that_the_meter_does_not_have_is_missing_and_no_other_suffers(
    make_meter: MakeMeter,
) -> None:
    lines = [line_of(p.item, p.measurand, p.unit, STEP) for p in MT174.points if p.item != "2.8.0"]
    (scan,) = by_registers(line_with(Iec62056Meter(make_meter(), "", lines)))
    values = shown(scan)
    assert values.pop("energy.active.export") is None
    assert None not in values.values()
    (why,) = [i.detail for i in scan.indications if i.value is None]
    assert "ER02" in why


@pytest.mark.parametrize(
    "kind", [FaultKind.WRONG_ITEM, FaultKind.WRONG_CHECKSUM, FaultKind.SILENT, FaultKind.SPLIT]
)
def test_faults_give_no_wrong_register_and_the_mode_is_left_all_the_same(
    make_meter: MakeMeter, kind: FaultKind
) -> None:
    line = line_with(side_of(make_meter()), faults=(Fault(kind, from_s=4.0, share=0.4),), seed=3)
    (right,) = by_registers(line_with(side_of(make_meter())))
    registers = {k: v for k, v in shown(right).items() if k.startswith("energy.")}
    for scan in by_registers(line, 8):
        for measurand, value in shown(scan).items():
            if value is not None and measurand in registers:
                before = registers[measurand]
                assert before is not None
                assert 0 <= value - before < 5


def test_a_session_of_registers_comes_out_again_from_its_bytes(make_meter: MakeMeter) -> None:
    from drivers import iec62056_reading
    from drivers.codec import Answer
    from drivers.profile import decode

    (scan,) = by_registers(line_with(side_of(make_meter())))
    spoken = codec("iec62056-21")
    (query,) = (replace(query, item="R5") for query in plan(MT174))
    request = spoken.request("", query)
    answers: list[Answer] = []
    step = request
    for exchange in scan.exchanges[:-1]:
        assert spoken.encode(step) == exchange.request
        (frame,) = spoken.decoder().feed(exchange.answer)
        got = spoken.match(step, frame)  # type: ignore[arg-type]
        assert isinstance(got, Answer)
        answers.append(got)
        if got.more:
            following = spoken.follow(request, got)
            assert isinstance(following, iec62056_reading.Request)
            step = following
    assert decode(MT174, query, spoken.join(answers)) == scan.indications
