"""What an HJ 212 data packet says of an instrument's points: values, their data flags, and when it was. Pure.

Which value of a factor is meant follows from the command: ``-Rtd`` of real-time data (2011), ``-Avg`` of minute, hour
and day data (2051, 2061, 2031); a point that means another one names it (``a00000-Cou``).

A value counts as measured if its data flag is N. What the sender flags otherwise is missing with a reason, its flag
kept: T is over the measuring limit, D and B are faults, everything else (stopped, maintenance, calibrating, set by
hand, a site's own flag) is no measurement. Editions differ in whether a flag is there at all: without one the value
counts, and the record says ``?``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from drivers import hj212
from drivers.codec import Indication, LocalProtocolError, Missing
from drivers.points import Point

VALUES = {"2011": "Rtd", "2051": "Avg", "2061": "Avg", "2031": "Avg"}
"""The commands that carry measurements, and which value of a factor each means."""

_REASONS = {"T": Missing.OUT_OF_RANGE, "D": Missing.FAULT, "B": Missing.FAULT}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Groups = Sequence[Sequence[tuple[str, str]]]


def decode(points: Sequence[Point], packets: bytes) -> tuple[Indication, ...]:
    """The points out of a logger's packets as they came (several segments: one after the other)."""
    decoder = hj212.Decoder()
    found = [*decoder.feed(packets), *decoder.finish()]
    frames = [frame for frame in found if isinstance(frame, hj212.Frame)]
    if len(frames) != len(found) or not frames:
        detail = "no packets, or other bytes between them"
        return tuple(Indication(p.item, p.measurand, None, p.unit, Missing.CORRUPT, detail) for p in points)
    try:
        groups = hj212.join(frames) if len(frames) > 1 else frames[0].groups
    except LocalProtocolError as error:
        return tuple(
            Indication(p.item, p.measurand, None, p.unit, Missing.CORRUPT, str(error)) for p in points
        )
    return indications(points, frames[0].head("CN"), groups)


def indications(points: Sequence[Point], command: str, groups: _Groups) -> tuple[Indication, ...]:
    """One indication per point, in the point's unit: the numbers as written, or missing with the reason."""
    told: dict[str, Indication] = {}
    for found in hj212.decode(groups):
        before = told.setdefault(found.item, found)
        if before.value != found.value and found.item != "DataTime":
            detail = f"{found.item} stands more than once in the packet, with different values"
            told[found.item] = replace(found, value=None, missing=Missing.CORRUPT, detail=detail)
    flags = hj212.flags_of(groups)
    return tuple(_indication(point, command, told, flags) for point in points)


def _indication(point: Point, command: str, told: dict[str, Indication], flags: dict[str, str]) -> Indication:
    code, _, value = point.item.partition("-")
    key = f"{code}-{value or VALUES.get(command, 'Rtd')}"
    found = told.get(key)
    if found is None:
        detail = f"the packet has no {key}"
        return Indication(key, point.measurand, None, point.unit, Missing.NOT_SUPPORTED, detail)
    named = replace(found, measurand=point.measurand, unit=point.unit)
    flag = flags.get(code, "N")
    if flag == "N" or named.value is None:
        return named
    reason = _REASONS.get(flag, Missing.FLAGGED)
    meaning = hj212.DATA_FLAGS.get(flag, "of this site")
    detail = f"{named.value:f} with flag {flag}: {meaning}"
    return Indication(key, point.measurand, None, point.unit, reason, detail)


def record_flags(points: Sequence[Point], groups: _Groups) -> tuple[str, ...]:
    """What a record keeps of the data flags of these points: ``data_flag:a05001=N``, ``?`` where there is none."""
    flags = hj212.flags_of(groups)
    codes = dict.fromkeys(point.item.partition("-")[0] for point in points)
    return tuple(f"data_flag:{code}={flags.get(code, '?')[:8]}" for code in codes)


def data_time(groups: _Groups, offset_minutes: int = 480) -> int | None:
    """DataTime as microseconds of UTC; None if there is none or it is no time.

    The standard's times are local (``offset_minutes`` ahead of UTC; China: 480): the sampling instant of 2011, the
    start of the interval of 2051, 2061, 2031.
    """
    text = next((value for group in groups for key, value in group if key == "DataTime"), "")
    if not (text.isascii() and text.isdigit() and 14 <= len(text) <= 17):
        return None
    try:
        told = datetime.strptime(f"{text[:14]}+0000", "%Y%m%d%H%M%S%z") - timedelta(minutes=offset_minutes)
    except (ValueError, OverflowError):
        return None
    since = (told - _EPOCH) // timedelta(microseconds=1) + int(text[14:].ljust(3, "0")) * 1000
    return since if since >= 0 else None
