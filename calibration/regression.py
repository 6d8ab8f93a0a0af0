"""Straight-line calibration functions with the covariance of their parameters (ISO/TS 28037, GUM H.3).

One algorithm serves all cases: unweighted (the spread of the residuals is the uncertainty), weighted by known
uncertainties in y, known covariances, and uncertainties in both axes (generalised distance regression). The
parameters go on as :class:`~calibration.uncertainty.Uncertain` values on the independent sources of one
ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from calibration.uncertainty import Uncertain, UncertaintySource, correlated, semidefinite_factor

Array: TypeAlias = npt.NDArray[np.float64]
_ITERATIONS = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A fitted line y = a + b·x.

    Attributes:
        a, b: intercept and slope.
        ua, ub: their standard uncertainties; ``cov`` their covariance.
        chi2: weighted sum of squared residuals; for an unweighted fit the plain sum in y's unit squared.
        s: standard deviation of the residuals of an unweighted fit; None where uncertainties were known.
        n: number of points.
    """

    a: float
    b: float
    ua: float
    ub: float
    cov: float
    chi2: float
    s: float | None
    n: int

    @property
    def dof(self) -> float:
        """Degrees of freedom of ua and ub: n - 2 where the residuals gave them, ``inf`` where u was known."""
        return math.inf if self.s is None else float(self.n - 2)

    @property
    def correlation(self) -> float:
        """Correlation coefficient of intercept and slope."""
        return self.cov / (self.ua * self.ub) if self.ua and self.ub else 0.0

    def parameters(
        self, owner: str, epoch: str = ""
    ) -> tuple[Uncertain, Uncertain, tuple[UncertaintySource, ...]]:
        """Intercept and slope on two named sources of one ensemble, and these sources.

        Args:
            owner: whose line it is (certificate or instrument id).
            epoch: the calibration that it belongs to.
        """
        dof = None if math.isinf(self.dof) else self.dof
        ensemble = f"fit {owner} {epoch}".rstrip()
        sources = tuple(
            UncertaintySource("fit", owner, epoch, quantity, dof=dof, ensemble=ensemble)
            for quantity in ("intercept", "slope")
        )
        matrix = [[self.ua**2, self.cov], [self.cov, self.ub**2]]
        a, b = correlated([self.a, self.b], matrix, sources)
        return a, b, sources

    def at(self, x: Uncertain | float, owner: str, epoch: str = "") -> Uncertain:
        """The line's value at x (GUM H.3.4)."""
        a, b, _ = self.parameters(owner, epoch)
        return a + b * x

    def solve(self, y: Uncertain | float, owner: str, epoch: str = "") -> Uncertain:
        """The x whose indication is y: inverse prediction.

        Raises:
            ZeroDivisionError: the line is level.
        """
        a, b, _ = self.parameters(owner, epoch)
        return (y - a) / b

    def observed(self, observations: Sequence[float]) -> Uncertain:
        """The mean of repeated indications, with the scatter that the fit's residuals show (QUAM A5).

        Raises:
            ValueError: no observations, or the fit had known uncertainties and so says nothing of the
                scatter.
        """
        if not observations:
            raise ValueError("at least one observation is needed")
        if self.s is None:
            raise ValueError(
                "this line was fitted to points of known uncertainty: state the observation's own u"
            )
        return Uncertain.random(float(np.mean(observations)), self.s / math.sqrt(len(observations)))


def fit_line(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    uy: npt.ArrayLike | None = None,
    ux: npt.ArrayLike | None = None,
    cov_xy: npt.ArrayLike | None = None,
) -> Line:
    """Fit y = a + b·x.

    Args:
        x: abscissae of the points, shape (n,), n >= 2 (3 where the residuals must give the uncertainty).
        y: their ordinates, shape (n,).
        uy: standard uncertainties of y, shape (n,), or their covariance matrix (n, n); None: equal and
            unknown.
        ux: the same for x; None: exact.
        cov_xy: covariance matrix of x with y, shape (n, n); needs both.

    Raises:
        ValueError: shapes that do not fit, too few or coinciding points, impossible covariance, no
            convergence.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(xs) if xs.ndim == 1 else 0
    if xs.ndim != 1 or ys.shape != xs.shape:
        raise ValueError(f"x and y must be lists of one length, got the shapes {xs.shape} and {ys.shape}")
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise ValueError("a point holds a number that is not finite")
    least = 3 if uy is None else 2
    if n < least:
        raise ValueError(f"{n} points are too few: this fit needs {least}")
    if float(np.ptp(xs)) == 0.0:
        raise ValueError("all points have the same x: they define no slope")
    if uy is None:
        if ux is not None or cov_xy is not None:
            raise ValueError("uncertainties in x need the uncertainties in y too")
        return _unweighted(xs, ys)
    vy, vx = _covariance(uy, n, "uy"), _covariance(ux, n, "ux") if ux is not None else np.zeros((n, n))
    vxy = np.zeros((n, n)) if cov_xy is None else np.asarray(cov_xy, dtype=np.float64)
    if vxy.shape != (n, n):
        raise ValueError(f"cov_xy must have the shape ({n}, {n}), got {vxy.shape}")
    if cov_xy is not None:
        semidefinite_factor(np.block([[vx, vxy], [vxy.T, vy]]))
    return _distance(xs, ys, vx, vy, vxy)


def _unweighted(x: Array, y: Array) -> Line:
    n = len(x)
    centre = float(np.mean(x))
    deviation = x - centre
    sxx = float(deviation @ deviation)
    b = float(deviation @ (y - np.mean(y))) / sxx
    a = float(np.mean(y)) - b * centre
    residuals = y - a - b * x
    chi2 = float(residuals @ residuals)
    variance = chi2 / (n - 2)
    ua = math.sqrt(variance * (1.0 / n + centre * centre / sxx))
    return Line(a, b, ua, math.sqrt(variance / sxx), -variance * centre / sxx, chi2, math.sqrt(variance), n)


def _covariance(u: npt.ArrayLike, n: int, name: str) -> Array:
    given = np.asarray(u, dtype=np.float64)
    if given.shape == (n,):
        if not np.isfinite(given).all() or bool(np.any(given < 0.0)):
            raise ValueError(f"{name} holds a number that is negative or not finite")
        return np.diag(given * given)
    if given.shape != (n, n):
        raise ValueError(f"{name} must be a list of {n} uncertainties or an {n} x {n} covariance matrix")
    semidefinite_factor(given)
    return given


def _distance(x: Array, y: Array, vx: Array, vy: Array, vxy: Array) -> Line:
    """Generalised distance regression by Gauss-Newton (ISO/TS 28037 clauses 7, 9, 10); one step where x is exact."""
    b, a = _start(x, y)
    change = math.inf
    for _ in range(_ITERATIONS):
        # z = y - a - b·x has this covariance; the adjusted abscissae are where the points' distances are
        # measured to.
        z = y - a - b * x
        vz = vy + b * b * vx - b * (vxy + vxy.T)
        try:
            lower = np.linalg.cholesky(vz)
        except np.linalg.LinAlgError:
            raise ValueError(
                "a point (or a combination of points) is exact: every point needs an uncertainty"
            ) from None
        adjusted = x - (vxy - b * vx) @ np.linalg.solve(vz, z)
        f, g, h = (np.linalg.solve(lower, v) for v in (np.ones_like(x), adjusted, z))
        ff = float(f @ f)
        g0, h0 = float(f @ g) / ff, float(f @ h) / ff
        g, h = g - g0 * f, h - h0 * f
        gg = float(g @ g)
        step_b = float(g @ h) / gg
        step_a = h0 - step_b * g0
        a, b = a + step_a, b + step_b
        before, change = (
            change,
            abs(step_b) * math.sqrt(gg) + abs(h0) * math.sqrt(ff),
        )  # in standard uncertainties
        if change < 1e-14 or (change < 1e-9 and change >= before):
            break
    else:
        raise ValueError("the fit does not converge: the uncertainties in x are too large for this slope")
    z = y - a - b * x
    vz = vy + b * b * vx - b * (vxy + vxy.T)
    chi2 = float(z @ np.linalg.solve(vz, z))
    return Line(a, b, math.sqrt(1.0 / ff + g0 * g0 / gg), math.sqrt(1.0 / gg), -g0 / gg, chi2, None, len(x))


def _start(x: Array, y: Array) -> tuple[float, float]:
    deviation = x - np.mean(x)
    b = float(deviation @ y) / float(deviation @ deviation)
    return b, float(np.mean(y)) - b * float(np.mean(x))
