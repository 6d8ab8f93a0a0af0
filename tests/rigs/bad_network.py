"""Gateways, broker and platform as hosts of their own on a bad network: what arrives is what was written, once.

    make network            (or: python -m tests.rigs.bad_network [--how mqtt push pull] [--seconds 30] [--loss 0.05])

The network loses, delays, jitters and reorders frames (``lossy_switch``) while the logs grow. Then the gateways are cut
off, for the time given, and joined again; over MQTT the broker is killed with SIGKILL and started again, twenty times,
each time when something has come through since the last. When the logs grow no more and each gateway has the receipt
for its whole log, the platform's entries are held against the gateways' own, byte for byte.

Everything is in network namespaces of its own and is taken down at the end. Root only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from central.store import Store
from evidence.record import Gap, Reading, decode
from gateway.keys import Key, _encode
from gateway.store import LogStore
from tests.central.pushing import PLATFORM
from tests.rigs import authority, netns
from tests.rigs.broker import ABSENT, MOSQUITTO
from tests.rigs.gateways_process import PORT, directory, writer

PATIENCE_S = 300.0


@dataclass(frozen=True)
class Weather:
    """What the network is like. ``cut_s``: for how long the gateways are off it."""

    loss: float = 0.05
    delay_ms: float = 20.0
    jitter_ms: float = 10.0
    reorder: float = 0.02
    cut_s: float = 30.0


@dataclass
class Result:
    """One run. Entries of all gateways; frames as the switch counted them."""

    how: str
    entries: int = 0
    readings: int = 0
    lost: int = 0
    twice: int = 0
    alike: bool = False  # the platform's entries and the gateways', byte for byte
    broker_kills: int = 0
    frames: int = 0
    frames_lost: int = 0
    frames_overtook: int = 0
    frames_cut: int = 0
    seconds: float = 0.0


class Gateways:
    """The process with the gateways, and what it last said."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.told: dict[str, Any] = {"written": [], "acknowledged": [], "last": False}

    @property
    def acknowledged(self) -> int:
        return sum(self.told["acknowledged"])

    async def until(self, true: Any, what: str) -> None:
        """Listen until something is true of what it says."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true():
                    line = await self.process.stdout.readline()
                    assert line, "the gateways have ended"
                    self.told = json.loads(line)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {PATIENCE_S:.0f} s; {self.told}") from None

    async def more(self, entries: int) -> None:
        """Until receipts for so many entries more have come."""
        before = self.acknowledged
        await self.until(lambda: self.acknowledged >= before + entries, f"{entries} entries more")


async def measure(
    data: Path,
    how: str,
    weather: Weather,
    *,
    gateways: int = 3,
    chunk: int = 20,
    kills: int = 20,
    seed: int = 1,
) -> Result:
    """One run over one transport; ``kills``: of the broker. Raises AssertionError if it does not come to its end."""
    result = Result(how)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(netns.network("gateways", "broker", "platform", seed=seed))

        async def started(host: str, *command: str | Path, **pipes: Any) -> Process:
            process = await asyncio.create_subprocess_exec(
                *net.inside(host, *command), cwd=netns.ROOT, **pipes
            )
            stack.push_async_callback(_ended, process)
            return process

        await _platform(net, data, how, gateways, started)
        broker = await _broker(net, data, started) if how == "mqtt" else None
        address = {
            "push": f"https://{net.address('platform')}:8443",
            "mqtt": f"mqtt://{net.address('broker')}",
            "pull": "",
        }[how]
        files = ("ca.pem", "client.pem", "client.key") if how == "push" else ()
        process = await started(
            "gateways",
            sys.executable,
            "-m",
            "tests.rigs.gateways_process",
            data,
            str(gateways),
            str(chunk),
            how,
            *filter(None, [address]),
            *(data / name for name in files),
            stdin=PIPE,
            stdout=PIPE,
        )  # fmt: skip
        farm = Gateways(process)
        await farm.more(1)
        await net.impair(
            loss=weather.loss, delay_ms=weather.delay_ms, jitter_ms=weather.jitter_ms, reorder=weather.reorder
        )
        await farm.more(gateways * chunk)
        while broker is not None and result.broker_kills < kills:
            broker.send_signal(signal.SIGKILL)
            await broker.wait()
            result.broker_kills += 1
            broker = await _broker(net, data, started)
            await farm.more(1)
        await net.impair(cut=["gateways"])
        await asyncio.sleep(weather.cut_s)
        await net.impair(cut=[])
        await farm.more(gateways * chunk)
        assert farm.process.stdin is not None
        farm.process.stdin.write(b"enough\n")
        await farm.until(
            lambda: farm.told["last"] and farm.told["written"] == farm.told["acknowledged"],
            "the receipts for the whole logs",
        )
        counts = await net.impair()
        farm.process.stdin.close()
        await asyncio.wait_for(farm.process.wait(), 60)
        assert farm.process.returncode == 0
    result.frames, result.frames_lost = counts["forwarded"], counts["lost"]
    result.frames_overtook, result.frames_cut = counts["overtook"], counts["cut"]
    judge(result, data, gateways)
    result.seconds = round(loop.time() - began, 1)
    return result


async def _platform(net: netns.Network, data: Path, how: str, gateways: int, started: Any) -> None:
    """`suyuan collect`, as an operator starts it."""
    key = data / "platform.key"
    key.touch(0o600)
    key.write_text(_encode(Key(PLATFORM, True, bytes([2]) * 32)))
    keys = [writer(number).signer.verifier.vkey for number in range(gateways)]
    collect = (sys.executable, "-m", "gateway.cli", "collect")
    if how == "pull":
        for number, vkey in enumerate(keys):
            url = f"http://{net.address('gateways')}:{PORT + number}"
            await started(
                "platform", *collect, url, "--key", vkey, "--store", data / f"platform-{number}", "--sign", key,
                "--every", "0.5s", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        return
    store = data / "platform"
    store.mkdir()
    (store / "gateways").write_text("".join(f"{vkey}\n" for vkey in keys))
    if how == "push":
        address = net.address("platform")
        ca, server, _, _ = authority.issue(data, address)
        door = (f"{address}:8443", "--certificate", server[0], "--private-key", server[1], "--clients", ca)
    else:
        door = ("127.0.0.1:8443", "--plain", "--broker", f"mqtt://{net.address('broker')}")
    said = data / "platform.log"
    with said.open("wb") as log:
        process = await started(
            "platform", *collect, "--store", store, "--sign", key, "--listen", *door, stderr=log
        )
    async with asyncio.timeout(30):
        while b"8443" not in said.read_bytes():
            assert process.returncode is None, said.read_text()
            await asyncio.sleep(0.05)


async def _broker(net: netns.Network, data: Path, started: Any) -> Process:
    """Mosquitto without persistence: what it held is gone when it is killed."""
    config = data / "mosquitto.conf"
    config.write_text(
        f"listener 1883 {net.address('broker')}\nuser root\nallow_anonymous true\npersistence false\n"
    )
    quiet = asyncio.subprocess.DEVNULL
    process: Process = await started("broker", str(MOSQUITTO), "-c", config, stdout=quiet, stderr=quiet)
    return process


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


def judge(result: Result, data: Path, gateways: int) -> None:
    """The platform's stores against the gateways'."""
    alike = []
    for number in range(gateways):
        origin = writer(number).origin
        with_all = data / "platform"
        with Store(with_all if with_all.exists() else data / f"platform-{number}") as store:
            (known,) = (g for g in store.gateways() if g.origin == origin)
            assert known.alarm == ""
            there = list(store.entries(known))
        log = LogStore(directory(data, number), origin, ballast=0)
        written = [entry for _, entry in log.entries(0)]
        log.close()
        alike.append(there == written)
        result.entries += len(written)
        result.lost += (Counter(written) - Counter(there)).total()
        result.twice += len(there) - len(set(there))
        records = [decode(entry) for entry in there]
        numbers: Counter[tuple[str, int]] = Counter()
        for record in records:
            if isinstance(record, Reading):
                numbers[record.instrument, record.number] += 1
                result.readings += 1
            elif isinstance(record, Gap):
                numbers.update((record.instrument, n) for n in range(record.first, record.last + 1))
        result.twice += sum(n - 1 for n in numbers.values())
        for instrument in {name for name, _ in numbers}:
            polled = [n for name, n in numbers if name == instrument]
            result.lost += max(polled) - len(polled)
    result.alike = all(alike)


async def _until_told(run: Coroutine[Any, Any, Result]) -> Result:
    """SIGTERM takes everything down as an interrupt does."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--how", nargs="*", default=["pull", "push", "mqtt"], choices=["pull", "push", "mqtt"])
    asked.add_argument("--loss", type=float, nargs="*", default=[0.01, 0.05, 0.10])
    asked.add_argument("--cut", type=float, default=30.0, metavar="S")
    asked.add_argument("--kills", type=int, default=20)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    why = netns.absent() or (ABSENT if MOSQUITTO is None and "mqtt" in given.how else "")
    if why:
        print(f"not run: {why}", file=sys.stderr)
        return 2
    names = [f.name for f in fields(Result)]
    print(" | ".join(["loss", *names]), flush=True)
    good = True
    for how in given.how:
        for loss in given.loss:
            with tempfile.TemporaryDirectory() as name:
                weather = Weather(loss=loss, cut_s=given.cut)
                result = asyncio.run(measure(Path(name), how, weather, kills=given.kills, seed=given.seed))
            good &= result.alike and result.lost == result.twice == 0
            print(" | ".join([f"{loss:g}", *(str(getattr(result, n)) for n in names)]), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
