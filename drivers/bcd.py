"""Packed BCD, low byte first, as DL/T 645 and CJ/T 188 write numbers and times.

All bytes FF: the meter does not have the quantity. A nibble above 9: no number. Nothing is rounded on the way in.
"""

from __future__ import annotations

from calendar import monthrange
from decimal import ROUND_HALF_EVEN, Decimal

from drivers.codec import LocalProtocolError, Missing


def digits(raw: bytes) -> str | None:
    """The decimal digits, high first, or None if a nibble is above 9."""
    text = raw[::-1].hex()
    return text if text.isdecimal() else None


def number(raw: bytes, decimals: int, signed: bool) -> Decimal | Missing:
    """Packed BCD, low byte first, to an exact decimal (DL/T 645-2007 clause 5.2 and annex A).

    >>> number(bytes.fromhex("563492"), 3, signed=True)
    Decimal('-123.456')
    """
    if all(byte == 0xFF for byte in raw):
        return Missing.NOT_SUPPORTED
    negative = False
    if signed and raw[-1] & 0x80:
        negative = True
        raw = raw[:-1] + bytes((raw[-1] & 0x7F,))
    said = digits(raw)
    if said is None:
        return Missing.NOT_A_NUMBER
    value = int(said)
    return Decimal(-value if negative else value).scaleb(-decimals)


def encode_number(value: Decimal, size: int, decimals: int, signed: bool) -> bytes:
    """The inverse of ``number``; LocalProtocolError if the value has no such form."""
    steps = value.scaleb(decimals).quantize(Decimal(1), ROUND_HALF_EVEN)
    text = str(abs(int(steps))).rjust(size * 2, "0")
    limit_byte = 0x7F if signed else 0xFF
    if len(text) > size * 2 or (steps < 0 and not signed) or int(text[:2], 16) > limit_byte:
        raise LocalProtocolError(f"{value} does not fit {size} BCD bytes with {decimals} decimals")
    raw = bytes.fromhex(text)[::-1]
    if steps < 0:
        raw = raw[:-1] + bytes((raw[-1] | 0x80,))
    if all(byte == 0xFF for byte in raw):
        raise LocalProtocolError(f"{value} would read as not supported")
    return raw


_RANGES = {"s": (0, 59), "m": (0, 59), "h": (0, 24), "D": (0, 31), "M": (0, 12), "Y": (0, 99), "W": (0, 7)}


def _in_calendar(parts: dict[str, str]) -> bool:
    """Whether the day exists in its month; a day, month or hour of 0 stands for none, and 24:00 ends a day."""
    day, month = int(parts.get("D", "0")), int(parts.get("M", "0"))
    year = 2000 + int(parts["Y"]) if "Y" in parts else 2000  # of no stated year 29 February may be
    if day and month and day > monthrange(year, month)[1]:
        return False
    return parts.get("h") != "24" or not any(int(parts.get(part, "0")) for part in "ms")


def stamp(raw: bytes, layout: str) -> str | None:
    """A BCD date or time as text: date parts year first, then a space, then the clock; None if it is none."""
    parts: dict[str, str] = {}
    for byte, part in zip(raw, layout, strict=True):
        text = f"{byte:02x}"
        if not text.isdecimal() or not _RANGES[part][0] <= int(text) <= _RANGES[part][1]:
            return None
        parts[part] = text
    if not _in_calendar(parts):
        return None
    date = "-".join(parts[part] for part in "YMD" if part in parts)
    if "Y" in parts:
        date = "20" + date
    clock = ":".join(parts[part] for part in "hms" if part in parts)
    week = f"weekday {int(parts['W'])}" if "W" in parts else ""
    return " ".join(part for part in (date, clock, week) if part)


def encode_stamp(text: str, layout: str) -> bytes:
    """The inverse of ``stamp``."""
    words = text.split()
    parts: dict[str, str] = {}
    if words and words[-2:-1] == ["weekday"]:
        parts["W"] = words[-1].rjust(2, "0")
        words = words[:-2]
    date_parts = [part for part in "YMD" if part in layout]
    clock_parts = [part for part in "hms" if part in layout]
    if date_parts and words:
        date = words.pop(0).split("-")
        if "Y" in date_parts:
            date[0] = date[0][-2:]
        parts.update(zip(date_parts, date, strict=True))
    if clock_parts and words:
        parts.update(zip(clock_parts, words.pop(0).split(":"), strict=True))
    if set(parts) != set(layout):
        raise LocalProtocolError(f"{text!r} does not say {layout}")
    return bytes(int(parts[part], 16) for part in layout)
