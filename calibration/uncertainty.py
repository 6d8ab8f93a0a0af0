"""Values that carry their uncertainty by source, so that correlation comes out right by itself.

An :class:`Uncertain` is ``(y, {source id: c}, r2)``: ``c`` is the signed contribution of a source of
uncertainty in the unit of y (the partial derivative times the source's standard uncertainty; sources have
unit variance and are independent of each other), ``r2`` the variance of a random part that belongs to this
value alone. Then u² = Σ c² + r2, the same reference standard is the same source wherever it was used, and
sums need no correlation matrix (JCGM 100 5.2.2).

y may be an array over readings: contributions are arrays of its shape (or one number for all readings), and
the random parts of different readings are independent of each other.

A random part must not enter a result twice as if it were two. Values remember whose random part they hold:
the same object used twice is handled exactly (``x - x`` is 0 ± 0, ``x * x`` has the derivative 2x), and two
different objects that hold the same random part are refused until it has been given a name with
:meth:`Uncertain.promote`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from calibration.coverage import DEFAULT_RULE, CoverageRule, Expanded, choose_factor
from calibration.randompart import (
    NO_PARTS,
    SHARED,
    Parts,
    RandomPart,
    Seen,
    SharedRandomPartError,
    family,
    joined,
    overlap,
)
from calibration.uncertainty_source import UncertaintySource

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    from calibration import lazy_numpy as np

__all__ = [
    "RECTANGULAR",
    "Array",
    "SharedRandomPartError",
    "Uncertain",
    "UncertaintySource",
    "Value",
    "combine",
    "correlated",
    "correlation",
    "covariance",
    "mean",
    "semidefinite_factor",
    "total",
    "welch_satterthwaite",
]

Array: TypeAlias = "npt.NDArray[np.float64]"
Value: TypeAlias = "float | Array"
Exact: TypeAlias = "float | Decimal | Fraction | Array"

RECTANGULAR = frozenset({"uniform", "rectangular"})


class Uncertain:
    """A measured value, or an array of them, with its uncertainty by source. Immutable.

    Attributes:
        y: the best estimate, a float or an array over readings.
        contributions: source id -> signed contribution c, in y's unit.
        r2: variance of the random part that no other value has, in y's unit squared.
        parts: whose random part it is; kept by the operations, of no use outside.
    """

    __array_ufunc__ = None  # numpy leaves "array * Uncertain" to us
    __hash__ = object.__hash__
    __slots__ = ("contributions", "parts", "r2", "y")

    y: Value
    contributions: Mapping[str, Value]
    r2: Value
    parts: Parts

    def __init__(
        self,
        y: Exact,
        contributions: Mapping[str, Exact] | None = None,
        r2: Exact = 0.0,
        *,
        parts: Parts | None = None,
    ) -> None:
        """Refuses non-finite numbers, a negative r2, and shapes that do not fit."""
        value, variance = _number(y, "y"), _number(r2, "r2")
        named: dict[str, Value] = {}
        if contributions:
            for name, c in contributions.items():
                named[name] = _number(c, name)
        shape = _shape(value)
        if type(variance) is float:  # the usual case, without numpy's overhead
            negative, random = variance < 0.0, variance > 0.0
        else:
            negative, random = bool(np.any(np.less(variance, 0.0))), bool(np.any(variance))
        if negative:
            raise ValueError(f"the random variance r2 can't be negative: {r2!r}")
        for what, number in (("r2", variance), *named.items()):
            if type(number) is not float and np.shape(number) != shape:
                raise ValueError(f"{what} has the shape {np.shape(number)}, but y has {shape}")
        if parts is None:
            parts = {RandomPart(shape): None} if random else NO_PARTS
        self._fill(value, named, variance, parts)

    def _fill(self, y: Value, contributions: dict[str, Value], r2: Value, parts: Parts) -> None:
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "contributions", contributions)
        object.__setattr__(self, "r2", r2)
        object.__setattr__(self, "parts", parts)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Uncertain is immutable: {name} can't be set")

    def __repr__(self) -> str:
        if self.is_array:
            return f"<Uncertain array {np.shape(self.y)}, {len(self.contributions)} sources>"
        return f"<Uncertain {self.y:.12g} ± {self.u:.3g}, {len(self.contributions)} sources>"

    # ----------------------------------------------------------------------------------------- how it is made

    @classmethod
    def random(cls, y: Exact, u: Exact) -> Uncertain:
        """A value whose whole standard uncertainty u is its own random part."""
        spread = _number(u, "u")
        if spread < 0.0 if isinstance(spread, float) else np.any(np.less(spread, 0.0)):
            raise ValueError(f"a standard uncertainty can't be negative: {u!r}")
        return cls(y, {}, spread * spread)

    @classmethod
    def of_source(cls, y: Exact, source: UncertaintySource | str, c: Exact) -> Uncertain:
        """A value that is uncertain by one named source alone, with the signed contribution c."""
        return cls(y, {_source_id(source): c})

    # ------------------------------------------------------------------------------------------- what it says

    @property
    def is_array(self) -> bool:
        """Whether this is an array over readings."""
        return not isinstance(self.y, float)

    @property
    def variance(self) -> Value:
        """u²."""
        total = self.r2
        for c in self.contributions.values():
            total = total + c * c
        return np.broadcast_to(total, np.shape(self.y)) if self.is_array else float(total)

    @property
    def u(self) -> Value:
        """Combined standard uncertainty."""
        variance = self.variance
        return math.sqrt(variance) if isinstance(variance, float) else np.sqrt(variance)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of y: () for a scalar."""
        return () if isinstance(self.y, float) else self.y.shape

    def __len__(self) -> int:
        return len(cast(Array, self.y)) if self.is_array else _refuse_scalar("has no length")

    def __getitem__(self, key: Any) -> Uncertain:
        """One reading, or some of them."""
        if not self.is_array:
            _refuse_scalar("can't be indexed")
        shape = self.shape
        y = cast(Array, self.y)[key]

        def pick(number: Value) -> Value:
            return number if type(number) is float else _plain(cast(Array, number)[key])

        parts: Parts = {}
        if self.parts:
            if len(shape) == 1 and isinstance(key, int):
                chosen = frozenset((key % shape[0],))
            else:
                chosen = frozenset(np.ravel(np.arange(math.prod(shape)).reshape(shape)[key]).tolist())
            for part, elements in self.parts.items():
                aligned = part.shape == shape and elements is None
                parts[part] = chosen if aligned else elements
        return _make(_plain(y), {s: pick(c) for s, c in self.contributions.items()}, pick(self.r2), parts)

    # --------------------------------------------------------------------------------------------- arithmetic

    def __add__(self, other: Uncertain | Exact) -> Uncertain:
        if isinstance(other, Uncertain):
            return combine(self.y + other.y, ((self, 1.0), (other, 1.0)))
        return self._shifted(self.y + _number(other, "term"))

    __radd__ = __add__

    def __sub__(self, other: Uncertain | Exact) -> Uncertain:
        if isinstance(other, Uncertain):
            return combine(self.y - other.y, ((self, 1.0), (other, -1.0)))
        return self._shifted(self.y - _number(other, "term"))

    def __rsub__(self, other: Exact) -> Uncertain:
        number = _number(other, "term")
        return combine(number - self.y, ((self, -1.0),))

    def __neg__(self) -> Uncertain:
        return combine(-self.y, ((self, -1.0),))

    def __pos__(self) -> Uncertain:
        return self

    def __mul__(self, other: Uncertain | Exact) -> Uncertain:
        if isinstance(other, Uncertain):
            return combine(self.y * other.y, ((self, other.y), (other, self.y)))
        factor = _number(other, "factor")
        return combine(self.y * factor, ((self, factor),))

    __rmul__ = __mul__

    def __truediv__(self, other: Uncertain | Exact) -> Uncertain:
        if isinstance(other, Uncertain):
            _check_divisor(other.y)
            quotient = self.y / other.y
            return combine(quotient, ((self, 1.0 / other.y), (other, -quotient / other.y)))
        divisor = _number(other, "divisor")
        _check_divisor(divisor)
        return combine(self.y / divisor, ((self, 1.0 / divisor),))

    def __rtruediv__(self, other: Exact) -> Uncertain:
        _check_divisor(self.y)
        quotient = _number(other, "dividend") / self.y
        return combine(quotient, ((self, -quotient / self.y),))

    def __pow__(self, exponent: Exact) -> Uncertain:
        """Power with an exact exponent."""
        n = _number(exponent, "exponent")
        return combine(self.y**n, ((self, n * self.y ** (n - 1.0)),))

    def _shifted(self, y: Value) -> Uncertain:
        if _shape(y) == self.shape:
            return _make(y, dict(self.contributions), self.r2, self.parts)
        return combine(y, ((self, 1.0),))  # a scalar spread over an array

    # ------------------------------------------------------------------------------------------------- totals

    def sum(self, axis: int | None = None) -> Uncertain:
        """Total over readings: contributions add with their sign, random parts in quadrature.

        ``axis`` None sums everything; else the axis to sum over (time, instruments).
        """
        if not self.is_array:
            _refuse_scalar("can't be summed over readings")
        shape = self.shape
        y = cast(Array, self.y)
        count = y.size if axis is None else shape[axis]

        def add(number: Value) -> Value:
            if np.ndim(number):
                return _plain(np.add.reduce(cast(Array, number), axis=axis))
            return number * count

        total = _plain(np.add.reduce(y, axis=axis))
        parts = self.parts
        if parts and np.ndim(total):  # its elements are independent of each other again, as a new array's are
            parts = {RandomPart(np.shape(total), family(parts)): None}
        return _make(total, {s: add(c) for s, c in self.contributions.items()}, add(self.r2), parts)

    def mean(self, axis: int | None = None) -> Uncertain:
        """Arithmetic mean over readings."""
        if not self.is_array:
            _refuse_scalar("can't be averaged over readings")
        count = cast(Array, self.y).size if axis is None else self.shape[axis]
        if count == 0:
            raise ValueError("there is no mean of no readings")
        return self.sum(axis) / float(count)

    # -------------------------------------------------------------------------------------------------- names

    def promote(self, source: UncertaintySource | str) -> Uncertain:
        """The same value with its random part turned into a named source, to be used more than once.

        Take the result in place of this value everywhere. Refused for arrays, whose readings have independent
        random parts (one name would correlate them fully): index the readings first. Refused if the source is
        in use here.
        """
        name = _source_id(source)
        if self.is_array:
            raise ValueError(
                "an array's readings have independent random parts, and one source would correlate them all: "
                "index the reading and promote that"
            )
        if name in self.contributions:
            raise ValueError(f"{name} contributes to this value already: a random part needs its own source")
        if not self.r2:
            return self
        return _make(self.y, {**self.contributions, name: math.sqrt(cast(float, self.r2))}, 0.0, NO_PARTS)

    # ----------------------------------------------------------------------------------------------- coverage

    def effective_dof(
        self, sources: Mapping[str, UncertaintySource] | None = None, r2_dof: float = math.inf
    ) -> float:
        """Effective degrees of freedom by Welch-Satterthwaite (GUM G.4.1); ``inf``: all is known exactly.

        Sources of one ensemble (the parameters of one fit) count as one term. A source that ``sources`` does
        not list counts as known exactly.

        Args:
            sources: id -> source, for the degrees of freedom.
            r2_dof: degrees of freedom of the random part.
        """
        self._need_scalar("degrees of freedom")
        terms: dict[str, tuple[float, float]] = {}
        for name, c in self.contributions.items():
            source = sources.get(name) if sources else None
            if source is None or source.dof is None:
                continue
            key = f"ensemble {source.ensemble}" if source.ensemble else name
            before, dof = terms.get(key, (0.0, source.dof))
            if dof != source.dof:
                raise ValueError(
                    f"sources of the ensemble {source.ensemble} give different degrees of freedom ({dof:g}, "
                    f"{source.dof:g}): one fit has one number of them"
                )
            terms[key] = (before + cast(float, c) ** 2, dof)
        parts = [*terms.values(), (cast(float, self.r2), r2_dof)]
        return welch_satterthwaite(cast(float, self.variance), parts)

    def expanded(
        self,
        p: float = 0.95,
        sources: Mapping[str, UncertaintySource] | None = None,
        *,
        r2_dof: float = math.inf,
        rule: CoverageRule = DEFAULT_RULE,
    ) -> Expanded:
        """Expanded uncertainty U = k·u for coverage probability p; see :class:`CoverageRule` for k."""
        dof = self.effective_dof(sources, r2_dof)
        rectangular = tuple(
            cast(float, c)
            for name, c in self.contributions.items()
            if sources and name in sources and sources[name].dist in RECTANGULAR
        )
        u = cast(float, self.u)
        k = choose_factor(p, dof, rectangular, u, rule)
        return Expanded(k, k * u, dof)

    def _need_scalar(self, what: str) -> None:
        if self.is_array:
            raise ValueError(f"{what} are asked of one value: sum the readings or index one of them first")


# ---------------------------------------------------------------------------------------- functions of values


def combine(y: Exact, terms: Iterable[tuple[Uncertain, Exact]]) -> Uncertain:
    """Any function of uncertain values: its value and, for each argument, the partial derivative (GUM 5.1.2).

    An argument may be named twice: its partial derivatives add. Different arguments that hold the same random
    part are refused.

    Args:
        y: the function's value.
        terms: pairs of argument and partial derivative (a number, or an array of y's shape).
    """
    value = _number(y, "y")
    merged: dict[int, tuple[Uncertain, Value]] = {}
    for argument, derivative in terms:
        slope = _number(derivative, "partial derivative")
        seen = merged.get(id(argument))
        merged[id(argument)] = (argument, slope if seen is None else seen[1] + slope)
    named: dict[str, Value] = {}
    variance: Value = 0.0
    parts: Parts = NO_PARTS
    shape = _shape(value)
    for argument, slope in merged.values():
        for name, c in argument.contributions.items():
            before = named.get(name)
            named[name] = c * slope if before is None else before + c * slope
        if argument.parts:
            if argument.shape != shape:
                raise SharedRandomPartError(
                    "a single value with a random part meets an array of readings, which would all share it. "
                    "Promote the single value's random part to a named source first"
                )
            parts = joined(parts, argument.parts)
            variance = variance + argument.r2 * slope * slope
    if shape:  # a column that met a table: every element gets its own number, so that totals count them all
        for name, c in named.items():
            if type(c) is not float and np.shape(c) != shape:
                named[name] = np.broadcast_to(c, shape)
    return _make(value, named, variance, parts)


def total(values: Iterable[Uncertain]) -> Uncertain:
    """The sum of many values (instruments, intervals); 0 for none. Faster than adding one by one."""
    y: Value = 0.0
    variance: Value = 0.0
    named: dict[str, Value] = {}
    seen = Seen()
    shape: tuple[int, ...] | None = None
    for value in values:
        if shape is None:
            shape = value.shape
        elif shape != value.shape:
            raise ValueError(
                f"values of the shapes {shape} and {value.shape} can't be totalled: sum the arrays first"
            )
        y = y + value.y
        variance = variance + value.r2
        for name, c in value.contributions.items():
            named[name] = named[name] + c if name in named else c
        if value.parts:
            seen.add(value.parts)
    return _make(y, named, variance, seen.parts)


def mean(values: Sequence[Uncertain]) -> Uncertain:
    """The arithmetic mean of many values."""
    if not values:
        raise ValueError("there is no mean of no values")
    return total(values) / float(len(values))


def covariance(a: Uncertain, b: Uncertain) -> Value:
    """Covariance of two values: Σ c_a·c_b over the sources that they share."""
    if a is b:
        return a.variance
    if overlap(a.parts, b.parts):
        raise SharedRandomPartError(SHARED)
    result: Value = 0.0
    for name, c in a.contributions.items():
        other = b.contributions.get(name)
        if other is not None:
            result = result + c * other
    return result


def correlation(a: Uncertain, b: Uncertain) -> Value:
    """Correlation coefficient of two values; 0 where either of them has no uncertainty."""
    scale = a.u * b.u
    shared = covariance(a, b)
    if isinstance(scale, float):
        return shared / scale if scale > 0.0 else 0.0
    return np.divide(shared, scale, out=np.zeros(scale.shape), where=scale > 0.0)


def correlated(
    values: Sequence[float], covariance_matrix: npt.ArrayLike, sources: Sequence[UncertaintySource | str]
) -> tuple[Uncertain, ...]:
    """Correlated values, such as the parameters of a fit, on independent sources (Cholesky factor).

    Give the sources the fit's ``dof`` and one ``ensemble`` text. A singular covariance matrix is fine.

    Raises:
        ValueError: not symmetric, not positive semi-definite, or another number of sources than of values.
    """
    matrix = np.asarray(covariance_matrix, dtype=np.float64)
    size = len(values)
    if matrix.shape != (size, size) or len(sources) != size:
        raise ValueError(f"{size} values need a {size} x {size} covariance matrix and {size} sources")
    factor = semidefinite_factor(matrix)
    names = [_source_id(source) for source in sources]
    if len(set(names)) != size:
        raise ValueError("every value of a correlated set needs its own source (tell them apart by quantity)")
    return tuple(
        Uncertain(values[i], {names[j]: float(factor[i, j]) for j in range(size) if factor[i, j] != 0.0})
        for i in range(size)
    )


def semidefinite_factor(matrix: Array) -> Array:
    """L with L·Lᵀ = matrix, lower triangular, for a symmetric positive semi-definite matrix.

    Raises:
        ValueError: the matrix is not symmetric or not positive semi-definite (beyond rounding).
    """
    if not np.all(np.isfinite(matrix)):
        raise ValueError("the matrix holds a number that is not finite")
    scale = np.sqrt(np.abs(np.diag(matrix)))
    scale[scale == 0.0] = 1.0
    unit = matrix / np.outer(scale, scale)
    if not np.allclose(unit, unit.T, rtol=0.0, atol=1e-12):
        raise ValueError("the matrix is not symmetric: the entry for (a, b) must equal the one for (b, a)")
    if unit.size and float(np.linalg.eigvalsh(unit)[0]) < -1e-9:
        raise ValueError("the matrix is not positive semi-definite: no variables can be correlated like this")
    size = len(unit)
    lower = np.zeros((size, size))
    for j in range(size):
        pivot = unit[j, j] - float(lower[j, :j] @ lower[j, :j])
        if pivot <= 1e-13:  # this variable is a combination of the earlier ones
            continue
        lower[j, j] = math.sqrt(pivot)
        lower[j + 1 :, j] = (unit[j + 1 :, j] - lower[j + 1 :, :j] @ lower[j, :j]) / lower[j, j]
    return lower * scale[:, None]


def welch_satterthwaite(variance: float, terms: Iterable[tuple[float, float]]) -> float:
    """Effective degrees of freedom u⁴ / Σ(uᵢ⁴/νᵢ) from pairs (uᵢ², νᵢ) of independent terms (GUM G.4.1)."""
    if variance <= 0.0:
        return math.inf
    inverse = sum((part / variance) ** 2 / dof for part, dof in terms if part > 0.0)
    return 1.0 / inverse if inverse > 0.0 else math.inf


# ------------------------------------------------------------------------------------------- behind the scene


def _make(y: Value, contributions: dict[str, Value], r2: Value, parts: Parts) -> Uncertain:
    """An Uncertain from numbers that are known to be in order."""
    result = object.__new__(Uncertain)
    result._fill(y, contributions, r2, parts)
    return result


def _number(number: Exact, what: str) -> Value:
    if type(number) is float and math.isfinite(number):
        return number
    if not isinstance(number, float | int | Decimal | Fraction) and isinstance(number, np.ndarray):
        array = np.asarray(number, dtype=np.float64)
        # One pass over the array, without a temporary one, for the usual case that all is well.
        if not math.isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
            raise ValueError(f"{what} holds a number that is not finite")
        return array if array.ndim else float(array)
    result = float(number)
    if not math.isfinite(result):
        raise ValueError(f"{what} is not a finite number: {number}")
    return result


def _shape(number: Value) -> tuple[int, ...]:
    return () if isinstance(number, float) else np.shape(number)


def _plain(number: Any) -> Value:
    return number if isinstance(number, np.ndarray) and number.ndim else float(number)


def _source_id(source: UncertaintySource | str) -> str:
    return source if isinstance(source, str) else source.id


def _check_divisor(divisor: Value) -> None:
    if divisor == 0.0 if isinstance(divisor, float) else np.any(np.equal(divisor, 0.0)):
        raise ZeroDivisionError("division by a value that is zero")


def _refuse_scalar(what: str) -> Any:
    raise TypeError(f"a single value {what}")
