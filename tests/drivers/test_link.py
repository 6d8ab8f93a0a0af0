"""Links: bytes in, bytes out, one owner, and a clear word when the other end is gone."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import termios
import threading
import tty

import pytest
import serial

from drivers import dlt645, modbus, profile
from drivers.bus import Bus, Meter
from drivers.codec import Instant, Missing
from drivers.line import Line, Patience, Timing
from drivers.link import INBOX_LIMIT, LinkDown, MemoryLink, SerialLink, TcpLink, link, parse_framing
from drivers.protocols import codec

RTU, DLT = codec("modbus-rtu"), codec("dlt645-2007")
WAIT_S = 5.0  # no test waits that long: the bound of what would hang


class Pty:
    """A pseudo terminal behind a stable name, as udev gives one: it can be pulled out and put in again."""

    def __init__(self, name) -> None:
        self.name = name
        self.master = -1
        self.plug()

    def plug(self) -> None:
        self.master, self.slave = os.openpty()  # the slave stays open: without one, reading the master fails
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.name.symlink_to(os.ttyname(self.slave))

    def pull(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            os.close(self.slave)
            self.master = -1
            self.name.unlink()

    async def heard(self, count: int) -> bytes:
        """``count`` bytes that came out at the far end."""
        loop = asyncio.get_running_loop()
        got, ready = b"", asyncio.Event()
        loop.add_reader(self.master, ready.set)
        try:
            async with asyncio.timeout(WAIT_S):
                while len(got) < count:
                    ready.clear()
                    await ready.wait()
                    got += os.read(self.master, 4096)
        finally:
            loop.remove_reader(self.master)
        return got


@pytest.fixture
def pty(tmp_path):
    port = Pty(tmp_path / "ttyMETER")
    yield port
    port.pull()


async def read(port, count: int) -> bytes:
    got = b""
    async with asyncio.timeout(WAIT_S):
        while len(got) < count:
            got += await port.read()
    return got


# ---- names ----------------------------------------------------------------------------------------------------------


def test_a_link_is_named_by_its_port():
    tcp = link("tcp://10.0.0.7:502")
    assert isinstance(tcp, TcpLink)
    assert (tcp.host, tcp.port) == ("10.0.0.7", 502)
    assert link("tcp://[fe80::1]:4001").describe() == "tcp://[fe80::1]:4001"
    port = link("/dev/ttyUSB0", 2400, "8E1")
    assert isinstance(port, SerialLink)
    assert port.describe() == "/dev/ttyUSB0 (2400 8E1)"


@pytest.mark.parametrize(
    "port", ["tcp://host", "tcp://host:0", "tcp://host:65536", "tcp://:502", "udp://host:502"]
)
def test_what_is_no_port_is_refused_in_words(port):
    with pytest.raises(ValueError, match="is not a port: write"):
        link(port)


@pytest.mark.parametrize(
    ("framing", "parts"), [("8E1", (8, "E", 1.0)), ("7E1", (7, "E", 1.0)), ("8N2", (8, "N", 2.0))]
)
def test_framings(framing, parts):
    assert parse_framing(framing) == parts


@pytest.mark.parametrize("framing", ["", "8e1", "9N1", "8E3", "80.0", "8E1 "])
def test_what_is_no_framing_is_refused_in_words(framing):
    with pytest.raises(ValueError, match="is not a framing"):
        SerialLink("/dev/ttyUSB0", 9600, framing)


def test_a_character_takes_its_start_parity_and_stop_bits():
    assert Timing(2400, "8E1").character_s == pytest.approx(11 / 2400)
    assert Timing(9600, "8N1").character_s == pytest.approx(10 / 9600)
    assert Timing(300, "7E1").character_s == pytest.approx(10 / 300)


# ---- in memory ------------------------------------------------------------------------------------------------------


async def test_what_one_end_writes_the_other_reads():
    near, far = MemoryLink.pair()
    await near.open()
    await far.open()
    await near.write(b"ab")
    await near.write(b"c")
    assert far.take() == b"abc"
    assert far.take() == b""
    waiting = asyncio.ensure_future(near.read())
    await asyncio.sleep(0)
    await far.write(b"xyz")
    assert await waiting == b"xyz"


async def test_a_reader_given_up_loses_no_byte():
    near, far = MemoryLink.pair()
    await near.open()
    await far.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await near.read()
    await far.write(b"late")
    assert await near.read() == b"late"


async def test_what_nobody_reads_is_bounded_and_the_loss_is_told():
    near, far = MemoryLink.pair()
    await near.open()
    await far.open()
    await far.write(b"x" * INBOX_LIMIT)
    await far.write(b"end")
    assert near.lost == 3
    assert near.take()[-4:] == b"xend"


async def test_a_closed_link_says_so():
    near, _ = MemoryLink.pair()
    with pytest.raises(LinkDown, match="not open"):
        await near.write(b"x")
    await near.open()
    waiting = asyncio.ensure_future(near.read())
    await asyncio.sleep(0)
    await near.close()
    with pytest.raises(LinkDown, match="closed"):
        await waiting


# ---- a serial port --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["8N1", "8E1", "7E1"])
async def test_bytes_go_both_ways_over_a_pty_whatever_the_framing(pty, framing):
    port = SerialLink(str(pty.name), 9600, framing)
    await port.open()
    every = bytes(range(256))
    await port.write(every)
    assert await pty.heard(256) == every
    os.write(pty.master, every)
    assert await read(port, 256) == every
    await port.close()
    assert not port.is_open


async def test_a_long_write_waits_for_the_line_and_loses_nothing(pty):
    port = SerialLink(str(pty.name))
    await port.open()
    data = bytes(range(256)) * 200  # more than a pty holds
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        writing = group.create_task(port.write(data))
        assert await pty.heard(len(data)) == data
        await writing
    await port.close()


async def test_a_port_that_takes_no_more_bytes_is_down_in_bounded_time(pty):
    port = SerialLink(str(pty.name), write_s=0.02)
    await port.open()
    with pytest.raises(LinkDown, match="takes no more bytes"):
        async with asyncio.timeout(WAIT_S):
            await port.write(bytes(1_000_000))
    assert not port.is_open


async def test_a_port_whose_driver_knows_no_rs485_says_so(pty):
    with pytest.raises(LinkDown, match="rs485_rts = false"):
        await SerialLink(str(pty.name), rs485_rts=True).open()
    port = SerialLink(str(pty.name))
    await port.open()  # it has not stayed locked
    await port.close()


async def test_a_port_has_one_owner(pty):
    first, second = SerialLink(str(pty.name)), SerialLink(str(pty.name))
    await first.open()
    with pytest.raises(LinkDown, match="another program has the port"):
        await second.open()
    with pytest.raises(serial.SerialException):
        serial.Serial(str(pty.name), exclusive=True)
    await first.close()
    await second.open()
    await second.close()


async def test_a_port_that_is_not_there_is_told_with_what_to_do(tmp_path):
    with pytest.raises(LinkDown, match=r"no such port .*plugged in"):
        await SerialLink(str(tmp_path / "ttyUSB0")).open()
    (tmp_path / "file").write_text("")
    with pytest.raises(LinkDown, match="is it a serial port"):
        await SerialLink(str(tmp_path / "file")).open()


async def test_unplugging_is_noticed_by_the_reader_and_the_port_opens_again(pty):
    port = SerialLink(str(pty.name))
    await port.open()
    waiting = asyncio.ensure_future(port.read())
    await asyncio.sleep(0)
    pty.pull()
    with pytest.raises(LinkDown):
        async with asyncio.timeout(WAIT_S):
            await waiting
    assert not port.is_open
    with pytest.raises(LinkDown):
        await port.write(b"x")
    with pytest.raises(LinkDown, match="no such port"):
        await port.open()
    pty.plug()
    await port.open()
    await port.write(b"back")
    assert await pty.heard(4) == b"back"
    await port.close()


async def test_opening_given_up_leaves_the_port_free(pty):
    port = SerialLink(str(pty.name))
    opening = asyncio.ensure_future(port.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    again = SerialLink(str(pty.name))
    async with asyncio.timeout(WAIT_S):
        while not again.is_open:
            try:
                await again.open()
            except LinkDown:
                await asyncio.sleep(0.001)
    await again.close()


# ---- TCP ------------------------------------------------------------------------------------------------------------


class Server:
    """A TCP server that does with each connection what it is told, and can be stopped and started again."""

    def __init__(self, handle) -> None:
        self.handle, self.port = handle, 0
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer) -> None:
        self.writers.append(writer)
        try:
            await self.handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()
        await self._server.wait_closed()
        await asyncio.sleep(0.01)


@pytest.fixture
async def serve():
    servers = []

    async def start(handle) -> Server:
        server = Server(handle)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


async def echo(reader, writer) -> None:
    while data := await reader.read(4096):
        writer.write(data)


async def test_bytes_go_both_ways_over_tcp_without_delay_and_kept_alive(serve):
    server = await serve(echo)
    port = TcpLink("127.0.0.1", server.port)
    await port.open()
    sock = port._socket
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    await port.write(bytes(range(256)))
    assert await read(port, 256) == bytes(range(256))
    await port.close()


async def test_a_connection_that_nobody_takes_is_told_with_what_to_do():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        number = unused.getsockname()[1]
    with pytest.raises(LinkDown, match=r"refused.*port number"):
        await TcpLink("127.0.0.1", number).open()


async def test_a_connection_has_a_deadline():
    """A listener whose queue is full answers nothing, as a host behind a firewall."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        await asyncio.sleep(0.01)
        with pytest.raises(LinkDown, match=r"no connection within 0\.05 s"):
            async with asyncio.timeout(WAIT_S):
                await TcpLink("127.0.0.1", full.getsockname()[1], connect_s=0.05).open()


async def test_a_peer_that_hangs_up_is_noticed_after_its_last_bytes_have_been_read(serve):
    async def say_and_go(reader, writer):
        writer.write(b"last words")

    server = await serve(say_and_go)
    port = TcpLink("127.0.0.1", server.port)
    await port.open()
    assert await read(port, 10) == b"last words"
    with pytest.raises(LinkDown, match="closed the connection"):
        await read(port, 1)
    assert not port.is_open


# ---- the bus over real links ----------------------------------------------------------------------------------------

BLOCKS = profile.parse(
    """
protocol = "modbus"
[model]
maker = "Nobody"
name = "One block"
kind = "electricity"
[source]
title = "made for a test: each register holds its own address"
[[point]]
measurand = "energy.active.import"
function = 3
address = 1000
type = "u32"
scale = "1"
unit = "kWh"
""",
    "one-block",
)
QUERIES = profile.plan(BLOCKS)
BRISK = Patience(reply_s=0.06, late_s=0.06)


def block(start: int) -> modbus.Request:
    return modbus.Request("1", 3, start, 2)


def rtu_answer(request: bytes) -> bytes:
    (frame,) = modbus.decoder("rtu").feed(request)
    asked = modbus.request_of(frame)
    return modbus.answer(
        asked, struct.pack(f">{asked.count}H", *range(asked.start, asked.start + asked.count))
    )


def dlt645_answer(request: bytes) -> bytes:
    (frame,) = dlt645.decoder().feed(request)
    asked = dlt645.request_of(frame)
    return b"\xfe" * 4 + dlt645.answer(asked, bytes.fromhex(asked.item[4:6]) + b"\x23")


LATE = [
    (RTU, [block(1000), block(2000), block(3000)], rtu_answer),
    (DLT, [dlt645.Request("000000000001", 0x11, f"0201{n:02d}00") for n in (1, 2, 3)], dlt645_answer),
]


def first_sound(protocol, asked, held: bytes) -> bytes | None:
    """What a simple client looks for: a sound frame of the right meter and function, whatever it carries."""
    for frame in protocol.decoder().feed(held):
        if isinstance(frame, modbus.Frame) and (frame.unit, frame.function) == (1, 3) and frame.values:
            return frame.values
        if isinstance(frame, dlt645.Frame) and frame.control == 0x91 and frame.address == asked.address:
            return frame.payload
    return None


async def naive(port, protocol, asked, patience_s=BRISK.reply_s) -> bytes | None:
    await port.write(protocol.encode(asked))
    held = b""
    try:
        async with asyncio.timeout(patience_s):
            while True:
                held += await port.read()
                if (found := first_sound(protocol, asked, held)) is not None:
                    return found
    except TimeoutError:
        return None


def truth(protocol, asked, answer) -> bytes:
    (frame,) = protocol.decoder().feed(answer(protocol.encode(asked)))
    return protocol.match(asked, frame).payload


async def ours_and_naive(make_port, protocol, requests, answer) -> None:
    """The same script twice: a meter whose first answer comes after the time-out, in order, and rightly."""
    port = await make_port(answer)
    line = Line(port, lambda: Instant(0, 0))
    assert (await line.exchange(protocol, requests[0].address, requests[0], BRISK)).failure is Missing.TIMEOUT
    for asked in requests[1:]:
        reply = await line.exchange(protocol, asked.address, asked, BRISK)
        assert reply.answer is not None
        assert reply.answer.payload == truth(protocol, asked, answer)
    assert line.counts.total() - line.counts.total([Missing.TIMEOUT]) == 1  # the late answer, dropped
    await line.close()
    port = await make_port(answer)
    await port.open()
    assert await naive(port, protocol, requests[0]) is None
    # the wrong one, however late a busy machine brings it
    assert await naive(port, protocol, requests[1], 10) == truth(protocol, requests[0], answer)
    await port.close()


class InOrder:
    """How long a meter takes: 90 ms for its first answer, 5 ms for any other, one after the other."""

    def __init__(self) -> None:
        self.answered = 0

    async def __call__(self) -> None:
        self.answered += 1
        await asyncio.sleep(0.09 if self.answered == 1 else 0.005)


@pytest.mark.parametrize(("protocol", "requests", "answer"), LATE, ids=["rtu-over-tcp", "dlt645-over-tcp"])
async def test_over_tcp_a_late_answer_is_never_the_next_ones(serve, protocol, requests, answer):
    async def make_port(answer):
        delay = InOrder()

        async def handle(reader, writer):
            while data := await reader.read(4096):
                await delay()
                writer.write(answer(data[: len(protocol.encode(requests[0]))]))
                if len(data) > len(protocol.encode(requests[0])):  # two requests in one packet
                    await delay()
                    writer.write(answer(data[len(protocol.encode(requests[0])) :]))

        return TcpLink("127.0.0.1", (await serve(handle)).port)

    await ours_and_naive(make_port, protocol, requests, answer)


@pytest.mark.parametrize(("protocol", "requests", "answer"), LATE, ids=["rtu-pty", "dlt645-pty"])
async def test_over_a_serial_port_a_late_answer_is_never_the_next_ones(tmp_path, protocol, requests, answer):
    ports, meters = [], []
    size = len(protocol.encode(requests[0]))

    async def make_port(answer):
        pty = Pty(tmp_path / f"tty{len(ports)}")
        ports.append(pty)

        async def meter(delay):
            while True:
                request = await pty.heard(size)
                for at in range(0, len(request), size):
                    await delay()
                    os.write(pty.master, answer(request[at : at + size]))

        meters.append(asyncio.ensure_future(meter(InOrder())))
        return SerialLink(str(pty.name), 9600, "8E1")

    try:
        await ours_and_naive(make_port, protocol, requests, answer)
    finally:
        for meter in meters:
            meter.cancel()
        await asyncio.gather(*meters, return_exceptions=True)
        for pty in ports:
            pty.pull()


async def scanned_in_the_end(bus: Bus) -> bool:
    for _ in range(100):  # the bus tries a port again after 1 s
        if (await bus.scan(METER, QUERIES)).failure is None:
            return True
        await asyncio.sleep(0.05)
    return False


METER = Meter("meter 1", "1", BLOCKS, timeout_s=0.5, late_s=0.05)


async def test_a_bus_goes_on_when_the_server_has_been_restarted(serve):
    async def device(reader, writer):
        while data := await reader.read(4096):
            writer.write(rtu_answer(data))

    server = await serve(device)
    bus = Bus("line 1", RTU, TcpLink("127.0.0.1", server.port), lambda: Instant(0, 0))
    assert (await bus.scan(METER, QUERIES)).failure is None
    await server.stop()
    scan = await bus.scan(METER, QUERIES)
    assert scan.failure is Missing.LINK_DOWN
    assert "refused" in scan.indications[0].detail
    await server.start()
    assert await scanned_in_the_end(bus)
    await bus.close()


async def test_a_connection_lost_between_two_scans_costs_nothing(serve):
    """Converters close idle connections."""

    async def device(reader, writer):
        writer.write(rtu_answer(await reader.read(4096)))

    server = await serve(device)
    bus = Bus("line 1", RTU, TcpLink("127.0.0.1", server.port), lambda: Instant(0, 0))
    for _ in range(3):
        assert (await bus.scan(METER, QUERIES)).failure is None
        await asyncio.sleep(0.01)
    assert bus.counts.total() == 0
    await bus.close()


async def test_a_bus_goes_on_when_the_adapter_has_been_plugged_in_again(pty):
    async def meter():
        while True:
            request = await pty.heard(8)
            os.write(pty.master, rtu_answer(request))

    bus = Bus("line 1", RTU, SerialLink(str(pty.name), 9600, "8E1"), lambda: Instant(0, 0), Timing(baud=9600))
    answering = asyncio.ensure_future(meter())
    assert (await bus.scan(METER, QUERIES)).failure is None
    answering.cancel()
    await asyncio.sleep(0)
    pty.pull()
    scan = await bus.scan(METER, QUERIES)
    assert scan.failure is Missing.LINK_DOWN
    pty.plug()
    answering = asyncio.ensure_future(meter())
    assert await scanned_in_the_end(bus)
    answering.cancel()
    await bus.close()


async def test_what_was_written_has_left_a_port_when_it_says_so(pty) -> None:
    link = SerialLink(str(pty.name), 300, "7E1")
    await link.open()
    await link.write(b"\x06050\r\n")
    await link.drained()
    assert await pty.heard(6) == b"\x06050\r\n"
    await link.close()
    with pytest.raises(LinkDown):
        await link.drained()


async def test_a_port_that_never_lets_its_bytes_go_is_down(pty, monkeypatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(termios, "tcdrain", lambda fd: held.wait(WAIT_S))
    link = SerialLink(str(pty.name), 300, "7E1", write_s=0.01)
    await link.open()
    with pytest.raises(LinkDown, match="keeps what it was given"):
        await link.drained()
    held.set()
    assert not link.is_open
