"""Many increments of a register at once: what they add to its running sums, in one pass without an object for each.

The sums are those of :meth:`calibration.energy.EnergyTotal.add` in a loop. They are plain numbers on purpose: an agent
adds up some hundred readings at the end of an interval, for which numpy is no faster, and takes a sixth of its memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf, isnan
from typing import NamedTuple

from calibration.correction import Correction
from calibration.curve import T_NEAR, operating_t


class Increments(NamedTuple):
    """What increments add to the sums of :mod:`calibration.energy`.

    ``excess`` is Σ (corrected − indicated), ``variance`` the sum of their repeatability, ``nodes`` holds Σ hat·∂E/∂e by
    node of the grid, ``extrapolation`` is the signed contribution of that source. ``outside``: one that grew was
    outside the calibrated range; ``grown``: one grew at all.
    """

    excess: float
    variance: float
    nodes: dict[int, float]
    extrapolation: float
    outside: bool
    grown: bool


def known(coordinates: Sequence[float]) -> bool:
    """Whether none is NaN ("not known") or infinite."""
    total = sum(coordinates)
    return total - total == 0.0 or all(-inf < each < inf for each in coordinates)


def known_or_none(coordinate: float) -> float | None:
    """None for NaN."""
    return None if isnan(coordinate) else coordinate


def increments(
    correction: Correction, grown: Sequence[float], loads: Sequence[float], factors: Sequence[float]
) -> Increments:
    """The sums of increments (in the register's unit and on its side) at known loads and power factors."""
    grid, cells, ratio, angle = correction.grid, correction.cells, correction.ratio, correction.angle
    xs, ts, needs_t = grid.xs, grid.ts, correction.needs_t
    nt = len(ts)
    last_i, last_j = max(len(xs) - 2, 0), max(nt - 2, 0)
    right, above = nt if len(xs) > 1 else 0, 1 if nt > 1 else 0
    outside_load, outside_t = float(correction.table.outside_load), float(correction.table.outside_t)
    repeatability = correction.repeatability
    excess = variance = extrapolation = t = b = 0.0
    outside = any_grown = False
    nodes = [0.0] * (len(xs) * nt)
    for increment, load, factor in zip(grown, loads, factors, strict=True):
        if not increment:
            continue
        any_grown = True
        x = load if load >= 0.0 else -load
        i = min(max(bisect_right(xs, x) - 1, 0), last_i)
        low, high = xs[i], xs[i + 1] if right else xs[i] + 1.0
        a = 0.0 if x <= low else 1.0 if x >= high else (x - low) / (high - low)
        extra, j = 0.0, 0
        if x < grid.low or x > grid.high:
            extra, outside = outside_load, True
        if needs_t:
            t = operating_t(angle, factor)
            j = min(max(bisect_right(ts, t) - 1, 0), last_j)
            low, high = ts[j], ts[j + 1] if above else ts[j] + 1.0
            b = 0.0 if t <= low else 1.0 if t >= high else (t - low) / (high - low)
            beyond = grid.t_low - t if t < grid.t_low else t - grid.t_high
            if beyond > 0.0:
                extra += outside_t * beyond
                outside = outside or beyond > T_NEAR
        p, q, r, s = cells[i * (last_j + 1) + j]
        error = p + q * a + r * b + s * (a * b)
        indicated = increment * ratio
        g = -indicated / (1.0 + error / 100.0) / (100.0 + error)
        excess -= indicated * (error / (100.0 + error))
        c = g * repeatability
        variance += c * c
        extrapolation += g * extra
        node = i * nt + j
        far = g * a
        near = g - far
        if b:
            nodes[node + above] += near * b
            nodes[node + right + above] += far * b
            near, far = near * (1.0 - b), far * (1.0 - b)
        nodes[node] += near
        nodes[node + right] += far
    sums = {node: total for node, total in enumerate(nodes) if total}
    return Increments(excess, variance, sums, extrapolation, outside, any_grown)
