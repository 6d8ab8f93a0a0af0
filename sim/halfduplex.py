"""A half-duplex line in virtual time: who is heard when, with the byte timing of a UART. No I/O, no clock.

Bytes from the master arrive in one piece (a pty or a socket knows no baud rate), so the line gives them their
time: each character takes ``character_us``; the request has been heard when its last one would have passed.
The answer begins after the meter's reply delay and comes character by character, handed over in chunks as a
UART's FIFO does. A request sent while a meter is talking collides with it: what is left of the answer is
garbage, and nobody has heard the request. Two meters that answer at once (a wildcard address) collide
likewise.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sim.cjt188_meter import Cjt188Framing
from sim.dlms_meter import DlmsFraming
from sim.dlt698_meter import Dlt698Framing
from sim.faults import Fault, FaultKind, Part, Scenario, spoil
from sim.framing import Dlt645Framing, Framing, RtuFraming, to_all
from sim.iec62056_meter import Iec62056Framing
from sim.instrument import Indications
from sim.mbus_meter import MbusFraming
from sim.modbus_ascii import AsciiFraming

_MOST_HEARD = 600  # bytes kept of what never becomes a request

_DLT645 = Dlt645Framing()
_IEC62056 = Iec62056Framing()
FRAMINGS: Mapping[str, Framing] = {
    "dlt645-2007": _DLT645,
    "dlt645-1997": _DLT645,
    "modbus-rtu": RtuFraming(),
    "modbus-ascii": AsciiFraming(),
    "dlt698": Dlt698Framing(),
    "dlms-hdlc": DlmsFraming(wrapped=False),
    "dlms-wrapper": DlmsFraming(wrapped=True),
    "cjt188": Cjt188Framing(),
    "mbus": MbusFraming(),
    "iec62056-21": _IEC62056,
    "iec62056-21-300": _IEC62056,
    "iec62056-21-fixed": Iec62056Framing(),  # not on a line with those that change their rate
}
"""How requests are found on a line, by protocol; the editions of DL/T 645 share theirs."""


def character_us(baud: int, framing: str) -> float:
    """Time of one character: start bit, data bits, parity bit if any, stop bits. ``8E1`` at 9600: 1145.8 µs."""
    if (
        len(framing) != 3
        or framing[0] not in "78"
        or framing[1] not in "NEO"
        or framing[2] not in "12"
        or baud <= 0
    ):
        raise ValueError(f"no line at {baud} baud, {framing!r}: write the framing as 8E1, 8N1, 8N2 …")
    bits = 1 + int(framing[0]) + (framing[1] != "N") + int(framing[2])
    return bits * 1e6 / baud


@dataclass(frozen=True, slots=True)
class Timing:
    """How a line keeps time. ``silence_us`` without a byte ends a request that was never whole."""

    character_us: float
    reply_us: int
    silence_us: int
    chunk: int = 8  # characters per hand-over; a TCP converter packs a whole frame: 512
    echo: bool = False  # a two-wire line whose adapter hears itself


class Station(Protocol):
    """One meter on the line, as the line knows it."""

    @property
    def id(self) -> str:
        """The meter's id, by which faults name it."""

    def answer(self, frame: bytes, utc_us: int, *, stuck_since_us: int | None) -> bytes | None:
        """The answer to a request at an instant, or None for silence."""


class Showing(Protocol):
    """A meter as a model: what it shows at an instant."""

    @property
    def id(self) -> str:
        """By which faults name it."""

    def refreshed(self, t_us: int) -> int:
        """When its indications were renewed."""

    def show(self, t_us: int) -> Indications:
        """Its indications."""


class Side(Protocol):
    """The answering side of one protocol's meter."""

    @property
    def meter(self) -> Showing:
        """Whose indications it tells."""

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None for silence."""


class MeterStation:
    """A meter that answers from its indications, remembering the latest (they are renewed at the meter's own beat)."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._latest: Indications | None = None

    @property
    def id(self) -> str:
        """The meter's id."""
        return self._side.meter.id

    def answer(self, frame: bytes, utc_us: int, *, stuck_since_us: int | None = None) -> bytes | None:
        """The answer to a request at an instant, or None for silence."""
        at = utc_us if stuck_since_us is None else stuck_since_us
        return self._side.answer(frame, lambda: self.show(at), utc_us)

    def show(self, utc_us: int) -> Indications:
        """The meter's indications at an instant."""
        if self._latest is None or self._latest.t_us != self._side.meter.refreshed(utc_us):
            self._latest = self._side.meter.show(utc_us)
        return self._latest


@dataclass(slots=True)
class LineCounts:
    """What happened on a line."""

    requests: int = 0
    answers: int = 0
    unanswered: int = 0
    collisions: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Chunk(NamedTuple):
    """Characters on their way to the master: when the last one has passed, and how fast they go."""

    end: float
    data: bytes
    character_us: float
    baud: int = 0
    reset: bool = False

    @property
    def begin(self) -> float:
        """When the first one began."""
        return self.end - len(self.data) * self.character_us


class HalfDuplex:
    """One line with its meters. Times are whole microseconds of any steady clock; UTC comes with each call.

    ``bauds``: all rates that may be spoken on it; empty where that is the port's one.
    """

    bauds: frozenset[int] = frozenset()
    hung_up = False  # a line has no connection to lose

    def __init__(
        self,
        framing: Framing,
        stations: Sequence[Station],
        timing: Timing,
        scenario: Scenario,
        start_utc_us: int,
    ) -> None:
        self.counts = LineCounts()
        self._framing = framing
        self._stations = tuple(stations)
        self._timing = timing
        self._scenario = scenario
        self._start_utc_us = start_utc_us
        self._heard = bytearray()
        self._master_until = 0.0
        self._sending: deque[Chunk] = deque()
        self._character_us = timing.character_us
        self._asked: dict[str, int] = {}
        self._rng = random.Random(f"line/{scenario.seed}")

    def tune(self, baud: int) -> None:
        """The master's port is set to this rate from now on; 0: unknown."""

    def hear(self, data: bytes, at_us: int, utc_us: int, *, garbled: bool = False) -> None:
        """Bytes from the master. ``garbled``: it speaks at another baud rate, so the meters hear nothing sensible."""
        begin = max(float(at_us), self._master_until)
        if begin - self._master_until > self._timing.silence_us:
            self._heard.clear()
        self._master_until = begin + len(data) * self._character_us
        if self._collides(begin, self._master_until):
            self.counts.collisions += 1
            self._heard.clear()
            return
        if garbled:
            self._heard.clear()
            self._count_fault(FaultKind.BAUD_MISMATCH)
            return
        self._heard += data
        for request in self._framing.requests(self._heard):
            self._ask(request, self._master_until, utc_us + round(self._master_until - at_us))
        if len(self._heard) > _MOST_HEARD:
            self._heard.clear()

    def disturb(self, begin_us: float, until_us: float) -> None:
        """The master says something that these meters do not understand, at another speed say."""
        if self._collides(begin_us, until_us):
            self.counts.collisions += 1
        self._heard.clear()
        self._master_until = max(self._master_until, until_us)

    def talks(self, at_us: float) -> bool:
        """Whether one of these meters is sending at an instant."""
        return any(chunk.begin <= at_us < chunk.end for chunk in self._sending)

    def due_us(self) -> int | None:
        """When the next bytes reach the master, or None if the line is quiet."""
        return -int(-self._sending[0].end // 1) if self._sending else None

    def take(self, at_us: int) -> bytes:
        """All bytes that have reached the master by an instant."""
        arrived = bytearray()
        while self._sending and self._sending[0].end <= at_us:
            arrived += self._as_heard(self._sending.popleft())
        return bytes(arrived)

    def _as_heard(self, chunk: Chunk) -> bytes:
        """What the master makes of it."""
        return chunk.data

    def _collides(self, begin: float, until: float) -> bool:
        """Whether a meter is talking while the master does; if so, what both say meanwhile is garbage."""

        def overlaps(chunk: Chunk) -> bool:
            return chunk.begin < until and begin < chunk.end

        if not any(overlaps(chunk) for chunk in self._sending):
            return False
        self._sending = deque(
            chunk._replace(data=self._rng.randbytes(len(chunk.data))) if overlaps(chunk) else chunk
            for chunk in self._sending
        )
        return True

    def _ask(self, request: bytes, heard_us: float, utc_us: int) -> None:
        self.counts.requests += 1
        if self._timing.echo:
            self._send((Part(0, request),), heard_us - len(request) * self._character_us)
        answers = [parts for station in self._stations if (parts := self._answer(station, request, utc_us))]
        if not answers:
            self.counts.unanswered += 1
        elif len(answers) == 1:
            self.counts.answers += 1
            self._send(answers[0], heard_us)
        else:
            self.counts.collisions += 1
            longest = max(sum(len(part.data) for part in parts) for parts in answers)
            self._send((Part(self._timing.reply_us, self._rng.randbytes(longest)),), heard_us)

    def _answer(self, station: Station, request: bytes, utc_us: int) -> tuple[Part, ...]:
        def asked(stuck_since_us: int | None) -> bytes | None:
            return station.answer(request, utc_us, stuck_since_us=stuck_since_us)

        return self._said(station, request, utc_us, asked, self._timing.reply_us)

    def _said(
        self,
        station: Station,
        request: bytes,
        utc_us: int,
        say: Callable[[int | None], bytes | None],
        pause_us: int,
    ) -> tuple[Part, ...]:
        """What a station says, after the faults that meet it; ``say`` is told since when its values are stuck."""
        n = self._asked.get(station.id, 0)
        since_start = utc_us - self._start_utc_us
        faults = self._scenario.now(station.id, since_start, n)
        if to_all(request) and any(f.kind == FaultKind.MISSED_BROADCAST for f in faults):
            self._count_fault(FaultKind.MISSED_BROADCAST)
            return ()
        faults = tuple(f for f in faults if f.kind != FaultKind.MISSED_BROADCAST)
        stuck = [self._start_utc_us + round(f.from_s * 1e6) for f in faults if f.kind == FaultKind.STUCK]
        answer = say(max(stuck, default=None))
        if answer is None:
            return ()
        self._asked[station.id] = n + 1
        for fault in faults:
            self._count_fault(fault.kind)
        rng = random.Random(f"spoil/{self._scenario.seed}/{station.id}/{n}")
        return self._spoiled(answer, request, faults, pause_us, rng)

    def _spoiled(
        self, answer: bytes, request: bytes, faults: Sequence[Fault], pause_us: int, rng: random.Random
    ) -> tuple[Part, ...]:
        """What is sent in place of a sound answer."""
        return spoil(answer, request, faults, self._framing, pause_us, rng)

    def _count_fault(self, kind: FaultKind) -> None:
        self.counts.faults[kind] = self.counts.faults.get(kind, 0) + 1

    def _send(self, parts: Sequence[Part], from_us: float) -> None:
        """Schedule parts after what is already being sent; a chunk arrives when its last character has passed."""
        at = from_us
        for part in parts:
            at += part.pause_us
            character_us = self._character_at(part.baud)
            for n in range(0, len(part.data), self._timing.chunk):
                data = part.data[n : n + self._timing.chunk]
                at += len(data) * character_us
                self._sending.append(Chunk(at, data, character_us, part.baud))
        if len(self._sending) > 1:
            self._sending = deque(sorted(self._sending, key=lambda chunk: chunk.end))

    def _character_at(self, baud: int) -> float:  # noqa: ARG002 - this line has one rate
        return self._timing.character_us
