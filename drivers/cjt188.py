"""CJ/T 188 (2004, 2018): water, hot water, heat and gas meters. Pure: no socket, no clock, no float.

::

    FE FE FE  68 10  18 00 00 40 40 92 00  81 16  90 1F 00  29 00 00 00 2C  29 00 00 00 2C  …  00 23  B5 16
    preamble  |  T   address, low first    C  L   DI    SER current 0.29 m3 settlement 0.29 m3 time ST  CS end

No 33 is added to the data. CS is the sum mod 256 from 68 to the end of the data. A frame has one 68 only, so the
decoder also asks for a type that the standard knows (10..49, or the wildcard AA) and L <= 100.

* The DI goes out as ``90 1F`` (2004) or ``1F 90`` (2018): both are accepted, ``wire_order`` tells which it was.
* Numbers are packed BCD, low byte first, and carry their unit as a code: the unit is taken from the wire, never
  searched for or assumed. Bytes all FF: missing. A nibble above 9: missing. An unknown unit code: no value.
* The meter's clock is told only if it is a possible time.

The layout of the heat meter's answer (46 bytes) is the 2004 standard's; no captured heat meter has confirmed it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from drivers.bcd import encode_number, number, stamp
from drivers.codec import (
    Answer,
    Indication,
    LocalProtocolError,
    Mismatch,
    MismatchReason,
    Missing,
    RejectReason,
)
from drivers.stream import Refusal, Stream

READ, READ_ADDRESS, READ_KEY = 0x01, 0x03, 0x09
READING = frozenset((READ, READ_ADDRESS, READ_KEY))
WILDCARD = "A" * 14
ANY = 0xAA  # meter type or SER: whichever
LONGEST_DATA = 100
FUNCTIONS = {
    0x01: "read data",
    0x03: "read address",
    0x04: "write data",
    0x09: "read key version",
    0x15: "write address",
    0x16: "write the motor's synchronous data",
}
TYPES = {
    0x10: "cold water",
    0x11: "hot water",
    0x12: "drinking water",
    0x13: "reclaimed water",
    0x20: "heat",
    0x21: "cooling",
    0x22: "heat and cooling",
    0x30: "gas",
    0x40: "electricity",
}
# Unit codes, table 9 of the 2004 standard: UCUM and the factor that comes with it.
UNITS: dict[int, tuple[str, int]] = {
    0x01: ("J", 1),
    0x02: ("Wh", 1),
    0x05: ("kWh", 1),
    0x08: ("MWh", 1),
    0x0A: ("MWh", 100),
    0x0B: ("kJ", 1),
    0x0E: ("MJ", 1),
    0x11: ("GJ", 1),
    0x13: ("GJ", 100),
    0x14: ("W", 1),
    0x17: ("kW", 1),
    0x1A: ("MW", 1),
    0x29: ("L", 1),
    0x2C: ("m3", 1),
    0x32: ("L/h", 1),
    0x35: ("m3/h", 1),
}
_ENERGY = ("J", "Wh", "kWh", "MWh", "kJ", "MJ", "GJ")
_VOLUME = ("L", "m3")
_POWER = ("W", "kW", "MW")
_FLOW = ("L/h", "m3/h")
_KNOWN = frozenset(("901F", *(f"D12{n:X}" for n in range(12))))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one meter: ``address`` has 14 digits, ``A`` for any; ``item`` is the DI with 90 or D1 first.

    ``wire_order``: the DI's bytes as written (``901F`` → 90 1F) or ``swapped``.
    """

    address: str
    meter_type: int = ANY
    function: int = READ
    item: str = "901F"
    ser: int = 0
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One sound frame: ``raw`` from 68 to 16."""

    offset: int
    raw: bytes

    @property
    def meter_type(self) -> int:
        """T."""
        return self.raw[1]

    @property
    def address(self) -> str:
        """14 digits, high byte first: 4 of the maker, 10 of the meter."""
        return self.raw[2:9][::-1].hex().upper()

    @property
    def control(self) -> int:
        """C."""
        return self.raw[9]

    @property
    def from_meter(self) -> bool:
        """D7."""
        return bool(self.control & 0x80)

    @property
    def failed(self) -> bool:
        """D6: the meter refuses."""
        return bool(self.control & 0x40)

    @property
    def function(self) -> int:
        """D5..D0."""
        return self.control & 0x3F

    @property
    def data(self) -> bytes:
        """The data field."""
        return self.raw[11:-2]

    @property
    def wire_order(self) -> str:
        """The DI's two bytes as they came."""
        return self.data[:2].hex().upper() if not self.failed and len(self.data) >= 2 else ""

    @property
    def item(self) -> str:
        """The DI, whichever order it came in; as it came if neither order is known."""
        came = self.wire_order
        turned = came[2:] + came[:2]
        return turned if turned in _KNOWN and came not in _KNOWN else came

    @property
    def ser(self) -> int | None:
        """SER, the number that the answer repeats."""
        return self.data[2] if not self.failed and len(self.data) >= 3 else None

    @property
    def error(self) -> str:
        """What a refusal says, or empty."""
        return f"error answer: {self.data.hex(' ').upper()}" if self.failed else ""


class Decoder(Stream[Frame]):
    """The frames of one line."""

    _start = b"\x68"
    _preamble = b"\xfe"

    def _candidate(self, held: memoryview, at: int, final: bool) -> Frame | Refusal | None:
        left = len(held) - at
        if left > 1 and not (0x10 <= held[at + 1] <= 0x49 or held[at + 1] == ANY):
            return RejectReason.NOISE, 1, ""
        if left > 10 and held[at + 10] > LONGEST_DATA:
            return RejectReason.LENGTH, 11, f"length {held[at + 10]} is above {LONGEST_DATA}"
        size = 13 + held[at + 10] if left > 10 else 13
        if left < size:
            if not final:
                return None
            return RejectReason.TRUNCATED, left, "the stream ends inside the frame"
        raw = bytes(held[at : at + size])
        if raw[-1] != 0x16:
            return RejectReason.END_BYTE, size, f"{raw[-1]:02X} stands where 16 should"
        total = sum(raw[:-2]) & 0xFF
        if total != raw[-2]:
            return RejectReason.CHECKSUM, size, f"sum is {total:02X}, frame says {raw[-2]:02X}"
        return Frame(self._offset + at, raw)


def address(text: str) -> str:
    """The 14 digits of an address, shorter ones padded with zeros on the left; A for any digit."""
    digits = text.strip().upper()
    if not digits or len(digits) > 14 or not (set(digits) <= set("0123456789") or digits == WILDCARD):
        raise ValueError(
            f"{text!r} is no CJ/T 188 address: up to 14 decimal digits as printed, or 14 times A"
        )
    return digits.rjust(14, "0")


def build(meter_type: int, address_text: str, control: int, data: bytes) -> bytes:
    """A frame from its parts, without preamble: either side's."""
    if len(address_text) != 14 or len(data) > LONGEST_DATA:
        raise LocalProtocolError(f"no frame: address {address_text!r}, {len(data)} bytes of data")
    body = (
        b"\x68"
        + bytes((meter_type,))
        + bytes.fromhex(address_text)[::-1]
        + bytes((control, len(data)))
        + data
    )
    return body + bytes((sum(body) & 0xFF, 0x16))


def _head(request: Request) -> bytes:
    di = bytes.fromhex(request.item)
    return (di[::-1] if request.swapped else di) + bytes((request.ser,))


def encode(request: Request, *, writes: bool = False, preamble: int = 4) -> bytes:
    """The bytes of a request; LocalProtocolError for anything but reading unless ``writes``."""
    if request.function not in READING and not writes:
        what = FUNCTIONS.get(request.function, f"function {request.function:02X}")
        raise LocalProtocolError(
            f"{what} changes the meter; this product only reads unless writing is enabled"
        )
    frame = build(request.meter_type, request.address, request.function, _head(request))
    return b"\xfe" * preamble + frame


def request_of(frame: Frame) -> Request | None:
    """The request that a frame carries, as a meter reads it; None if it comes from a meter or names no DI."""
    if frame.from_meter or frame.ser is None:
        return None
    swapped = frame.item != frame.wire_order
    return Request(frame.address, frame.meter_type, frame.function, frame.item, frame.ser, swapped)


def answer(request: Request, payload: bytes, *, address_text: str = "", meter_type: int = 0) -> bytes:
    """A meter's answer: DI and SER repeated."""
    data = _head(request) + payload
    return build(
        meter_type or request.meter_type, address_text or request.address, request.function | 0x80, data
    )


def match(request: Request, frame: Frame) -> Answer | Mismatch:
    """Accept ``frame`` only if direction, type, address, function, DI (in either order) and SER agree."""

    def no(reason: MismatchReason, detail: str) -> Mismatch:
        return Mismatch(reason, frame.raw, detail)

    if not frame.from_meter:
        if frame.raw == encode(request, writes=True, preamble=0):
            return no(MismatchReason.ECHO, "our own request, heard back")
        return no(MismatchReason.FUNCTION, "a request of another master")
    if not all(a in ("A", f) for a, f in zip(request.address, frame.address, strict=True)):
        return no(MismatchReason.ADDRESS, f"asked {request.address}, {frame.address} answered")
    if request.meter_type not in (ANY, frame.meter_type):
        return no(
            MismatchReason.ADDRESS, f"asked type {request.meter_type:02X}, {frame.meter_type:02X} answered"
        )
    if frame.function != request.function:
        return no(MismatchReason.FUNCTION, f"asked {request.function:02X}, got control {frame.control:02X}")
    if frame.failed:
        return Answer(request.item, b"", frame.raw, frame.address, frame.error)
    if len(frame.data) < 3:
        return no(MismatchReason.LENGTH, f"{len(frame.data)} bytes hold no DI and SER")
    if request.function == READ and frame.item != request.item:
        return no(MismatchReason.ITEM, f"asked {request.item}, got {frame.item}")
    if request.ser not in (ANY, frame.ser):
        return no(MismatchReason.SEQUENCE, f"asked SER {request.ser}, got {frame.ser}")
    return Answer(request.item, frame.data[3:], frame.raw, frame.address)


# ---- values ---------------------------------------------------------------------------------------------------------


def decode(meter_type: int, item: str, payload: bytes) -> tuple[Indication, ...]:
    """The indications of an answer's payload (after DI and SER). Never raises, never guesses."""
    heat = 0x20 <= meter_type <= 0x29
    if item not in _KNOWN:
        return (Indication(item, "", None, "", Missing.UNKNOWN_FORMAT, payload.hex(" ").upper()),)
    wanted = 5 if item != "901F" else 43 if heat else 19
    if len(payload) != wanted:
        detail = f"{item} of type {meter_type:02X} has {wanted} bytes, {len(payload)} came: {payload.hex(' ').upper()}"
        return (Indication(item, "", None, "", Missing.WRONG_LENGTH, detail),)
    if item != "901F":
        name = f"settlement{int(item[3], 16) + 1}"
        return (_quantity(name, f"volume.{name}", payload, 2, _VOLUME + _ENERGY),)
    return _heat(payload) if heat else _volume(payload)


def meter_type_of(kind: str) -> int:
    """T for a profile's kind: ``water``, ``hot water``, ``heat``, ``gas`` …; ValueError names those that exist."""
    types = {"water": 0x10, **{name: code for code, name in TYPES.items()}}
    if kind not in types:
        raise ValueError(f"kind {kind!r} is no CJ/T 188 meter; there are {', '.join(types)}")
    return types[kind]


def encode_payload(values: Mapping[str, Decimal], unit: str = "m3") -> bytes:
    """A water or gas meter's payload for 901F; FF where there is no value. The clock is not told (zeros)."""
    code = next((code for code, known in UNITS.items() if known == (unit, 1)), None)
    if code is None or unit not in _VOLUME:
        raise LocalProtocolError(f"{unit!r} is no unit of volume in CJ/T 188")
    out = b""
    for name in ("current_cumulative", "settlement_or_reverse_cumulative"):
        value = values.get(name)
        out += b"\xff" * 4 if value is None else encode_number(value, 4, 2, signed=False)
        out += bytes((code,))
    return out + bytes(9)


def encode_heat(values: Mapping[str, Decimal], units: Mapping[str, str]) -> bytes:
    """A heat meter's payload for 901F (2004); FF where there is no value. The clock is not told (zeros)."""
    out = b""
    for name, decimals, unit in (
        ("settlement_heat", 2, "kWh"),
        ("current_heat", 2, "kWh"),
        ("power", 2, "kW"),
        ("flow", 4, "m3/h"),
        ("current_cumulative", 2, "m3"),
    ):
        told = units.get(name, unit)
        code = next((code for code, known in UNITS.items() if known == (told, 1)), None)
        if code is None:
            raise LocalProtocolError(f"{told!r} has no unit code in CJ/T 188")
        out += _encoded(values.get(name), 4, decimals) + bytes((code,))
    for name, size, decimals in (
        ("supply_temperature", 3, 2),
        ("return_temperature", 3, 2),
        ("working_time", 3, 0),
    ):
        out += _encoded(values.get(name), size, decimals)
    return out + bytes(9)


def _encoded(value: Decimal | None, size: int, decimals: int) -> bytes:
    return b"\xff" * size if value is None else encode_number(value, size, decimals, signed=False)


def _volume(payload: bytes) -> tuple[Indication, ...]:
    return (
        _quantity("current_cumulative", "volume.total", payload[0:5], 2, _VOLUME),
        _quantity("settlement_or_reverse_cumulative", "volume.settlement", payload[5:10], 2, _VOLUME),
        _time(payload[10:17]),
        _status(payload[17:19]),
    )


def _turned(payload: bytes) -> bool:
    """Whether a maker writes each unit before its value (seen in the field): then no quantity is where it should be."""
    quantities = ((0, _ENERGY), (5, _ENERGY), (10, _POWER), (15, _FLOW), (20, _VOLUME))
    units = [(payload[at], payload[at + 4], allowed) for at, allowed in quantities]
    before = all(UNITS.get(first, ("", 0))[0] in allowed for first, _, allowed in units)
    return before and not all(UNITS.get(last, ("", 0))[0] in allowed for _, last, allowed in units)


def _heat(payload: bytes) -> tuple[Indication, ...]:
    found = _heat_fields(payload)
    if not _turned(payload):
        return found
    detail = "the units stand before their values, which is not CJ/T 188"
    return (
        tuple(
            Indication(
                one.item, one.measurand, None, "", Missing.UNKNOWN_FORMAT, f"{detail}: {raw.hex(' ').upper()}"
            )
            for one, raw in zip(found, (payload[at : at + 5] for at in range(0, 25, 5)), strict=False)
        )
        + found[5:]
    )


def _heat_fields(payload: bytes) -> tuple[Indication, ...]:
    return (
        _quantity("settlement_heat", "energy.heat.settlement", payload[0:5], 2, _ENERGY),
        _quantity("current_heat", "energy.heat.total", payload[5:10], 2, _ENERGY),
        _quantity("power", "power.heat", payload[10:15], 2, _POWER),
        _quantity("flow", "flow.volume", payload[15:20], 4, _FLOW),
        _quantity("current_cumulative", "volume.total", payload[20:25], 2, _VOLUME),
        _bare("supply_temperature", "temperature.supply", payload[25:28], 2, "Cel"),
        _bare("return_temperature", "temperature.return", payload[28:31], 2, "Cel"),
        _bare("working_time", "time.operation", payload[31:34], 0, "h"),
        _time(payload[34:41]),
        _status(payload[41:43]),
    )


def _quantity(name: str, measurand: str, raw: bytes, decimals: int, allowed: tuple[str, ...]) -> Indication:
    """Four BCD bytes and their unit."""
    shown = raw.hex(" ").upper()
    if all(byte == 0xFF for byte in raw[:4]):
        return Indication(name, measurand, None, "", Missing.NOT_SUPPORTED, shown)
    unit, factor = UNITS.get(raw[4], ("", 0))
    if unit not in allowed:
        detail = f"unit code {raw[4]:02X} is not one for {measurand}: {shown}"
        return Indication(name, measurand, None, "", Missing.UNKNOWN_FORMAT, detail)
    indication = _bare(name, measurand, raw[:4], decimals, unit)
    if indication.value is None or factor == 1:
        return indication
    return Indication(name, measurand, indication.value * factor, indication.unit)


def _bare(name: str, measurand: str, raw: bytes, decimals: int, unit: str) -> Indication:
    value = number(raw, decimals, signed=False)
    if isinstance(value, Decimal):
        return Indication(name, measurand, value, unit)
    return Indication(name, measurand, None, unit, value, raw.hex(" ").upper())


def _time(raw: bytes) -> Indication:
    """Seconds first, century last; what is no possible time is not told."""
    text = stamp(raw[:6], "smhDMY")
    century, month, day = f"{raw[6]:02x}", raw[4], raw[3]
    if text is None or not century.isdecimal() or not century.strip("0") or not month or not day:
        return Indication("meter_time", "clock", None, "", Missing.NOT_A_NUMBER, raw.hex(" ").upper())
    return Indication(
        "meter_time", "clock", None, "", Missing.NOT_NUMERIC, century + text[2:].replace(" ", "T")
    )


def _status(raw: bytes) -> Indication:
    return Indication("status", "status", None, "", Missing.NOT_NUMERIC, raw.hex().upper())
