"""Modbus TCP meters: one with its own address, or several units behind a gateway, and what goes wrong on a connection.

Written a second time on purpose (see ``sim.framing``). Modbus messaging on TCP/IP V1.0b, clause 3.1.3: the MBAP header.

``TcpConversation`` is one connection in any steady clock, as ``HalfDuplex`` is one line; ``ModbusTcpMeters`` listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sim.faults import Fault, FaultKind, Part, Scenario, spoil
from sim.framing import ReframedRtu, rtu_frame
from sim.halfduplex import Chunk, HalfDuplex, LineCounts, MeterStation, Timing
from sim.instrument import Indications, Meter
from sim.line import Pump
from sim.modbus_meter import ModbusMeter

_HEADER = 7
_LONGEST = 254  # of unit and PDU
_GATEWAY_TARGET_SILENT = 0x0B
_NO_TIME_US = 0.001  # of a byte: a network's bytes take none


def mbap_frame(transaction: bytes, body: bytes) -> bytes:
    """Unit, function and data behind a header that is true to them."""
    return transaction + struct.pack(">HH", 0, len(body)) + body


@dataclass(frozen=True, slots=True)
class MbapFraming(ReframedRtu):
    """Modbus TCP. What is changed in an answer is as of RTU, under a true header; there is no checksum to be wrong."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Whole requests from the beginning; a stream that is none is dropped."""
        found = []
        while len(heard) >= _HEADER:
            protocol, length = struct.unpack(">HH", heard[2:6])
            if protocol or not 2 <= length <= _LONGEST:
                heard.clear()
                break
            if len(heard) < 6 + length:
                break
            found.append(bytes(heard[: 6 + length]))
            del heard[: 6 + length]
        return found

    def _changed(self, change: Callable[[bytes], bytes], answer: bytes) -> bytes:
        return mbap_frame(answer[:2], change(rtu_frame(answer[6:]))[:-2])

    def unsealed(self, answer: bytes) -> bytes:
        """As it is."""
        return answer


class ModbusTcpMeter:
    """The answering side of one unit."""

    protocol = "modbus-tcp"

    def __init__(self, served: ModbusMeter) -> None:
        self._served = served
        self.unit = served.unit

    @property
    def meter(self) -> Meter:
        """Whose indications it tells."""
        return self._served.meter

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a request, or None if it is for another unit."""
        body = rtu_frame(frame[6:].ljust(6, b"\0"))
        answer = self._served.answer(body, show, t_us)
        return answer and mbap_frame(frame[:2], answer[:-2])


class TcpConversation(HalfDuplex):
    """One connection: answers come one after the other, and bytes take no time.

    ``hung_up``: the meters' side has reset it, after what was taken last.
    """

    def __init__(
        self,
        meters: Sequence[ModbusTcpMeter],
        reply_us: int,
        scenario: Scenario,
        start_utc_us: int,
        stations: Sequence[MeterStation] = (),
        counts: LineCounts | None = None,
        asked: dict[str, int] | None = None,
    ) -> None:
        timing = Timing(_NO_TIME_US, reply_us, 0, chunk=65536)
        stations = stations or [MeterStation(meter) for meter in meters]
        super().__init__(MbapFraming(), stations, timing, scenario, start_utc_us)
        self.counts = self.counts if counts is None else counts
        self._asked = self._asked if asked is None else asked
        self._units = frozenset(meter.unit for meter in meters)
        self.hung_up = False
        self._half_open = False
        self._earlier = b""

    def connected(self) -> None:
        """A new connection takes this one's place: whatever was on its way is lost."""
        self._heard.clear()
        self._sending.clear()
        self.hung_up = self._half_open = False
        self._earlier = b""

    def hear(self, data: bytes, at_us: int, utc_us: int, *, garbled: bool = False) -> None:  # noqa: ARG002
        """Bytes from the master."""
        if self._half_open or self.hung_up:
            return
        self._heard += data
        for request in self._framing.requests(self._heard):
            self._ask(request, float(at_us), utc_us)

    def take(self, at_us: int) -> bytes:
        """All bytes that have reached the master by an instant."""
        arrived = bytearray()
        while self._sending and self._sending[0].end <= at_us and not self.hung_up:
            chunk = self._sending.popleft()
            arrived += chunk.data
            self.hung_up = chunk.reset
        if self.hung_up:
            self._sending.clear()
        return bytes(arrived)

    def _ask(self, request: bytes, heard_us: float, utc_us: int) -> None:
        if request[6] in self._units:
            super()._ask(request, heard_us, utc_us)
            return
        self.counts.requests += 1
        self.counts.answers += 1
        refused = mbap_frame(request[:2], bytes((request[6], request[7] | 0x80, _GATEWAY_TARGET_SILENT)))
        self._send((Part(self._timing.reply_us, refused),), heard_us)

    def _spoiled(
        self, answer: bytes, request: bytes, faults: Sequence[Fault], pause_us: int, rng: random.Random
    ) -> tuple[Part, ...]:
        kinds = {fault.kind for fault in faults}
        earlier, self._earlier = self._earlier, answer
        if FaultKind.HALF_OPEN in kinds:
            self._half_open = True
            return ()
        if FaultKind.WRONG_TRANSACTION in kinds:
            number = int.from_bytes(answer[:2], "big") + rng.randrange(1, 0x10000)
            answer = (number & 0xFFFF).to_bytes(2, "big") + answer[2:]
        parts = spoil(answer, request, faults, self._framing, pause_us, rng)
        if FaultKind.FALSE_LENGTH in kinds:
            parts = tuple(_false_length(part, answer, rng) for part in parts)
        if FaultKind.STALE_ANSWER in kinds and earlier and parts:
            parts = (Part(parts[0].pause_us, earlier), replace(parts[0], pause_us=0), *parts[1:])
        if FaultKind.CONNECTION_RESET in kinds and parts:
            last = parts[-1]
            parts = (*parts[:-1], replace(last, data=last.data[: rng.randrange(len(last.data))], reset=True))
        return parts

    def _send(self, parts: Sequence[Part], from_us: float) -> None:
        """Each answer after the one before it."""
        at = max(from_us, self._sending[-1].end) if self._sending else from_us
        for part in parts:
            at += part.pause_us
            self._sending.append(Chunk(at, part.data, 0.0, reset=part.reset))


def _false_length(part: Part, answer: bytes, rng: random.Random) -> Part:
    """The header's length one to four off, where the header is in this part."""
    if part.data[:4] != answer[:4] or len(part.data) < _HEADER:
        return part
    stated = int.from_bytes(part.data[4:6], "big") + rng.choice((-4, -3, -2, -1, 1, 2, 3, 4))
    return replace(part, data=part.data[:4] + max(0, stated).to_bytes(2, "big") + part.data[6:])


class ModbusTcpMeters:
    """One meter with its own address, or several units behind a gateway; any number of clients."""

    protocol = "modbus-tcp"

    def __init__(
        self,
        meters: Sequence[ModbusMeter],
        *,
        host: str,
        port: int,
        utc_us: Callable[[], int],
        scenario: Scenario,
        start_utc_us: int,
        reply_us: int = 5_000,
    ) -> None:
        self.counts = LineCounts()
        self._meters = tuple(ModbusTcpMeter(meter) for meter in meters)
        self._stations = tuple(MeterStation(meter) for meter in self._meters)
        self._asked: dict[str, int] = {}
        self._host, self._port = host, port
        self._utc_us = utc_us
        self._scenario = scenario
        self._start_utc_us = start_utc_us
        self._reply_us = reply_us
        self._server: asyncio.Server | None = None
        self.clients: set[asyncio.Transport] = set()

    @property
    def port(self) -> str:
        """What a program connects to."""
        return f"tcp://{self._host}:{self._port}"

    def conversation(self) -> TcpConversation:
        """A new connection to these meters."""
        return TcpConversation(
            self._meters,
            self._reply_us,
            self._scenario,
            self._start_utc_us,
            self._stations,
            self.counts,
            self._asked,
        )

    async def start(self) -> None:
        """Listen; port 0 takes a free one."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self, self._utc_us), self._host, self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up and stop listening."""
        if self._server is None:
            return
        self._server.close()
        for client in tuple(self.clients):
            client.abort()
        await self._server.wait_closed()
        self._server = None


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, meters: ModbusTcpMeters, utc_us: Callable[[], int]) -> None:
        self._meters = meters
        self._talk = meters.conversation()
        self._pump = Pump(self._talk, utc_us, self._say)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._meters.clients.add(transport)

    def data_received(self, data: bytes) -> None:
        self._pump.hear(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._pump.stop()
        if self._transport is not None:
            self._meters.clients.discard(self._transport)

    def _say(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._transport.write(data)
        if self._talk.hung_up:
            with contextlib.suppress(OSError):  # closed with nothing to wait for: a reset, not an end
                self._transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            self._transport.abort()
