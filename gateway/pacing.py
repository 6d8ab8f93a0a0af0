"""How fast and how often something is sent: a bandwidth cap, and pauses after failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from gateway.clock import SECOND_US, Clock


class TokenBucket:
    """At most ``per_s`` bytes a second on average, ``burst`` of them at once; None is no limit."""

    def __init__(self, clock: Clock, per_s: int | None, burst: int = 64 * 1024) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = burst
        self._tokens = float(burst)
        self._seen_us = clock.now().boot_us

    async def take(self, count: int) -> None:
        """Return when ``count`` bytes may be sent; they may be more than the burst, and then are waited for."""
        if self._per_s is None:
            return
        now = self._clock.now().boot_us
        self._tokens = min(float(self._burst), self._tokens + (now - self._seen_us) * self._per_s / SECOND_US)
        self._seen_us = now
        self._tokens -= count
        if self._tokens < 0:
            await self._clock.sleep_until(now + round(-self._tokens / self._per_s * SECOND_US))


@dataclass(slots=True)
class BackOff:
    """Pauses that double with each failure, up to a ceiling, with jitter so that many gateways do not come at once."""

    first_s: float = 1.0
    longest_s: float = 300.0
    random: Random = field(default_factory=Random)
    failures: int = 0

    def failed(self) -> float:
        """Count a failure; the pause in seconds: between half of the ceiling and the whole."""
        ceiling = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return ceiling / 2 + self.random.uniform(0, ceiling / 2)

    def worked(self) -> None:
        """Begin anew."""
        self.failures = 0
