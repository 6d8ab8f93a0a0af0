"""Truncated Taylor series in several variables: arithmetic that carries the derivatives (forward-mode differentiation).

Exact to rounding, up to the third order that GUM H.1.7 needs; the coefficients are numbers or arrays.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Number: TypeAlias = "float | Array"
Operand: TypeAlias = "float | Array | Series"
Monomial: TypeAlias = tuple[int, ...]  # sorted indexes of variables: () is the value, (0, 1, 1) is x0·x1²


class Series:
    """A truncated Taylor polynomial about the estimates of the inputs. Immutable.

    ``terms`` maps monomials in the deviations of the inputs to coefficients; ``degree`` is 1 (gradient) or 3.
    Of the third degree only those monomials are kept that the GUM's higher-order terms use (no three
    different variables).
    """

    __array_ufunc__ = None
    __slots__ = ("degree", "terms")

    def __init__(self, terms: dict[Monomial, Number], degree: int) -> None:
        self.terms = terms
        self.degree = degree

    @classmethod
    def variable(cls, index: int, value: Number, degree: int = 1) -> Series:
        """The input with this index, at its estimate."""
        return cls({(): value, (index,): 1.0}, degree)

    @property
    def value(self) -> Number:
        """The value at the estimates."""
        return self.terms[()]

    def coefficient(self, *monomial: int) -> Number:
        """The coefficient of a monomial (0 where it does not occur)."""
        return self.terms.get(tuple(sorted(monomial)), 0.0)

    def __add__(self, other: Operand) -> Series:
        if not isinstance(other, Series):
            return Series({**self.terms, (): self.value + other}, self.degree)
        terms = dict(self.terms)
        for monomial, coefficient in other.terms.items():
            terms[monomial] = terms[monomial] + coefficient if monomial in terms else coefficient
        return Series(terms, self.degree)

    __radd__ = __add__

    def __neg__(self) -> Series:
        return self.scaled(-1.0)

    def __sub__(self, other: Operand) -> Series:
        return self + (-other)

    def __rsub__(self, other: Number) -> Series:
        return self.scaled(-1.0) + other

    def __mul__(self, other: Operand) -> Series:
        if not isinstance(other, Series):
            return self.scaled(other)
        result: dict[Monomial, Number] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                if len(left) + len(right) > self.degree:
                    continue
                monomial = tuple(sorted(left + right))
                if len(monomial) == 3 and len(set(monomial)) == 3:
                    continue
                result[monomial] = result[monomial] + a * b if monomial in result else a * b
        return Series(result, self.degree)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Series:
        if isinstance(other, Series):
            return self * power_series(other, -1.0)
        if not isinstance(other, np.ndarray) and other == 0.0:
            raise ZeroDivisionError
        return self.scaled(1.0 / other)

    def __rtruediv__(self, other: Number) -> Series:
        return power_series(self, -1.0).scaled(other)

    def scaled(self, factor: Number) -> Series:
        """The series times a number."""
        return Series({monomial: c * factor for monomial, c in self.terms.items()}, self.degree)

    def composed(self, derivatives: tuple[Number, Number, Number, Number]) -> Series:
        """f(self), given f and its first three derivatives at the value (chain rule, Faà di Bruno)."""
        f0, f1, f2, f3 = derivatives
        shift = Series({m: c for m, c in self.terms.items() if m}, self.degree)
        result = shift.scaled(f1)
        if self.degree > 1:
            square = shift * shift
            result = result + square.scaled(f2 / 2.0) + (square * shift).scaled(f3 / 6.0)
        result.terms[()] = f0
        return result


def power_series(base: Series, exponent: float) -> Series:
    """A series to the power of a number."""
    x = base.value
    if exponent < 0.0 and not isinstance(x, np.ndarray) and x == 0.0:
        raise ZeroDivisionError
    factors = 1.0
    derivatives: list[Any] = []
    for order in range(4):
        power = exponent - order
        # A vanished factor ends it: x² has no third derivative, not even at 0 where 0**-1 would be infinite.
        derivatives.append(factors * _raised(x, power) if factors else 0.0 * x)
        factors *= power
        if base.degree == 1 and order == 1:
            derivatives += [0.0, 0.0]
            break
    return base.composed((derivatives[0], derivatives[1], derivatives[2], derivatives[3]))


def _raised(x: Number, exponent: float) -> Number:
    return np.power(x, exponent) if isinstance(x, np.ndarray) else math.pow(x, exponent)
