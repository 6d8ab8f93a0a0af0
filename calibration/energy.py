"""The energy of an interval, from a cumulative register and the loads at which it grew.

A register's total is end − start: its rounding enters twice, not once per reading (it telescopes). What the
calibration corrects is each increment at the load that it was measured with:

    E = Σ ΔR_i·N / (1 + e(load_i)/100)

:class:`EnergyTotal` keeps, per instrument, calibration state and measurand, the two ends and the running sums
``S_j = Σ hat_j(load_i)·∂E_i/∂e`` over the nodes j of the state's grid. Contributions by source are linear in
them, so they are exact whenever asked for, after a million readings as after one; the sums survive a restart
(:meth:`EnergyTotal.to_plain`) and can be merged.

Sources of uncertainty beside those of the state, one per end of the interval and named by the instant of that
reading, so that two intervals that share a reading share them with opposite sign and their sum telescopes:

* ``resolution``: the register's resolution d, d·N/√12. A register that truncates is d/2 low at both ends
  alike.
* ``sampling``: the register was read within a window (sent … received, plus the time in which the meter
  renews
  its register); half of it over √3, times the power at that end.

What a register may do beside growing is :mod:`calibration.cumulative`'s: rollover, noise, reset, replacement.
The energy is never negative, and never estimated where the register was not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from math import nan, sqrt
from typing import Any

from calibration.cumulative import (
    HOUR_US,
    RegisterFlag,
    RegisterReading,
    RegisterTrack,
    Segment,
    plain_segment,
    segment_of,
)
from calibration.curve import Axis, Bound, Flag
from calibration.energy_result import EnergyResult, add_up, larger
from calibration.increments import Increments, increments, known, known_or_none
from calibration.notation import decimal_text
from calibration.state import CalibrationState
from calibration.uncertainty import Uncertain, UncertaintySource

__all__ = ("EnergyResult", "EnergyTotal", "NoUncertaintyError", "add_up", "larger")

_EXACT = Context(prec=60)
_BOUNDS = (Bound.SHARED, Bound.OWN)


class NoUncertaintyError(ValueError):
    """The state says nothing of the measurand: no energy can be stated (``Flag.UNCALIBRATED``)."""


class EnergyTotal:
    """A running total of one register under one calibration state.

    Args:
        state: the calibration state in force.
        measurand: an ``energy.*`` register.
        modulus: where the register rolls over, in its own unit (1000000 for six digits before the point).
        max_power: largest possible power in the energy's unit per hour, primary side; tells a rollover from a
            reset
            and refuses impossible jumps.
        refresh_us: period in which the meter renews its register.
        noise: largest decrease that is taken for noise, in the register's unit; twice its resolution by
            default.

    Raises:
        NoUncertaintyError: the state has no uncertainty for this measurand.
    """

    __slots__ = (
        "_correction", "_excess", "_rest", "_sums", "_track", "_variance", "max_power", "measurand", "n",
        "refresh_us", "state",
    )  # fmt: skip

    def __init__(
        self,
        state: CalibrationState,
        measurand: str,
        *,
        modulus: Decimal | None = None,
        max_power: float | None = None,
        refresh_us: int = 0,
        noise: Decimal | None = None,
    ) -> None:
        correction = state.correction(measurand)
        if correction is None:
            raise NoUncertaintyError(
                f"{state.instrument}: neither a certificate nor a class states an uncertainty for {measurand}"
            )
        if not correction.relative:
            raise NoUncertaintyError(
                f"{state.instrument}: {measurand} needs relative errors (in %) to be corrected"
            )
        self.state, self.measurand, self._correction = state, measurand, correction
        self.max_power, self.refresh_us = max_power, refresh_us
        self._track = RegisterTrack(
            f"{state.instrument}, {measurand}",
            resolution=state.resolution.get(measurand, Decimal(0)),
            modulus=modulus,
            max_power=None if max_power is None else max_power / correction.ratio,
            noise=noise,
        )
        self.n = 0
        self._excess = 0.0  # Σ (corrected − indicated) on the primary side: small, so it keeps its digits
        self._sums: dict[int, float] = {}  # node of the grid -> Σ hat·∂E/∂e
        self._rest: dict[Bound, dict[str, float]] = {bound: {} for bound in self._wanted}
        self._variance = 0.0  # Σ of the increments' repeatability

    @property
    def _wanted(self) -> tuple[Bound, ...]:
        return _BOUNDS if self._correction.split_unknown else (Bound.SHARED,)

    # ------------------------------------------------------------------------------------------------ feeding

    def add(
        self,
        value: Decimal,
        utc_us: int,
        *,
        load_a: float | None = None,
        power_factor: float | None = None,
        window_us: int = 0,
    ) -> None:
        """Add one reading of the register. The first one is the start.

        Args:
            value: the register's indication, exact, in its own unit and on its own side.
            utc_us: the instant that it stands for (middle of the window).
            load_a: load over the increment that ends here, in A on the secondary side; None: unknown.
            power_factor: cos φ over that increment, negative when capacitive; None: unknown.
            window_us: time between sent and received.

        Raises:
            ValueError: not a finite standing of at least 0, or a second reading at the same instant.
        """
        reading = self._track.reading(value, utc_us, window_us)
        if self.end is not None and utc_us == self.end.utc_us:
            raise ValueError(f"{self._where}: a reading at {utc_us} µs has been added already")
        self._grow(reading, load_a, power_factor)

    def extend(
        self,
        values: Sequence[Decimal],
        utc_us: Sequence[int],
        *,
        load_a: Sequence[float] | float | None = None,
        power_factor: Sequence[float] | float | None = None,
        window_us: int = 0,
    ) -> None:
        """Add many readings at once: :meth:`add` in a loop, but in one pass where nothing is out of the ordinary.

        ``load_a`` and ``power_factor`` have an entry per reading (that of the first reading of all is not
        used); NaN is "not known".
        """
        count = len(values)
        loads, factors = _per_reading(load_a, count), _per_reading(power_factor, count)
        first = 0
        if self.end is None and count:
            self.add(values[0], utc_us[0], window_us=window_us)
            first = 1
        values, utc_us, loads, factors = values[first:], utc_us[first:], loads[first:], factors[first:]
        if not known(loads) or not known(factors) or not self._ordinary(values, utc_us):
            for k in range(len(values)):
                load, factor = known_or_none(loads[k]), known_or_none(factors[k])
                self.add(values[k], utc_us[k], load_a=load, power_factor=factor, window_us=window_us)
            return
        assert self.end is not None
        before = (self.end.value, *values[:-1])
        grown = [float(b - a) for a, b in zip(before, values, strict=True)]
        self._extend(values, utc_us, increments(self._correction, grown, loads, factors), window_us)

    def replace(self, value: Decimal, utc_us: int, *, window_us: int = 0) -> None:
        """The register (or the meter) was replaced or set: it stands at ``value`` now. Add its last reading
        before.
        """
        reading = self._track.reading(value, utc_us, window_us)
        self._track.break_at(reading, RegisterFlag.REGISTER_REPLACED)

    def miss(self, polls: int = 1) -> None:
        """Count missed polls. Their energy is not lost: the register's next reading holds it."""
        self._track.missing += polls

    def next(self, state: CalibrationState | None = None) -> EnergyTotal:
        """The total of the following interval: it starts at the very reading that this one ends with.

        ``state`` is the calibration state from then on, where it changes: the energy over the change is the
        sum of two totals (:func:`add_up`), and the register's resolution at the seam cancels.
        """
        following = EnergyTotal(
            self.state if state is None else state,
            self.measurand,
            modulus=self._track.modulus,
            max_power=self.max_power,
            refresh_us=self.refresh_us,
            noise=self._track.noise,
        )
        if self.end is not None:
            following._track.step(self.end)
        return following

    def merge(self, later: EnergyTotal) -> None:
        """Take in a later total of the same register under the same state.

        Where it does not start at this one's last reading, the energy between the two is the register's
        difference, at an unknown load.

        Raises:
            ValueError: another register or state, or a total that does not come after this one.
        """
        if (later.state.digest, later.measurand) != (self.state.digest, self.measurand):
            raise ValueError(
                f"{self._where}: totals of different registers or calibration states can't be merged"
            )
        if later is self:
            raise ValueError(f"{self._where}: a total can't be merged with itself")
        self._track.missing += later.missing
        if later.start is None:
            return
        if self.end is not None and later.start != self.end:
            if later.start.utc_us < self.end.utc_us:
                raise ValueError(f"{self._where}: the other total begins before this one ends")
            self._track.flag(RegisterFlag.GAP_BRIDGED)
            self._grow(later.start, None, None)
        self._track.join(later._track)
        self.n += later.n
        self._excess += later._excess
        self._variance += later._variance
        _add_into(self._sums, later._sums)
        for bound, named in later._rest.items():
            _add_into(self._rest[bound], named)
        self._track.flags |= later._track.flags

    # ------------------------------------------------------------------------------------------------- result

    def result(self) -> EnergyResult | None:
        """The energy so far; None before the first reading."""
        segments = self._track.segments
        if not segments:
            return None
        y = float(_EXACT.multiply(self._track.grown, self._exact_ratio)) + self._excess
        ends = self._ends(segments)
        by_bound = {}
        for bound in self._wanted:
            named = self._contributions(bound)
            _add_into(named, ends)
            by_bound[bound] = Uncertain(y, {name: c for name, c in named.items() if c}, self._variance)
        flags = dict(self._track.flags)
        if len(by_bound) > 1:
            flags[str(Flag.SPLIT_UNKNOWN)] = None
        shared = by_bound[Bound.SHARED]
        return EnergyResult(
            y=y,
            shared=shared,
            own=by_bound.get(Bound.OWN, shared),
            flags=tuple(flags),
            n=self.n,
            missing=self.missing,
            from_us=segments[0].start.utc_us,
            to_us=segments[-1].last.utc_us,
            instruments=(self.state.instrument,),
            states=(self.state.digest,),
            measurand=self.measurand,
        )

    @property
    def start(self) -> RegisterReading | None:
        """The first reading."""
        segments = self._track.segments
        return segments[0].start if segments else None

    @property
    def end(self) -> RegisterReading | None:
        """The reading that the total ends with."""
        return None if self._track.now is None else self._track.now.last

    @property
    def missing(self) -> int:
        """Missed polls, and breaks of the register."""
        return self._track.missing

    def _contributions(self, bound: Bound) -> dict[str, float]:
        rows = zip(self._correction.sources(bound), self._correction.nodes(bound), strict=True)
        named = {source: sum(s * nodes[j] for j, s in self._sums.items()) for source, nodes in rows}
        _add_into(named, self._rest[bound])
        return named

    def _ends(self, segments: Iterable[Segment]) -> dict[str, float]:
        named: dict[str, float] = {}
        for segment in segments:
            if segment.empty:
                continue
            for reading, sign, power in (
                (segment.start, -1.0, segment.start_power or 0.0),
                (segment.last, 1.0, segment.last_power),
            ):
                hours = (reading.window_us + self.refresh_us) / (2.0 * sqrt(3.0) * HOUR_US)
                found = {
                    self._end_source("resolution", reading): sign * self._correction.resolution_u,
                    self._end_source("sampling", reading): sign * power * self._correction.ratio * hours,
                }
                _add_into(named, found)
        return named

    def _end_source(self, kind: str, reading: RegisterReading) -> str:
        return UncertaintySource(
            kind, self.state.instrument, epoch=str(reading.utc_us), quantity=self.measurand, dist="uniform"
        ).id

    # --------------------------------------------------------------------------------------------- increments

    @property
    def _where(self) -> str:
        return self._track.where

    @property
    def _exact_ratio(self) -> Decimal:
        return Decimal(1) if self.measurand in self.state.primary else self._correction.table.ratio

    def _grow(self, reading: RegisterReading, load_a: float | None, power_factor: float | None) -> None:
        first = self.end is None
        grown = self._track.step(reading)
        if grown is None or first:
            return
        self.n += 1
        if grown:
            self._account(float(grown) * self._correction.ratio, load_a, power_factor)

    def _point(self, load_a: float | None, power_factor: float | None) -> tuple[float | None, float | None]:
        correction = self._correction
        if correction.table.axis is Axis.OWN:  # a register says nothing of the rate at which it grew
            x = None if len(correction.grid.xs) > 1 else correction.grid.xs[0]
            return x, correction.operating_point_of(0.0, None, power_factor)[1]
        return correction.operating_point_of(0.0, load_a, power_factor)

    def _account(self, indicated: float, load_a: float | None, power_factor: float | None) -> None:
        """Take an increment (on the primary side, not corrected) into the sums, at its operating point."""
        correction = self._correction
        x, t = self._point(load_a, power_factor)
        if x is None or t is None:
            self._account_unknown(indicated, x, t)
            return
        if x - x != 0.0 or t - t != 0.0:
            raise ValueError(f"{self._where}: load {load_a!r} A, power factor {power_factor!r}: not a number")
        point = correction.at(x, t)
        g = self._corrected(indicated, point.error)
        if point.extrapolation:
            for bound in self._wanted:
                _add_into(self._rest[bound], {correction.extrapolation.id: g * point.extrapolation})
        for flag in point.flags:
            self._track.flag(flag)
        grid = correction.grid
        i, j, a, b = grid.cell(x, t)
        nx, nt = len(grid.xs), len(grid.ts)
        i1, j1 = min(i + 1, nx - 1), min(j + 1, nt - 1)
        hats = {
            i * nt + j: (1.0 - a) * (1.0 - b),
            **({i1 * nt + j: a * (1.0 - b)} if i1 != i else {}),
            **({i * nt + j1: (1.0 - a) * b} if j1 != j else {}),
            **({i1 * nt + j1: a * b} if i1 != i and j1 != j else {}),
        }
        for node, hat in hats.items():
            if hat:
                self._sums[node] = self._sums.get(node, 0.0) + g * hat

    def _account_unknown(self, indicated: float, x: float | None, t: float | None) -> None:
        correction = self._correction
        point = correction.at(x, t)
        g = self._corrected(indicated, point.error)
        for bound in self._wanted:
            _add_into(self._rest[bound], correction.named(correction.at(x, t, bound), g, bound))
        for flag in point.flags:
            self._track.flag(flag)

    def _corrected(self, indicated: float, error: float) -> float:
        """Count an increment; its sensitivity ∂E/∂e."""
        corrected = indicated / (1.0 + error / 100.0)
        g = -corrected / (100.0 + error)
        self._excess -= indicated * (error / (100.0 + error))
        c = g * self._correction.repeatability
        self._variance += c * c
        return g

    # ---------------------------------------------------------------------------------------------- many at once

    def _ordinary(self, values: Sequence[Decimal], utc_us: Sequence[int]) -> bool:
        """Whether nothing goes down, time goes on, and the load is what tells the operating point."""
        if not len(values) or self.end is None or self.max_power is not None:
            return False
        if self._correction.table.axis is Axis.OWN or any(not value.is_finite() for value in values):
            return False
        last = self.end
        return all(
            a <= b and s < t
            for a, b, s, t in zip(
                (last.value, *values[:-1]), values, (last.utc_us, *utc_us[:-1]), utc_us, strict=True
            )
        )

    def _extend(
        self, values: Sequence[Decimal], utc_us: Sequence[int], more: Increments, window_us: int
    ) -> None:
        correction = self._correction
        self._excess += more.excess
        self._variance += more.variance
        _add_into(self._sums, more.nodes)
        if more.extrapolation:
            for bound in self._wanted:
                _add_into(self._rest[bound], {correction.extrapolation.id: more.extrapolation})
        if more.grown:
            for flag in correction.always:
                self._track.flag(flag)
        if more.outside:
            self._track.flag(Flag.OUTSIDE_CALIBRATED_RANGE)
        ends = [(values[k], utc_us[k]) for k in range(max(len(values) - 2, 0), len(values))]
        if len(values) > 2:
            ends.insert(0, (values[0], utc_us[0]))
        self._track.run([self._track.reading(value, at, window_us) for value, at in ends])
        self.n += len(values)

    # ------------------------------------------------------------------------------------------------ restart

    def to_plain(self) -> dict[str, Any]:
        """All of it as plain JSON values (numbers of the sums with every digit); the state is named by its
        digest.
        """
        return {
            "state": self.state.digest,
            "measurand": self.measurand,
            "modulus": None if self._track.modulus is None else decimal_text(self._track.modulus),
            "max_power": self.max_power,
            "refresh_us": self.refresh_us,
            "noise": decimal_text(self._track.noise),
            "n": self.n,
            "missing": self.missing,
            "flags": list(self._track.flags),
            "excess": self._excess,
            "variance": self._variance,
            "sums": {str(node): s for node, s in self._sums.items()},
            "rest": {str(bound): dict(named) for bound, named in self._rest.items()},
            "segments": [plain_segment(segment) for segment in self._track.segments],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], state: CalibrationState) -> EnergyTotal:
        """The total that :meth:`to_plain` gave.

        Raises:
            ValueError: not such values, or another state than the one that they name.
        """
        try:
            digest = plain["state"]
            if digest != state.digest:
                raise ValueError(
                    f"the total was kept under the calibration state {digest}, not {state.digest}"
                )
            made = cls(
                state,
                plain["measurand"],
                modulus=None if plain["modulus"] is None else Decimal(plain["modulus"]),
                max_power=plain["max_power"],
                refresh_us=int(plain["refresh_us"]),
                noise=Decimal(plain["noise"]),
            )
            made.n, made._track.missing = int(plain["n"]), int(plain["missing"])
            made._track.flags = dict.fromkeys(plain["flags"])
            made._excess, made._variance = float(plain["excess"]), float(plain["variance"])
            made._sums = {int(node): float(s) for node, s in plain["sums"].items()}
            made._rest = {b: {k: float(c) for k, c in plain["rest"][str(b)].items()} for b in made._wanted}
            segments = [segment_of(each) for each in plain["segments"]]
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"these values are not a kept energy total ({error!r})") from None
        made._track.closed, made._track.now = segments[:-1], segments[-1] if segments else None
        return made


def _per_reading(coordinate: Sequence[float] | float | None, count: int) -> Sequence[float]:
    if coordinate is None or isinstance(coordinate, float | int):
        return (nan if coordinate is None else float(coordinate),) * count
    if len(coordinate) != count:
        raise ValueError(f"{len(coordinate)} loads or power factors for {count} readings")
    return coordinate


def _add_into(sums: dict[Any, float], more: Mapping[Any, float]) -> None:
    for key, term in more.items():
        sums[key] = sums.get(key, 0.0) + term
