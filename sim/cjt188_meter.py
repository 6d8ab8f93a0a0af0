"""A CJ/T 188 water, gas or heat meter (2004, 2018): what it answers to a reading of 901F.

Written apart from ``drivers`` on purpose (see ``sim.framing``). The DI comes back in the order in which it was asked.
What the meter does not have, and all writing, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from sim.dlt645_meter import bcd
from sim.flow import FlowMeter
from sim.framing import PREAMBLE, opened, sealed
from sim.instrument import Indications

_LONGEST = 100
_READ, _READ_ADDRESS = 0x01, 0x03
_HEAT = 0x20
TYPES: Mapping[str, int] = MappingProxyType(
    {
        "water": 0x10,
        "cold water": 0x10,
        "hot water": 0x11,
        "drinking water": 0x12,
        "reclaimed water": 0x13,
        "heat": _HEAT,
        "gas": 0x30,
    }
)
_CUBIC_METRE, _KILOWATT, _CUBIC_METRE_PER_HOUR = 0x2C, 0x17, 0x35
_HEAT_UNITS: Mapping[str, int] = MappingProxyType({"kWh": 0x05, "MWh": 0x08, "MJ": 0x0E, "GJ": 0x11})


def cjt188_frame(head: bytes, control: int, data: bytes, preamble: bytes = PREAMBLE) -> bytes:
    """A frame from type and address as on the wire (eight bytes), control and data."""
    body = b"\x68" + head + bytes((control, len(data))) + data
    return preamble + body + bytes((sum(body) & 0xFF, 0x16))


class Cjt188Framing:
    """Requests anywhere in the stream; a frame with D7 set is another meter's answer."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Take whole requests out of ``heard``."""
        found: list[bytes] = []
        start = 0
        while start < len(heard):
            left = len(heard) - start
            if heard[start] != 0x68 or (left > 10 and heard[start + 10] > _LONGEST):
                start += 1
                continue
            length = 13 + heard[start + 10] if left > 10 else 13
            if left < length:
                break
            frame = bytes(heard[start : start + length])
            if frame[-1] != 0x16 or sum(frame[:-2]) & 0xFF != frame[-2]:
                start += 1
                continue
            if not frame[9] & 0x80:
                found.append(frame)
            start += length
        del heard[:start]
        return found

    def readdressed(self, answer: bytes) -> bytes:
        """Lowest digit of the address changed by one."""
        preamble, body = opened(answer)
        body[2] = body[2] & 0xF0 | (body[2] % 16 + 1) % 10
        return sealed(preamble, body)

    def other_item(self, answer: bytes) -> bytes:
        """The DI's first byte changed."""
        preamble, body = opened(answer)
        body[11] ^= 0x01
        return sealed(preamble, body)

    def shortened(self, answer: bytes) -> bytes:
        """One data byte fewer."""
        preamble, body = opened(answer)
        if body[10]:
            body[10] -= 1
            del body[-1]
        return sealed(preamble, body)

    def unsealed(self, answer: bytes) -> bytes:
        """CS off by one."""
        return answer[:-2] + bytes(((answer[-2] + 1) & 0xFF, answer[-1]))


class Cjt188Meter:
    """The answering side of one meter. ``hours`` is what its clock is ahead of UTC.

    ``by_parts``: it also answers to a part of its number, the other bytes AA; not every model does.
    """

    protocol = "cjt188"

    def __init__(self, meter: FlowMeter, address: str, *, hours: int = 8, by_parts: bool = True) -> None:
        digits = address.rjust(14, "0")
        if len(digits) != 14 or not digits.isdecimal():
            raise ValueError(f"{meter.id}: a CJ/T 188 address has up to 14 decimal digits, not {address!r}")
        if meter.kind == "heat" and meter.heat_unit not in _HEAT_UNITS:
            raise ValueError(f"{meter.id}: CJ/T 188 has no unit of heat {meter.heat_unit!r}")
        self.meter = meter
        self.address = digits
        self._type = TYPES[meter.kind]
        self._hours = hours
        self._by_parts = by_parts

    def _addressed(self, asked: bytes, own: bytes) -> bool:
        if asked in (own, b"\xaa" * 7):
            return True
        return self._by_parts and all(a in (0xAA, o) for a, o in zip(asked, own, strict=True))

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None for silence. ``show`` is called only when values are needed."""
        head = self._head(t_us)
        if frame[1] not in (self._type, 0xAA) or not self._addressed(frame[2:9], head[1:]):
            return None
        control, data = frame[9], frame[11:-2]
        if control == _READ and len(data) == 3 and data[:2] in (b"\x90\x1f", b"\x1f\x90"):
            return cjt188_frame(head, 0x81, data + self._payload(show().values, t_us))
        if control == _READ_ADDRESS and len(data) == 3:
            return cjt188_frame(head, 0x83, data)
        return cjt188_frame(head, control | 0xC0, data[2:3] + b"\x02\x00")

    def _head(self, t_us: int) -> bytes:
        """Type and address; that of a meter put in its place is its number."""
        now = self.meter.number_at(t_us)
        digits = self.address if now == self.meter.number else now[-14:].rjust(14, "0")
        return bytes((self._type,)) + bytes.fromhex(digits)[::-1]

    def _payload(self, values: Mapping[str, Decimal], t_us: int) -> bytes:
        if self.meter.kind != "heat":
            (volume,) = (value for name, value in values.items() if name.startswith("volume."))
            told = _told(volume, 2, _CUBIC_METRE) + _told(Decimal(0), 2, _CUBIC_METRE)
            return told + self._time(t_us) + b"\x00\x00"
        heat = _HEAT_UNITS[self.meter.heat_unit]
        return (
            _told(Decimal(0), 2, heat)
            + _told(values["energy.heat"], 2, heat)
            + _told(values["power.heat"], 2, _KILOWATT)
            + _told(values["flow.water"], 4, _CUBIC_METRE_PER_HOUR)
            + _told(values["volume.water"], 2, _CUBIC_METRE)
            + bcd(values["temperature.supply"], 3, 2)
            + bcd(values["temperature.return"], 3, 2)
            + bytes(3)
            + self._time(t_us)
            + b"\x00\x00"
        )

    def _time(self, t_us: int) -> bytes:
        shown = self.meter.clock.shown(t_us)
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=shown, hours=self._hours)
        return bytes.fromhex(local.strftime("%Y%m%d%H%M%S"))[::-1]


def _told(value: Decimal, decimals: int, unit: int) -> bytes:
    return bcd(value, 4, decimals) + bytes((unit,))
