"""A site over real links, read by programs that this project did not write. Loopback and ptys only."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from dlt645 import DLT645Protocol
from dlt645.common.base_log import disable_logging
from dlt645.common.transform import bcd_to_float
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer import FramerType

from sim.background import in_background
from sim.demo import demo_spec
from sim.faults import Fault, FaultKind, Scenario
from sim.framing import Dlt645Framing, dlt645_frame
from sim.halfduplex import HalfDuplex, Timing
from sim.line import PtyLine
from sim.site import SimBus, SimMeter, SimSite, SimSiteSpec, ratio
from sim.world import DAY_US, EPOCH_US

disable_logging()

NOW_US = EPOCH_US + 300 * DAY_US + 10 * 3_600_000_000


def stopped_clock() -> int:
    return NOW_US


@asynccontextmanager
async def running(spec: SimSiteSpec, now_us: Callable[[], int] = stopped_clock) -> AsyncIterator[SimSite]:
    site = SimSite(spec, now_us=now_us)
    await site.start()
    try:
        yield site
    finally:
        await site.stop()


def port_of(site: SimSite, bus: str) -> int:
    return int(site.ports[bus].rpartition(":")[2])


def spec_of(bus: SimBus, scenario: Scenario | None = None) -> SimSiteSpec:
    return SimSiteSpec(1, (bus,), scenario or Scenario())


def sdm630(port: str, **given: object) -> SimBus:
    meter = SimMeter("a", "3", "eastron-sdm630", rated_current="80", modulus=Decimal(100_000))
    return replace(SimBus("line", "modbus-rtu", port, (meter,), baud=115200, reply_ms=1), **given)  # type: ignore[arg-type]


def dlt645(port: str, n: int = 1, **given: object) -> SimBus:
    meters = tuple(SimMeter(f"m{k}", str(k), "dlt645-2007-three-phase", seed=k) for k in range(1, n + 1))
    return replace(SimBus("line", "dlt645-2007", port, meters, baud=115200, reply_ms=1), **given)  # type: ignore[arg-type]


def iem3000() -> SimBus:
    meter = SimMeter("t", "1", "schneider-iem3000", ct="1000/5", step=Decimal("0.001"))
    return SimBus("line", "modbus-tcp", "tcp://127.0.0.1:0", (meter,), reply_ms=0)


async def read_tcp(site: SimSite, address: int, count: int, unit: int = 1) -> list[int] | int:
    """Registers, or the exception code, as pymodbus's client sees them."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port_of(site, "line"), timeout=2, retries=0)
    await client.connect()
    try:
        answer = await client.read_holding_registers(address, count=count, device_id=unit)
        return answer.exception_code if answer.isError() else answer.registers
    finally:
        client.close()


# ---- Modbus TCP


async def test_pymodbus_reads_the_tcp_meter_at_the_instant_of_each_read() -> None:
    clock = [NOW_US]
    async with running(spec_of(iem3000()), lambda: clock[0]) as site:
        for later_us in (0, 60_000_000):
            clock[0] = NOW_US + later_us
            words = await read_tcp(site, 3203, 4)
            assert isinstance(words, list)
            wh = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
            assert Decimal(wh) / 1000 == site.indications("t", clock[0]).values["energy.active.import"]
        assert await read_tcp(site, 3203, 4) != await read_tcp(site, 3207, 4)
        assert await read_tcp(site, 100, 2) == 2
        assert await read_tcp(site, 3203, 4, unit=9) == 0x0B


async def test_several_units_answer_behind_one_gateway() -> None:
    (one,) = iem3000().meters
    bus = replace(iem3000(), meters=(one, replace(one, id="u", address="2", seed=7)))
    async with running(spec_of(bus)) as site:
        read = [await read_tcp(site, 3203, 4, unit) for unit in (1, 2, 3)]
        for words, id_ in zip(read[:2], ("t", "u"), strict=True):
            assert isinstance(words, list)
            wh = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
            assert Decimal(wh) / 1000 == site.indications(id_, NOW_US).values["energy.active.import"]
        assert read[0] != read[1]
        assert read[2] == 0x0B


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_silent_tcp_meter_is_not_heard_and_a_wrong_length_is_short() -> None:
    request = bytes.fromhex("00010000000601030c830004")
    silent = Scenario(0, (Fault(FaultKind.SILENT, to_s=1),))
    clock = [NOW_US]
    async with (
        running(spec_of(iem3000(), silent), lambda: clock[0]) as site,
        connection(port_of(site, "line")) as (reader, writer),
    ):
        writer.write(request)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert site.counts["line"].unanswered == 1
        clock[0] += 2_000_000
        writer.write(request)
        assert (await asyncio.wait_for(reader.readexactly(17), 2))[8] == 8
    short = Scenario(0, (Fault(FaultKind.WRONG_LENGTH),))
    async with (
        running(spec_of(iem3000(), short)) as site,
        connection(port_of(site, "line")) as (reader, writer),
    ):
        writer.write(request)
        answer = await asyncio.wait_for(reader.readexactly(9 + 6), 2)
        assert answer[:9].hex() == "000100000009010306"


async def test_another_units_answer_may_follow_in_the_same_segment() -> None:
    request = bytes.fromhex("00010000000601030c830004")
    merged = Scenario(0, (Fault(FaultKind.MERGED),))
    async with (
        running(spec_of(iem3000(), merged)) as site,
        connection(port_of(site, "line")) as (reader, writer),
    ):
        writer.write(request)
        both = await asyncio.wait_for(reader.readexactly(2 * 17), 2)
    assert (both[:6], both[6], both[17:23], both[23]) == (both[17:23], 1, both[:6], 2)
    assert both[7:17] == both[24:]


# ---- Modbus RTU


async def test_pymodbus_reads_the_rtu_meter_on_a_pty(tmp_path: Path) -> None:
    async with running(spec_of(sdm630(str(tmp_path / "port")))) as site:
        client = AsyncModbusSerialClient(
            site.ports["line"], baudrate=115200, parity="N", timeout=2, retries=0
        )
        await client.connect()
        answer = await client.read_input_registers(0, count=12, device_id=3)
        values = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
        refused = await client.read_input_registers(4000, count=2, device_id=3)
        client.close()
    shown = site.indications("a", NOW_US).values
    names = [f"{q}.l{n}" for q in ("voltage", "current") for n in (1, 2, 3)]
    assert isinstance(values, list)
    assert values == pytest.approx([float(shown[name]) for name in names], rel=1e-6)
    assert refused.exception_code == 2


async def test_pymodbus_reads_the_rtu_meter_behind_a_tcp_converter() -> None:
    async with running(spec_of(sdm630("tcp://127.0.0.1:0"))) as site:
        client = AsyncModbusTcpClient(
            "127.0.0.1", port=port_of(site, "line"), framer=FramerType.RTU, timeout=2, retries=0
        )
        await client.connect()
        answer = await client.read_input_registers(72, count=2, device_id=3)
        client.close()
        value = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32)
        shown = site.indications("a", NOW_US).values["energy.active.import"]
        assert value == pytest.approx(float(shown), abs=0.005)


# ---- DL/T 645


async def exchange(port: int, request: bytes, length: int) -> bytes:
    async with connection(port) as (reader, writer):
        writer.write(request)
        return await asyncio.wait_for(reader.readexactly(length), 2)


async def test_the_other_parser_accepts_the_645_meter_behind_a_tcp_converter() -> None:
    async with running(spec_of(dlt645("tcp://127.0.0.1:0", n=32))) as site:
        for k in (1, 17, 32):
            address = bytes.fromhex(f"{k:02d}") + bytes(5)
            raw = await exchange(
                port_of(site, "line"), dlt645_frame(address, 0x11, bytes.fromhex("00000100")), 24
            )
            frame = DLT645Protocol.deserialize(raw)
            assert bytes(frame.addr) == address
            shown = site.indications(f"m{k}", NOW_US).values["energy.active.import"]
            assert bcd_to_float(frame.data[4:], "XXXXXX.XX", "little") == float(shown)


class Recorder(HalfDuplex):
    """A line that tells the test when something was said on it."""

    def __init__(self) -> None:
        super().__init__(Dlt645Framing(), (), Timing(1.0, 0, 500_000), Scenario(), NOW_US)
        self.said: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()

    def hear(self, data: bytes, at_us: int, utc_us: int, *, garbled: bool = False) -> None:
        self.said.put_nowait((data, garbled))


async def test_a_program_at_another_baud_rate_is_garbage_on_the_pty(tmp_path: Path) -> None:
    recorder = Recorder()
    line = PtyLine(recorder, tmp_path / "line", 9600, stopped_clock)
    await line.start()
    fd = os.open(line.port, os.O_RDWR | os.O_NOCTTY)
    try:
        for speed, garbled in ((termios.B9600, False), (termios.B2400, True), (termios.B9600, False)):
            settings = termios.tcgetattr(fd)
            settings[4] = settings[5] = speed
            termios.tcsetattr(fd, termios.TCSANOW, settings)
            os.write(fd, b"hello")
            assert await asyncio.wait_for(recorder.said.get(), 2) == (b"hello", garbled)
    finally:
        os.close(fd)
        await line.stop()


async def test_a_pty_carries_a_645_exchange(tmp_path: Path) -> None:
    async with running(spec_of(dlt645(str(tmp_path / "ports" / "line")))) as site:
        fd = os.open(site.ports["line"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        heard = bytearray()
        arrived = asyncio.Event()

        def read() -> None:
            heard.extend(os.read(fd, 100))
            if len(heard) >= 24:
                arrived.set()

        loop.add_reader(fd, read)
        try:
            os.write(fd, dlt645_frame(bytes((1, 0, 0, 0, 0, 0)), 0x11, bytes.fromhex("00000100")))
            await asyncio.wait_for(arrived.wait(), 2)
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        assert DLT645Protocol.deserialize(bytes(heard)).ctrl_code == 0x91
        assert site.counts["line"].answers == 1


async def test_a_port_path_is_a_link_that_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "line"
    path.symlink_to("/dev/pts/left-behind")
    async with running(spec_of(dlt645(str(path)))):
        assert path.is_symlink()
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        assert os.isatty(fd)
        os.close(fd)
    assert not path.is_symlink()
    path.symlink_to("ttyUSB0")  # as a rule for serial names makes them
    with pytest.raises(FileExistsError, match="not a link"):
        async with running(spec_of(dlt645(str(path)))):
            pass
    assert path.is_symlink()
    path.unlink()
    path.write_text("somebody's file")
    with pytest.raises(FileExistsError, match="not a link"):
        async with running(spec_of(dlt645(str(path)))):
            pass
    assert path.read_text() == "somebody's file"


async def test_a_converter_serves_one_client_the_newest() -> None:
    request = dlt645_frame(bytes((1, 0, 0, 0, 0, 0)), 0x11, bytes.fromhex("00000100"))
    async with (
        running(spec_of(dlt645("tcp://127.0.0.1:0"))) as site,
        connection(port_of(site, "line")) as first,
    ):
        assert len(await exchange(port_of(site, "line"), request, 24)) == 24
        with suppress(ConnectionResetError):  # hung up on, either way
            assert await asyncio.wait_for(first[0].read(1), 2) == b""


# ---- the site


def test_the_truth_is_known_without_starting(tmp_path: Path) -> None:
    one, two = (SimSite(demo_spec(tmp_path, seed=4), now_us=stopped_clock) for _ in range(2))
    for id_ in one.meters:
        assert one.truth(id_, NOW_US) == two.truth(id_, NOW_US)
        energy = one.energy(id_, NOW_US, NOW_US + 3_600_000_000)
        assert energy == two.energy(id_, NOW_US, NOW_US + 3_600_000_000)
        assert energy.active_import > 0
        assert one.indications(id_, NOW_US) == two.indications(id_, NOW_US)
    other = SimSite(demo_spec(tmp_path, seed=5), now_us=stopped_clock)
    assert other.truth("spinning", NOW_US) != one.truth("spinning", NOW_US)


def test_what_a_meter_shows_is_near_the_truth_but_not_it(tmp_path: Path) -> None:
    site = SimSite(demo_spec(tmp_path), now_us=stopped_clock)
    for id_, meter in site.meters.items():
        scale = 1 if meter.shows_primary else meter.ratio
        true = site.energy(id_, NOW_US, NOW_US + 3_600_000_000).active_import
        shown = meter.indicated_energy(NOW_US, NOW_US + 3_600_000_000)[0] * scale
        assert 1e-5 < abs(shown / true - 1) < 0.015


def test_a_description_names_every_port_and_meter(tmp_path: Path) -> None:
    spec = demo_spec(tmp_path)
    text = SimSite(spec, now_us=stopped_clock).describe()
    for bus in spec.buses:
        assert bus.port in text
        for meter in bus.meters:
            assert meter.id in text


def test_specifications_that_cannot_work_are_refused_in_words(tmp_path: Path) -> None:
    meter = SimMeter("a", "1", "eastron-sdm630")
    with pytest.raises(ValueError, match="is for modbus, the meter speaks dlt645-2007"):
        SimSite(spec_of(SimBus("line", "dlt645-2007", "x", (meter,))))
    with pytest.raises(ValueError, match="two meters 'a'"):
        SimSite(spec_of(SimBus("line", "modbus-rtu", "x", (meter, meter))))
    for text in ("2000/0", "many", "", "-5/5"):
        with pytest.raises(ValueError, match="2000/5"):
            ratio(text)


async def test_what_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    good = dlt645(str(tmp_path / "good"))
    strange = replace(good, name="strange", port=str(tmp_path / "other"), framing="8X1")
    strange = replace(strange, meters=tuple(replace(m, id=m.id + "x") for m in good.meters))
    with pytest.raises(ValueError, match="8E1"):
        async with running(SimSiteSpec(1, (good, strange))):
            pass
    assert not (tmp_path / "good").is_symlink()


# ---- the fixture for integrators


def test_the_fixture_gives_a_running_site_to_a_test_that_blocks(suyuan_site: SimSite) -> None:
    fd = os.open(suyuan_site.ports["rs485-1"], os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(fd, dlt645_frame(bytes.fromhex("110000002620"), 0x11, bytes.fromhex("00000100")))
        answer = b""
        while len(answer) < 24:
            answer += os.read(fd, 24)
    finally:
        os.close(fd)
    assert DLT645Protocol.deserialize(answer).ctrl_code == 0x91
    assert suyuan_site.truth("spinning", NOW_US).power > 0


def test_a_site_in_the_background_hands_its_failure_over(tmp_path: Path) -> None:
    (tmp_path / "line").write_text("somebody's file")
    with pytest.raises(FileExistsError), in_background(SimSite(spec_of(dlt645(str(tmp_path / "line"))))):
        pass
