"""The meter's side of two framings, and how each can go wrong on purpose.

Written here a second time, apart from ``drivers``, on purpose: a simulator that shared the code under test
would share its mistakes, and both would agree. DL/T 645-2007 clause 5; Modbus over serial line V1.02, clause
2.5.1.

A ``Framing`` finds requests in what the master sends, and can reseal a tampered answer, so that a fault is
exactly the fault ordered: a wrong address under a right checksum, say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

PREAMBLE = b"\xfe\xfe\xfe\xfe"


class Framing(Protocol):
    """What the line needs to know of a protocol."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Take whole requests out of ``heard``; what cannot become one is dropped."""

    def readdressed(self, answer: bytes) -> bytes:
        """The same answer from another meter's address, resealed."""

    def other_item(self, answer: bytes) -> bytes:
        """The same answer for something that was not asked (another DI, another function), resealed."""

    def shortened(self, answer: bytes) -> bytes:
        """The answer with its last datum missing, its length and checksum true to that."""

    def unsealed(self, answer: bytes) -> bytes:
        """The answer with a wrong checksum."""


# ---- DL/T 645


def opened(answer: bytes) -> tuple[bytes, bytearray]:
    """Preamble, and the frame from its 68H to before the checksum (DL/T 645, CJ/T 188)."""
    begin = answer.index(0x68)
    return answer[:begin], bytearray(answer[begin:-2])


def sealed(preamble: bytes, body: bytearray) -> bytes:
    """The answer again, with the checksum of what the body is now."""
    return preamble + bytes(body) + bytes((sum(body) & 0xFF, 0x16))


def dlt645_frame(address: bytes, control: int, data: bytes, preamble: bytes = PREAMBLE) -> bytes:
    """A frame from its address as on the wire (six bytes, low first), control and plain data."""
    body = b"\x68" + address + b"\x68" + bytes((control, len(data))) + bytes((b + 0x33) & 0xFF for b in data)
    return preamble + body + bytes((sum(body) & 0xFF, 0x16))


@dataclass(frozen=True, slots=True)
class Dlt645Request:
    """A sound request: address as on the wire, control, plain data."""

    address: bytes
    control: int
    data: bytes


def to_all(frame: bytes) -> bool:
    """Whether a request goes to all meters of a line (DL/T 645: address 99…99); nobody answers it."""
    return frame[:1] == b"\x68" and frame[1:7] == b"\x99" * 6


def dlt645_request(frame: bytes) -> Dlt645Request:
    """Take apart a frame that ``Dlt645Framing.requests`` found."""
    data = bytes((b - 0x33) & 0xFF for b in frame[10:-2])
    return Dlt645Request(frame[1:7], frame[8], data)


def _dlt645_whole(heard: bytes, start: int) -> int | None:
    """Length of the frame at ``start``; 0 if there is none; None if more bytes could still make one."""
    if heard[start] != 0x68:
        return 0
    if len(heard) < start + 10:
        return None if len(heard) < start + 8 or heard[start + 7] == 0x68 else 0
    length = 12 + heard[start + 9]
    if heard[start + 7] != 0x68:
        return 0
    if len(heard) < start + length:
        return None
    frame = heard[start : start + length]
    return length if frame[-1] == 0x16 and sum(frame[:-2]) & 0xFF == frame[-2] else 0


@dataclass(frozen=True, slots=True)
class Dlt645Framing:
    """DL/T 645-2007."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Frames anywhere in the stream; a frame with D7 set is another meter's answer, not a request."""
        found = []
        start = 0
        while start < len(heard):
            length = _dlt645_whole(bytes(heard), start)
            if length is None:
                break
            if length and not heard[start + 8] & 0x80:
                found.append(bytes(heard[start : start + length]))
            start += length or 1
        del heard[:start]
        return found

    def readdressed(self, answer: bytes) -> bytes:
        """Lowest digit of the address changed by one."""
        preamble, body = opened(answer)
        body[1] = body[1] & 0xF0 | (body[1] % 16 + 1) % 10
        return sealed(preamble, body)

    def other_item(self, answer: bytes) -> bytes:
        """DI1 (phase or tariff) moved on by one; the error word of a refusal likewise."""
        preamble, body = opened(answer)
        if len(body) > 10:
            at = 11 if len(body) > 11 else 10
            body[at] = (body[at] + 1) & 0xFF
        return sealed(preamble, body)

    def shortened(self, answer: bytes) -> bytes:
        """One data byte fewer."""
        preamble, body = opened(answer)
        if body[9]:
            body[9] -= 1
            del body[-1]
        return sealed(preamble, body)

    def unsealed(self, answer: bytes) -> bytes:
        """CS off by one."""
        return answer[:-2] + bytes(((answer[-2] + 1) & 0xFF, answer[-1]))


# ---- Modbus RTU


def crc16(data: bytes) -> int:
    """CRC-16 of Modbus over serial line: polynomial A001 reflected, start FFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def rtu_frame(body: bytes) -> bytes:
    """Unit, function and data with the CRC, low byte first."""
    return body + crc16(body).to_bytes(2, "little")


_WRITES_SEVERAL = (0x0F, 0x10)  # requests that carry data behind a byte count


@dataclass(frozen=True, slots=True)
class RtuFraming:
    """Modbus RTU; the line drops what silence has ended, so a request begins where ``heard`` begins."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Whole requests from the beginning; anything else waits for more bytes, or for silence to drop it."""
        found = []
        while len(heard) >= 8:
            length = 9 + heard[6] if heard[1] in _WRITES_SEVERAL else 8
            frame = bytes(heard[:length])
            if len(frame) < length or crc16(frame):
                break
            found.append(frame)
            del heard[:length]
        return found

    def readdressed(self, answer: bytes) -> bytes:
        """The next unit number."""
        return rtu_frame(bytes((answer[0] % 247 + 1,)) + answer[1:-2])

    def other_item(self, answer: bytes) -> bytes:
        """The other read function: 4 for 3, 3 for 4 (an RTU answer does not say which registers it holds)."""
        return rtu_frame(answer[:1] + bytes((answer[1] ^ 7,)) + answer[2:-2])

    def shortened(self, answer: bytes) -> bytes:
        """One register fewer."""
        if answer[1] & 0x80 or answer[2] < 2:
            return answer
        return rtu_frame(answer[:2] + bytes((answer[2] - 2,)) + answer[3:-4])

    def unsealed(self, answer: bytes) -> bytes:
        """CRC off by one."""
        return answer[:-1] + bytes(((answer[-1] + 1) & 0xFF,))


_RTU = RtuFraming()


class ReframedRtu(ABC):
    """Another framing of Modbus: what is changed in an answer is as of RTU, then framed truly again."""

    __slots__ = ()

    @abstractmethod
    def _changed(self, change: Callable[[bytes], bytes], answer: bytes) -> bytes:
        """The answer with a change of its RTU frame."""

    def readdressed(self, answer: bytes) -> bytes:
        """The next unit number."""
        return self._changed(_RTU.readdressed, answer)

    def other_item(self, answer: bytes) -> bytes:
        """The other read function."""
        return self._changed(_RTU.other_item, answer)

    def shortened(self, answer: bytes) -> bytes:
        """One register fewer."""
        return self._changed(_RTU.shortened, answer)
