"""The register's values as plain JSON-ready data, and back: every field named, every decimal exact text."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from calibration.certificate import TraceabilityError

_T = TypeVar("_T")


class PlainError(TraceabilityError):
    """Plain data (JSON, a row of a table) that does not hold the value it should; the message names the
    field.
    """

    code = "T001"


def to_plain(value: object) -> Any:
    """A value of this module as JSON-ready data: decimals as text, dates as ISO 8601, tuples as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    match value:
        case Enum():
            return value.value
        case Decimal():
            return str(value)
        case date():  # datetime is a date
            return value.isoformat()
        case tuple() | list():
            return [to_plain(item) for item in value]
        case Mapping():
            return {str(key): to_plain(item) for key, item in value.items()}
        case _:
            return value


def from_plain(cls: type[_T], data: object, where: str = "") -> _T:
    """The inverse of ``to_plain``; missing fields take their defaults.

    Raises:
        PlainError: an unknown or missing field, or a value of the wrong kind, named by its path
            (``points[2].k``).
    """
    if not isinstance(data, Mapping):
        raise PlainError(f"{where or cls.__name__}: expected an object with fields, found {_shown(data)}")
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    unknown = [str(name) for name in data if name not in known]
    if unknown:
        raise PlainError(
            f"{_path(where, unknown[0])}: no such field in {cls.__name__}; the fields are {', '.join(known)}"
        )
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    for name, spec in known.items():
        if name in data:
            values[name] = _read(hints[name], data[name], _path(where, name))
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise PlainError(f"{_path(where, name)}: missing; {cls.__name__} needs it")
    return cls(**values)


def _read(hint: Any, value: object, where: str) -> object:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        return None if value is None else _read(kinds[0], value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise PlainError(f"{where}: expected a list, found {_shown(value)}")
        item = get_args(hint)[0]
        return tuple(_read(item, entry, f"{where}[{n}]") for n, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise PlainError(f"{where}: expected an object, found {_shown(value)}")
        return {str(key): str(entry) for key, entry in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return from_plain(hint, value, where)
    if hint is bool or hint is int:
        if type(value) is not hint:
            raise PlainError(f"{where}: expected {hint.__name__}, found {_shown(value)}")
        return value
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    if not isinstance(value, str):
        raise PlainError(f"{where}: expected text, found {_shown(value)}; numbers are exact text here")
    try:
        if hint is Decimal:
            number = Decimal(value)
            if not number.is_finite():
                raise PlainError(f"{where}: {value} is not a finite number")
            return number
        if hint is date or hint is datetime:
            return hint.fromisoformat(value)
        return hint(value)
    except (ValueError, InvalidOperation) as error:
        if isinstance(error, PlainError):
            raise
        names = [e.value for e in hint] if issubclass(hint, Enum) else []
        allowed = f" one of {', '.join(names)}" if names else f" a {hint.__name__}"
        raise PlainError(f"{where}: {_shown(value)} is not{allowed}") from None


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
