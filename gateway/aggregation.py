"""Energy per interval: from the readings of one instrument to ``aggregate`` records.

Intervals are whole multiples of their length in UTC. A reading at or after a boundary ends one interval and
begins the next: its register standing is counted in both, so that intervals add up to end minus start whatever
lies between. What was read in between only weights the correction by load.

Deterministic: fed with the same readings it gives the same totals, so a restart feeds the readings of the open
interval again, out of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import nan

from calibration.curve import REGISTERS
from calibration.energy import EnergyResult, EnergyTotal, NoUncertaintyError
from calibration.operating import OperatingPoint
from calibration.state import CalibrationState, format_u, format_value
from drivers.freeze import FLAG as FROZEN
from evidence.record import Aggregate, Reading, Reference

_CHUNK = 256  # readings kept before they are added up
METHOD = "register_difference/1"


@dataclass(frozen=True, slots=True)
class IntervalEnergy:
    """Energy of one register over one interval, and the entries that it comes from."""

    measurand: str
    first: int
    last: int
    state: Reference
    result: EnergyResult


class _Register:
    """One register: its total, and the readings that are not added up yet."""

    __slots__ = ("first", "last", "load", "rows", "total")

    def __init__(self, total: EnergyTotal) -> None:
        self.total = total
        self.first = self.last = -1
        self.load: OperatingPoint = (None, None)
        self.rows: list[tuple[Decimal, int, float, float]] = []

    def flush(self, window_us: int) -> None:
        rows, self.rows = self.rows, []
        if not rows:
            return
        values, times, loads, factors = zip(*rows, strict=True)
        self.total.extend(values, times, load_a=loads, power_factor=factors, window_us=window_us)


class Aggregator:
    """The open interval of one instrument, for each of its energy registers.

    Args:
        state: the calibration state in force; ``reference``: its entry in the log.
        period_us: length of an interval.
        moduli: where each register begins again, in its unit, from the meter's profile.
        refresh_us: how old a register may be when it is read: the meter renews it at this period.
    """

    def __init__(
        self,
        state: CalibrationState,
        reference: Reference,
        period_us: int,
        moduli: Mapping[str, Decimal] | None = None,
        refresh_us: int = 0,
    ) -> None:
        self._refresh_us = refresh_us
        self._state = state
        self._reference = reference
        self._period_us = period_us
        self._moduli = moduli or {}
        self._registers: dict[str, _Register | None] = {}
        self._is_register: dict[str, bool] = {}
        self._interval: int | None = None
        self._window_us = 0
        self._last_utc_us = -1
        self.begun_at: int | None = None

    @property
    def state(self) -> CalibrationState:
        """The calibration state in force."""
        return self._state

    def add(self, index: int, reading: Reading, point: OperatingPoint) -> list[IntervalEnergy]:
        """Take in a reading that stands at ``index``; what its instant brought to an end.

        ``point``: load and power factor of the total, from the same scan.
        """
        energies = self._energies(reading.indications)
        if not energies or not reading.raw:
            return []
        sent, received = reading.raw[0].sent_us, reading.raw[0].received_us
        for exchange in () if FROZEN in reading.flags else reading.raw[1:]:
            sent, received = min(sent, exchange.sent_us), max(received, exchange.received_us)
        # Registers that were frozen stood so when the order, the first exchange, was over, however long reading took.
        utc_us, window_us = reading.utc_us + (sent + received) // 2, received - sent
        if utc_us == self._last_utc_us:  # UTC was set back to this very instant: its place is taken
            return []
        self._last_utc_us = utc_us
        self._window_us = max(self._window_us, window_us)
        interval = reading.due_us // self._period_us
        for name in energies:
            self._take(name, index, Decimal(reading.indications[name]), utc_us, point)
        if self._interval is None:
            self._interval, self.begun_at = interval, index
            return []
        if interval == self._interval:
            return []
        ended = list(self._end())
        self._interval, self.begun_at = interval, index
        return ended

    def _energies(self, indications: Mapping[str, str]) -> list[str]:
        """The registers among the measurands; a name is looked at once, for it comes again with each reading."""
        known = self._is_register
        try:
            return [name for name in indications if known[name]]
        except KeyError:
            known.update((name, name.startswith(REGISTERS)) for name in indications)
            return [name for name in indications if known[name]]

    def miss(self, polls: int) -> None:
        """Count polls without a reading."""
        for register in self._registers.values():
            if register is not None:
                register.total.miss(polls)

    def change_state(self, state: CalibrationState, reference: Reference) -> list[IntervalEnergy]:
        """End what was measured under the old state; go on from the same reading under the new one."""
        ended = list(self._end(state))
        self._state, self._reference = state, reference
        self._registers = {
            name: register for name, register in self._registers.items() if register is not None
        }
        self.begun_at = max((r.first for r in self._registers.values() if r is not None), default=None)
        return ended

    def _take(self, name: str, index: int, value: Decimal, utc_us: int, point: OperatingPoint) -> None:
        if name not in self._registers:
            try:
                total = EnergyTotal(
                    self._state, name, modulus=self._moduli.get(name), refresh_us=self._refresh_us
                )
                self._registers[name] = _Register(total)
            except NoUncertaintyError:
                self._registers[name] = None
        register = self._registers[name]
        if register is None or value < 0:
            return
        load, factor = _between(register.load, point)
        register.load = point
        register.rows.append((value, utc_us, load, factor))
        register.last = index
        if register.first < 0:
            register.first = index
        if len(register.rows) >= _CHUNK:
            register.flush(self._window_us)

    def _end(self, state: CalibrationState | None = None) -> Iterator[IntervalEnergy]:
        for name, register in self._registers.items():
            if register is None:
                continue
            register.flush(self._window_us)
            result = register.total.result()
            if result is not None and result.n and register.last > register.first:
                yield IntervalEnergy(name, register.first, register.last, self._reference, result)
            try:
                register.total = register.total.next(state)
            except NoUncertaintyError:
                self._registers[name] = None
                continue
            register.first = register.last
        self._window_us = 0


def _between(before: OperatingPoint, now: OperatingPoint) -> tuple[float, float]:
    """Load and power factor over an increment: the mean of its ends; NaN is unknown."""
    load = nan if before[0] is None or now[0] is None else (before[0] + now[0]) / 2
    if before[1] is None or now[1] is None or before[1] * now[1] < 0:
        return load, nan if now[1] is None else now[1]
    return load, (before[1] + now[1]) / 2


def record_of(
    interval: IntervalEnergy, instrument: str, unit: str, salt: bytes, number: int | None = None
) -> Aggregate:
    """The record of an interval of one instrument; ``unit`` is that of its register, ``number`` its running number."""
    result = interval.result
    value, u, contributions, independent = texts(result)
    return Aggregate(
        salt=salt,
        instruments=(instrument,),
        measurand=interval.measurand,
        unit=unit,
        from_us=result.from_us,
        to_us=result.to_us,
        first=interval.first,
        last=interval.last,
        count=result.n,
        missing=result.missing,
        value=value,
        u=u,
        contributions=contributions,
        independent=independent,
        states=(interval.state,),
        method=METHOD,
        flags=result.flags,
        number=number,
    )


def texts(result: EnergyResult) -> tuple[str, str, dict[str, str], str]:
    """Value, standard uncertainty, contributions by source and independent variance, as records carry them."""
    uncertain = result.uncertain
    contributions = {source: format_u(float(c)) for source, c in uncertain.contributions.items()}
    return format_value(result.y), format_u(result.u), contributions, format_u(float(uncertain.r2))
