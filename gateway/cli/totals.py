"""Energy ± U over a whole run, added up from the aggregates of a verified log.

Contributions of one source add with their sign and independent parts as squares, so what two intervals share (the same
certificate, the same rounding of a register between them) is counted as what it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evidence.record import Aggregate


@dataclass(frozen=True, slots=True)
class RunTotal:
    """One channel's energy between two readings: value and standard uncertainty, primary side, in ``unit``."""

    instrument: str
    measurand: str
    unit: str
    from_us: int
    to_us: int
    value: float
    u: float
    intervals: int
    missing: int
    flags: tuple[str, ...]

    def covers(self, truth: float, k: float = 2.0) -> bool:
        """Whether the truth lies within value ± k·u."""
        return abs(self.value - truth) <= k * self.u


def run_totals(aggregates: Iterable[Aggregate]) -> list[RunTotal]:
    """The totals by instrument and measurand. Intervals without a value are counted as missing."""
    groups: dict[tuple[str, str], list[Aggregate]] = {}
    for aggregate in aggregates:
        if len(aggregate.instruments) == 1:
            groups.setdefault((aggregate.instruments[0], aggregate.measurand), []).append(aggregate)
    return [_total(instrument, measurand, group) for (instrument, measurand), group in sorted(groups.items())]


def _total(instrument: str, measurand: str, group: list[Aggregate]) -> RunTotal:
    valued = [a for a in group if a.value is not None]
    contributions: dict[str, float] = {}
    for aggregate in valued:
        for source, c in aggregate.contributions.items():
            contributions[source] = contributions.get(source, 0.0) + float(c)
    independent = sum(float(a.independent) for a in valued)
    return RunTotal(
        instrument=instrument,
        measurand=measurand,
        unit=group[0].unit,
        from_us=min(a.from_us for a in group),
        to_us=max(a.to_us for a in group),
        value=sum(float(a.value or 0) for a in valued),
        u=math.sqrt(sum(c * c for c in contributions.values()) + independent),
        intervals=len(valued),
        missing=sum(a.missing for a in group) + len(group) - len(valued),
        flags=tuple(dict.fromkeys(flag for a in group for flag in a.flags)),
    )
