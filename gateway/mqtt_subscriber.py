"""Meters that publish: one subscription per instrument, JSON messages, the numbers at paths that the site file names.

A message stands for its instrument at the time that it tells (``time`` in the site file), else when it came. What a
broker had kept (retained) is of unknown age and not taken, unless the message tells its time. When nothing comes
for a period, there is a gap: a broker that is up says nothing about a meter that is not.

The connection is made again for ever, later each time; what was not heard meanwhile is missing and said to be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiomqtt

from drivers import json_points
from drivers import profile as profiles
from drivers.codec import Answer, Counts, Exchange, Instant, Scan
from drivers.profile import Profile, Query
from gateway.mqtt_connection import Connection
from gateway.pushed import Deliver, Delivery

_log = logging.getLogger("suyuan.mqtt")

_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One instrument's topic (no wildcards), its values, and where a message tells its time (empty: it does not)."""

    instrument: str
    topic: str
    profile: Profile
    query: Query
    time: str = ""


def stamp(message: object, path: str) -> int | None:
    """A message's own time in microseconds of UTC: ISO 8601 with its offset, or seconds, or milliseconds, since 1970.

    A number beyond 1e11 is taken for milliseconds (as seconds it would be the year 5138). None if there is no time.
    """
    value = json_points.found(message, path)
    exact = json_points.number(value)
    if exact is not None:
        us = exact * (1000 if abs(exact) > Decimal("1e11") else 1_000_000)
        return int(us) if 0 <= us < Decimal("1e16") else None
    if not isinstance(value, str):
        return None
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        return None
    if told.tzinfo is None:
        return None  # local to whom?
    us_ = (told - _EPOCH) // timedelta(microseconds=1)
    return us_ if us_ >= 0 else None


def delivery(subscription: Subscription, payload: bytes, retained: bool, at: Instant) -> Delivery | str:
    """A message as the scan of its instrument, or the cause for not taking it."""
    if len(payload) > json_points.LONGEST:
        return "too_long"
    stamp_us = None
    if subscription.time:
        message = _parsed(payload)
        stamp_us = stamp(message, subscription.time)
        if stamp_us is None:
            return "no_time"
    elif retained:
        return "retained"
    answer = Answer("", payload, payload)
    indications = profiles.decode(subscription.profile, subscription.query, answer)
    exchange = Exchange(subscription.topic.encode(), payload, at, at)
    return Delivery(subscription.instrument, Scan(indications, (exchange,), at, at), stamp_us)


def _parsed(payload: bytes) -> Any:
    try:
        return json_points.parsed(payload)
    except ValueError:
        return None


@dataclass(slots=True)
class MqttSubscriber:
    """Holds one connection to a broker and hands over what is published."""

    host: str
    port: int
    subscriptions: tuple[Subscription, ...]
    now: Callable[[], Instant]
    username: str = ""
    password: str = ""
    waits_s: tuple[float, ...] = _WAITS_S
    counts: Counts = field(default_factory=Counts)
    connected: bool = False

    def describe(self) -> str:
        """The broker."""
        return f"mqtt://{self.host}:{self.port}"

    async def run(self, deliver: Deliver) -> None:
        """Listen until cancelled; connect again whenever the connection is lost."""
        by_topic: dict[str, list[Subscription]] = {}
        for subscription in self.subscriptions:
            by_topic.setdefault(subscription.topic, []).append(subscription)
        failures = 0
        while True:
            try:
                async with Connection(
                    self.host,
                    self.port,
                    username=self.username or None,
                    password=self.password or None,
                    timeout=10,
                    max_queued_incoming_messages=1000,
                ) as client:
                    for topic in by_topic:
                        await client.subscribe(topic, qos=1)
                    self.connected, failures = True, 0
                    async for message in client.messages:
                        await self._message(message, by_topic, deliver)
            except aiomqtt.MqttError as error:
                _log.warning("%s: %s", self.describe(), error)
                self.counts.add("", "link_down")
            finally:
                self.connected = False
            await asyncio.sleep(self.waits_s[min(failures, len(self.waits_s) - 1)])
            failures += 1

    async def _message(
        self, message: aiomqtt.Message, by_topic: Mapping[str, list[Subscription]], deliver: Deliver
    ) -> None:
        payload = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
        at = self.now()
        for subscription in by_topic.get(str(message.topic), ()):
            made = delivery(subscription, payload, bool(message.retain), at)
            if isinstance(made, str):
                self.counts.add(subscription.instrument, made)
            else:
                await deliver(made)
