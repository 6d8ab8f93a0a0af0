"""Modbus TCP meters, served by pymodbus: registers are computed from the model whenever they are read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from sim.faults import Fault, FaultKind, Scenario
from sim.halfduplex import LineCounts
from sim.modbus_meter import ModbusMeter

_CORRUPTING = frozenset(
    (
        FaultKind.SILENT,
        FaultKind.DEAD,
        FaultKind.WRONG_ITEM,
        FaultKind.WRONG_LENGTH,
        FaultKind.WRONG_ADDRESS,
        FaultKind.MERGED,
    )
)


class ModbusTcpMeters:
    """One meter with its own address, or several units behind a gateway.

    Of the faults on the line those are served that TCP knows: late and slow_carrier, silent and dead, wrong_address
    (unit), wrong_item (function), wrong_length, merged (another unit's answer in the same segment), stuck; echo, noise,
    checksum and baud rate have no counterpart on TCP and are left out, as is split (TCP joins what was split).
    """

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
        self._meters = tuple(meters)
        self._host, self._port = host, port
        self._utc_us = utc_us
        self._scenario = scenario
        self._start_utc_us = start_utc_us
        self._reply_us = reply_us
        self._server: ModbusTcpServer | None = None
        self._asked: dict[str, int] = {}
        self._faults: tuple[Fault, ...] = ()

    @property
    def port(self) -> str:
        """What a program connects to."""
        return f"tcp://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; port 0 takes a free one."""
        anybody_else = SimDevice(
            0, [SimData(0, count=65536, values=0, datatype=DataType.REGISTERS)], action=_nobody
        )
        self._server = ModbusTcpServer(
            [*(self._device(served) for served in self._meters), anybody_else],
            address=(self._host, self._port),
            trace_packet=self._packet,
        )
        await self._server.serve_forever(background=True)
        transport = self._server.transport
        assert isinstance(transport, asyncio.Server)
        self._port = transport.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up and stop listening."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
            self._server = None

    def _device(self, served: ModbusMeter) -> SimDevice:
        blocks: dict[int, list[SimData]] = {3: [], 4: []}
        for function, spans in served.image.spans.items():
            blocks[function] = [
                SimData(first, count=end - first, values=0, datatype=DataType.REGISTERS)
                for first, end in spans
            ]
        unused = [SimData(0, values=False, datatype=DataType.BITS)]
        for function in (3, 4):
            blocks[function] = blocks[function] or [SimData(65535, values=0, datatype=DataType.REGISTERS)]
        action = partial(self._read, served)
        return SimDevice(served.unit, (list(unused), list(unused), blocks[3], blocks[4]), action=action)

    async def _read(
        self,
        served: ModbusMeter,
        function: int,
        first: int,
        address: int,
        count: int,
        current: list[int],
        written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if written is not None or function not in served.image.functions:
            return ExcCodes.ILLEGAL_FUNCTION
        now = self._utc_us()
        meter = served.meter
        n = self._asked.get(meter.id, 0)
        self._asked[meter.id] = n + 1
        self._faults = self._scenario.now(meter.id, now - self._start_utc_us, n)
        await asyncio.sleep(self._delay_us(meter.id, n) / 1e6)
        stuck = [
            self._start_utc_us + round(f.from_s * 1e6) for f in self._faults if f.kind == FaultKind.STUCK
        ]
        words = served.image.read(function, address, count, lambda: meter.show(max(stuck, default=now)))
        if isinstance(words, int):
            return ExcCodes(words)
        current[address - first : address - first + count] = words
        return None

    def _delay_us(self, meter: str, n: int) -> int:
        delay = self._reply_us
        for fault in self._faults:
            if fault.kind == FaultKind.LATE:
                delay += round(fault.delay_ms * 1000)
            elif fault.kind == FaultKind.SLOW_CARRIER:
                delay += random.Random(f"slow/{self._scenario.seed}/{meter}/{n}").randrange(
                    1_600_000, 2_400_000
                )
        return delay

    def _packet(self, sending: bool, packet: bytes) -> bytes:
        if not sending:
            self.counts.requests += 1
            return packet
        faults, self._faults = self._faults, ()
        for fault in faults:
            self.counts.faults[fault.kind] = self.counts.faults.get(fault.kind, 0) + 1
            if fault.kind in _CORRUPTING:
                packet = _corrupted(packet, fault.kind)
        if packet:
            self.counts.answers += 1
        else:
            self.counts.unanswered += 1
        return packet


def _corrupted(packet: bytes, kind: FaultKind) -> bytes:
    if not packet or kind in (FaultKind.SILENT, FaultKind.DEAD):
        return b""
    other = packet[:6] + bytes((packet[6] % 247 + 1,)) + packet[7:]
    if kind == FaultKind.MERGED:
        return packet + other
    if kind == FaultKind.WRONG_ADDRESS:
        return other
    if kind == FaultKind.WRONG_ITEM:
        return packet[:7] + bytes((packet[7] ^ 7,)) + packet[8:]
    if packet[7] & 0x80:
        return packet
    length = int.from_bytes(packet[4:6], "big") - 2
    return packet[:4] + length.to_bytes(2, "big") + packet[6:8] + bytes((packet[8] - 2,)) + packet[9:-2]


async def _nobody(
    function: int,  # noqa: ARG001
    first: int,  # noqa: ARG001
    address: int,  # noqa: ARG001
    count: int,  # noqa: ARG001
    current: list[int],  # noqa: ARG001
    written: list[int] | list[bool] | None,  # noqa: ARG001
) -> ExcCodes | None:
    """Another unit is asked for: as gateways do, exception 0B."""
    return ExcCodes.GATEWAY_NO_RESPONSE
