"""A profile's points out of a DL/T 698.45 answer: by their OAD, scaled and in the unit that the standard fixes. Pure.

A point's ``item`` is the OAD of one number: an attribute (``200F0200``) or one of its elements (``20000201``: phase A
of the voltages). ``block`` is the attribute that is asked in its place, whole: ``20000200``. Of a freeze's last record
it is the record's OAD and the column's: ``50040200/00100201``, the forward active total of the last daily freeze.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers import dlt698, dlt698_apdu
from drivers.axdr import Malformed
from drivers.codec import Indication, Missing
from drivers.dlt698_tables import FREEZE_TIME
from drivers.points import Point


def decode(points: Sequence[Point], payload: bytes) -> tuple[Indication, ...]:
    """One indication per point. ``payload``: an APDU, or the frames of its parts (``dlt698_get.join``)."""
    try:
        apdus = _apdus(payload)
    except Malformed as problem:
        return tuple(
            Indication(p.item, p.measurand, None, p.unit, Missing.CORRUPT, str(problem)) for p in points
        )
    told: dict[str, Indication] = {}
    for apdu in apdus:
        for indication in dlt698_apdu.indications(apdu):
            told.setdefault(indication.item, indication)
    return tuple(_indication(point, told) for point in points)


def _apdus(payload: bytes) -> list[dlt698_apdu.Apdu]:
    if payload[:1] != b"\x68":
        return [dlt698_apdu.parse(payload)]
    decoder, joiner = dlt698.Decoder(), dlt698.Joiner()
    found: list[dlt698_apdu.Apdu] = []
    for frame in (*decoder.feed(payload), *decoder.finish()):
        if not isinstance(frame, dlt698.Frame):
            raise Malformed("the parts of the answer are not all frames")
        whole = joiner.add(frame)
        if joiner.problem:
            raise Malformed(joiner.problem)
        if whole is not None:
            found.append(dlt698_apdu.parse(whole))
    return found


def _indication(point: Point, told: Mapping[str, Indication]) -> Indication:
    def none(reason: Missing, detail: str) -> Indication:
        return Indication(point.item, point.measurand, None, point.unit, reason, detail)

    record, _, column = point.item.rpartition("/")
    when = told.get(f"{record} row 1 {FREEZE_TIME}")
    if record and (when is None or when.missing is not Missing.NOT_NUMERIC):
        return none(Missing.NOT_SUPPORTED, f"{record}: the meter tells no record with the time of its freeze")
    one = told.get(f"{record} row 1 {column}" if record else point.item)
    if one is None and record:
        one = told.get(f"{record} row 1 {column[:6]}00")  # the whole column is missing, or no array
        if one is None or one.value is not None:
            return none(Missing.NOT_SUPPORTED, f"the last record of {record} has no {column}")
    if one is None:
        whole = told.get(point.block) if point.block else None
        if whole is not None and whole.value is None:  # the attribute was refused, or is no array
            return none(whole.missing or Missing.NOT_SUPPORTED, whole.detail)
        if whole is not None:
            return none(Missing.UNKNOWN_FORMAT, f"{point.block} is one number, not an array")
        return none(Missing.NOT_SUPPORTED, f"the answer has no {point.item}")
    if one.value is None:
        return none(one.missing or Missing.NOT_NUMERIC, one.detail)
    if one.unit != point.unit:
        detail = f"the standard tells it in {one.unit or 'no unit'}, the profile in {point.unit}"
        return none(Missing.UNKNOWN_FORMAT, detail)
    return Indication(point.item, point.measurand, one.value, point.unit)
