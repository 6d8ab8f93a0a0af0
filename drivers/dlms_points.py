"""A profile's points out of a DLMS/COSEM reading: attributes by class and OBIS code, scaled as the meter says. Pure.

A point's ``item`` is ``1-0:1.8.0`` (the value of a register), or with class and attribute: ``4/1-0:1.6.0`` (extended
register), ``5/1-0:1.4.0/3`` (last average of a demand register), ``1/0-0:96.13.0`` (a number without unit).

A register's scaler and unit are read in the same session, before its value: what is kept of a reading says by itself
what its numbers mean, and a meter that was set otherwise meanwhile is not misread. The unit must be the profile's, or a
power of ten away. A counter whose step is wider than the resolution that the profile states is no value: its
uncertainty would be understated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from drivers import axdr, dlms, dlms_get
from drivers.axdr import Data, Malformed, Reader
from drivers.codec import Indication, LocalProtocolError, Missing
from drivers.dlms import Attribute
from drivers.iec62056_points import power_between
from drivers.points import Point
from drivers.registers import scaled

SCALER: Mapping[int, int] = {3: 3, 4: 3, 5: 4}
"""By class, the attribute that holds scaler and unit."""
VALUES: Mapping[int, tuple[int, ...]] = {1: (2,), 3: (2,), 4: (2,), 5: (2, 3)}
"""By class, the attributes that may be a point's value."""
NUMBER, CLOCK = "1/0-0:96.1.0", "8/0-0:1.0.0"
"""Where a meter tells its number (device ID 1) and its clock, unless its profile says otherwise."""
_NO_NUMBERS = frozenset((axdr.BOOLEAN, axdr.ENUM))
_FLOATS = frozenset((axdr.FLOAT32, axdr.FLOAT64))
_SHORTEST_TEXT = 4  # octets that are all digits in ASCII are a number as text only if they are so many


def asked(points: Sequence[Point]) -> str:
    """What is asked for these points: all scalers, then all values, joined by ``+``."""
    values = tuple(dict.fromkeys(point.item for point in points))
    scalers = (scaler_of(item) for item in values)
    return "+".join((*dict.fromkeys(item for item in scalers if item), *values))


def scaler_of(item: str) -> str:
    """The attribute that says how a value is scaled; empty if it has none."""
    one = dlms_get.attribute(item)
    number = SCALER.get(one.class_id)
    return dlms_get.item_of(Attribute(one.class_id, one.code, number)) if number else ""


def complaint(item: str) -> tuple[str, str] | None:
    """What is wrong with an attribute as a point's value, and what to do; None if nothing is."""
    try:
        one = dlms_get.attribute(item)
    except LocalProtocolError as error:
        return str(error), "class and attribute have keys of their own: class = 4, attribute = 2"
    if one.attribute not in VALUES.get(one.class_id, ()):
        hint = "values are attribute 2 of data (1), register (3), extended register (4), 2 or 3 of demand register (5)"
        return f"attribute {one.attribute} of class {one.class_id} is no value", hint
    return None


def decode(points: Sequence[Point], payload: bytes) -> tuple[Indication, ...]:
    """One indication per point. ``payload`` as ``dlms_reading.join`` makes it."""
    try:
        told = dlms_get.unpacked(payload)
    except Malformed as problem:
        return tuple(
            Indication(p.item, p.measurand, None, p.unit, Missing.CORRUPT, str(problem)) for p in points
        )
    return tuple(_indication(point, told) for point in points)


def value(result: tuple[int, bytes] | None) -> Data | tuple[Missing, str]:
    """The data of an attribute's result, or the reason why there are none."""
    if result is None:
        return Missing.NOT_SUPPORTED, "the meter did not answer for it"
    how, data = result
    if how == dlms_get.REFUSED:
        return Missing.ERROR_ANSWER, dlms.refusal(data[0])
    if how != dlms_get.VALUE:
        try:
            return Missing.ERROR_ANSWER, dlms.parse(data).error or "exception"
        except Malformed as problem:
            return Missing.ERROR_ANSWER, f"exception: {problem}"
    reader = Reader(data)
    try:
        found = reader.value()
    except Malformed as problem:
        return Missing.WRONG_LENGTH, str(problem)
    if reader.left:
        return Missing.WRONG_LENGTH, f"{reader.left} bytes are left over after the value"
    return found


def _indication(point: Point, told: Mapping[str, tuple[int, bytes]]) -> Indication:
    def none(reason: Missing, detail: str) -> Indication:
        return Indication(point.item, point.measurand, None, point.unit, reason, detail)

    data = value(told.get(point.item))
    if isinstance(data, tuple):
        return none(*data)
    if data.missing is not None:
        return none(data.missing, "a floating-point value that is no number")
    if data.tag in (axdr.NULL, axdr.DONT_CARE):
        return none(Missing.NOT_SUPPORTED, "null-data")
    if data.number is None or data.tag in _NO_NUMBERS:
        detail = f"{len(data.parts)} elements" if data.container else data.text or f"type {data.tag}"
        return none(Missing.NOT_NUMERIC, detail)
    where = scaler_of(point.item)
    if not where:
        return Indication(point.item, point.measurand, scaled(data.number, Decimal(1)), point.unit)
    scale = value(told.get(where))
    if isinstance(scale, tuple):
        return none(Missing.UNKNOWN_FORMAT, f"scaler and unit are not known: {scale[1]}")
    found = axdr.scaler_unit(scale)
    if found is None:
        return none(Missing.UNKNOWN_FORMAT, "scaler and unit are not known: the attribute is no scaler_unit")
    scaler, unit = found
    power = power_between(unit, point.unit)
    if power is None:
        return none(Missing.UNKNOWN_FORMAT, f"the meter tells {unit}, the profile {point.unit}")
    step = Decimal(1).scaleb(scaler + power)
    if point.counts and point.resolution is not None and data.tag not in _FLOATS and step > point.resolution:
        detail = f"the meter counts in steps of {step:f} {point.unit}, the resolution is stated as {point.resolution:f}"
        return none(Missing.UNKNOWN_FORMAT, detail)
    return Indication(point.item, point.measurand, scaled(data.number, step), point.unit)


# ---- who the meter is


def numbers(result: tuple[int, bytes] | None) -> tuple[str, ...]:
    """What a meter calls itself by, the likeliest first; what may be packed BCD or text is told both ways."""
    data = value(result)
    if isinstance(data, tuple):
        return ()
    if data.number is not None and data.tag not in (*_NO_NUMBERS, *_FLOATS):
        told = f"{data.number:f}"
        return (told,) if told.strip("0") else ()
    raw = data.raw.strip(b"\0 ") if data.tag in (axdr.OCTETS, axdr.VISIBLE, axdr.UTF8) else b""
    text = raw.decode("latin-1")
    found = []
    if text.isascii() and text.isprintable() and len(text) >= _SHORTEST_TEXT:
        found.append(text.strip())
    if data.tag == axdr.OCTETS and (packed := data.raw.hex()).isdecimal():
        found.append(packed)
    return tuple(dict.fromkeys(one for one in found if one.strip("0")))


def clock(result: tuple[int, bytes] | None) -> datetime | None:
    """The civil time that a meter's clock shows, whole seconds; None if it shows none or calls it invalid.

    The deviation from UTC is left aside: the sign of its direction differs between makes.
    """
    data = value(result)
    if isinstance(data, tuple) or data.tag not in (axdr.OCTETS, axdr.DATE_TIME):
        return None
    told = axdr.moment(data.raw) if len(data.raw) == 12 else None
    if told is None or data.raw[7] == 0xFF:
        return None
    return datetime.fromisoformat(" ".join(told.split()[:2]).partition(".")[0])
