"""What M-Bus value information means (EN 13757-3): quantity, unit and factor of every VIF, VIFE, medium and error.

Units are UCUM as the house writes them; factors are exact. Durations come in seconds where the wire's unit is an exact
number of them (months and years are not).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

NUMBER, BITS, MOMENT = "number", "bits", "moment"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a VIF says: ``factor`` makes the unit of the coded number; ``kind`` how the bytes are to be read.

    ``BITS`` are unsigned and have no invalid code; ``MOMENT`` is a date, a time, or both, by its size.
    """

    name: str
    unit: str = ""
    factor: Decimal = Decimal(1)
    kind: str = NUMBER


_SECONDS = (1, 60, 3600, 86400)


def _ten(exponent: int) -> Decimal:
    return Decimal(1).scaleb(exponent)


def _scale(name: str, unit: str, exponent: int) -> Quantity:
    return Quantity(name, unit, _ten(exponent))


# first code, how many, name, unit, exponent of the first: codes that count up powers of ten
_MAIN = (
    (0x00, 8, "energy", "Wh", -3),
    (0x08, 8, "energy", "J", 0),
    (0x10, 8, "volume", "m3", -6),
    (0x18, 8, "mass", "kg", -3),
    (0x28, 8, "power", "W", -3),
    (0x30, 8, "power", "J/h", 0),
    (0x38, 8, "volume flow", "m3/h", -6),
    (0x40, 8, "volume flow", "m3/min", -7),
    (0x48, 8, "volume flow", "m3/s", -9),
    (0x50, 8, "mass flow", "kg/h", -3),
    (0x58, 4, "flow temperature", "Cel", -3),
    (0x5C, 4, "return temperature", "Cel", -3),
    (0x60, 4, "temperature difference", "K", -3),
    (0x64, 4, "external temperature", "Cel", -3),
    (0x68, 4, "pressure", "bar", -3),
)
_MAIN_TIMES = (
    (0x20, "on time"),
    (0x24, "operating time"),
    (0x70, "averaging duration"),
    (0x74, "actuality duration"),
)
_FB = (
    (0x00, 2, "energy", "Wh", 5),
    (0x02, 2, "reactive energy", "kvar.h", 0),
    (0x04, 2, "apparent energy", "kV.A.h", 0),
    (0x08, 2, "energy", "J", 8),
    (0x0C, 4, "energy", "Mcal", -1),
    (0x10, 2, "volume", "m3", 2),
    (0x14, 4, "reactive power", "kvar", -3),
    (0x18, 2, "mass", "kg", 5),
    (0x1A, 2, "relative humidity", "%", -1),
    (0x20, 1, "volume", "[cft_i]", 0),
    (0x21, 1, "volume", "[cft_i]", -1),
    (0x22, 2, "volume", "[gal_us]", -1),
    (0x24, 1, "volume flow", "[gal_us]/min", -3),
    (0x25, 1, "volume flow", "[gal_us]/min", 0),
    (0x26, 1, "volume flow", "[gal_us]/h", 0),
    (0x28, 2, "power", "W", 5),
    (0x2A, 1, "phase angle U-U", "deg", -1),
    (0x2B, 1, "phase angle U-I", "deg", -1),
    (0x2C, 4, "frequency", "Hz", -3),
    (0x30, 2, "power", "J/h", 8),
    (0x34, 4, "apparent power", "kV.A", -3),
    (0x58, 4, "flow temperature", "[degF]", -3),
    (0x5C, 4, "return temperature", "[degF]", -3),
    (0x60, 4, "temperature difference", "[degF]", -3),
    (0x64, 4, "external temperature", "[degF]", -3),
    (0x70, 4, "cold/warm temperature limit", "[degF]", -3),
    (0x74, 4, "cold/warm temperature limit", "Cel", -3),
    (0x78, 8, "cumulative maximum of power", "W", -3),
)
_FD = (
    (0x00, 4, "credit", "currency", -3),
    (0x04, 4, "debit", "currency", -3),
    (0x40, 16, "voltage", "V", -9),
    (0x50, 16, "current", "A", -12),
)
_FD_TIMES = (
    (0x24, "storage interval"),
    (0x2C, "duration since last readout"),
    (0x34, "period of tariff"),
    (0x3C, "period of nominal data transmission"),
)
_FD_BITS = {
    0x08: "access number",
    0x09: "medium",
    0x0A: "manufacturer",
    0x0B: "parameter set",
    0x0C: "model",
    0x0D: "hardware version",
    0x0E: "firmware version",
    0x0F: "software version",
    0x10: "customer location",
    0x11: "customer",
    0x12: "access code user",
    0x13: "access code operator",
    0x14: "access code system operator",
    0x15: "access code developer",
    0x16: "password",
    0x17: "error flags",
    0x18: "error mask",
    0x19: "security key",
    0x1A: "digital output",
    0x1B: "digital input",
    0x1C: "baud rate",
    0x1D: "response delay time",
    0x1E: "retry",
    0x1F: "remote control",
    0x20: "first storage number",
    0x21: "last storage number",
    0x22: "size of storage block",
    0x23: "descriptor for tariff and subunit",
    0x2A: "operator specific data",
    0x3B: "data container for wireless M-Bus",
    0x60: "reset counter",
    0x61: "cumulation counter",
    0x62: "control signal",
    0x63: "day of week",
    0x64: "week number",
    0x65: "time point of day change",
    0x66: "state of parameter activation",
    0x67: "special supplier information",
    0x72: "daylight saving",
    0x73: "listening window management",
    0x75: "number of times the meter was stopped",
    0x76: "manufacturer specific data container",
}


def _tables() -> tuple[dict[int, Quantity], dict[int, Quantity], dict[int, Quantity]]:
    main: dict[int, Quantity] = {}
    fb: dict[int, Quantity] = {}
    fd: dict[int, Quantity] = {}
    for table, rows in ((main, _MAIN), (fb, _FB), (fd, _FD)):
        for first, count, name, unit, exponent in rows:
            for n in range(count):
                table[first + n] = _scale(name, unit, exponent + n)
    for table, times in ((main, _MAIN_TIMES), (fd, _FD_TIMES)):
        for first, name in times:
            for n, seconds in enumerate(_SECONDS):
                table[first + n] = Quantity(name, "s", Decimal(seconds))
    main |= {
        0x6C: Quantity("date", kind=MOMENT),
        0x6D: Quantity("time point", kind=MOMENT),
        0x6E: Quantity("heat cost allocation", "{HCA}"),
        0x78: Quantity("fabrication number", kind=BITS),
        0x79: Quantity("enhanced identification", kind=BITS),
        0x7A: Quantity("bus address", kind=BITS),
        0x7E: Quantity("any quantity", kind=BITS),
    }
    fd |= {code: Quantity(name, kind=BITS) for code, name in _FD_BITS.items()}
    fd |= {
        0x28: Quantity("storage interval", "mo"),
        0x29: Quantity("storage interval", "a"),
        0x2B: Quantity("time point second", "s"),
        0x30: Quantity("start of tariff", kind=MOMENT),
        0x31: Quantity("duration of tariff", "s", Decimal(60)),
        0x32: Quantity("duration of tariff", "s", Decimal(3600)),
        0x33: Quantity("duration of tariff", "s", Decimal(86400)),
        0x38: Quantity("period of tariff", "mo"),
        0x39: Quantity("period of tariff", "a"),
        0x3A: Quantity("dimensionless", "1"),
        0x68: Quantity("duration since last cumulation", "s", Decimal(3600)),
        0x69: Quantity("duration since last cumulation", "s", Decimal(86400)),
        0x6A: Quantity("duration since last cumulation", "mo"),
        0x6B: Quantity("duration since last cumulation", "a"),
        0x6C: Quantity("battery operating time", "s", Decimal(3600)),
        0x6D: Quantity("battery operating time", "s", Decimal(86400)),
        0x6E: Quantity("battery operating time", "mo"),
        0x6F: Quantity("battery operating time", "a"),
        0x70: Quantity("battery change", kind=MOMENT),
        0x71: Quantity("radio level", "dB[mW]"),
        0x74: Quantity("remaining battery life", "s", Decimal(86400)),
    }
    return main, fb, fd


MAIN, FB, FD = _tables()

# ---- combinable (orthogonal) extensions ---------------------------------------------------------------------------

RECORD_ERRORS = {
    0x01: "too many DIFEs",
    0x02: "storage number not implemented",
    0x03: "unit number not implemented",
    0x04: "tariff number not implemented",
    0x05: "function not implemented",
    0x06: "data class not implemented",
    0x07: "data size not implemented",
    0x0B: "too many VIFEs",
    0x0C: "illegal VIF group",
    0x0D: "illegal VIF exponent",
    0x0E: "VIF and DIF do not fit",
    0x0F: "unimplemented action",
    0x15: "no data available",
    0x16: "data overflow",
    0x17: "data underflow",
    0x18: "data error",
    0x1C: "premature end of record",
}
_PER = {
    0x20: "s",
    0x21: "min",
    0x22: "h",
    0x23: "d",
    0x24: "wk",
    0x25: "mo",
    0x26: "a",
    0x27: "{revolution}",
    0x28: "{input pulse 0}",
    0x29: "{input pulse 1}",
    0x2A: "{output pulse 0}",
    0x2B: "{output pulse 1}",
    0x2C: "L",
    0x2D: "m3",
    0x2E: "kg",
    0x2F: "K",
    0x30: "kWh",
    0x31: "GJ",
    0x32: "kW",
    0x33: "(K.L)",
    0x34: "V",
    0x35: "A",
}
_TIMES = {0x36: "s", 0x37: "s/V", 0x38: "s/A"}
_WORDS = {
    0x12: "average",
    0x1D: "standard conform",
    0x39: "start",
    0x3A: "uncorrected unit",
    0x3B: "forward",
    0x3C: "backward",
    0x3E: "base conditions",
    0x40: "lower limit",
    0x48: "upper limit",
    0x68: "during lower limit exceed",
    0x69: "leakage",
    0x6C: "during upper limit exceed",
    0x6D: "overflow",
    0x7E: "future",
}
_SECOND = {  # after FC
    0x01: "phase L1",
    0x02: "phase L2",
    0x03: "phase L3",
    0x04: "neutral",
    0x05: "between L1 and L2",
    0x06: "between L2 and L3",
    0x07: "between L3 and L1",
    0x08: "quadrant 1",
    0x09: "quadrant 2",
    0x0A: "quadrant 3",
    0x0B: "quadrant 4",
    0x0C: "import minus export",
    0x10: "absolute sum of both directions",
}


def extend(quantity: Quantity, code: int, *, second: bool = False) -> tuple[Quantity, str] | None:
    """What a combinable VIFE (7 bits; ``second``: after FC) makes of a quantity, and in which word; None if unknown."""
    if second:
        word = _SECOND.get(code)
        return None if word is None else (quantity, word)
    if code == 0:
        return quantity, ""
    if code in _WORDS:
        word = _WORDS[code]
        return (replace(quantity, kind=MOMENT, unit="") if code == 0x39 else quantity), word
    if code in _PER:
        return replace(
            quantity, unit=f"{quantity.unit or '1'}/{_PER[code]}"
        ), f"per {_PER[code].strip('{}()')}"
    if code in _TIMES:
        return replace(quantity, unit=f"{quantity.unit or '1'}.{_TIMES[code]}"), f"times {_TIMES[code]}"
    if 0x70 <= code <= 0x77:
        return replace(quantity, factor=quantity.factor * _ten(code - 0x76)), ""
    if code == 0x7D:
        return replace(quantity, factor=quantity.factor * 1000), ""
    if code in (0x41, 0x49):
        return Quantity(quantity.name, "1"), f"exceeds of {'upper' if code & 8 else 'lower'} limit"
    limit = "upper limit" if code & 0x08 else "lower limit"
    which = "last" if code & 0x04 else "first"
    if 0x42 <= code <= 0x4F and code & 0x02:
        return Quantity(
            quantity.name, kind=MOMENT
        ), f"{'end' if code & 1 else 'begin'} of {which} {limit} exceed"
    if 0x50 <= code <= 0x5F:
        return Quantity(
            quantity.name, "s", Decimal(_SECONDS[code & 3])
        ), f"duration of {which} {limit} exceed"
    if 0x60 <= code <= 0x67:
        return Quantity(quantity.name, "s", Decimal(_SECONDS[code & 3])), f"duration of {which}"
    if code in (0x6A, 0x6B, 0x6E, 0x6F):
        return Quantity(quantity.name, kind=MOMENT), f"{'end' if code & 1 else 'begin'} of {which}"
    return None


# ---- header ----------------------------------------------------------------------------------------------------------

MEDIA = {
    0x00: "other",
    0x01: "oil",
    0x02: "electricity",
    0x03: "gas",
    0x04: "heat (outlet)",
    0x05: "steam",
    0x06: "warm water",
    0x07: "water",
    0x08: "heat cost allocator",
    0x09: "compressed air",
    0x0A: "cooling (outlet)",
    0x0B: "cooling (inlet)",
    0x0C: "heat (inlet)",
    0x0D: "heat and cooling",
    0x0E: "bus or system",
    0x0F: "unknown",
    0x15: "hot water",
    0x16: "cold water",
    0x17: "dual water",
    0x18: "pressure",
    0x19: "A/D converter",
    0x1A: "smoke detector",
    0x1B: "room sensor",
    0x1C: "gas detector",
    0x20: "breaker",
    0x21: "valve",
    0x25: "customer unit",
    0x28: "waste water",
    0x29: "garbage",
    0x31: "communication controller",
    0x32: "unidirectional repeater",
    0x33: "bidirectional repeater",
    0x36: "radio converter (system side)",
    0x37: "radio converter (meter side)",
}
ELECTRIC = frozenset((0x02,))
HEAT = frozenset((0x04, 0x0A, 0x0B, 0x0C, 0x0D))
APPLICATION_ERRORS = {
    0: "unspecified error",
    1: "unimplemented CI field",
    2: "buffer too long, truncated",
    3: "too many records",
    4: "premature end of record",
    5: "more than 10 DIFEs",
    6: "more than 10 VIFEs",
    8: "application too busy for handling a readout request",
    9: "too many readouts",
}
_STATUS = {0: "", 1: "application busy", 2: "application error", 3: "abnormal condition"}


def status_words(status: int) -> list[str]:
    """The flags of a status byte in words."""
    words = [_STATUS[status & 3]] if status & 3 else []
    words += [
        w for bit, w in ((4, "power low"), (8, "permanent error"), (16, "temporary error")) if status & bit
    ]
    if status & 0xE0:
        words.append(f"manufacturer specific {status & 0xE0:02X}")
    return words


# Fixed data structure (CI 73): the unit of a counter, name and exponent.
_FIXED_ROWS = (
    (0x02, 9, "energy", "Wh", 0),
    (0x0B, 9, "energy", "kJ", 0),
    (0x14, 9, "power", "W", 0),
    (0x1D, 9, "power", "kJ/h", 0),
    (0x26, 9, "volume", "m3", -6),
    (0x2F, 9, "volume flow", "m3/h", -6),
    (0x38, 1, "temperature", "Cel", -3),
)
FIXED = {
    first + n: _scale(name, unit, exponent + n)
    for first, count, name, unit, exponent in _FIXED_ROWS
    for n in range(count)
} | {0x39: Quantity("heat cost allocation", "{HCA}"), 0x3F: Quantity("count", "1")}
FIXED_MEDIA = (
    *("other", "oil", "electricity", "gas", "heat", "steam", "hot water", "water", "heat cost allocator"),
    *("reserved", "gas", "heat", "hot water", "water", "heat cost allocator", "reserved"),
)
