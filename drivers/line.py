"""One exchange on a line that several meters share: ask, hear, and be sure whose answer it is.

The rules, in the order in which an exchange meets them:

1. **Settle.** Before a request the line must have been silent for the gap (3.5 characters, or what the meter wants).
   After a time-out it must have been silent for longer: at least 50 ms, 3.5 characters, and as long as the meter
   may be late. Whatever arrives while no request is open is dropped and counted. A line that never falls silent
   is not written to; a connection is then closed, to be made anew.
2. **Resynchronise.** Where a frame does not say which registers it carries (Modbus RTU), and an answer of the same
   shape to an earlier request may still be on its way, a request of another shape is asked first. A meter answers in
   order: once that has been answered, the older answer has come, and was dropped, or never will. So a late answer is
   recognised whatever the delay, not only within the silence waited for. Where nothing is known of the meter's
   lateness (``stray_s``), order is not relied on either: for that long, nothing is asked that the missing answer would
   fit (:class:`~drivers.stray.Strays`). In the same way an answer that is, byte for
   byte, a frame just before it (equal values, or an answer sent twice) is not believed: it is asked for again, behind
   a request of another shape.
3. **Ask.** The request is written, exactly its bytes.
   A protocol that changes its rate within a session (IEC 62056-21) says for each message at which one it goes out
   and is answered. The link is set before each request: whatever failed before, no meter is asked at another's rate.
4. **Hear.** Nothing within the reply time: a time-out. Something: a little longer, for the rest; the end of both is
   fixed when the request has been sent, so no noise can stretch it. (A readout's length is unknown: one that has begun
   is waited for until it pauses, and no longer than the longest takes.) Our own request heard back (a two-wire line's
   echo) is dropped by count. The rest goes through a stream decoder, as it comes, split or merged.
5. **Match.** Only a frame that agrees in unit, function, item and length is the answer. All else is counted by cause.

Protocols that number their requests (Modbus TCP) need neither silence nor resynchronising: a late number is a
mismatch. Their connection is made anew where the boundaries of its frames are lost. Any connection, a converter's too,
is made anew where nothing comes from anybody any more: it may be half open (:mod:`drivers.half_open`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from drivers import iec62056_reading
from drivers.codec import (
    Answer,
    Counts,
    Exchange,
    Instant,
    MismatchReason,
    Missing,
    Onward,
    Reject,
    RejectReason,
)
from drivers.half_open import Silence
from drivers.hearing import Hearing
from drivers.link import Link, LinkDown, parse_framing
from drivers.owed import Owed
from drivers.protocols import Codec, Request, recorded
from drivers.stray import Strays, shape

_LONGEST_FRAME = 256  # bytes; where the codec cannot say how long the answer will be


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast characters go over a line, and how long silences last.

    ``baud`` 0: a network, whose characters take no time. For a TCP converter state the baud rate and framing of the
    line behind it. ``quiet_s`` is the least silence after a time-out; ``drain_s`` bounds the waiting for silence;
    ``spread_s`` is what an answer may take beyond its characters once it has begun (byte gaps, packets).
    """

    baud: int = 0
    framing: str = "8E1"
    quiet_s: float = 0.050
    drain_s: float = 5.0
    spread_s: float = 0.5

    @property
    def character_s(self) -> float:
        """Seconds per character, start, parity and stop bits included."""
        if self.baud <= 0:
            return 0.0
        bits, parity, stop = parse_framing(self.framing)
        return (1 + bits + (parity != "N") + stop) / self.baud

    @property
    def gap_s(self) -> float:
        """3.5 characters of silence between frames; 1.75 ms above 19200 baud (Modbus over serial line 2.5.1.1)."""
        return 0.00175 if self.baud > 19200 else 3.5 * self.character_s

    def at(self, baud: int, framing: str) -> Timing:
        """The same line at another speed or framing; 0 and '' are its own. A network has neither."""
        if not self.baud:
            return self
        return replace(self, baud=baud or self.baud, framing=framing or self.framing)


@dataclass(slots=True)
class Usage:
    """What a line has been used for, since it was made; the share of a period is the difference of two copies.

    ``line_time_us``: characters sent and heard, at the line's speed. ``busy_us``: from wanting to ask until the
    exchange was over, silences and waiting included. ``resynchronised``: exchanges asked only for rule 2.
    """

    exchanges: int = 0
    sent_bytes: int = 0
    heard_bytes: int = 0
    line_time_us: int = 0
    busy_us: int = 0
    resynchronised: int = 0


class Reply(NamedTuple):
    """How one exchange ended: an answer (an error answer is one), or why there is none.

    ``exchange`` is None if nothing was asked. ``failure`` is TIMEOUT, CORRUPT or MISMATCH where a meter failed,
    LINK_DOWN or SKIPPED where the line did. ``held``: not asked, because a late answer would fit.
    """

    answer: Answer | None
    exchange: Exchange | None = None
    failure: Missing | None = None
    detail: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for one meter, in seconds.

    ``reply_s``: from the request's end to the answer's first byte, at most. ``late_s``: how much longer after that
    an answer may still come, at most: the silence waited for after a time-out. ``gap_s``: silence before a request.
    ``stray_s``: how long beyond that an answer is feared all the same, where ``late_s`` is only a guess.
    """

    reply_s: float = 1.0
    late_s: float = 1.0
    gap_s: float = 0.0
    stray_s: float = 0.0


class _NeverQuiet(Exception):
    """The line did not fall silent within the bound."""


class Line:
    """The one owner of a link. Not safe for two exchanges at once: the bus sees to that."""

    def __init__(self, link: Link, now: Callable[[], Instant], timing: Timing | None = None) -> None:
        self.link = link
        self.timing = timing or Timing()
        self.counts = Counts()
        self.usage = Usage()
        self.openings = 0  # how often the link was opened
        self.echoes = False  # whether the line has been heard to give our own requests back
        self._now = now
        self._character_s = self.timing.character_s
        self._gap_s = self.timing.gap_s
        self._spoke_at = float(
            "-inf"
        )  # loop time: the last request's end, the last answer, the last time-out
        self._silence_s = 0.0  # what the line owes us before the next request, beyond the gap
        self._suspect = ""  # address of the meter whose answer may be late
        self._strays = Strays()
        self._owed = Owed(self._strays)
        self._own = self.timing  # as most meters of the line speak
        self._set = self.timing  # as the link is set now, within a session perhaps otherwise than ``timing``
        self._number = 0
        self._silence = Silence()
        self._lost = 0
        self._reopen_at = float("-inf")
        self._reopen_s = 0.0

    def held_s(self, codec: Codec, address: str, request: Request, since: float = float("inf")) -> float:
        """Seconds for which ``request`` must not be asked, because an answer that would fit it may be on its way.

        ``since``: a late answer to the same request is welcome if that was asked after this loop time.
        """
        if not self._strays:
            return 0.0
        if self.link.is_open and (stale := self.link.take()):  # perhaps it has come
            self._discard(codec, stale)
            self._silence_s = max(self._silence_s, self.timing.quiet_s)
        return self._strays.held_s(address, request, asyncio.get_running_loop().time(), since)

    async def exchange(
        self,
        codec: Codec,
        address: str,
        request: Request,
        patience: Patience,
        others: Iterable[Request] = (),
        since: float = float("inf"),
    ) -> Reply:
        """Ask once. ``others``: requests that the same meter is known to answer, for rule 2; ``since`` as above.

        Raises nothing for what a line or a meter may do; LocalProtocolError for what we may not ask.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        if held_s := self.held_s(codec, address, request, since):
            detail = f"not asked: for {held_s:.1f} s, an answer of its length to an earlier request may come"
            return Reply(None, None, Missing.SKIPPED, detail, held=True)
        try:
            if not self.link.is_open:
                await self._up(clock, patience)
            if shape(request) is None:
                return await self._ask(codec, address, request, patience)
            reply = await self._in_step(codec, address, request, patience, others)
            if reply.answer is not None:
                if self._owed.repeats(request, reply.answer):
                    # If that was a repetition, the true answer is still to come: ask again, in step.
                    self._owe(address, request, patience)
                    reply = await self._in_step(codec, address, request, patience, others)
                if reply.answer is not None:
                    self._owed.believed(request, reply.answer.raw)
            return reply
        except LinkDown as down:
            self.counts.add(address, Missing.LINK_DOWN)
            return Reply(None, None, Missing.LINK_DOWN, str(down))
        except _NeverQuiet:
            self.counts.add("", Missing.SKIPPED)
            detail = f"not asked: the line did not fall silent within {self.timing.drain_s:g} s"
            return Reply(None, None, Missing.SKIPPED, detail)
        finally:
            self.usage.busy_us += round((clock() - began) * 1e6)

    async def broadcast(self, codec: Codec, raw: bytes, pause_s: float) -> Reply:
        """Say what everybody hears and nobody answers; then be silent for ``pause_s``.

        The exchange's ``received`` is when the last character has left, at the line's speed. Raises nothing.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            if not self.link.is_open:
                await self._up(clock, Patience())
            self._retune(self.timing)
            await self._settle(codec, self._gap_s)
            self._suspect = ""
            await self.link.write(raw)
            sent, out = self._now(), clock() + len(raw) * self._character_s
            air_us = round(len(raw) * self._character_s * 1e6)
            left = Instant(sent.utc_us + air_us, sent.boot_us + air_us)
            self.usage.exchanges += 1
            self._account(len(raw), 0)
            while data := await self.link.read(out + pause_s):  # our own words, on a line with an echo
                if data.startswith(raw):
                    self.echoes = True
            self._spoke_at, self._silence_s = clock(), 0.0
            return Reply(None, Exchange(raw, b"", sent, left))
        except LinkDown as down:
            self.counts.add("", Missing.LINK_DOWN)
            return Reply(None, None, Missing.LINK_DOWN, str(down))
        except _NeverQuiet:
            self.counts.add("", Missing.SKIPPED)
            detail = f"not said: the line did not fall silent within {self.timing.drain_s:g} s"
            return Reply(None, None, Missing.SKIPPED, detail)
        finally:
            self.usage.busy_us += round((clock() - began) * 1e6)

    def tune(self, baud: int, framing: str) -> None:
        """From now on with another speed or framing; 0 and '' are the line's own. A network has neither."""
        self.timing = self._own.at(baud, framing)
        self._retune(self.timing)

    def _retune(self, timing: Timing) -> None:
        """The link set otherwise, if it is not so already."""
        if timing == self._set:
            return
        self.link.tune(timing.baud, timing.framing)
        self._set = timing
        self._character_s, self._gap_s = timing.character_s, timing.gap_s
        # Whoever listens at another speed has heard noise until now, and wants silence before it is asked.
        self._silence_s = max(self._silence_s, timing.quiet_s)

    def give_up(self) -> None:
        """No answer is waited for any more: who was asked last seems to be dead. The others need not wait for it."""
        self._silence_s = min(self._silence_s, self.timing.quiet_s)

    async def close(self) -> None:
        """Close the link; the next exchange would open it again."""
        await self.link.close()

    async def _up(self, clock: Callable[[], float], patience: Patience) -> None:
        """Open the link, but no more often than every 1, 2, 4 … 15 s while that fails."""
        if (wait_s := self._reopen_at - clock()) > 0:
            raise LinkDown(self.link.describe(), "down", f"tried again in {wait_s:.0f} s")
        try:
            await self.link.open()
        except LinkDown:
            self._reopen_s = min(max(1.0, 2 * self._reopen_s), 15.0)
            self._reopen_at = clock() + self._reopen_s
            raise
        self._reopen_s = 0.0
        self.openings += 1
        # Somebody may have asked before us, on this line, an instant ago: this program, before it was restarted.
        self._spoke_at = clock()
        self._silence_s = max(self._silence_s, self.timing.quiet_s, patience.late_s)

    # ---- rule 1

    async def _settle(self, codec: Codec, gap_s: float) -> None:
        link = self.link
        clock = asyncio.get_running_loop().time
        limit = clock() + self.timing.drain_s
        stale = link.take()
        while True:
            if stale:
                self._discard(codec, stale)
                self._silence_s = max(self._silence_s, self.timing.quiet_s)
            ready = max(self._spoke_at, link.heard_at or self._spoke_at)
            ready += max(gap_s, self._silence_s)
            now = clock()
            if now >= ready:
                break
            if now >= limit:
                await link.close()  # a converter may have stored answers; a new connection has none
                self._reopen_at = now
                raise _NeverQuiet
            stale = await link.read(min(ready, limit))
        self._silence_s = 0.0

    def _discard(self, codec: Codec, stale: bytes) -> bool:
        """Count what came while no request was open, frame by frame; whether it was whole frames."""
        self._account_heard(stale)
        decoder = codec.decoder()
        whole = True
        for item in (*decoder.feed(stale), *decoder.finish()):
            cause = item.reason if isinstance(item, Reject) else MismatchReason.UNASKED
            if not isinstance(item, Reject):
                self._owed.stray(item.raw)
            self.counts.add(self._suspect, cause)
            whole = whole and cause is MismatchReason.UNASKED
        return whole

    # ---- rule 2

    async def _in_step(
        self, codec: Codec, address: str, request: Request, patience: Patience, others: Iterable[Request]
    ) -> Reply:
        """Ask, behind a request of another shape if a late answer could be mistaken for ours."""
        if self._owed and (aside := self._owed.aside(codec, address, request, others)) is not None:
            began = asyncio.get_running_loop().time()
            self.usage.resynchronised += 1
            reply = await self._ask(codec, address, aside, patience)
            if reply.answer is None:
                if reply.failure is Missing.TIMEOUT:
                    self._owed.passed(address, began)
                detail = f"a late answer may be on its way; resynchronising: {reply.detail}"
                return reply._replace(detail=detail)
            self._owed.believed(aside, reply.answer.raw)
        return await self._ask(codec, address, request, patience)

    def _owe(self, address: str, request: Request, patience: Patience) -> None:
        now = asyncio.get_running_loop().time()
        self._owed.owe(address, request, now, patience.reply_s + patience.late_s)

    # ---- rules 3 to 5

    async def _ask(self, codec: Codec, address: str, request: Request, patience: Patience) -> Reply:
        self._number = self._number + 1 & 0xFFFF
        sent_request = codec.numbered(request, self._number)
        numbered = sent_request is not request
        raw = codec.encode(sent_request)
        kept = recorded(sent_request, raw)
        clock = asyncio.get_running_loop().time
        pace = iec62056_reading.pace(request) if isinstance(request, iec62056_reading.Request) else None
        self._retune(self.timing.at(pace.baud, pace.framing) if pace else self.timing)
        if numbered and not patience.gap_s:
            if (stale := self.link.take()) and not self._discard(codec, stale):
                await self.link.close()  # the stream's frame boundaries are lost
                await self._up(clock, patience)
        else:
            await self._settle(codec, max(self._gap_s, patience.gap_s, pace.pause_s if pace else 0.0))
        # From here on an answer may come at any time: should we be cancelled, the next exchange must know.
        self._suspect = address
        if not numbered:
            self._silence_s = max(self._gap_s, self.timing.quiet_s, patience.late_s)
            self._owe(address, request, patience)
            if patience.stray_s:
                self._strays.asked(
                    address, request, clock(), patience.reply_s + patience.late_s + patience.stray_s
                )
        if pace and not pace.reply_s:
            return await self._only_said(raw)
        hearing = Hearing(codec, sent_request, raw)
        try:
            await self.link.write(raw)
        except LinkDown as down:
            return self._fell(address, kept, self._now(), str(down))
        sent = received = self._now()
        out = clock() + len(raw) * self._character_s
        self.usage.exchanges += 1
        self._account(len(raw), 0)
        reply_s = max(patience.reply_s, pace.reply_s) if pace else patience.reply_s
        until = out + reply_s
        extended = False
        onward: Onward | None = None
        latest = float("inf")
        try:
            if pace:
                until, latest = await self._turned(pace, out, until)
            while hearing.answer is None:
                data = await self.link.read(until)
                if not data:
                    break
                received = self._now()
                self._account_heard(data)
                hearing.take(data)
                if pace:
                    if hearing.onward is not onward and hearing.onward is not None:
                        onward = hearing.onward
                        pace = iec62056_reading.pace(cast(iec62056_reading.Request, onward.request))
                        reply_s = max(patience.reply_s, pace.reply_s)
                        until, latest = await self._turned(pace, clock(), clock() + reply_s)
                    elif hearing.begun:
                        until = min(latest, clock() + pace.idle_s)
                elif hearing.heard and not extended and hearing.answer is None:
                    length = codec.expected_length(sent_request) or _LONGEST_FRAME
                    until += length * self._character_s + self.timing.spread_s
                    extended = True
        except LinkDown as down:
            return self._fell(address, kept, sent, str(down))
        answer = hearing.answer
        if answer is None:
            answer = hearing.end()
        if hearing.causes:
            for cause, count in hearing.causes.items():
                self.counts.add(address, cause, count)
            for stray in hearing.strays:
                self._owed.stray(stray)
            for broken in hearing.broken:
                self._strays.came(broken)
            self.echoes = self.echoes or MismatchReason.ECHO in hearing.causes
        deaf = False
        if hearing.heard or hearing.causes:
            self._silence.heard(address)
        elif numbered or self.link.connection:
            deaf = self._silence.went_on(address)
        if deaf or (numbered and hearing.torn):
            # Half open; or the rest of a frame is still to come, and the stream's boundaries are lost.
            await self.link.close()
        if answer is None:
            self._spoke_at = max(clock(), out)
            failure = hearing.failure
            self.counts.add(address, failure)
            # A request heard back in pieces would hold its password: nothing is kept of what came.
            heard = bytes(hearing.rubbish) if kept == raw else b""
            exchange = Exchange(kept, heard, sent, self._now(), failure)
            return Reply(None, exchange, failure, hearing.detail(reply_s))
        self._spoke_at = clock()
        if self._strays:
            self._strays.answered(address, request, refused=bool(answer.error))
        self._owed.answered(address, refused=bool(answer.error))
        self._silence_s = self.timing.quiet_s if hearing.trailing and not numbered else 0.0
        return Reply(answer, Exchange(kept, answer.raw, sent, received))

    async def _only_said(self, raw: bytes) -> Reply:
        """Say what nobody answers."""
        clock = asyncio.get_running_loop().time
        try:
            await self.link.write(raw)
            sent, out = self._now(), clock() + len(raw) * self._character_s
            await self.link.drained()
        except LinkDown as down:
            return self._fell(self._suspect, raw, self._now(), str(down))
        await asyncio.sleep(max(0.0, out - clock()))
        self.usage.exchanges += 1
        self._account(len(raw), 0)
        self._spoke_at, self._silence_s = clock(), self.timing.quiet_s
        return Reply(None, Exchange(raw, b"", sent, self._now()))

    async def _turned(self, pace: iec62056_reading.Pace, out: float, until: float) -> tuple[float, float]:
        """The link at the rate of the answer, once the request has left; until when it is waited for, at most."""
        clock = asyncio.get_running_loop().time
        timing = self.timing.at(pace.answer_baud, pace.framing)
        if timing != self._set:
            # What the system has handed on an adapter may still hold, and some say too early that it has left: the time
            # that the characters take at this rate is waited for in any case. A meter leaves more time than ``turn_s``.
            await self.link.drained()
            late_s = max(0.0, clock() - out)
            await asyncio.sleep(max(0.0, out + late_s + pace.turn_s - clock()))
            until += late_s
            quiet_s = self._silence_s
            self._retune(timing)
            self._silence_s = quiet_s
        character_s = self._character_s or 10 / iec62056_reading.FIRST_BAUD
        return until, until + pace.longest * character_s

    def _fell(self, address: str, raw: bytes, sent: Instant, why: str) -> Reply:
        """The link went down while a request was open."""
        self.counts.add(address, Missing.LINK_DOWN)
        exchange = Exchange(raw, b"", sent, self._now(), Missing.LINK_DOWN)
        return Reply(None, exchange, Missing.LINK_DOWN, why)

    def _account_heard(self, data: bytes) -> None:
        self._silence.broken()
        lost, self._lost = self.link.lost - self._lost, self.link.lost
        if lost:
            self.counts.add("", RejectReason.NOISE)
        self._account(0, len(data) + lost)

    def _account(self, sent: int, heard: int) -> None:
        usage = self.usage
        usage.sent_bytes += sent
        usage.heard_bytes += heard
        if self._character_s:
            usage.line_time_us += round((sent + heard) * self._character_s * 1e6)
