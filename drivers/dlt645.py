"""DL/T 645-2007 and DL/T 645-1997: frames, requests, answers. Pure: no socket, no clock, no float.

A frame (2007 clause 5; 1997 has the same framing with a two-byte DI and the functions 01, 02, 04)::

    FE FE FE FE  68  12 90 78 56 34 12  68  91  08  33 33 34 33 89 67 45 33  54  16
    preamble     |   address, low first |   |   |   data: each byte + 33     CS  end
                 start              start  C   L    DI 00010000, 1234.56 kWh

* ``CS`` is the sum mod 256 from the first 68 to the end of the data. 68, 16 and FE may stand anywhere inside.
* The decoder looks for 68, another 68 seven bytes on, a possible length, ``16`` at the end and the sum. If one fails it
  goes on from the NEXT byte, so a true frame inside the rubbish is found. Any number of FE before a frame is no noise.
* C: D7 direction (1 = from the meter), D6 error, D5 more frames follow, D4..D0 function.

Reading a value: request 11 (DI) -> 91 (DI, data), or B1 (DI, data, more) -> 12 (DI, SEQ) -> 92/B2 (DI, data, SEQ) …,
or D1 (error word). ``match`` accepts an answer only if address, function, DI and SEQ are those of the request.
A sum mod 256 misses one error in 256 that changes two bytes; it finds every change of a single byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, RejectReason
from drivers.stream import Refusal, Stream

READ, FOLLOW, READ_ADDRESS = 0x11, 0x12, 0x13
READ_1997, FOLLOW_1997 = 0x01, 0x02
SET_TIME, WRITE, WRITE_ADDRESS, FREEZE = 0x08, 0x14, 0x15, 0x16
WILDCARD = "A" * 12
BROADCAST = "9" * 12
LONGEST_DATA = 200  # clause 5.2.5: L <= 200 when reading
READING = frozenset((READ, FOLLOW, READ_ADDRESS, READ_1997, FOLLOW_1997))

FUNCTIONS = {
    0x01: "read (1997)",
    0x02: "read following data (1997)",
    0x03: "read again (1997) or security (2007)",
    0x04: "write (1997)",
    0x08: "broadcast time",
    0x0A: "write address (1997)",
    0x0C: "change baud rate (1997)",
    0x0F: "change password (1997)",
    0x10: "clear demand (1997)",
    0x11: "read",
    0x12: "read following data",
    0x13: "read address",
    0x14: "write",
    0x15: "write address",
    0x16: "freeze",
    0x17: "change baud rate",
    0x18: "change password",
    0x19: "clear maximum demand",
    0x1A: "clear meter",
    0x1B: "clear events",
    0x1C: "control",
    0x1D: "terminal output",
}
_OLD = frozenset((0x01, 0x02, 0x03, 0x04, 0x0A, 0x0C, 0x0F, 0x10))

ERRORS_2007 = (
    "other error",
    "no requested data",
    "wrong password or not authorised",
    "baud rate cannot be changed",
    "too many year zones",
    "too many day periods",
    "too many tariffs",
    "reserved bit 7",
)
ERRORS_1997 = (
    "illegal data",
    "wrong data identifier",
    "wrong password",
    "reserved bit 3",
    "too many year zones",
    "too many day periods",
    "too many tariffs",
    "reserved bit 7",
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one meter. ``address``: 12 digits as printed on the meter, ``A`` where any digit will do.

    ``item`` is the DI, high byte first (8 or 4 hex digits); ``sequence`` that of a follow request; ``payload`` what
    comes after the DI (a block's parameters, or the data of a write).
    """

    address: str
    function: int = READ
    item: str = ""
    sequence: int | None = None
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame: ``offset`` of its first 68 in the stream, ``raw`` from 68 to 16, ``data`` with 33 taken off."""

    offset: int
    raw: bytes
    address: str
    control: int
    data: bytes

    @property
    def from_meter(self) -> bool:
        """D7: the frame comes from the meter."""
        return bool(self.control & 0x80)

    @property
    def failed(self) -> bool:
        """D6: the meter refuses."""
        return bool(self.control & 0x40)

    @property
    def more(self) -> bool:
        """D5: further frames follow."""
        return bool(self.control & 0x20)

    @property
    def function(self) -> int:
        """D4..D0."""
        return self.control & 0x1F

    @property
    def old(self) -> bool:
        """A function of DL/T 645-1997 (two-byte DI)."""
        return self.function in _OLD

    @property
    def item(self) -> str:
        """The DI that the frame names, or empty."""
        if self.failed or self.function not in (READ, FOLLOW, WRITE, READ_1997, FOLLOW_1997, 0x04):
            return ""
        size = 2 if self.old else 4
        return self.data[:size][::-1].hex().upper() if len(self.data) >= size else ""

    @property
    def sequence(self) -> int | None:
        """SEQ of a 2007 follow request or answer."""
        if self.function != FOLLOW or self.failed or len(self.data) < 5:
            return None
        return self.data[-1]

    @property
    def payload(self) -> bytes:
        """What comes after the DI, without SEQ; the whole data where there is no DI."""
        if not self.item:
            return self.data
        rest = self.data[len(self.item) // 2 :]
        return rest[:-1] if self.sequence is not None else rest

    @property
    def error(self) -> str:
        """The error word in words, every bit that is set named; empty if the frame is no error answer."""
        return error_text(self.data, self.function) if self.failed else ""


def error_text(data: bytes, function: int) -> str:
    """An error word in words: ``0x06: no requested data; wrong password or not authorised``."""
    if len(data) != 1:
        what = FUNCTIONS.get(function, f"unknown function {function:02X}")
        return f"error answer to {what} with {len(data)} bytes of data: {data.hex(' ').upper()}".rstrip(": ")
    names = ERRORS_1997 if function in _OLD else ERRORS_2007
    said = "; ".join(name for bit, name in enumerate(names) if data[0] >> bit & 1)
    return f"0x{data[0]:02X}: {said or 'no bit set'}"


def address(text: str) -> str:
    """The 12 digits of a meter address as printed, shorter ones padded with zeros on the left.

    ``A`` stands for any digit; a short address on a line is asked with the A's in front (``AAAAAA123456``).
    """
    digits = text.strip().upper()
    if not digits or len(digits) > 12 or not set(digits) <= set("0123456789A"):
        raise ValueError(f"{text!r} is no DL/T 645 address: up to 12 decimal digits as printed on the meter")
    if "A" in digits.lstrip("A"):
        raise ValueError(f"{text!r}: the wildcard A may only replace leading digits")
    return digits.rjust(12, "0")


def encode(request: Request, *, writes: bool = False, preamble: int = 4) -> bytes:
    """The bytes of a request: ``preamble`` FE bytes, then the frame (2007 clause 5.2).

    Raises LocalProtocolError for a function that changes the meter (anything but reading) unless ``writes``.
    """
    if request.function not in READING and not writes:
        what = FUNCTIONS.get(request.function, f"function {request.function:02X}")
        raise LocalProtocolError(
            f"{what} changes the meter; this product only reads unless writing is enabled"
        )
    data = bytes.fromhex(request.item)[::-1] + request.payload
    if request.sequence is not None:
        data += bytes((request.sequence,))
    wanted = {READ: 8, FOLLOW: 8, READ_1997: 4, FOLLOW_1997: 4}.get(request.function)
    if wanted is not None and len(request.item) != wanted:
        raise LocalProtocolError(
            f"function {request.function:02X} asks for a DI of {wanted} hex digits, not {request.item!r}"
        )
    return b"\xfe" * preamble + build(request.address, request.function, data)


def build(address_text: str, control: int, data: bytes) -> bytes:
    """A frame from its parts, without preamble: either side's. ``data`` is plain; 33 is added here."""
    if len(address_text) != 12 or len(data) > LONGEST_DATA or not 0 <= control <= 0xFF:
        raise LocalProtocolError(
            f"no frame: address {address_text!r}, control {control}, {len(data)} bytes of data"
        )
    head = b"\x68" + bytes.fromhex(address_text)[::-1] + b"\x68" + bytes((control, len(data)))
    body = head + bytes((byte + 0x33) & 0xFF for byte in data)
    return body + bytes((sum(body) & 0xFF, 0x16))


class Decoder(Stream[Frame]):
    """The frames of one line, of both editions."""

    _start = b"\x68"
    _preamble = b"\xfe"

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        if left > 7 and held[at + 7] != 0x68:
            return RejectReason.NOISE, 1, ""
        if left > 9 and held[at + 9] > LONGEST_DATA:
            return RejectReason.LENGTH, 10, f"length {held[at + 9]} is above {LONGEST_DATA}"
        size = 12 + held[at + 9] if left > 9 else 12
        if left < size:
            if not final:
                return None
            if left < 8:
                return RejectReason.NOISE, 1, ""
            return RejectReason.TRUNCATED, left, "the stream ends inside the frame"
        raw = bytes(held[at : at + size])
        if raw[-1] != 0x16:
            return RejectReason.END_BYTE, size, f"{raw[-1]:02X} stands where 16 should"
        total = sum(raw[:-2]) & 0xFF
        if total != raw[-2]:
            return RejectReason.CHECKSUM, size, f"sum is {total:02X}, frame says {raw[-2]:02X}"
        data = bytes((byte - 0x33) & 0xFF for byte in raw[10:-2])
        return Frame(self._offset + at, raw, raw[1:7][::-1].hex().upper(), raw[8], data)


def decoder() -> Decoder:
    """A fresh decoder for one line."""
    return Decoder()


def request_of(frame: Frame) -> Request | None:
    """The request that a frame carries, as a meter reads it; None if it comes from a meter."""
    if frame.from_meter:
        return None
    return Request(frame.address, frame.function, frame.item, frame.sequence, frame.payload)


def answer(request: Request, payload: bytes, *, address_text: str = "", more: bool = False) -> bytes:
    """A meter's answer to ``request`` (no preamble): DI echoed, SEQ appended to a follow answer."""
    data = bytes.fromhex(request.item)[::-1] + payload
    if request.sequence is not None and request.function == FOLLOW:
        data += bytes((request.sequence,))
    return build(address_text or request.address, request.function | 0x80 | (0x20 if more else 0), data)


def refusal(request: Request, error_word: int, *, address_text: str = "") -> bytes:
    """A meter's error answer."""
    return build(address_text or request.address, request.function | 0xC0, bytes((error_word,)))


def addressed(asked: str, frame_address: str) -> bool:
    """Whether ``frame_address`` is one that ``asked`` names: digit by digit, A in ``asked`` for any."""
    return len(asked) == len(frame_address) and all(
        a in ("A", f) for a, f in zip(asked, frame_address, strict=True)
    )


def match(request: Request, frame: Frame) -> Answer | Mismatch:
    """Accept ``frame`` as the answer to ``request`` only if direction, address, function, DI and SEQ agree."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    if not frame.from_meter:
        if frame.raw == encode(request, writes=True, preamble=0):
            return no(MismatchReason.ECHO, "our own request, heard back")
        return no(MismatchReason.FUNCTION, f"control {frame.control:02X} is a request of another master")
    if not addressed(request.address, frame.address):
        return no(MismatchReason.ADDRESS, f"asked {request.address}, {frame.address} answered")
    if frame.function != request.function:
        return no(
            MismatchReason.FUNCTION, f"asked function {request.function:02X}, got control {frame.control:02X}"
        )
    if frame.failed:
        code = frame.data[0] if len(frame.data) == 1 else None
        return Answer(request.item, b"", frame.raw, frame.address, frame.error, code)
    if request.function == READ_ADDRESS:
        if len(frame.data) != 6:
            return no(MismatchReason.LENGTH, f"an address has 6 bytes, {len(frame.data)} came")
        if not addressed(frame.address, frame.data[::-1].hex().upper()):
            return no(MismatchReason.ADDRESS, "the frame's address and the address it tells differ")
        return Answer("address", frame.data, frame.raw, frame.address)
    size = len(request.item) // 2
    if len(frame.data) < size:
        return no(MismatchReason.LENGTH, f"{len(frame.data)} bytes hold no DI")
    echoed = frame.data[:size][::-1].hex().upper()
    if echoed != request.item:
        return no(MismatchReason.ITEM, f"asked {request.item}, got {echoed}")
    rest = frame.data[size:]
    if request.function == FOLLOW:
        if not rest:
            return no(MismatchReason.LENGTH, "a follow answer without SEQ")
        if rest[-1] != request.sequence:
            return no(MismatchReason.SEQUENCE, f"asked SEQ {request.sequence}, got {rest[-1]}")
        rest = rest[:-1]
    sequence = request.sequence or 0
    return Answer(request.item, rest, frame.raw, frame.address, more=frame.more, sequence=sequence)


def follow(request: Request, answer_before: Answer) -> Request:
    """The request for what follows an answer with ``more``: C = 12 with SEQ 1, 2 … 255; C = 02 in 1997."""
    if request.function in (READ_1997, FOLLOW_1997):
        return replace(request, function=FOLLOW_1997, sequence=None, payload=b"")
    sequence = answer_before.sequence + 1
    if sequence > 255:
        raise LocalProtocolError(f"{request.item}: more than 255 following frames")
    return replace(request, function=FOLLOW, sequence=sequence, payload=b"")


def join(answers: Sequence[Answer]) -> Answer:
    """One answer out of the first and its followers, in order; LocalProtocolError if they do not belong together."""
    if not answers:
        raise LocalProtocolError("no answers to join")
    first, last = answers[0], answers[-1]
    for n, part in enumerate(answers):
        if part.error:
            raise LocalProtocolError(f"{first.item}: a part is an error answer: {part.error}")
        if part.item != first.item or part.address != first.address or part.more != (part is not last):
            raise LocalProtocolError(f"{first.item}: the parts do not belong together")
        if part.sequence not in (n, 0) or (part.sequence == 0 and n and first.item and len(first.item) == 8):
            raise LocalProtocolError(f"{first.item}: part {n} has SEQ {part.sequence}")
    payload = b"".join(part.payload for part in answers)
    return replace(first, payload=payload, raw=b"".join(part.raw for part in answers), more=False)
