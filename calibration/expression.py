"""Measurement models as text: parsed safely, evaluated on numbers, arrays or Taylor series.

The grammar is that of a pocket calculator: ``+ - * / ** ^``, parentheses, numbers, names, ``pi`` and the
functions listed in :data:`FUNCTIONS`. ``^`` is ``**``; powers bind tighter than a sign before them and group
to the right. ``log`` is the natural logarithm, as ``ln``. Nothing is ever handed to the interpreter: the text
becomes a list of steps for a stack.

Derivatives come from arithmetic on Taylor series (``taylor``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.model_functions import (
    BINARY,
    CONSTANTS,
    FUNCTIONS,
    MANY_ARGUMENTS,
    TWO_ARGUMENTS,
    UNARY,
    ModelError,
    call,
)
from calibration.taylor import Number, Operand, Series

__all__ = (
    "CONSTANTS",
    "FUNCTIONS",
    "MAX_NESTING",
    "NAME",
    "Expression",
    "ModelError",
    "Number",
    "Series",
    "parse",
)

MAX_LENGTH = 20_000
MAX_NESTING = 100

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
                        stack.append(BINARY[argument](stack.pop(), right))
                    else:
                        stack.append(call(argument, stack.pop()))
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
            if name in MANY_ARGUMENTS and count > 1:
                self.steps.append(("binary", name))
            if not self._is(","):
                break
            self._take()
        self.nesting -= 1
        self._expect(")", f"to close the arguments of {name}")
        if name in UNARY and count != 1:
            raise self._error(f"{name} takes one argument, not {count}", position)
        if name in TWO_ARGUMENTS:
            if count != 2:
                raise self._error(f"{name} takes two arguments, not {count}", position)
            self.steps.append(("binary", name))
        elif name in UNARY:
            self.steps.append(("unary", name))
        elif count < 2:
            raise self._error(f"{name} takes two or more arguments", position)
