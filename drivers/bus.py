"""The bus: the meters of one line, scanned one after the other by the line's only owner.

:meth:`Bus.scan` gives a :class:`~drivers.codec.Scan` whatever happens: an indication that could not be had is missing,
with its reason. How one exchange is kept free of late and foreign answers is told in :mod:`drivers.line`; here:

* A time-out, a corrupt answer or a mismatch is asked again (``retries``); an error answer is an answer and is not.
* DL/T 645 answers that go on (B1) are followed to their end and joined, or missing altogether.
* An M-Bus telegram that may be a repetition of the last reading's is asked for anew (:mod:`drivers.mbus_reading`).
* A session (IEC 62056-21, DLMS) that broke off is begun anew. Of DLMS a lost frame is asked again within it; what ends
  the session (DISC) is said once, and no value depends on its answer.
* A meter that is silent about some queries is asked those last, and once; if it stays so, in one scan of 2, 3, 5 … 61.
  If it answers none of the first three, the others are not asked.
* A query whose answer could be mistaken for a late one (:mod:`drivers.stray`) is asked in two parts, which have other
  lengths; if it cannot be divided it is asked last, or not in this scan.
* A meter that was silent for ``dead_after`` scans is left out of 1, 2, 4 … 60 scans between two probes of one
  query, so that it costs no more than its time-out now and then. It is back with the first answer.
* A line that is down fails no meter: what was not asked says nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from drivers import dlms_reading, iec62056_reading, mbus, mbus_reading
from drivers import profile as profiles
from drivers.codec import (
    Answer,
    Counts,
    Exchange,
    Indication,
    Instant,
    LocalProtocolError,
    MismatchReason,
    Missing,
    Scan,
)
from drivers.health import METERS_FAULT, Health
from drivers.line import Line, Patience, Reply, Timing, Usage
from drivers.link import Link
from drivers.profile import Profile, Query
from drivers.protocols import Codec, Request, closing
from drivers.stray import halves, shape

_SILENT_ENOUGH = 3  # queries without an answer, after which the others are not asked in this scan
_DEFAULT = Patience()
# of several exchanges, which only make sense together
_SESSIONS = iec62056_reading.Request, dlms_reading.Request
_STRAY_S = (
    4.0  # and four times the time-out: how much later than that an answer is feared, if nothing is known
)


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter on a line and how long to wait for it. ``address`` as its protocol writes it.

    ``timeout_s``: from the end of a request to the first byte of the answer, at most. ``late_s``: the silence waited
    for after a time-out; the maker's maximum reply delay, if it is known, else (None) as long as the time-out. Only
    if it is None, answers that are later still are reckoned with where they could be mistaken (Modbus RTU).
    ``gap_s``: silence that the meter wants before a request, beyond 3.5 characters.

    ``codec``, ``baud`` and ``framing``: where this meter does not speak as the rest of its line does.
    """

    id: str
    address: str
    profile: Profile
    timeout_s: float = 1.0
    retries: int = 1
    gap_s: float = 0.0
    late_s: float | None = None
    codec: Codec | None = None
    baud: int = 0
    framing: str = ""

    @property
    def patience(self) -> Patience:
        """The meter's times, as the line wants them."""
        if self.late_s is not None:
            return Patience(self.timeout_s, self.late_s, self.gap_s)
        return Patience(self.timeout_s, self.timeout_s, self.gap_s, max(_STRAY_S, 4 * self.timeout_s))


@dataclass(slots=True)
class _Work:
    """One scan as it goes on."""

    meter: Meter
    codec: Codec
    patience: Patience
    since: float  # loop time at which it began
    requests: tuple[Request, ...] = ()
    exchanges: list[Exchange] = field(default_factory=list)
    answered: bool = False
    silent: bool = False  # a query went unanswered since the last answer
    fault: Reply | None = None  # the line itself failed since the last answer

    @property
    def stuck(self) -> bool:
        """The line cannot be opened, or never falls silent: asking on would cost that again and again."""
        return self.fault is not None and self.fault.exchange is None


class _Part(NamedTuple):
    """One half of a query."""

    query: Query
    request: Request


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
        self._health: dict[str, Health] = {}
        self._repeatable: dict[str, mbus_reading.Held] = {}  # by M-Bus address: what the slave may say again
        self._mixed = False  # not all meters of the line speak alike

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
            if not self._mixed and (meter.codec or meter.baud or meter.framing):
                self._mixed = True
            if self._mixed:
                self.line.tune(meter.baud, meter.framing)
            codec = meter.codec or self.codec
            work = _Work(meter, codec, meter.patience, asyncio.get_running_loop().time())
            indications = await self._scan(work, queries)
            return Scan(tuple(indications), tuple(work.exchanges), started, self._now())

    async def ask(
        self, request: Request, patience: Patience | None = None, meter: Meter | None = None
    ) -> Reply:
        """One exchange outside any scan: to find meters, to read an identity. Never raises for a meter or a line.

        ``meter``: who is asked, where not all meters of the line speak alike.
        """
        async with self._lock:
            if self._mixed or (meter is not None and (meter.baud or meter.framing)):
                self.line.tune(meter.baud if meter else 0, meter.framing if meter else "")
            codec = (meter.codec if meter else None) or self.codec
            if isinstance(request, mbus.Request):
                self._repeatable.clear()  # whoever answers holds another telegram than before
            return await self.line.exchange(codec, request.address, request, patience or _DEFAULT)

    def now(self) -> Instant:
        """Both clocks, as its scans bear them."""
        return self._now()

    async def broadcast(self, raw: bytes, meter: Meter, pause_s: float = 0.5) -> Reply:
        """Say ``raw`` to all meters that speak as ``meter`` does; nobody answers. Never raises for a line."""
        async with self._lock:
            if self._mixed or meter.baud or meter.framing:
                self.line.tune(meter.baud, meter.framing)
            return await self.line.broadcast(meter.codec or self.codec, raw, pause_s)

    async def converse(self, request: Request, meter: Meter) -> Reply:
        """A request with all that follows it, a whole session of a protocol that has those, outside any scan.

        The reply's exchange is the last one that was answered. Never raises for a meter or a line.
        """
        async with self._lock:
            if self._mixed or meter.baud or meter.framing:
                self.line.tune(meter.baud, meter.framing)
            since = asyncio.get_running_loop().time()
            work = _Work(meter, meter.codec or self.codec, meter.patience, since, (request,))
            try:
                return await self._whole(work, request, 1 + meter.retries)
            except LocalProtocolError as error:  # an answer without an end
                return Reply(None, None, Missing.UNKNOWN_FORMAT, str(error))

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
        health = self._health.setdefault(meter.id, Health())
        if health.left:
            health.left -= 1
            detail = f"silent for {health.silent_scans} scans; asked again after {health.left} more"
            return [i for q in queries for i in profiles.missing(q, Missing.SKIPPED, detail)]
        found: dict[int, Sequence[Indication]] = {}
        left_out: dict[int, Sequence[Indication]] = {}
        try:
            work.requests = health.requests_for(work.codec, meter.address, queries)
        except ValueError as error:  # no address, or the meter and the line speak different protocols
            return [i for q in queries for i in profiles.missing(q, Missing.UNKNOWN_FORMAT, str(error))]
        order = list(range(len(queries)))
        if health.mute:
            order.sort(key=lambda n: queries[n].where in health.mute)
        if health.skip and order:
            # A dead meter is asked one query, another one each time: some are silent about what they do not have.
            first = order[0]
            if queries[first].where in health.mute:
                first = order[health.probes % len(order)]
                health.probes += 1
            found[first] = await self._query(work, queries[first], first, 1, last=True) or ()
            order = [n for n in order if n not in found] if work.answered else []
        if health.mute and not health.skip:
            if health.silent_scans and all(query.where in health.mute for query in queries):
                order = order[:1]  # it has been asked everything, in vain
            left_out = health.left_out(queries, order)
            order = [n for n in order if n not in left_out]
        held: list[int] = []
        for n in order:
            if work.stuck:
                break
            if not work.answered and len(found) >= _SILENT_ENOUGH:
                break
            attempts = 1 if work.silent or queries[n].where in health.mute else 1 + meter.retries
            if (got := await self._query(work, queries[n], n, attempts)) is None:
                held.append(n)
            else:
                found[n] = got
        for n in held:
            if work.stuck:
                break
            found[n] = await self._query(work, queries[n], n, 1, last=True) or ()
        health.remember(queries, found)
        self._learn(health, work)
        found |= left_out
        why, detail = Missing.SKIPPED, "not asked: no answer to what was asked before"
        if work.fault is not None:
            why, detail = work.fault.failure or Missing.LINK_DOWN, work.fault.detail
        return [
            indication
            for n, query in enumerate(queries)
            for indication in (found[n] if n in found else profiles.missing(query, why, detail))
        ]

    def _learn(self, health: Health, work: _Work) -> None:
        if work.answered:
            health.answered()
        elif work.silent and work.fault is None:
            if health.skip:
                self.line.give_up()
            health.was_silent(self.dead_after)

    async def _query(
        self, work: _Work, query: Query, n: int, attempts: int, *, last: bool = False
    ) -> Sequence[Indication] | None:
        """The indications of one query; None if it has to wait for a late answer to pass, unless it is the last try."""
        request = work.requests[n]
        if self._held(work, request) and (parts := self._parts(work, query)):
            return [i for p in parts for i in await self._asked(work, p.query, p.request, attempts) or ()]
        return await self._asked(work, query, request, attempts, last=last)

    async def _asked(
        self, work: _Work, query: Query, request: Request, attempts: int, *, last: bool = True
    ) -> Sequence[Indication] | None:
        try:
            reply = await self._whole(work, request, attempts)
            if reply.held and not last:
                return None
            if reply.answer is None:
                return profiles.missing(query, reply.failure or Missing.TIMEOUT, reply.detail)
            return profiles.decode(work.meter.profile, query, reply.answer)
        except LocalProtocolError as error:  # the profile asks for what the protocol cannot say
            return profiles.missing(query, Missing.UNKNOWN_FORMAT, str(error))

    def _held(self, work: _Work, request: Request) -> bool:
        return self.line.held_s(work.codec, request.address, request, work.since) > 0

    def _parts(self, work: _Work, query: Query) -> tuple[_Part, ...]:
        """The query as two, whose answers no late one can be mistaken for; empty if there are no such two."""
        for pair in halves(query):
            parts = tuple(_Part(half, work.codec.request(work.meter.address, half)) for half in pair)
            apart = shape(parts[0].request) != shape(parts[1].request)
            if apart and not any(self._held(work, p.request) for p in parts):
                return parts
        return ()

    async def _whole(self, work: _Work, request: Request, attempts: int) -> Reply:
        """The answer to a request, with all that follows it; a session that broke off is begun anew."""
        session = isinstance(request, _SESSIONS)
        for left in reversed(range(attempts if session else 1)):
            reply = await self._followed(work, request, attempts)
            broke_off = reply.answer is None and reply.exchange is not None and len(work.exchanges) > 1
            broke_off = broke_off and work.exchanges[-2].failure is None
            if isinstance(request, iec62056_reading.Request):
                await self._hang_up(work, request)
            if not session or not left or not (broke_off or _hung_up(request, reply)):
                break
        if reply.answer is not None and (end := closing(request, reply.answer)) is not None:
            await self._insist(work, end, 1)  # whatever comes of it, the values are there
        return reply

    async def _hang_up(self, work: _Work, request: iec62056_reading.Request) -> None:
        """End the programming mode of IEC 62056-21: whoever is left in it hears no sign-on for a minute or two."""
        if (end := iec62056_reading.ending(request, work.exchanges)) is not None:
            said = await self.line.exchange(work.codec, request.address, end, work.patience)
            if said.exchange is not None:
                work.exchanges.append(said.exchange)

    async def _telegrams(self, work: _Work, opening: mbus.Request, attempts: int) -> Reply:
        """A reading over M-Bus. Should it be cancelled, nothing is known of what the slave may say again."""
        reading = mbus_reading.begun(opening, self._repeatable.pop(opening.address, mbus_reading.UNKNOWN))
        again = 1 + work.meter.retries
        reply = Reply(None)
        while (request := reading.request) is not None:
            reply = await self._insist(work, request, again if request.part else attempts)
            if reply.answer is None:
                self._repeatable[opening.address] = reading.left_behind
                why = "the first telegram may be one of the reading before; asked once more: "
                return reply._replace(detail=why + reply.detail) if reading.doubts else reply
            if reading.caught(reply.answer):
                self.counts.add(opening.address, MismatchReason.SEQUENCE)
            reading = reading.answered(reply.answer)
        self._repeatable[opening.address] = reading.held
        if reading.refused:
            self.counts.add(opening.address, MismatchReason.ADDRESS)
            return Reply(None, reply.exchange, Missing.MISMATCH, reading.refused)
        if reply.answer is not None and reply.answer.error:
            return reply
        return Reply(work.codec.join(reading.answers), reply.exchange)

    async def _followed(self, work: _Work, request: Request, attempts: int) -> Reply:
        if isinstance(request, mbus.Request):
            return await self._telegrams(work, request, attempts)
        reply = await self._insist(work, request, attempts)
        if reply.answer is None or not reply.answer.more:
            return reply
        again = 0 if isinstance(request, iec62056_reading.Request) else work.meter.retries
        parts: list[Answer] = [reply.answer]
        while parts[-1].more:
            following = work.codec.follow(request, parts[-1])
            if following is None:
                break
            request = following
            reply = await self._insist(work, following, 1 + again)
            if reply.answer is None or reply.answer.error:
                return reply
            parts.append(reply.answer)
        return Reply(work.codec.join(parts), reply.exchange)

    async def _insist(self, work: _Work, request: Request, attempts: int) -> Reply:
        """Ask until answered, ``attempts`` times at most."""
        while True:
            reply = await self.line.exchange(
                work.codec, request.address, request, work.patience, work.requests, work.since
            )
            if reply.held:
                return reply
            attempts -= 1
            if reply.exchange is not None:
                work.exchanges.append(reply.exchange)
            if reply.answer is not None:
                work.answered, work.silent, work.fault = True, False, None
                return reply
            if reply.failure in METERS_FAULT:
                work.silent = True
            else:
                work.fault = reply
            if attempts <= 0 or reply.exchange is None:
                return reply


def _hung_up(request: Request, reply: Reply) -> bool:
    """Whether the meter has lost a session's link."""
    answer = reply.answer
    return (
        isinstance(request, dlms_reading.Request)
        and answer is not None
        and answer.error_code == dlms_reading.HUNG_UP
    )
