"""A profile's points out of an M-Bus telegram: records by their name, in the profile's unit. Pure.

A point's ``item`` is the record's name as ``suyuan decode`` shows it (``energy``, ``flow temperature``,
``volume storage=1``). A meter tells its unit with each value: what is a power of ten away (Wh, kWh) is converted,
anything else is no value. Of two records with one name the telegram does not say which is meant: no value either.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from drivers import mbus, mbus_records
from drivers.codec import Indication, Missing
from drivers.points import Point
from drivers.registers import scaled

_POWERS = {
    ("Wh", "kWh"): -3,
    ("Wh", "MWh"): -6,
    ("J", "kJ"): -3,
    ("J", "MJ"): -6,
    ("J", "GJ"): -9,
    ("W", "kW"): -3,
    ("W", "MW"): -6,
}
"""Powers of ten between what telegrams tell and what profiles use."""


def decode(points: Sequence[Point], payload: bytes) -> tuple[Indication, ...]:
    """One indication per point. ``payload``: CI and application data, or several frames (``mbus.join``)."""
    why = "no telegram with readings"
    found: Sequence[Indication] = ()
    try:
        told = [t for t in _telegrams(payload) if t is not None]
        if told:
            found, why = [i for t in told for i in t.indications], told[0].error
    except mbus_records.Malformed as problem:
        why = str(problem)
    if not found:
        reason = Missing.ERROR_ANSWER if payload[:1] == b"\x70" else Missing.CORRUPT
        return tuple(Indication(p.item, p.measurand, None, p.unit, reason, why) for p in points)
    return tuple(_indication(point, found) for point in points)


def _telegrams(payload: bytes) -> list[mbus_records.Telegram | None]:
    if payload[:1] != b"\x68":
        return [mbus_records.decode(payload[0], payload[1:])] if payload else []
    decoder = mbus.Decoder()
    frames = [*decoder.feed(payload), *decoder.finish()]
    return [frame.telegram() for frame in frames if isinstance(frame, mbus.Frame)]


def _indication(point: Point, found: Sequence[Indication]) -> Indication:
    def none(reason: Missing, detail: str) -> Indication:
        return Indication(point.item, point.measurand, None, point.unit, reason, detail)

    named = [i for i in found if i.item == point.item]
    told = [i for i in named if i.measurand] or named  # the one that the decoder knows the meaning of
    if not told:
        in_error = next((i for i in found if i.item.startswith(f"{point.item} function=error")), None)
        if in_error is not None:
            return none(in_error.missing or Missing.FAULT, in_error.detail)
        return none(Missing.NOT_SUPPORTED, "the telegram has no such record")
    if len(told) > 1:
        return none(Missing.UNKNOWN_FORMAT, f"{len(told)} records are called so")
    (one,) = told
    if one.value is None:
        return none(one.missing or Missing.NOT_NUMERIC, one.detail)
    power = 0 if one.unit == point.unit else _POWERS.get((one.unit, point.unit))
    if power is None:
        return none(Missing.UNKNOWN_FORMAT, f"the meter tells {one.unit}, the profile {point.unit}")
    value = scaled(one.value, Decimal(1).scaleb(power))
    return Indication(point.item, point.measurand, value, point.unit)
