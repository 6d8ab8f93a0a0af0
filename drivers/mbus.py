"""M-Bus link layer (EN 13757-2): one character, short and long frames, primary and secondary addressing. Pure.

::

    E5                               acknowledge
    10 C A CS 16                     short: SND_NKE, REQ_UD1, REQ_UD2
    68 L L 68 C A CI data CS 16      long and control; L counts C to the end of data, CS sums the same

* FCB toggles with each new request of one slave and stays in a repetition; ``drivers.mbus_reading`` goes by it.
* A slave chosen by its identity is addressed as FD (253); FE is the test address that everybody answers, FF nobody.
* An E5 within bytes already refused is no acknowledge: one byte proves nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from drivers import mbus_records
from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, RejectReason
from drivers.mbus_records import Malformed, Telegram
from drivers.stream import Refusal, Stream

ACKNOWLEDGE = 0xE5
SND_NKE, SND_UD, REQ_UD2, REQ_UD1, RSP_UD = 0x40, 0x53, 0x5B, 0x5A, 0x08
FCB, FCV, PRIMARY = 0x20, 0x10, 0x40
SELECTED, TEST, BROADCAST = 0xFD, 0xFE, 0xFF
MOST_TELEGRAMS = 32
"""Telegrams of one reading; a slave that promises more and more is not asked for ever."""
CONTROLS = {
    0x40: "SND_NKE: reset the link",
    0x53: "SND_UD: send data",
    0x5B: "REQ_UD2: read data",
    0x5A: "REQ_UD1: read alarms",
    0x08: "RSP_UD: data",
}
CI_NAMES = {
    0x50: "application reset",
    0x51: "data send",
    0x52: "selection of slaves",
    0x54: "synchronise",
    0x55: "data send (high byte first)",
    0x56: "selection of slaves (high byte first)",
    0x70: "application error",
    0x71: "alarm status",
    0x72: "variable data",
    0x73: "fixed data",
    0x76: "variable data (high byte first)",
    0x77: "fixed data (high byte first)",
    0x78: "variable data without header",
    0x7A: "variable data, short header",
    0xB8: "set 300 baud",
    0xB9: "set 600 baud",
    0xBA: "set 1200 baud",
    0xBB: "set 2400 baud",
    0xBC: "set 4800 baud",
    0xBD: "set 9600 baud",
    0xBE: "set 19200 baud",
    0xBF: "set 38400 baud",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame; its application data is checked by ``telegram``."""

    offset: int
    raw: bytes

    @property
    def acknowledge(self) -> bool:
        """E5."""
        return len(self.raw) == 1

    @property
    def _fields(self) -> bytes:
        return b"" if self.acknowledge else self.raw[4:-2] if self.raw[0] == 0x68 else self.raw[1:3]

    @property
    def control(self) -> int | None:
        """C; None of an acknowledge."""
        return None if self.acknowledge else self._fields[0]

    @property
    def kind(self) -> int | None:
        """C without the bits that change: FCB and FCV of a request (kept as the standard writes it), ACD and DFC."""
        if self.control is None:
            return None
        if self.control & PRIMARY:
            return self.control & ~FCB if self.control & 0x0F != 0x0 else self.control & 0x4F
        return self.control & 0x0F

    @property
    def from_slave(self) -> bool:
        """Bit 6 of C is 0."""
        return self.control is None or not self.control & PRIMARY

    @property
    def unit(self) -> int | None:
        """A."""
        return None if self.acknowledge else self._fields[1]

    @property
    def address(self) -> str:
        """A in decimal; of an acknowledge, which has none, empty."""
        return "" if self.unit is None else str(self.unit)

    @property
    def ci(self) -> int | None:
        """CI of a long frame."""
        return self._fields[2] if len(self._fields) > 2 else None

    @property
    def data(self) -> bytes:
        """What follows CI."""
        return self._fields[3:]

    def telegram(self) -> Telegram | None:
        """The application layer of an answer, None if there is none to read. Malformed if it is broken."""
        if self.ci is None or not self.from_slave:
            return None
        return mbus_records.decode(self.ci, self.data)


class Decoder(Stream[Frame]):
    """The frames of one line."""

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        first, left = held[at], len(held) - at
        if first == ACKNOWLEDGE:
            if self._offset + at < self._told:
                return RejectReason.NOISE, 1, ""
            return Frame(self._offset + at, b"\xe5")
        if first == 0x10:
            return self._short(held, at, left, final)
        if first == 0x68:
            return self._long(held, at, left, final)
        return RejectReason.NOISE, 1, ""

    def _short(self, held: memoryview, at: int, left: int, final: bool) -> Frame | Refusal | None:
        if left > 1 and held[at + 1] & 0x8F not in (0x00, 0x08, 0x09, 0x0A, 0x0B):
            return RejectReason.NOISE, 1, ""
        if left < 5:
            return (RejectReason.TRUNCATED, left, "the stream ends inside the frame") if final else None
        raw = bytes(held[at : at + 5])
        if raw[4] != 0x16:
            return RejectReason.END_BYTE, 5, f"{raw[4]:02X} stands where 16 should"
        if sum(raw[1:3]) & 0xFF != raw[3]:
            return RejectReason.CHECKSUM, 5, f"sum is {sum(raw[1:3]) & 0xFF:02X}, frame says {raw[3]:02X}"
        return Frame(self._offset + at, raw)

    def _long(self, held: memoryview, at: int, left: int, final: bool) -> Frame | Refusal | None:
        if left > 3 and (held[at + 3] != 0x68 or held[at + 1] != held[at + 2]):
            if held[at + 3] == 0x68:
                return RejectReason.LENGTH, 4, f"lengths {held[at + 1]} and {held[at + 2]} differ"
            return RejectReason.NOISE, 1, ""
        if left > 3 and held[at + 1] < 3:
            return RejectReason.LENGTH, min(left, 6), f"length {held[at + 1]} is below 3"
        size = held[at + 1] + 6 if left > 3 else 9
        if left < size:
            return (RejectReason.TRUNCATED, left, "the stream ends inside the frame") if final else None
        raw = bytes(held[at : at + size])
        if raw[-1] != 0x16:
            return RejectReason.END_BYTE, size, f"{raw[-1]:02X} stands where 16 should"
        total = sum(raw[4:-2]) & 0xFF
        if total != raw[-2]:
            return RejectReason.CHECKSUM, size, f"sum is {total:02X}, frame says {raw[-2]:02X}"
        return Frame(self._offset + at, raw)


# ---- the master's side --------------------------------------------------------------------------------------------


def short(control: int, unit: int) -> bytes:
    """A short frame."""
    return bytes((0x10, control, unit, control + unit & 0xFF, 0x16))


def long(control: int, unit: int, ci: int, data: bytes = b"") -> bytes:
    """A long (or, without data, control) frame: either side's."""
    if len(data) > 252:
        raise LocalProtocolError(f"{len(data)} bytes do not fit one M-Bus frame (252 do)")
    body = bytes((control, unit, ci)) + data
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


def address(text: str) -> str:
    """A primary address ``0``..``250``, or a secondary one: 8 digits (F: any), 8 hex digits of the rest if known."""
    stripped = text.strip().upper()
    if stripped.isdecimal() and len(stripped) <= 3:
        if int(stripped) <= 250:
            return str(int(stripped))
    elif len(stripped) in (8, 16) and not set(stripped) - set("0123456789ABCDEF"):
        return stripped.ljust(16, "F")
    raise ValueError(
        f"{text!r} is no M-Bus address: 0 to 250, or the 8 digits of the identity "
        "(optionally with 8 hex digits: manufacturer, version and medium; F stands for any)"
    )


def select(secondary: str) -> bytes:
    """Choose the slave with a secondary address (``address``'s 16 digits); it acknowledges and then answers to FD."""
    digits = address(secondary)
    if len(digits) != 16:
        raise LocalProtocolError(f"{secondary!r} is no secondary address")
    raw = bytes.fromhex(digits)
    rest = raw[4:6][::-1] + raw[6:8]
    return long(SND_UD, SELECTED, 0x52, raw[3::-1] + rest)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to ``unit``; ``secondary``: the slave's identity, if it is selected by that (then ``unit`` is FD).

    ``part``: which telegram of a reading is asked for, from 1; 0 is what opens the reading (SND_NKE, selection).
    """

    unit: int
    control: int = REQ_UD2
    secondary: str = ""
    part: int = 0

    @property
    def address(self) -> str:
        """The slave's address as ``address`` writes it."""
        return self.secondary or str(self.unit)


def opening(text: str) -> Request:
    """What begins the reading of a slave: SND_NKE to a primary address, the selection of a secondary one.

    Either sets the slave's frame count to its beginning, if the slave hears it.
    """
    canonical = address(text)
    if len(canonical) == 16:
        return Request(SELECTED, SND_UD, canonical)
    return Request(int(canonical), SND_NKE)


def follow(request: Request, answer: Answer) -> Request | None:
    """REQ_UD2 for the telegram after ``answer``; None if none follows. The first has FCB = 1, the others toggle it.

    Asked again unchanged, it makes the slave repeat its telegram. LocalProtocolError for a reading without an end.
    """
    if not answer.more:
        return None
    part = answer.sequence + 1
    if part > MOST_TELEGRAMS:
        raise LocalProtocolError(f"the slave has sent {MOST_TELEGRAMS} telegrams and still more follow")
    return Request(request.unit, REQ_UD2 | (FCB if part % 2 else 0), request.secondary, part)


def join(answers: Sequence[Answer]) -> Answer:
    """One answer out of a reading's telegrams: of several, the payload is their frames, one after the other.

    LocalProtocolError if one is missing, or comes twice (a repetition answers nothing new).
    """
    told = [answer for answer in answers if answer.sequence]
    if not told or [a.sequence for a in told] != list(range(1, len(told) + 1)):
        raise LocalProtocolError("the telegrams of a reading are not complete and in order")
    if any(a.raw == b.raw for a, b in pairwise(told)):
        raise LocalProtocolError("a telegram came twice where the next one was asked for")
    payload = told[0].payload if len(told) == 1 else b"".join(answer.raw for answer in told)
    return replace(told[-1], payload=payload, raw=b"".join(answer.raw for answer in answers))


def request_of(frame: Frame) -> Request | None:
    """The request that a frame carries; None if it is an answer, or nothing that this product asks."""
    if frame.from_slave or frame.control is None or frame.unit is None:
        return None
    if frame.ci == 0x52 and frame.control & ~FCB == SND_UD and len(frame.data) == 8:
        data = frame.data
        chosen = (data[3::-1] + data[5:3:-1] + data[6:]).hex().upper()
        return Request(frame.unit, SND_UD, chosen)
    if frame.ci is not None or frame.control & ~FCB not in (SND_NKE, REQ_UD1, REQ_UD2):
        return None
    return Request(frame.unit, frame.control, part=int(frame.control & ~FCB == REQ_UD2))


def encode(request: Request) -> bytes:
    """The bytes of a request; LocalProtocolError for anything but selecting, resetting the link, and reading."""
    if request.control == SND_UD and request.secondary:
        return select(request.secondary)
    if request.control & ~FCB not in (SND_NKE, REQ_UD1, REQ_UD2):
        raise LocalProtocolError(f"C = {request.control:02X} is no reading; this product only reads")
    return short(request.control, request.unit)


def match(request: Request, frame: Frame) -> Answer | Mismatch:
    """Accept ``frame`` only if it comes from the slave that was asked and is of the kind that was asked for."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    if not frame.from_slave:
        echo = frame.raw == encode(request)
        return no(MismatchReason.ECHO if echo else MismatchReason.FUNCTION, "a master's request")
    if request.control & ~FCB != REQ_UD2:
        if frame.acknowledge:
            return Answer("acknowledge", b"", frame.raw, request.address, more=True)
        return no(MismatchReason.FUNCTION, "an acknowledge was expected")
    if frame.acknowledge:  # one character may be noise, and the telegram comes behind it
        return no(MismatchReason.FUNCTION, "an acknowledge, and no data")
    if frame.unit != request.unit and request.unit not in (SELECTED, TEST):
        return no(MismatchReason.ADDRESS, f"asked {request.unit}, {frame.unit} answered")
    if frame.kind != RSP_UD or frame.ci is None:
        return no(MismatchReason.FUNCTION, f"C = {frame.control:02X} is no data")
    try:
        telegram = frame.telegram()
    except Malformed as problem:
        return no(MismatchReason.LENGTH, str(problem))
    if telegram is None:
        return no(MismatchReason.FUNCTION, f"CI = {frame.ci:02X} carries no readings")
    if request.secondary:
        asked = address(request.secondary)[:8]
        if not telegram.header.identity:
            return no(MismatchReason.ADDRESS, "the telegram does not say who sent it")
        if not all(a in ("F", b) for a, b in zip(asked, telegram.header.identity, strict=True)):
            return no(MismatchReason.ADDRESS, f"selected {asked}, {telegram.header.identity} answered")
    payload = bytes((frame.ci,)) + frame.data
    return Answer(
        "", payload, frame.raw, frame.address, telegram.error, more=telegram.more, sequence=request.part
    )
