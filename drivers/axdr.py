"""COSEM data in A-XDR (IEC 62056-6-2, IEC 61334-6): every type of the Data choice, to exact values.

What is broken (a length beyond the end, an unknown tag, nesting without end) is ``Malformed``: no part of it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date as calendar_date
from decimal import Decimal

from drivers.codec import Missing
from drivers.registers import decode as register

_DEEPEST = 12
_INTEGERS = {
    0x05: (4, True),
    0x06: (4, False),
    0x0F: (1, True),
    0x10: (2, True),
    0x11: (1, False),
    0x12: (2, False),
    0x14: (8, True),
    0x15: (8, False),
    0x16: (1, False),
    0x1C: (1, True),
    0x1D: (2, True),
    0x1E: (4, True),
    0x1F: (1, False),
    0x20: (2, False),
    0x21: (4, False),
}
NULL, ARRAY, STRUCTURE, BOOLEAN, BITS, OCTETS, VISIBLE, UTF8, BCD = 0, 1, 2, 3, 4, 9, 10, 12, 13
COMPACT, ENUM, FLOAT32, FLOAT64, DATE_TIME, DATE, TIME, DONT_CARE = 19, 22, 23, 24, 25, 26, 27, 255


class Malformed(ValueError):
    """The bytes cannot be what the standard asks for."""


@dataclass(frozen=True, slots=True)
class Data:
    """One value: its tag; ``number`` of numeric types, ``raw`` of octets and texts, ``parts`` of containers."""

    tag: int
    number: Decimal | None = None
    raw: bytes = b""
    parts: tuple[Data, ...] = ()
    missing: Missing | None = None

    @property
    def numeric(self) -> bool:
        """A number, or one that the meter marks as none."""
        return self.number is not None or self.missing is not None

    @property
    def container(self) -> bool:
        """An array or a structure."""
        return self.tag in (ARRAY, STRUCTURE, COMPACT)

    @property
    def text(self) -> str:
        """What is no number, in words: a time, a text, or hex."""
        if self.tag == NULL:
            return ""
        if self.tag in (DATE_TIME, DATE, TIME):
            return moment(self.raw) or self.raw.hex(" ").upper()
        if self.tag == BITS:
            return "".join(f"{byte:08b}" for byte in self.raw[1:])[: self.raw[0]]
        if self.tag == OCTETS and len(self.raw) == 12 and (told := moment(self.raw)):
            return told
        if self.raw and all(0x20 <= byte < 0x7F for byte in self.raw):
            return self.raw.decode("ascii")
        return self.raw.hex(" ").upper()


class Reader:
    """Bytes read from the front; every read past the end is Malformed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > self.left:
            raise Malformed(f"{size} bytes are announced at byte {self.at}, {self.left} are left")
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self, size: int) -> int:
        """The next bytes as an unsigned number, high byte first."""
        return int.from_bytes(self.take(size), "big")

    def length(self) -> int:
        """A length: one byte below 80, else that many bytes."""
        first = self.byte()
        if first < 0x80:
            return first
        if not 0x81 <= first <= 0x84:
            raise Malformed(f"{first:02X} at byte {self.at - 1} is no length")
        return self.number(first & 0x7F)

    def value(self, depth: int = 0) -> Data:
        """The next Data, with its tag."""
        return self._content(self.byte(), depth)

    def _content(self, tag: int, depth: int) -> Data:
        if depth > _DEEPEST:
            raise Malformed("nested too deeply")
        if tag in (NULL, DONT_CARE):
            return Data(tag)
        if tag in (ARRAY, STRUCTURE):
            count = self.length()
            if count > self.left:
                raise Malformed(f"{count} elements are announced, {self.left} bytes are left")
            return Data(tag, parts=tuple(self.value(depth + 1) for _ in range(count)))
        if tag == COMPACT:
            return self._compact(depth)
        if tag in _INTEGERS:
            size, signed = _INTEGERS[tag]
            return Data(tag, Decimal(int.from_bytes(self.take(size), "big", signed=signed)))
        if tag == BOOLEAN:
            return Data(tag, Decimal(int(self.byte() != 0)))
        if tag in (FLOAT32, FLOAT64):
            value = register(self.take(4 if tag == FLOAT32 else 8), "f32" if tag == FLOAT32 else "f64")
            return Data(tag, missing=value) if isinstance(value, Missing) else Data(tag, value)
        if tag == BITS:
            count = self.length()
            return Data(tag, raw=bytes((min(count, 255),)) + self.take((count + 7) // 8))
        if tag in (OCTETS, VISIBLE, UTF8):
            return Data(tag, raw=self.take(self.length()))
        if tag in (BCD, DATE_TIME, DATE, TIME):
            return Data(tag, raw=self.take({BCD: 1, DATE_TIME: 12, DATE: 5, TIME: 4}[tag]))
        raise Malformed(f"tag {tag:02X} at byte {self.at - 1} is no type of COSEM data")

    def _compact(self, depth: int) -> Data:
        """A compact array: the type once, then the contents without tags."""
        shape = self._shape(depth)
        inner = Reader(self.take(self.length()))
        parts: list[Data] = []
        while inner.left:
            before = inner.at
            parts.append(inner._typed(shape, depth + 1))
            if inner.at == before:
                raise Malformed("a compact array of nothing")
        return Data(ARRAY, parts=tuple(parts))

    def _shape(self, depth: int) -> tuple[int, int, tuple[object, ...]]:
        if depth > _DEEPEST:
            raise Malformed("nested too deeply")
        tag = self.byte()
        if tag == ARRAY:
            many = self.number(2)
            return self._some(tag, many), many, (self._shape(depth + 1),)
        if tag == STRUCTURE:
            count = self.length()
            if count > self.left:
                raise Malformed(f"{count} elements are announced, {self.left} bytes are left")
            return self._some(tag, count), count, tuple(self._shape(depth + 1) for _ in range(count))
        return self._some(tag, tag not in (NULL, DONT_CARE, COMPACT)), 0, ()

    @staticmethod
    def _some(tag: int, count: int) -> int:
        """Every element of a compact array takes a byte, else a few bytes could stand for millions."""
        if not count:
            raise Malformed("a compact array of nothing")
        return tag

    def _typed(self, shape: tuple[int, int, tuple[object, ...]], depth: int) -> Data:
        tag, count, inner = shape
        if tag == ARRAY:
            if count > self.left:
                raise Malformed(f"{count} elements are announced, {self.left} bytes are left")
            return Data(tag, parts=tuple(self._typed(inner[0], depth + 1) for _ in range(count)))  # type: ignore[arg-type]
        if tag == STRUCTURE:
            return Data(tag, parts=tuple(self._typed(one, depth + 1) for one in inner))  # type: ignore[arg-type]
        return self._content(tag, depth)


def moment(raw: bytes) -> str | None:
    """A COSEM date-time (12 bytes), date (5) or time (4) as text; None if it is marked invalid or impossible.

    The deviation is told as the meter states it: the sign of its direction differs between makes.
    """
    if len(raw) == 5:
        return _date(raw)
    if len(raw) == 4:
        return _clock(raw)
    if len(raw) != 12:
        return None
    date, clock = _date(raw[:5]), _clock(raw[5:9])
    if date is None or clock is None or (raw[11] != 0xFF and raw[11] & 1):
        return None
    deviation = int.from_bytes(raw[9:11], "big", signed=True)
    if deviation == -0x8000:
        return f"{date} {clock}"
    if not -840 <= deviation <= 840:
        return None
    return f"{date} {clock} deviation {deviation} min"


def _date(raw: bytes) -> str | None:
    try:
        return calendar_date(int.from_bytes(raw[:2], "big"), raw[2], raw[3]).isoformat()
    except ValueError:
        return None


def _clock(raw: bytes) -> str | None:
    hour, minute, second, hundredths = raw
    if (
        hour > 23
        or minute > 59
        or (second > 59 and second != 0xFF)
        or (hundredths > 99 and hundredths != 0xFF)
    ):
        return None
    text = f"{hour:02d}:{minute:02d}" + ("" if second == 0xFF else f":{second:02d}")
    return text + (f".{hundredths:02d}" if 0 < hundredths <= 99 else "")


UNITS = {
    1: "a", 2: "mo", 3: "wk", 4: "d", 5: "h", 6: "min", 7: "s", 8: "deg", 9: "Cel", 10: "currency", 11: "m",
    12: "m/s", 13: "m3", 14: "m3", 15: "m3/h", 16: "m3/h", 17: "m3/d", 18: "m3/d", 19: "L", 20: "kg", 21: "N",
    22: "N.m", 23: "Pa", 24: "bar", 25: "J", 26: "J/h", 27: "W", 28: "V.A", 29: "var", 30: "Wh", 31: "V.A.h",
    32: "var.h", 33: "A", 34: "C", 35: "V", 36: "V/m", 37: "F", 38: "Ohm", 39: "Ohm.m2/m", 40: "Wb", 41: "T",
    42: "A/m", 43: "H", 44: "Hz", 45: "1/Wh", 46: "1/var.h", 47: "1/V.A.h", 48: "V2.h", 49: "A2.h", 50: "kg/s",
    51: "S", 52: "K", 53: "1/V2.h", 54: "1/A2.h", 55: "1/m3", 56: "%", 57: "A.h", 60: "Wh/m3", 61: "J/m3",
    62: "mol%", 63: "g/m3", 64: "Pa.s", 65: "J/kg", 66: "g/cm2", 67: "atm", 70: "dB[mW]", 71: "dB[uV]", 72: "dB",
    128: "[in_i]", 129: "[ft_i]", 130: "[lb_av]", 131: "[degF]", 255: "1",
}  # fmt: skip


def scaler_unit(data: Data) -> tuple[int, str] | None:
    """A scaler_unit structure: the power of ten and the unit (``{unit 200}`` if not known); None if it is none."""
    if data.tag != STRUCTURE or len(data.parts) != 2:
        return None
    scaler, unit = data.parts
    if scaler.tag != 0x0F or unit.tag != ENUM or scaler.number is None or unit.number is None:
        return None
    return int(scaler.number), UNITS.get(int(unit.number), f"{{unit {unit.number}}}")
