"""The object attributes (OAD) of DL/T 698.45 that carry electrical quantities: unit, power of ten, our names. By rule.

OIs as in annex A of the standard: 00xx energy, 10xx demand, 20xx present values. Attribute 2 is the value; of energy
attribute 4 is the value with four decimals. Elements count from 1: of energy the total, then the tariffs; of powers
the total, then the phases; of voltages and currents the phases.
"""

from __future__ import annotations

from dataclasses import dataclass

FREEZE_TIME = "20210200"
"""The column of a freeze's record that tells when it was frozen."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """``names`` by element (from 1; empty where there is none); ``tariffs``: elements from 2 on are tariffs."""

    title: str
    unit: str
    exponent: int
    names: tuple[str, ...] = ()
    tariffs: bool = False

    def name(self, element: int) -> str:
        """Our name of an element."""
        if self.tariffs and self.names and element >= 1:
            return self.names[0] + (f".t{element - 1}" if element > 1 else "")
        return self.names[element - 1] if 1 <= element <= len(self.names) else ""


_ENERGY = {
    0x000: ("combined active energy", "kWh", ""),
    0x001: ("forward active energy", "kWh", "energy.active.import"),
    0x002: ("reverse active energy", "kWh", "energy.active.export"),
    0x003: ("combined reactive energy 1", "kvar.h", "energy.reactive.import"),
    0x004: ("combined reactive energy 2", "kvar.h", "energy.reactive.export"),
    0x005: ("reactive energy quadrant 1", "kvar.h", "energy.reactive.q1"),
    0x006: ("reactive energy quadrant 2", "kvar.h", "energy.reactive.q2"),
    0x007: ("reactive energy quadrant 3", "kvar.h", "energy.reactive.q3"),
    0x008: ("reactive energy quadrant 4", "kvar.h", "energy.reactive.q4"),
    0x009: ("forward apparent energy", "kV.A.h", "energy.apparent.import"),
    0x00A: ("reverse apparent energy", "kV.A.h", "energy.apparent.export"),
    0x011: ("forward active energy, fundamental", "kWh", ""),
    0x012: ("reverse active energy, fundamental", "kWh", ""),
    0x021: ("forward active energy, harmonics", "kWh", ""),
    0x022: ("reverse active energy, harmonics", "kWh", ""),
}
_DEMAND = {
    0x101: ("maximum forward active demand", "kW", "demand.active.import"),
    0x102: ("maximum reverse active demand", "kW", "demand.active.export"),
    0x103: ("maximum combined reactive demand 1", "kvar", "demand.reactive.import"),
    0x104: ("maximum combined reactive demand 2", "kvar", "demand.reactive.export"),
    0x105: ("maximum reactive demand quadrant 1", "kvar", "demand.reactive.q1"),
    0x106: ("maximum reactive demand quadrant 2", "kvar", "demand.reactive.q2"),
    0x107: ("maximum reactive demand quadrant 3", "kvar", "demand.reactive.q3"),
    0x108: ("maximum reactive demand quadrant 4", "kvar", "demand.reactive.q4"),
    0x109: ("maximum forward apparent demand", "kV.A", ""),
    0x10A: ("maximum reverse apparent demand", "kV.A", ""),
}


def _phases(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{of}" for of in ("l1", "l2", "l3"))


def _total(name: str) -> tuple[str, ...]:
    return (f"{name}.total", *_phases(name))


_PRESENT = {
    0x2000: Quantity("voltage", "V", -1, _phases("voltage")),
    0x2001: Quantity("current", "A", -3, _phases("current")),
    0x2002: Quantity("voltage phase angle", "deg", -1),
    0x2003: Quantity("angle between voltage and current", "deg", -1),
    0x2004: Quantity("active power", "W", -1, _total("power.active")),
    0x2005: Quantity("reactive power", "var", -1, _total("power.reactive")),
    0x2006: Quantity("apparent power", "V.A", -1, _total("power.apparent")),
    0x2007: Quantity("active power, mean of a minute", "W", -1),
    0x2008: Quantity("reactive power, mean of a minute", "var", -1),
    0x2009: Quantity("apparent power, mean of a minute", "V.A", -1),
    0x200A: Quantity("power factor", "1", -3, _total("power_factor")),
    0x200B: Quantity("distortion of the voltage", "%", -2),
    0x200C: Quantity("distortion of the current", "%", -2),
    0x200F: Quantity("frequency", "Hz", -2, ("frequency",)),
    0x2010: Quantity("meter temperature", "Cel", -1, ("temperature.meter",)),
    0x2011: Quantity("clock battery voltage", "V", -2, ("voltage.battery.clock",)),
    0x2012: Quantity("reading battery voltage", "V", -2, ("voltage.battery.reading",)),
    0x2013: Quantity("clock battery working time", "min", 0),
    0x2017: Quantity("present active demand", "kW", -4, ("demand.active.present",)),
    0x2018: Quantity("present reactive demand", "kvar", -4, ("demand.reactive.present",)),
    0x2019: Quantity("present apparent demand", "kV.A", -4, ("demand.apparent.present",)),
    0x2026: Quantity("voltage unbalance", "%", -2),
    0x2027: Quantity("current unbalance", "%", -2),
}
_HARMONICS = {0x200D: "voltage harmonics", 0x200E: "current harmonics"}
TEXTS = {
    0x4000: "clock",
    0x4001: "address",
    0x4002: "serial",
    0x2021: "",  # the time of a freeze
}


def quantity(oi: int, attribute: int) -> Quantity | None:
    """What an attribute of an object carries, or None if it is not in the table."""
    if oi < 0x1000 and attribute in (2, 4):
        found = _ENERGY.get(oi >> 4)
        phase = oi & 0x0F
        if found is None or phase > 3:
            return None
        title, unit, name = found
        of = f".l{phase}" if phase else ""
        names = (name + of,) if name else ()
        title += f" L{phase}" if phase else ""
        return Quantity(title, unit, -2 if attribute == 2 else -4, names, tariffs=not phase)
    if 0x1000 <= oi < 0x1200 and attribute == 2:
        demand = _DEMAND.get(oi >> 4)
        phase = oi & 0x0F
        if demand is None or phase > 3:
            return None
        title, unit, name = demand
        names = (name + (f".l{phase}" if phase else ""),) if name else ()
        return Quantity(title, unit, -4, names, tariffs=not phase)
    if oi == 0x2001 and attribute == 4:
        return Quantity("zero sequence current", "A", -3)
    if oi in _HARMONICS and attribute in (2, 3, 4):
        return Quantity(_HARMONICS[oi], "%", -2)
    return _PRESENT.get(oi) if attribute == 2 else None


DAR = {
    0: "success", 1: "hardware failure", 2: "temporary failure", 3: "reading or writing refused",
    4: "object undefined", 5: "class of the object does not agree", 6: "object does not exist",
    7: "type does not agree", 8: "out of bounds", 9: "data block not available", 10: "fragment transfer cancelled",
    11: "not in fragment transfer", 12: "block writing cancelled", 13: "not in block writing",
    14: "block number invalid", 15: "wrong password or not authorised", 16: "rate cannot be changed",
    17: "too many yearly time zones", 18: "too many daily periods", 19: "too many tariffs",
    20: "security authentication does not agree", 21: "repeated recharge", 22: "ESAM verification failed",
    23: "security authentication failed", 24: "customer number does not agree", 25: "wrong recharge count",
    26: "credit would overflow", 27: "address abnormal", 28: "symmetric decryption error",
    29: "asymmetric decryption error", 30: "signature error", 31: "metering suspended", 32: "time tag invalid",
    33: "request timed out", 34: "ESAM P1 P2 wrong", 35: "ESAM LC wrong", 255: "other",
}  # fmt: skip


def refusal(code: int) -> str:
    """A DAR in words."""
    return f"DAR {code}: {DAR.get(code, 'unknown')}"
