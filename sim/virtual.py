"""An event loop whose time is virtual: nothing waits, the clock moves. A day of polling takes a second, always alike.

For lines joined in memory (``sim.line.Pump``); real sockets and ports live in real time.
"""

from __future__ import annotations

import asyncio
import selectors


class _Skipping(selectors.DefaultSelector):
    """A selector that moves the clock instead of waiting."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everybody waits and nothing will ever happen")
            self.loop.skip(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Real callbacks and timers in virtual time: ``asyncio.Runner(loop_factory=VirtualLoop)``."""

    def __init__(self) -> None:
        self._seconds = 0.0
        selector = _Skipping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._seconds

    def skip(self, seconds: float) -> None:
        """Move the clock forward."""
        self._seconds += max(seconds, 0.0)
