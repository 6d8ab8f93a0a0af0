"""A DLMS/COSEM meter (server): its HDLC link, its association, and the objects that it serves by logical name.

Written apart from ``drivers`` on purpose (see ``sim.framing``): frames, CRC and APDUs are built from the standard once
more. Over HDLC (IEC 62056-46) it keeps N(S) and N(R), says its last frame again where it was not acknowledged, and
cuts what is longer than the negotiated size into segments; in the wrapper (IEC 62056-47) there is no link. A value
longer than ``block`` goes out in blocks. Its clock keeps the civil time of UTC+8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from sim.dlt698_meter import crc16_x25
from sim.instrument import Indications, Meter

_FLAG = 0x7E
_ASKED, _SAID = bytes.fromhex("E6E600"), bytes.fromhex("E6E700")
_UNDEFINED, _INCONSISTENT, _DENIED, _NO_BLOCK = 4, 9, 3, 19  # data-access-results
_CIVIL = timedelta(hours=8)
_LN, _CONFORMANCE = bytes.fromhex("60857405080101"), bytes.fromhex("001010")

# unit of ours -> number in the table of IEC 62056-6-2, and how many of the meter's unit are in one of ours
_UNITS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "kWh": (30, 1000), "Wh": (30, 1), "kvar.h": (32, 1000), "kV.A.h": (31, 1000),
        "kW": (27, 1000), "W": (27, 1), "kvar": (29, 1000), "var": (29, 1), "kV.A": (28, 1000), "V.A": (28, 1),
        "V": (35, 1), "A": (33, 1), "Hz": (44, 1), "1": (255, 1),
    }
)  # fmt: skip
# measurand's first word -> scaler of its register; of energies the step of the register decides
_SCALERS: Mapping[str, int] = MappingProxyType(
    {"voltage": -1, "current": -3, "power": -1, "demand": -1, "power_factor": -3, "frequency": -2}
)
# what the plant knows in one unit only: our unit of a measurand's first word
_KNOWN: Mapping[str, str] = MappingProxyType(
    {"voltage": "V", "current": "A", "power_factor": "1", "frequency": "Hz"}
)


@dataclass(frozen=True, slots=True)
class Register:
    """An object that shows one quantity: class 3, 4 or 5; ``code`` are its six bytes. ``kilo``: the plant tells it in
    thousands of the meter's unit.
    """

    class_id: int
    code: bytes
    measurand: str
    scaler: int
    unit: int
    kilo: bool

    def number(self, value: Decimal) -> int:
        """The whole number that the register shows. Counters are cut, the rest is rounded."""
        counts = self.measurand.startswith("energy.")
        steps = (value * (1000 if self.kilo else 1)).scaleb(-self.scaler)
        return int(steps.to_integral_value(ROUND_FLOOR if counts else ROUND_HALF_EVEN))


def register_of(item: str, measurand: str, unit: str, step: Decimal) -> Register:
    """The object behind a profile's item, ``1-0:1.8.0`` or ``4/1-0:1.6.0``; counters have steps of ``step`` kWh."""
    parts = item.split("/")
    class_id = int(parts.pop(0)) if ":" not in parts[0] else 3
    code = (
        bytes(int(n) for n in parts[0].replace("-", " ").replace(":", " ").replace(".", " ").split())
        + b"\xff"
    )
    told, _ = _UNITS[unit]
    first = measurand.partition(".")[0]
    kilo = first not in _KNOWN
    counts = first == "energy"
    scaler = 3 + step.normalize().adjusted() if counts else _SCALERS[first]
    return Register(class_id, code, measurand, scaler, told, kilo)


class DlmsFraming:
    """What clients send, over HDLC or in the wrapper, and how an answer can be wrong."""

    def __init__(self, *, wrapped: bool) -> None:
        self.wrapped = wrapped

    def requests(self, heard: bytearray) -> list[bytes]:
        """Whole messages anywhere in the stream."""
        return _wrapped_requests(heard) if self.wrapped else _link_requests(heard)

    def readdressed(self, answer: bytes) -> bytes:
        """From the next meter."""
        if self.wrapped:
            return answer[:3] + bytes((answer[3] ^ 1,)) + answer[4:]
        head, rest = _opened(answer)
        at = 2 + _size(head[2:])  # behind the client: the server's address
        end = at + _size(head[at:])
        return _closed(head[: end - 1] + bytes((head[end - 1] ^ 2,)) + head[end:], rest)

    def other_item(self, answer: bytes) -> bytes:
        """The answer to another request: its invoke id changed; of the link's own frames the kind."""
        if self.wrapped:
            return answer[:10] + bytes((answer[10] ^ 1,)) + answer[11:]
        head, rest = _opened(answer)
        if rest[:3] == _SAID and len(rest) > 6:
            return _closed(head, rest[:5] + bytes((rest[5] ^ 1,)) + rest[6:])
        return _closed(head[:-1] + bytes((0x97,)), b"")

    def shortened(self, answer: bytes) -> bytes:
        """The last byte missing."""
        if self.wrapped:
            return answer[:6] + (len(answer) - 9).to_bytes(2, "big") + answer[8:-1]
        head, rest = _opened(answer)
        return _closed(head, rest[:-1]) if rest else answer

    def unsealed(self, answer: bytes) -> bytes:
        """A wrong FCS; in the wrapper, which has none, a wrong version."""
        if self.wrapped:
            return b"\0\2" + answer[2:]
        return answer[:-2] + bytes((answer[-2] ^ 1, answer[-1]))


def _size(address: bytes) -> int:
    return next((n for n in (1, 2, 4) if len(address) >= n and address[n - 1] & 1), 0)


def _opened(frame: bytes) -> tuple[bytes, bytes]:
    """From the type to the control byte, and the information."""
    body = frame.strip(b"\x7e") if frame[-1] == _FLAG else frame
    body = frame[1:-1]
    at = 2 + _size(body[2:])
    at += _size(body[at:]) + 1
    return body[:at], body[at + 2 : -2] if len(body) > at + 2 else b""


def _closed(head: bytes, information: bytes, *, segmented: bool = False) -> bytes:
    """A frame from its head (its length is set anew) and information."""
    length = len(head) + 2 + (len(information) + 2 if information else 0)
    start = (0xA000 | (0x0800 if segmented or head[0] & 8 else 0) | length).to_bytes(2, "big")
    head = start + head[2:]
    body = head + (crc16_x25(head) + information if information else b"")
    return b"\x7e" + body + crc16_x25(body) + b"\x7e"


def _link_requests(heard: bytearray) -> list[bytes]:
    found: list[bytes] = []
    while heard:
        start = heard.find(_FLAG)
        if start < 0:
            heard.clear()
            break
        del heard[:start]
        if len(heard) < 3:
            break
        if heard[1] & 0xF0 != 0xA0:
            del heard[:1]
            continue
        length = (heard[1] & 7) << 8 | heard[2]
        if len(heard) < length + 2:
            break
        frame = bytes(heard[: length + 2])
        body = frame[1:-1]
        if length >= 7 and frame[-1] == _FLAG and crc16_x25(body[:-2]) == body[-2:]:
            del heard[: length + 1]  # the closing flag may open the next
            found.append(frame)
        else:
            del heard[:1]
    if bytes(heard) == b"\x7e" and found:
        heard.clear()
    return found


def _wrapped_requests(heard: bytearray) -> list[bytes]:
    found: list[bytes] = []
    while len(heard) >= 8:
        size = 8 + int.from_bytes(heard[6:8], "big")
        if heard[:2] != b"\0\1":
            del heard[:1]
        elif len(heard) < size:
            break
        else:
            found.append(bytes(heard[:size]))
            del heard[:size]
    return found


class DlmsMeter:
    """The answering side of one meter.

    ``address`` as in a site file (``1``, ``1/17``, with ``@`` the only client served besides 16). ``password``: of the
    association with LLS; without one there is none. ``longest``: bytes of information in one frame; ``block``: of an
    APDU. ``extra``: further objects by descriptor (class, code, attribute), as encoded data.
    """

    protocol = "dlms"

    def __init__(
        self,
        meter: Meter,
        address: str,
        registers: Sequence[Register],
        *,
        wrapped: bool = False,
        password: bytes = b"",
        longest: int = 128,
        block: int = 1024,
        extra: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self.meter = meter
        self.wrapped, self._password, self._longest, self._block = wrapped, password, longest, block
        place, _, client = address.partition("+")[0].partition("@")
        place, _, size = place.partition(":")
        upper, _, lower = place.partition("/")
        if not upper.isdecimal() or (lower and not lower.isdecimal()):
            raise ValueError(f"{meter.id}: a DLMS address is written 1 or 1/17, not {address!r}")
        self._port, self._clients = int(upper), {16, int(client or 16)}
        wide = size == "4" or max(int(upper), int(lower or 0)) > 127
        self.server = _server(int(upper), int(lower) if lower else (0 if wide or size == "2" else None), wide)
        self._registers = {register.code: register for register in registers}
        self._extra = dict(extra or {})
        self.hang_up()

    def hang_up(self) -> None:
        """The link is lost: the meter waits for SNRM (in the wrapper: for AARQ)."""
        self._linked = self.wrapped
        self._associated = False
        self._send = self._receive = 0
        self._left: list[bytes] = []  # segments not sent yet
        self._heard = b""
        self._blocks: list[bytes] = []
        self._number = 0
        self._last = b""

    def answer(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        """The answer to a message, or None for silence. ``show`` is called only when values are needed."""
        if self.wrapped:
            source, port = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
            if port != self._port or source not in self._clients:
                return None
            said = self._apdu(frame[8:], show, t_us)
            if said is None:
                return None
            return frame[:2] + frame[4:6] + frame[2:4] + len(said).to_bytes(2, "big") + said
        return self._link(frame, show, t_us)

    # ---- the link

    def _link(self, frame: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        head, information = _opened(frame)
        own = len(self.server)
        if (
            head[2 : 2 + own] != self.server
            or len(head) != own + 4
            or head[2 + own] >> 1 not in self._clients
        ):
            return None
        client, control = head[2 + own : 3 + own], head[-1]
        if control & ~0x10 == 0x83:
            self.hang_up()
            self._linked = True
            return self._frame(client, 0x73, self._parameters(information))
        if control & ~0x10 == 0x43:
            linked = self._linked
            self.hang_up()
            return self._frame(client, 0x73 if linked else 0x1F)
        if not self._linked:
            return self._frame(client, 0x1F)  # DM
        if control & 0x0F == 1:
            return self._polled(client, control >> 5)
        if control & 1:
            return self._frame(client, 0x97)  # FRMR
        if control >> 1 & 7 != self._receive:
            # A repetition of what has been heard: our last frame again, which was lost.
            return self._last or None
        self._receive = (self._receive + 1) & 7
        self._heard += information
        if head[0] & 8:
            return self._kept(self._frame(client, self._receive << 5 | 0x11))
        whole, self._heard = self._heard, b""
        if whole[:3] != _ASKED:
            return self._frame(client, 0x97)
        said = self._apdu(whole[3:], show, t_us)
        if said is None:
            return None
        said = _SAID + said
        self._left = [said[n : n + self._longest] for n in range(0, len(said), self._longest)]
        return self._segment(client)

    def _polled(self, client: bytes, acknowledged: int) -> bytes:
        """RR: the next segment, or the last frame again if it was not acknowledged."""
        if acknowledged != self._send and self._last:
            return self._last
        if self._left:
            return self._segment(client)
        return self._kept(self._frame(client, self._receive << 5 | 0x11))

    def _segment(self, client: bytes) -> bytes:
        piece = self._left.pop(0)
        control = self._receive << 5 | 0x10 | self._send << 1
        self._send = (self._send + 1) & 7
        return self._kept(self._frame(client, control, piece, segmented=bool(self._left)))

    def _kept(self, frame: bytes) -> bytes:
        self._last = frame
        return frame

    def _frame(
        self, client: bytes, control: int, information: bytes = b"", *, segmented: bool = False
    ) -> bytes:
        head = b"\xa0\0" + client + self.server + bytes((control,))
        return _closed(head, information, segmented=segmented)

    def _parameters(self, asked: bytes) -> bytes:
        """What is agreed to: the smaller of both sides' sizes, and a window of one."""
        proposed = 128
        at = 3
        while asked[:2] == b"\x81\x80" and at + 2 <= len(asked):
            if asked[at] == 6:
                proposed = int.from_bytes(asked[at + 2 : at + 2 + asked[at + 1]], "big")
            at += 2 + asked[at + 1]
        self._longest = min(self._longest, proposed)
        size = bytes((2,)) + self._longest.to_bytes(2, "big")
        told = b"\x05" + size + b"\x06" + size + bytes.fromhex("070400000001080400000001")
        return b"\x81\x80" + bytes((len(told),)) + told

    # ---- the application

    def _apdu(self, apdu: bytes, show: Callable[[], Indications], t_us: int) -> bytes | None:
        if apdu[:1] == b"\x60":
            return self._aare(apdu)
        if apdu[:1] == b"\x62":
            self._associated = False
            return bytes.fromhex("6303800100")
        if not self._associated or apdu[:1] != b"\xc0" or len(apdu) < 3:
            return b"\xd8\x01\x02"  # exception: service not allowed, unknown
        kind, invoke = apdu[1], apdu[2:3]
        if kind == 1 and len(apdu) == 13:
            return self._got(invoke, apdu[3:12], show, t_us)
        if kind == 2 and len(apdu) == 7:
            return self._next(invoke, int.from_bytes(apdu[3:7], "big"))
        return b"\xd8\x01\x02"

    def _aare(self, apdu: bytes) -> bytes:
        fields = dict(_fields(apdu[2:]))
        given = fields.get(0xAC, b"")
        mechanism = fields.get(0x8B, b"")[-1:]
        refused = 0
        if fields.get(0xA1, b"")[2:] != _LN:
            refused = 2
        elif self._password and (mechanism != b"\1" or given[2:] != self._password):
            refused = 13 if mechanism else 14
        elif not self._password and mechanism not in (b"", b"\0"):
            refused = 11
        self._associated = not refused
        self._blocks = []
        inner = b"\xa1\x09\x06\x07" + _LN + b"\xa2\x03\x02\x01" + bytes((1 if refused else 0,))
        inner += b"\xa3\x05\xa1\x03\x02\x01" + bytes((refused,))
        if not refused:
            initiate = bytes.fromhex("0800065F1F0400") + _CONFORMANCE + (0x0400).to_bytes(2, "big") + b"\0\7"
            inner += bytes((0xBE, len(initiate) + 2, 4, len(initiate))) + initiate
        return bytes((0x61, len(inner))) + inner

    def _got(self, invoke: bytes, descriptor: bytes, show: Callable[[], Indications], t_us: int) -> bytes:
        data = self._data(descriptor, show, t_us)
        if isinstance(data, int):
            return b"\xc4\1" + invoke + bytes((1, data))
        if len(data) <= self._block:
            return b"\xc4\1" + invoke + b"\0" + data
        self._blocks = [data[n : n + self._block] for n in range(0, len(data), self._block)]
        self._number = 0
        return self._next(invoke, 0)

    def _next(self, invoke: bytes, number: int) -> bytes:
        if number != self._number or not self._blocks:
            return b"\xc4\2" + invoke + b"\1" + number.to_bytes(4, "big") + bytes((1, _NO_BLOCK))
        piece = self._blocks.pop(0)
        self._number += 1
        last = 0 if self._blocks else 1
        return (
            b"\xc4\2"
            + invoke
            + bytes((last,))
            + self._number.to_bytes(4, "big")
            + b"\0"
            + _length(piece)
            + piece
        )

    def _data(self, descriptor: bytes, show: Callable[[], Indications], t_us: int) -> bytes | int:
        """Encoded data, or a data-access-result."""
        if descriptor in self._extra:
            return self._extra[descriptor]
        class_id, code, attribute = int.from_bytes(descriptor[:2], "big"), descriptor[2:8], descriptor[8]
        if attribute == 1:
            return b"\x09\x06" + code
        if (class_id, code) == (1, bytes((0, 0, 96, 1, 0, 255))) and attribute == 2:
            number = self.meter.number_at(t_us).encode()
            return b"\x09" + _length(number) + number
        if (class_id, code) == (8, bytes((0, 0, 1, 0, 0, 255))) and attribute == 2:
            return b"\x09\x0c" + self._clock(t_us)
        register = self._registers.get(code)
        if register is None:
            return _UNDEFINED
        if class_id != register.class_id:
            return _INCONSISTENT
        values = (2, 3) if class_id == 5 else (2,)
        if attribute == (4 if class_id == 5 else 3):
            return (
                b"\2\2\x0f" + register.scaler.to_bytes(1, "big", signed=True) + bytes((0x16, register.unit))
            )
        if attribute not in values:
            return _DENIED
        value = show().values.get(register.measurand)
        return b"\0" if value is None else _number(register.number(value))

    def _clock(self, t_us: int) -> bytes:
        """The civil time with its deviation from UTC, as the standard counts it: minutes to UTC."""
        now = datetime.fromtimestamp(self.meter.clock.shown(t_us) / 1e6, UTC) + _CIVIL
        day = now.year.to_bytes(2, "big") + bytes((now.month, now.day, now.isoweekday()))
        return (
            day
            + bytes((now.hour, now.minute, now.second, 0))
            + (-480).to_bytes(2, "big", signed=True)
            + b"\0"
        )


def _server(upper: int, lower: int | None, wide: bool) -> bytes:
    if wide:
        lower = lower or 0
        return bytes((upper >> 7 << 1, upper % 128 << 1, lower >> 7 << 1, lower % 128 << 1 | 1))
    return bytes((upper << 1 | 1,)) if lower is None else bytes((upper << 1, lower << 1 | 1))


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 2:
        found.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    return found


def _length(data: bytes) -> bytes:
    size = len(data)
    return bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")


def _number(number: int) -> bytes:
    """double-long-unsigned; double-long below zero; beyond both long64."""
    if 0 <= number < 1 << 32:
        return b"\x06" + number.to_bytes(4, "big")
    if -(1 << 31) <= number < 0:
        return b"\x05" + number.to_bytes(4, "big", signed=True)
    return b"\x14" + number.to_bytes(8, "big", signed=True)
