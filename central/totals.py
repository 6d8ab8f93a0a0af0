"""Totals over intervals, instruments and gateways, with what they share counted as what it is.

What a gateway recorded of each interval (contributions by source of uncertainty, and an independent variance) is enough
to add up afterwards: contributions of one source add with their sign, independent parts as squares
(``calibration.uncertainty``). Two hundred meters that were calibrated against one standard are uncertain together, and
the reading that ends one interval and begins the next cancels.

A source is known by its identity: a certificate, a standard or an instrument is the same one at whatever gateway. Only
the reading of a register (``resolution``, ``sampling``) belongs to one log, since two sites may both call a meter M1
and read it at the same instant.

Of a certificate whose split is unknown, a record holds the bound with the larger uncertainty for its own interval; both
bounds of the sum cannot be made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final, Protocol

from calibration.state import format_u
from calibration.uncertainty import Uncertain, total
from evidence.record import Aggregate, decode

from .holding import Holding
from .rows import Total

_OF_ONE_LOG: Final = ("resolution:", "sampling:")
_EXACT: Final = Context(prec=60)


class NotAddable(ValueError):
    """These totals are not parts of one sum: what, and which."""


class Parts(Protocol):
    """Where contributions of aggregates come from."""

    def parts(self, origin: str, entries: Sequence[int]) -> dict[int, tuple[dict[str, str], str]]:
        """Of the aggregates at these entries: contributions by source, and the independent variance."""


@dataclass(frozen=True, slots=True)
class FromLog:
    """Contributions read from the stored entries themselves, for a store that keeps no table of them."""

    store: Holding

    def parts(self, origin: str, entries: Sequence[int]) -> dict[int, tuple[dict[str, str], str]]:
        """Of the aggregates at these entries: contributions by source, and the independent variance."""
        gateway = next((g for g in self.store.gateways() if g.origin == origin), None)
        found: dict[int, tuple[dict[str, str], str]] = {}
        for entry in entries if gateway is not None else ():
            assert gateway is not None
            for data in self.store.entries(gateway, entry, entry + 1):
                record = decode(data)
                if isinstance(record, Aggregate):
                    found[entry] = (record.contributions, record.independent)
        return found


@dataclass(frozen=True, slots=True)
class Sum:
    """Totals added up. ``value`` and ``u`` (standard uncertainty) are None if no interval has a value.

    ``missing``: polls missed within the intervals. ``without_value``: intervals that state none. ``uncovered_us``: time
    between the first and the last interval, or the ends asked for, that no interval with a value covers; by instrument
    in ``uncovered``.
    """

    measurand: str
    unit: str
    from_us: int
    to_us: int
    value: str | None
    u: str | None
    contributions: Mapping[str, str]
    independent: str
    intervals: int
    without_value: int
    missing: int
    uncovered: Mapping[tuple[str, str], int]
    flags: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every instrument's whole period is in it."""
        return not any(self.uncovered.values())


def add_up(
    totals: Iterable[Total], source: Parts, from_us: int | None = None, to_us: int | None = None
) -> Sum:
    """The sum of totals of single instruments, of which none is counted twice.

    ``from_us``, ``to_us``: the period that was asked for, if not just what there is.

    Raises:
        NotAddable: nothing, different measurands or units, or intervals of one instrument that overlap.
    """
    every = [t for t in totals if len(t.instruments) == 1 and t.superseded_by is None]
    if not every:
        raise NotAddable("there are no intervals of single instruments in this period")
    for what, found in (("measurands", {t.measurand for t in every}), ("units", {t.unit for t in every})):
        if len(found) > 1:
            raise NotAddable(f"different {what} cannot be added up: {', '.join(sorted(found))}")
    begin = min(t.from_us for t in every) if from_us is None else from_us
    end = max(t.to_us for t in every) if to_us is None else to_us
    uncovered = {key: _uncovered(group, begin, end) for key, group in _by_instrument(every)}
    valued = [t for t in every if t.value is not None]
    added = total(list(_uncertain(valued, source))) if valued else None
    exact = Decimal(0)
    for each in valued:
        exact = _EXACT.add(exact, Decimal(str(each.value)))
    return Sum(
        measurand=every[0].measurand,
        unit=every[0].unit,
        from_us=begin,
        to_us=end,
        value=str(exact) if valued else None,
        u=None if added is None else format_u(float(added.u)),
        contributions={}
        if added is None
        else {s: format_u(float(c)) for s, c in added.contributions.items() if c},
        independent="0" if added is None else format_u(float(added.r2)),
        intervals=len(valued),
        without_value=len(every) - len(valued),
        missing=sum(t.missing for t in every),
        uncovered=uncovered,
        flags=tuple(dict.fromkeys(flag for t in every for flag in t.flags)),
    )


def _by_instrument(every: Iterable[Total]) -> Iterator[tuple[tuple[str, str], list[Total]]]:
    groups: dict[tuple[str, str], list[Total]] = {}
    for each in every:
        groups.setdefault((each.origin, each.instruments[0]), []).append(each)
    yield from sorted(groups.items())


def _uncovered(group: list[Total], begin: int, end: int) -> int:
    """Time of the period without a value. Raises NotAddable where intervals overlap."""
    left = end - begin
    reached: Total | None = None
    for each in sorted((t for t in group if t.value is not None), key=lambda t: (t.from_us, t.to_us)):
        if reached is not None and each.from_us < reached.to_us:
            raise NotAddable(
                f"intervals of {each.instruments[0]} overlap: entries {reached.entry} and {each.entry} of "
                f"{each.origin}. Counting both would count energy twice"
            )
        left -= min(each.to_us, end) - max(each.from_us, begin)
        reached = each
    return left


def _uncertain(valued: Iterable[Total], source: Parts) -> Iterator[Uncertain]:
    by_origin: dict[str, list[Total]] = {}
    for each in valued:
        by_origin.setdefault(each.origin, []).append(each)
    for origin, group in by_origin.items():
        known = source.parts(origin, [t.entry for t in group])
        for each in group:
            if each.entry not in known:
                raise NotAddable(f"entry {each.entry} of {origin} is not stored with its contributions")
            contributions, independent = known[each.entry]
            named = {
                f"{origin} {name}" if name.startswith(_OF_ONE_LOG) else name: float(c)
                for name, c in contributions.items()
            }
            yield Uncertain(float(each.value or 0), named, float(independent))
