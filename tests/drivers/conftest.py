"""A loop whose time is virtual, and a scripted meter at the far end of a link in memory."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from drivers.codec import Instant
from drivers.line import Line, Timing
from drivers.link import MemoryLink

START_S = 1000.0
UTC_AHEAD_US = 1_800_000_000_000_000

Respond = Callable[[bytes, int], Iterable[tuple[float, bytes]]]


class _Skipping(selectors.DefaultSelector):
    """A selector that never waits: it moves the clock instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everybody waits and nothing will ever happen"
            self.loop.skip(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Real callbacks, real timers, in no time at all; the same on every machine."""

    def __init__(self) -> None:
        self._seconds = START_S
        selector = _Skipping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._seconds

    def skip(self, seconds: float) -> None:
        self._seconds += max(seconds, 0.0)


class ScriptedMeter:
    """Answers as told: ``respond(request, n)`` gives pairs (delay in s after the request arrived, bytes).

    ``heard`` keeps every write of the master, ``heard_at`` its loop time.
    """

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.link, self._far = MemoryLink.pair("line")
        self.heard: list[bytes] = []
        self.heard_at: list[float] = []
        self._far.arrived = self._arrived  # type: ignore[method-assign]

    def _arrived(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.heard.append(data)
        self.heard_at.append(loop.time())
        for delay, piece in self.respond(data, len(self.heard) - 1):
            self.say(delay, piece)

    def say(self, delay: float, data: bytes) -> None:
        asyncio.get_running_loop().call_later(delay, self._say, data)

    def _say(self, data: bytes) -> None:
        if self.link.is_open:
            self.link.arrived(data)

    async def start(self) -> None:
        await self._far.open()


def loop_now() -> Instant:
    """Both clocks, driven by the loop's time."""
    us = round(asyncio.get_running_loop().time() * 1e6)
    return Instant(UTC_AHEAD_US + us, us)


@pytest.fixture
def now() -> Callable[[], Instant]:
    return loop_now


@pytest.fixture
def virtual() -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run a coroutine function on a loop of virtual time."""

    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(7 * 86400):
                return await main()

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(bounded())

    return run


@pytest.fixture
def scripted() -> Callable[..., Awaitable[tuple[Line, ScriptedMeter]]]:
    """A line whose far end is a scripted meter."""

    async def make(respond: Respond, timing: Timing | None = None) -> tuple[Line, ScriptedMeter]:
        meter = ScriptedMeter(respond)
        await meter.start()
        return Line(meter.link, loop_now, timing), meter

    return make
