"""Simultaneous registers: the instantaneous freeze of DL/T 645-2007, ordered by broadcast and read afterwards. Pure.

``order`` is the frame at which every meter of a line copies its registers (C = 16 to address 99…99, data 99999999 for
"now"; clauses 7.1.6 and A.7). Nobody answers it. What was copied is read as items 0501xx01 (annex A.6): 00 when it was
done, to the minute; 01 … 08 the energies; 10 the powers. ``queries`` gives what to ask in the place of the present
registers, the time first; ``judged`` takes nothing for frozen that was not frozen by this very order.

The order changes what a meter holds: whoever sends it must have been allowed to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from drivers import dlt645
from drivers.codec import Indication, Missing
from drivers.dlt645_tables import describe, di_bytes, dotted
from drivers.points import Point, Query

PROTOCOL = "dlt645-2007"
FLAG = "frozen"
"""On readings whose values were frozen by broadcast: their time is that of the order."""
TIME = "05010001"
"""The item that tells when the last instantaneous freeze was done."""
STAMP = "frozen.instantaneous.time"
LEAST_PERIOD_US = 180_000_000
"""The frozen time is told to the minute: orders must lie further apart than that, or one passes for the other."""
_NOW = b"\x99" * 4
_MINUTE_US = 60_000_000
_POWERS = {3: "active", 4: "reactive"}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the meter's civil time: it knows no zone


def order(preamble: int = 4) -> bytes:
    """The broadcast: freeze now, all of you."""
    request = dlt645.Request(dlt645.BROADCAST, dlt645.FREEZE, payload=_NOW)
    return dlt645.encode(request, writes=True, preamble=preamble)


def frozen_item(di: str) -> tuple[str, str] | None:
    """What to ask for the frozen value of a register, and the name under which the answer has it; None: not frozen."""
    if len(di) != 8:
        return None
    family, di2, di1, di0 = di_bytes(di)
    if family == 0 and 1 <= di2 <= 8 and di1 <= 4 and di0 == 0:
        asked = f"0501{di2:02X}01"
        return asked, dotted(asked, f"t{di1}" if di1 else "")
    if family == 2 and di2 in _POWERS and di1 <= 3 and di0 == 0:
        return "05011001", dotted("05011001", _POWERS[di2], f"l{di1}" if di1 else "total")
    return None


def queries(asked: Iterable[Query]) -> tuple[Query, ...]:
    """What to ask after a freeze in the place of these queries: the time of the freeze, then what was frozen.

    Points of which meters keep no frozen value are left out; empty if there is no other.
    """
    points: dict[str, list[Point]] = {}
    for point in (point for query in asked if query.protocol == PROTOCOL for point in query.points):
        found = frozen_item(point.item)
        table = describe(point.item)
        if found is not None and table is not None and table.fields[0].unit == point.unit:
            points.setdefault(found[0], []).append(replace(point, item=found[1], block=""))
    if not points:
        return ()
    first = Query(PROTOCOL, (Point(STAMP, "", item=TIME),), item=TIME)
    return (first, *(Query(PROTOCOL, tuple(those), item=item) for item, those in points.items()))


def stamp(indications: Iterable[Indication]) -> str | None:
    """When a meter says that it froze, in its own civil time: ``2026-11-24 19:00``; None if it does not say."""
    for indication in indications:
        if indication.measurand == STAMP and indication.missing is Missing.NOT_NUMERIC:
            return indication.detail
    return None


def apart_us(told: str, ordered_us: int, offset_us: int) -> int | None:
    """How far the minute that a meter tells lies from an instant (UTC); 0 within it; None if it is no time.

    ``offset_us``: what the meter's civil time is ahead of UTC.
    """
    try:
        minute = datetime.strptime(told, "%Y-%m-%d %H:%M")  # noqa: DTZ007 - see _EPOCH
    except ValueError:
        return None
    begin = (minute - _EPOCH) // timedelta(microseconds=1) - offset_us
    return max(0, begin - ordered_us, ordered_us - (begin + _MINUTE_US) + 1)


def widest_us(period_us: int) -> int:
    """How far a meter's clock may be off at most, if the freeze before must never pass for this one."""
    # A clock is judged to a minute, the order before by the same clock: each costs a minute.
    return (period_us - 2 * _MINUTE_US) // 2 - 1


def judged(
    indications: Sequence[Indication], ordered_us: int, tolerance_us: int, offset_us: int, why: str = ""
) -> tuple[Indication, ...]:
    """The frozen values, if they were frozen at this order; else every one of them is missing, with the cause.

    ``why``: something else that speaks against them.
    """
    told = stamp(indications)
    if not why:
        apart = None if told is None else apart_us(told, ordered_us, offset_us)
        if told is None:
            why = "the meter does not tell when it froze"
        elif apart is None or apart > tolerance_us:
            why = f"the meter froze at {told}, its own time: not when it was ordered"
    return tuple(
        Indication(i.item, i.measurand, None, i.unit, Missing.NOT_FROZEN, why)
        if why and i.value is not None
        else i
        for i in indications
        if i.measurand != STAMP
    )
