"""The register's values as plain JSON-ready data, and back: every field named, every decimal exact text."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache, partial
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
    known = _fields(cls)  # type: ignore[arg-type]
    if not data.keys() <= known.keys():
        unknown = next(str(name) for name in data if name not in known)
        raise PlainError(
            f"{_path(where, unknown)}: no such field in {cls.__name__}; the fields are {', '.join(known)}"
        )
    values: dict[str, object] = {}
    for name, (read, needed) in known.items():
        if name in data:
            try:
                values[name] = read(data[name], "")
            except PlainError as error:  # the path is put together only where something is wrong
                raise PlainError(f"{_path(where, name)}{error}") from None
        elif needed:
            raise PlainError(f"{_path(where, name)}: missing; {cls.__name__} needs it")
    return cls(**values)


_Reader = Callable[[Any, str], Any]


@cache
def _fields(cls: type[Any]) -> dict[str, tuple[_Reader, bool]]:
    """By field name: how its value is read, and whether it must be there."""
    hints = get_type_hints(cls)
    return {
        f.name: (_reader(hints[f.name]), f.default is MISSING and f.default_factory is MISSING)
        for f in fields(cls)
    }


def _reader(hint: Any) -> _Reader:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (kind,) = (kind for kind in get_args(hint) if kind is not types.NoneType)
        inner = _reader(kind)
        return lambda value, where: None if value is None else inner(value, where)
    if origin is tuple:
        return partial(_read_list, _reader(get_args(hint)[0]))
    if origin is dict:
        return _read_texts
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(_read_nested, hint)
    if hint is bool or hint is int:
        return partial(_read_exactly, hint)
    return partial(_read_text, hint)


def _read_list(read: _Reader, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise PlainError(f"{where}: expected a list, found {_shown(value)}")
    made = []
    for n, entry in enumerate(value):
        try:
            made.append(read(entry, ""))
        except PlainError as error:
            raise PlainError(f"{where}[{n}]{error}") from None
    return tuple(made)


def _read_texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise PlainError(f"{where}: expected an object, found {_shown(value)}")
    return {str(key): str(entry) for key, entry in value.items()}


def _read_nested(cls: type[Any], value: Any, where: str) -> Any:
    try:
        return from_plain(cls, value)
    except PlainError as error:
        inside = str(error)
        if not isinstance(value, Mapping):
            raise PlainError(f"{where}: expected an object with fields, found {_shown(value)}") from None
        raise PlainError(f"{where}.{inside}") from None


def _read_exactly(kind: type[Any], value: Any, where: str) -> Any:
    if type(value) is not kind:
        raise PlainError(f"{where}: expected {kind.__name__}, found {_shown(value)}")
    return value


def _read_text(kind: Any, value: Any, where: str) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    if not isinstance(value, str):
        raise PlainError(f"{where}: expected text, found {_shown(value)}; numbers are exact text here")
    try:
        if kind is date or kind is datetime:
            return kind.fromisoformat(value)
        made = kind(value)
    except (ValueError, InvalidOperation):
        names = [e.value for e in kind] if issubclass(kind, Enum) else []
        allowed = f" one of {', '.join(names)}" if names else f" a {kind.__name__}"
        raise PlainError(f"{where}: {_shown(value)} is not{allowed}") from None
    if kind is Decimal and not made.is_finite():
        raise PlainError(f"{where}: {value} is not a finite number")
    return made


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
