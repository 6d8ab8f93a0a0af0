"""How a file's values become a model: strict types, texts for exact numbers, every mistake at its place.

Shared by the site file and the certificate files. pydantic reports all mistakes of a file in one pass;
``validated`` gives each one its line and column.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from gateway.toml_source import ConfigError, Problem, TomlSource

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}


class Model(BaseModel):
    """A table of a file: unknown keys are refused, types are strict, the result is immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


def _exact(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        hint = f'write "{value}" (in quotes): a number without quotes does not stay exact'
        raise PydanticCustomError(
            "exact_number", "an exact number is written as text; {hint}", {"hint": hint}
        )
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise PydanticCustomError(
            "exact_number", "'{value}' is not a decimal number; write for example \"0.12\"", {"value": value}
        ) from None
    if not number.is_finite():
        raise PydanticCustomError("exact_number", "'{value}' is not a finite number", {"value": value})
    return number


class DurationError(ValueError):
    """A text that is no duration."""


def seconds(text: str) -> float:
    """A duration such as ``500ms``, ``1s``, ``15min``, ``2h``, ``90d`` in seconds. Raises DurationError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)", text.strip())
    if not found:
        raise DurationError(f"'{text}' is not a duration: write for example 500ms, 1s, 15min, 2h")
    return float(Decimal(found[1]) * _UNITS[found[2]])


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "duration", 'a duration is text with its unit, for example "500ms", "1s", "15min"'
        )
    try:
        return seconds(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{error}", {"error": str(error)}) from None


def _identifier(value: Any) -> str:
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise PydanticCustomError(
            "identifier", "an id is 1 to 64 letters, digits, '.', '_' or '-', in quotes"
        )
    return value


def _listed(value: Any) -> Any:
    """TOML has lists; the models keep tuples."""
    return tuple(value) if isinstance(value, list) else value


Listed = BeforeValidator(_listed)
Exact = Annotated[Decimal, BeforeValidator(_exact)]
Duration = Annotated[float, BeforeValidator(_duration)]
Id = Annotated[str, BeforeValidator(_identifier)]

ModelT = TypeVar("ModelT", bound=Model)

_HINTS = {
    "string_type": "put the text in double quotes",
    "int_type": "write a whole number without quotes",
    "bool_type": "write true or false",
    "date_type": "write a date without quotes: 2026-05-01",
    "list_type": 'write a list: ["…", "…"]',
}


def validated(model: type[ModelT], source: TomlSource) -> ModelT:
    """The file as a model, or ConfigError with every mistake at its line and column."""
    try:
        return model.model_validate(source.values)
    except ValidationError as error:
        details = error.errors()
        # a list whose items were refused also counts as too short: that follows from the items' own mistakes
        inner = {detail["loc"][:n] for detail in details for n in range(len(detail["loc"]))}
        told = [d for d in details if not (d["type"] == "too_short" and d["loc"] in inner)]
        raise ConfigError([_problem(model, source, detail) for detail in told]) from None


def _problem(model: type[Model], source: TomlSource, detail: Any) -> Problem:
    path = tuple(
        part for part in detail["loc"] if isinstance(part, int) or not str(part).startswith("function-")
    )
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        hint = f"known keys here: {', '.join(known)}" if known else "remove it"
        return source.problem(path, f"unknown key '{path[-1]}'", hint, "C103", of_key=True)
    if kind == "missing":
        return source.problem(path, f"'{path[-1]}' is missing", f"add {path[-1]} = …", "C104", of_key=True)
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return source.problem(path, message, _HINTS.get(kind, ""), "C105")


def _known_keys(model: type[Model], path: tuple[str | int, ...]) -> list[str]:
    """The keys that the table at ``path`` may have, by walking the model's annotations."""
    current: Any = model
    for part in path:
        if isinstance(part, int):
            continue
        fields = {(field.alias or name): field for name, field in current.model_fields.items()}
        if part not in fields:
            return []
        current = _inner_model(fields[part].annotation)
        if current is None:
            return []
    return sorted(field.alias or name for name, field in current.model_fields.items())


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None
