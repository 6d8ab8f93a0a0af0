"""The platform's side of gateways that push over MQTT, through any broker: the same intake, other envelopes.

================================ ==================================================================================
``gw/<id>/checkpoint``           the gateway's newest signed checkpoint, retained: a doorbell
``gw/<id>/bundle/<n>``           entries of bundle ``n``: an add-checkpoint body (its length before it, four bytes) and
                                 an add-entries body, gzip; each message proves itself and may come in any order, twice
``gw/<id>/ack``                  the answer, retained: where the log stands (tlog mirror-info), then the receipt
``gw/<id>/refused``              why something was refused that waiting does not mend
================================ ==================================================================================

``<id>`` is the origin with ``~`` for ``/``. A PUBACK is the broker's word, not ours: the receipt on the ack topic is
what counts. A message that was lost between broker and store is sent again by the gateway; one that comes twice is
skipped by its log index.

With ``share`` several workers take turns, message by message, whichever gateway it is of. So of two neighbouring
bundles the later may come first: it is held for a moment, and looked at again when the other worker has stored the one
before.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

import aiomqtt
from starlette.concurrency import run_in_threadpool

from evidence.enrolment import common_name
from evidence.errors import ParseError

from .broker import Broker, Connection
from .delivery import Delivery
from .intake import Intake, Refused, Standing
from .store import Overtaken, StoreError

__all__ = ["Broker", "Worker", "acknowledgement", "topic_id"]

_log = logging.getLogger("suyuan.central.mqtt")

BATCH: Final = 32  # messages in one transaction
AT_ONCE: Final = 8  # gateways: as many as the store has connections
HOLD_S: Final = 3.0  # then what is before a message counts as lost
FIRST_LOOK_S: Final = 0.02
LONGEST_LOOK_S: Final = 0.5
MAX_HELD: Final = 64 * 1024 * 1024  # bytes, of all gateways
RIVALS: Final = 8
_PREFIX: Final = "gw"


def topic_id(origin: str) -> str:
    """An origin as one level of a topic: the common name of its certificate, by which a broker admits it."""
    return common_name(origin)


class Worker:
    """Takes what gateways publish into the intake."""

    def __init__(
        self,
        intake: Intake,
        broker: Broker,
        *,
        share: str = "",
        identifier: str | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Random | None = None,
        hold_s: float = HOLD_S,
    ) -> None:
        self._intake = intake
        self._broker = broker
        self._share = f"$share/{share}/" if share else ""
        # two workers of one name would throw each other out of the broker, for ever
        self._identifier = identifier or f"suyuan-central-{secrets.token_hex(8)}"
        self._sleep = sleep
        self._random = random or Random()
        self._hold_s = hold_s
        self._held = 0  # bytes of entries that wait for those before them, of all gateways
        self._origins: dict[str, str] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Connect, work, connect again, until cancelled. ``ready`` is called each time it has subscribed."""
        failures = 0
        while True:
            lost: Exception | None = None
            try:
                async with self._broker.client(self._identifier) as client:
                    await client.subscribe(f"{_PREFIX}/+/checkpoint", qos=1)
                    await client.subscribe(f"{self._share}{_PREFIX}/+/bundle/+", qos=1)
                    failures = 0
                    ready()
                    await self._work(client)
            except* aiomqtt.MqttError as group:
                lost = group.exceptions[0]
            if (
                lost is not None
            ):  # not in the handler: before Python 3.11.4 a cancel there would leave as a group
                ceiling = min(60.0, 2.0 ** min(failures, 10))
                failures += 1
                _log.warning("%s:%d: %s", self._broker.host, self._broker.port, lost)
                await self._sleep(ceiling / 2 + self._random.uniform(0, ceiling / 2))

    async def _work(self, client: Connection) -> None:
        queues: dict[str, asyncio.Queue[aiomqtt.Message]] = {}
        self._held = 0
        async with asyncio.TaskGroup() as tasks:
            async for message in client.messages:
                levels = message.topic.value.split("/")
                # each front end hears every doorbell. One that rings while it listens is followed by entries, which
                # come to one of them; one that the broker had kept may be of a gateway that waits
                idle = len(levels) < 3 or (levels[2] == "checkpoint" and not message.retain)
                if idle or self._origin(levels[1]) is None:
                    client.taken(message)
                    continue
                name = levels[1]
                if name not in queues:
                    queues[name] = asyncio.Queue()
                    tasks.create_task(self._gateway(client, name, queues[name]))
                queues[name].put_nowait(message)

    def _origin(self, name: str) -> str | None:
        """Whose topic it is; None if nobody's whose log is taken."""
        if name not in self._origins:
            self._origins = {topic_id(origin): origin for origin in self._intake.origins()}
        return self._origins.get(name)

    async def _gateway(self, client: Connection, name: str, queue: asyncio.Queue[aiomqtt.Message]) -> None:
        """The messages of one gateway, as many at once as are there.

        What comes before its turn waits a little: with a share, the entries before it are at another front end.
        """
        origin = self._origins[name]
        ahead: tuple[Delivery, ...] = ()
        known, held_for, pause = -1, 0.0, FIRST_LOOK_S
        while True:
            batch = [] if ahead else [await queue.get()]
            if ahead and queue.empty():
                # a look costs one query; whoever has what is missing stores it within moments, or it is lost
                await self._sleep(pause)
                held_for, pause = held_for + pause, min(2 * pause, LONGEST_LOOK_S)
            while len(batch) < BATCH and not queue.empty():
                batch.append(queue.get_nowait())
            async with self._free:
                found = [*ahead, *await run_in_threadpool(_read, name, origin, batch)]
                self._held -= sum(one.weight for one in ahead)
                ahead = ()
                try:
                    standing, ahead = await run_in_threadpool(self._take, origin, found)
                except Refused as refused:
                    if refused.status in (403, 422):
                        await client.publish(f"{_PREFIX}/{name}/refused", refused.body, qos=1)
                    continue
                except StoreError as error:
                    _log.error("%s: %s", name, error)
                    continue
                finally:
                    for message in batch:
                        client.taken(message)
            if standing.next != known:
                held_for, pause = 0.0, FIRST_LOOK_S
            weight = sum(one.weight for one in ahead)
            if ahead and (held_for >= self._hold_s or self._held + weight > MAX_HELD):
                ahead, weight, held_for, pause = (
                    (),
                    0,
                    0.0,
                    FIRST_LOOK_S,
                )  # lost: it is sent again from where the log stands
                known = -1
            self._held += weight
            if standing.next != known or len(ahead) < len(found):
                known = standing.next
                await client.publish(f"{_PREFIX}/{name}/ack", acknowledgement(standing), qos=1, retain=True)

    def _take(self, origin: str, found: Sequence[Delivery]) -> tuple[Standing, tuple[Delivery, ...]]:
        """As far as it follows; again if another front end was quicker."""
        for _ in range(RIVALS):
            try:
                return self._intake.deliver(origin, found)
            except Overtaken:
                continue
        return self._intake.deliver(origin, found)


def _read(name: str, origin: str, batch: Sequence[aiomqtt.Message]) -> list[Delivery]:
    """The deliveries among messages; what is none is told and passed over."""
    found = []
    for message in batch:
        if message.topic.value.split("/")[2] != "bundle":
            continue
        try:
            one = Delivery.parse(bytes(message.payload))
        except ParseError as error:
            _log.warning("%s: not understood: %s", name, error)
            continue
        if one.upload.origin == origin:
            found.append(one)
        else:
            _log.warning("%s: entries of %s: passed over", name, one.upload.origin[:200])
    return found


def acknowledgement(standing: Standing) -> bytes:
    """The payload of the ack topic."""
    return standing.text.encode() + (standing.receipt or b"")
