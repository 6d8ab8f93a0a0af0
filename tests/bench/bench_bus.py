"""Our Modbus master beside pymodbus's client: exchanges per second and CPU, one connection, one request in flight.

Both ask the same server (libmodbus in C, and pymodbus), in turns, within one run; the server is a process of its own
on loopback. CPU is that of the asking process alone. The best round of each is printed (the one least disturbed by
what else the machine does), with ratios; and the median rate.

Usage: bench_bus.py [EXCHANGES_PER_ROUND] [ROUNDS]
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pymodbus
from pymodbus.client import AsyncModbusTcpClient

from drivers import modbus, profile
from drivers.bus import Bus, Meter
from drivers.codec import Instant
from drivers.link import TcpLink
from drivers.protocols import codec

Work = Callable[[int], Awaitable[None]]
Measure = Callable[[Work], Awaitable[None]]
Run = Callable[[int, Measure], Awaitable[None]]

PEERS = Path(__file__).parent.parent / "peers"
REGISTERS = 10
PROFILE = profile.parse(
    """
protocol = "modbus"
[model]
maker = "Nobody"
name = "Ten registers"
kind = "electricity"
[source]
title = "made for a measurement"
"""
    + "".join(
        f"""
[[point]]
measurand = "power.active.l{n}"
function = 3
address = {100 + 2 * n}
type = "u32"
scale = "0.01"
unit = "kW"
"""
        for n in range(REGISTERS // 2)
    ),
    "ten-registers",
)
QUERIES = profile.plan(PROFILE)
METER = Meter("m", "1", PROFILE)


def now() -> Instant:
    return Instant(time.time_ns() // 1000, time.monotonic_ns() // 1000)  # noqa: TID251 (a clock of its own)


def servers(folder: str) -> list[tuple[str, list[str]]]:
    found = [("pymodbus", [sys.executable, str(PEERS / "serve_pymodbus.py"), "tcp", "0"])]
    compiler = shutil.which("gcc")
    program = str(Path(folder) / "serve_libmodbus")
    source = str(PEERS / "serve_libmodbus.c")
    if compiler is None:
        print("gcc is not installed: no libmodbus server")
    elif (
        subprocess.run(
            [compiler, "-O2", "-I/usr/include/modbus", source, "-o", program, "-lmodbus"]
        ).returncode
        == 0
    ):
        found.insert(0, ("libmodbus", [program, "tcp", "0"]))
    else:
        print("libmodbus-dev is not installed: no libmodbus server")
    return found


async def ours(port: int, measure: Measure) -> None:
    bus = Bus("bench", codec("modbus-tcp"), TcpLink("127.0.0.1", port), now)
    requests = [modbus.Request("1", 3, 100 + n, REGISTERS, "tcp") for n in range(2)]
    right = [b"".join((100 + n + k).to_bytes(2, "big") for k in range(REGISTERS)) for n in range(2)]

    async def ask(count: int) -> None:
        for n in range(count):
            reply = await bus.ask(requests[n & 1])
            assert reply.answer is not None
            assert reply.answer.payload == right[n & 1]

    await measure(ask)
    await bus.close()


async def ours_scanning(port: int, measure: Measure) -> None:
    """A whole scan: frames, instants, and five indications in Decimal."""
    bus = Bus("bench", codec("modbus-tcp"), TcpLink("127.0.0.1", port), now)

    async def scan(count: int) -> None:
        for _ in range(count):
            assert (await bus.scan(METER, QUERIES)).failure is None

    await measure(scan)
    await bus.close()


async def pymodbus_client(port: int, measure: Measure) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    assert await client.connect()
    right = [[100 + n + k for k in range(REGISTERS)] for n in range(2)]

    async def ask(count: int) -> None:
        for n in range(count):
            reply = await client.read_holding_registers(100 + (n & 1), count=REGISTERS)
            assert reply.registers == right[n & 1]

    await measure(ask)
    client.close()


async def pymodbus_decoding(port: int, measure: Measure) -> None:
    """The same five values out of the same registers, as floats: pymodbus has no decimals."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    assert await client.connect()

    async def scan(count: int) -> None:
        for _ in range(count):
            reply = await client.read_holding_registers(100, count=REGISTERS)
            assert not reply.isError()
            pairs = [reply.registers[n : n + 2] for n in range(0, REGISTERS, 2)]
            values = [client.convert_from_registers(pair, client.DATATYPE.UINT32) * 0.01 for pair in pairs]
            assert len(values) == REGISTERS // 2

    await measure(scan)
    client.close()


async def measured(run: Run, port: int, count: int) -> tuple[float, float]:
    """Exchanges per second, and microseconds of CPU per exchange."""
    found = (0.0, 0.0)

    async def measure(work: Work) -> None:
        nonlocal found
        await work(100)
        gc.collect()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        await work(count)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        found = (count / wall_s, cpu_s / count * 1e6)

    await run(port, measure)
    return found


def main(count: int, rounds: int) -> None:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    print(
        f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, ", end=""
    )
    print(f"pymodbus {pymodbus.__version__}; load {os.getloadavg()[0]:.1f}")
    print(f"{rounds} rounds of {count} exchanges of {REGISTERS} registers, one connection, one in flight")
    subjects: dict[str, Run] = {
        "ours, exchange": ours,
        "pymodbus, exchange": pymodbus_client,
        "ours, scan + decode": ours_scanning,
        "pymodbus + decode": pymodbus_decoding,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, command in servers(folder):
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert server.stdout is not None
            port = int(server.stdout.readline().split()[1])
            rates: dict[str, list[float]] = {subject: [] for subject in subjects}
            cpu: dict[str, list[float]] = {subject: [] for subject in subjects}
            try:
                for _ in range(rounds):
                    for subject, run in subjects.items():
                        rate, used = asyncio.run(measured(run, port, count))
                        rates[subject].append(rate)
                        cpu[subject].append(used)
            finally:
                server.terminate()
                server.wait(10)
            columns = f"{'exchanges/s':>12}{'ratio':>7}{'median':>8}{'CPU ms/1000':>13}{'ratio':>7}"
            print(f"\nserver: {name}\n{'':<22}{columns}")
            names = list(subjects)
            for n, subject in enumerate(names):
                peer = names[n | 1]  # subjects come in pairs: ours, theirs
                rate, used = max(rates[subject]), min(cpu[subject])
                faster, dearer = rate / max(rates[peer]), used / min(cpu[peer])
                median = statistics.median(rates[subject])
                print(f"{subject:<22}{rate:>12.0f}{faster:>7.2f}{median:>8.0f}{used:>13.1f}{dearer:>7.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
