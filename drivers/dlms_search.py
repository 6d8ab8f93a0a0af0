"""Which DLMS/COSEM meters are on a line: likely HDLC addresses (or wrapper ports) asked to open a session.

No meter answers to an address that stands for all, so those are tried that makers use: the management logical device
(1) alone, and with physical devices: 17 and 16 (the first ones that the standard leaves free), then the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from drivers import dlms_points, dlms_reading
from drivers.bus import Bus, Meter
from drivers.codec import Indication, Missing
from drivers.identity import identify
from drivers.line import Patience
from drivers.link import LinkDown
from drivers.points import Profile, Query
from drivers.profile import plan

LIKELY = ("1", "1/17", "1/16", "16", "17")
"""Asked first; an address of another size is another address."""


async def present(
    bus: Bus,
    units: Iterable[int],
    patience: Patience,
    late: Callable[[], bool],
    say: Callable[[str], None],
    addresses: Sequence[str] = (),
) -> list[str]:
    """The addresses that answer. ``units``: physical devices that are asked besides; LinkDown if there is no line."""
    wrapped = bus.codec.name == "dlms-wrapper"
    usual = (*LIKELY, *(f"1/{n}" for n in units if n <= 127))
    tried = addresses or (("1",) if wrapped else tuple(dict.fromkeys(usual)))
    found = []
    for text in tried:
        if late():
            break
        canonical = bus.codec.address(text)
        request = bus.codec.request(canonical, Query("dlms", (), item=dlms_points.NUMBER))
        reply = await bus.ask(request, patience)
        if reply.failure is Missing.LINK_DOWN:
            where = bus.line.link.describe()
            raise LinkDown(where, reply.detail.removeprefix(f"{where}: "))
        if reply.answer is None:
            continue
        if reply.answer.error and reply.answer.error_code != dlms_reading.HUNG_UP:
            say(f"address {canonical} answers, but does not let us in: {reply.answer.error}")
        else:
            say(f"address {canonical} answers")
        found.append(canonical)
    return found


async def asked(
    bus: Bus, profile: Profile, address: str, reply_s: float
) -> tuple[str, tuple[Indication, ...]]:
    """The number of the meter at an address, and what a profile makes of it: its indications."""
    meter = Meter(f"{address} as {profile.name}", address, profile, reply_s, late_s=0.05)
    who = await identify(bus, meter)
    scan = await bus.scan(meter, plan(profile))
    return who.number or "", scan.indications
