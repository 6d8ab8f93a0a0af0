"""Who a meter says it is: its number, and its clock against ours.

A meter that was replaced answers under the old one's address, with other errors than those its certificate states; so
its number is asked for at the start, when it was gone, and once a day: of DL/T 645-2007 by its items (04000402 number,
04000101/02 date and time), of DL/T 698.45 by 4002 (meter number), else 4001 (communication address), of a Modbus meter
where its profile has an ``[identity]``.

Others say it unasked, each time (``TELL``): M-Bus in the header of each telegram, CJ/T 188 by the address in the frame
(what was asked for by its whole address says nothing new). A session of IEC 62056-21 says it unasked, each time: maker and type in the identification, the number mostly in the
readout. There an empty address is answered by whoever is on the line, so each reading is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drivers import dlt645, dlt645_items, iec62056, iec62056_points
from drivers.bus import Bus, Meter
from drivers.codec import Answer, Exchange, Missing

NUMBER, DATE, TIME = "04000402", "04000101", "04000102"
HAVE = frozenset(("dlt645-2007",))  # protocols that can be asked
TELL = frozenset(
    ("iec62056-21", "iec62056-21-300", "iec62056-21-fixed")
)  # protocols that say it with each reading


@dataclass(frozen=True, slots=True)
class Identity:
    """What a meter told of itself; None: it did not tell.

    ``answered``: whether it answered at all, be it that it does not have this. ``clock_ahead_s``: its clock minus ours,
    in whole seconds. ``also``: further numbers that it prints, the likelier first. ``maker``: three letters (FLAG);
    ``type``: what its maker calls it; both empty where the protocol has none.
    """

    number: str | None = None
    clock_ahead_s: int | None = None
    answered: bool = False
    also: tuple[str, ...] = ()
    maker: str = ""
    type: str = ""


def told_in(exchanges: Sequence[Exchange]) -> Identity:
    """What a meter said of itself in the last session of a reading by IEC 62056-21. A torn one tells nothing."""
    sessions = [n for n, exchange in enumerate(exchanges) if exchange.request.startswith(b"/?")]
    last = exchanges[sessions[-1] :] if sessions else ()
    if not last or any(exchange.failure for exchange in last):
        return Identity()
    decoder = iec62056.Decoder()
    heard = b"".join(exchange.answer for exchange in last)
    frames = [
        found for found in (*decoder.feed(heard), *decoder.finish()) if isinstance(found, iec62056.Frame)
    ]
    who = next((frame.identification for frame in frames if frame.identification), None)
    text = "".join(frame.text for frame in frames if frame.kind is iec62056.Kind.DATA)
    number, *also = iec62056_points.numbers(text.encode("latin-1")) or (None,)
    maker, name = (who.manufacturer, who.name) if who else ("", "")
    return Identity(number, None, bool(frames), tuple(text for text in also if text), maker, name)


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
