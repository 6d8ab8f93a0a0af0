r"""The closed table of units: UCUM key, D-SI string, quantity, exact factor, names.

A unit that is not in the table is refused at the border (form, certificate, profile), never guessed. Factors are
exact fractions; a conversion between different quantities is an error: active, reactive and apparent energy have
the same dimension and are not the same, and a gas volume at 0 °C, 101.325 kPa (``Nm3``) is not one at the
conditions of the pipe.

>>> convert(Decimal("1.5"), "MWh", "kWh")
Decimal('1500')
>>> convert(Decimal("20"), "Cel", "K"), convert_difference(Decimal("0.3"), "Cel", "K")
(Decimal('293.15'), Decimal('0.3'))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

_DIGITS = Context(prec=34)


class UnitError(ValueError):
    """An unknown unit, or a conversion between units of different quantities."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measurement (测量单位).

    Attributes:
        key: UCUM code, with the usual ``kWh`` for ``kW.h``.
        dsi: the D-SI string that a digital calibration certificate uses.
        quantity: what it measures; only units of the same quantity convert into each other.
        factor: one of it in the quantity's base unit, exact.
        offset: the zero point in the base unit (degree Celsius), exact; plays no part in differences.
        zh, en: names for the reader.
    """

    key: str
    dsi: str
    quantity: str
    factor: Fraction
    zh: str
    en: str
    offset: Fraction = Fraction(0)

    @property
    def base(self) -> bool:
        """Whether it is its quantity's base unit."""
        return self.factor == 1 and self.offset == 0


_HOUR = "3600"
_TABLE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # quantity: (key, D-SI, factor, Chinese, English[, offset])
    "ratio": (
        ("1", r"\one", "1", "一", "one"),
        ("%", r"\percent", "1/100", "百分之一", "percent"),
        ("[ppth]", r"\one\tothe{-3}", "1/1000", "千分之一", "per mille"),
        ("[ppm]", r"\ppm", "1/1000000", "百万分之一", "part per million"),
        ("[ppb]", r"\one\tothe{-9}", "1/1000000000", "十亿分之一", "part per billion"),
    ),
    "active energy": (
        ("J", r"\joule", "1", "焦耳", "joule"),
        ("kJ", r"\kilo\joule", "1000", "千焦", "kilojoule"),
        ("MJ", r"\mega\joule", "1000000", "兆焦", "megajoule"),
        ("GJ", r"\giga\joule", "1000000000", "吉焦", "gigajoule"),
        ("Wh", r"\watt\hour", _HOUR, "瓦时", "watt hour"),
        ("kWh", r"\kilo\watt\hour", "3600000", "千瓦时", "kilowatt hour"),
        ("MWh", r"\mega\watt\hour", "3600000000", "兆瓦时", "megawatt hour"),
        ("GWh", r"\giga\watt\hour", "3600000000000", "吉瓦时", "gigawatt hour"),
    ),
    "reactive energy": (
        ("var.h", r"\volt\ampere\hour", "1", "乏时", "var hour"),
        ("kvar.h", r"\kilo\volt\ampere\hour", "1000", "千乏时", "kilovar hour"),
        ("Mvar.h", r"\mega\volt\ampere\hour", "1000000", "兆乏时", "megavar hour"),
    ),
    "apparent energy": (
        ("V.A.h", r"\volt\ampere\hour", "1", "伏安时", "volt ampere hour"),
        ("kV.A.h", r"\kilo\volt\ampere\hour", "1000", "千伏安时", "kilovolt ampere hour"),
    ),
    "active power": (
        ("W", r"\watt", "1", "瓦", "watt"),
        ("kW", r"\kilo\watt", "1000", "千瓦", "kilowatt"),
        ("MW", r"\mega\watt", "1000000", "兆瓦", "megawatt"),
        ("GW", r"\giga\watt", "1000000000", "吉瓦", "gigawatt"),
    ),
    "reactive power": (
        ("var", r"\volt\ampere", "1", "乏", "var"),
        ("kvar", r"\kilo\volt\ampere", "1000", "千乏", "kilovar"),
        ("Mvar", r"\mega\volt\ampere", "1000000", "兆乏", "megavar"),
    ),
    "apparent power": (
        ("V.A", r"\volt\ampere", "1", "伏安", "volt ampere"),
        ("kV.A", r"\kilo\volt\ampere", "1000", "千伏安", "kilovolt ampere"),
        ("MV.A", r"\mega\volt\ampere", "1000000", "兆伏安", "megavolt ampere"),
    ),
    "voltage": (
        ("uV", r"\micro\volt", "1/1000000", "微伏", "microvolt"),
        ("mV", r"\milli\volt", "1/1000", "毫伏", "millivolt"),
        ("V", r"\volt", "1", "伏", "volt"),
        ("kV", r"\kilo\volt", "1000", "千伏", "kilovolt"),
    ),
    "current": (
        ("mA", r"\milli\ampere", "1/1000", "毫安", "milliampere"),
        ("A", r"\ampere", "1", "安", "ampere"),
        ("kA", r"\kilo\ampere", "1000", "千安", "kiloampere"),
    ),
    "charge": (
        ("A.h", r"\ampere\hour", "1", "安时", "ampere hour"),
        ("kA.h", r"\kilo\ampere\hour", "1000", "千安时", "kiloampere hour"),
    ),
    "resistance": (
        ("mOhm", r"\milli\ohm", "1/1000", "毫欧", "milliohm"),
        ("Ohm", r"\ohm", "1", "欧姆", "ohm"),
        ("kOhm", r"\kilo\ohm", "1000", "千欧", "kiloohm"),
    ),
    "frequency": (
        ("mHz", r"\milli\hertz", "1/1000", "毫赫", "millihertz"),
        ("Hz", r"\hertz", "1", "赫兹", "hertz"),
    ),
    "rotational speed": (("/min", r"\minute\tothe{-1}", "1", "转每分", "revolution per minute"),),
    "plane angle": (
        # 1 rad is no rational number of degrees: angles are kept in degrees, and radians apart.
        ("deg", r"\degree", "1", "度", "degree"),
        ("'", r"\arcminute", "1/60", "角分", "minute of arc"),
        ("''", r"\arcsecond", "1/3600", "角秒", "second of arc"),
    ),
    "plane angle in radians": (
        ("rad", r"\radian", "1", "弧度", "radian"),
        ("mrad", r"\milli\radian", "1/1000", "毫弧度", "milliradian"),
    ),
    "time": (
        ("us", r"\micro\second", "1/1000000", "微秒", "microsecond"),
        ("ms", r"\milli\second", "1/1000", "毫秒", "millisecond"),
        ("s", r"\second", "1", "秒", "second"),
        ("min", r"\minute", "60", "分", "minute"),
        ("h", r"\hour", _HOUR, "小时", "hour"),
        ("d", r"\day", "86400", "天", "day"),
    ),
    "temperature": (
        ("K", r"\kelvin", "1", "开尔文", "kelvin"),
        ("Cel", r"\degreecelsius", "1", "摄氏度", "degree Celsius", "27315/100"),
    ),
    "pressure": (
        ("Pa", r"\pascal", "1", "帕", "pascal"),
        ("hPa", r"\hecto\pascal", "100", "百帕", "hectopascal"),
        ("kPa", r"\kilo\pascal", "1000", "千帕", "kilopascal"),
        ("MPa", r"\mega\pascal", "1000000", "兆帕", "megapascal"),
        ("mbar", r"\milli\bar", "100", "毫巴", "millibar"),
        ("bar", r"\bar", "100000", "巴", "bar"),
    ),
    "length": (
        ("um", r"\micro\metre", "1/1000000", "微米", "micrometre"),
        ("mm", r"\milli\metre", "1/1000", "毫米", "millimetre"),
        ("m", r"\metre", "1", "米", "metre"),
    ),
    "area": (("m2", r"\metre\tothe{2}", "1", "平方米", "square metre"),),
    "speed": (("m/s", r"\metre\per\second", "1", "米每秒", "metre per second"),),
    "volume": (
        ("mL", r"\milli\litre", "1/1000000", "毫升", "millilitre"),
        ("L", r"\litre", "1/1000", "升", "litre"),
        ("m3", r"\metre\tothe{3}", "1", "立方米", "cubic metre"),
    ),
    "volume flow": (
        ("L/min", r"\litre\per\minute", "6/100", "升每分", "litre per minute"),
        ("L/s", r"\litre\per\second", "36/10", "升每秒", "litre per second"),
        ("m3/h", r"\metre\tothe{3}\per\hour", "1", "立方米每小时", "cubic metre per hour"),
        ("m3/s", r"\metre\tothe{3}\per\second", _HOUR, "立方米每秒", "cubic metre per second"),
    ),
    "normal volume": (("Nm3", "", "1", "标准立方米", "cubic metre at 0 °C, 101.325 kPa"),),
    "normal volume flow": (
        ("Nm3/h", "", "1", "标准立方米每小时", "cubic metre at 0 °C, 101.325 kPa per hour"),
    ),
    "mass": (
        ("mg", r"\milli\gram", "1/1000000", "毫克", "milligram"),
        ("g", r"\gram", "1/1000", "克", "gram"),
        ("kg", r"\kilogram", "1", "千克", "kilogram"),
        ("t", r"\tonne", "1000", "吨", "tonne"),
    ),
    "mass flow": (
        ("g/s", r"\gram\per\second", "36/10", "克每秒", "gram per second"),
        ("kg/h", r"\kilogram\per\hour", "1", "千克每小时", "kilogram per hour"),
        ("kg/s", r"\kilogram\per\second", _HOUR, "千克每秒", "kilogram per second"),
        ("t/h", r"\tonne\per\hour", "1000", "吨每小时", "tonne per hour"),
    ),
    "mass concentration": (
        (
            "ug/m3",
            r"\micro\gram\per\metre\tothe{3}",
            "1/1000000000",
            "微克每立方米",
            "microgram per cubic metre",
        ),
        (
            "mg/m3",
            r"\milli\gram\per\metre\tothe{3}",
            "1/1000000",
            "毫克每立方米",
            "milligram per cubic metre",
        ),
        ("g/m3", r"\gram\per\metre\tothe{3}", "1/1000", "克每立方米", "gram per cubic metre"),
        ("kg/m3", r"\kilogram\per\metre\tothe{3}", "1", "千克每立方米", "kilogram per cubic metre"),
    ),
    "specific energy": (
        ("kJ/kg", r"\kilo\joule\per\kilogram", "1000", "千焦每千克", "kilojoule per kilogram"),
        ("MJ/kg", r"\mega\joule\per\kilogram", "1000000", "兆焦每千克", "megajoule per kilogram"),
        ("J/kg", r"\joule\per\kilogram", "1", "焦每千克", "joule per kilogram"),
    ),
}


def _build() -> dict[str, Unit]:
    table = {}
    for quantity, rows in _TABLE.items():
        for key, dsi, factor, zh, en, *offset in rows:
            table[key] = Unit(
                key, dsi, quantity, Fraction(factor), zh, en, Fraction(offset[0]) if offset else Fraction(0)
            )
    return table


UNITS: Mapping[str, Unit] = _build()


def known_units() -> tuple[str, ...]:
    """The keys of the table, in its order."""
    return tuple(UNITS)


def is_known(key: str) -> bool:
    """Whether the table has this key."""
    return key in UNITS


def unit(key: str) -> Unit:
    """The unit with this UCUM key.

    Raises:
        UnitError: not in the table; near misses are named.
    """
    found = UNITS.get(key)
    if found is None:
        near = [known for known in UNITS if known.lower() == key.strip().lower()]
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(UNITS)}"
        raise UnitError(f"unknown unit {key!r}{hint}")
    return found


def from_dsi(text: str) -> Unit:
    r"""The unit of a D-SI string such as ``\kilo\watt\hour``.

    Raises:
        UnitError: not in the table, or one of the strings that D-SI has for several quantities (var and V·A).
    """
    compact = "".join(text.split())
    found = [candidate for candidate in UNITS.values() if candidate.dsi and candidate.dsi == compact]
    if not found:
        raise UnitError(f"unknown D-SI unit {text!r}")
    if len(found) > 1:
        keys = " or ".join(candidate.key for candidate in found)
        raise UnitError(f"the D-SI unit {text!r} may be {keys}: say which quantity is meant")
    return found[0]


def ratio(source: str, target: str) -> Fraction:
    """How many of the target make one of the source, exact; for differences (errors, uncertainties) too.

    Raises:
        UnitError: an unknown unit, or units of different quantities.
    """
    a, b = unit(source), unit(target)
    if a.quantity != b.quantity:
        raise UnitError(f"{source} ({a.quantity}) can't be converted to {target} ({b.quantity})")
    return a.factor / b.factor


def convert(value: Decimal, source: str, target: str) -> Decimal:
    """A value in another unit; exact where the result has a finite decimal text, else to 34 digits.

    Raises:
        UnitError: an unknown unit, or units of different quantities.
    """
    factor = ratio(source, target)
    shift = (unit(source).offset - unit(target).offset) / unit(target).factor
    return _decimal(Fraction(value) * factor + shift)


def convert_difference(value: Decimal, source: str, target: str) -> Decimal:
    """A difference (error, correction, uncertainty) in another unit: no zero point, so 1 K = 1 Cel.

    Raises:
        UnitError: an unknown unit, or units of different quantities.
    """
    return _decimal(Fraction(value) * ratio(source, target))


def _decimal(number: Fraction) -> Decimal:
    """The exact decimal of a fraction if there is one; else 34 significant digits."""
    rest, twos, fives = number.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return _DIGITS.divide(Decimal(number.numerator), Decimal(number.denominator))
    places = max(twos, fives)
    digits = number.numerator * 10**places // number.denominator
    return Decimal((digits < 0, tuple(int(d) for d in str(abs(digits))), -places))
