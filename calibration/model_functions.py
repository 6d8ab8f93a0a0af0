"""The functions that a measurement model may use, each on numbers, arrays and Taylor series."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.taylor import Array, Operand, Series, power_series

_LN10 = math.log(10.0)


class ModelError(ValueError):
    """A measurement model or one of its inputs that can't be used: where, what, and what to do."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message


def _power(base: Operand, exponent: Operand) -> Operand:
    if isinstance(base, Series):
        if isinstance(exponent, Series):
            return call("exp", exponent * call("log", base))
        if isinstance(exponent, np.ndarray):
            raise ModelError("model", "an exponent that differs from reading to reading is not supported")
        return power_series(base, exponent)
    if isinstance(exponent, Series):
        return call("exp", exponent * call("log", base))
    if isinstance(base, np.ndarray) or isinstance(exponent, np.ndarray):
        return np.power(base, exponent)
    return math.pow(base, exponent)


def _absolute(x: Any, f: Any) -> tuple[Any, Any, Any]:
    if np.any(np.equal(x, 0.0)):
        raise ModelError("model", "abs has no derivative at 0")
    return np.sign(x), 0.0 * f, 0.0 * f


@dataclass(frozen=True, slots=True)
class _Unary:
    scalar: Callable[[float], float]
    array: Callable[[Array], Array]
    derivatives: Callable[[Any, Any], tuple[Any, Any, Any]]  # (x, f(x)) -> f', f'', f'''
    domain: str = ""


_SQRT = _Unary(
    math.sqrt,
    np.sqrt,
    lambda x, f: (0.5 / f, -0.25 / (f * x), 0.375 / (f * x * x)),
    "numbers from 0 (uncertain: above 0)",
)
_LOG = _Unary(math.log, np.log, lambda x, _: (1 / x, -1 / x**2, 2 / x**3), "numbers above 0")
_ASIN = _Unary(
    math.asin,
    np.arcsin,
    lambda x, _: ((1 - x * x) ** -0.5, x * (1 - x * x) ** -1.5, (1 + 2 * x * x) * (1 - x * x) ** -2.5),
    "numbers from -1 to 1 (uncertain: between them)",
)
_ACOS = _Unary(
    math.acos,
    np.arccos,
    lambda x, _: (-((1 - x * x) ** -0.5), -x * (1 - x * x) ** -1.5, -(1 + 2 * x * x) * (1 - x * x) ** -2.5),
    "numbers from -1 to 1 (uncertain: between them)",
)
_ATAN = _Unary(
    math.atan,
    np.arctan,
    lambda x, _: (1 / (1 + x * x), -2 * x / (1 + x * x) ** 2, (6 * x * x - 2) / (1 + x * x) ** 3),
)
UNARY: Mapping[str, _Unary] = {
    "sqrt": _SQRT,
    "exp": _Unary(math.exp, np.exp, lambda _, f: (f, f, f), "numbers below 709"),
    "log": _LOG,
    "ln": _LOG,
    "log10": _Unary(
        math.log10,
        np.log10,
        lambda x, _: (1 / (x * _LN10), -1 / (x**2 * _LN10), 2 / (x**3 * _LN10)),
        "numbers above 0",
    ),
    "sin": _Unary(math.sin, np.sin, lambda x, f: (np.cos(x), -f, -np.cos(x))),
    "cos": _Unary(math.cos, np.cos, lambda x, f: (-np.sin(x), -f, np.sin(x))),
    "tan": _Unary(
        math.tan, np.tan, lambda _, f: (1 + f * f, 2 * f * (1 + f * f), 2 * (1 + f * f) * (1 + 3 * f * f))
    ),
    "sinh": _Unary(math.sinh, np.sinh, lambda x, f: (np.cosh(x), f, np.cosh(x)), "numbers below 709"),
    "cosh": _Unary(math.cosh, np.cosh, lambda x, f: (np.sinh(x), f, np.sinh(x)), "numbers below 709"),
    "tanh": _Unary(
        math.tanh, np.tanh, lambda _, f: (1 - f * f, -2 * f * (1 - f * f), (1 - f * f) * (6 * f * f - 2))
    ),
    "asin": _ASIN,
    "arcsin": _ASIN,
    "acos": _ACOS,
    "arccos": _ACOS,
    "atan": _ATAN,
    "arctan": _ATAN,
    "abs": _Unary(abs, np.abs, _absolute),
}


def call(name: str, x: Operand) -> Operand:
    """A function of one argument. Raises ModelError outside its domain."""
    function = UNARY[name]
    try:
        if isinstance(x, Series):
            value = x.value
            f = function.array(value) if isinstance(value, np.ndarray) else function.scalar(value)
            return x.composed((f, *function.derivatives(value, f)))
        return function.array(x) if isinstance(x, np.ndarray) else function.scalar(x)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        if isinstance(error, ModelError):
            raise
        value = x.value if isinstance(x, Series) else x
        raise ModelError("model", f"{name}({value:.6g}) is outside its domain: {function.domain}") from None


def _atan2(y: Operand, x: Operand) -> Operand:
    if not isinstance(y, Series) and not isinstance(x, Series):
        if isinstance(y, np.ndarray) or isinstance(x, np.ndarray):
            return np.arctan2(y, x)
        return math.atan2(y, x)
    y0 = y.value if isinstance(y, Series) else y
    x0 = x.value if isinstance(x, Series) else x
    if np.any(np.equal(y0, 0.0) & np.equal(x0, 0.0)):
        raise ModelError("model", "atan2(0, 0) has no direction")
    # The angle's change is the arc tangent of cross over scalar product with the vector at the estimates.
    change = call("atan", (y * x0 - x * y0) / (x * x0 + y * y0))
    assert isinstance(change, Series)
    return Series({**change.terms, (): _atan2(y0, x0)}, change.degree)  # type: ignore[dict-item]


def _extreme(first: Operand, second: Operand, smaller: bool) -> Operand:
    a = first.value if isinstance(first, Series) else first
    b = second.value if isinstance(second, Series) else second
    take_second = (b < a) if smaller else (b > a)
    if not isinstance(take_second, np.ndarray):
        return second if take_second else first
    # Elementwise choice, written as a sum so that it holds for series too.
    return first + (second - first) * take_second.astype(np.float64)


def _minimum(first: Operand, second: Operand) -> Operand:
    return _extreme(first, second, smaller=True)


def _maximum(first: Operand, second: Operand) -> Operand:
    return _extreme(first, second, smaller=False)


BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": _power,
    "pow": _power,
    "atan2": _atan2,
    "arctan2": _atan2,
    "min": _minimum,
    "max": _maximum,
}
TWO_ARGUMENTS = frozenset({"pow", "atan2", "arctan2"})
MANY_ARGUMENTS = frozenset({"min", "max"})
FUNCTIONS = tuple(sorted({*UNARY, *TWO_ARGUMENTS, *MANY_ARGUMENTS}))
CONSTANTS: Mapping[str, float] = {"pi": math.pi, "π": math.pi}
