"""A heat meter on M-Bus (EN 13757-2, -3): it keeps the frame count bit, is selected by its identity, and its telegrams
may be several. Written apart from ``drivers`` on purpose (see ``sim.framing``).

The meter has volume and energy registers that run with a steady flow and power.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass
class MbusMeter:
    """One heat meter. Registers are ``start`` plus what has run since ``since_us``; in kWh and 0.001 m3.

    ``telegrams`` 2 puts the temperatures into a second one.
    """

    id: str
    unit: int
    identity: str  # 8 digits
    since_us: int
    start_kwh: int = 1_000
    start_litres: int = 50_000
    power_kw: int = 12
    litres_per_h: int = 400
    telegrams: int = 1
    _chosen: bool = False
    _fcb: bool | None = None
    _telegram: int = 0
    _access: int = 0
    _sent: bytes = b""

    def energy(self, utc_us: int) -> int:
        """KWh at an instant."""
        return self.start_kwh + (utc_us - self.since_us) * self.power_kw // 3_600_000_000

    def litres(self, utc_us: int) -> int:
        """Litres at an instant."""
        return self.start_litres + (utc_us - self.since_us) * self.litres_per_h // 3_600_000_000

    def answer(self, frame: bytes, utc_us: int, *, stuck_since_us: int | None = None) -> bytes | None:
        """The answer to a request at an instant, or None for silence."""
        at = utc_us if stuck_since_us is None else stuck_since_us
        if frame[0] == 0x68:
            return self._select(frame[4:-2])
        control, unit = frame[1], frame[2]
        if unit == _SELECTED:
            if not self._chosen:
                return None
        elif unit not in (self.unit, _EVERYBODY):
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
            self._sent = self._data(at)
        return self._sent

    def _select(self, body: bytes) -> bytes | None:
        if len(body) != 11 or body[0] & ~_FCB != _SELECT or body[1:3] != b"\xfd\x52":
            return None
        asked = body[6:2:-1].hex().upper()
        self._chosen = all(a in ("F", b) for a, b in zip(asked, self.identity, strict=True))
        self._fcb, self._telegram = None, 0
        return ACKNOWLEDGE if self._chosen else None

    def _data(self, at: int) -> bytes:
        temperatures = b"\x0a\x5a" + _bcd(705, 2) + b"\x0a\x5e" + _bcd(452, 2)
        first = (
            b"\x0c\x06" + _bcd(self.energy(at), 4) + b"\x0c\x13" + _bcd(self.litres(at), 4)
            + b"\x0b\x2e" + _bcd(self.power_kw, 3) + b"\x0b\x3b" + _bcd(self.litres_per_h, 3)
        )  # fmt: skip
        parts = (first + temperatures,) if self.telegrams == 1 else (first + b"\x1f", temperatures)
        part = parts[self._telegram % len(parts)]
        self._telegram += 1
        self._access = (self._access + 1) & 0xFF
        head = bytes.fromhex(self.identity)[::-1] + b"\x24\x40\x01\x04" + bytes((self._access, 0, 0, 0))
        return long_frame(0x08, self.unit, 0x72, head + part)


def _bcd(number: int, size: int) -> bytes:
    return bytes.fromhex(f"{number % 10 ** (2 * size):0{2 * size}d}")[::-1]
