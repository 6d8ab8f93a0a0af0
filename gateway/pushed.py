"""Instruments that send by themselves: running numbers, gaps and late data for what nobody asked.

Such an instrument owes one reading per period, as a polled one does, and each has its running number:

* A *slot* is one period. What is stamped by the sender (DataTime) belongs to the slot nearest to its stamp; what is not
  belongs to the slot in which it came, and the first of a slot counts.
* Silence is a gap: a slot is given up when it has been due for ``late`` (after the interval that its data is about),
  or when a later one arrives.
* Numbers only go up. What comes for a slot that has been given up, and every re-upload, cannot have one any more: it
  is kept as an event (``late_data``) with its bytes, and counted as what it is. What has come already is recognised by
  slot and stamp and changes nothing.

A sender is told that its data was taken (``deliver`` is True) when the COMMIT that holds it has returned: what was
acknowledged is not lost with the power.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from drivers.codec import Counts, Instant, Missing, Scan
from gateway.clock import SECOND_US, Clock
from gateway.pipeline import Pipeline
from gateway.schedule import Tick, next_multiple
from gateway.status import BusStatus
from gateway.supervision import together

REMEMBERED = 4096  # stamps per instrument by which what is sent again is recognised
AHEAD_US = 300 * SECOND_US  # a sender's clock may be this far ahead before its stamps are not believed
_RAW_IN_EVENT = 2800  # bytes; base64 makes them fit into one field of an event


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one message says of one instrument. ``stamp_us``: the sender's own time of it (UTC); None if it has none."""

    instrument: str
    scan: Scan
    stamp_us: int | None = None
    flags: tuple[str, ...] = ()


Deliver = Callable[[Delivery], Awaitable[bool]]


class Source(Protocol):
    """Where messages come from."""

    @property
    def counts(self) -> Counts:
        """What was refused, repeated or not wanted, by address and cause."""

    def describe(self) -> str:
        """Where it listens, in a reader's words."""

    async def run(self, deliver: Deliver) -> None:
        """Hand over messages until cancelled. Raises OSError if it cannot listen or connect."""


class Slots:
    """The periods of one instrument: which is owed next, and what becomes of a stamp. Pure."""

    __slots__ = ("due_us", "lag_us", "late_us", "period_us", "seen")

    def __init__(self, period_us: int, late_us: int, lag_us: int = 0) -> None:
        """``lag_us``: how long after a slot's beginning its data is ready, as the interval of minute or hour data."""
        self.period_us, self.late_us, self.lag_us = period_us, late_us, lag_us
        self.due_us = 0
        self.seen: OrderedDict[int, None] = OrderedDict()

    def begin(self, now_utc_us: int) -> int:
        """The first slot whose data can still come; returns when it is due."""
        self.due_us = next_multiple(now_utc_us - self.lag_us, self.period_us)
        return self.due_us

    @property
    def given_up_us(self) -> int:
        """When the slot that is owed next is given up (UTC)."""
        return self.due_us + self.lag_us + self.late_us

    def skip_to(self, last_due_us: int) -> None:
        """A slot that the log has already: go on behind it."""
        self.due_us = max(self.due_us, next_multiple(last_due_us + self.period_us // 2, self.period_us))

    def slot_of(self, stamp_us: int, *, stamped: bool) -> int:
        """The slot of a stamp: the nearest for a sender's own, the one in which it came otherwise."""
        return (stamp_us + (self.period_us // 2 if stamped else 0)) // self.period_us * self.period_us

    def take(self, stamp_us: int, *, stamped: bool) -> Tick | None:
        """The slot of a message that arrived, with those before it that nothing came for; None: it is over."""
        slot = self.slot_of(stamp_us, stamped=stamped)
        if slot < self.due_us:
            return None
        missed = (slot - self.due_us) // self.period_us
        first, self.due_us = self.due_us, slot + self.period_us
        due_us = stamp_us if stamped else slot
        return Tick(due_us, 0, missed, first if missed else 0, slot - self.period_us if missed else 0)

    def overdue(self, now_utc_us: int) -> Tick | None:
        """The slots that nothing came for and nothing is waited for any more; None if there is none."""
        if now_utc_us < self.given_up_us:
            return None
        count = (now_utc_us - self.given_up_us) // self.period_us + 1
        first = self.due_us
        self.due_us += count * self.period_us
        last = self.due_us - self.period_us
        return Tick(last, 0, count - 1, first, last - self.period_us)

    def again(self, stamp_us: int) -> bool:
        """Whether this stamp has been taken before; remembers it."""
        known = stamp_us in self.seen
        self.seen[stamp_us] = None
        if len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)
        return known


class PushLine:
    """A source at work: its instruments' slots, and what is delivered to them."""

    def __init__(
        self,
        name: str,
        source: Source,
        slots: Mapping[str, Slots],
        clock: Clock,
        pipeline: Pipeline,
        durable: Callable[[], Awaitable[bool]],
    ) -> None:
        """``durable`` waits for the next COMMIT and says whether it held what is pending now."""
        self.name, self.source, self.slots = name, source, dict(slots)
        self._clock, self._pipeline, self._durable = clock, pipeline, durable
        self.received = 0
        self.failures = 0

    def begin(self, now: Instant) -> dict[str, int]:
        """When each instrument's first slot of this run is due (UTC)."""
        return {name: slots.begin(now.utc_us) for name, slots in self.slots.items()}

    def begun(self) -> None:
        """The pipeline has taken up the log: go on behind what it holds."""
        for name, slots in self.slots.items():
            slots.skip_to(self._pipeline.last_due_us(name))

    async def run(self) -> None:
        """Listen, and give up what does not come, until cancelled. Raises what ended one of the two."""
        await together(self.source.run(self.deliver), self._wait_for_silence())

    def status(self, elapsed_us: int) -> BusStatus:  # noqa: ARG002 - nobody is asked: no time of ours is busy
        """What can be seen of it. ``elapsed_us``: since the agent started."""
        return BusStatus(
            name=self.name,
            port=self.source.describe(),
            counts={address: dict(causes) for address, causes in self.source.counts.by_address.items()},
            exchanges=self.received,
            line_time_us=0,
            busy_us=0,
            busy_share=0.0,
            failures=self.failures,
        )

    async def deliver(self, delivery: Delivery) -> bool:
        """Take one message; True once it is durable (or known), False if the sender should send it again."""
        slots = self.slots.get(delivery.instrument)
        if slots is None:
            return False
        now = self._clock.now()
        stamped = delivery.stamp_us is not None
        stamp_us = now.utc_us if delivery.stamp_us is None else delivery.stamp_us
        self.received += 1
        if stamped and stamp_us > now.utc_us + AHEAD_US:
            self._count(delivery, "stamp_ahead")
            self._event("stamp_ahead", delivery, stamp_us)
            return await self._durable()
        self._give_up(delivery.instrument, slots, now, but=slots.slot_of(stamp_us, stamped=stamped))
        known = stamped and slots.again(stamp_us)
        tick = slots.take(stamp_us, stamped=stamped)
        if tick is not None:
            self._silent_before(delivery.instrument, tick)
            self._pipeline.accept(delivery.instrument, Tick(tick.due_us, 0), delivery.scan, delivery.flags)
        elif known:
            self._count(delivery, "repeated")
        elif stamped:
            self._count(delivery, "late_data")
            self._event("late_data", delivery, stamp_us)
        else:
            self._count(delivery, "surplus")  # more often than the period: the first of a slot counted
            return True
        if await self._durable():
            return True
        slots.seen.pop(stamp_us, None)  # it was not kept: when it is sent again it is new
        return False

    async def _wait_for_silence(self) -> None:
        while self.slots:
            now = self._clock.now()
            for name, slots in self.slots.items():
                self._give_up(name, slots, now)
            due = min(slots.given_up_us for slots in self.slots.values())
            now = self._clock.now()
            wait_us = min(max(due - now.utc_us, 1000), 10 * SECOND_US)  # UTC may be stepped: look again soon
            await self._clock.sleep_until(now.boot_us + wait_us)

    def _give_up(self, name: str, slots: Slots, now: Instant, but: int | None = None) -> None:
        """Slots whose time is over become a gap; ``but``: data of this one has just come, however late."""
        if but is not None and but >= slots.due_us:
            return
        tick = slots.overdue(now.utc_us)
        if tick is not None:
            before = self._pipeline.number(name)
            self._pipeline.skip(name, tick, before, str(Missing.TIMEOUT))

    def _silent_before(self, name: str, tick: Tick) -> None:
        """The slots before one that nothing came for: it was the sender that was silent, not we who were busy."""
        if tick.missed:
            silent = Tick(tick.missed_to_us, 0, tick.missed - 1, tick.missed_from_us, tick.missed_to_us)
            self._pipeline.skip(name, silent, self._pipeline.number(name), str(Missing.TIMEOUT))

    def _count(self, delivery: Delivery, cause: str) -> None:
        self.source.counts.add(delivery.instrument, cause)

    def _event(self, kind: str, delivery: Delivery, stamp_us: int) -> None:
        """Keep what cannot be a reading: the bytes, whose they are and when they were."""
        raw = b"".join(exchange.answer for exchange in delivery.scan.exchanges)
        detail = {"instrument": delivery.instrument, "stamp_us": str(stamp_us), "bytes": str(len(raw))}
        for n in range(0, min(len(raw), 4 * _RAW_IN_EVENT), _RAW_IN_EVENT):
            detail[f"raw_{n // _RAW_IN_EVENT}"] = base64.b64encode(raw[n : n + _RAW_IN_EVENT]).decode()
        self._pipeline.event(kind, detail)
