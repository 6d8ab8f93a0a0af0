"""One instrument on its way through the pipeline: its running number, the gap that is open, its corrections.

A lane counts; what it has counted is in no record until the pipeline writes it. Missed polls join the open gap for as
long as their reason stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

import msgspec

from calibration.curve import REGISTERS
from calibration.operating import OperatingPoints, phase_of
from calibration.state import CalibrationState, Result
from evidence.record import Reference
from gateway.aggregation import Aggregator
from gateway.counters import Counter

Correct: TypeAlias = Callable[[float, float | None, float | None], Result]
"""Indication, load in A on the secondary side, power factor: the result. Raises ValueError for what is no number."""


@dataclass(frozen=True, slots=True)
class Channel:
    """An instrument as the pipeline sees it.

    ``units`` (UCUM codes) and ``moduli`` (where a register begins again) by measurand, from its profile;
    ``refresh_us``: how often the meter renews what it shows.
    """

    instrument: str
    period_us: int
    state: CalibrationState
    units: Mapping[str, str] = field(default_factory=dict)
    moduli: Mapping[str, Decimal] = field(default_factory=dict)
    refresh_us: int = 0


class OpenGap:
    """Missed polls that are not written yet: running numbers and due times, first and last."""

    __slots__ = ("first", "from_us", "last", "reason", "to_us")

    def __init__(self, first: int, last: int, from_us: int, to_us: int, reason: str) -> None:
        self.first, self.last, self.from_us, self.to_us, self.reason = first, last, from_us, to_us, reason


class Lane:
    """An instrument's channel, counter and open gap, and what correction looks up once for all its scans.

    ``safe`` is the counter as the durable log has it; ``ways`` is what :meth:`way` has found so far.
    """

    __slots__ = ("aggregator", "channel", "counter", "gap", "points", "safe", "state", "ways")

    def __init__(self, channel: Channel, counter: Counter) -> None:
        self.counter = counter
        self.safe = msgspec.structs.replace(counter)
        self.gap: OpenGap | None = None
        self.state: Reference | None = None
        self.aggregator: Aggregator | None = None
        self.use(channel)

    def use(self, channel: Channel) -> None:
        """Correct by this channel's state from now on."""
        self.channel = channel
        self.points = OperatingPoints(channel.units, channel.state)
        self.ways: dict[str, tuple[Correct | None, str]] = {}

    def way(self, measurand: str) -> tuple[Correct | None, str]:
        """How a measurand is corrected, None if nothing states its uncertainty, and the phase whose operating point
        that needs, empty if it needs none.
        """
        if measurand not in self.ways:
            self.ways[measurand] = self._look_up(measurand)
        return self.ways[measurand]

    def _look_up(self, measurand: str) -> tuple[Correct | None, str]:
        state = self.channel.state
        correction = state.correction(measurand)
        if correction is None:
            return None, ""
        if measurand.startswith(REGISTERS):

            def standing(value: float, _load: float | None, _factor: float | None) -> Result:
                result = state.correct(measurand, value)
                assert result is not None
                return result

            return standing, ""
        return correction, phase_of(measurand) if correction.needs_operating_point else ""

    def miss(self, count: int, from_us: int, to_us: int, reason: str) -> None:
        """Count polls without a reading; they join the open gap, which must have the same reason."""
        counter, gap = self.counter, self.gap
        first = counter.last + 1
        counter.last += count
        counter.missed += count
        counter.due_us = to_us
        if self.aggregator is not None:
            self.aggregator.miss(count)
        if gap is None:
            self.gap = OpenGap(first, counter.last, from_us, max(from_us, to_us), reason)
        else:
            gap.last, gap.to_us = counter.last, max(gap.to_us, to_us)

    def lose(self, reason: str) -> bool:
        """Cover what was counted since ``safe`` by an open gap: its records are gone. False if there is nothing."""
        counter, safe = self.counter, self.safe
        if counter.last == safe.last:
            return False
        gap = OpenGap(safe.last + 1, counter.last, safe.due_us + counter.period_us, counter.due_us, reason)
        gap.from_us = min(gap.from_us, gap.to_us) if safe.due_us else counter.due_us
        counter.missed = safe.missed + counter.last - safe.last
        counter.received, counter.previous = safe.received, safe.previous
        self.gap = gap
        return True

    def written(self) -> Counter:
        """The counter as the log has it: an open gap is in no record yet."""
        counter, gap = self.counter, self.gap
        if gap is None:
            return msgspec.structs.replace(counter)
        missed = counter.missed - (gap.last - gap.first + 1)
        due_us = gap.from_us - counter.period_us
        return msgspec.structs.replace(counter, last=gap.first - 1, missed=missed, due_us=due_us)
