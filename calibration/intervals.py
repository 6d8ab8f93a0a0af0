"""When to calibrate again: due dates with alerts, and suggestions for the interval. It suggests, it never applies.

ILAC-G24:2022 / OIML D 10:2022: a *staircase* lengthens the interval after a result well within the MPE and shortens it
after one outside; a *control chart* follows an instrument's drift over its calibrations and says when the error would
reach the MPE. NCSLI RP-1 method *A3* tests the observed reliability of a whole group against a target.

A chart's values are what the instrument would have shown had nobody adjusted it: the step of each adjustment (as left
minus as found) is taken out before the line is fitted, and put back for the prediction. An adjustment whose as-found
values nobody wrote down hides the drift before it: the chart begins anew there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from calibration.certificate import CalibrationPoint, Certificate, Instrument
from calibration.coverage import coverage_factor
from calibration.records import due_date
from calibration.words import say

DAYS_PER_YEAR = 365.2425
LEAD_DAYS = (90, 30, 7)
"""Alerts before the due date, days; an instrument's own ``lead_days`` takes the place of the first."""


class Urgency(StrEnum):
    """Where an instrument stands with its next calibration."""

    NOT_YET = "not yet"
    SOON = "soon"  # within its first lead time
    OVERDUE = "overdue"
    NEVER = "never calibrated"
    OPEN = "no due date"  # neither certificate nor instrument says until when


@dataclass(frozen=True, slots=True)
class Due:
    """The next calibration of an instrument; ``alert`` is the smallest lead time (days) already reached."""

    instrument: Instrument
    certificate: str
    performed: date | None
    due: date | None
    days_left: int | None
    urgency: Urgency
    alert: int | None = None


def due(
    instrument: Instrument, certificates: Iterable[Certificate], on: date, leads: Sequence[int] = LEAD_DAYS
) -> Due:
    """When an instrument's next calibration is due, seen on a day.

    The newest certificate that resets the cycle counts (an ad-hoc calibration does not); of its own date and the
    instrument's agreed interval the earlier. ``certificates`` are the ones in use.
    """
    counting = [c for c in certificates if c.resets_cycle and c.performed <= on]
    if not counting:
        return Due(instrument, "", None, None, None, Urgency.NEVER)
    newest = max(counting, key=lambda c: (c.performed, c.id))
    day = due_date(newest, instrument)
    if day is None:
        return Due(instrument, newest.id, newest.performed, None, None, Urgency.OPEN)
    left = (day - on).days
    own = list(leads) if instrument.lead_days is None else [instrument.lead_days, *(d for d in leads[1:])]
    reached = [lead for lead in own if left <= lead]
    urgency = Urgency.OVERDUE if left < 0 else Urgency.SOON if reached else Urgency.NOT_YET
    return Due(instrument, newest.id, newest.performed, day, left, urgency, min(reached, default=None))


def due_list(
    instruments: Iterable[Instrument],
    certificates: Iterable[Certificate],
    on: date,
    leads: Sequence[int] = LEAD_DAYS,
) -> tuple[Due, ...]:
    """Every instrument's next calibration, the most urgent first, the ones without a date at the end."""
    of: dict[str, list[Certificate]] = {}
    for certificate in certificates:
        of.setdefault(certificate.instrument, []).append(certificate)
    found = [due(instrument, of.get(instrument.id, ()), on, leads) for instrument in instruments]
    order = {Urgency.NEVER: 0, Urgency.OPEN: 2}
    return tuple(sorted(found, key=lambda d: (order.get(d.urgency, 1), d.due or date.max, d.instrument.id)))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested interval, with what it rests on; nobody but the metrologist puts it into force.

    ``reason`` and ``values``: the code of :mod:`calibration.words` that says why, and what fills its placeholders.
    """

    interval_days: int
    was_days: int
    method: str
    reason: str
    values: Mapping[str, str]

    @property
    def because(self) -> str:
        """Why, in English."""
        return self.text("en")

    def text(self, language: str) -> str:
        """Why, in this language."""
        return say(self.reason, language, **self.values)


@dataclass(frozen=True, slots=True)
class Staircase:
    """How the staircase climbs (OIML D 10:2022 6.2): longer inside ``well_within``·MPE, shorter outside the MPE.

    Between the two the interval stays. The factors are a laboratory's choice.
    """

    well_within: float = 0.8
    lengthen: float = 1.25
    shorten: float = 0.7
    shortest_days: int = 30
    longest_days: int = 2922  # 8 years

    def suggest(self, worst: float, interval_days: int) -> Suggestion:
        """The next interval after a calibration whose worst as-found error is ``worst`` times the MPE.

        Raises:
            ValueError: a negative or infinite ratio, or an interval that is not positive.
        """
        if not math.isfinite(worst) or worst < 0 or interval_days <= 0:
            raise ValueError(
                f"worst error / MPE = {worst:g} at an interval of {interval_days} days makes no sense"
            )
        if worst <= self.well_within:
            factor, reason = self.lengthen, "staircase_lengthen"
        elif worst <= 1:
            factor, reason = 1.0, "staircase_keep"
        else:
            factor, reason = self.shorten, "staircase_shorten"
        days = round(min(self.longest_days, max(self.shortest_days, interval_days * factor)))
        values = {"worst": f"{worst:.2f}", "well": f"{self.well_within:g}"}
        return Suggestion(days, interval_days, "staircase", reason, values)


@dataclass(frozen=True, slots=True)
class A3:
    """A test of an interval by method A3 of NCSLI RP-1.

    ``observed`` reliability with its interval ``low`` … ``high`` at the confidence asked for; ``rejection`` is the
    confidence with which the target is rejected; the interval changes only if that reaches the confidence asked for.
    """

    interval_days: float
    rejected: bool
    rejection: float
    observed: float
    low: float
    high: float
    suggestion: Suggestion


def a3(*, calibrations: int, in_tolerance: int, interval_days: float, target: float, confidence: float) -> A3:
    """Test the interval of a group of like instruments (RP-1 method A3, reproduced from its test values).

    Args:
        calibrations: calibrations of the group at this interval.
        in_tolerance: those found in tolerance.
        interval_days: the interval in force.
        target: the reliability wanted, 0 … 1.
        confidence: with which the target must be rejected before the interval changes, 0 … 1.

    Raises:
        ValueError: counts or probabilities out of range.
    """
    if not 0 <= in_tolerance <= calibrations or calibrations < 1 or interval_days <= 0:
        raise ValueError(
            f"{in_tolerance} of {calibrations} in tolerance at {interval_days:g} days makes no sense"
        )
    if not 0 < target < 1 or not 0 < confidence < 1:
        raise ValueError("target and confidence lie between 0 and 1")
    observed = in_tolerance / calibrations
    if observed < target:
        tail = binomial_cdf(in_tolerance, calibrations, target)
    else:
        tail = 1.0 - binomial_cdf(in_tolerance - 1, calibrations, target)
    rejection = max(0.0, 1.0 - 2.0 * tail)
    rejected = rejection >= confidence
    days = interval_days * 10 ** (rejection * (observed - target)) if rejected else interval_days
    low, high = binomial_interval(in_tolerance, calibrations, confidence)
    values = {
        "good": str(in_tolerance),
        "of": str(calibrations),
        "target": f"{target:g}",
        "rejection": f"{rejection:.1%}",
        "confidence": f"{confidence:.0%}",
    }
    reason = "a3_rejected" if rejected else "a3_kept"
    suggestion = Suggestion(round(days), round(interval_days), "RP-1 A3", reason, values)
    return A3(days, rejected, rejection, observed, low, high, suggestion)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """The probability of at most k of n, each with probability p."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    if p <= 0 or p >= 1:
        return float(p <= 0)
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def binomial_interval(k: int, n: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's interval for a probability of which k of n were seen."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if k == 0 else _root(lambda p: 1.0 - binomial_cdf(k - 1, n, p) - tail)
    high = 1.0 if k == n else _root(lambda p: tail - binomial_cdf(k, n, p))
    return low, high


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """An instrument's error at one calibration: as found, as left, with the expanded uncertainty of the values."""

    day: date
    certificate: str
    found: Decimal
    left: Decimal
    U: Decimal
    k: Decimal


@dataclass(frozen=True, slots=True)
class Prediction:
    """The error expected on a day, with its expanded uncertainty (95 %, k stated)."""

    day: date
    error: float
    U: float
    k: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Drift over successive calibrations at one operating point, in the points' unit (per year for the slope).

    ``consistent``: the points lie about the line as their uncertainties say (Birge ratio at most 1); else the
    uncertainties are widened by that ratio. ``significant``: the slope is more than its expanded uncertainty.
    """

    quantity: str
    load: Decimal
    power_factor: Decimal
    unit: str
    points: tuple[ChartPoint, ...]
    mpe: Decimal | None
    slope: float
    u_slope: float
    birge: float
    _origin: date
    _level: float
    _u_level: float
    _steps: float

    @property
    def consistent(self) -> bool:
        """Whether the scatter is no larger than the uncertainties."""
        return self.birge <= 1.0

    @property
    def k(self) -> float:
        """The coverage factor of predictions: by t where the scatter itself set the uncertainty."""
        free = len(self.points) - 2
        return coverage_factor(0.95, math.inf if self.consistent or free < 1 else float(free))

    @property
    def significant(self) -> bool:
        """Whether the drift is more than its expanded uncertainty: only then is it worth correcting for."""
        return len(self.points) >= 3 and abs(self.slope) > self.k * self.u_slope

    def predict(self, day: date) -> Prediction:
        """The error on a day if it drifts on and nobody adjusts."""
        years = _years(self._origin, day)
        u = math.hypot(self._u_level, self.u_slope * years)
        return Prediction(day, self._level + self.slope * years + self._steps, self.k * u, self.k)

    def series(self, days: Sequence[date]) -> list[Prediction]:
        """The line with its band over days, for a drawing."""
        return [self.predict(day) for day in days]

    def reaches_mpe(self, horizon_years: float = 20.0) -> date | None:
        """The first day after the last calibration on which |error| + U would exceed the MPE, if there is one."""
        if self.mpe is None:
            return None
        limit, start = float(self.mpe), self.points[-1].day
        last = int(horizon_years * DAYS_PER_YEAR)

        def beyond(days: int) -> bool:
            prediction = self.predict(start + timedelta(days=days))
            return abs(prediction.error) + prediction.U > limit

        step = 7
        first = next((days for days in range(0, last + step, step) if beyond(days)), None)
        if first is None:
            return None
        exact = next(days for days in range(max(0, first - step), first + 1) if beyond(days))
        return start + timedelta(days=exact)

    def suggest(self, interval_days: int, shortest_days: int = 30) -> Suggestion | None:
        """The interval after which the MPE would be reached, where that is before the interval in force; else None."""
        day = self.reaches_mpe()
        if day is None:
            return None
        reach = (day - self.points[-1].day).days
        if reach >= interval_days:
            return None
        values = {"slope": f"{self.slope:+.3g}", "unit": self.unit, "day": day.isoformat()}
        return Suggestion(max(shortest_days, reach), interval_days, "control chart", "drift_reaches", values)


def chart(
    certificates: Iterable[Certificate],
    *,
    quantity: str,
    load: Decimal,
    power_factor: Decimal = Decimal(1),
    mpe: Decimal | None = None,
) -> Chart:
    """The control chart of an instrument at one operating point, from its certificates.

    Certificates without a point there (same quantity, power factor and load) are passed over.

    Raises:
        ValueError: fewer than two calibrations with that point on different days since the last adjustment without
            as-found values, or points in different units.
    """
    found: list[tuple[ChartPoint, str]] = []
    for certificate in sorted(certificates, key=lambda c: (c.performed, c.id)):
        left = _at(certificate.points, quantity, load, power_factor)
        if left is None:
            continue
        before = _at(certificate.as_found, quantity, load, power_factor)
        if before is None and certificate.adjusted:
            found = []  # what it drifted to before the adjustment nobody knows
        before = before or left
        found.append(
            (
                ChartPoint(certificate.performed, certificate.id, before.error, left.error, left.U, left.k),
                left.unit,
            )
        )
    units = {unit for _, unit in found}
    if len(units) > 1:
        raise ValueError(f"points of {quantity} at {load} are in different units: {', '.join(sorted(units))}")
    points = tuple(point for point, _ in found)
    if len({point.day for point in points}) < 2:
        raise ValueError(
            f"a chart of {quantity} at {load} needs two calibrations on different days; {len(points)} found"
        )
    return _fit(points, quantity, load, power_factor, units.pop(), mpe)


def operating_points(certificates: Iterable[Certificate]) -> tuple[tuple[str, Decimal, Decimal], ...]:
    """Quantity, load and power factor of every point that two or more certificates share: what can be charted."""
    seen: dict[tuple[str, Decimal, Decimal], int] = {}
    for certificate in certificates:
        for key in {(p.quantity, p.load, p.power_factor) for p in certificate.points}:
            seen[key] = seen.get(key, 0) + 1
    return tuple(sorted(key for key, count in seen.items() if count >= 2))


def _fit(
    points: tuple[ChartPoint, ...],
    quantity: str,
    load: Decimal,
    power_factor: Decimal,
    unit: str,
    mpe: Decimal | None,
) -> Chart:
    """A weighted line through the errors with the adjustments taken out, about its own centre of weight."""
    origin = points[0].day
    steps = [Decimal(0)]
    for before, _ in pairwise(points):
        steps.append(steps[-1] + before.left - before.found)
    x = [_years(origin, point.day) for point in points]
    y = [float(point.found - step) for point, step in zip(points, steps, strict=True)]
    w = [1.0 / float(point.U / point.k) ** 2 for point in points]
    total = math.fsum(w)
    centre = math.fsum(a * b for a, b in zip(w, x, strict=True)) / total
    level = math.fsum(a * b for a, b in zip(w, y, strict=True)) / total
    sxx = math.fsum(a * (b - centre) ** 2 for a, b in zip(w, x, strict=True))
    slope = math.fsum(a * (b - centre) * c for a, b, c in zip(w, x, y, strict=True)) / sxx
    rest = math.fsum(a * (c - level - slope * (b - centre)) ** 2 for a, b, c in zip(w, x, y, strict=True))
    birge = math.sqrt(rest / (len(points) - 2)) if len(points) > 2 else 0.0
    widen = max(1.0, birge)
    final = float(steps[-1] + points[-1].left - points[-1].found)
    at = origin + timedelta(days=centre * DAYS_PER_YEAR)
    # ``at`` is a whole day: the level is moved there, so that the line itself does not shift.
    level += slope * (_years(origin, at) - centre)
    return Chart(
        quantity, load, power_factor, unit, points, mpe, slope, widen / math.sqrt(sxx), birge,
        at, level, widen / math.sqrt(total), final,
    )  # fmt: skip


def _at(
    points: Sequence[CalibrationPoint], quantity: str, load: Decimal, power_factor: Decimal
) -> CalibrationPoint | None:
    return next(
        (p for p in points if (p.quantity, p.load, p.power_factor) == (quantity, load, power_factor)), None
    )


def _years(start: date, end: date) -> float:
    return (end - start).days / DAYS_PER_YEAR


def _root(f: Callable[[float], float]) -> float:
    """The zero of an increasing function on (0, 1), by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if f(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
