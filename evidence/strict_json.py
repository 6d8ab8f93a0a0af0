"""JSON in which two readers cannot see two values: no equal keys, no NaN, no half surrogate, no deep nesting."""

from __future__ import annotations

import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 32


def check_json(data: bytes) -> None:
    """Read by the second parser, which sees every key. Raises ValueError (or RecursionError)."""
    parsed = json.loads(
        data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
    )
    _depth(parsed)
    json.dumps(
        parsed, ensure_ascii=False
    ).encode()  # half a surrogate pair: readable to some, an error to others


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"equal keys: {next(key for key in keys if keys.count(key) > 1)[:80]!r}")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is out of range")
    return number


def _depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")
