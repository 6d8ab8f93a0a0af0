"""Numbers out of a JSON message, such as meters publish: exact, or missing with a reason. Pure.

A point's ``item`` is the path to its number: ``power.total`` and ``0.value`` step through objects and arrays, a path
that begins with ``/`` is a JSON pointer (RFC 6901, for keys with dots), an empty one is the whole message. A number
written as text (``"230.1"``) counts; ``true``, ``null`` and words do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

from drivers.codec import Indication, Missing
from drivers.points import Point
from drivers.registers import scaled

LONGEST = 16_384  # bytes of a message: with what surrounds it, it fits into one entry of the log
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


class _NothingThere:
    """What a path leads to that leads nowhere."""


_NOWHERE = _NothingThere()


def decode(points: Sequence[Point], payload: bytes) -> tuple[Indication, ...]:
    """One indication per point."""
    try:
        message = parsed(payload)
    except ValueError as error:
        detail = f"no JSON message: {error}"
        return tuple(Indication(p.item, p.measurand, None, p.unit, Missing.CORRUPT, detail) for p in points)
    return tuple(_indication(point, found(message, point.item)) for point in points)


def parsed(payload: bytes) -> Any:
    """The message, its numbers exact. Raises ValueError."""
    if len(payload) > LONGEST:
        raise ValueError(f"{len(payload)} bytes are more than {LONGEST}")
    try:
        return json.loads(payload.decode("utf-8"), parse_float=_exact, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _exact(text: str) -> Decimal | str:
    """A number as it is written; one that no meter writes stays text, and is no number then."""
    return Decimal(text) if _NUMBER.fullmatch(text) else text


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def found(message: Any, path: str) -> Any:
    """What stands at a path; an object of no JSON type if nothing does."""
    if path.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    else:
        steps = path.split(".") if path else []
    for step in steps:
        if isinstance(message, dict) and step in message:
            message = message[step]
        elif isinstance(message, list) and step.isascii() and step.isdigit() and int(step) < len(message):
            message = message[int(step)]
        else:
            return _NOWHERE
    return message


def number(value: Any) -> Decimal | None:
    """A JSON number, or a text that is one, as it is written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    text = str(value).strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _indication(point: Point, value: Any) -> Indication:
    if value is _NOWHERE or value is None:
        detail = f"the message has nothing at {point.item!r}"
        return Indication(point.item, point.measurand, None, point.unit, Missing.NOT_SUPPORTED, detail)
    exact = number(value)
    if exact is None:
        detail = f"{str(value)[:80]!r} at {point.item!r}"
        return Indication(point.item, point.measurand, None, point.unit, Missing.NOT_A_NUMBER, detail)
    return Indication(point.item, point.measurand, scaled(exact, point.scale), point.unit)
