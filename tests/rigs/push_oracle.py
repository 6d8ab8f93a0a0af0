"""Exact loss and duplicates where the gateway pushes: both sides killed, the platform away, the network what it is.

    python -m tests.rigs.push_oracle [--seconds 60] [--meters 10] [--period-ms 100] [--mqtt]

As in ``loss_oracle`` each value is the serial number of its read. Meanwhile, at random: the platform is killed with
SIGKILL and started again, or stays away for a while; and, if asked, the agent is killed. In the end every value served
must be at the platform once, except the open window of a killed agent, which a gap must name.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import tempfile
from dataclasses import fields
from pathlib import Path

from evidence.record import decode
from gateway.clock import SystemClock
from sim.ports import free_port
from tests.rigs.agent_under_test import AgentProcess
from tests.rigs.broker import BrokerProcess
from tests.rigs.farm import FarmProcess
from tests.rigs.loss_oracle import Result, caught_up, judge
from tests.rigs.platform_process import PlatformProcess


async def measure_push(
    data: Path,
    *,
    meters: int,
    period_us: int,
    seconds: float,
    kills: int,
    agent_kills: int = 0,
    away_s: float = 0.5,
    seed: int = 1,
    checkpoint_us: int = 500_000,
    mqtt: bool = False,
    broker_kills: int = 0,
) -> Result:
    """One run. ``kills``: of the platform, each followed by ``away_s`` of absence."""
    chance = random.Random(seed)
    clock = SystemClock()
    result = Result()
    farm = await FarmProcess.start(meters)
    platform = PlatformProcess(data / "platform", free_port())
    broker = BrokerProcess.make(data / "broker")
    if mqtt:
        await broker.start()
        platform.broker = f"mqtt://127.0.0.1:{broker.port}"
    await platform.start()

    async def start() -> AgentProcess:
        return await AgentProcess.start(
            data / "gateway", period_us, farm.ports,
            commit_us=200_000, checkpoint_us=checkpoint_us, push=platform.broker or platform.url,
        )  # fmt: skip

    agent = await start()
    events = ["platform"] * kills + ["agent"] * agent_kills + ["broker"] * broker_kills
    chance.shuffle(events)
    promised = 0
    try:
        for event in events:
            await asyncio.sleep(chance.uniform(0.3, 1.0) * seconds / max(1, len(events)))
            head = await platform.head()
            assert head is None or head.size >= promised, "a receipt for what is not stored"
            promised = max(promised, 0 if head is None else head.size)
            if event == "platform":
                await platform.kill()
                await asyncio.sleep(chance.uniform(0, away_s))
                await platform.start()
                head = await platform.head()
                assert promised == 0 or (head is not None and head.size >= promised), (
                    "a kill took stored entries"
                )
            elif event == "broker":
                await broker.kill()
                await asyncio.sleep(chance.uniform(0, away_s))
                await broker.start()
            else:
                await agent.kill()
                agent = await start()
        await platform.kill(signal.SIGTERM)
        await asyncio.sleep(away_s)
        before = len(await backlog(platform))
        began = clock.now().boot_us
        await asyncio.sleep(0.1)
        counts = await farm.freeze()
        async with asyncio.timeout(120):
            while True:
                at_platform = [decode(entry) for entry in await platform.entries()]
                if caught_up(at_platform, meters):
                    break
                await asyncio.sleep(0.2)
        took = (clock.now().boot_us - began) / 1e6
        result.drain_per_s = (len(at_platform) - before) / took
        result.peak_rss_mib = agent.memory_mib()
        assert await agent.end() == 0
        await platform.kill(signal.SIGTERM)
    finally:
        await farm.end()
        await broker.kill()
    judge(result, counts, data / "gateway", at_platform)
    return result


async def backlog(platform: PlatformProcess) -> list[bytes]:
    await platform.start()
    return await platform.entries()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=60.0)
    asked.add_argument("--meters", type=int, default=10)
    asked.add_argument("--period-ms", type=int, default=100)
    asked.add_argument("--kills", type=int, default=10)
    asked.add_argument("--agent-kills", type=int, default=0)
    asked.add_argument("--mqtt", action="store_true", help="over MQTT, the broker killed as well")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    names = [f.name for f in fields(Result)]
    print(" | ".join(names))
    with tempfile.TemporaryDirectory() as name:
        run = measure_push(
            Path(name), meters=given.meters, period_us=given.period_ms * 1000, seconds=given.seconds,
            kills=given.kills, agent_kills=given.agent_kills, away_s=5.0, seed=given.seed,
            mqtt=given.mqtt, broker_kills=given.kills if given.mqtt else 0,
        )  # fmt: skip
        result = asyncio.run(run)
    print(" | ".join(str(getattr(result, n)) for n in names))


if __name__ == "__main__":
    main()
