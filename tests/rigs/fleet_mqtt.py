"""The fleet through a broker: real gateways' push code, Mosquitto, front ends as an operator starts them, PostgreSQL.

    python tests/rigs/fleet.py --mqtt --gateways 1000 --workers 2 [--kill]

Every gateway has its own store and its own connection to the broker, by the product's own code; all of them live in one
process. Front ends are ``suyuan collect --broker … --share front --database …``. Measured and held against the logs as
where a fleet is pulled (``fleet``); besides, every gateway must have the receipt for its whole log. The broker's CPU
time is told apart: it is no part of what a reading costs the platform, but somebody pays for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from central.postgres import PostgresStore
from evidence import record
from gateway.clock import SystemClock
from gateway.keys import Key, _encode
from gateway.mqtt import PATIENCE_US, Broker, MqttPusher
from gateway.pacing import BackOff
from gateway.receipts import PlatformKey, Receipts
from gateway.store import LogStore
from sim.ports import free_port
from tests.central.pushing import PLATFORM, grow
from tests.evidence.logs import Writer
from tests.rigs import engines
from tests.rigs.broker import ABSENT, MOSQUITTO

ROOT = Path(__file__).parent.parent.parent
KEY = PlatformKey("platform", PLATFORM.cosigner)
PATIENCE_S = 600
TOLD_S = 0.2


def writer(number: int) -> Writer:
    """The log of one gateway; the same each time."""
    return Writer(f"platform.example/gw/{number}", number)


# ── the gateways ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def gateways(directory: Path, port: int, count: int, patience_us: int, sizes: Sequence[int]) -> None:
    """Push the logs of ``count`` gateways to the broker at ``port``.

    Their logs have the first of ``sizes``; with each line on stdin they grow to the next. The first line on stdout
    tells the readings in the logs, by size; each further one their size, how many gateways have the receipt for their
    whole log, how many messages with entries were sent in all, and how many answers came. It ends when stdin does.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clock = SystemClock()
    writers = [writer(number) for number in range(count)]
    readings = [
        sum(column) for column in zip(*(_readings(writer(n), sizes) for n in range(count)), strict=True)
    ]
    stores = []
    for number, made in enumerate(writers):
        store = LogStore(directory / str(number), made.origin, ballast=0)
        grow(store, made, sizes[0])
        stores.append(store)
    print(json.dumps(readings), flush=True)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    await lines.readline()
    broker = Broker(KEY, "127.0.0.1", port)
    pushers = [
        MqttPusher(
            store, Receipts(store, [KEY], clock), broker, clock,
            back_off=BackOff(min(1.0, patience_us / 1e6), 60.0), patience_us=patience_us,
        )
        for store in stores
    ]  # fmt: skip
    later = iter(sizes[1:])
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(pusher.run()) for pusher in pushers]
        asked = tasks.create_task(lines.readline())
        while not lines.at_eof():
            if asked.done() and (size := next(later, None)) is not None:
                for store, made in zip(stores, writers, strict=True):
                    grow(store, made, size)
                    await asyncio.sleep(0)
                asked = tasks.create_task(lines.readline())
            ready = sum(p.acknowledged == w.size for p, w in zip(pushers, writers, strict=True))
            heard = sum(p.heard for p in pushers)
            print(json.dumps([writers[0].size, ready, sum(p.sent for p in pushers), heard]), flush=True)
            await asyncio.sleep(TOLD_S)
        for task in running:
            task.cancel()
    for store in stores:
        store.close()


def _readings(made: Writer, sizes: Sequence[int]) -> list[int]:
    """How many of the first entries are readings, by size."""
    for size in sizes:
        made.grow(size)
    which = [isinstance(record.decode(entry), record.Reading) for entry in made.entries]
    return [sum(which[:size]) for size in sizes]


@dataclass
class Site:
    """The process with the gateways."""

    process: subprocess.Popen[bytes]
    readings: list[int]
    sent: int = 0
    heard: int = 0

    def go(self) -> None:
        """First: push what there is. Then: grow."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def until_acknowledged(self, count: int, size: int) -> float:
        """Until every gateway has the receipt for its log of ``size``; when that was told."""
        return self._until(lambda told: told[:2] == [size, count])

    def until_heard(self, more: int) -> None:
        """Until so many answers more have come."""
        before = self.heard
        self._until(lambda told: told[3] >= before + more)

    def end(self) -> None:
        """End it, as whoever closes its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0

    def _until(self, true: Callable[[list[int]], bool]) -> float:
        assert self.process.stdout is not None
        until = time.monotonic() + PATIENCE_S
        told: list[int] = []
        while time.monotonic() < until:
            line = self.process.stdout.readline()
            assert line, "the gateways have ended"
            told = json.loads(line)
            _, _, self.sent, self.heard = told
            if true(told):
                return time.monotonic()
        raise AssertionError(
            f"not within {PATIENCE_S} s: size, gateways ready, messages sent, answers: {told}"
        )


@contextmanager
def site(
    directory: Path,
    port: int,
    count: int,
    sizes: Sequence[int],
    *,
    said: IO[str] | None = None,
    patience_us: int = PATIENCE_US,
) -> Iterator[Site]:
    """The gateways. ``said``: where their stderr goes."""
    numbers = map(str, (port, count, patience_us, *sizes))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.rigs.fleet_mqtt", directory, *numbers],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Site(process, json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.stdout.close()
        _ended(process, signal.SIGTERM)


# ── broker and front ends ────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def mosquitto(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's mosquitto with the limits of ``deploy/platform/mosquitto.conf``."""
    assert MOSQUITTO is not None, ABSENT
    shipped = (ROOT / "deploy" / "platform" / "mosquitto.conf").read_text(encoding="utf-8")
    limits = [line for line in shipped.splitlines() if line.startswith("max_")]
    config = directory / "mosquitto.conf"
    lines = [f"listener {port} 127.0.0.1", "user root", "allow_anonymous true", "persistence false", *limits]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (directory / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", config], stdout=log, stderr=log)
    try:
        engines.answers(port, process)
        yield process
    finally:
        _ended(process, signal.SIGTERM)


@dataclass
class Front:
    """A front end at work."""

    process: subprocess.Popen[bytes]
    said: IO[str]
    spent_s: float = 0.0  # CPU time, once it has ended

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        self.process.send_signal(number)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.spent_s = usage.ru_utime + usage.ru_stime
        return self.process.returncode

    def words(self) -> str:
        """All that it has said."""
        self.said.seek(0)
        return self.said.read()


@contextmanager
def front(directory: Path, url: str | None, port: int, number: int) -> Iterator[Front]:
    """`suyuan collect` as the compose file runs it; without a URL on SQLite, alone."""
    place = directory / f"front-{number}"
    place.mkdir()
    with (place / "said").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gateway.cli", "collect", "--listen", "127.0.0.1:0", "--plain", "--store", place,
                *(() if url is None else ("--database", url, "--share", "front")),
                "--gateways", directory / "pushing.txt", "--sign", directory / "platform.key",
                "--broker", f"mqtt://127.0.0.1:{port}", "--stale", "1h",
            ],
            stdout=subprocess.DEVNULL, stderr=said, cwd=ROOT,
        )  # fmt: skip
        made = Front(process, said)
        try:
            _until(lambda: "127.0.0.1" in (place / "said").read_text("utf-8"), process)
            yield made
        finally:
            _ended(process, signal.SIGTERM)


def _until(true: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until
        assert process is None or process.poll() is None, f"ended with {process.returncode}"
        time.sleep(0.01)


def _ended(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)
        process.wait(60)


def write_keys(directory: Path, count: int) -> None:
    """The platform's key, and the file of the gateways that push."""
    key = directory / "platform.key"
    key.touch(0o600)
    key.write_text(_encode(Key(PLATFORM, True, bytes([2]) * 32)), encoding="utf-8")
    vkeys = [writer(number).signer.verifier.vkey for number in range(count)]
    (directory / "pushing.txt").write_text("\n".join(vkeys) + "\n", encoding="utf-8")


# ── the account ──────────────────────────────────────────────────────────────────────────────────────────────────────


def run(
    count: int,
    fronts: int,
    backlog: int,
    news: int,
    processor_s: Callable[[int], float],
    hold_against: Callable[[str, int, int, int], None],
    *,
    kill: bool = False,
    patience_us: int = PATIENCE_US,
) -> dict[str, object]:
    """Both collections; figures by collection. Raises AssertionError if anything is lost, twice, or ends in a trace."""
    sizes = (backlog, backlog + news)
    told: dict[str, object] = {"gateways": count, "front_ends": fronts, "killed": kill}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="suyuan-fleet-")))
        write_keys(directory, count)
        port = free_port()
        broker = stack.enter_context(mosquitto(directory, port))
        server = stack.enter_context(engines.postgres("shared_buffers=256MB", "max_wal_size=4GB"))
        url = server.database()
        store = stack.enter_context(PostgresStore(url, connections=1))
        farm = stack.enter_context(site(directory / "gateways", port, count, sizes, patience_us=patience_us))
        running = [stack.enter_context(front(directory, url, port, number)) for number in range(fronts)]
        before, sent = 0, 0
        for name, size, now in zip(("backlog", "round"), sizes, farm.readings, strict=True):
            alive = [each for each in running if each.process.returncode is None]
            watched = [*(each.process.pid for each in alive), server.process.pid, broker.pid]
            spent = dict(zip(watched, map(processor_s, watched), strict=True))
            started = time.monotonic()
            farm.go()
            if kill and not before:
                _until(lambda: _begun(store) >= count * 0.4)
                running[0].end(signal.SIGKILL)
            ended = farm.until_acknowledged(count, size)
            front_s = sum(
                (each.spent_s or processor_s(each.process.pid)) - spent[each.process.pid] for each in alive
            )
            database_s = processor_s(server.process.pid) - spent[server.process.pid]
            broker_s = processor_s(broker.pid) - spent[broker.pid]
            new = now - before
            told[name] = {
                "readings": new,
                "messages": farm.sent - sent,
                "wall_s": round(ended - started, 2),
                "fronts_cpu_s": round(front_s, 2),
                "database_cpu_s": round(database_s, 2),
                "broker_cpu_s": round(broker_s, 2),
                "readings_per_core_s": round(new / (front_s + database_s)),
                "core_ms_per_gateway": round(1000 * (front_s + database_s) / count, 2),
            }
            before, sent = now, farm.sent
            hold_against(url, count, size, now)
        for each in running:
            if each.process.returncode is None:
                assert each.end() == 0, each.words()
            words = each.words()
            assert "Traceback" not in words, words
            assert "never retrieved" not in words, words
    return told


def _begun(store: PostgresStore) -> int:
    found: Any = store.rows("SELECT count(*) FROM gateway WHERE size > 0")[0][0]
    return int(found)


if __name__ == "__main__":
    asked = list(map(int, sys.argv[2:]))
    asyncio.run(gateways(Path(sys.argv[1]), asked[0], asked[1], asked[2], asked[3:]))
