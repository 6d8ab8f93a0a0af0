"""A DL/T 698.45 meter: what it answers to GET requests of one OAD, of several, and of a next block.

Written apart from ``drivers`` on purpose (see ``sim.framing``): frames and CRC here are built from the standard once
more. A meter without time-of-use counts everything in tariff 1. What it does not have is refused with DAR 6; services
other than GET with an error answer. An APDU longer than ``longest`` goes out in link fragments, each to be confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from sim.instrument import Indications, Meter, rounded

NO_SUCH_OBJECT = 6
_PHASES = ("l1", "l2", "l3")
_WITH_TOTAL = ("total", *_PHASES)
_DAILY, _FREEZE_TIME = bytes.fromhex("50040200"), bytes.fromhex("20210200")
_DAY_US, _AHEAD_US = 86_400_000_000, 8 * 3_600_000_000
_PREAMBLE = b"\xfe" * 4

# OI -> measurand
_ENERGIES: Mapping[int, str] = MappingProxyType(
    {
        0x0010: "energy.active.import",
        0x0020: "energy.active.export",
        0x0030: "energy.reactive.import",
        0x0040: "energy.reactive.export",
    }
)
# OI -> measurand without its phase, places, decimals of what is told, our units in one of its, type tag and its octets
_VARIABLES: Mapping[int, tuple[str, tuple[str, ...], int, int, int, int]] = MappingProxyType(
    {
        0x2000: ("voltage", _PHASES, 1, 1, 0x12, 2),
        0x2001: ("current", _PHASES, 3, 1, 0x05, 4),
        0x2004: ("power.active", _WITH_TOTAL, 1, 1000, 0x05, 4),
        0x2005: ("power.reactive", _WITH_TOTAL, 1, 1000, 0x05, 4),
        0x2006: ("power.apparent", _WITH_TOTAL, 1, 1000, 0x05, 4),
        0x200A: ("power_factor", _WITH_TOTAL, 3, 1, 0x10, 2),
    }
)


def crc16_x25(data: bytes) -> bytes:
    """CRC-16/X.25 (annex D), low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return (crc ^ 0xFFFF).to_bytes(2, "little")


def frame_of(control: int, server: bytes, client: int, inner: bytes) -> bytes:
    """A frame from its control, the address as on the wire (AF and digits), the client's number and the APDU."""
    head = (7 + len(server) + 1 + len(inner)).to_bytes(2, "little") + bytes((control,)) + server
    head += bytes((client,))
    body = head + crc16_x25(head) + inner
    return b"\x68" + body + crc16_x25(body) + b"\x16"


def _parts(frame: bytes) -> tuple[int, bytes, int, bytes]:
    size = frame[4] & 0x0F
    end = 6 + size
    return frame[3], frame[4:end], frame[end], frame[end + 3 : -3]


class Dlt698Framing:
    """Frames of clients, and how an answer can be wrong."""

    def requests(self, heard: bytearray) -> list[bytes]:
        """Sound frames anywhere in the stream; a frame with DIR set is another meter's answer, not a request."""
        found: list[bytes] = []
        start = 0
        while start < len(heard):
            if heard[start] != 0x68:
                start += 1
                continue
            if len(heard) < start + 3:
                break
            length = 2 + int.from_bytes(heard[start + 1 : start + 3], "little")
            if not 12 <= length <= 600:
                start += 1
                continue
            if len(heard) < start + length:
                break
            frame = bytes(heard[start : start + length])
            if frame[-1] == 0x16 and crc16_x25(frame[1:-3]) == frame[-3:-1]:
                if not frame[3] & 0x80:
                    found.append(frame)
                start += length
            else:
                start += 1
        del heard[:start]
        return found

    @staticmethod
    def _split(answer: bytes) -> tuple[bytes, bytes]:
        begin = answer.index(0x68)
        return answer[:begin], answer[begin:]

    def readdressed(self, answer: bytes) -> bytes:
        """Lowest digit of the address changed by one."""
        preamble, frame = self._split(answer)
        control, server, client, inner = _parts(frame)
        changed = server[1] & 0xF0 | (server[1] % 16 + 1) % 10
        return preamble + frame_of(control, server[:1] + bytes((changed,)) + server[2:], client, inner)

    def other_item(self, answer: bytes) -> bytes:
        """The first OAD of the answer has another object."""
        preamble, frame = self._split(answer)
        control, server, client, inner = _parts(frame)
        at = 3 if inner[1] == 1 else 4
        return preamble + frame_of(
            control, server, client, inner[:at] + bytes((inner[at] ^ 0x01,)) + inner[at + 1 :]
        )

    def shortened(self, answer: bytes) -> bytes:
        """One byte of the APDU fewer."""
        preamble, frame = self._split(answer)
        control, server, client, inner = _parts(frame)
        return preamble + frame_of(control, server, client, inner[:-1])

    def unsealed(self, answer: bytes) -> bytes:
        """FCS off by one."""
        return answer[:-2] + bytes(((answer[-2] + 1) & 0xFF, answer[-1]))


class Dlt698Meter:
    """The answering side of one meter; ``longest`` is how many bytes of an APDU go into one frame."""

    protocol = "dlt698"

    def __init__(self, meter: Meter, address: str, *, longest: int = 512) -> None:
        digits, _, _ = address.partition("@")
        digits = digits.rjust(len(digits) + len(digits) % 2, "0")
        if not digits.isdecimal() or not 2 <= len(digits) <= 32:
            raise ValueError(
                f"{meter.id}: a DL/T 698.45 address has up to 32 decimal digits, not {address!r}"
            )
        self.meter = meter
        self.address = digits
        self._server = bytes((len(digits) // 2 - 1,)) + bytes.fromhex(digits)[::-1]
        self._longest = longest
        self._left: list[bytes] = []  # fragments that have not been fetched
        self._number = 0

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a sound request, or None for silence. ``show`` is called only when values are needed."""
        control, server, client, inner = _parts(frame)
        if not self._addressed(server):
            return None
        if control & 0x08:
            inner = bytes((byte - 0x33) & 0xFF for byte in inner)
        if control & 0x20:
            return self._confirmed(client, int.from_bytes(inner[:2], "little"))
        if inner[:2] == b"\x05\x03" and len(inner) > 11:
            return self._frame(client, self._record(inner, t_us))
        if inner[:1] != b"\x05" or len(inner) < 4 or inner[1] not in (1, 2):
            return self._frame(client, bytes((0xEE, inner[1] if len(inner) > 1 else 0, 2, 0, 0)))
        kind, service = inner[1], inner[2]
        count, at = (1, 3) if kind == 1 else (inner[3], 4)
        if len(inner) < at + 4 * count:
            return self._frame(client, bytes((0xEE, service, 1, 0, 0)))
        shown = show()
        results = b"".join(self._result(inner[at + 4 * n : at + 4 * n + 4], shown) for n in range(count))
        apdu = bytes((0x85, kind, service)) + (bytes((count,)) if kind == 2 else b"") + results + b"\0\0"
        return self._frame(client, apdu)

    def _record(self, inner: bytes, t_us: int) -> bytes:
        """The last record of the daily freeze (selector 9): of midnight, by the meter's own clock at UTC+8."""
        columns = [inner[n : n + 4] for n in range(11, len(inner) - 1, 5)]
        head = inner[3:7] + inner[9:-1]
        if inner[3:7] != _DAILY or inner[7:9] != b"\x09\x01" or inner[10::5][: len(columns)].strip(b"\0"):
            return b"\x85\x03" + inner[2:3] + head + bytes((0, NO_SUCH_OBJECT, 0, 0))
        behind_us = (self.meter.clock.shown(t_us) + _AHEAD_US) % _DAY_US
        frozen = self.meter.show(t_us - behind_us)
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=self.meter.clock.shown(t_us) - behind_us + _AHEAD_US
        )
        when = b"\x1c" + local.year.to_bytes(2, "big") + bytes((local.month, local.day, 0, 0, 0))
        row = b"".join(
            when
            if column == _FREEZE_TIME
            else self._data(int.from_bytes(column[:2], "big"), column[2], column[3], frozen) or b"\0"
            for column in columns
        )
        return b"\x85\x03" + inner[2:3] + head + b"\x01\x01" + row + b"\0\0"

    def _addressed(self, server: bytes) -> bool:
        own, asked = self._server[:0:-1].hex(), server[:0:-1].hex()
        if server[0] >> 6 == 0:
            return own.lstrip("0") == asked.lstrip("0")
        width = max(len(own), len(asked))
        pairs = zip(own.rjust(width, "0"), asked.rjust(width, "0"), strict=True)
        return server[0] >> 6 == 1 and all(b in ("a", a) for a, b in pairs)

    def _frame(self, client: int, apdu: bytes) -> bytes:
        if len(apdu) <= self._longest:
            return _PREAMBLE + frame_of(0xC3, self._server, client, apdu)
        step = self._longest
        self._left, self._number = [apdu[n : n + step] for n in range(0, len(apdu), step)], 0
        return self._fragment(client, first=True)

    def _fragment(self, client: int, *, first: bool) -> bytes:
        part = self._left.pop(0)
        which = 0 if first else 3 if self._left else 1
        header = (self._number | which << 14).to_bytes(2, "little")
        return _PREAMBLE + frame_of(0xE3, self._server, client, header + part)

    def _confirmed(self, client: int, header: int) -> bytes | None:
        if header >> 14 != 2 or header & 0x0FFF != self._number or not self._left:
            return None
        self._number += 1
        return self._fragment(client, first=False)

    def _result(self, oad: bytes, shown: Indications) -> bytes:
        data = self._data(int.from_bytes(oad[:2], "big"), oad[2], oad[3], shown)
        return oad + (bytes((0, NO_SUCH_OBJECT)) if data is None else b"\x01" + data)

    def _data(self, oi: int, attribute: int, element: int, shown: Indications) -> bytes | None:
        if attribute != 2:
            return None
        if oi == 0x4002 and element == 0:
            digits = shown.number.rjust(12, "0")
            packed = bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
            return bytes((9, len(packed))) + packed
        if oi in _ENERGIES:
            total = _number(shown.values[_ENERGIES[oi]], 2, 0x06, 4)
            return _picked([total, total, *[b"\x06\0\0\0\0"] * 3], element)
        if oi in _VARIABLES:
            name, places, decimals, factor, tag, octets = _VARIABLES[oi]
            values = [shown.values.get(f"{name}.{place}") for place in places]
            told = [b"\0" if v is None else _number(v * factor, decimals, tag, octets) for v in values]
            return _picked(told, element)
        if oi == 0x200F and element == 0:
            return _number(shown.values["frequency"], 2, 0x12, 2)
        return None


def _picked(elements: list[bytes], element: int) -> bytes | None:
    if element == 0:
        return bytes((1, len(elements))) + b"".join(elements)
    return elements[element - 1] if element <= len(elements) else None


def _number(value: Decimal, decimals: int, tag: int, octets: int) -> bytes:
    steps = int(rounded(value, Decimal(1).scaleb(-decimals)).scaleb(decimals))
    signed = tag in (0x05, 0x10)
    most = (1 << 8 * octets - signed) - 1
    low = -most - 1 if signed else 0
    return bytes((tag,)) + min(max(steps, low), most).to_bytes(octets, "big", signed=signed)
