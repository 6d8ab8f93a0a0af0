"""A connection to an MQTT broker that ends in words, never in a trace, however the broker dies."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

import aiomqtt


class _InWords(logging.Filter):
    """What the library says, without the traces that it says it with."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


_log = logging.getLogger("suyuan.mqtt.connection")
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
    """``aiomqtt.Client``, and nobody is told of a loss but who was waiting. It raises MqttError."""

    def __init__(self, host: str, port: int, **more: Any) -> None:
        super().__init__(host, port, logger=_log, **more)
        self._loop = _Loop(self._loop)  # type: ignore[assignment]
        self.pending_calls_threshold = 1 << 16

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
            # a loss that nobody asked for, asyncio would print with its trace
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()
