"""SML, the Smart Message Language (BSI TR-03109-1): transport version 1, and the values of a GetList answer. Pure.

::

    1B 1B 1B 1B 01 01 01 01   messages   fill   1B 1B 1B 1B 1A, number of fill bytes, CRC-16/X.25 (low byte first)

* Four 1B in the data are doubled. The meter pushes: there is no request.
* A value is ``number * 10^scaler`` in the unit that stands with it; an OBIS code names it.
* Every element begins with its type and length (TL), so what is broken is told: ``Malformed``, and no value.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from drivers import obis
from drivers.axdr import UNITS, Malformed
from drivers.codec import Indication, Missing, RejectReason
from drivers.hdlc import fcs
from drivers.registers import scaled
from drivers.stream import Refusal, Stream

ESCAPE, BEGIN = b"\x1b" * 4, b"\x01" * 4
LONGEST = 65_536
OPEN, CLOSE, GET_LIST, ATTENTION = 0x0101, 0x0201, 0x0701, 0xFF01
NAMES = {0x0101: "open", 0x0201: "close", 0x0501: "profile list", 0x0701: "list", 0xFF01: "attention"}
_DEEPEST = 8

Element: TypeAlias = "bytes | int | bool | tuple[Element, ...] | None"


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound transport file: ``raw`` with both escapes, ``data`` without them, escapes undone, fill removed."""

    offset: int
    raw: bytes
    data: bytes


class Decoder(Stream[Frame]):
    """The files of one line."""

    _start = b"\x1b"

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        head = bytes(held[at : at + 8])
        wanted = ESCAPE + BEGIN
        if head != wanted[: len(head)]:
            return RejectReason.NOISE, 1, ""
        stop = min(len(held), at + LONGEST)
        body = bytes(held[at + 8 : stop])
        data, here = bytearray(), 0
        while len(head) == 8:
            found = body.find(ESCAPE, here)
            if found < 0 or found + 8 > len(body):
                break
            data += body[here:found]
            what = body[found + 4 : found + 8]
            if what == ESCAPE:
                data += ESCAPE
                here = found + 8
                continue
            if what[0] != 0x1A or what[1] > 3:
                if body[found + 1 : found + 5] == ESCAPE:  # the data end with a 1B: the escape begins later
                    data.append(0x1B)
                    here = found + 1
                    continue
                return RejectReason.HEADER, 8 + found, f"escape {what.hex(' ').upper()} inside the file"
            raw = bytes(held[at : at + 8 + found + 8])
            if fcs(raw[:-2]) != raw[-2:]:
                said, right = raw[-2:].hex().upper(), fcs(raw[:-2]).hex().upper()
                return RejectReason.CHECKSUM, len(raw), f"CRC is {right}, file says {said}"
            return Frame(self._offset + at, raw, bytes(data[: len(data) - what[1]]))
        if stop - at == LONGEST:
            return RejectReason.LENGTH, 8, f"no end within {LONGEST} bytes"
        if final:
            return RejectReason.TRUNCATED, len(held) - at, "the stream ends inside the file"
        return None


# ---- elements -------------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """The next byte."""
        if self.at >= len(self.data):
            raise Malformed("the file ends inside an element")
        self.at += 1
        return self.data[self.at - 1]

    def element(self, depth: int = 0) -> Element:
        """The next element; None for one that is left out (01)."""
        first = self.byte()
        kind, length, heads = first >> 4 & 7, first & 0x0F, 1
        while first & 0x80:
            first = self.byte()
            heads += 1
            length = length << 4 | first & 0x0F
            if heads > 4:
                raise Malformed("a length of more than four bytes")
        if kind == 7:
            if depth > _DEEPEST or length > len(self.data) - self.at:
                raise Malformed(f"a list of {length} elements at byte {self.at}")
            return tuple(self.element(depth + 1) for _ in range(length))
        size = length - heads
        if size < 0 or size > len(self.data) - self.at:
            raise Malformed(f"an element of {size} bytes at byte {self.at}")
        raw = self.data[self.at : self.at + size]
        self.at += size
        if kind == 0:
            return raw or None
        if kind == 4 and size == 1:
            return raw != b"\0"
        if kind in (5, 6) and 1 <= size <= 8:
            return int.from_bytes(raw, "big", signed=kind == 5)
        raise Malformed(f"type {kind} of {size} bytes does not exist")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a file: what it is, and its body."""

    tag: int
    body: tuple[Element, ...]


def messages(data: bytes) -> tuple[Message, ...]:
    """The messages of a file; Malformed if one is broken or its check sum is wrong."""
    reader, found = _Reader(data), []
    while reader.at < len(data):
        start = reader.at
        if reader.byte() != 0x76:
            raise Malformed(f"a message is a list of 6, byte {start} begins something else")
        for _ in range(3):
            reader.element(1)
        choice, end = reader.element(1), reader.at
        check = reader.element(1)
        if reader.byte() != 0:
            raise Malformed(f"the message at byte {start} has no end")
        if not isinstance(check, int) or check.to_bytes(8, "big")[-2:] != fcs(data[start:end]):
            raise Malformed(f"the check sum of the message at byte {start} is wrong")
        if not (isinstance(choice, tuple) and len(choice) == 2 and isinstance(choice[0], int)):
            raise Malformed(f"the message at byte {start} has no body")
        body = choice[1]
        found.append(Message(choice[0], body if isinstance(body, tuple) else ()))
    return tuple(found)


def server(message: Message) -> str:
    """The meter's identity in hex, of a list; empty otherwise."""
    if message.tag == GET_LIST and len(message.body) == 7 and isinstance(message.body[1], bytes):
        return message.body[1].hex().upper()
    return ""


def readings(message: Message) -> tuple[Indication, ...]:
    """The values of a GetList answer. Malformed if an entry has another shape than the standard's."""
    if message.tag != GET_LIST:
        return ()
    if len(message.body) != 7 or not isinstance(message.body[4], tuple):
        raise Malformed("a list answer has 7 parts, the fifth is the list")
    return tuple(_entry(entry) for entry in message.body[4])


def _entry(entry: Element) -> Indication:
    if not isinstance(entry, tuple) or len(entry) != 7 or not isinstance(entry[0], bytes):
        raise Malformed("an entry of a list has 7 parts, the first is its code")
    code = obis.of_bytes(entry[0]) if len(entry[0]) == 6 else entry[0].hex().upper()
    unit_code, scaler, value = entry[3], entry[4], entry[5]
    unit = UNITS.get(unit_code, f"{{unit {unit_code}}}") if isinstance(unit_code, int) else ""
    name = obis.measurand(code, unit)
    if value is None:
        return Indication(code, name, None, unit, Missing.NOT_SUPPORTED)
    if isinstance(value, bytes):
        text = value.decode("ascii") if all(0x20 <= b < 0x7F for b in value) else value.hex(" ").upper()
        return Indication(code, name, None, unit, Missing.NOT_NUMERIC, text)
    if isinstance(value, tuple):
        return Indication(code, name, None, unit, Missing.UNKNOWN_FORMAT, f"{len(value)} elements")
    power = scaler if isinstance(scaler, int) else 0
    if not -128 <= power <= 127:
        raise Malformed(f"scaler {power} does not fit a byte")
    return Indication(code, name, scaled(Decimal(int(value)), Decimal(1).scaleb(power)), unit)


def build(messages_: bytes) -> bytes:
    """A transport file around messages, as a meter sends it."""
    fill = -len(messages_) % 4
    body = ESCAPE + BEGIN + messages_.replace(ESCAPE, ESCAPE * 2) + bytes(fill) + ESCAPE + bytes((0x1A, fill))
    return body + fcs(body)
