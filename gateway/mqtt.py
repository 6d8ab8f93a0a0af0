"""The gateway's side of a platform behind an MQTT broker: the log is published, and the receipt comes back.

Topics and payloads are told in ``docs/sync.md``. What the broker acknowledges (PUBACK) is counted for nothing: only the
platform's answer on the ack topic says what has arrived, and only a cosigned checkpoint there is a receipt. A bounded
number of bundles is under way beyond it: few at first, more with each answer that moves on. If none comes, the platform
is asked where it stands, each time with more patience; only if its answer shows that something was lost is that sent
again. A platform that a whole fleet waits for gets nothing twice, and no bill by the byte grows while it is away.

Present values go out beside it on topics of their own, retained, for screens and home automation. They promise nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import aiomqtt
from aiomqtt import ProtocolVersion

from evidence.enrolment import common_name
from evidence.errors import ParseError
from gateway.clock import SECOND_US, Clock
from gateway.log_tables import Published
from gateway.logfile import StoreError
from gateway.mirroring import Pruned, Wanted, offer, pack, packages, upload_head
from gateway.mqtt_connection import Connection
from gateway.pacing import BackOff, TokenBucket
from gateway.receipts import PlatformKey, ReceiptRefused, Receipts
from gateway.status import AgentStatus
from gateway.store import LogStore
from gateway.supervision import together
from gateway.tls import ClientTls

_log = logging.getLogger("suyuan.mqtt")

WINDOW: Final = 16  # bundles under way beyond the platform's answer
FIRST_WINDOW: Final = 2
PATIENCE_US: Final = 10 * SECOND_US  # without a new answer, the platform is asked where it stands
MAX_PATIENCE: Final = 16  # times that, where nobody answers at all
SETTLE_US: Final = SECOND_US  # so long after sending, an answer that moves nothing may be to something older
LIVE_US: Final = 5 * SECOND_US
_LOOK_US: Final = SECOND_US // 4
_PREFIX: Final = "gw"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, the platform behind it, and how to get in."""

    platform: PlatformKey
    host: str
    port: int
    tls: ClientTls | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    version: str = "5"
    rate: int | None = None
    live: bool = True
    home_assistant: str | None = None

    @staticmethod
    def address(url: str) -> tuple[str, int, bool]:
        """Host, port and whether TLS is spoken, of ``mqtts://host[:port]`` or ``mqtt://…``. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"{url}: write mqtts://host:port")
        secure = parts.scheme == "mqtts"
        return parts.hostname, parts.port or (8883 if secure else 1883), secure


def topic_id(origin: str) -> str:
    """An origin as one level of a topic: the common name of its certificate, by which a broker admits it."""
    return common_name(origin)


class MqttPusher:
    """Publishes one log to one platform."""

    def __init__(
        self,
        store: LogStore,
        receipts: Receipts,
        broker: Broker,
        clock: Clock,
        *,
        back_off: BackOff | None = None,
        patience_us: int = PATIENCE_US,
        status: Callable[[], AgentStatus] | None = None,
        alarm: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._broker = broker
        self._clock = clock
        self._back_off = back_off or BackOff(longest_s=60.0)
        self._bucket = TokenBucket(clock, broker.rate)
        self._patience_us = patience_us
        self._status = status
        self._alarm = alarm
        self._topic = f"{_PREFIX}/{topic_id(store.origin)}"
        self._known = self._next = self.acknowledged  # newest size and next entry that the platform told of
        self._doubted = -1  # a next entry before the one that was known, told once
        self._window = FIRST_WINDOW
        self._silences = 0  # in a row
        self._heard = asyncio.Event()
        self.sent = 0  # bundles
        self.heard = 0  # answers

    @property
    def acknowledged(self) -> int:
        """How many entries the platform's newest receipt covers."""
        name = self._broker.platform.name
        return max((r.size for r in self._receipts.newest if r.platform == name), default=0)

    async def run(self) -> None:
        """Connect, publish, connect again, until cancelled. Only a failing log store ends it."""
        broker = self._broker
        while True:
            if broker.tls is not None and (wrong := await asyncio.to_thread(broker.tls.refresh)):
                _log.error("%s: %s: the certificate from before is used", broker.host, wrong)
            lost: Exception | None = None
            try:
                async with Connection(
                    broker.host,
                    broker.port,
                    username=broker.username,
                    password=broker.password,
                    identifier=f"suyuan-{topic_id(self._store.origin)}",
                    protocol=ProtocolVersion.V5 if broker.version == "5" else ProtocolVersion.V311,
                    tls_context=None if broker.tls is None else broker.tls.context,
                    timeout=15.0,
                    will=aiomqtt.Will(f"{self._topic}/online", b"0", qos=1, retain=True),
                    max_queued_incoming_messages=256,
                ) as client:
                    await client.subscribe(f"{self._topic}/ack", qos=1)
                    await client.subscribe(f"{self._topic}/refused", qos=1)
                    await client.publish(f"{self._topic}/online", b"1", qos=1, retain=True)
                    work = [self._listen(client), self._send(client)]
                    if broker.live and self._status is not None:
                        work.append(self._show(client, self._status))
                    await together(*work)
            except* (aiomqtt.MqttError, OSError) as group:
                lost = group.exceptions[0]
            if (
                lost is not None
            ):  # not in the handler: before Python 3.11.4 a cancel there would leave as a group
                pause = self._back_off.failed()
                _log.warning("%s:%d: %s; again in %.0f s", broker.host, broker.port, lost, pause)
                await self._clock.sleep_until(self._clock.now().boot_us + round(pause * SECOND_US))

    # ── what the platform says ──────────────────────────────────────────────────────────────────────────────

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            if message.topic.value.endswith("/refused"):
                text = payload[:300].decode(errors="replace").strip()
                _log.error("the platform refused: %s", text)
                self._alarm("contradicted_by_platform", text)
                continue
            try:
                await self._answer(payload)
            except (ParseError, ReceiptRefused) as error:
                _log.warning("an answer that is none: %s", error)
                if isinstance(error, ReceiptRefused) and error.status == 409:  # cosigned, for another history
                    self._alarm("contradicted_by_platform", str(error))

    async def _answer(self, payload: bytes) -> None:
        """Where the platform stands, and its receipt."""
        lines = payload.split(b"\n", 3)
        if len(lines) != 4:
            raise ParseError("an answer begins with three lines")
        wanted = Wanted.parse(b"\n".join([*lines[:3], b""]).decode(errors="replace"))
        published = self._store.published
        size = 0 if published is None else published.size
        if max(wanted.size, wanted.next) > size:
            what = f"the platform has {max(wanted.size, wanted.next)} entries of this log, here are {size}"
            _log.error("%s", what)
            self._alarm("contradicted_by_platform", what)
            return
        self.heard += 1
        if wanted.next < self._next and wanted.next != self._doubted:
            # of two front ends' answers the older may come last; a platform that did lose entries says so again
            self._doubted = wanted.next
            self._heard.set()
            return
        if lines[3]:
            await asyncio.to_thread(self._receipts.take, lines[3])
            self._back_off.worked()
        if wanted.next < self._next:
            _log.warning(
                "the platform stands at entry %d, not at %d as it was told: what follows is sent again",
                wanted.next, self._next,
            )  # fmt: skip
        self._doubted = -1
        self._known, self._next = wanted.size, wanted.next
        self._heard.set()

    # ── what goes out ───────────────────────────────────────────────────────────────────────────────────────

    async def _send(self, client: aiomqtt.Client) -> None:
        rung = 0
        while True:
            published = self._store.published
            if published is None or self.acknowledged >= published.size:
                await self._clock.sleep_until(self._clock.now().boot_us + _LOOK_US)
                continue
            if published.size != rung:
                await client.publish(f"{self._topic}/checkpoint", published.note, qos=1, retain=True)
                rung = published.size
            try:
                await self._bring(client, published)
            except Pruned as error:
                _log.error("%s: asked again", error)
                await self._ask_again(client, published)
            except (StoreError, ParseError) as error:
                _log.error("%s", error)
                await self._clock.sleep_until(self._clock.now().boot_us + 10 * SECOND_US)

    async def _bring(self, client: aiomqtt.Client, published: Published) -> None:
        """Publish bundles up to a checkpoint; ends when it is acknowledged, or when sending must begin again."""
        known, start, end = min(self._known, published.size), self._next, published.size
        head = await asyncio.to_thread(offer, self._store, published, known)
        head = len(head).to_bytes(4, "big") + head
        question = head + pack(upload_head(self._store.origin, end, end))
        parts = packages(self._store, start, end)
        under_way: list[int] = []  # the index after each bundle that has no answer yet
        sent_us = heard_us = self._clock.now().boot_us
        said, answers = (self._known, self._next), self.heard
        while self.acknowledged < end:
            made = None
            if len(under_way) < self._window:
                made = await asyncio.to_thread(next, parts, None)
            if made is not None:
                stop, body = made
                payload = head + pack(upload_head(self._store.origin, start, end)) + body
                await self._bucket.take(len(payload))
                await client.publish(f"{self._topic}/bundle/{start // 256}", payload, qos=1)
                self.sent += 1
                under_way.append(stop)
                start = stop
                sent_us = self._clock.now().boot_us
            elif not under_way and start == end:
                # all are there, the receipt is not: the head alone asks for it
                await client.publish(f"{self._topic}/bundle/{end // 256}", question, qos=1)
                under_way.append(end + 1)
                sent_us = self._clock.now().boot_us
            if made is None:
                await self._hear(heard_us + self._patience())
            self._heard.clear()
            now_us = self._clock.now().boot_us
            if (self._known, self._next) != said:
                said, heard_us = (self._known, self._next), now_us
                self._window = min(WINDOW, 2 * self._window)
                self._silences = max(0, self._silences - 1)
                under_way = [stop for stop in under_way if stop > self._next]
                if self._known not in (known, end):  # the platform stands elsewhere than was thought
                    return
            elif self.heard != answers and now_us >= sent_us + min(SETTLE_US, self._patience_us):
                self._window = 1
                return  # it stands where it stood: what is under way was lost
            elif now_us >= heard_us + self._patience():
                await client.publish(f"{self._topic}/bundle/{end // 256}", question, qos=1)
                self._silences += 1
                heard_us = now_us
            answers = self.heard

    async def _ask_again(self, client: aiomqtt.Client, published: Published) -> None:
        """Where the platform stands, if what it is said to want is gone here: that may never have been its answer."""
        end = published.size
        head = await asyncio.to_thread(offer, self._store, published, end)
        payload = len(head).to_bytes(4, "big") + head + pack(upload_head(self._store.origin, end, end))
        self._heard.clear()
        await client.publish(f"{self._topic}/bundle/{end // 256}", payload, qos=1)
        self._silences += 1
        await self._hear(self._clock.now().boot_us + self._patience())
        await self._clock.sleep_until(
            self._clock.now().boot_us + SETTLE_US
        )  # if it says the same: no hammering

    def _patience(self) -> int:
        """How long to wait for an answer that moves on: longer with each time in a row that none came."""
        return self._patience_us * min(MAX_PATIENCE, 1 << min(self._silences, 8))

    async def _hear(self, until_us: int) -> None:
        """Wait for an answer, at most until an instant."""
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(self._heard.wait())
            sleeping = tasks.create_task(self._clock.sleep_until(until_us))
            await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            sleeping.cancel()

    async def _show(self, client: aiomqtt.Client, status: Callable[[], AgentStatus]) -> None:
        """Present values, each instrument on its topic."""
        announced: set[str] = set()
        while True:
            now = status()
            for topic, payload in live(now, self._topic):
                await client.publish(topic, payload, qos=0, retain=True)
            if self._broker.home_assistant is not None:
                for topic, payload in discovery(now, self._topic, self._broker.home_assistant):
                    if topic not in announced:
                        announced.add(topic)
                        await client.publish(topic, payload, qos=0, retain=True)
            await self._clock.sleep_until(self._clock.now().boot_us + LIVE_US)


def live(status: AgentStatus, topic: str) -> Iterable[tuple[str, bytes]]:
    """A topic and a JSON document for each instrument: values as decimal text, with standard uncertainty."""
    for one in status.instruments:
        values = {
            m.measurand: {
                "value": m.value,
                "u": m.u,
                "indication": m.indication,
                "unit": m.unit,
                "missing": m.missing,
            }
            for m in one.measurands
        }
        document = {"utc_us": one.utc_us, "entry": one.index, "stale": one.stale, "values": values}
        yield f"{topic}/live/{one.instrument}", json.dumps(document, separators=(",", ":")).encode()


_CLASSES: Final = {
    "kWh": ("energy", "total_increasing"),
    "kW": ("power", "measurement"),
    "V": ("voltage", "measurement"),
    "A": ("current", "measurement"),
    "Hz": ("frequency", "measurement"),
    "Cel": ("temperature", "measurement"),
}
_UNITS: Final = {"Cel": "°C", "kvar.h": "kvarh", "kV.A": "kVA", "1": ""}


def discovery(status: AgentStatus, topic: str, prefix: str) -> Iterable[tuple[str, bytes]]:
    """Home Assistant's MQTT discovery: a sensor for each measurand that has a value."""
    for one in status.instruments:
        for m in one.measurands:
            field_name = (
                "value" if m.value is not None else "indication" if m.indication is not None else None
            )
            if field_name is None:
                continue
            key = f"{one.instrument}-{m.measurand}".replace(".", "-")
            node = topic.rpartition("/")[2].replace("~", "-").replace(".", "-")
            kind, state = _CLASSES.get(m.unit, (None, "measurement"))
            document = {
                "name": m.measurand,
                "unique_id": f"{node}-{key}",
                "state_topic": f"{topic}/live/{one.instrument}",
                "value_template": f"{{{{ value_json['values']['{m.measurand}']['{field_name}'] }}}}",
                "unit_of_measurement": _UNITS.get(m.unit, m.unit),
                "state_class": state,
                "device": {"identifiers": [f"{node}-{one.instrument}"], "name": one.instrument},
                "availability_topic": f"{topic}/online",
                "payload_available": "1",
                "payload_not_available": "0",
            }
            if kind is not None:
                document["device_class"] = kind
            yield f"{prefix}/sensor/{node}/{key}/config", json.dumps(document, separators=(",", ":")).encode()
