"""How much memory the agent takes: 200 instruments on Modbus TCP, 2,000 certificates in the register.

    python -m tests.bench.bench_register_memory [--instruments 200] [--certificates 2000] [--seconds 40]

The agent is ``suyuan run`` as a user starts it; one small server answers for all meters. Resident memory (VmRSS) is
taken when all instruments have been read, and again after a certificate more was registered and every state was
compiled anew; the peak (VmHWM) stands beside both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import tomli_w

from calibration.certificate import (
    CalibrationPoint,
    Certificate,
    CertificateKind,
    Instrument,
    InstrumentKind,
    ReferenceUse,
)
from calibration.register import Register
from sim.ports import free_port

PROFILE = "eastron-sdm630"
LOADS = tuple(map(Decimal, ("0.25", "0.5", "1", "2.5", "5")))
_HUNDRED = b"\x42\xc8\x00\x00"  # 100.0 as every pair of the profile's registers holds it


def now() -> datetime:
    return datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME), UTC)


def points(error: str) -> tuple[CalibrationPoint, ...]:
    return tuple(
        CalibrationPoint("energy.active", load, "A", Decimal(error), Decimal("0.05"), Decimal(2))
        for load in LOADS
    )


def certificate(meter: int, year: int, number: int = 0) -> Certificate:
    return Certificate(
        f"NMC-{year}-{meter:04d}-{number}", CertificateKind.CALIBRATION, f"meter-{meter:03d}", "laboratory",
        date(year, 5, 1 + number), points=points(f"0.{meter % 30:02d}"),
        references=(ReferenceUse("std-017", "NIM-1", share=Decimal("0.01")),),
    )  # fmt: skip


def write_register(path: Path, meters: int, certificates: int) -> None:
    standard = Instrument("std-017", InstrumentKind.REFERENCE_STANDARD, model="XL", serial="17")
    own = Certificate(
        "NIM-1",
        CertificateKind.CALIBRATION,
        "std-017",
        "NIM",
        date(2010, 1, 1),
        national=True,
        points=points("0.00"),
    )
    each = max(1, certificates // meters)
    with Register.open(path, now=now) as register:
        register.add(
            instruments=[standard, *(Instrument(f"meter-{n:03d}", serial=str(n)) for n in range(1, meters + 1))],
            certificates=[
                own, *(certificate(n, 2025 - k) for n in range(1, meters + 1) for k in reversed(range(each)))
            ],
            actor="bench",
        )  # fmt: skip


def write_site(directory: Path, meters: int, port: int, listen: int) -> Path:
    document = {
        "site": {"name": "memory", "origin": "bench.example/gw/memory"},
        "serve": {"listen": f"127.0.0.1:{listen}"},
        "calibration": {"register": "register.sqlite"},
        "bus": [
            {
                "name": "tcp",
                "protocol": "modbus-tcp",
                "port": f"tcp://127.0.0.1:{port}",
                "instrument": [
                    {"id": f"meter-{n:03d}", "address": str(n), "profile": PROFILE, "period": "10s"}
                    for n in range(1, meters + 1)
                ],
            }
        ],
    }
    path = directory / "site.toml"
    path.write_text(tomli_w.dumps(document))
    return path


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every register of every unit holds half of 100.0."""
    try:
        while True:
            head = await reader.readexactly(7)
            body = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
            count = int.from_bytes(body[3:5], "big")
            data = (_HUNDRED * (count // 2 + 1))[: 2 * count]
            pdu = bytes((body[0], len(data))) + data
            writer.write(head[:4] + (len(pdu) + 1).to_bytes(2, "big") + head[6:7] + pdu)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def memory(pid: int) -> tuple[float, float]:
    """Resident now and at most, MB (10^6 bytes); children that compile states count with them."""
    now_kib = peak_kib = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            now_kib = int(line.split()[1])
        if line.startswith("VmHWM:"):
            peak_kib = int(line.split()[1])
    return now_kib * 1024 / 1e6, peak_kib * 1024 / 1e6


def status(listen: int) -> dict[str, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{listen}/status", timeout=5) as found:
            body: dict[str, object] = json.load(found)
            return body
    except OSError:
        return {"instruments": []}


async def until_read(listen: int, meters: int, states: set[str], seconds: float) -> set[str]:
    """Wait until all have been read, and a state is there that was not before; the states then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = (await asyncio.to_thread(status, listen))["instruments"]
        assert isinstance(found, list)
        known = {one["state"] for one in found}
        if len(found) == meters and all(one["received"] for one in found) and known - states:
            return known
        await asyncio.sleep(0.5)
    raise SystemExit(f"not all of {meters} instruments were read within {seconds} s")


async def bench(given: argparse.Namespace, directory: Path) -> None:
    port, listen = free_port(), free_port()
    register = directory / "register.sqlite"
    write_register(register, given.instruments, given.certificates)
    site = write_site(directory, given.instruments, port, listen)
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        began = time.monotonic()
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.cli", "run", str(site),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            states = await until_read(listen, given.instruments, set(), 120)
            print(f"all {given.instruments} read after {time.monotonic() - began:.1f} s")
            await asyncio.sleep(given.seconds / 2)
            print("agent: {:.1f} MB resident, {:.1f} MB at most".format(*memory(agent.pid)))
            with Register.open(register, now=now) as opened:
                opened.add_certificate(certificate(1, 2025, 1), actor="bench")
            began = time.monotonic()
            await until_read(listen, given.instruments, states, 60)
            print(f"a certificate more: in force after {time.monotonic() - began:.1f} s")
            await asyncio.sleep(given.seconds / 2)
            print("agent: {:.1f} MB resident, {:.1f} MB at most".format(*memory(agent.pid)))
        finally:
            agent.send_signal(signal.SIGTERM)
            print(f"exit code {await agent.wait()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instruments", type=int, default=200)
    parser.add_argument("--certificates", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=40)
    given = parser.parse_args()
    os.environ.setdefault("SUYUAN_LANG", "en")
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(bench(given, Path(directory)))


if __name__ == "__main__":
    main()
