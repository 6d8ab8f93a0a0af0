"""Who a meter says it is: its number, and its clock against ours.

A meter that was replaced answers under the old one's address, with other errors than those its certificate states; so
its number is asked for at the start, when it was gone, and once a day: of DL/T 645-2007 by its items (04000402 number,
04000101/02 date and time), of DL/T 698.45 by 4002 (meter number), else 4001 (communication address), of a DLMS meter by
device ID 1 (or the object that its profile names), of a Modbus meter where its profile has an ``[identity]``.

Others say it unasked, each time (``TELL``): M-Bus in the header of each telegram; CJ/T 188 by the address in the frame
(what was asked for by its whole address says nothing new). A session of IEC 62056-21 has maker and type in its
identification, the number mostly in the readout. There an empty address is answered by whoever is on the line, so each
reading is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from drivers import (
    cjt188,
    dlms_get,
    dlms_points,
    dlt645,
    dlt645_items,
    dlt698_apdu,
    dlt698_get,
    iec62056,
    iec62056_points,
    mbus,
    nameplate,
)
from drivers.axdr import Malformed
from drivers.bus import Bus, Meter
from drivers.codec import Answer, Exchange, Missing
from drivers.mbus_records import Malformed as MalformedTelegram
from drivers.profile import Profile, Query
from drivers.protocols import Request

NUMBER, DATE, TIME = "04000402", "04000101", "04000102"
METER_NUMBER_698, ADDRESS_698 = "40020200", "40010200"
TELL = frozenset(
    ("iec62056-21", "iec62056-21-300", "iec62056-21-fixed", "mbus", "cjt188")
)  # protocols that say it with each reading
_SHORTEST_TEXT = 6  # octets that are all digits in ASCII are a number as text only if they are so many


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


def can_ask(protocol: str, profile: Profile) -> bool:
    """Whether a meter of this kind can be asked for its number."""
    if protocol.startswith("modbus"):
        return profile.nameplate is not None
    return protocol in ("dlt645-2007", "dlt698", "dlms-hdlc", "dlms-wrapper")


def told_in(exchanges: Sequence[Exchange], protocol: str = "iec62056-21") -> Identity:
    """What a meter said of itself while it was read, by a protocol of ``TELL``. What is torn tells nothing."""
    if protocol == "mbus":
        return _told_by_telegrams(exchanges)
    if protocol == "cjt188":
        return _told_by_address(exchanges)
    return _told_in_session(exchanges)


def _told_by_telegrams(exchanges: Sequence[Exchange]) -> Identity:
    """M-Bus: the identification number and the maker in the header, and a fabrication number where it is told."""
    found = Identity()
    for exchange in exchanges:
        decoder = mbus.Decoder()
        heard = (*decoder.feed(exchange.answer), *decoder.finish())
        for frame in (f for f in heard if isinstance(f, mbus.Frame) and not exchange.failure):
            try:
                telegram = frame.telegram()
            except MalformedTelegram:
                continue
            if telegram is None or telegram.error:
                continue
            head = telegram.header
            printed = [i for i in telegram.indications if i.item.startswith("fabrication number")]
            told = (f"{i.value:f}" if i.value is not None else i.detail for i in printed)
            also = tuple(dict.fromkeys((*found.also, *(text for text in told if text.strip("0 ")))))
            number = head.identity if head.identity.strip("0F") else found.number
            found = Identity(number, None, True, also, head.manufacturer or found.maker, head.medium)
    if found.number is None and found.also:
        return replace(found, number=found.also[0], also=found.also[1:])
    return found


def _told_by_address(exchanges: Sequence[Exchange]) -> Identity:
    """CJ/T 188: the address of the meter that answered to another one than its own: to digits that may be any."""
    for exchange in reversed(exchanges):
        asked, told = cjt188.Decoder(), cjt188.Decoder()
        requests = [f for f in asked.feed(exchange.request) if isinstance(f, cjt188.Frame)]
        answers = [f for f in told.feed(exchange.answer) if isinstance(f, cjt188.Frame) and f.from_meter]
        if requests and answers and not exchange.failure:
            given = answers[-1].address
            new = "A" in requests[0].address and given.isdecimal() and given.strip("0")
            return Identity(given if new else None, None, True)
    return Identity()


def _told_in_session(exchanges: Sequence[Exchange]) -> Identity:
    """IEC 62056-21: the last session of a reading."""
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
    codec = meter.codec or bus.codec
    if not can_ask(codec.name, meter.profile):
        return Identity()
    if codec.name == "dlt698":
        return await _ask_698(bus, meter)
    if codec.name.startswith("dlms"):
        return await _ask_dlms(bus, meter, local)
    if place := meter.profile.nameplate:
        query = Query("modbus", (), "", place.function, place.address, place.length)
        reply = await _asked(bus, meter, codec.request(codec.address(meter.address), query))
        told = "" if reply is None or reply.error else nameplate.number(place, reply.payload)
        return Identity(told or None, None, reply is not None)
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


async def _ask_dlms(bus: Bus, meter: Meter, local: Callable[[int], datetime] | None) -> Identity:
    """DLMS: a session of its own, for the number and, where the profile says so, the clock."""
    profile = meter.profile
    number = profile.number_at or dlms_points.NUMBER
    clock = profile.clock_at if local is not None else ""
    items = (number, clock) if clock else (number,)
    codec = meter.codec or bus.codec
    request = codec.request(codec.address(meter.address), Query("dlms", (), item="+".join(items)))
    reply = await bus.converse(request, meter)
    if reply.answer is None or reply.answer.error or reply.exchange is None:
        return Identity(answered=reply.answer is not None)
    told = dlms_get.unpacked(reply.answer.payload)
    found = dlms_points.numbers(told.get(number))
    ahead = None
    if local is not None and (shown := dlms_points.clock(told.get(clock))) is not None:
        sent, received = reply.exchange.sent.utc_us, reply.exchange.received.utc_us
        ahead = round((shown - local((sent + received) // 2).replace(tzinfo=None)) / timedelta(seconds=1))
    return Identity(found[0] if found else None, ahead, True, found[1:])


async def _ask_698(bus: Bus, meter: Meter) -> Identity:
    """DL/T 698.45: the meter number; of one that has none, the communication address."""
    answered = False
    for oad in (METER_NUMBER_698, ADDRESS_698):
        answer = await _asked(bus, meter, dlt698_get.request(dlt698_get.address(meter.address), oad))
        answered = answered or answer is not None
        if answer is not None and (found := octets_told(answer, oad)):
            return Identity(found[0], None, True, found[1:])
    return Identity(answered=answered)


def octets_told(answer: Answer, oad: str) -> tuple[str, ...]:
    """The number in an octet string: packed BCD, or text; what may be either is told both ways."""
    if answer.error or answer.more:
        return ()
    try:
        values = dict(dlt698_apdu.parse(answer.payload).values)
    except Malformed:
        return ()
    value = values.get(oad, "")
    raw = value if isinstance(value, str) else value.raw
    if not isinstance(raw, bytes) or not raw.strip(b"\0"):
        return ()
    packed, text = raw.hex(), raw.decode("latin-1")
    read = [packed] if packed.isdecimal() else []
    if text.isascii() and text.isalnum() and len(text) >= _SHORTEST_TEXT:
        read.append(text)
    return tuple(read)


async def _ask(bus: Bus, meter: Meter, item: str) -> Answer | None:
    return await _asked(bus, meter, dlt645.Request(meter.address, dlt645.READ, item))


async def _asked(bus: Bus, meter: Meter, request: Request) -> Answer | None:
    """The answer, be it a refusal; None if there was none."""
    for _ in range(1 + meter.retries):
        reply = await bus.ask(request, meter.patience, meter)
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
