"""The agent started and stopped many times, among peers that do not behave: does every process end, and in time?

    python tests/rigs/stops.py --runs 200 [--seed 1]

Each run has HJ 212, MQTT and OPC UA lines and two platforms; what is behind their ports is drawn: nobody, somebody who
accepts and says nothing, a broker and an OPC UA server that work. The process is stopped by SIGTERM, SIGINT or the end
of its time, at a drawn moment. One that does not end within the bound is asked for its threads and tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.clock import SystemClock
from gateway.keys import create
from sim.ports import free_port

BOUND_S = 25.0  # the stated 20 s, and what a loaded machine takes besides

SITE = """\
[site]
name = "Mill"
origin = "platform.example/gw/0001"

[log]
commit = "50ms"
checkpoint = "200ms"

[serve]
listen = "127.0.0.1:{listen}"

[[platform]]
name = "centre.example"
key = "{key}"
push = "http://127.0.0.1:{http}/mirror"

[[platform]]
name = "other.example"
key = "{other}"
push = "mqtt://127.0.0.1:{mqtt_push}"

[[bus]]
name = "loggers"
protocol = "hj212"
port = "tcp-listen://127.0.0.1:{hj212}"
password = "123456"

[[bus.instrument]]
id = "stack"
address = "010000A8900016F000169DC0"
profile = "hj212-cems-2017"
period = "1s"

[bus.instrument.factor.a05001]
unit = "mg/m3"
basis = "wet"

[[bus]]
name = "broker"
protocol = "mqtt"
port = "mqtt://127.0.0.1:{mqtt}"

[[bus.instrument]]
id = "press"
address = "meters/press"
period = "200ms"

[bus.instrument.value."energy.active.import"]
path = "energy.total"
unit = "kWh"
resolution = "0.001"

[[bus]]
name = "scada"
protocol = "opcua"
port = "opc.tcp://127.0.0.1:{opcua}/meters"

[[bus.instrument]]
id = "saw"
address = "urn:plant.example:meters"
period = "500ms"
refresh = "50ms"

[bus.instrument.value."energy.active.import"]
path = "s=Press.Energy"
unit = "kWh"
resolution = "0.001"

[[bus]]
name = "converter"
protocol = "modbus-tcp"
port = "tcp://127.0.0.1:{modbus}"
timeout = "500ms"

[[bus.instrument]]
id = "hall"
address = "1"
profile = "eastron-sdm630"
period = "500ms"
measurands = ["energy.active.import"]
"""

# the product's own command, which tells its threads and tasks when it is asked by a signal
PROGRAM = """\
import asyncio, faulthandler, gc, os, signal, sys, threading
dump = open(sys.argv.pop(1), "w")
faulthandler.register(signal.SIGUSR1, file=dump)
def tasks():
    signal.pthread_sigmask(signal.SIG_BLOCK, ())
    import time
    while not os.path.exists(dump.name + ".wanted"):
        time.sleep(1)
    for task in [one for one in gc.get_objects() if isinstance(one, asyncio.Task) and not one.done()]:
        task.print_stack(file=dump)
    dump.flush()
threading.Thread(target=tasks, daemon=True).start()
{patch}
import gateway.cli
sys.exit(gateway.cli.main())
"""


AT_ONCE = """
import gateway.cli.running as running
async def tried(_):
    return []
running.unreachable = tried
"""  # what looks at every port before the start would wait for each that is silent


class Silent:
    """Accepts every connection and never answers; holds what it accepted."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.held: list[socket.socket] = []
        self.came = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.held.append(self._listening.accept()[0])
                self.came.set()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for end in (self._listening, *self.held):
            end.close()


def written(directory: Path, **ports: int) -> Path:
    """A site file with such ports; what is not named listens nowhere."""
    names = ("listen", "http", "mqtt_push", "hj212", "mqtt", "opcua", "modbus")
    keys = {
        field: create(directory / f"{field}.key", f"{name}.example/receipts", receipts=True).vkey
        for field, name in (("key", "centre"), ("other", "other"))
    }
    path = directory / "site.toml"
    path.write_text(SITE.format(**{name: ports.get(name) or free_port() for name in names}, **keys))
    return path


def started(site: Path, *more: str, patch: str = "", stderr: int | None = None) -> subprocess.Popen[bytes]:
    """`suyuan run` on a site, in a process that can be asked where it is."""
    program = PROGRAM.replace("{patch}", patch)
    command = [sys.executable, "-c", program, str(site.parent / "dump"), "run", str(site), *more]
    root = str(Path(__file__).parents[2])
    with (site.parent / "talk").open("wb") as talk:
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=talk if stderr is None else stderr,
            env={**os.environ, "PYTHONPATH": root},
        )


def dumped(site: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the threads and tasks of a process are."""
    dump = site.parent / "dump"
    Path(f"{dump}.wanted").touch()
    process.send_signal(signal.SIGUSR1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    return dump.read_text()


@contextlib.contextmanager
def engines(directory: Path) -> Iterator[dict[str, int]]:
    """A broker and an OPC UA server that work, for all runs."""
    from tests.rigs.broker import BrokerProcess

    stop = threading.Event()
    ports: dict[str, int] = {}
    ready = threading.Event()

    async def work() -> None:
        from asyncua import Server

        broker = BrokerProcess.make(directory / "broker")
        await broker.start()
        server = Server()
        await server.init()
        port = free_port()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/meters")
        space = await server.register_namespace("urn:plant.example:meters")
        async with server:
            node = await server.nodes.objects.add_variable(f"ns={space};s=Press.Energy", "Energy", 1.5)
            ports.update(mqtt=broker.port, opcua=port)
            ready.set()
            n = 0
            while not stop.is_set():
                n += 1
                await node.write_value(1.5 + n)
                await asyncio.sleep(0.1)
        await broker.kill()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    ready.wait(30)
    try:
        yield ports
    finally:
        stop.set()
        thread.join()


def _serves(site: Path, process: subprocess.Popen[bytes]) -> None:
    port = int(site.read_text().split('listen = "127.0.0.1:')[1].split('"')[0])
    while process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--until", type=float, default=1e18, help="no run begins after this time (Unix)")
    given = parser.parse_args()
    draw = random.Random(given.seed)
    took: list[float] = []
    codes: Counter[tuple[str, int]] = Counter()
    with tempfile.TemporaryDirectory() as scratch, engines(Path(scratch)) as working:
        for n in range(given.runs):
            if SystemClock().now().utc_us / 1e6 > given.until:
                break
            directory = Path(scratch) / str(n)
            directory.mkdir()
            silent = Silent()
            ports = {
                name: draw.choice((0, silent.port, working.get(name.removesuffix("_push"), 0)))
                for name in ("http", "mqtt_push", "mqtt", "opcua", "modbus")
            }
            site = written(directory, **ports)
            way = draw.choice(("for", "term", "int", "early"))
            life = draw.uniform(0.0, 0.6) if way == "early" else draw.uniform(0.0, 3.0)
            process = started(site, *(("--for", f"{life:.2f}s") if way == "for" else ()), patch=AT_ONCE)
            if way != "early":
                _serves(site, process)
            time.sleep(life)
            began = time.monotonic()
            if way != "for":
                process.send_signal(signal.SIGINT if way == "int" else signal.SIGTERM)
            try:
                code = process.wait(BOUND_S)
            except subprocess.TimeoutExpired:
                print(
                    f"run {n}: {way} after {life:.2f} s, {ports}: HANGS\n{dumped(site, process)}", flush=True
                )
                process.kill()
                code = process.wait()
            took.append(time.monotonic() - began)
            codes[way, code] += 1
            talk = (directory / "talk").read_text(errors="replace")
            if took[-1] > 8 or "left behind" in talk or "Traceback" in talk or code not in (0, -15, -2):
                print(
                    f"run {n}: {way} {life:.2f} s {ports}: {took[-1]:.1f} s, code {code}\n{talk[-3000:]}",
                    flush=True,
                )
            silent.close()
            if n % 10 == 9:
                print(f"{n + 1} runs; longest {max(took):.2f} s; {dict(codes)}", flush=True)
    print(f"{len(took)} runs; longest stop {max(took):.2f} s; {dict(codes)}")


if __name__ == "__main__":
    main()
