"""One measurand's correction at work: an indication and its operating point in, result and uncertainty out.

The measurement model (JJF 1059.1, JCGM 100), with the indication x, the CT/PT ratio N and the error of
indication e:

    y = x·N / (1 + e/100)      where certificates give relative errors in %
    y = (x − e)·N              where they give errors in the quantity's own unit

so ``e`` is indication minus reference, relative to the reference. A source with the coefficient α(x, t) in e
contributes ``c = g·α`` with ``g = ∂y/∂e``, that is ``−y/(100 + e)`` or ``−N``. Everything that uses one
certificate or one standard carries the same sign, which is what makes sums of many instruments right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from math import inf, nextafter, sqrt
from typing import NamedTuple

from calibration.curve import T_NEAR, T_UNKNOWN, Angle, Axis, Bound, Flag, Grid, Table, operating_t
from calibration.uncertainty import Uncertain, UncertaintySource

_SQRT3 = sqrt(3.0)
_UNSIGNED = frozenset({"voltage", "current", "power_factor"})

Corners = tuple[float, float, float, float]
"""``p, q, r, s`` of ``p + q·λ + r·μ + s·λ·μ`` in one cell."""


class Result(NamedTuple):
    """A measurement result: value, standard uncertainty (both in the indication's unit, primary side), flags.

    ``kind`` is ``result``, or ``register`` for a cumulative register's standing (see
    :meth:`calibration.state.CalibrationState.correct`).
    """

    y: float
    u: float
    flags: tuple[str, ...] = ()
    kind: str = "result"


class Point(NamedTuple):
    """The error and its uncertainty at one operating point, in the table's unit, before they are scaled to a
    value.

    ``coefficients`` follow :attr:`Correction.sources`; ``extrapolation`` and ``operating_point`` are standard
    uncertainties of the two sources that are there only when needed.
    """

    error: float
    coefficients: tuple[float, ...]
    extrapolation: float
    operating_point: float
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class _Cells:
    """Coefficients of one bound: sources in order of their id, and per cell their corners."""

    sources: tuple[str, ...]
    nodes: tuple[tuple[float, ...], ...]
    corners: tuple[tuple[Corners, ...], ...]


class Correction:
    """A table compiled for one measurand. Immutable once made.

    Args:
        instrument: id; owns the extrapolation and operating-point sources.
        family: name of the table.
        table: what corrects it.
        primary: the indication is on the primary side already (the ratio is not applied again).
        resolution: resolution of the indication, in the indication's unit.
        flags: flags of the whole state.
    """

    __slots__ = (
        "_always",
        "_bounds",
        "_hot",
        "_lines",
        "_lone",
        "_lone_load",
        "_plan",
        "_reach",
        "_unknown",
        "angle",
        "cells",
        "extrapolation",
        "family",
        "grid",
        "needs_t",
        "needs_x",
        "operating_point",
        "own",
        "ratio",
        "relative",
        "repeatability",
        "resolution_u",
        "resolution_variance",
        "scale",
        "signed",
        "table",
    )

    def __init__(
        self,
        instrument: str,
        family: str,
        table: Table,
        *,
        primary: bool = False,
        resolution: Decimal = Decimal(0),
        flags: tuple[Flag, ...] = (),
    ) -> None:
        self.family = family
        self.table = table
        self.grid = Grid(table)
        self.own = table.axis is Axis.OWN
        # A current or a voltage of either sign is the same operating point; −20 Cel and 20 Cel are not.
        self.signed = family.partition("@")[0].partition(".")[0] not in _UNSIGNED
        self.relative = table.relative
        self.angle = table.angle
        self.repeatability = float(table.repeatability)
        self.extrapolation = UncertaintySource("extrapolation", instrument, quantity=family)
        self.operating_point = UncertaintySource(
            "operating_point", instrument, quantity=family, dist="uniform"
        )
        self._always = tuple(dict.fromkeys((*flags, *table.flags)))
        shared = self._compile(Bound.SHARED)
        split_known = all(term.bound is Bound.BOTH for term in self.grid.terms)
        self._bounds = {Bound.SHARED: shared, Bound.OWN: shared if split_known else self._compile(Bound.OWN)}
        # Where the unknown split joins nothing else in this table, both bounds give one value the same
        # uncertainty.
        sizes = {len(cells.sources) for cells in self._bounds.values()}
        self._lone = len(sizes) == 1
        nx, nt = len(self.grid.xs), len(self.grid.ts)
        # A single calibrated load says nothing of another one: whether this is it must be known.
        self._lone_load = nx == 1 and not self.own and self.grid.low > -inf
        self.needs_x = nx > 1 or self._lone_load
        self.needs_t = table.angle is not Angle.NONE and (nt > 1 or table.outside_t > 0)
        self.cells = tuple(_corners(self.grid.errors, i, j, nx, nt) for i, j in _cell_indexes(nx, nt))
        self._hot = self._hot_cells()
        self._unknown: dict[Bound, Point] = {}
        # The angles that an unknown one could be at; of each, its place in the grid, position, uncertainty beyond it.
        reach = (-T_UNKNOWN, 0.0, T_UNKNOWN)
        self._reach = sorted({*reach, *(v for v in self.grid.ts if -T_UNKNOWN <= v <= T_UNKNOWN)})
        self._lines: list[tuple[int, float, float]] = []
        self._set_measurand(primary, resolution)

    def sibling(self, *, primary: bool, resolution: Decimal) -> Correction:
        """The correction of another measurand by the same table: what is compiled of the table is one object.

        A meter with 20 measurands has a third as many tables; compiled, a table is what takes the memory.
        """
        other = copy(self)
        other._set_measurand(primary, resolution)  # noqa: SLF001 - one of our own, seen by nobody yet
        return other

    def _set_measurand(self, primary: bool, resolution: Decimal) -> None:
        exact_ratio = Decimal(1) if primary else self.table.ratio
        self.ratio = float(exact_ratio)
        self.scale = float(self.table.ratio) if primary else 1.0
        self.resolution_u = float(resolution * exact_ratio) / sqrt(12.0)
        self.resolution_variance = self.resolution_u * self.resolution_u
        self._plan = self._hot_plan()

    # ------------------------------------------------------------------------------------------- the hot path

    def __call__(self, value: float, load_a: float | None, power_factor: float | None) -> Result:
        """Result at one operating point. Deterministic: the same floats in give the same floats out."""
        (xs, ts, last_i, last_j, cells, low, high, t_low, t_high, outside_load, outside_t, tan, row,
         inside, outside, repeatability, variance, ratio, relative) = self._plan  # fmt: skip
        if self.own:
            x = (value if value >= 0.0 or self.signed else -value) / self.scale
        elif load_a is not None:
            x = load_a if load_a >= 0.0 else -load_a
        elif self.needs_x:
            return self._slow(value, None, power_factor)
        else:
            x = low
        extra = 0.0
        flags = inside
        if x < low or x > high:
            extra = outside_load
            flags = outside
        i = bisect_right(xs, x) - 1
        if i < 0:
            i = 0
        elif i > last_i:
            i = last_i
        if row:
            x0, x1, p, q, both = cells[i]
            a = 0.0 if x <= x0 else 1.0 if x >= x1 else (x - x0) / (x1 - x0)
            b = ab = 0.0
            e = p + q * a
        else:
            if power_factor is None:
                return self._slow(value, x, None)
            if tan and power_factor >= 0.02 and power_factor <= 1.0:
                t = sqrt(1.0 - power_factor * power_factor) / power_factor
            else:
                t = operating_t(self.angle, power_factor)
            if t < t_low:
                extra += outside_t * (t_low - t)
                if t_low - t > T_NEAR:
                    flags = outside
            elif t > t_high:
                extra += outside_t * (t - t_high)
                if t - t_high > T_NEAR:
                    flags = outside
            j = bisect_right(ts, t) - 1
            if j < 0:
                j = 0
            elif j > last_j:
                j = last_j
            x0, x1, t0, t1, (p, q, r, s), both = cells[i * (last_j + 1) + j]
            a = 0.0 if x <= x0 else 1.0 if x >= x1 else (x - x0) / (x1 - x0)
            b = 0.0 if t <= t0 else 1.0 if t >= t1 else (t - t0) / (t1 - t0)
            ab = a * b
            e = p + q * a + r * b + s * ab
        if relative:
            y = value * ratio / (1.0 + e / 100.0)
            g = -y / (100.0 + e)
        else:
            y = (value - e) * ratio
            g = -ratio
        if y - y != 0.0:
            raise ValueError(
                f"indication {value!r}, load {load_a!r} A, power factor {power_factor!r}: not a number"
            )
        c = g * repeatability
        rest = variance + c * c
        u = 0.0
        for corners in both:
            total = rest
            if row:
                for p, q in corners:
                    c = g * (p + q * a)
                    total += c * c
            else:
                for p, q, r, s in corners:
                    c = g * (p + q * a + r * b + s * ab)
                    total += c * c
            if extra:
                c = g * extra
                total += c * c
            if total > u:
                u = total
        return Result(y, sqrt(u), flags)

    def _hot_cells(self) -> tuple[tuple, ...]:  # type: ignore[type-arg]
        """The cells as :meth:`__call__` unpacks them.

        A table that no power factor concerns has one row of cells whose corners' r and s are 0: they are left out,
        which changes no bit (adding 0·b is exact) and is half of the arithmetic.
        """
        grid = self.grid
        nx, nt = len(grid.xs), len(grid.ts)
        wanted = (Bound.SHARED,) if self._lone else (Bound.SHARED, Bound.OWN)
        cells: list[tuple] = []  # type: ignore[type-arg]
        for k, (i, j) in enumerate(_cell_indexes(nx, nt)):
            # An axis of one knot gets a cell of width 1, over which nothing changes.
            x0, x1 = grid.xs[i], grid.xs[i + 1] if nx > 1 else grid.xs[i] + 1.0
            t0, t1 = grid.ts[j], grid.ts[j + 1] if nt > 1 else grid.ts[j] + 1.0
            both = tuple(self._bounds[bound].corners[k] for bound in wanted)
            if self.needs_t:
                cells.append((x0, x1, t0, t1, self.cells[k], both))
            else:
                p, q, _, _ = self.cells[k]
                pairs = tuple(tuple((c[0], c[1]) for c in corners) for corners in both)
                cells.append((x0, x1, p, q, pairs))
        return tuple(cells)

    def _hot_plan(self) -> tuple:  # type: ignore[type-arg]
        """Everything that :meth:`__call__` needs, in the order in which it unpacks it."""
        grid, table = self.grid, self.table
        inside = tuple(str(flag) for flag in self._always)
        outside = (*inside, str(Flag.OUTSIDE_CALIBRATED_RANGE))
        return (
            grid.xs, grid.ts, max(len(grid.xs) - 2, 0), max(len(grid.ts) - 2, 0), self._hot, grid.low, grid.high,
            grid.t_low, grid.t_high, float(table.outside_load), float(table.outside_t), self.angle is Angle.TAN,
            not self.needs_t, inside, outside, self.repeatability, self.resolution_variance, self.ratio,
            self.relative,
        )  # fmt: skip

    @property
    def needs_operating_point(self) -> bool:
        """Whether load or power factor count at all: not for an instrument with a span of its own."""
        return not self.own or self.needs_t

    def _slow(self, value: float, x: float | None, power_factor: float | None) -> Result:
        t = None if power_factor is None and self.needs_t else self._t(power_factor)
        points = [self.at(x, t, bound) for bound in self.wanted]
        y, g = self.scaled(value, points[0].error)
        u = max(sqrt(self._variance(g, point)) for point in points)
        return Result(y, u, tuple(str(flag) for flag in points[0].flags))

    @property
    def wanted(self) -> tuple[Bound, ...]:
        """The bounds of which the larger u counts for one value; one of them where both give it the same."""
        return (Bound.SHARED,) if self._lone else (Bound.SHARED, Bound.OWN)

    def _variance(self, g: float, point: Point) -> float:
        c = g * self.repeatability
        total = self.resolution_variance + c * c
        for alpha in (*point.coefficients, point.extrapolation, point.operating_point):
            c = g * alpha
            total += c * c
        return total

    # ------------------------------------------------------------------------------------------ the full form

    def contributions(
        self, value: float, load_a: float | None, power_factor: float | None, bound: Bound = Bound.BOTH
    ) -> Uncertain:
        """The result with its contributions by source; its ``u`` is that of the hot path, to the last bit.

        With an unknown split, ``bound`` chooses the one that is wanted; the default is the one with the
        larger u.
        """
        x, t = self.operating_point_of(value, load_a, power_factor)
        wanted = self.wanted if bound is Bound.BOTH else (bound,)
        best: Uncertain | None = None
        for each in wanted:
            point = self.at(x, t, each)
            y, g = self.scaled(value, point.error)
            c = g * self.repeatability
            parts = self.named(point, g, each)
            result = Uncertain(y, parts, self.resolution_variance + c * c)
            if best is None or result.u > best.u:
                best = result
        assert best is not None
        return best

    def named(self, point: Point, g: float, bound: Bound = Bound.SHARED) -> dict[str, float]:
        """Contributions by source id for the sensitivity g = ∂y/∂e."""
        parts = {s: g * alpha for s, alpha in zip(self.sources(bound), point.coefficients, strict=True)}
        if point.extrapolation:
            parts[self.extrapolation.id] = g * point.extrapolation
        if point.operating_point:
            parts[self.operating_point.id] = g * point.operating_point
        return parts

    def scaled(self, value: float, error: float) -> tuple[float, float]:
        """Corrected value on the primary side, and its sensitivity ∂y/∂e."""
        if self.relative:
            y = value * self.ratio / (1.0 + error / 100.0)
            return y, -y / (100.0 + error)
        return (value - error) * self.ratio, -self.ratio

    def sources(self, bound: Bound = Bound.SHARED) -> tuple[str, ...]:
        """Ids of the sources in the table under a bound, in order."""
        return self._bounds[bound if bound is not Bound.BOTH else Bound.SHARED].sources

    def nodes(self, bound: Bound = Bound.SHARED) -> tuple[tuple[float, ...], ...]:
        """Coefficients at the grid's nodes, one row per source of :meth:`sources`."""
        return self._bounds[bound if bound is not Bound.BOTH else Bound.SHARED].nodes

    @property
    def split_unknown(self) -> bool:
        """Whether the two bounds differ at all (in sums, if not in one value)."""
        return self._bounds[Bound.SHARED].sources != self._bounds[Bound.OWN].sources

    def operating_point_of(
        self, value: float, load_a: float | None, power_factor: float | None
    ) -> tuple[float | None, float | None]:
        """Grid coordinates of an operating point; None for what is needed and not known."""
        if self.own:
            x: float | None = (value if self.signed else abs(value)) / self.scale
        elif load_a is not None:
            x = abs(load_a)
        else:
            x = None if self.needs_x else self.grid.low
        t = None if self.needs_t and power_factor is None else self._t(power_factor)
        return x, t

    def _t(self, power_factor: float | None) -> float:
        if not self.needs_t or power_factor is None:
            return 0.0
        return operating_t(self.angle, power_factor)

    def at(self, x: float | None, t: float | None, bound: Bound = Bound.SHARED) -> Point:
        """Error and coefficients at a point of the grid; None is unknown: the full range of what it could
        be.
        """
        if x is None and t is None and bound in self._unknown:
            return self._unknown[bound]
        point = self._at(x, t, bound) if x is not None and t is not None else self._over(x, t, bound)
        if x is None and t is None:
            self._unknown[bound] = point
        return point

    def _at(self, x: float, t: float, bound: Bound) -> Point:
        cells = self._bounds[bound]
        i, j, a, b = self.grid.cell(x, t)
        k = i * max(len(self.grid.ts) - 1, 1) + j
        ab = a * b
        p, q, r, s = self.cells[k]
        error = p + q * a + r * b + s * ab
        found = tuple(p + q * a + r * b + s * ab for p, q, r, s in cells.corners[k])
        extra, outside = self.outside(x, t)
        flags = (*self._always, Flag.OUTSIDE_CALIBRATED_RANGE) if outside else self._always
        return Point(error, found, extra, 0.0, flags)

    def _along(self, x: float, bound: Bound) -> list[Point]:
        """:meth:`_at` of a known load and every angle of the reach, to the last bit; only the load is looked up."""
        if not self._lines:
            low = self.grid.low
            for t in self._reach:
                _, j, _, b = self.grid.cell(low, t)
                beyond = self.grid.t_low - t if t < self.grid.t_low else max(t - self.grid.t_high, 0.0)
                self._lines.append((j, b, float(self.table.outside_t) * beyond if self.needs_t else 0.0))
        i, _, a, _ = self.grid.cell(x, 0.0)
        outside = float(self.table.outside_load) if x < self.grid.low or x > self.grid.high else 0.0
        first, corners, points = i * max(len(self.grid.ts) - 1, 1), self._bounds[bound].corners, []
        for j, b, further in self._lines:
            ab = a * b
            p, q, r, s = self.cells[first + j]
            found = tuple([p + q * a + r * b + s * ab for p, q, r, s in corners[first + j]])
            points.append(Point(p + q * a + r * b + s * ab, found, outside + further, 0.0, ()))
        return points

    def outside(self, x: float, t: float) -> tuple[float, bool]:
        """Standard uncertainty added outside the calibrated range (0 inside), and whether that is flagged."""
        grid, table = self.grid, self.table
        extra, flagged = 0.0, False
        if x < grid.low or x > grid.high:
            extra, flagged = float(table.outside_load), True
        if self.needs_t:
            beyond = grid.t_low - t if t < grid.t_low else t - grid.t_high if t > grid.t_high else 0.0
            if beyond:
                extra += float(table.outside_t) * beyond
                flagged = flagged or beyond > T_NEAR
        return extra, flagged

    def _over(self, x: float | None, t: float | None, bound: Bound) -> Point:
        """The whole range of an unknown operating point: mid error, half range as a rectangle, largest
        coefficients.
        """
        grid = self.grid
        if x is not None and t is None:
            points = self._along(x, bound)
        else:
            inner = [v for v in grid.xs if grid.low <= v <= grid.high]
            xs = [x] if x is not None else [grid.low, *inner, grid.high]
            ts = [t] if t is not None else self._reach
            points = [self._at(each, other, bound) for each in self._with_left_sides(xs, x) for other in ts]
        errors = [point.error for point in points]
        middle, half = (max(errors) + min(errors)) / 2.0, (max(errors) - min(errors)) / 2.0
        widest = tuple(
            max(map(abs, column)) for column in zip(*(p.coefficients for p in points), strict=True)
        )
        flags = list(self._always)
        if x is None:
            flags.append(Flag.LOAD_UNKNOWN)
        if t is None:
            flags.append(Flag.POWER_FACTOR_UNKNOWN)
        if x is not None and not grid.low <= x <= grid.high:
            flags.append(Flag.OUTSIDE_CALIBRATED_RANGE)
        extra = max(point.extrapolation for point in points)
        if x is None and self._lone_load:
            extra += float(self.table.outside_load)
        return Point(middle, widest, extra, half / _SQRT3, tuple(flags))

    def _with_left_sides(self, xs: list[float], known: float | None) -> Iterator[float]:
        """The left limit of a step counts too; the next float below it is as near as floats come."""
        yield from xs
        if known is None:
            steps = [x for x, left in zip(self.grid.xs, self.grid.steps, strict=True) if left]
            yield from (nextafter(x, -inf) for x in steps if x > self.grid.low)

    def corners(self, bound: Bound) -> tuple[tuple[Corners, ...], ...]:
        """Per cell, the bilinear coefficients of each of :meth:`sources` in the error."""
        return self._bounds[bound].corners

    @property
    def always(self) -> tuple[Flag, ...]:
        """Flags of every result."""
        return self._always

    # ------------------------------------------------------------------------------------------------ compile

    def _compile(self, bound: Bound) -> _Cells:
        nx, nt = len(self.grid.xs), len(self.grid.ts)
        by_source: Mapping[str, tuple[float, ...]] = dict(self.grid.bound(bound))
        # A certificate often states one uncertainty over many cells: equal corners are one object.
        one: dict[Corners, Corners] = {}
        corners = tuple(
            tuple(
                one.setdefault(each, each)
                for each in (_corners(nodes, i, j, nx, nt) for nodes in by_source.values())
            )
            for i, j in _cell_indexes(nx, nt)
        )
        return _Cells(tuple(by_source), tuple(by_source.values()), corners)


def _cell_indexes(nx: int, nt: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(max(nx - 1, 1)) for j in range(max(nt - 1, 1))]


def _corners(nodes: tuple[float, ...], i: int, j: int, nx: int, nt: int) -> Corners:
    """Bilinear coefficients of the cell (i, j) from the four nodes around it."""
    i1, j1 = min(i + 1, nx - 1), min(j + 1, nt - 1)
    v00, v10, v01, v11 = (nodes[m * nt + n] for m, n in ((i, j), (i1, j), (i, j1), (i1, j1)))
    return v00, v10 - v00, v01 - v00, (v11 - v10) - (v01 - v00)
