"""Modbus: RTU, TCP (MBAP) and ASCII framing around one PDU code. Pure: no socket, no clock, no float.

::

    RTU    01 04 04 43 C9 AA 46 C1 6C                unit, function, byte count, data, CRC (low byte first)
    TCP    0C 05 00 00 00 07 11 03 04 00 8D 00 8E    transaction, protocol 0, length, unit, PDU
    ASCII  :010300000001FB CR LF                     hex of unit and PDU, LRC

RTU has no start mark and no length, and converters destroy its pauses, so frames are found by *expected length*: the
function tells how long a request and an answer would be, the CRC decides which of them stands there. If neither does,
the decoder goes on from the NEXT byte. Requests are tried before answers; where both have the same bytes (a write and
its echo, three bytes of coils), what went before decides.

``match`` compares unit, function, byte count and transaction with the request: a late answer is a mismatch, not a
value. (Two RTU answers of equal length to different addresses cannot be told apart by anybody: the bus must drain the
line after a time-out.) Sources: Modbus Application Protocol V1.1b3; Modbus over Serial Line V1.02.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drivers.codec import Answer, LocalProtocolError, Mismatch, MismatchReason, RejectReason
from drivers.modbus_pdu import EXCEPTIONS, FUNCTIONS, MOST, READING, UNKNOWN, WAIT, Direction, size_of
from drivers.stream import Refusal, Stream

__all__ = [
    "EXCEPTIONS",
    "FUNCTIONS",
    "MOST",
    "READING",
    "AsciiDecoder",
    "Direction",
    "Frame",
    "Framing",
    "Request",
    "RtuDecoder",
    "TcpDecoder",
    "address",
    "answer",
    "crc",
    "decoder",
    "encode",
    "exception_text",
    "expected_length",
    "lrc",
    "match",
    "numbered",
    "plain_answer",
    "refusal",
    "request_of",
    "wrap",
]

Framing = Literal["rtu", "tcp", "ascii"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: ``address`` is the unit 0..247 (255 on TCP); ``start`` 0-based; ``count`` registers or coils.

    ``payload`` is the data of a write (PDU after the function). ``transaction`` counts on TCP only.
    """

    address: str
    function: int
    start: int = 0
    count: int = 0
    framing: Framing = "rtu"
    transaction: int = 0
    payload: bytes = b""

    @property
    def unit(self) -> int:
        """The unit as a number."""
        return int(self.address)

    @property
    def item(self) -> str:
        """What an answer to it is about: ``3:124+2``."""
        return f"{self.function}:{self.start}+{self.count}"

    @property
    def answer_bytes(self) -> int | None:
        """Data bytes that an answer carries; None where the request does not say."""
        if self.function in (3, 4, 23):
            return 2 * self.count
        if self.function in (1, 2):
            return (self.count + 7) // 8
        return None


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame. ``data`` is the PDU after the function code; ``direction`` empty if the bytes fit both."""

    offset: int
    raw: bytes
    unit: int
    function: int
    data: bytes
    direction: Direction = ""
    transaction: int | None = None
    framing: Framing = "rtu"

    @property
    def address(self) -> str:
        """The unit as text."""
        return str(self.unit)

    @property
    def failed(self) -> bool:
        """An exception answer."""
        return bool(self.function & 0x80)

    @property
    def error(self) -> str:
        """The exception in words, or empty."""
        return exception_text(self.data[0]) if self.failed else ""

    @property
    def values(self) -> bytes | None:
        """The data of a read answer, without its byte count; None for anything else."""
        if self.failed or self.direction == "request" or self.function not in (1, 2, 3, 4, 23):
            return None
        return self.data[1:]


def exception_text(code: int) -> str:
    """``exception 2: illegal data address``."""
    return f"exception {code}: {EXCEPTIONS.get(code, 'not in the specification')}"


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc(data: bytes | bytearray | memoryview) -> bytes:
    """CRC-16/MODBUS as it goes on the line, low byte first (serial line specification 2.5.1.2).

    >>> crc(bytes.fromhex("010300000001")).hex()
    '840a'
    """
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def lrc(data: bytes) -> int:
    """Longitudinal redundancy check of the ASCII mode: two's complement of the sum."""
    return -sum(data) & 0xFF


_ECHOING = frozenset((5, 6, 8, 21, 22))  # functions whose normal answer is the request said back


class _Talk:
    """What was asked last, to tell a request from an answer where the bytes alone do not."""

    def __init__(self) -> None:
        self._open: tuple[int, int, bytes, int | None] | None = None

    def direction(
        self, fits: list[Direction], unit: int, pdu: bytes, transaction: int | None = None
    ) -> Direction:
        """The direction of a PDU that fits those named, and remember it."""
        said: Direction = fits[0]
        if len(fits) == 2:
            said = "response" if self._answers(unit, pdu, transaction) else "request"
        self._open = (unit, pdu[0], pdu[1:], transaction) if said == "request" else None
        return said

    def _answers(self, unit: int, pdu: bytes, transaction: int | None) -> bool:
        if self._open is None:
            return False
        asked_unit, function, asked, asked_transaction = self._open
        if (asked_unit, function, asked_transaction) != (unit, pdu[0], transaction):
            return False
        if function in (1, 2):
            return (int.from_bytes(asked[2:4], "big") + 7) // 8 == pdu[1]
        return True


_BOTH: tuple[Direction, Direction] = ("request", "response")


class RtuDecoder(Stream[Frame]):
    """Frames of a serial line, or of a TCP connection to a serial converter, in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self._talk = _Talk()

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        if left < 2:
            return (RejectReason.NOISE, 1, "") if final else None
        pdu = held[at + 1 : at + 255]
        sizes = {direction: size_of(pdu, direction) for direction in _BOTH}
        complete: list[int] = []
        waiting = False
        for size in sorted(set(sizes.values())):
            if size == WAIT or (size > 0 and left < size + 3):
                waiting = True
            elif size > 0:
                end = at + 1 + size
                if crc(held[at:end]) == held[end : end + 2]:
                    fits: list[Direction] = [direction for direction in _BOTH if sizes[direction] == size]
                    body = bytes(held[at + 1 : end])
                    said = self._talk.direction(fits, held[at], body)
                    raw = bytes(held[at : end + 2])
                    return Frame(self._offset + at, raw, raw[0], body[0], body[1:], said)
                complete.append(size + 3)
        if waiting and not final:
            return None
        if complete:
            return RejectReason.CHECKSUM, max(complete), "the CRC does not fit"
        if waiting and left >= 4:
            return RejectReason.TRUNCATED, left, "the stream ends inside the frame"
        return RejectReason.NOISE, 1, ""


class TcpDecoder(Stream[Frame]):
    """Frames of a Modbus TCP connection (MBAP header: transaction, protocol 0, length, unit)."""

    def __init__(self) -> None:
        super().__init__()
        self._talk = _Talk()

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        if left < 8:
            if not final:
                return None
            if left < 6:
                return RejectReason.TRUNCATED, left, "the stream ends inside the header"
        protocol = held[at + 2] << 8 | held[at + 3]
        length = held[at + 4] << 8 | held[at + 5]
        if protocol:
            return RejectReason.HEADER, min(left, 8), f"protocol {protocol} is not Modbus"
        if not 2 <= length <= 254:
            return RejectReason.LENGTH, min(left, 8), f"length {length} is outside 2..254"
        if left < 6 + length:
            return None if not final else (RejectReason.TRUNCATED, left, "the stream ends inside the frame")
        pdu = held[at + 7 : at + 6 + length]
        fits: list[Direction] = [direction for direction in _BOTH if size_of(pdu, direction) == len(pdu)]
        if not fits:
            if all(size_of(pdu, direction) == UNKNOWN for direction in _BOTH):
                return RejectReason.UNKNOWN_FUNCTION, 6 + length, f"function {pdu[0]} is not known"
            return RejectReason.LENGTH, 6 + length, f"{len(pdu)} bytes are no PDU of function {pdu[0]}"
        raw = bytes(held[at : at + 6 + length])
        transaction = raw[0] << 8 | raw[1]
        said = self._talk.direction(fits, raw[6], raw[7:], transaction)
        return Frame(self._offset + at, raw, raw[6], raw[7], raw[8:], said, transaction, "tcp")


class AsciiDecoder(Stream[Frame]):
    """Frames of the ASCII mode: colon, hex, LRC, CR LF."""

    _start = b":"

    def __init__(self) -> None:
        super().__init__()
        self._talk = _Talk()

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        text = bytes(held[at : at + 515])
        end = next((n for n in range(1, len(text)) if text[n] not in b"0123456789ABCDEFabcdef"), len(text))
        if end == len(text) and end < 515:
            return None if not final else (RejectReason.TRUNCATED, end, "the stream ends inside the frame")
        if end < 515 and text[end : end + 2] == b"\r" and not final:
            return None
        if text[end : end + 2] != b"\r\n":
            return RejectReason.END_BYTE, end, "no CR LF after the hex digits"
        size = end + 2
        if end % 2 == 0 or end < 7:
            return RejectReason.LENGTH, size, f"{end - 1} hex digits are no frame"
        body = bytes.fromhex(text[1:end].decode("ascii"))
        if lrc(body[:-1]) != body[-1]:
            return RejectReason.CHECKSUM, size, f"LRC is {lrc(body[:-1]):02X}, frame says {body[-1]:02X}"
        pdu = memoryview(body[1:-1])
        fits: list[Direction] = [direction for direction in _BOTH if size_of(pdu, direction) == len(pdu)]
        if not fits:
            return RejectReason.LENGTH, size, f"{len(pdu)} bytes are no PDU of function {pdu[0]}"
        said = self._talk.direction(fits, body[0], bytes(pdu))
        return Frame(self._offset + at, text[:size], body[0], body[1], body[2:-1], said, None, "ascii")


def decoder(framing: Framing = "rtu") -> RtuDecoder | TcpDecoder | AsciiDecoder:
    """A fresh decoder for one line or connection."""
    if framing == "tcp":
        return TcpDecoder()
    return AsciiDecoder() if framing == "ascii" else RtuDecoder()


def address(text: str) -> str:
    """A unit number 1..247 (248..255 are met on TCP gateways), as canonical text."""
    stripped = text.strip()
    if not stripped.isascii() or not stripped.isdigit() or not 1 <= int(stripped) <= 255:
        raise ValueError(f"{text!r} is no Modbus unit: a number from 1 to 247 (255 on some TCP devices)")
    return str(int(stripped))


def _pdu(request: Request) -> bytes:
    head = bytes((request.function,))
    if request.function in READING:
        if (
            not 1 <= request.count <= MOST[request.function]
            or not 0 <= request.start <= 0x10000 - request.count
        ):
            raise LocalProtocolError(
                f"function {request.function} cannot read {request.count} from {request.start}: "
                f"1 to {MOST[request.function]} at a time, addresses 0 to 65535"
            )
        return head + request.start.to_bytes(2, "big") + request.count.to_bytes(2, "big")
    return head + request.payload


def wrap(unit: int, pdu: bytes, framing: Framing = "rtu", transaction: int = 0) -> bytes:
    """A frame around a PDU: either side's."""
    body = bytes((unit,)) + pdu
    if framing == "tcp":
        return transaction.to_bytes(2, "big") + b"\x00\x00" + len(body).to_bytes(2, "big") + body
    if framing == "ascii":
        return b":" + (body + bytes((lrc(body),))).hex().upper().encode("ascii") + b"\r\n"
    return body + crc(body)


def encode(request: Request, *, writes: bool = False) -> bytes:
    """The bytes of a request. LocalProtocolError for anything but functions 1..4 unless ``writes``."""
    if request.function not in READING and not writes:
        what = FUNCTIONS.get(request.function, f"function {request.function}")
        raise LocalProtocolError(f"{what} is no reading; this product only reads unless writing is enabled")
    return wrap(request.unit, _pdu(request), request.framing, request.transaction)


def request_of(frame: Frame) -> Request | None:
    """The request that a frame carries, as a meter reads it; None if it is an answer."""
    if frame.direction == "response" or frame.failed:
        return None
    start = count = 0
    if frame.function in (1, 2, 3, 4, 15, 16, 23):
        start, count = int.from_bytes(frame.data[:2], "big"), int.from_bytes(frame.data[2:4], "big")
    payload = b"" if frame.function in READING else frame.data
    return Request(
        frame.address, frame.function, start, count, frame.framing, frame.transaction or 0, payload
    )


def answer(request: Request, values: bytes) -> bytes:
    """A device's answer to a read request."""
    pdu = bytes((request.function, len(values))) + values
    return wrap(request.unit, pdu, request.framing, request.transaction)


def refusal(request: Request, code: int) -> bytes:
    """A device's exception answer."""
    pdu = bytes((request.function | 0x80, code))
    return wrap(request.unit, pdu, request.framing, request.transaction)


def numbered(request: Request, n: int) -> Request:
    """The same request with a transaction id (TCP only; the line framings have none)."""
    if request.framing != "tcp":
        return request
    r = request  # written out: dataclasses.replace takes three times as long, once per exchange
    return Request(r.address, r.function, r.start, r.count, r.framing, n & 0xFFFF, r.payload)


def expected_length(request: Request) -> int | None:
    """Bytes of the value answer to ``request``; None if unknown. An exception answer is shorter."""
    if request.answer_bytes is None:
        return None
    body = 3 + request.answer_bytes
    return {"rtu": body + 2, "tcp": body + 6, "ascii": 2 * body + 5}[request.framing]


def plain_answer(request: Request, raw: bytes, data: bytes) -> Answer | None:
    """The answer, if ``data`` is a TCP answer to the reading of registers that went out as ``raw``, and nothing else.

    What a decoder and ``match`` would give for nearly all answers, in a tenth of the time; None leaves it to them.
    """
    if request.framing != "tcp" or request.function not in (3, 4):
        return None
    size = 2 * request.count
    head = raw[:4] + (3 + size).to_bytes(2, "big") + raw[6:8] + bytes((size & 0xFF,))
    if len(data) != 9 + size or not data.startswith(head):
        return None
    return Answer(request.item, data[9:], data, request.address)


def match(request: Request, frame: Frame) -> Answer | Mismatch:
    """Accept ``frame`` as the answer only if transaction, unit, function and byte count are those of ``request``."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    if request.framing == "tcp" and frame.transaction != request.transaction:
        return no(
            MismatchReason.TRANSACTION, f"asked transaction {request.transaction}, got {frame.transaction}"
        )
    if frame.unit != request.unit:
        return no(MismatchReason.ADDRESS, f"asked unit {request.unit}, {frame.unit} answered")
    if frame.function & 0x7F != request.function:
        return no(MismatchReason.FUNCTION, f"asked function {request.function}, got {frame.function}")
    if frame.failed:
        return Answer(request.item, b"", frame.raw, frame.address, frame.error, frame.data[0])
    wanted = request.answer_bytes
    if wanted is None:
        if frame.raw == encode(request, writes=True) and request.function not in _ECHOING:
            return no(MismatchReason.ECHO, "our own request, heard back")
        return Answer(request.item, frame.data, frame.raw, frame.address)
    if len(frame.data) == wanted + 1 and frame.data[0] == wanted:
        # Three bytes of coils look like a request; where our own bytes come back they are an echo.
        if frame.direction == "request" and frame.raw == encode(request, writes=True):
            return no(MismatchReason.ECHO, "our own request, heard back")
        return Answer(request.item, frame.data[1:], frame.raw, frame.address)
    if frame.direction == "request":
        if frame.raw == encode(request, writes=True):
            return no(MismatchReason.ECHO, "our own request, heard back")
        return no(MismatchReason.FUNCTION, "a request of another master")
    return no(MismatchReason.LENGTH, f"asked {wanted} bytes of data, {len(frame.data) - 1} came")
