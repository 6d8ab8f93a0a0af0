"""Correction curves: what certificates say over the operating point, and how it is interpolated.

A *table* belongs to one quantity family of one instrument. It is a sum of *curves* (the meter's own errors,
the ratio error of its CT, the phase displacement of its CT, …), each with knots taken from one certificate or
accuracy class:

    e(x, t) = Σ_curves  weight · (1 or t) · curve(x, t)

``x`` is the load (A on the secondary side, or the indication itself for instruments with a span of their own)
and ``t`` the phase variable: tan φ for active quantities, cot φ for reactive ones. An error caused by a phase
displacement is linear in ``t``, so between two power factors a meter's errors are interpolated linearly in
``t``, not in cos φ.

Rules: linear between knots; held constant outside (:attr:`Flag.OUTSIDE_CALIBRATED_RANGE`, wider uncertainty).
Two knots at one load make a step: the right one holds at the load itself. Each uncertainty part has one
coefficient per knot and is interpolated with the same weights as the errors, so a systematic part does not
shrink by interpolation.

:class:`Grid` is the same table merged on all its knots, as floats, made once: one cell is found, and the
error and every coefficient are ``p + q·λ + r·μ + s·λ·μ`` in it. Only ``+ - * /`` and ``sqrt`` of IEEE 754
doubles are used, in a fixed order, so an auditor who evaluates the same table gets the same bits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from math import inf, sqrt
from typing import NamedTuple

from calibration.uncertainty import UncertaintySource

T_LIMIT = 100.0
"""Largest |tan φ| (or cot φ) that is evaluated: cos φ = 0.01. Beyond it the phase variable is held, and
flagged."""

T_UNKNOWN = 1.0
"""An unknown power factor is taken as |tan φ| <= 1, i.e. |cos φ| >= 0.71."""

T_NEAR = 0.1
"""|tan φ| this close to the certificate's last power factor is not flagged (cos φ 0.995 beside 1): widened
all the same."""


X_NEAR = 0.1
"""A single point of an instrument's own span (230 V, 50 Hz) is taken to hold within this share of itself."""


class Flag(StrEnum):
    """What a reader of a result must know beside its uncertainty."""

    OUTSIDE_CALIBRATED_RANGE = "OUTSIDE_CALIBRATED_RANGE"
    LOAD_UNKNOWN = "LOAD_UNKNOWN"
    POWER_FACTOR_UNKNOWN = "POWER_FACTOR_UNKNOWN"
    CAL_OVERDUE = "CAL_OVERDUE"
    CLASS_ONLY = "CLASS_ONLY"  # uncertainty from an accuracy class or MPE: no errors of indication are known
    SPLIT_UNKNOWN = (
        "SPLIT_UNKNOWN"  # how much of U comes from the reference standard is not known: two bounds
    )
    UNCALIBRATED = "UNCALIBRATED"  # neither certificate nor class: no result, only the indication


FAMILIES = (
    ("energy.active", "energy.active"),
    ("power.active", "energy.active"),
    ("demand.active", "energy.active"),
    ("energy.reactive", "energy.reactive"),
    ("power.reactive", "energy.reactive"),
    ("demand.reactive", "energy.reactive"),
    ("energy.apparent", "power.apparent"),
    ("power.apparent", "power.apparent"),
)
"""Measurands that begin with the first name are corrected by the table with the second."""


REGISTERS = ("energy.", "volume.", "mass.")
"""Measurands that begin with these are cumulative registers: what is measured is the difference of two standings."""


def family_of(measurand: str) -> str:
    """Name of the quantity family of a measurand; itself, unless it is an energy, a power or a demand."""
    for prefix, family in FAMILIES:
        if measurand == prefix or measurand.startswith(prefix + "."):
            return family
    return measurand


class Bound(StrEnum):
    """Where a part counts when the split of U into shared and own is unknown (metrology rule 7).

    ``OWN`` (r = 0: nothing shared) and ``SHARED`` (r = 1: all from the reference standard) are the two
    extremes.
    """

    BOTH = ""
    OWN = "own"
    SHARED = "shared"


class Angle(StrEnum):
    """Which phase variable a table uses."""

    NONE = "none"
    TAN = "tan"  # active quantities
    COT = "cot"  # reactive quantities; the power factor of their certificate points is sin φ


class Axis(StrEnum):
    """What the operating point of a table is."""

    LOAD = "load"  # the load current in A on the secondary side
    OWN = "own"  # the instrument's own indication, on the side that its certificate speaks of


@dataclass(frozen=True, slots=True)
class Part:
    """One source of uncertainty in a curve: a coefficient per knot, in the curve's unit, for a source of unit
    variance.
    """

    source: UncertaintySource
    alpha: tuple[Decimal, ...]
    bound: Bound = Bound.BOTH


@dataclass(frozen=True, slots=True)
class Curve:
    """Errors over load and power factor from one certificate or class.

    ``loads``, ``power_factors`` and ``errors`` have one entry per knot. ``weight`` multiplies the whole
    curve; with ``phase`` it is multiplied by the phase variable too (a phase displacement in minutes becomes
    a relative error in %).
    ``bounds_load`` and ``bounds_phase`` say that its loads and its power factors bound what is calibrated.
    """

    name: str
    loads: tuple[Decimal, ...]
    power_factors: tuple[Decimal, ...]
    errors: tuple[Decimal, ...]
    parts: tuple[Part, ...]
    weight: Decimal = Decimal(1)
    phase: bool = False
    bounds_load: bool = False
    bounds_phase: bool = False
    certificate: str = ""

    def __post_init__(self) -> None:
        n = len(self.loads)
        if not n or len(self.power_factors) != n or len(self.errors) != n:
            raise ValueError(f"curve {self.name}: every knot needs a load, a power factor and an error")
        if any(len(part.alpha) != n for part in self.parts):
            raise ValueError(f"curve {self.name}: every part needs one coefficient per knot ({n})")
        if any(pf == 0 or abs(pf) > 1 for pf in self.power_factors):
            raise ValueError(f"curve {self.name}: a power factor lies in [-1, 1] and is not 0")


@dataclass(frozen=True, slots=True)
class Table:
    """All that corrects one quantity family.

    ``relative``: errors and coefficients in % of the reference value; else in the quantity's own unit.
    ``ratio`` is the CT/PT ratio of the family (primary over secondary). ``outside_load`` (standard
    uncertainty, in the table's unit) and ``outside_t`` (per unit of phase variable) widen values outside the
    calibrated range. ``repeatability`` is the independent part: a standard deviation, in the table's unit.
    """

    curves: tuple[Curve, ...]
    ratio: Decimal = Decimal(1)
    relative: bool = True
    axis: Axis = Axis.LOAD
    angle: Angle = Angle.NONE
    outside_load: Decimal = Decimal(0)
    outside_t: Decimal = Decimal(0)
    repeatability: Decimal = Decimal(0)
    flags: tuple[Flag, ...] = ()

    def __post_init__(self) -> None:
        if not self.curves:
            raise ValueError("a correction table needs at least one curve")


def phase_variable(power_factor: float) -> float:
    """The tan φ of a signed cos φ, or cot φ of a signed sin φ: ``sqrt(1 - p²)/p``; negative for
    capacitive.
    """
    return sqrt(max(0.0, 1.0 - power_factor * power_factor)) / power_factor


def operating_t(angle: Angle, power_factor: float) -> float:
    """Phase variable at an operating power factor (always cos φ, signed: negative is capacitive), within
    ±T_LIMIT.
    """
    p = power_factor
    s2 = 1.0 - p * p
    if s2 < 0.0:
        s2 = 0.0
    if angle is Angle.TAN:
        above, below = sqrt(s2), p
    else:
        above, below = p, sqrt(s2)
    if above == 0.0:
        return 0.0
    if abs(above) >= T_LIMIT * abs(below):
        return T_LIMIT if p >= 0.0 else -T_LIMIT
    return above / below


class Term(NamedTuple):
    """One source's coefficients at the nodes of a grid."""

    source: str
    bound: Bound
    nodes: tuple[float, ...]


class _Line:
    """One curve at one power factor: piecewise linear in load, constant outside, steps at doubled knots."""

    def __init__(self, xs: Sequence[float], values: Sequence[float]) -> None:
        self.xs, self.values = xs, values

    def __call__(self, x: float, from_left: bool) -> float:
        xs, values = self.xs, self.values
        if x < xs[0] or (from_left and x == xs[0]):
            return values[0]
        if from_left and x in xs:
            return values[xs.index(x)]
        i = bisect_right(xs, x) - 1
        if i >= len(xs) - 1 or xs[i] == x:
            return values[i]
        return values[i] + (values[i + 1] - values[i]) * ((x - xs[i]) / (xs[i + 1] - xs[i]))


class _Surface:
    """One curve, one column of it (errors or a part's coefficients), over load and phase variable."""

    def __init__(self, curve: Curve, column: Sequence[Decimal]) -> None:
        rows: dict[float, list[tuple[float, float]]] = {}
        for load, pf, value in zip(curve.loads, curve.power_factors, column, strict=True):
            rows.setdefault(phase_variable(float(pf)), []).append((float(load), float(value)))
        self.ts = sorted(rows)
        # The sort is stable on load alone: the order of two knots at one load is the order of the step.
        ordered = [sorted(rows[t], key=lambda knot: knot[0]) for t in self.ts]
        self.lines = [_Line([x for x, _ in row], [v for _, v in row]) for row in ordered]
        self.weight, self.phase = float(curve.weight), curve.phase

    def __call__(self, x: float, from_left: bool, t: float) -> float:
        ts, lines = self.ts, self.lines
        if t <= ts[0]:
            value = lines[0](x, from_left)
        elif t >= ts[-1]:
            value = lines[-1](x, from_left)
        else:
            j = bisect_right(ts, t) - 1
            low, high = lines[j](x, from_left), lines[j + 1](x, from_left)
            value = low + (high - low) * ((t - ts[j]) / (ts[j + 1] - ts[j]))
        value *= self.weight
        return value * t if self.phase else value


class Grid:
    """A table merged on all its knots, as floats. Node ``(i, j)`` has index ``i·len(ts) + j``."""

    __slots__ = ("angle", "errors", "high", "low", "steps", "t_high", "t_low", "terms", "ts", "xs")

    def __init__(self, table: Table) -> None:
        surfaces = [_Surface(curve, curve.errors) for curve in table.curves]
        self.angle = table.angle
        self.xs, self.steps = _merged([line.xs for surface in surfaces for line in surface.lines])
        ts = {t for surface in surfaces for t in surface.ts}
        if any(curve.phase for curve in table.curves):
            ts |= {-T_LIMIT, T_LIMIT}
        self.ts = tuple(sorted(ts)) if table.angle is not Angle.NONE else (0.0,)
        self._set_range(table, surfaces)
        self.errors = self._nodes(surfaces)
        merged: dict[tuple[str, Bound], list[float]] = {}
        for curve in table.curves:
            for part in curve.parts:
                nodes = self._nodes([_Surface(curve, part.alpha)])
                into = merged.setdefault((part.source.id, part.bound), [0.0] * len(nodes))
                merged[part.source.id, part.bound] = [a + b for a, b in zip(into, nodes, strict=True)]
        self.terms = tuple(
            Term(source, bound, tuple(merged[source, bound])) for source, bound in sorted(merged)
        )

    def _set_range(self, table: Table, surfaces: Sequence[_Surface]) -> None:
        lows, highs, t_lows, t_highs = [-inf], [inf], [-T_LIMIT], [T_LIMIT]
        for curve, surface in zip(table.curves, surfaces, strict=True):
            if curve.bounds_load:
                low = min(line.xs[0] for line in surface.lines)
                high = max(line.xs[-1] for line in surface.lines)
                if low == high and table.axis is Axis.OWN:
                    low, high = low - X_NEAR * abs(low), high + X_NEAR * abs(high)
                lows.append(low)
                highs.append(high)
            if curve.bounds_phase and table.angle is not Angle.NONE:
                t_lows.append(surface.ts[0])
                t_highs.append(surface.ts[-1])
        self.low, self.high, self.t_low, self.t_high = max(lows), min(highs), max(t_lows), min(t_highs)

    def _nodes(self, surfaces: Sequence[_Surface]) -> tuple[float, ...]:
        points = [(x, step, t) for x, step in zip(self.xs, self.steps, strict=True) for t in self.ts]
        return tuple(sum(surface(x, step, t) for surface in surfaces) for x, step, t in points)

    def bound(self, bound: Bound) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """Coefficients by source under one bound, in order of source id: parts of one source are added."""
        merged: dict[str, tuple[float, ...]] = {}
        for term in self.terms:
            if term.bound not in (Bound.BOTH, bound):
                continue
            have = merged.get(term.source)
            merged[term.source] = (
                term.nodes if have is None else tuple(a + b for a, b in zip(have, term.nodes, strict=True))
            )
        return tuple(sorted(merged.items()))

    def cell(self, x: float, t: float) -> tuple[int, int, float, float]:
        """Index of the cell of an operating point along both axes, with its position λ, μ in it (0..1, held
        outside).
        """
        xs, ts = self.xs, self.ts
        i = min(max(bisect_right(xs, x) - 1, 0), max(len(xs) - 2, 0))
        j = min(max(bisect_right(ts, t) - 1, 0), max(len(ts) - 2, 0))
        return i, j, _position(xs, i, x), _position(ts, j, t)


def _position(axis: Sequence[float], i: int, value: float) -> float:
    if len(axis) == 1:
        return 0.0
    low, high = axis[i], axis[i + 1]
    if value >= high:
        return 1.0
    return 0.0 if value <= low else (value - low) / (high - low)


def _merged(axes: Iterable[Sequence[float]]) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """All knots of several lines in order; a step appears twice, first as its left side (True)."""
    steps: set[float] = set()
    knots: set[float] = set()
    for xs in axes:
        knots.update(xs)
        steps.update(a for a, b in pairwise(xs) if a == b)
    sides = [(x, side) for x in sorted(knots) for side in ((True, False) if x in steps else (False,))]
    return tuple(x for x, _ in sides), tuple(side for _, side in sides)
