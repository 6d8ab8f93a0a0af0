"""OBIS identification codes (IEC 62056-6-1, EN 13757-1): A-B:C.D.E*F, and which of our quantities they name.

A name is given only to a present value (no F, or 255) whose unit fits the quantity; anything else keeps its code alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CODE = re.compile(
    r"(?:(?P<a>\d{1,3})-(?P<b>\d{1,3}):)?(?P<c>[0-9A-Z]{1,3})\.(?P<d>[0-9A-Z]{1,3})(?:\.(?P<e>\d{1,3}))?"
    r"(?:[*&.](?P<f>\d{1,3}))?"
)
_ENERGY = {
    "1": "active.import",
    "2": "active.export",
    "3": "reactive.import",
    "4": "reactive.export",
    "9": "apparent.import",
}
_POWER = {"1": "active.import", "2": "active.export", "3": "reactive.import", "4": "reactive.export"} | {
    "16": "active.total",
    "9": "apparent.total",
    "36": "active.l1",
    "56": "active.l2",
    "76": "active.l3",
}
_OTHER = {
    "31": "current.l1",
    "51": "current.l2",
    "71": "current.l3",
    "32": "voltage.l1",
    "52": "voltage.l2",
} | {
    "72": "voltage.l3",
    "13": "power_factor.total",
    "33": "power_factor.l1",
    "53": "power_factor.l2",
    "73": "power_factor.l3",
    "14": "frequency",
}
_FITS = {
    "energy.active": ("Wh", "kWh", "MWh", "GWh"),
    "energy.reactive": ("var.h", "kvar.h", "Mvar.h"),
    "energy.apparent": ("V.A.h", "kV.A.h", "MV.A.h"),
    "power.active": ("W", "kW", "MW"),
    "power.reactive": ("var", "kvar", "Mvar"),
    "power.apparent": ("V.A", "kV.A", "MV.A"),
    "demand.active": ("W", "kW", "MW"),
    "voltage": ("V", "kV"),
    "current": ("A", "kA"),
    "power_factor": ("", "1"),
    "frequency": ("Hz",),
    "clock": ("",),
    "serial": ("",),
}
_UCUM = {
    "kvarh": "kvar.h", "kVArh": "kvar.h", "varh": "var.h", "Mvarh": "Mvar.h", "kVAr": "kvar",
    "kVAh": "kV.A.h", "VAh": "V.A.h", "MVAh": "MV.A.h", "kVA": "kV.A", "VA": "V.A", "MVA": "MV.A",
    "m^3": "m3", "m³": "m3", "l": "L", "l/h": "L/h", "m3ph": "m3/h", "m^3/h": "m3/h", "m³/h": "m3/h",
    "C": "Cel", "°C": "Cel",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Code:
    """The value groups as written; ``a``, ``b`` and ``f`` are empty where the text leaves them out."""

    a: str
    b: str
    c: str
    d: str
    e: str
    f: str


def parse(text: str) -> Code | None:
    """The groups of a code as meters print it (``1.8.0``, ``1-0:1.8.0*255``, ``C.1.0``), or None."""
    found = _CODE.fullmatch(text)
    return Code(*(found.group(g) or "" for g in "abcdef")) if found else None


def of_bytes(raw: bytes) -> str:
    """Six bytes as A-B:C.D.E*F; F is left out if it is 255 (the present value).

    >>> of_bytes(bytes.fromhex("0100010800FF"))
    '1-0:1.8.0'
    """
    a, b, c, d, e, f = raw
    return f"{a}-{b}:{c}.{d}.{e}" + ("" if f == 255 else f"*{f}")


def to_bytes(text: str) -> bytes | None:
    """The six bytes of a code with its groups A to E (F: 255 if left out); None if they are not all there.

    >>> to_bytes("1-0:1.8.0").hex()
    '0100010800ff'
    """
    code = parse(text)
    groups = (code.a, code.b, code.c, code.d, code.e, code.f or "255") if code else ()
    if not groups or not all(group.isdecimal() and int(group) <= 255 for group in groups):
        return None
    return bytes(map(int, groups))


def ucum(unit: str) -> str:
    """A unit as meters print it in the spelling of this house; one that is not known stays as it is."""
    return _UCUM.get(unit, unit)


def identity(text: str) -> bool:
    """Whether the code names an identity, a date, a time or flags: digits that are no quantity."""
    code = parse(text)
    if code is None:
        return text in ("FF", "F.F")
    if code.a not in ("", "0", "1"):
        return False
    head = (code.c, code.d)
    return (
        code.c in ("C", "F")
        or head in (("0", "0"), ("0", "1"), ("0", "9"), ("96", "1"), ("97", "97"))
        or (code.a == "0" and head in (("1", "0"), ("42", "0")))
        or (*head, code.e) == ("0", "2", "0")  # the firmware's version
    )


def measurand(text: str, unit: str) -> str:
    """Our name of the quantity, or empty."""
    code = parse(text)
    if (
        code is None
        or code.f not in ("", "255")
        or code.a not in ("", "0", "1")
        or code.b not in ("", "0", "1")
    ):
        return ""
    name = _name(code)
    kind = ".".join(name.split(".")[:2])
    fits = _FITS.get(kind) or _FITS.get(name.split(".")[0], ())
    return name if name and unit in fits else ""


def _name(code: Code) -> str:
    rate = code.e or "0"
    if code.a == "0" or code.c in ("C", "0", "96"):
        if (code.c, code.d) in (("C", "1"), ("96", "1"), ("0", "0"), ("42", "0")) and rate == "0":
            return "serial"
        return "clock" if code.a == "0" and (code.c, code.d) == ("1", "0") else ""
    if code.d == "8" and code.c in _ENERGY:
        return "energy." + _ENERGY[code.c] + (f".t{rate}" if rate != "0" else "")
    if rate != "0":
        return ""
    if code.d == "7":
        return "power." + _POWER[code.c] if code.c in _POWER else _OTHER.get(code.c, "")
    if code.d == "6" and code.c in ("1", "2"):
        return "demand." + _ENERGY[code.c]
    return ""
