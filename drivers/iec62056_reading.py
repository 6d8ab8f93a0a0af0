"""Reading a meter by IEC 62056-21 over a line: sign-on, identification, option select, data readout. Pure.

Mode C: the meter names its rate in the identification, the option select is answered at that rate. Modes A and B: the
data follow the identification unasked, in mode B at the rate that it names. Blocks that end with EOT are acknowledged
and followed by the next. Every message but the last is an answer with ``more``. A readout ends by itself, and with it
the session.

Where a meter's readout lacks a value, its registers may be read one by one (R1 or R5, no password) in the programming
mode of mode C; B0 ends that, which nobody answers. Nothing is ever written.

``Pace`` tells the line at which rate a request goes out and at which its answer comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from drivers import iec62056
from drivers.codec import Answer, Exchange, LocalProtocolError, Mismatch, MismatchReason, Onward, Said, own
from drivers.iec62056 import Frame, Kind
from drivers.points import Query

HIGHEST_BAUD = 9600
"""What optical heads and converters pass without fail; a meter that offers more is read at the first rate."""
LONGEST = 16_384
"""Characters of one block of a readout, at most."""
MOST_BLOCKS = 64
FIRST_BAUD, FRAMING = 300, "7E1"
REACTION_S, PAUSE_S, IDLE_S = 1.5, 0.2, 1.5
"""The standard's times: a meter answers after 0.2 s (or 0.02 s) to 1.5 s, and so do we; its characters come within
1.5 s of each other. A meter that takes longer has it in its ``timeout``: the longer of the two holds."""
TURN_S = 0.010
"""Between the last character of an option select and the port's other rate: half of the shortest reaction time."""
PACKET = 512
"""Characters that a TCP converter keeps until the line falls silent: the first is heard when they all have passed."""
_ENTERED = -1  # an answer's sequence: the programming mode is entered
_IDENTIFICATION = 32  # characters of an identification, about


class Stage(StrEnum):
    """Where a session stands."""

    SIGN_ON = "sign-on"
    SELECT = "select"  # the option select; answered by data
    LISTEN = "listen"  # modes A and B: data come by themselves
    NEXT = "next"  # a block acknowledged
    READ = "read"  # one register, in the programming mode
    BREAK = "break"  # B0, which ends that mode; not answered


class Rates(StrEnum):
    """Which rates a line can keep."""

    CHANGING = "changing"  # 300 baud, then what the meter offers
    LOW = "low"  # 300 baud throughout
    FIXED = "fixed"  # as the line is set; the meter's offer is accepted in words


@dataclass(frozen=True, slots=True)
class Pace:
    """How a request goes out and its answer comes. A rate of 0: as the line is set.

    ``pause_s``: silence before the request; ``reply_s``: the least time given to the answer's first character, 0 where
    nobody answers;
    ``idle_s``: the longest pause inside an answer that has begun; ``longest``: characters of one, at most.
    """

    baud: int
    answer_baud: int
    framing: str
    pause_s: float
    reply_s: float = REACTION_S
    idle_s: float = IDLE_S
    longest: int = LONGEST
    turn_s: float = TURN_S


@dataclass(frozen=True, slots=True)
class Times:
    """A meter's times, where they are others than the standard's.

    ``pause_s``: our own reaction time; ``reply_s``: the meter's, at most; ``idle_s``: between two of its characters, at
    most; ``turn_s``: after our last character has left, before the rate is changed.
    """

    pause_s: float = PAUSE_S
    reply_s: float = REACTION_S
    idle_s: float = IDLE_S
    turn_s: float = TURN_S


STANDARD = Times()


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a session; ``offer`` is the meter's baud character, ``part`` the block that is waited for.

    ``registers``: read one by one with ``command``, ``part`` is then the one whose turn it is, from 1.
    """

    address: str
    rates: Rates = Rates.CHANGING
    stage: Stage = Stage.SIGN_ON
    offer: str = ""
    part: int = 0
    times: Times = STANDARD
    command: str = ""
    registers: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The baud character of the option select."""
        if self.rates is Rates.FIXED:
            return self.offer
        low = self.rates is Rates.LOW or iec62056.BAUD_C.get(self.offer, 0) > HIGHEST_BAUD
        return "0" if low else self.offer

    @property
    def data_baud(self) -> int:
        """The rate of the data."""
        if self.offer in iec62056.BAUD_C:
            return iec62056.BAUD_C[self.option]
        return iec62056.BAUD_B.get(self.offer, FIRST_BAUD)


def pace(request: Request) -> Pace:
    """The rates, pauses and times of one message."""
    times = request.times
    pause_s = 0.0 if request.stage is Stage.SIGN_ON else times.pause_s
    reply_s = times.reply_s
    if request.rates is not Rates.CHANGING:
        awaited = _IDENTIFICATION if request.stage is Stage.SIGN_ON else PACKET
        reply_s += 10 * (len(encode(request)) + awaited) / FIRST_BAUD
    if request.rates is Rates.FIXED:
        reply_s = 0.0 if request.stage is Stage.BREAK else reply_s
        return Pace(0, 0, "", pause_s, reply_s, times.idle_s)
    if request.stage is Stage.BREAK:
        reply_s = 0.0
    first = FIRST_BAUD if request.stage in (Stage.SIGN_ON, Stage.SELECT) else request.data_baud
    after = FIRST_BAUD if request.stage is Stage.SIGN_ON else request.data_baud
    return Pace(first, after, FRAMING, pause_s, reply_s, times.idle_s, turn_s=times.turn_s)


def encode(request: Request) -> bytes:
    """The bytes of a message; none where one only listens."""
    if request.stage is Stage.SIGN_ON:
        return iec62056.sign_on(request.address)
    if request.stage is Stage.SELECT:
        return iec62056.select(request.option, programming=bool(request.registers))
    if request.stage is Stage.READ:
        return iec62056.command(request.command, f"{request.registers[request.part - 1]}()")
    if request.stage is Stage.BREAK:
        return iec62056.command("B0")
    return b"\x06" if request.stage is Stage.NEXT else b""


def match(request: Request, frame: Frame) -> Answer | Mismatch | Onward:
    """The identification answers a sign-on, data all the rest. The data do not say whose they are: the session does."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    if not frame.from_meter:
        echo = frame.raw == encode(request)
        return no(MismatchReason.ECHO if echo else MismatchReason.FUNCTION, f"{frame.kind} is no answer")
    if request.stage is Stage.SIGN_ON:
        who = frame.identification
        if who is None:
            return no(MismatchReason.FUNCTION, f"an identification was expected, not {frame.kind}")
        if who.mode != "C":
            onward = replace(request, stage=Stage.LISTEN, offer=who.baud_character, part=1)
            return Onward(frame.raw, onward)
        return Answer(who.baud_character, b"", frame.raw, request.address, more=True)
    if request.registers and request.stage is Stage.SELECT:
        if frame.command != "P0":
            return no(MismatchReason.FUNCTION, f"the programming mode was asked for, {frame.kind} came")
        return Answer(request.offer, b"", frame.raw, request.address, more=True, sequence=_ENTERED)
    if frame.kind is not Kind.DATA:
        return no(MismatchReason.FUNCTION, f"data were expected, not {frame.kind}")
    if request.stage is Stage.READ:
        return _register(request, frame)
    return Answer(
        request.offer,
        frame.text.encode("latin-1"),
        frame.raw,
        request.address,
        frame.error,
        more=frame.more,
        sequence=request.part,
    )


def _register(request: Request, frame: Frame) -> Answer | Mismatch:
    """The value of the register whose turn it is; the meter may leave its code out, but tell no other."""
    code, text = request.registers[request.part - 1], frame.text.strip()
    told = iec62056.data_sets(text)
    if frame.more or (len(told) != 1 and not frame.error):
        return Mismatch(MismatchReason.LENGTH, frame.raw, f"{code}: {len(told)} values came")
    if not frame.error and told[0].address and _short(told[0].address) != _short(code):
        return Mismatch(MismatchReason.ITEM, frame.raw, f"asked {code}, got {told[0].address}")
    value = f"{told[0].value}*{told[0].unit}".rstrip("*") if not frame.error else text.strip("()")
    return Answer(
        request.offer,
        f"{code}({value})\r\n".encode("latin-1"),
        frame.raw,
        request.address,
        more=request.part < len(request.registers),
        sequence=request.part,
    )


def _short(code: str) -> str:
    """A code without its value groups A, B and F."""
    return code.rpartition(":")[2].partition("*")[0]


def ending(request: Request, exchanges: Sequence[Exchange]) -> Request | None:
    """The break that ends a session in which the programming mode was asked for; None if it was not."""
    if not request.registers:
        return None
    for n, exchange in reversed(tuple(enumerate(exchanges))):
        if exchange.request != encode(replace(request, stage=Stage.SIGN_ON)):
            continue
        frames = iec62056.Decoder().feed(exchange.answer)
        who = next((f.identification for f in frames if isinstance(f, Frame) and f.identification), None)
        if who is None or who.mode != "C" or n + 1 == len(exchanges):
            return None
        return replace(request, stage=Stage.BREAK, offer=who.baud_character)
    return None


def follow(request: Request, answer: Answer) -> Request | None:
    """The option select after an identification, the acknowledge after a block that others follow.

    LocalProtocolError for a readout without an end.
    """
    if not answer.more:
        return None
    if answer.sequence == 0:
        return replace(request, stage=Stage.SELECT, offer=answer.item, part=1)
    if request.registers and answer.sequence < len(request.registers):
        part = 1 if answer.sequence == _ENTERED else answer.sequence + 1
        return replace(request, stage=Stage.READ, offer=answer.item, part=part)
    if answer.sequence >= MOST_BLOCKS:
        raise LocalProtocolError(f"the meter has sent {MOST_BLOCKS} blocks and still more follow")
    return replace(request, stage=Stage.NEXT, offer=answer.item, part=answer.sequence + 1)


def join(answers: Sequence[Answer]) -> Answer:
    """The readout: the text of all blocks. LocalProtocolError if one is missing."""
    told = [answer for answer in answers if answer.sequence > 0]
    if not told or [a.sequence for a in told] != list(range(1, len(told) + 1)):
        raise LocalProtocolError("the blocks of a readout are not complete and in order")
    payload = b"".join(answer.payload for answer in told)
    return replace(told[-1], payload=payload, raw=b"".join(answer.raw for answer in answers))


def request_of(frame: Frame) -> Request | None:
    """The request that a sign-on carries; None of any other message."""
    return Request(frame.address) if frame.kind is Kind.SIGN_ON else None


@dataclass(frozen=True, slots=True)
class Iec62056:
    """IEC 62056-21 modes A, B and C; it only reads. A reading is a session: sign-on, option select, readout."""

    name: str
    rates: Rates
    times: Times = STANDARD

    def address(self, text: str) -> str:
        """Up to 32 letters, digits or spaces; empty for the only meter of a line."""
        return iec62056.address(text)

    def request(self, address: str, query: Query) -> Request:
        """The sign-on; its answer, the identification, has ``more``."""
        if query.protocol != "iec62056-21":
            raise LocalProtocolError(f"a {query.protocol} query cannot be asked by {self.name}")
        registers = tuple(point.item for point in query.points) if query.item else ()
        return Request(
            self.address(address), self.rates, times=self.times, command=query.item, registers=registers
        )

    def encode(self, request: object) -> bytes:
        """Sign-on, option select or acknowledge."""
        return encode(own(request, Request, "an IEC 62056-21 request"))

    def decoder(self) -> iec62056.Decoder:
        """All messages."""
        return iec62056.Decoder()

    def match(self, request: object, frame: object) -> Answer | Mismatch | Onward:
        """By direction and kind."""
        return match(
            own(request, Request, "an IEC 62056-21 request"), own(frame, Frame, "an IEC 62056-21 message")
        )

    def numbered(self, request: Said, n: int) -> Said:  # noqa: ARG002 - the protocol has no numbers
        """Unchanged."""
        return request

    def expected_length(self, request: object) -> int | None:  # noqa: ARG002
        """The meter's affair."""
        return None

    def follow(self, request: object, answer: Answer) -> Request | None:
        """Option select, then an acknowledge for each block that others follow."""
        return follow(own(request, Request, "an IEC 62056-21 request"), answer)

    def join(self, answers: Sequence[Answer]) -> Answer:
        """Checked for order."""
        return join(answers)
