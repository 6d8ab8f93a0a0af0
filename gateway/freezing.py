"""Simultaneous registers of a line's meters: one order to freeze, then each is read, at that instant's time.

At each multiple of the freeze's period the first meter whose turn it is has the order sent; all that are read for the
same due time answer with what they froze then. A meter whose frozen time is another, or the same as before, has no
value (``drivers.freeze``). Before the first order of a run the meters are asked what they hold, so that this never
passes for new.

The order is a write. It is sent where a site's ``freeze`` says who allowed it, and each one is an event in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers import dlt645, dlt645_items, freeze
from drivers.bus import Bus, Meter
from drivers.codec import Exchange, Missing, Scan
from drivers.line import Reply
from drivers.profile import Query, missing


@dataclass(frozen=True, slots=True)
class FreezePlan:
    """What a line's meters are asked after an order, by instrument, and who allowed the orders.

    ``tolerance_us``: how far off a meter's clock may be; ``offset_us``: of the meters' civil time; ``pause_s``: how
    long the meters are given before they are asked.
    """

    queries: Mapping[str, tuple[Query, ...]]
    period_us: int
    tolerance_us: int
    offset_us: int
    pause_s: float
    allowed_by: str
    allowed_on: str

    def plain(self) -> dict[str, object]:
        """As configuration records carry it, the queries apart."""
        return {
            "period_us": self.period_us,
            "tolerance_us": self.tolerance_us,
            "offset_us": self.offset_us,
            "allowed_by": self.allowed_by,
            "allowed_on": self.allowed_on,
        }


class Freezer:
    """One line's orders. ``tell`` is given the bus's name for each order, with what came of it."""

    def __init__(self, plan: FreezePlan, bus: Bus, tell: Callable[[str, Mapping[str, str]], None]) -> None:
        self._plan, self._bus, self._tell = plan, bus, tell
        self._slot: int | None = None
        self._order: Reply | None = None
        self._held: dict[str, str] = {}  # the frozen time that each meter told last

    def due(self, instrument: str, due_us: int) -> bool:
        """Whether a poll is to be answered out of what was frozen."""
        return instrument in self._plan.queries and due_us % self._plan.period_us == 0

    async def scan(self, meter: Meter, due_us: int, meters: Mapping[str, Meter]) -> Scan:
        """What ``meter`` froze for this due time. ``meters``: all of the line, by instrument."""
        if due_us != self._slot:
            if self._slot is None:
                for name in self._plan.queries:
                    await self._look(meters[name])
            self._slot = due_us
            self._order = await self._freeze(meter, due_us)
        order, queries = self._order, self._plan.queries[meter.id]
        assert order is not None
        if order.exchange is None:
            now = self._bus.now()
            why = order.failure or Missing.LINK_DOWN
            detail = f"the order to freeze was not sent: {order.detail}"
            nothing = [i for q in queries[1:] for i in missing(q, why, detail)]
            return Scan(tuple(nothing), (), now, now)
        scan = await self._bus.scan(meter, queries)
        return self._taken(meter, scan, order.exchange)

    def _taken(self, meter: Meter, scan: Scan, order: Exchange) -> Scan:
        plan, at = self._plan, order.received
        told, before = freeze.stamp(scan.indications), self._held.get(meter.id)
        why = ""
        if told is not None:
            self._held[meter.id] = told
            if before is None:
                why = f"what was frozen before is not known, so {told} may be an older freeze"
            elif told == before:
                why = f"the meter still holds its freeze of {told}: it has not heard the order"
        values = freeze.judged(scan.indications, at.utc_us, plan.tolerance_us, plan.offset_us, why)
        return Scan(values, (order, *scan.exchanges), at, scan.finished)

    async def _freeze(self, meter: Meter, due_us: int) -> Reply:
        reply = await self._bus.broadcast(freeze.order(), meter, self._plan.pause_s)
        detail = {"bus": self._bus.name, "due_us": str(due_us), "allowed_by": self._plan.allowed_by}
        if reply.exchange is None:
            detail["failed"] = reply.detail
        else:
            detail["at_us"] = str(reply.exchange.received.utc_us)
            detail["request"] = reply.exchange.request.hex()
        self._tell("freeze_ordered", detail)
        return reply

    async def _look(self, meter: Meter) -> None:
        """What a meter holds from an earlier freeze; a refusal says that it holds none."""
        request = dlt645.Request(meter.address, dlt645.READ, freeze.TIME)
        reply = await self._bus.ask(request, meter.patience, meter)
        if reply.answer is None:
            return
        self._held[meter.id] = ""
        if not reply.answer.error:
            found = dlt645_items.decode(freeze.TIME, reply.answer.payload)
            if found and found[0].missing is Missing.NOT_NUMERIC:
                self._held[meter.id] = found[0].detail
