"""Measurement models as text: parsed safely, evaluated on numbers, arrays or Taylor series.

The grammar is that of a pocket calculator: ``+ - * / ** ^``, parentheses, numbers, names, ``pi`` and the
functions listed in :data:`FUNCTIONS`. ``^`` is ``**``; powers bind tighter than a sign before them and group
to the right. ``log`` is the natural logarithm, as ``ln``. Nothing is ever handed to the interpreter: the text
becomes a list of steps for a stack.

Derivatives come from arithmetic on truncated Taylor series (forward-mode automatic differentiation), exact to
rounding, up to the third order that GUM H.1.7 needs.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Number: TypeAlias = "float | Array"
Operand: TypeAlias = "float | Array | Series"
Monomial: TypeAlias = tuple[int, ...]  # sorted indexes of variables: () is the value, (0, 1, 1) is x0·x1²

MAX_LENGTH = 20_000
MAX_NESTING = 100


class ModelError(ValueError):
    """A measurement model or one of its inputs that can't be used: where, what, and what to do."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message


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
            return self * _power_series(other, -1.0)
        if not isinstance(other, np.ndarray) and other == 0.0:
            raise ZeroDivisionError
        return self.scaled(1.0 / other)

    def __rtruediv__(self, other: Number) -> Series:
        return _power_series(self, -1.0).scaled(other)

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


def _power_series(base: Series, exponent: float) -> Series:
    x = base.value
    if exponent < 0.0 and not isinstance(x, np.ndarray) and x == 0.0:
        raise ZeroDivisionError
    factors = 1.0
    derivatives: list[Any] = []
    for order in range(4):
        power = exponent - order
        # A vanished factor ends it: x² has no third derivative, not even at 0 where 0**-1 would be infinite.
        derivatives.append(factors * _power(x, power) if factors else 0.0 * x)
        factors *= power
        if base.degree == 1 and order == 1:
            derivatives += [0.0, 0.0]
            break
    return base.composed((derivatives[0], derivatives[1], derivatives[2], derivatives[3]))


def _power(base: Operand, exponent: Operand) -> Operand:
    if isinstance(base, Series):
        if isinstance(exponent, Series):
            return _call("exp", exponent * _call("log", base))
        if isinstance(exponent, np.ndarray):
            raise ModelError("model", "an exponent that differs from reading to reading is not supported")
        return _power_series(base, exponent)
    if isinstance(exponent, Series):
        return _call("exp", exponent * _call("log", base))
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


_LN10 = math.log(10.0)
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
_UNARY: Mapping[str, _Unary] = {
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


def _call(name: str, x: Operand) -> Operand:
    function = _UNARY[name]
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
    change = _call("atan", (y * x0 - x * y0) / (x * x0 + y * y0))
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


_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
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
_TWO_ARGUMENTS = frozenset({"pow", "atan2", "arctan2"})
_MANY_ARGUMENTS = frozenset({"min", "max"})
FUNCTIONS = tuple(sorted({*_UNARY, *_TWO_ARGUMENTS, *_MANY_ARGUMENTS}))
CONSTANTS: Mapping[str, float] = {"pi": math.pi, "π": math.pi}

NAME = re.compile(r"[^\W\d]\w*")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|(?P<symbol>\*\*|[-+*/^(),]))"
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: its text, the names that it needs (in order of appearance), and its steps."""

    text: str
    names: tuple[str, ...]
    steps: tuple[tuple[str, Any], ...]

    def evaluate(self, values: Mapping[str, Operand], where: str = "model") -> Operand:
        """The expression's value.

        Args:
            values: a number, an array over readings or trials, or a :class:`Series` for every name.
            where: what to call this model in an error.

        Raises:
            ModelError: the values lie outside the domain (division by zero, root of a negative number).
        """
        stack: list[Any] = []
        try:
            with np.errstate(all="ignore"):  # arrays: the caller looks at what is not finite
                for kind, argument in self.steps:
                    if kind == "number":
                        stack.append(argument)
                    elif kind == "name":
                        stack.append(values[argument])
                    elif kind == "negate":
                        stack.append(-stack.pop())
                    elif kind == "binary":
                        right = stack.pop()
                        stack.append(_BINARY[argument](stack.pop(), right))
                    else:
                        stack.append(_call(argument, stack.pop()))
        except ZeroDivisionError:
            raise ModelError(where, f"division by zero at these values in {_excerpt(self.text)!r}") from None
        except OverflowError:
            raise ModelError(
                where, f"the result is too large to be computed in {_excerpt(self.text)!r}"
            ) from None
        except ModelError as error:
            raise ModelError(where, f"{error.message} in {_excerpt(self.text)!r}") from None
        except ValueError:
            raise ModelError(
                where,
                f"a power of a negative number or of zero is not defined at these values in {_excerpt(self.text)!r}",
            ) from None
        result: Operand = stack.pop()
        return result


def parse(text: str, where: str = "model") -> Expression:
    """Parse an expression.

    Raises:
        ModelError: what is wrong, with the column.
    """
    if len(text) > MAX_LENGTH:
        raise ModelError(where, f"an expression of {len(text)} characters; at most {MAX_LENGTH} are taken")
    if not text.strip():
        raise ModelError(where, "the expression is empty: write the model, such as V/R")
    return _Parser(text, where).expression()


def _excerpt(text: str, position: int = 0) -> str:
    """The text around a position, short enough for a message."""
    start = max(0, position - 30)
    end = start + 60
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


class _Parser:
    """Recursive descent, one method per level of precedence; emits steps in postfix order."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.tokens = self._scan()
        self.position = 0
        self.nesting = 0
        self.steps: list[tuple[str, Any]] = []
        self.names: dict[str, None] = {}

    def _scan(self) -> list[tuple[str, str, int]]:
        tokens = []
        position, end = 0, len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position)
            if match is None:
                position += len(self.text[position:]) - len(self.text[position:].lstrip())
                raise self._error(f"{self.text[position]!r} has no meaning in a model", position)
            kind = match.lastgroup or ""
            tokens.append((kind, match.group(kind), match.start(kind)))
            position = match.end()
        tokens.append(("end", "", end))
        return tokens

    def _error(self, message: str, position: int) -> ModelError:
        return ModelError(
            self.where, f"{message} (column {position + 1} of {_excerpt(self.text, position)!r})"
        )

    def _is(self, *symbols: str) -> bool:
        kind, text, _ = self.tokens[self.position]
        return kind == "symbol" and text in symbols

    def _take(self) -> tuple[str, str, int]:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def _expect(self, symbol: str, why: str) -> None:
        kind, text, position = self._take()
        if kind != "symbol" or text != symbol:
            raise self._error(f"expected {symbol!r} {why}, found {text or 'the end'!r}", position)

    def expression(self) -> Expression:
        self._sum()
        kind, text, position = self.tokens[self.position]
        if kind != "end":
            hint = "; a product needs *" if kind in ("name", "number") or text == "(" else ""
            raise self._error(f"unexpected {text!r}{hint}", position)
        return Expression(self.text, tuple(self.names), tuple(self.steps))

    def _deeper(self, position: int) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self._error(f"nested more than {MAX_NESTING} deep", position)

    def _sum(self) -> None:
        self._product()
        while self._is("+", "-"):
            symbol = self._take()[1]
            self._product()
            self.steps.append(("binary", symbol))

    def _product(self) -> None:
        self._signed()
        while self._is("*", "/"):
            symbol = self._take()[1]
            self._signed()
            self.steps.append(("binary", symbol))

    def _signed(self) -> None:
        if self._is("+", "-"):
            _, symbol, position = self._take()
            self._deeper(position)
            self._signed()
            self.nesting -= 1
            if symbol == "-":
                self.steps.append(("negate", None))
        else:
            self._powered()

    def _powered(self) -> None:
        self._atom()
        if self._is("**", "^"):
            position = self._take()[2]
            self._deeper(position)
            self._signed()  # 2**-3, and 2**3**2 = 2**9
            self.nesting -= 1
            self.steps.append(("binary", "**"))

    def _atom(self) -> None:
        kind, text, position = self._take()
        if kind == "number":
            number = float(text)
            if not math.isfinite(number):
                raise self._error(f"the number {text} is too large", position)
            self.steps.append(("number", number))
        elif kind == "name":
            if self._is("("):
                self._function(text, position)
            elif text in CONSTANTS:
                self.steps.append(("number", CONSTANTS[text]))
            elif text in FUNCTIONS:
                raise self._error(f"the function {text} needs its argument in parentheses", position)
            else:
                self.names[text] = None
                self.steps.append(("name", text))
        elif text == "(":
            self._deeper(position)
            self._sum()
            self.nesting -= 1
            self._expect(")", f"to close the one at column {position + 1}")
        else:
            raise self._error(f"expected a number, a name or '(', found {text or 'the end'!r}", position)

    def _function(self, name: str, position: int) -> None:
        if name not in FUNCTIONS:
            raise self._error(f"{name} is no function; known are {', '.join(FUNCTIONS)}", position)
        self._take()
        self._deeper(position)
        count = 0
        while True:
            self._sum()
            count += 1
            if name in _MANY_ARGUMENTS and count > 1:
                self.steps.append(("binary", name))
            if not self._is(","):
                break
            self._take()
        self.nesting -= 1
        self._expect(")", f"to close the arguments of {name}")
        if name in _UNARY and count != 1:
            raise self._error(f"{name} takes one argument, not {count}", position)
        if name in _TWO_ARGUMENTS:
            if count != 2:
                raise self._error(f"{name} takes two arguments, not {count}", position)
            self.steps.append(("binary", name))
        elif name in _UNARY:
            self.steps.append(("unary", name))
        elif count < 2:
            raise self._error(f"{name} takes two or more arguments", position)
