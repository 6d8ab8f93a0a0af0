"""The real agent as a process of its own, to be killed.

    python -m tests.rigs.agent_process DATA PERIOD_US COMMIT_US CHECKPOINT_US PORT… [--push URL | --tls CERT KEY CA]

With ``--push`` its log is pushed to the platform at that address; with ``--tls`` it is served over HTTPS to clients of
that authority.

Prints one line of JSON when it serves: the port, and the vkey of the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path

from evidence.note import Ed25519Signer
from gateway.agent import Agent
from gateway.clock import SystemClock
from gateway.mqtt import Broker
from gateway.plan import Plan
from gateway.push import Target
from gateway.receipts import PlatformKey
from gateway.tls import ServerTls, TlsFiles
from gateway.uplink import push_to
from tests.rigs.farm import bus_plans

ORIGIN = "platform.example/gw/rig"
SIGNER = Ed25519Signer.from_seed(ORIGIN, bytes(32))
PLATFORM = Ed25519Signer.from_seed("platform.example/receipts", bytes(range(32)))


def plan(data: Path, period_us: int, ports: list[int], *, listen: str = "127.0.0.1:0") -> Plan:
    return Plan(
        origin=ORIGIN,
        data=data,
        signer=SIGNER,
        software="suyuan/rig",
        configuration=b'{"rig":true}',
        buses=bus_plans(ports, period_us),
        platforms=(PlatformKey("platform", PLATFORM.cosigner),),
        listen=listen,
        ballast=0,
    )


def uplink(platform: PlatformKey, url: str) -> Target | Broker:
    if url.startswith("mqtt"):
        host, port, _ = Broker.address(url)
        return Broker(platform, host, port)
    return Target(platform, url)


async def main(
    push: str, tls: list[str], data: Path, period_us: int, commit_us: int, checkpoint_us: int, *ports: int
) -> None:
    made = replace(plan(data, period_us, list(ports)), commit_us=commit_us, checkpoint_us=checkpoint_us)
    if tls:
        made = replace(made, tls=ServerTls(TlsFiles(*map(Path, tls))))
    clock = SystemClock()
    agent = Agent(made, clock)

    async def told() -> None:
        while agent.address is None:  # noqa: ASYNC110 - the rig's own waiting, outside the agent
            await asyncio.sleep(0.01)
        print(json.dumps({"port": agent.address[1]}), flush=True)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.stop)
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(told())]
        if push:
            beside.append(group.create_task(push_to(uplink(made.platforms[0], push), agent, clock)))
        await agent.run()
        for task in beside:
            task.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    given, _, url = "\n".join(sys.argv[1:]).partition("\n--push\n")
    given, _, files = given.partition("\n--tls\n")
    where, *numbers = given.split("\n")
    asyncio.run(main(url, files.split("\n") if files else [], Path(where), *map(int, numbers)))
