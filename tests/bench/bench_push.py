"""How fast a backlog drains to a platform: pushed over HTTPS (plain, on loopback) and over MQTT.

    python -m tests.bench.bench_push [--entries 60000]

Gateway and platform are processes of their own. A platform verifies every entry, so its core is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from gateway.clock import SystemClock
from gateway.mqtt import Broker, MqttPusher
from gateway.push import Pusher, Target
from gateway.receipts import PlatformKey, Receipts
from gateway.store import LogStore
from sim.ports import free_port
from tests.central.pushing import grow
from tests.evidence.logs import Writer
from tests.rigs.agent_process import ORIGIN, PLATFORM
from tests.rigs.broker import MOSQUITTO, BrokerProcess
from tests.rigs.platform_process import PlatformProcess

KEY = PlatformKey("platform", PLATFORM.cosigner)


async def drain(directory: Path, store: LogStore, *, mqtt: bool) -> tuple[float, int]:
    """Entries a second until the receipt for all of them, and bytes sent."""
    clock = SystemClock()
    broker = BrokerProcess.make(directory / "broker")
    platform = PlatformProcess(directory / "platform", free_port(), vkey=Writer(ORIGIN).signer.verifier.vkey)
    if mqtt:
        await broker.start()
        platform.broker = f"mqtt://127.0.0.1:{broker.port}"
    await platform.start()
    pusher: Pusher | MqttPusher
    if mqtt:
        pusher = MqttPusher(
            store, Receipts(store, [KEY], clock), Broker(KEY, "127.0.0.1", broker.port), clock
        )
    else:
        pusher = Pusher(store, Receipts(store, [KEY], clock), Target(KEY, platform.url), clock)
    began = clock.now().boot_us
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(pusher.run())
            while pusher.acknowledged < store.size:  # noqa: ASYNC110 - a bench looks at its watch
                await asyncio.sleep(0.01)
            took = (clock.now().boot_us - began) / 1e6
            running.cancel()
    finally:
        await platform.kill()
        await broker.kill()
    return store.size / took, pusher.sent


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--entries", type=int, default=60_000)
    given = asked.parse_args()
    for mqtt in (False, True):
        if mqtt and MOSQUITTO is None:
            continue
        with tempfile.TemporaryDirectory() as name:
            store = LogStore(Path(name) / "gateway", ORIGIN, ballast=0)
            writer = Writer(ORIGIN)
            grow(store, writer, given.entries)
            rate, sent = asyncio.run(drain(Path(name), store, mqtt=mqtt))
            store.close()
        what = "bundles" if mqtt else f"bytes, {sent / given.entries:.0f} an entry"
        print(f"{'MQTT' if mqtt else 'HTTP'}: {rate:.0f} entries/s, {sent} {what}", flush=True)


if __name__ == "__main__":
    main()
