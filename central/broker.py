"""A broker, how to get in, and a connection to it that acknowledges what was dealt with, and not what merely came.

A broker sends a client at most so many messages that are not acknowledged (MQTT 5: Receive Maximum). So a front end
that is busy leaves the rest at the broker instead of dropping it.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt
from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

IN_HAND: Final = 64  # messages that came and are not acknowledged
KEEPALIVE_S: Final = (
    15  # a worker only listens: without a ping it hears nothing of a broker whose farewell was lost
)


class _InWords(logging.Filter):
    """What the library says, without the traces that it says it with."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


_log = logging.getLogger("suyuan.central.broker")
_log.addFilter(_InWords())


class _Loop:
    """The event loop, as the library's other thread calls it: for a socket that is gone by then, nothing is done."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_soon_threadsafe(self, what: Callable[..., object], *given: object) -> None:
        def call() -> None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                what(*given)

        self._loop.call_soon_threadsafe(call)


class Connection(aiomqtt.Client):
    """One connection. ``taken`` acknowledges a message."""

    def __init__(self, broker: Broker, identifier: str) -> None:
        five = broker.version == 5
        limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limits.ReceiveMaximum = IN_HAND
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=identifier,
            protocol=ProtocolVersion.V5 if five else ProtocolVersion.V311,
            tls_context=broker.tls,
            timeout=15.0,
            keepalive=KEEPALIVE_S,
            properties=limits if five else None,
            logger=_log,
        )
        self._loop = _Loop(self._loop)  # type: ignore[assignment]
        self.pending_calls_threshold = (
            1 << 16
        )  # an answer under way to each of many gateways is nothing to warn of
        self._client.manual_ack_set(True)

    def taken(self, message: aiomqtt.Message) -> None:
        """Acknowledge a message: the broker may send another."""
        self._client.ack(message.mid, message.qos)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, tb)
        except aiomqtt.MqttError:
            if exc is None:  # else it would take the place of why we leave: of a cancellation, for one
                raise
        finally:
            # whoever was waiting has been told; what nobody asked for, asyncio would print with a trace
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()


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

    def client(self, identifier: str) -> Connection:
        """A connection that is not made yet."""
        return Connection(self, identifier)
