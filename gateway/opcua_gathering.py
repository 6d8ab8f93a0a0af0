"""Notifications of single nodes, put together: one delivery per instrument and period, each node nearest to its time.

An OPC UA server tells each node by itself, as often as it likes. A period of an instrument (its slot, as in
``gateway.pushed``) is what lies nearer to a multiple of the period than to any other. Of each node the notification
whose SourceTimestamp is nearest to that multiple counts (the earlier of two). The slot is closed when every node has
told something at or after it, or when ``close_us`` have passed since; what comes for it afterwards is surplus. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers import opcua_points, pushed
from drivers import profile as profiles
from drivers.codec import Answer, Exchange, Instant, Scan
from drivers.json_points import LONGEST
from drivers.opcua_points import Notification
from drivers.points import Profile, Query
from gateway.pushed import AHEAD_US, Delivery
from gateway.schedule import next_multiple


@dataclass(frozen=True, slots=True)
class Monitored:
    """One instrument: whose nodes are its points' items. ``close_us``: how long after its time a slot stays open."""

    instrument: str
    profile: Profile
    query: Query
    period_us: int
    close_us: int
    sampling_us: int

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its node ids, each once."""
        return tuple(dict.fromkeys(point.item for point in self.query.points))


@dataclass(slots=True)
class Gathering:
    """What one instrument's nodes have told and what was not delivered yet."""

    of: Monitored
    closed_us: int = 0
    last_us: dict[str, int] = field(default_factory=dict)  # of each node, the newest time it told
    last: dict[str, Notification] = field(
        default_factory=dict
    )  # what it told then, since the connection began
    open: dict[int, dict[str, tuple[Notification, Instant]]] = field(default_factory=dict)

    def begin(self, now_us: int) -> None:
        """Slots before now belong to nobody any more: what a server still has of them is of unknown use."""
        self.closed_us = max(self.closed_us, next_multiple(now_us, self.of.period_us) - self.of.period_us)

    def connected(self) -> None:
        """The next that each node tells is what the server has of it: if it bears no time, of unknown age."""
        self.last.clear()

    def take(self, told: Notification, at: Instant) -> str:
        """Keep a notification for its slot; the cause if it is not kept, else nothing."""
        own = told.source_us is not None
        us = at.utc_us if told.source_us is None else told.source_us
        if us > at.utc_us + AHEAD_US:
            return "stamp_ahead"
        if own and us <= self.last_us.get(told.node, -1):
            return "repeated"  # a server that is connected to again tells what it told last
        before = self.last.get(told.node)
        self.last[told.node] = told
        if not own and before is None:
            return "no_time"
        if not own and before == told:
            return "repeated"
        self.last_us[told.node] = max(us, self.last_us.get(told.node, -1))
        slot_us = self._slot(us)
        if slot_us <= self.closed_us:
            return "surplus"
        nodes = self.open.setdefault(slot_us, {})
        kept = nodes.get(told.node)
        if kept is not None and self._distance(kept, slot_us) <= abs(us - slot_us):
            return "surplus"
        nodes[told.node] = (told, at)
        return ""

    @property
    def next_us(self) -> int | None:
        """When the first open slot is closed (UTC); None if none is open."""
        return min(self.open) + self.of.close_us if self.open else None

    def ready(self, now_us: int) -> tuple[Delivery, ...]:
        """The deliveries of all slots that are complete or over, in order."""
        told_all = len(self.last_us) == len(self.of.nodes)
        complete_us = min(self.last_us.values()) if told_all else -1
        over = [slot_us for slot_us in self.open if slot_us <= max(complete_us, now_us - self.of.close_us)]
        made: list[Delivery] = []
        for slot_us in sorted(over):
            self.closed_us = max(self.closed_us, slot_us)
            found = self.open.pop(slot_us)
            made.append(delivery(self.of, [found[node] for node in self.of.nodes if node in found]))
        return tuple(made)

    def _slot(self, us: int) -> int:
        period_us = self.of.period_us
        return (us + period_us // 2) // period_us * period_us

    def _distance(self, kept: tuple[Notification, Instant], slot_us: int) -> int:
        told, at = kept
        return abs((at.utc_us if told.source_us is None else told.source_us) - slot_us)


def delivery(of: Monitored, told: Sequence[tuple[Notification, Instant]]) -> Delivery:
    """Notifications of an instrument's nodes as its scan: an exchange each, decoded from what is recorded of them.

    What would not fit into one entry of the log is left out from behind, and missing.
    """
    exchanges: list[Exchange] = []
    size = 0
    for notification, at in told:
        line = opcua_points.encode(notification)
        size += len(line)
        if size > LONGEST:
            break
        exchanges.append(Exchange(notification.node.encode(), line, at, at))
    raws = [exchange.answer for exchange in exchanges]
    whole = b"".join(raws)
    indications = profiles.decode(of.profile, of.query, Answer("", whole, whole))
    stamp_us = opcua_points.stamp_us([notification for notification, _ in told])
    first, last = min(at for _, at in told), max(at for _, at in told)
    scan = Scan(indications, tuple(exchanges), first, last)
    return Delivery(of.instrument, scan, stamp_us, pushed.flags(of.query, raws))
