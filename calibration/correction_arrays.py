"""A correction over arrays: many indications at once.

The same measurement model as :mod:`calibration.correction`, element by element the same bits as its hot path. It is
a module of its own because it is the one that needs numpy, which takes more memory than everything else that a
gateway loads: an agent corrects reading by reading and never comes here.

In the coordinates, NaN is "not known".
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from calibration.correction import Correction
from calibration.curve import T_LIMIT, T_NEAR, Angle

Floats: TypeAlias = npt.NDArray[np.float64]
Indexes: TypeAlias = npt.NDArray[np.intp]
Truths: TypeAlias = npt.NDArray[np.bool_]


def corrected(
    correction: Correction, values: Floats, load_a: Floats | None, power_factor: Floats | None
) -> tuple[Floats, Floats, Truths]:
    """y, u and "flagged beyond the flags of the whole state" of many indications."""
    y, u = np.empty_like(values), np.empty_like(values)
    flagged = np.zeros(values.shape, dtype=np.bool_)
    own = values if correction.signed else np.abs(values)
    x = own / correction.scale if correction.own else _loads(correction, values, load_a)
    t = _phases(correction, values, power_factor)
    known = ~(np.isnan(x) | np.isnan(t))
    if known.any():
        y[known], u[known], flagged[known] = _known(correction, values[known], x[known], t[known])
    for k in map(int, np.flatnonzero(~known)):
        load, factor = _known_or_none(load_a, k), _known_or_none(power_factor, k)
        y.flat[k], u.flat[k], _, _ = correction(float(values.flat[k]), load, factor)
        flagged.flat[k] = True
    return y, u, flagged


def _loads(correction: Correction, values: Floats, load_a: Floats | None) -> Floats:
    if not correction.needs_x and load_a is None:
        return np.full(values.shape, correction.grid.low)
    if load_a is None:
        return np.full(values.shape, np.nan)
    x = np.broadcast_to(np.abs(load_a), values.shape)
    return x if correction.needs_x else np.where(np.isnan(x), correction.grid.low, x)


def _phases(correction: Correction, values: Floats, power_factor: Floats | None) -> Floats:
    if not correction.needs_t:
        return np.zeros(values.shape)
    if power_factor is None:
        return np.full(values.shape, np.nan)
    p = np.broadcast_to(np.asarray(power_factor, dtype=np.float64), values.shape)
    root = np.sqrt(np.maximum(0.0, 1.0 - p * p))
    above, below = (root, p) if correction.angle is Angle.TAN else (p, root)
    limit = np.where(p >= 0.0, T_LIMIT, -T_LIMIT)
    held = np.abs(above) >= T_LIMIT * np.abs(below)
    t = np.where(held, limit, above / np.where(held, 1.0, below))
    return np.where(np.isnan(p), np.nan, np.where(above == 0.0, 0.0, t))


def _place(correction: Correction, x: Floats, t: Floats) -> tuple[Indexes, Floats, Floats]:
    grid = correction.grid
    i, a = _positions(np.asarray(grid.xs), x)
    j, b = _positions(np.asarray(grid.ts), t)
    return i * max(len(grid.ts) - 1, 1) + j, a, b


def _away(correction: Correction, x: Floats, t: Floats) -> tuple[Floats, Truths]:
    grid, table = correction.grid, correction.table
    away = (x < grid.low) | (x > grid.high)
    extra = np.where(away, float(table.outside_load), 0.0)
    if correction.needs_t:
        beyond = np.where(t < grid.t_low, grid.t_low - t, np.where(t > grid.t_high, t - grid.t_high, 0.0))
        extra = np.where(beyond > 0.0, extra + float(table.outside_t) * beyond, extra)
        away |= beyond > T_NEAR
    return extra, away


def _known(correction: Correction, values: Floats, x: Floats, t: Floats) -> tuple[Floats, Floats, Truths]:
    k, a, b = _place(correction, x, t)
    ab = a * b
    p, q, r, s = np.asarray(correction.cells)[k].T
    e = p + q * a + r * b + s * ab
    if correction.relative:
        y = values * correction.ratio / (1.0 + e / 100.0)
        g = -y / (100.0 + e)
    else:
        y = (values - e) * correction.ratio
        g = np.full(values.shape, -correction.ratio)
    extra, away = _away(correction, x, t)
    c = g * correction.repeatability
    rest = correction.resolution_variance + c * c
    best = np.zeros_like(y)
    for bound in correction.wanted:
        total = rest.copy()
        corners = np.asarray(correction.corners(bound))
        for n in range(corners.shape[1] if corners.size else 0):
            p, q, r, s = corners[:, n][k].T
            c = g * (p + q * a + r * b + s * ab)
            total += c * c
        c = g * extra
        total += c * c
        best = np.maximum(best, total)
    return y, np.sqrt(best), away


def _positions(axis: Floats, values: Floats) -> tuple[Indexes, Floats]:
    n = len(axis)
    i = np.clip(np.searchsorted(axis, values, side="right") - 1, 0, max(n - 2, 0))
    if n == 1:
        return i, np.zeros_like(values)
    low, high = axis[i], axis[i + 1]
    span = np.where(high > low, high - low, 1.0)
    inner = (values - low) / span
    return i, np.where(values >= high, 1.0, np.where(values <= low, 0.0, inner))


def _known_or_none(values: Floats | None, k: int) -> float | None:
    return None if values is None or np.isnan(values.flat[k]) else float(values.flat[k])
