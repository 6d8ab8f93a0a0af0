"""Who a meter says it is: its number, and its clock against ours.

A meter that was replaced answers under the old one's address, with other errors than those its certificate states; so
its number is asked for at the start, when it was gone, and once a day. DL/T 645-2007 has items for it (04000402 number,
04000101/02 date and time).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from drivers import dlt645, dlt645_items
from drivers.bus import Bus, Meter
from drivers.codec import Answer, Missing

NUMBER, DATE, TIME = "04000402", "04000101", "04000102"
HAVE = frozenset(("dlt645-2007",))  # protocols that can be asked


@dataclass(frozen=True, slots=True)
class Identity:
    """What a meter told of itself; None: it did not tell.

    ``answered``: whether it answered at all, be it that it does not have this. ``clock_ahead_s``: its clock minus ours,
    in whole seconds.
    """

    number: str | None = None
    clock_ahead_s: int | None = None
    answered: bool = False


async def identify(bus: Bus, meter: Meter, local: Callable[[int], datetime] | None = None) -> Identity:
    """Ask a meter who it is. Never raises for what a meter or a line does; what is not told is None.

    ``local`` gives the meter's civil time for a UTC instant in microseconds; without it the clock is not asked.
    """
    if (meter.codec or bus.codec).name not in HAVE:
        return Identity()
    answer = await _ask(bus, meter, NUMBER)
    ahead = await _clock_ahead(bus, meter, local) if answer and local is not None else None
    return Identity(_text(answer, NUMBER), ahead, answer is not None)


async def _clock_ahead(bus: Bus, meter: Meter, local: Callable[[int], datetime]) -> int | None:
    """The date is asked before and after the time: at midnight a time alone does not tell of which day it is."""
    first = _text(await _ask(bus, meter, DATE), DATE)
    request = dlt645.Request(meter.address, dlt645.READ, TIME)
    reply = await bus.ask(request, meter.patience, meter)
    time = _text(reply.answer, TIME)
    if first is None or time is None or reply.exchange is None:
        return None
    if _text(await _ask(bus, meter, DATE), DATE) != first:
        return None
    try:
        shown = datetime.fromisoformat(f"{first.split()[0]}T{time}")
    except ValueError:
        return None
    sent, received = reply.exchange.sent.utc_us, reply.exchange.received.utc_us
    ahead = shown - local((sent + received) // 2).replace(tzinfo=None)
    return round(ahead / timedelta(seconds=1))


async def _ask(bus: Bus, meter: Meter, item: str) -> Answer | None:
    for _ in range(1 + meter.retries):
        reply = await bus.ask(dlt645.Request(meter.address, dlt645.READ, item), meter.patience, meter)
        if reply.answer is not None or reply.exchange is None:
            return reply.answer
    return None


def _text(answer: Answer | None, item: str) -> str | None:
    """What an item says in words; None if it says nothing."""
    if answer is None or answer.error or answer.more:
        return None
    for told in dlt645_items.decode(item, answer.payload):
        if told.item == item and told.missing is Missing.NOT_NUMERIC and told.detail:
            return told.detail
    return None
