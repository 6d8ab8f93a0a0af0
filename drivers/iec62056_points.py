"""A profile's points out of an IEC 62056-21 readout: data sets by their OBIS code, in the profile's unit. Pure.

A point's ``item`` is the code as meters print it, short (``1.8.0``) or with its value groups (``1-0:1.8.0``). A short
one means the whole meter's quantity (A 0 or 1, B 0 or 1), never a value of an earlier period (F). A meter prints its
unit with each value: what is a power of ten away is converted, anything else is no value. The decimals printed are the
register's step: where they are fewer than the profile's resolution says, its uncertainty would be understated, so that
is no value either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from drivers import iec62056, obis
from drivers.codec import Indication, Missing
from drivers.points import Point
from drivers.registers import scaled

_PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "m": -3}
_BASES = ("Wh", "var.h", "V.A.h", "V.A", "var", "W", "V", "A", "Hz", "J")
NUMBERS = ("C.1.0", "C.1", "96.1.0", "96.1", "0.0.0", "0.0")
"""Where meters print the number on their plate, the likeliest first."""


def decode(points: Sequence[Point], payload: bytes) -> tuple[Indication, ...]:
    """One indication per point. ``payload``: the text of all blocks of a readout."""
    told = iec62056.data_sets(payload.decode("latin-1"))
    values = iec62056.decode(payload.decode("latin-1"))
    return tuple(_indication(point, tuple(zip(told, values, strict=True))) for point in points)


def numbers(payload: bytes) -> tuple[str, ...]:
    """What a readout calls the meter by, the likeliest first; empty if it does not say. Zeros alone are no number."""
    told = iec62056.data_sets(payload.decode("latin-1"))
    found = (one.value for code in NUMBERS for one in told if one.place == 1 and _same(code, one.address))
    return tuple(dict.fromkeys(text for text in found if text.strip("0 ")))


def code_complaint(item: str) -> str:
    """What is wrong with an OBIS code as a point's item; empty if nothing is."""
    return "" if obis.parse(item) else f"{item!r} is no OBIS code"


def _same(wanted: str, printed: str) -> bool:
    if wanted == printed:
        return True
    ours, theirs = obis.parse(wanted), obis.parse(printed)
    if ours is None or theirs is None:
        return False
    if (ours.c, ours.d, ours.e or "0") != (theirs.c, theirs.d, theirs.e or "0"):
        return False
    if (ours.f or "255") != (theirs.f or "255"):
        return False
    if ours.a or not theirs.a:
        return not ours.a or not theirs.a or (ours.a, ours.b) == (theirs.a, theirs.b)
    return theirs.a in ("0", "1") and theirs.b in ("0", "1")


def power_between(told: str, wanted: str) -> int | None:
    """Powers of ten between two units of one quantity."""
    if told == wanted:
        return 0
    for base in _BASES:
        if told.endswith(base) and wanted.endswith(base):
            first, second = told.removesuffix(base), wanted.removesuffix(base)
            if first in _PREFIXES and second in _PREFIXES:
                return _PREFIXES[first] - _PREFIXES[second]
    return None


def _indication(point: Point, told: Sequence[tuple[iec62056.DataSet, Indication]]) -> Indication:
    def none(reason: Missing, detail: str) -> Indication:
        return Indication(point.item, point.measurand, None, point.unit, reason, detail)

    found = [(data, value) for data, value in told if data.place == 1 and _same(point.item, data.address)]
    if not found:
        return none(Missing.NOT_SUPPORTED, "the readout has no such code")
    if len(found) > 1:
        return none(Missing.UNKNOWN_FORMAT, f"{len(found)} values have this code")
    ((data, one),) = found
    if one.value is None:
        return none(one.missing or Missing.NOT_NUMERIC, one.detail)
    power = power_between(one.unit or "1", point.unit)
    if power is None:
        return none(
            Missing.UNKNOWN_FORMAT, f"the meter prints {data.unit or 'no unit'}, the profile {point.unit}"
        )
    value = scaled(one.value, Decimal(1).scaleb(power))
    step = Decimal(1).scaleb(power - len(re.sub(r"^[^.]*\.?", "", data.value)))
    if point.counts and point.resolution is not None and step > point.resolution:
        return none(
            Missing.UNKNOWN_FORMAT,
            f"the meter prints steps of {step:f} {point.unit}, the resolution is stated as {point.resolution:f}",
        )
    return Indication(point.item, point.measurand, value, point.unit)
