"""The equations of a measurement model: one expression per output quantity, evaluated, expanded and propagated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from calibration.expression import CONSTANTS, FUNCTIONS, NAME, Expression, ModelError, Number, Series, parse
from calibration.uncertainty import Uncertain, combine


class Model:
    """A measurement model: one expression per output quantity; a later one may use an earlier one's name.

    Written as ``"V/R"``, ``"P = V*I; S = P/cos(phi)"`` or ``{"P": "V*I"}``.
    """

    def __init__(self, source: str | Mapping[str, str], where: str = "model") -> None:
        """Parse the expressions.

        Raises:
            ModelError: what is wrong in which of them, with the column.
        """
        self.expressions: dict[str, Expression] = {}
        for name, text in _definitions(source, where):
            place = f"{where}.{name}" if name != "y" or isinstance(source, Mapping) else where
            check_name(name, place)
            if name in self.expressions:
                raise ModelError(place, f"{name} is defined twice")
            self.expressions[name] = parse(text, place)
        self.where = where

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output quantities ("y" for a bare expression)."""
        return tuple(self.expressions)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input quantities, in order of appearance."""
        defined: set[str] = set()
        names: dict[str, None] = {}
        for output, expression in self.expressions.items():
            names.update(dict.fromkeys(n for n in expression.names if n not in defined))
            defined.add(output)
        return tuple(names)

    def evaluate(self, values: Mapping[str, Number]) -> dict[str, Number]:
        """The outputs for numbers or arrays of inputs.

        Raises:
            ModelError: an input is missing, or the values lie outside the domain.
        """
        self._check_names(values.keys())
        known: dict[str, Number | Series] = dict(values)
        for name, expression in self.expressions.items():
            known[name] = expression.evaluate(known, self.place(name))
        return {name: _no_series(known[name]) for name in self.expressions}

    def expand(
        self, values: Mapping[str, Number], variables: Sequence[str], degree: int = 1
    ) -> dict[str, Series]:
        """The outputs as Taylor series in the ``variables``, about the values; other inputs are exact numbers."""
        self._check_names(values.keys())
        known: dict[str, Number | Series] = dict(values)
        for index, name in enumerate(variables):
            known[name] = Series.variable(index, values[name], degree)
        result = {}
        for name, expression in self.expressions.items():
            place = self.place(name)
            output = expression.evaluate(known, place)
            known[name] = output
            series = output if isinstance(output, Series) else Series({(): output}, degree)
            if not all(np.all(np.isfinite(c)) for c in series.terms.values()):
                raise ModelError(place, "the value or a derivative is not finite at these inputs")
            result[name] = series
        return result

    def propagate(self, inputs: Mapping[str, Uncertain]) -> dict[str, Uncertain]:
        """The outputs as uncertain values, scalars or arrays over readings, for uncertain inputs."""
        names = list(inputs)
        series = self.expand({name: inputs[name].y for name in names}, names)
        return {
            output: combine(
                s.value, [(inputs[n], s.coefficient(i)) for i, n in enumerate(names) if (i,) in s.terms]
            )
            for output, s in series.items()
        }

    def _check_names(self, given: object) -> None:
        missing = [name for name in self.inputs if name not in given]  # type: ignore[operator]
        if missing:
            raise ModelError(
                self.where, f"no input named {missing[0]}: add it to the inputs, or correct the model"
            )

    def place(self, name: str) -> str:
        """What to call an output's expression in an error."""
        return self.where if self.outputs == ("y",) else f"{self.where}.{name}"


def check_name(name: str, where: str) -> None:
    """A name that can be written in a model.

    Raises:
        ModelError: it can't.
    """
    if not NAME.fullmatch(name):
        raise ModelError(
            where, f"{name!r} is no name: letters, digits and _ only, not beginning with a digit"
        )
    if name in FUNCTIONS or name in CONSTANTS:
        raise ModelError(where, f"{name} is the name of a function or constant: choose another")


def _definitions(source: str | Mapping[str, str], where: str) -> list[tuple[str, str]]:
    if isinstance(source, Mapping):
        return list(source.items())
    parts: list[str] = []
    for statement in source.split(";"):
        fresh = True
        for line in statement.splitlines():
            # A line with an equals sign begins a definition, another one goes on with the one before.
            if fresh or "=" in line:
                parts.append(line)
            else:
                parts[-1] += " " + line
            fresh = fresh and not line.strip()
    parts = [part for part in parts if part.strip()]
    if not parts:
        raise ModelError(where, "the model is empty: write it as an expression, such as V/R")
    result = []
    for part in parts:
        left, equals, right = part.partition("=")
        if equals:
            result.append((left.strip(), right.strip()))
        elif len(parts) == 1:
            result.append(("y", part.strip()))
        else:
            raise ModelError(
                where, f"several expressions need names, as in 'P = V*I; S = V*J': {part.strip()!r}"
            )
    return result


def _no_series(value: Number | Series) -> Number:
    assert not isinstance(value, Series)
    return value
