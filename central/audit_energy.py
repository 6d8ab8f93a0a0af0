"""Energies added up again: the aggregates of a log from its readings, by the gateway's own rule for intervals.

A log is followed as the gateway followed it, so that even what only its history explains comes out alike: a start
takes up the open interval from its first reading, a new calibration state ends it, a full disk gives it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import Final, Protocol

from calibration.energy import EnergyResult
from calibration.operating import OperatingPoint
from calibration.state import CalibrationState, format_u, format_value
from evidence.findings import Findings
from evidence.record import Aggregate, Gap, Reading, Reference

DISK_FULL: Final = "disk_full"


class Interval(Protocol):
    """Energy of one register over one interval, and the entries that it comes from."""

    @property
    def measurand(self) -> str: ...  # noqa: D102
    @property
    def first(self) -> int: ...  # noqa: D102
    @property
    def last(self) -> int: ...  # noqa: D102
    @property
    def state(self) -> Reference: ...  # noqa: D102
    @property
    def result(self) -> EnergyResult: ...  # noqa: D102


class Aggregator(Protocol):
    """The open interval of one instrument."""

    @property
    def state(self) -> CalibrationState: ...  # noqa: D102
    @property
    def begun_at(self) -> int | None: ...  # noqa: D102
    def add(self, index: int, reading: Reading, point: OperatingPoint) -> Iterable[Interval]: ...  # noqa: D102
    def miss(self, polls: int) -> None: ...  # noqa: D102
    def change_state(self, state: CalibrationState, reference: Reference) -> Iterable[Interval]: ...  # noqa: D102


class NewAggregator(Protocol):
    """Makes the rule for one instrument."""

    def __call__(
        self,
        state: CalibrationState,
        reference: Reference,
        period_us: int,
        moduli: Mapping[str, Decimal],
        refresh_us: int,
        /,
    ) -> Aggregator:
        """An aggregator that has seen nothing yet."""


class Told(Protocol):
    """What the newest configuration says of an instrument's registers."""

    def __call__(self, instrument: str, /) -> tuple[Mapping[str, Decimal], int]:
        """Where each register begins again, and how old it may be when it is read (µs)."""


class _Here(IntEnum):
    """How much of what an interval's energy comes from is among the entries, where these are a part of a log."""

    PART = 0  # it may have begun before them
    BEGUN = 1  # all its readings; but how long its first one took to read is told by the interval that this one ended
    WHOLE = 2


class _Lane:
    """One instrument: its aggregator, and the readings of the open interval for a start to take up."""

    __slots__ = ("aggregator", "ended", "first", "last", "open", "resuming", "state")

    def __init__(self, state: tuple[CalibrationState, Reference]) -> None:
        self.state = state
        self.aggregator: Aggregator | None = None
        self.open: list[tuple[int, Reading, OperatingPoint]] = []
        self.first = -1  # the first reading that is here
        self.last = -1  # the newest
        self.ended = 0  # intervals of entries that are here
        self.resuming = False  # the gateway has started: the open interval is taken up with what comes next


class Energies:
    """Follows readings, gaps, states and starts; compares each aggregate with what they give."""

    def __init__(self, new: NewAggregator, told: Told, findings: Findings, *, partial: bool) -> None:
        self._new = new
        self._told = told
        self._findings = findings
        self._partial = partial
        self._lanes: dict[str, _Lane] = {}
        # (instrument, measurand, first, last) -> what was computed, and how much of what it comes from is here
        self._waiting: dict[tuple[str, str, int, int], tuple[int, Interval, str, _Here]] = {}
        self.period_us: int | None = None
        self.agreed = 0
        self.skipped = 0

    def use(self, state: CalibrationState, reference: Reference) -> None:
        """A calibration state was written: from here on it is in force for its instrument."""
        lane = self._lanes.get(state.instrument)
        if lane is None:
            self._lanes[state.instrument] = _Lane((state, reference))
            return
        self._resume(state.instrument, lane)
        lane.state = (state, reference)
        if lane.aggregator is not None and lane.aggregator.state.digest != state.digest:
            ended = lane.aggregator.change_state(state, reference)
            self._ended(state.instrument, lane, ended, reference.index, {})
            self._trim(lane)

    def reading(
        self,
        index: int,
        reading: Reading,
        point: OperatingPoint,
        units: Mapping[str, str],
        state: tuple[CalibrationState, Reference],
    ) -> None:
        """Count one reading in."""
        name = reading.instrument
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(state)
        if lane.first < 0:
            lane.first = index
        lane.last = index
        if lane.resuming:
            self._resume(name, lane)
        if lane.aggregator is None:
            lane.aggregator = self._made(name, lane)
            if lane.aggregator is None:
                return
        lane.open.append((index, reading, point))
        self._ended(name, lane, lane.aggregator.add(index, reading, point), index, units)
        self._trim(lane)

    def gap(self, gap: Gap) -> None:
        """Count missed polls; a full disk also gives up the open interval."""
        lane = self._lanes.get(gap.instrument)
        if lane is None:
            return
        self._resume(gap.instrument, lane)
        if lane.aggregator is None:
            return
        if gap.reason == DISK_FULL:
            lane.aggregator, lane.open = None, []
        else:
            lane.aggregator.miss(gap.last - gap.first + 1)

    def restart(self) -> None:
        """The gateway started: it takes up each open interval from its readings."""
        for lane in self._lanes.values():
            lane.resuming = True

    def _resume(self, name: str, lane: _Lane) -> None:
        if not lane.resuming:
            return
        lane.resuming = False
        if lane.aggregator is None or not lane.open:
            lane.aggregator = None
            return
        lane.aggregator = fresh = self._made(name, lane)
        for index, reading, point in lane.open:
            if fresh is not None and reading.state.digest == fresh.state.digest:
                fresh.add(index, reading, point)

    def _made(self, name: str, lane: _Lane) -> Aggregator | None:
        if self.period_us is None:
            return None
        return self._new(*lane.state, self.period_us, *self._told(name))

    def stated(self, index: int, aggregate: Aggregate) -> None:
        """Compare one aggregate with what the readings give."""
        if len(aggregate.instruments) != 1:
            return
        instrument = aggregate.instruments[0]
        key = (instrument, aggregate.measurand, aggregate.first, aggregate.last)
        computed = self._waiting.pop(key, None)
        if computed is None:
            lane = self._lanes.get(instrument)
            if self._partial and (
                lane is None
                or lane.first < 0
                or not lane.first <= aggregate.first <= aggregate.last <= lane.last
            ):
                self.skipped += 1
                return
            what = (
                f"{aggregate.measurand}: the readings give no interval from entry {aggregate.first} "
                f"to {aggregate.last}"
            )
            self._findings.add("aggregate", what, index, instrument)
            return
        _, interval, unit, here = computed
        differing = list(_differences(aggregate, interval, unit))
        if differing and (here is _Here.PART or (here is _Here.BEGUN and all(map(_of_ends, differing)))):
            self.skipped += 1
            return
        for what in differing:
            self._findings.add("aggregate", f"{aggregate.measurand}: {what}", index, instrument)
        if not differing:
            self.agreed += 1

    def finish(self) -> None:
        """What the readings give and no aggregate states."""
        for (instrument, measurand, first, last), (index, _, _, here) in self._waiting.items():
            if here is not _Here.PART:
                what = f"{measurand}: no aggregate states the interval from entry {first} to {last}"
                self._findings.add("aggregate_absent", what, index, instrument)

    def _ended(
        self,
        instrument: str,
        lane: _Lane,
        ended: Iterable[Interval],
        index: int,
        units: Mapping[str, str],
    ) -> None:
        found = list(ended)
        here = _Here(min(lane.ended, _Here.WHOLE)) if self._partial else _Here.WHOLE
        for interval in found:
            key = (instrument, interval.measurand, interval.first, interval.last)
            unit = units.get(interval.measurand, "")
            self._waiting[key] = (index, interval, unit, here)
        if found:
            lane.ended += 1

    def _trim(self, lane: _Lane) -> None:
        """Forget the readings of intervals that have ended."""
        begun = lane.aggregator.begun_at if lane.aggregator is not None else None
        if begun is not None and lane.open and lane.open[0][0] < begun:
            lane.open = [each for each in lane.open if each[0] >= begun]


def _differences(stated: Aggregate, interval: Interval, unit: str) -> Iterable[str]:
    result = interval.result
    uncertain = result.uncertain
    computed: dict[str, object] = {
        "value": format_value(result.y),
        "u": format_u(result.u),
        "independent": format_u(float(uncertain.r2)),
        "count": result.n,
        "from_us": result.from_us,
        "to_us": result.to_us,
        "states": (interval.state,),
        "flags": tuple(result.flags),
    }
    if unit:
        computed["unit"] = unit
    for name, value in computed.items():
        there = getattr(stated, name)
        if there != value:
            yield f"{name}: recomputed {_text(value)}, the record says {_text(there)}"
    contributions = {source: format_u(float(c)) for source, c in uncertain.contributions.items()}
    for source in dict.fromkeys((*stated.contributions, *contributions)):
        there, value = stated.contributions.get(source), contributions.get(source)
        if there != value:
            yield f"contribution of {source}: recomputed {_text(value)}, the record says {_text(there)}"


def _of_ends(difference: str) -> bool:
    """Whether a difference is of what the time that a reading took contributes."""
    return difference.startswith(("u: ", "contribution of sampling:"))


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "nothing" if value is None else str(value)
