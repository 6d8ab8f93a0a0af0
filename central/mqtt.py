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
skipped by its log index. With ``share`` several workers take turns.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit

import aiomqtt
from aiomqtt import ProtocolVersion
from starlette.concurrency import run_in_threadpool

from evidence import log, note
from evidence.errors import ParseError

from .intake import Intake, Offer, Refused, Standing
from .packages import Body, Inflater, Package, Upload
from .store import StoreError

_log = logging.getLogger("suyuan.central.mqtt")

BATCH: Final = 32  # messages in one transaction
QUEUED: Final = 64  # of one gateway; what comes beyond is dropped, and sent again
MAX_UNPACKED: Final = log.TILE_WIDTH * (log.MAX_ENTRY + 2) + 4096
_PREFIX: Final = "gw"
KEEPALIVE_S: Final = (
    15  # a worker only listens: without a ping it hears nothing of a broker whose farewell was lost
)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker and how to get in. ``version`` 5 or 3 (3.1.1)."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    version: int = 5

    @classmethod
    def at(cls, url: str, *, ca: Path | None = None, version: int = 5) -> Broker:
        """From ``mqtts://[user:password@]host[:port]``, or ``mqtt://`` without TLS. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"{parts.scheme}://{parts.hostname or ''}: write mqtts://host:port")
        tls = None
        if parts.scheme == "mqtts":
            tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
            tls.minimum_version = ssl.TLSVersion.TLSv1_3
        port = parts.port or (1883 if tls is None else 8883)
        return cls(parts.hostname, port, tls, parts.username, parts.password, version)

    def client(self, identifier: str) -> aiomqtt.Client:
        """A client that is not connected yet."""
        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            identifier=identifier,
            protocol=ProtocolVersion.V5 if self.version == 5 else ProtocolVersion.V311,
            tls_context=self.tls,
            timeout=15.0,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=1024,
        )


def topic_id(origin: str) -> str:
    """An origin as one level of a topic."""
    return origin.replace("/", "~")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A bundle message that was read."""

    offer: Offer
    upload: Upload
    packages: tuple[Package, ...]

    @classmethod
    def parse(cls, payload: bytes) -> Delivery:
        """Read one. Raises ParseError."""
        length = int.from_bytes(payload[:4], "big")
        if len(payload) < 4 + length:
            raise ParseError("the message ends within its checkpoint")
        offer = Offer.parse(payload[4 : 4 + length])
        body = Body()
        packages: list[Package] = []
        for piece in Inflater(MAX_UNPACKED).feed(payload[4 + length :]):
            packages += body.feed(piece)
        if body.upload is None or body.pending:
            raise ParseError("the message ends within its entries")
        if body.upload.origin != offer.checkpoint.origin or body.upload.end != offer.checkpoint.size:
            raise ParseError("checkpoint and entries are not of one log and size")
        return cls(offer, body.upload, tuple(packages))


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
    ) -> None:
        self._intake = intake
        self._broker = broker
        self._share = f"$share/{share}/" if share else ""
        # two workers of one name would throw each other out of the broker, for ever
        self._identifier = identifier or f"suyuan-central-{secrets.token_hex(8)}"
        self._sleep = sleep
        self._random = random or Random()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Connect, work, connect again, until cancelled. ``ready`` is called each time it has subscribed."""
        failures = 0
        while True:
            try:
                async with self._broker.client(self._identifier) as client:
                    await client.subscribe(f"{_PREFIX}/+/checkpoint", qos=1)
                    await client.subscribe(f"{self._share}{_PREFIX}/+/bundle/+", qos=1)
                    failures = 0
                    ready()
                    await self._work(client)
            except* aiomqtt.MqttError as group:
                ceiling = min(60.0, 2.0 ** min(failures, 10))
                failures += 1
                _log.warning("%s:%d: %s", self._broker.host, self._broker.port, group.exceptions[0])
                await self._sleep(ceiling / 2 + self._random.uniform(0, ceiling / 2))

    async def _work(self, client: aiomqtt.Client) -> None:
        queues: dict[str, asyncio.Queue[tuple[str, bytes]]] = {}
        async with asyncio.TaskGroup() as tasks:
            async for message in client.messages:
                levels = message.topic.value.split("/")
                payload = message.payload
                if len(levels) < 3:
                    continue
                name = levels[1]
                if name not in queues:
                    if name not in map(topic_id, self._intake.origins()):
                        continue
                    queues[name] = asyncio.Queue(QUEUED)
                    tasks.create_task(self._gateway(client, name, queues[name]))
                if not queues[name].full():
                    queues[name].put_nowait((levels[2], payload))

    async def _gateway(
        self, client: aiomqtt.Client, name: str, queue: asyncio.Queue[tuple[str, bytes]]
    ) -> None:
        """The messages of one gateway, in order, as many at once as are there."""
        while True:
            batch = [await queue.get()]
            while len(batch) < BATCH and not queue.empty():
                batch.append(queue.get_nowait())
            try:
                standing = await run_in_threadpool(self._take, name, batch)
            except Refused as refused:
                if refused.status in (403, 422):
                    await client.publish(f"{_PREFIX}/{name}/refused", refused.body, qos=1)
                continue
            except StoreError as error:
                _log.error("%s: %s", name, error)
                continue
            await client.publish(f"{_PREFIX}/{name}/ack", acknowledgement(standing), qos=1, retain=True)

    def _take(self, name: str, batch: list[tuple[str, bytes]]) -> Standing:
        """One transaction for all messages of one checkpoint; where the log then stands."""
        origin = name.replace("~", "/")
        found: list[Delivery] = []
        for kind, payload in batch:
            try:
                if kind == "bundle":
                    found.append(Delivery.parse(payload))
                elif kind == "checkpoint":
                    note.Note.parse(payload)
            except ParseError as error:
                _log.warning("%s: not understood: %s", name, error)
        standing = self._intake.standing(origin)
        following = standing.next
        for end in dict.fromkeys(one.upload.end for one in found):
            same = [one for one in found if one.upload.end == end and one.upload.origin == origin]
            packages: list[Package] = []
            for package in sorted((p for one in same for p in one.packages), key=lambda p: p.start):
                if package.start > following:
                    break  # one before it was lost: the gateway sends from there again
                if package.end > following:
                    packages.append(package)
                    following = package.end
            if not same:
                continue
            try:
                self._intake.offer(same[0].offer)
            except Refused as refused:
                if refused.status != 409:  # 409: known already, or passed
                    raise
            try:
                self._intake.take(same[0].upload, packages)
            except Refused as refused:
                if refused.status != 409:
                    raise
                following = self._intake.standing(origin).next
        standing = self._intake.standing(origin)
        if standing.receipt is not None and standing.next == standing.size:
            self._intake.posted(origin, standing.size)
        return standing


def acknowledgement(standing: Standing) -> bytes:
    """The payload of the ack topic."""
    return standing.text.encode() + (standing.receipt or b"")
