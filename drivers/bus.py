"""The bus: the meters of one line, scanned one after the other by the line's only owner.

:meth:`Bus.scan` gives a :class:`~drivers.codec.Scan` whatever happens: an indication that could not be had is missing,
with its reason. How one exchange is kept free of late and foreign answers is told in :mod:`drivers.line`; here:

* A time-out, a corrupt answer or a mismatch is asked again (``retries``); an error answer is an answer and is not.
* DL/T 645 answers that go on (B1) are followed to their end and joined, or missing altogether.
* A meter that is silent about some queries is asked those last, and once. If it answers none of the first three, the
  others are not asked.
* A meter that was silent for ``dead_after`` scans is left out of 1, 2, 4 … 60 scans between two probes of one
  query, so that it costs no more than its time-out now and then. It is back with the first answer.
* A line that is down fails no meter: what was not asked says nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drivers import dlt645_items
from drivers import profile as profiles
from drivers.codec import (
    Answer,
    Counts,
    Exchange,
    Indication,
    Instant,
    LocalProtocolError,
    Missing,
    Scan,
)
from drivers.line import Line, Patience, Reply, Timing, Usage
from drivers.link import Link
from drivers.profile import Profile, Query
from drivers.protocols import Codec, Request

LONGEST_SKIP = 60
_METERS_FAULT = frozenset((Missing.TIMEOUT, Missing.CORRUPT, Missing.MISMATCH))
_SILENT_ENOUGH = 3  # queries without an answer, after which the others are not asked in this scan
_DEFAULT = Patience()
_AROUND_ITEM = 20  # bytes of a DL/T 645 answer beside its data, preamble included


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter on a line and how long to wait for it. ``address`` as its protocol writes it.

    ``timeout_s``: from the end of a request to the first byte of the answer, at most. ``late_s``: the silence waited
    for after a time-out; the maker's maximum reply delay, if it is known, else (None) as long as the time-out.
    ``gap_s``: silence that the meter wants before a request, beyond 3.5 characters.
    """

    id: str
    address: str
    profile: Profile
    timeout_s: float = 1.0
    retries: int = 1
    gap_s: float = 0.0
    late_s: float | None = None

    @property
    def patience(self) -> Patience:
        """The meter's times, as the line wants them."""
        return Patience(self.timeout_s, self.timeout_s if self.late_s is None else self.late_s, self.gap_s)


@dataclass(slots=True)
class _Health:
    """What is known of a meter's silence."""

    silent_scans: int = 0
    skip: int = 0  # scans between two probes, once it counts as dead
    left: int = 0  # scans yet to be skipped
    probes: int = 0
    mute: frozenset[str] = frozenset()  # what it said nothing about when last asked: asked last, and once


@dataclass(slots=True)
class _Work:
    """One scan as it goes on."""

    meter: Meter
    requests: tuple[Request, ...] = ()
    exchanges: list[Exchange] = field(default_factory=list)
    answered: bool = False
    silent: bool = False  # a query went unanswered since the last answer
    fault: Reply | None = None  # the line itself failed since the last answer


class Bus:
    """The meters of one line.

    ``now`` gives both clocks. ``timing`` tells the line's speed; without it a line takes no time (a network).
    """

    def __init__(
        self,
        name: str,
        codec: Codec,
        link: Link,
        now: Callable[[], Instant],
        timing: Timing | None = None,
        *,
        dead_after: int = 2,
    ) -> None:
        self.name = name
        self.codec = codec
        self.line = Line(link, now, timing)
        self.dead_after = dead_after
        self._now = now
        self._lock = asyncio.Lock()
        self._health: dict[str, _Health] = {}

    @property
    def counts(self) -> Counts:
        """Lost answers by meter address and cause; the address '' is the line itself."""
        return self.line.counts

    @property
    def usage(self) -> Usage:
        """What the line has been used for since it was made."""
        return self.line.usage

    async def scan(self, meter: Meter, queries: Sequence[Query]) -> Scan:
        """Ask ``meter`` all ``queries``, in order. Never raises for what a meter or a line does."""
        async with self._lock:
            started = self._now()
            work = _Work(meter)
            indications = await self._scan(work, queries)
            return Scan(tuple(indications), tuple(work.exchanges), started, self._now())

    async def ask(self, request: Request, patience: Patience | None = None) -> Reply:
        """One exchange outside any scan: to find meters, to read an identity. Never raises for a meter or a line."""
        async with self._lock:
            return await self.line.exchange(self.codec, request.address, request, patience or _DEFAULT)

    async def close(self) -> None:
        """Close the line, after the scan that is under way."""
        async with self._lock:
            await self.line.close()

    def skips(self, meter_id: str) -> int:
        """How many further scans of a dead meter will be skipped; 0 for a living one."""
        health = self._health.get(meter_id)
        return health.left if health else 0

    async def _scan(self, work: _Work, queries: Sequence[Query]) -> list[Indication]:
        meter = work.meter
        health = self._health.setdefault(meter.id, _Health())
        if health.left:
            health.left -= 1
            detail = f"silent for {health.silent_scans} scans; asked again after {health.left} more"
            return [i for q in queries for i in profiles.missing(q, Missing.SKIPPED, detail)]
        found: dict[int, Sequence[Indication]] = {}
        try:
            work.requests = tuple(self.codec.request(meter.address, query) for query in queries)
        except ValueError as error:  # no address, or the meter and the line speak different protocols
            return [i for q in queries for i in profiles.missing(q, Missing.UNKNOWN_FORMAT, str(error))]
        order = sorted(range(len(queries)), key=lambda n: queries[n].where in health.mute)
        if health.skip and order:
            # A dead meter is asked one query, another one each time: some are silent about what they do not have.
            first = order[0]
            if queries[first].where in health.mute:
                first = order[health.probes % len(order)]
                health.probes += 1
            found[first] = await self._query(work, queries[first], first, attempts=1)
            order = [n for n in order if n not in found] if work.answered else []
        for n in order:
            if work.fault is not None and work.fault.exchange is None:
                break  # the line cannot be opened, or never falls silent: asking on would cost that again and again
            if not work.answered and len(found) >= _SILENT_ENOUGH:
                break
            attempts = 1 if work.silent or queries[n].where in health.mute else 1 + meter.retries
            found[n] = await self._query(work, queries[n], n, attempts)
        unheard = {queries[n].where for n, got in found.items() if _unheard(got)}
        health.mute = health.mute - {queries[n].where for n in found} | unheard
        self._learn(health, work)
        why, detail = Missing.SKIPPED, "not asked: no answer to what was asked before"
        if work.fault is not None:
            why, detail = work.fault.failure or Missing.LINK_DOWN, work.fault.detail
        return [
            indication
            for n, query in enumerate(queries)
            for indication in (found[n] if n in found else profiles.missing(query, why, detail))
        ]

    def _learn(self, health: _Health, work: _Work) -> None:
        if work.answered:
            health.silent_scans = health.skip = health.probes = 0
        elif work.silent and work.fault is None:
            health.silent_scans += 1
            if health.silent_scans >= self.dead_after:
                health.skip = min(max(1, 2 * health.skip), LONGEST_SKIP)
                health.left = health.skip

    async def _query(self, work: _Work, query: Query, n: int, attempts: int) -> Sequence[Indication]:
        try:
            reply = await self._whole(work, n, attempts)
            if reply.answer is None:
                return profiles.missing(query, reply.failure or Missing.TIMEOUT, reply.detail)
            return profiles.decode(work.meter.profile, query, reply.answer)
        except LocalProtocolError as error:  # the profile asks for what the protocol cannot say
            return profiles.missing(query, Missing.UNKNOWN_FORMAT, str(error))

    async def _whole(self, work: _Work, n: int, attempts: int) -> Reply:
        """The answer to a request, with all that follows it."""
        request: Request = work.requests[n]
        reply = await self._insist(work, request, attempts)
        if reply.answer is None or not reply.answer.more:
            return reply
        parts: list[Answer] = [reply.answer]
        while parts[-1].more:
            following = self.codec.follow(request, parts[-1])
            if following is None:
                break
            reply = await self._insist(work, following, 1 + work.meter.retries)
            if reply.answer is None or reply.answer.error:
                return reply
            parts.append(reply.answer)
        return Reply(self.codec.join(parts), reply.exchange)

    async def _insist(self, work: _Work, request: Request, attempts: int) -> Reply:
        """Ask until answered, ``attempts`` times at most."""
        meter = work.meter
        while True:
            reply = await self.line.exchange(
                self.codec, request.address, request, meter.patience, work.requests
            )
            attempts -= 1
            if reply.exchange is not None:
                work.exchanges.append(reply.exchange)
            if reply.answer is not None:
                work.answered, work.silent, work.fault = True, False, None
                return reply
            if reply.failure in _METERS_FAULT:
                work.silent = True
            else:
                work.fault = reply
            if attempts <= 0 or reply.exchange is None:
                return reply


def _unheard(indications: Sequence[Indication]) -> bool:
    return any(indication.missing in _METERS_FAULT for indication in indications)


def cycle_time_s(
    codec: Codec, meter: Meter, queries: Sequence[Query], timing: Timing, reply_s: float = 0.1
) -> float:
    """Seconds that one scan takes if all goes well: characters, silences and a reply delay of ``reply_s`` per query.

    A site's schedule holds if the sum over the meters of a line is below the period. Preambles are counted.
    """
    total = 0.0
    for query in queries:
        request = codec.request(meter.address, query)
        answer = codec.expected_length(request)
        if answer is None:
            items = (dlt645_items.describe(point.item) for point in query.points)
            answer = _AROUND_ITEM + sum(item.size for item in items if item is not None)
        gap_s = max(timing.gap_s, meter.gap_s)
        total += gap_s + (len(codec.encode(request)) + answer) * timing.character_s + reply_s
    return total
