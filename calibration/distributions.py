"""Input quantities of a measurement model: estimate, standard uncertainty and distribution.

Standard uncertainties from half-widths after GUM 4.3.7-4.3.9 and EA-4/02; draws after JCGM 101 6.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

NORMAL, UNIFORM, TRIANGULAR, ARCSINE, TRAPEZOIDAL, CURVILINEAR = (
    "normal",
    "uniform",
    "triangular",
    "arcsine",
    "trapezoidal",
    "curvilinear-trapezoidal",
)

# Names under which people know them -> the one name that is kept.
DISTRIBUTIONS: Mapping[str, str] = {
    "normal": NORMAL,
    "gaussian": NORMAL,
    "t": NORMAL,  # a normal one whose u has finite degrees of freedom
    "uniform": UNIFORM,
    "rectangular": UNIFORM,
    "resolution": UNIFORM,
    "triangular": TRIANGULAR,
    "arcsine": ARCSINE,
    "u-shaped": ARCSINE,
    "trapezoidal": TRAPEZOIDAL,
    "curvilinear-trapezoidal": CURVILINEAR,
    "ctrap": CURVILINEAR,  # a rectangle whose limits are not known exactly (JCGM 101 6.4.3)
}


def divisor(dist: str, beta: float = 0.0) -> float:
    """Half-width over standard uncertainty of a bounded distribution.

    ``beta``: of a trapezoid, its top over its base; of a curvilinear trapezoid, how far the half-width may be
    off, over the half-width (d/a: u² = a²/3 + d²/9).

    Raises:
        KeyError: a distribution without bounds.
    """
    return {
        UNIFORM: math.sqrt(3.0),
        TRIANGULAR: math.sqrt(6.0),
        ARCSINE: math.sqrt(2.0),
        TRAPEZOIDAL: math.sqrt(6.0 / (1.0 + beta * beta)),
        CURVILINEAR: 1.0 / math.sqrt(1.0 / 3.0 + beta * beta / 9.0),
    }[dist]


@dataclass(frozen=True, slots=True)
class Quantity:
    """An input quantity (输入量) of a measurement model.

    Attributes:
        name: as in the model.
        value: its estimate.
        u: its standard uncertainty, same unit.
        dist: one of the values of :data:`DISTRIBUTIONS`.
        dof: degrees of freedom of u, ``inf`` when known exactly.
        beta: top over base of a trapezoid; d/a of a curvilinear one (see :func:`divisor`).
        unit: text for the reader.
        common_dof: the dof is stated together with correlations: quantities that are correlated and share it
            come from
            one ensemble (one fit), whose variance carries that dof. Not so for dof counted from separate
            data.
    """

    name: str
    value: float
    u: float = 0.0
    dist: str = NORMAL
    dof: float = math.inf
    beta: float = 0.0
    unit: str = ""
    common_dof: bool = True

    def __post_init__(self) -> None:
        if self.dist not in DISTRIBUTIONS.values():
            raise ValueError(f"{self.name}: unknown distribution {self.dist!r}")
        if not math.isfinite(self.value) or not math.isfinite(self.u):
            raise ValueError(f"{self.name}: value and u must be finite numbers")
        if self.u < 0.0:
            raise ValueError(f"{self.name}: a standard uncertainty can't be negative")
        if not self.dof > 0.0:
            raise ValueError(f"{self.name}: degrees of freedom must be positive")
        if not 0.0 <= self.beta <= 1.0:
            raise ValueError(f"{self.name}: beta lies between 0 and 1")

    @property
    def half_width(self) -> float:
        """Half the width of a bounded distribution (a curvilinear trapezoid: its mean); ``inf`` for a normal one."""
        return math.inf if self.dist == NORMAL else self.u * divisor(self.dist, self.beta)

    @property
    def reach(self) -> float:
        """How far from its estimate a quantity can lie, in its u; ``inf`` where there is no bound."""
        if self.dist == NORMAL:
            return math.inf
        return divisor(self.dist, self.beta) * (1.0 + self.beta if self.dist == CURVILINEAR else 1.0)

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Random draws, shape (count,). A normal quantity with finite dof draws from the scaled t distribution."""
        return _DRAW[self.dist](self, rng, count)


def _draw_normal(q: Quantity, rng: np.random.Generator, count: int) -> Array:
    z = rng.standard_normal(count) if math.isinf(q.dof) else rng.standard_t(q.dof, count)
    z *= q.u
    z += q.value
    return z


def _draw_uniform(q: Quantity, rng: np.random.Generator, count: int) -> Array:
    z = rng.random(count)
    z -= 0.5
    z *= 2.0 * q.half_width
    z += q.value
    return z


def _draw_triangular(q: Quantity, rng: np.random.Generator, count: int) -> Array:
    return q.value + q.half_width * (rng.random(count) - rng.random(count))


def _draw_arcsine(q: Quantity, rng: np.random.Generator, count: int) -> Array:
    return q.value + q.half_width * np.sin(2.0 * math.pi * rng.random(count))


def _draw_trapezoidal(q: Quantity, rng: np.random.Generator, count: int) -> Array:
    """The sum of two rectangular variables of the half-widths a(1 ± beta)/2."""
    wide, narrow = 0.5 * (1.0 + q.beta) * q.half_width, 0.5 * (1.0 - q.beta) * q.half_width
    return q.value + wide * (2.0 * rng.random(count) - 1.0) + narrow * (2.0 * rng.random(count) - 1.0)


def _draw_curvilinear(q: Quantity, rng: np.random.Generator, count: int) -> Array:
    """Rectangular over a half-width that is itself rectangular over a(1 ± beta): JCGM 101 6.4.3.4."""
    half_width = q.half_width * (1.0 + q.beta * (2.0 * rng.random(count) - 1.0))
    return q.value + half_width * (2.0 * rng.random(count) - 1.0)


_DRAW: Mapping[str, Callable[[Quantity, np.random.Generator, int], Array]] = {
    NORMAL: _draw_normal,
    UNIFORM: _draw_uniform,
    TRIANGULAR: _draw_triangular,
    ARCSINE: _draw_arcsine,
    TRAPEZOIDAL: _draw_trapezoidal,
    CURVILINEAR: _draw_curvilinear,
}


def correlated_groups(correlations: Array) -> list[list[int]]:
    """Indexes of the inputs in groups that are correlated with each other, directly or through others."""
    size = len(correlations)
    seen: set[int] = set()
    groups = []
    for start in range(size):
        if start in seen:
            continue
        group, waiting = [], [start]
        seen.add(start)
        while waiting:
            i = waiting.pop()
            group.append(i)
            for j in range(size):
                if j not in seen and correlations[i, j] != 0.0:
                    seen.add(j)
                    waiting.append(j)
        groups.append(sorted(group))
    return groups


def ensemble_dof(quantities: list[Quantity]) -> float | None:
    """The degrees of freedom of a group of correlated inputs; None where no rule gives one.

    All known exactly: ``inf``. All with the same stated number, as the parameters of one fit have it: that
    number. Otherwise the Welch-Satterthwaite formula does not apply (GUM G.4.1 wants independent inputs).
    """
    uncertain = [q for q in quantities if q.u > 0.0]
    numbers = {q.dof for q in uncertain}
    if not numbers or numbers == {math.inf}:
        return math.inf
    if len(numbers) == 1 and all(q.common_dof for q in uncertain):
        return numbers.pop()
    return None
