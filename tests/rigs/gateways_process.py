"""Some gateways in one process: real logs in real stores, brought to the platform by the product's own code.

    python -m tests.rigs.gateways_process DIRECTORY COUNT CHUNK HOW [ADDRESS [CA CERTIFICATE KEY]]

HOW is ``pull`` (each is served, at ports from 8475 on), ``push`` or ``mqtt``. Every fifth of a second each log grows by
CHUNK entries under a new checkpoint, until a line comes on stdin; then a last time. Each line on stdout is a JSON
document: ``written`` and ``acknowledged``, entries by gateway, and ``last``, whether the logs grow no more. It ends
when stdin does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from gateway.clock import SECOND_US, SystemClock
from gateway.mqtt import Broker, MqttPusher
from gateway.pacing import BackOff
from gateway.push import Pusher, Target
from gateway.receipts import PlatformKey, Receipts
from gateway.serve import application, listening, serve
from gateway.status import AgentStatus
from gateway.store import LogStore
from tests.central.pushing import PLATFORM, grow
from tests.evidence.logs import Writer

KEY = PlatformKey("platform", PLATFORM.cosigner)
PORT = 8475
FIRST_S, LONGEST_S = 0.2, 2.0  # of the pauses after a failure: the network is bad for seconds, not for hours
PATIENCE_US = 3 * SECOND_US


def writer(number: int) -> Writer:
    """The log of one gateway; the same each time."""
    return Writer(f"platform.example/gw/{number}", number)


def directory(root: Path, number: int) -> Path:
    return root / f"gateway-{number}"


def _nothing() -> AgentStatus:
    raise AssertionError("nobody asks for the status of these")


async def main(root: Path, count: int, chunk: int, how: str, address: str = "", *files: str) -> None:
    clock = SystemClock()
    writers = [writer(number) for number in range(count)]
    stores = [LogStore(directory(root, n), w.origin, ballast=0) for n, w in enumerate(writers)]
    receipts = [Receipts(store, [KEY], clock) for store in stores]
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    stop = asyncio.Event()
    pushers: list[Pusher] = []
    async with asyncio.TaskGroup() as tasks:
        running = []
        for number, (store, taken) in enumerate(zip(stores, receipts, strict=True)):
            if how == "pull":
                sock = listening(f"0.0.0.0:{PORT + number}")
                running.append(tasks.create_task(serve(application(store, taken, _nothing), sock, stop)))
            elif how == "push":
                ca, certificate, key = map(Path, files)
                target = Target(KEY, address, ca, certificate, key)
                pushers.append(Pusher(store, taken, target, clock, back_off=BackOff(FIRST_S, LONGEST_S)))
                running.append(tasks.create_task(pushers[-1].run()))
            else:
                host, port, _ = Broker.address(address)
                back_off = BackOff(FIRST_S, LONGEST_S)
                broker = Broker(KEY, host, port)
                pusher = MqttPusher(store, taken, broker, clock, back_off=back_off, patience_us=PATIENCE_US)
                running.append(tasks.create_task(pusher.run()))
        asked = tasks.create_task(lines.readline())
        last = False
        while not lines.at_eof():
            if not last:
                last = asked.done()
                for store, made in zip(stores, writers, strict=True):
                    await asyncio.to_thread(grow, store, made, made.size + chunk)
            told = {
                "written": [w.size for w in writers],
                "acknowledged": [max((r.size for r in t.newest), default=0) for t in receipts],
                "last": last,
            }
            print(json.dumps(told), flush=True)
            await asyncio.sleep(0.2)
        stop.set()
        for task in running if how != "pull" else ():
            task.cancel()
    for pusher in pushers:
        await pusher.close()
    for store in stores:
        store.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
