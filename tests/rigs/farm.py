"""A farm of Modbus TCP meters whose every register value is the serial number of that read.

So loss and duplicates are exact: a value that the farm served is in the log or it is not. Twenty holding registers
per meter, all of them read at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

from calibration.certificate import Instrument, InstrumentKind
from calibration.state import compile_state
from drivers import profile
from drivers.bus import Meter
from drivers.link import TcpLink
from drivers.protocols import codec
from gateway.plan import BusPlan, InstrumentPlan

REGISTERS = 20
PROFILE = profile.parse(
    'protocol = "modbus"\n[model]\nmaker = "rig"\nname = "serial numbers"\nkind = "electricity"\n'
    '[source]\ntitle = "the rig itself"\n'
    + "".join(
        f'[[point]]\nmeasurand = "register.r{n:02}"\nfunction = 3\naddress = {n}\ntype = "u16"\nunit = "1"\n'
        for n in range(REGISTERS)
    ),
    "serial-numbers",
)


@dataclass
class FarmMeter:
    """One meter: how many reads it answered."""

    served: int = 0
    frozen: bool = False
    server: asyncio.Server | None = None
    port: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.close()
        await self.server.wait_closed()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readexactly(7)
                body = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
                if self.frozen:
                    continue
                count = int.from_bytes(body[3:5], "big")
                self.served += 1  # served: its answer is on the way
                data = self.served.to_bytes(4, "big")[2:] * count
                pdu = bytes((body[0], len(data))) + data
                writer.write(head[:4] + (len(pdu) + 1).to_bytes(2, "big") + head[6:7] + pdu)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


class Farm:
    """Meters M00, M01, …"""

    def __init__(self, count: int) -> None:
        self.meters = [FarmMeter() for _ in range(count)]

    async def __aenter__(self) -> Farm:
        for meter in self.meters:
            await meter.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for meter in self.meters:
            await meter.close()

    @property
    def ports(self) -> list[int]:
        return [meter.port for meter in self.meters]

    @property
    def served(self) -> list[int]:
        return [meter.served for meter in self.meters]

    def freeze(self) -> None:
        for meter in self.meters:
            meter.frozen = True


TIMEOUT_S = 1.5  # a busy machine must not make late answers: those are refused, and would count as lost


def bus_plans(ports: list[int], period_us: int, host: str = "127.0.0.1") -> tuple[BusPlan, ...]:
    """One line per meter; results by a class certificate for all twenty values."""
    plans = []
    queries = profile.plan(PROFILE)
    for n, port in enumerate(ports):
        name = f"M{n:02}"
        state = compile_state(
            Instrument(id=name, kind=InstrumentKind.OTHER, mpe=Decimal("0.5")), (), at=date(2026, 11, 24)
        )
        meter = Meter(name, "1", PROFILE, timeout_s=TIMEOUT_S, retries=0)
        instrument = InstrumentPlan(meter, queries, period_us, state)
        plans.append(BusPlan(f"line-{n:02}", codec("modbus-tcp"), TcpLink(host, port), (instrument,)))
    return tuple(plans)


class FarmProcess:
    """A farm in a process of its own: whatever the rig does, the meters answer in time."""

    def __init__(self, process: Process, ports: list[int]) -> None:
        self.process = process
        self.ports = ports

    @classmethod
    async def start(cls, count: int) -> FarmProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.rigs.farm",
            str(count),
            stdin=PIPE,
            stdout=PIPE,
            cwd=Path(__file__).parents[2],
        )
        farm = cls(process, [])
        farm.ports = await farm._answer()
        return farm

    async def served(self) -> list[int]:
        return await self._ask("served")

    async def freeze(self) -> list[int]:
        """Answer no more; what was served in all."""
        return await self._ask("freeze")

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()

    async def _ask(self, what: str) -> list[int]:
        assert self.process.stdin is not None
        self.process.stdin.write(what.encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> list[int]:
        assert self.process.stdout is not None
        numbers: list[int] = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 30))
        return numbers


async def _serve(count: int) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with Farm(count) as farm:
        print(json.dumps(farm.ports), flush=True)
        while line := await reader.readline():
            if line == b"freeze\n":
                farm.freeze()
            print(json.dumps(farm.served), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
