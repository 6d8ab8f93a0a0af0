"""DL/T 698.45: frames, addresses, fragments. Pure: no socket, no clock, no float.

::

    68  15 00  C3   05 12 90 78 56 34 12   00   HCS HCS   85 01 02 … 00 00   FCS FCS   16
    |   L      C    AF address, low first  CA   L to CA   APDU               L to APDU

* L (14 bits; bit 14: in kilobytes) counts everything but 68 and 16. HCS and FCS are CRC-16/X.25, low byte first.
* AF: bits 0..3 length - 1, bits 4, 5 logical address (bit 5: in a byte of its own), bits 6, 7 the address's kind.
* C: bit 7 from the meter, bit 6 begun by the client, bit 5 a fragment, bit 3 the APDU has 33 added, bits 0..2 function.
* A fragment begins with two bytes: number, and which part it is; ``Joiner`` puts the parts together.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.codec import LocalProtocolError, RejectReason
from drivers.hdlc import fcs
from drivers.stream import Refusal, Stream

LONGEST = 16_383
KINDS = ("single", "wildcard", "group", "broadcast")
_MINUS = bytes((byte - 0x33) & 0xFF for byte in range(256))
_PLUS = bytes((byte + 0x33) & 0xFF for byte in range(256))


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame: ``raw`` from 68 to 16."""

    offset: int
    raw: bytes

    @property
    def control(self) -> int:
        """C."""
        return self.raw[3]

    @property
    def from_meter(self) -> bool:
        """DIR."""
        return bool(self.control & 0x80)

    @property
    def fragment(self) -> bool:
        """Whether the APDU is a part of a longer one."""
        return bool(self.control & 0x20)

    @property
    def _size(self) -> int:
        return (self.raw[4] & 0x0F) + 1

    @property
    def kind(self) -> str:
        """Single, wildcard, group or broadcast address."""
        return KINDS[self.raw[4] >> 6]

    @property
    def logical(self) -> int:
        """The logical device."""
        return self.raw[5] if self.raw[4] & 0x20 else self.raw[4] >> 4 & 1

    @property
    def address(self) -> str:
        """The server's digits, high first; A stands for any digit; a filling F of an odd number is left out."""
        start = 6 if self.raw[4] & 0x20 else 5
        digits = self.raw[start : 5 + self._size][::-1].hex().upper()
        return digits.removesuffix("F")

    @property
    def client(self) -> int:
        """CA."""
        return self.raw[5 + self._size]

    @property
    def apdu(self) -> bytes:
        """The APDU (or its fragment), in plain."""
        inner = self.raw[8 + self._size : -3]
        return inner.translate(_MINUS) if self.control & 0x08 else inner


class Decoder(Stream[Frame]):
    """The frames of one line."""

    _start = b"\x68"
    _preamble = b"\xfe"

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        if left > 4:
            length, head = self._length(held, at), (held[at + 4] & 0x0F) + 9
            if not length or length < head + 1:
                return RejectReason.NOISE, 1, ""
            if left >= head:
                body = bytes(held[at + 1 : at + head])
                if fcs(body[:-2]) != body[-2:]:
                    said, wanted = body[-2:].hex().upper(), fcs(body[:-2]).hex().upper()
                    return RejectReason.CHECKSUM, head, f"HCS is {wanted}, frame says {said}"
                if left >= length + 2:
                    return self._whole(held, at, length)
        if not final:
            return None
        return RejectReason.TRUNCATED, left, "the stream ends inside the frame"

    @staticmethod
    def _length(held: memoryview, at: int) -> int:
        said = held[at + 1] | held[at + 2] << 8
        if said & 0x8000:
            return 0
        length = (said & 0x3FFF) * (1024 if said & 0x4000 else 1)
        return length if length <= LONGEST else 0

    def _whole(self, held: memoryview, at: int, length: int) -> Frame | Refusal:
        raw = bytes(held[at : at + length + 2])
        if raw[-1] != 0x16:
            return RejectReason.END_BYTE, len(raw), f"{raw[-1]:02X} stands where 16 should"
        if fcs(raw[1:-3]) != raw[-3:-1]:
            said, wanted = raw[-3:-1].hex().upper(), fcs(raw[1:-3]).hex().upper()
            return RejectReason.CHECKSUM, len(raw), f"FCS is {wanted}, frame says {said}"
        return Frame(self._offset + at, raw)


def address(text: str) -> str:
    """The digits of a meter's address: 1 to 32 (A for any digit), an even number of them."""
    digits = text.strip().upper()
    if not digits or len(digits) > 32 or set(digits) - set("0123456789A"):
        raise ValueError(f"{text!r} is no DL/T 698.45 address: up to 32 decimal digits as printed, A for any")
    return digits.rjust(len(digits) + len(digits) % 2, "0")


def build(address_text: str, control: int, apdu: bytes, *, client: int = 0, kind: str = "single") -> bytes:
    """A frame from its parts, without preamble: either side's."""
    raw = bytes.fromhex(address(address_text))[::-1]
    inner = apdu.translate(_PLUS) if control & 0x08 else apdu
    length = 2 + 1 + 1 + len(raw) + 1 + 2 + len(inner) + 2
    if length > LONGEST or not apdu:
        raise LocalProtocolError(f"{len(apdu)} bytes do not make a DL/T 698.45 frame")
    head = length.to_bytes(2, "little") + bytes((control, KINDS.index(kind) << 6 | len(raw) - 1)) + raw
    head += bytes((client,))
    body = head + fcs(head) + inner
    return b"\x68" + body + fcs(body) + b"\x16"


class Joiner:
    """Fragments of an APDU, put together per direction and meter."""

    _LARGEST = 1 << 20

    def __init__(self) -> None:
        self._parts: dict[tuple[str, bool], tuple[int, bytes]] = {}
        self.problem = ""

    def add(self, frame: Frame) -> bytes | None:
        """The whole APDU; None while parts are to come, at a confirmation, and (with ``problem``) if one is missing."""
        self.problem = ""
        if not frame.fragment:
            return frame.apdu
        if len(frame.apdu) < 2:
            self.problem = "a fragment without its header"
            return None
        header = int.from_bytes(frame.apdu[:2], "little")
        number, part = header & 0x0FFF, header >> 14
        if part == 2:  # the receiver confirms
            return None
        way = (frame.address, frame.from_meter)
        expected, before = self._parts.pop(way, (-1, b""))
        if part == 0:
            expected, before = number, b""
        if number != expected or len(before) > self._LARGEST:
            self.problem = f"fragment {number} came without the one before it"
            return None
        whole = before + frame.apdu[2:]
        if part == 1:
            return whole
        self._parts[way] = ((number + 1) & 0x0FFF, whole)
        return None
