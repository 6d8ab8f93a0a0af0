"""A meter on M-Bus (EN 13757-2, -3): it keeps the frame count bit, is selected by its identity, and its telegrams may
be several. Written apart from ``drivers`` on purpose (see ``sim.framing``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from sim.flow import FlowMeter
from sim.instrument import Indications, Meter

ACKNOWLEDGE = b"\xe5"
_NKE, _SELECT, _READ, _FCB = 0x40, 0x53, 0x5B, 0x20
_SELECTED, _EVERYBODY = 0xFD, 0xFE


def long_frame(control: int, unit: int, ci: int, data: bytes) -> bytes:
    """68 L L 68 … CS 16."""
    body = bytes((control, unit, ci)) + data
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


class MbusFraming:
    """Short and long frames of the master; where two have begun at once the first byte decides."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Take whole requests out of ``heard``."""
        found = []
        while heard:
            length = 5 if heard[0] == 0x10 else heard[1] + 6 if heard[0] == 0x68 and len(heard) > 1 else 1
            if len(heard) < max(length, 2 if heard[0] == 0x68 else 1):
                break
            frame = bytes(heard[:length])
            body = frame[1:-2] if length == 5 else frame[4:-2]
            if length > 1 and frame[-1] == 0x16 and sum(body) & 0xFF == frame[-2]:
                found.append(frame)
                del heard[:length]
            else:
                del heard[:1]
        return found

    def readdressed(self, answer: bytes) -> bytes:
        """The next primary address; an acknowledge has none."""
        if len(answer) == 1:
            return answer
        return long_frame(answer[4], (answer[5] + 1) % 251, answer[6], answer[7:-2])

    def other_item(self, answer: bytes) -> bytes:
        """An alarm's CI instead of data's."""
        return answer if len(answer) == 1 else long_frame(answer[4], answer[5], 0x71, answer[7:-2])

    def shortened(self, answer: bytes) -> bytes:
        """One byte of data fewer."""
        return answer if len(answer) == 1 else long_frame(answer[4], answer[5], answer[6], answer[7:-3])

    def unsealed(self, answer: bytes) -> bytes:
        """CS off by one; noise in place of an acknowledge."""
        return b"\xe4" if len(answer) == 1 else answer[:-2] + bytes(((answer[-2] + 1) & 0xFF, answer[-1]))


@dataclass(frozen=True, slots=True)
class Record:
    """One value of a telegram: DIF, VIF, octets of BCD, and how many of its last digits stand behind the point.

    ``per_unit``: what the record counts in one of the meter's units (kW told in W: 1000).
    """

    measurand: str
    dif: int
    vif: int
    octets: int
    decimals: int
    per_unit: int = 1

    def wire(self, value: Decimal) -> bytes:
        """DIF, VIF and the number. Registers are cut and roll over, what else is too large shows as the largest."""
        counter = self.measurand.startswith(("energy.", "volume."))
        steps = (value * self.per_unit).scaleb(self.decimals)
        number = int(steps.to_integral_value(ROUND_FLOOR if counter else ROUND_HALF_EVEN))
        most = 10 ** (2 * self.octets)
        number = number % most if counter else max(0, min(number, most - 1))
        return bytes((self.dif, self.vif)) + bytes.fromhex(f"{number:0{2 * self.octets}d}")[::-1]


_BCD6, _BCD8, _BCD4 = 0x0B, 0x0C, 0x0A


def record(item: str, measurand: str, step: Decimal) -> Record | None:
    """How a record of this name is told by a register of this step (kWh, m3); None if no such meter tells it."""
    places = -step.normalize().adjusted()
    if item == "energy" and 0 <= places <= 3:
        return Record(measurand, _BCD8, 0x06 - places, 4, places)
    if item == "volume" and 0 <= places <= 3:
        return Record(measurand, _BCD8, 0x16 - places, 4, places)
    return {
        "power": Record(measurand, _BCD8, 0x2B, 4, 0, per_unit=1000),
        "volume flow": Record(measurand, _BCD6, 0x3B, 3, 3),
        "flow temperature": Record(measurand, _BCD4, 0x5A, 2, 1),
        "return temperature": Record(measurand, _BCD4, 0x5E, 2, 1),
    }.get(item)


MEDIA: Mapping[str, int] = MappingProxyType(
    {"electricity": 2, "gas": 3, "heat": 4, "hot water": 6, "water": 7, "cold water": 0x16}
)


class MbusMeter:
    """The answering side of one meter.

    ``address``: a primary one (0 to 250), or a secondary one (the 8 digits of its number, optionally 8 hex digits more:
    manufacturer, version, medium); then its primary address is 0, as a new meter's. Its identity is the last 8 digits
    of the meter's number. ``telegrams`` 2 puts all but the first record into a second one.
    """

    protocol = "mbus"

    def __init__(
        self,
        meter: FlowMeter | Meter,
        address: str,
        records: Sequence[Record],
        *,
        medium: int = MEDIA["heat"],
        telegrams: int = 1,
    ) -> None:
        primary = address.isdecimal() and len(address) <= 3
        if not (primary and int(address) <= 250) and len(address) not in (8, 16):
            raise ValueError(
                f"{meter.id}: an M-Bus address is 0 to 250, or 8 or 16 digits of the identity, not {address!r}"
            )
        self.meter = meter
        self.address = address
        self._unit = int(address) if primary else 0
        rest = address[8:16].upper().ljust(8, "F") if not primary else "F" * 8
        known = f"402401{medium:02X}"
        self._rest = bytes.fromhex("".join(k if r == "F" else r for r, k in zip(rest, known, strict=True)))
        self._records = tuple(records)
        self._telegrams = telegrams
        self._chosen = False
        self._fcb: bool | None = None
        self._telegram = 0
        self._access = 0
        self._sent = b""

    def identity(self, t_us: int) -> str:
        """The 8 digits by which it is selected."""
        return self.meter.number_at(t_us)[-8:].rjust(8, "0")

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None for silence. ``show`` is called only when values are needed."""
        if frame[0] == 0x68:
            return self._select(frame[4:-2], t_us)
        control, unit = frame[1], frame[2]
        if unit == _SELECTED:
            if not self._chosen:
                return None
        elif unit not in (self._unit, _EVERYBODY):
            return None
        if control == _NKE:
            self._fcb, self._telegram = None, 0
            self._chosen = self._chosen and unit != _SELECTED
            return ACKNOWLEDGE
        if control & ~_FCB != _READ:
            return None
        fcb = bool(control & _FCB)
        if fcb != self._fcb:
            self._fcb = fcb
            self._sent = self._data(show(), t_us)
        return self._sent

    def _select(self, body: bytes, t_us: int) -> bytes | None:
        if len(body) != 11 or body[0] & ~_FCB != _SELECT or body[1:3] != b"\xfd\x52":
            return None
        asked = (body[6:2:-1] + body[8:6:-1] + body[9:11]).hex().upper()
        mine = self.identity(t_us) + self._rest.hex().upper()
        self._chosen = all(a in ("F", b) for a, b in zip(asked, mine, strict=True))
        self._fcb, self._telegram = None, 0
        return ACKNOWLEDGE if self._chosen else None

    def _data(self, shown: Indications, t_us: int) -> bytes:
        told = [r.wire(shown.values[r.measurand]) for r in self._records if r.measurand in shown.values]
        parts = [b"".join(told)] if self._telegrams == 1 else [told[0] + b"\x1f", b"".join(told[1:])]
        part = parts[self._telegram % len(parts)]
        self._telegram += 1
        self._access = (self._access + 1) & 0xFF
        rest = self._rest[1::-1] + self._rest[2:]
        head = bytes.fromhex(self.identity(t_us))[::-1] + rest + bytes((self._access, 0, 0, 0))
        return long_frame(0x08, self._unit, 0x72, head + part)
