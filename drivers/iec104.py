"""IEC 60870-5-104: APDUs of a control station's line, and the monitored values in them. Pure.

::

    68  0E  02 00 02 00   0D 01 03 00 01 00   01 00 00   00 00 66 43  00
    |   L   control (I)   type VSQ COT CA     address    value        quality

There is no check sum (TCP has one): a frame must be right in length, control field and, to its last byte, in structure.
A value that is marked invalid, overflowed, not topical, substituted or blocked is no indication of the instrument: it
is missing, and its quality is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from drivers.axdr import Malformed
from drivers.codec import Indication, Missing, RejectReason
from drivers.registers import decode as register
from drivers.stream import Refusal, Stream

_UNNUMBERED = {
    0x07: "STARTDT act",
    0x0B: "STARTDT con",
    0x13: "STOPDT act",
    0x23: "STOPDT con",
    0x43: "TESTFR act",
    0x83: "TESTFR con",
}
# type without time tag: name, bytes of the value (quality follows, but for the first two, which have it inside)
_TYPES = {
    1: ("single point", 0),
    3: ("double point", 0),
    5: ("step position", 1),
    7: ("bit string", 4),
    9: ("normalized value", 2),
    11: ("scaled value", 2),
    13: ("short float", 4),
    15: ("integrated total", 4),
}
_TIMED = {base + 1: base for base in _TYPES} | {30 + n: base for n, base in enumerate(_TYPES)}
_CAUSES = {
    1: "periodic", 2: "background", 3: "spontaneous", 4: "initialised", 5: "requested", 6: "activation",
    7: "activation confirmed", 8: "deactivation", 9: "deactivation confirmed", 10: "activation terminated",
    20: "interrogated", 37: "counter interrogated", 44: "unknown type", 45: "unknown cause",
    46: "unknown station", 47: "unknown object",
}  # fmt: skip
_QUALITY = ((0x80, "invalid"), (0x40, "not topical"), (0x20, "substituted"), (0x10, "blocked"))


@dataclass(frozen=True, slots=True)
class Frame:
    """One APDU."""

    offset: int
    raw: bytes

    @property
    def function(self) -> str:
        """``I``, ``S`` or the name of a U frame."""
        if not self.raw[2] & 1:
            return "I"
        return "S" if self.raw[2] == 1 else _UNNUMBERED[self.raw[2]]

    @property
    def asdu(self) -> bytes:
        """The ASDU of an I frame."""
        return self.raw[6:]


class Decoder(Stream[Frame]):
    """The APDUs of one connection."""

    _start = b"\x68"

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        if left > 1 and not 4 <= held[at + 1] <= 253:
            return RejectReason.NOISE, 1, ""
        if left < 6:
            return (RejectReason.TRUNCATED, left, "the stream ends inside the frame") if final else None
        length, control = held[at + 1], bytes(held[at + 2 : at + 6])
        numbered = not control[0] & 1 and not control[2] & 1 and length >= 10
        supervisory = control[:2] == b"\1\0" and not control[2] & 1 and length == 4
        unnumbered = control[0] in _UNNUMBERED and control[1:] == b"\0\0\0" and length == 4
        if not (numbered or supervisory or unnumbered):
            return RejectReason.HEADER, 6, f"control field {control.hex(' ').upper()} with length {length}"
        if left < length + 2:
            return (RejectReason.TRUNCATED, left, "the stream ends inside the frame") if final else None
        return Frame(self._offset + at, bytes(held[at : at + length + 2]))


@dataclass(frozen=True, slots=True)
class Asdu:
    """The head of an ASDU, and what it says."""

    type_id: int
    name: str
    cause: str
    negative: bool
    test: bool
    station: int
    indications: tuple[Indication, ...]


def parse(asdu: bytes) -> Asdu:
    """One ASDU; of types that carry no readings, only the head.

    Malformed if it is shorter than its head, or its objects do not fill it exactly.
    """
    if len(asdu) < 6:
        raise Malformed(f"an ASDU has a head of 6 bytes, {len(asdu)} came")
    type_id, cause = asdu[0], asdu[2]
    base = _TIMED.get(type_id, type_id)
    name, size = _TYPES.get(base, (f"type {type_id}", -1))
    found = tuple(_objects(asdu, base, size, type_id)) if size >= 0 else ()
    why = _CAUSES.get(cause & 0x3F, f"cause {cause & 0x3F}")
    station = int.from_bytes(asdu[4:6], "little")
    return Asdu(type_id, name, why, bool(cause & 0x40), bool(cause & 0x80), station, found)


def _objects(asdu: bytes, base: int, size: int, type_id: int) -> Iterator[Indication]:
    count, sequence = asdu[1] & 0x7F, bool(asdu[1] & 0x80)
    tag = 0 if type_id == base else 7 if type_id >= 30 else 3
    each = size + 1 + tag
    wanted = 6 + (3 + count * each if sequence else count * (3 + each))
    if not count or wanted != len(asdu):
        raise Malformed(f"{count} objects of type {type_id} need {wanted} bytes, {len(asdu)} came")
    at, address = 6, 0
    for n in range(count):
        if not sequence or n == 0:
            address = int.from_bytes(asdu[at : at + 3], "little")
            at += 3
        else:
            address += 1
        yield _value(str(address), base, asdu[at : at + size], asdu[at + size], asdu[2])
        at += each


def _value(item: str, base: int, raw: bytes, quality: int, cause: int) -> Indication:
    number: Decimal | Missing
    flags = [word for bit, word in _QUALITY if quality & bit]
    if base == 1:
        number = Decimal(quality & 1)
    elif base == 3:
        number = Decimal(quality & 3)
    elif base == 5:
        position = raw[0] & 0x7F
        number = Decimal(position - 128 if position > 63 else position)
        flags += ["in transit"] if raw[0] & 0x80 else []
    elif base == 7:
        number = Decimal(int.from_bytes(raw, "little"))
    elif base == 9:
        number = Decimal(int.from_bytes(raw, "little", signed=True)) / 32768  # 15 binary places: exact
    elif base == 11:
        number = Decimal(int.from_bytes(raw, "little", signed=True))
    elif base == 13:
        number = register(raw[::-1], "f32")
    else:  # the quality of a counter has other bits: number, carry, adjusted, invalid
        number = Decimal(int.from_bytes(raw, "little", signed=True))
        flags = [w for bit, w in ((0x80, "invalid"), (0x40, "adjusted"), (0x20, "carry")) if quality & bit]
    if base in (5, 7, 9, 11, 13) and quality & 1:
        flags.append("overflow")
    if cause & 0x40:  # a negative confirmation says what was refused, not what is
        flags.append("refused")
    if cause & 0x80:
        flags.append("test")
    if isinstance(number, Missing):
        return Indication(item, "", None, "", number, ", ".join(flags))
    if flags:
        return Indication(item, "", None, "", Missing.ERROR_ANSWER, f"{', '.join(flags)}: {number}")
    return Indication(item, "", number, "")


def build(asdu: bytes, sent: int = 0, received: int = 0) -> bytes:
    """An I frame: either side's."""
    numbers = (sent << 1).to_bytes(2, "little") + (received << 1).to_bytes(2, "little")
    return bytes((0x68, len(asdu) + 4)) + numbers + asdu
